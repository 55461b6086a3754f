"""Writes the one version of the three distributions into their requirements: `{version}` becomes an exact pin."""

from __future__ import annotations

from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Pins(MetadataHookInterface):
    """Fills the fields that pyproject.toml declares dynamic, from `[tool.hatch.metadata.hooks.custom]`."""

    def update(self, metadata: dict[str, Any]) -> None:
        def pin(requirements: list[str]) -> list[str]:
            return [requirement.format(version=metadata["version"]) for requirement in requirements]

        metadata["dependencies"] = pin(self.config["dependencies"])
        if extras := self.config.get("optional-dependencies"):
            metadata["optional-dependencies"] = {name: pin(needs) for name, needs in extras.items()}
