"""This package under the name `websockets`, for programs that import that name and cannot be changed.

`sys.modules` gets our modules under the other name as well, so that a class has one identity whichever name led to it,
and a finder in front of all others does the same for modules that are imported later. The finder also answers what
`importlib.metadata` asks: programs look up the version of the distribution before they use it.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from pathlib import Path
from types import CodeType, ModuleType

from . import exceptions
from .version import version

_OURS = __name__.rpartition(".")[0]
_THEIRS = "websockets"


def _our_name(name: str) -> str:
    return _OURS + name.removeprefix(_THEIRS)


def _is_theirs(name: str) -> bool:
    return name == _THEIRS or name.startswith(_THEIRS + ".")


class _AliasLoader(InspectLoader):
    """Loads one of our modules for an import of the other name."""

    def __init__(self, loader: InspectLoader, name: str) -> None:
        self._loader = loader
        self._name = name

    def exec_module(self, module: ModuleType) -> None:
        # `module` is a blank that the import system has made and will forget: it returns what stands in sys.modules.
        # Our own module could not be handed to it instead, it would get the spec of the other name.
        assert module.__spec__ is not None
        sys.modules[module.__spec__.name] = importlib.import_module(self._name)

    def is_package(self, fullname: str) -> bool:
        return self._loader.is_package(self._name)

    def get_source(self, fullname: str) -> str | None:
        return self._loader.get_source(self._name)

    def get_code(self, fullname: str) -> CodeType | None:
        """For `python -m websockets`."""
        return self._loader.get_code(self._name)


class _AliasDistribution(Distribution):
    """What is installed, for those who ask for the other name."""

    def read_text(self, filename: str) -> str | None:
        texts = {
            "METADATA": f"Metadata-Version: 2.1\nName: {_THEIRS}\nVersion: {version}\n",
            "top_level.txt": f"{_THEIRS}\n",
        }
        return texts.get(filename)

    def locate_file(self, path: object) -> Path:
        return Path(__file__).parents[2] / str(path)


class _Finder(MetaPathFinder):
    """Finds our modules."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _is_theirs(fullname):
            return None
        ours = importlib.util.find_spec(_our_name(fullname))
        if ours is None or not isinstance(ours.loader, InspectLoader):
            return None
        spec = ModuleSpec(fullname, _AliasLoader(ours.loader, ours.name), origin=ours.origin)
        spec.submodule_search_locations = ours.submodule_search_locations
        return spec

    def find_distributions(self, context: DistributionFinder.Context | None = None) -> Iterable[Distribution]:
        name = None if context is None else context.name
        if name is None or re.sub(r"[-_.]+", "-", name).lower() == _THEIRS:
            yield _AliasDistribution()


class _Installation:
    """What was there before, and what stands there now."""

    def __init__(self) -> None:
        self._before = dict(_their_modules())
        library = _import_library()
        self._finder = _Finder()
        _forget_their_modules()
        sys.modules.update(
            {_THEIRS + name.removeprefix(_OURS): module for name, module in list(sys.modules.items()) if _is_ours(name)}
        )
        sys.meta_path.insert(0, self._finder)
        exceptions.derive_from(None if library is None else library.exceptions)
        # Who can catch the exceptions of the old API has imported them before.
        theirs = self._before.get(f"{_THEIRS}.legacy.exceptions")
        if theirs is not None:
            _our_old_exceptions().derive_from(theirs)

    def undo(self) -> None:
        if f"{_THEIRS}.legacy.exceptions" in self._before:
            _our_old_exceptions().derive_from(None)
        exceptions.derive_from(None)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        _forget_their_modules()
        sys.modules.update(self._before)


def _our_old_exceptions() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the program has had one for theirs
        return importlib.import_module(f"{_OURS}.legacy.exceptions")


def _is_ours(name: str) -> bool:
    return name == _OURS or name.startswith(_OURS + ".")


def _their_modules() -> Iterator[tuple[str, ModuleType]]:
    return ((name, module) for name, module in list(sys.modules.items()) if _is_theirs(name))


def _forget_their_modules() -> None:
    for name, _ in _their_modules():
        del sys.modules[name]


def _import_library() -> ModuleType | None:
    """The websockets library itself with its exceptions, None where it is not installed."""
    try:
        importlib.import_module(f"{_THEIRS}.exceptions")
    except ModuleNotFoundError as exc:
        if exc.name is not None and _is_theirs(exc.name):
            return None
        raise
    return sys.modules[_THEIRS]


_installation: _Installation | None = None


def install() -> None:
    """Make `import websockets` mean this package, in this process, from now on.

    Call it before anything imports `websockets`: names that a module has imported already stay what they are. If the
    websockets library is installed, our exceptions derive from its exceptions, so that such modules catch ours. A
    second call does nothing. Processes that this one starts are not affected.
    """
    global _installation
    if _installation is None:
        _installation = _Installation()


def uninstall() -> None:
    """Undo `install`: `import websockets` means what it meant before, down to the modules that had been imported.

    Names that were imported in between stay ours. Without a call of `install` this does nothing.
    """
    global _installation
    if _installation is not None:
        installation, _installation = _installation, None
        installation.undo()
