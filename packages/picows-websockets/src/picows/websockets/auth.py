"""The old place of authentication, for the API before websockets 14, which this package does not have."""

from __future__ import annotations

import warnings
from typing import NoReturn

_MOVED = ("BasicAuthWebSocketServerProtocol", "basic_auth_protocol_factory")

warnings.warn(
    f"{__name__}, an alias for {__package__}.legacy.auth, is deprecated; use {__package__}.basic_auth",
    DeprecationWarning,
    stacklevel=2,
)


def __getattr__(name: str) -> NoReturn:
    if name in _MOVED:
        raise ImportError(f"{__name__}.{name} is not available: pass process_request={__package__}.basic_auth(...)")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
