"""The engine in Python alone: the twin of `picows.core`, name by name (see `picows.abc`)."""

from ..codec import DeflateCodec
from .broadcast import sort_for_broadcast, ws_broadcast
from .buffer import MemoryBuffer
from .closing import WSCloseHandshake, WSCloseInfo
from .describe import describe
from .frame import WSFrame
from .listener import WSListener
from .loops import make_protocol
from .messages import WSMessageListener
from .protocol import WSProtocol
from .transport import WSTransport
from .upgrade import scan_upgrade

name = "pure"

__all__ = [
    "DeflateCodec",
    "MemoryBuffer",
    "WSCloseHandshake",
    "WSCloseInfo",
    "WSFrame",
    "WSListener",
    "WSMessageListener",
    "WSProtocol",
    "WSTransport",
    "describe",
    "make_protocol",
    "name",
    "scan_upgrade",
    "sort_for_broadcast",
    "ws_broadcast",
]
