"""Names of a module that are imported when they are asked for (PEP 562).

A program pays for what it uses: `import picows.websockets` loads the engine, and none of the four APIs. Nothing is kept
in the namespace, so that who replaces a name in its own module, as tests do, replaces it everywhere.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Iterable
from typing import Any

__all__ = ["lazy_import"]


def import_name(name: str, source: str, namespace: dict[str, Any]) -> Any:
    """Import one name.

    Args:
        name: the name.
        source: the module that has it; with leading dots, relative to the package of the namespace.
        namespace: the globals of the module that wants it.
    """
    package = namespace.get("__package__") or namespace.get("__name__")
    return getattr(importlib.import_module(source, package), name)


def lazy_import(
    namespace: dict[str, Any],
    aliases: dict[str, str] | None = None,
    deprecated_aliases: dict[str, str] | None = None,
) -> None:
    """Give a module names that it imports when they are asked for. The submodules of a package are among them.

    Args:
        namespace: the globals of the module.
        aliases: name to module, as for `import_name`.
        deprecated_aliases: the same for names that come with a DeprecationWarning.

    Raises:
        ValueError: a name is given twice, or is there already.
    """
    current, deprecated = aliases or {}, deprecated_aliases or {}
    twice = (current.keys() & deprecated.keys()) | ((current.keys() | deprecated.keys()) & namespace.keys())
    if twice:
        raise ValueError(f"namespace conflict: {', '.join(sorted(twice))}")
    module = namespace["__name__"]

    def get(name: str) -> Any:
        if name in current:
            return import_name(name, current[name], namespace)
        if name in deprecated:
            # Programs filter by this text, from its beginning.
            old_name = f"{module.removeprefix('picows.')}.{name}"
            warnings.warn(f"{old_name} is deprecated", DeprecationWarning, stacklevel=2)
            return import_name(name, deprecated[name], namespace)
        if "__path__" in namespace and not name.startswith("_") and importlib.util.find_spec(f"{module}.{name}"):
            return importlib.import_module(f"{module}.{name}")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    def names() -> Iterable[str]:
        return sorted((namespace.keys() - {"__getattr__", "__dir__"}) | current.keys() | deprecated.keys())

    namespace["__getattr__"] = get
    namespace["__dir__"] = names
