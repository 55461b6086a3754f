"""The names of upstream's module `picows.picows`; users' Cython code cimports from the `.pxd` of this name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _engine
from .client import ws_connect
from .enums import PICOWS_DEBUG_LL, WSAutoPingStrategy, WSCloseCode, WSMsgType
from .server import ws_create_server

if TYPE_CHECKING:
    from .pure import WSCloseHandshake, WSCloseInfo, WSFrame, WSListener, WSProtocol, WSTransport
    from .pure.buffer import MemoryBuffer
else:
    WSCloseHandshake = _engine.engine.WSCloseHandshake
    WSCloseInfo = _engine.engine.WSCloseInfo
    WSFrame = _engine.engine.WSFrame
    WSListener = _engine.engine.WSListener
    WSProtocol = _engine.engine.WSProtocol
    WSTransport = _engine.engine.WSTransport
    MemoryBuffer = _engine.engine.MemoryBuffer

__all__ = [
    "PICOWS_DEBUG_LL",
    "MemoryBuffer",
    "WSAutoPingStrategy",
    "WSCloseCode",
    "WSCloseHandshake",
    "WSCloseInfo",
    "WSFrame",
    "WSListener",
    "WSMsgType",
    "WSProtocol",
    "WSTransport",
    "ws_connect",
    "ws_create_server",
]
