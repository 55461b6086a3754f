"""The asyncio API of websockets before version 14, for code that was written for it. Deprecated there, and so here.

A thin layer over `picows.websockets.asyncio`: what is old are names, arguments, hooks and the opening handshake. Once a
connection is open, frames are the engine's and messages those of `asyncio.connection.Connection` (see `_link`).
"""

from __future__ import annotations

import warnings

warnings.warn(
    "websockets.legacy is deprecated; "
    "see https://websockets.readthedocs.io/en/stable/howto/upgrade.html "
    "for upgrade instructions",
    DeprecationWarning,
    stacklevel=2,
)
