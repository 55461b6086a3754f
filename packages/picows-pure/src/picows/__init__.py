"""picows: WebSocket client and server for asyncio, made for latency.

Two engines have the same names: `picows.core` (Cython and C) and `picows.pure` (Python). Which one runs is decided
in `_engine`.
"""

from __future__ import annotations

from pkgutil import extend_path
from typing import TYPE_CHECKING

# The other distributions install portions of this package. Before any import of picows.core.
__path__ = extend_path(__path__, __name__)

from . import _engine
from ._version import __version__ as __version__
from .client import ws_connect
from .enums import PICOWS_DEBUG_LL, WSAutoPingStrategy, WSCloseCode, WSMsgType
from .errors import (
    WSConnectionClosed,
    WSError,
    WSHandshakeEOFError,
    WSHandshakeError,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
    WSInvalidURL,
    WSMessageTooBigError,
    WSProtocolError,
)
from .http import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener
from .server import WSServer, ws_create_server
from .url import WSParsedURL

if TYPE_CHECKING:
    from .pure import WSFrame, WSListener, WSMessageListener, WSTransport, ws_broadcast
else:
    WSFrame = _engine.engine.WSFrame
    WSListener = _engine.engine.WSListener
    WSMessageListener = _engine.engine.WSMessageListener
    WSTransport = _engine.engine.WSTransport
    ws_broadcast = _engine.engine.ws_broadcast

__author__ = "The picows developers"
#: The engine that runs: "core" or "pure".
__impl__: str = _engine.engine.name

__all__ = [
    "PICOWS_DEBUG_LL",
    "WSAutoPingStrategy",
    "WSCloseCode",
    "WSConnectionClosed",
    "WSError",
    "WSFrame",
    "WSHandshakeEOFError",
    "WSHandshakeError",
    "WSInvalidHeaderError",
    "WSInvalidMessageError",
    "WSInvalidStatusError",
    "WSInvalidURL",
    "WSInvalidUpgradeError",
    "WSListener",
    "WSMessageListener",
    "WSMessageTooBigError",
    "WSMsgType",
    "WSParsedURL",
    "WSProtocolError",
    "WSServer",
    "WSTransport",
    "WSUpgradeRequest",
    "WSUpgradeResponse",
    "WSUpgradeResponseWithListener",
    "ws_broadcast",
    "ws_connect",
    "ws_create_server",
]
