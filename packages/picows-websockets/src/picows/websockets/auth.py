"""The old name of `picows.websockets.legacy.auth`, deprecated."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # One is enough.
    warnings.filterwarnings("ignore", "websockets.legacy is deprecated", DeprecationWarning)
    from .legacy.auth import BasicAuthWebSocketServerProtocol, basic_auth_protocol_factory

__all__ = ["BasicAuthWebSocketServerProtocol", "basic_auth_protocol_factory"]

warnings.warn(
    "websockets.auth, an alias for websockets.legacy.auth, is deprecated; "
    "see https://websockets.readthedocs.io/en/stable/howto/upgrade.html "
    "for upgrade instructions",
    DeprecationWarning,
    stacklevel=2,
)
