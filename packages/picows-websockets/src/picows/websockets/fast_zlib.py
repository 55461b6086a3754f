"""Which library compresses: zlib-ng, isal, or the zlib of the standard library.

The extra `fast-zlib` installs zlib-ng. What is installed is used, in this order; PICOWS_ZLIB=zlib-ng, isal or zlib asks
for one of them, and then that is what runs, or the import fails and says why. `describe()` says which one it is.

They all write DEFLATE, but not the same bytes, and each has something that it cannot do:
- zlib-ng takes about 100 KiB for a connection that compresses, whatever the window and the memory level.
- isal knows compression levels 1 to 3, of its own. Connections that ask for another level, or for a strategy, compress
  with zlib. It does not refuse a peer whose references go beyond the window that was agreed on.
"""

from __future__ import annotations

import importlib
import os
import warnings
import zlib
from collections.abc import Callable
from typing import Any

ENVIRONMENT_VARIABLE = "PICOWS_ZLIB"


class _Isal:
    """isal with the interface of zlib, as far as permessage-deflate needs it.

    Args:
        module: isal.isal_zlib.
    """

    _LEVELS = (1, 2, 3)
    _SETTINGS = frozenset(("method", "wbits", "memLevel"))

    def __init__(self, module: Any) -> None:
        self._module = module
        self.error = module.error
        self.decompressobj = module.decompressobj

    def compressobj(self, level: int = zlib.Z_DEFAULT_COMPRESSION, *args: Any, **settings: Any) -> Any:
        """As `zlib.compressobj`."""
        if (level != zlib.Z_DEFAULT_COMPRESSION and level not in self._LEVELS) or settings.keys() - self._SETTINGS:
            return zlib.compressobj(level, *args, **settings)
        level = self._module.Z_DEFAULT_COMPRESSION if level == zlib.Z_DEFAULT_COMPRESSION else level
        return self._module.compressobj(level, *args, **settings)


def _load_zlib_ng() -> tuple[Any, str]:
    module = importlib.import_module("zlib_ng.zlib_ng")
    return module, module.ZLIBNG_RUNTIME_VERSION


def _load_isal() -> tuple[Any, str]:
    return _Isal(importlib.import_module("isal.isal_zlib")), importlib.import_module("isal").__version__


def _load_zlib() -> tuple[Any, str]:
    return zlib, zlib.ZLIB_RUNTIME_VERSION


_LOADERS: dict[str, Callable[[], tuple[Any, str]]] = {
    "zlib-ng": _load_zlib_ng,
    "isal": _load_isal,
    "zlib": _load_zlib,
}


def choose() -> tuple[Any, str, str]:
    """The library for this process, its name and its version.

    Raises:
        ImportError: PICOWS_ZLIB names none, or one that cannot be imported.
    """
    wanted = os.environ.get(ENVIRONMENT_VARIABLE)
    if wanted:
        if wanted not in _LOADERS:
            raise ImportError(f"{ENVIRONMENT_VARIABLE} is {wanted!r}, it may be {', '.join(_LOADERS)}")
        try:
            module, version = _LOADERS[wanted]()
        except ImportError as exc:
            raise ImportError(f"{ENVIRONMENT_VARIABLE}={wanted}, but {exc}") from exc
        return module, wanted, version
    for name in ("zlib-ng", "isal"):
        try:
            module, version = _LOADERS[name]()
        except ModuleNotFoundError:
            continue  # not asked for
        except ImportError as exc:
            warnings.warn(f"{name} is installed but cannot be used: {exc}", RuntimeWarning, stacklevel=3)
            continue
        return module, name, version
    module, version = _load_zlib()
    return module, "zlib", version


#: What compresses: it has `compressobj`, `decompressobj` and `error` as zlib has them. And what it is.
library, name, version = choose()


def describe() -> str:
    """Name and version of the library that compresses."""
    return f"{name} {version}"
