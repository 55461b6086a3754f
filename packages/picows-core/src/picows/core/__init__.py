"""The engine in Cython over C kernels: the twin of `picows.pure`, name by name (see `picows.abc`)."""

from .._version import __version__ as __version__
from ._kernels import simd
from .broadcast import sort_for_broadcast, ws_broadcast
from .buffers import MemoryBuffer
from .closing import WSCloseHandshake, WSCloseInfo
from .codec import DeflateCodec
from .describe import describe
from .frame import WSFrame
from .listener import WSListener
from .messages import WSMessageListener
from .protocol import WSProtocol, make_protocol
from .transport import WSTransport
from .upgrade import scan_upgrade

name = "core"

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
    "simd",
    "sort_for_broadcast",
    "ws_broadcast",
]
