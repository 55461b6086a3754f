"""The three distributions, built once for all that look at them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures.wheels import DISTRIBUTIONS, ROOT, Wheel, build, read_wheel


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Wheel]:
    return {
        name: read_wheel(build(ROOT / "packages" / name, "wheel", tmp_path_factory.mktemp("wheel")))
        for name in DISTRIBUTIONS
    }


@pytest.fixture(scope="session")
def sdists(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: build(ROOT / "packages" / name, "sdist", tmp_path_factory.mktemp("sdist")) for name in DISTRIBUTIONS}
