"""Which engine runs: `picows.core` where it is installed and whole, else `picows.pure`. Nobody else decides.

PICOWS_IMPL=core or pure asks for one of them: what was asked for is what runs, or the import fails and says why.
Without it a missing core is nothing to talk about, a broken one is a RuntimeWarning.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from typing import Optional, Tuple, cast

from ._version import __version__
from .abc import Engine

ENVIRONMENT_VARIABLE = "PICOWS_IMPL"
NAMES = ("core", "pure")
_REQUIRED = (
    "name",
    "WSFrame",
    "WSTransport",
    "WSListener",
    "WSProtocol",
    "WSCloseInfo",
    "WSCloseHandshake",
    "WSMessageListener",
    "DeflateCodec",
    "MemoryBuffer",
    "make_protocol",
    "scan_upgrade",
    "ws_broadcast",
    "sort_for_broadcast",
    "describe",
)


def load(name: str) -> Engine:
    """Import an engine by name.

    Raises:
        ImportError: it is not installed, cannot be imported, belongs to another version, or lacks a name.
        ValueError: there is no engine of that name.
    """
    if name not in NAMES:
        raise ValueError(f"there is no implementation {name!r}, there are {' and '.join(NAMES)}")
    try:
        module = importlib.import_module(f"picows.{name}")
    except ImportError:
        raise
    except Exception as exc:  # a compiled module that fits nothing around it may raise anything
        raise ImportError(f"picows.{name} cannot be imported: {type(exc).__name__}: {exc}") from exc
    version = getattr(module, "__version__", __version__)
    if version != __version__:
        raise ImportError(f"picows.{name} has version {version}, picows {__version__}: install equal versions")
    missing = [required for required in _REQUIRED if not hasattr(module, required)]
    if missing:
        raise ImportError(f"picows.{name} lacks {', '.join(missing)}")
    return cast(Engine, module)


def choose() -> Tuple[Engine, str]:
    """The engine for this process and why it is this one."""
    wanted = os.environ.get(ENVIRONMENT_VARIABLE)
    if wanted:
        if wanted not in NAMES:
            raise ImportError(f"{ENVIRONMENT_VARIABLE} is {wanted!r}, it may be {' or '.join(NAMES)}")
        try:
            return load(wanted), f"{ENVIRONMENT_VARIABLE}={wanted}"
        except ImportError as exc:
            raise ImportError(f"{ENVIRONMENT_VARIABLE}={wanted}, but {exc}") from exc
    spec = importlib.util.find_spec("picows.core")
    if spec is None or spec.origin is None:  # a directory that an uninstalled core left behind has no origin
        return load("pure"), "picows.core is not installed"
    try:
        return load("core"), "picows.core is installed"
    except ImportError as exc:
        warnings.warn(f"picows-core is installed but cannot be used: {exc}", RuntimeWarning, stacklevel=3)
        return load("pure"), f"picows-core is installed but cannot be used: {exc}"


engine, reason = choose()


def pick(wanted: Optional[Engine]) -> Engine:
    """The engine that an entry point was asked for, or the one of this process."""
    return engine if wanted is None else wanted
