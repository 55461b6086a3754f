"""The contract between the engine (`picows.pure`, `picows.core`) and everything around it.

An engine is a package with the names of `Engine`. Its classes need not derive from anything here: these are
Protocols, and a test compares both engines with each other, name by name.

Names with one underscore are internal: the layers above an engine may use those listed here, users may not.
"""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
    Any,
    Iterable,
    List,
    MutableSet,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    Union,
)

if TYPE_CHECKING:
    import asyncio

    from .enums import WSCloseCode, WSMsgType
    from .http import WSUpgradeRequest, WSUpgradeResponse
    from .options import ConnectionOptions

#: What can be sent: text, or anything with a C-contiguous buffer.
WSBuffer = Union[str, bytes, bytearray, memoryview]


class FrameRules(NamedTuple):
    """What a message layer asks of the frame parser (RFC 6455 5.4, 8.1)."""

    #: Reserved bits that may be set in the first frame of a message (0x40 where permessage-deflate was negotiated).
    reserved_bits: int = 0
    #: Limit of a message over all its frames as they are on the wire, in bytes.
    max_message_size: Optional[int] = None
    #: Refuse lengths that are not encoded in the fewest bytes (RFC 6455 5.2).
    minimal_lengths: bool = True
    #: What to answer to a CLOSE in the middle of a fragmented message: False echoes it, True fails with 1002.
    refuse_close_in_message: bool = False


class EngineFrame(Protocol):
    """`WSFrame`: one received frame, see `picows.pure.frame`."""

    @property
    def msg_type(self) -> WSMsgType: ...
    @property
    def fin(self) -> int: ...
    @property
    def rsv1(self) -> int: ...
    @property
    def rsv2(self) -> int: ...
    @property
    def rsv3(self) -> int: ...
    @property
    def last_in_buffer(self) -> int: ...
    @property
    def payload_size(self) -> int: ...
    @property
    def tail_size(self) -> int: ...
    def get_payload_as_bytes(self) -> bytes: ...
    def get_payload_as_utf8_text(self) -> str: ...
    def get_payload_as_ascii_text(self) -> str: ...
    def get_payload_as_memoryview(self) -> memoryview: ...
    def get_close_code(self) -> WSCloseCode: ...
    def get_close_message(self) -> Optional[bytes]: ...
    def get_close_reason(self) -> Optional[str]: ...


class EngineCloseInfo(Protocol):
    """`WSCloseInfo`: code and reason of one CLOSE frame."""

    @property
    def code(self) -> WSCloseCode: ...
    @property
    def reason(self) -> Optional[str]: ...


class EngineCloseHandshake(Protocol):
    """`WSCloseHandshake`: the CLOSE frames of a connection so far."""

    @property
    def recv(self) -> Optional[EngineCloseInfo]: ...
    @property
    def sent(self) -> Optional[EngineCloseInfo]: ...
    @property
    def recv_then_sent(self) -> bool: ...


class EngineTransport(Protocol):
    """`WSTransport`: the sending half and the life of one connection, see `picows.pure.transport`."""

    @property
    def _is_measuring(self) -> bool: ...
    @property
    def underlying_transport(self) -> asyncio.Transport: ...
    @property
    def request(self) -> Optional[WSUpgradeRequest]: ...
    @property
    def response(self) -> Optional[WSUpgradeResponse]: ...
    @property
    def close_handshake(self) -> Optional[EngineCloseHandshake]: ...
    @property
    def is_client_side(self) -> bool: ...
    @property
    def is_secure(self) -> bool: ...
    @property
    def is_close_frame_sent(self) -> bool: ...
    @property
    def is_disconnected(self) -> bool: ...
    @property
    def write_buffer_size(self) -> int: ...
    def send(
        self,
        msg_type: int,
        message: Optional[WSBuffer],
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> None: ...
    def send_ping(self, message: Optional[WSBuffer] = None) -> None: ...
    def send_pong(self, message: Optional[WSBuffer] = None) -> None: ...
    def send_close(self, close_code: int = ..., close_message: Optional[WSBuffer] = None) -> None: ...
    def send_reuse_external_bytearray(
        self,
        msg_type: int,
        buffer: bytearray,
        msg_offset: int,
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> None: ...
    def flush(self) -> None: ...
    def disconnect(self, graceful: bool = True) -> None: ...
    async def wait_disconnected(self) -> None: ...
    async def measure_roundtrip_time(self, rounds: int, timeout: Optional[float] = None) -> List[float]: ...
    def notify_user_specific_pong_received(self) -> None: ...
    def _lend_transport(self) -> None: ...
    def _auto_ping(self) -> bool: ...
    def _abort(self) -> None: ...
    def _close_and_hang_up(self, code: int, reason: str) -> None: ...
    def _log_bytes(self, what: str, data: bytes) -> None: ...
    def _log(self, level: int, message: str, *args: object, exc_info: Any = None) -> None: ...


class EngineListener(Protocol):
    """`WSListener`: the base class of users' listeners, see `picows.pure.listener`."""

    _frame_rules: Optional[FrameRules]

    def on_ws_connected(self, transport: Any) -> None: ...
    def on_ws_frame(self, transport: Any, frame: Any) -> None: ...
    def on_ws_disconnected(self, transport: Any) -> None: ...
    def send_user_specific_ping(self, transport: Any) -> None: ...
    def is_user_specific_pong(self, frame: Any) -> bool: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class Opening(Protocol):
    """The opening handshake of one connection: the layer above drives it, the engine's protocol only feeds it.

    It calls `protocol.open(...)` when it has succeeded and closes the underlying transport when it has not.
    """

    def connection_made(self, protocol: EngineProtocol) -> None:
        """The connection exists; `protocol.transport` can be used."""

    def data_received(self, data: bytes) -> None:
        """Bytes arrived before the handshake was complete."""

    def eof_received(self) -> None:
        """The peer has finished sending before the handshake was complete."""

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        """The connection has ended, or `connection_made` failed with `exc`, before the handshake was complete."""


class EngineProtocol(Protocol):
    """`WSProtocol`: the asyncio protocol of one connection, see `picows.pure.protocol`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: ConnectionOptions,
        opening: Opening,
        registry: Optional[MutableSet[Any]] = None,
    ) -> None: ...

    transport: Any
    """The engine's WSTransport, from `connection_made` on."""

    _is_debug: bool
    """Bytes are logged."""

    def open(self, listener: Any, request: WSUpgradeRequest, response: WSUpgradeResponse, remainder: bytes) -> None:
        """The handshake succeeded: frames go to `listener` from now on, `remainder` first."""

    def abandon(self) -> None:
        """Abort. If the connection was open, `on_ws_disconnected` is called before this returns; nothing is after
        it."""


class Engine(Protocol):
    """The names that an engine package has."""

    #: "pure" or "core".
    name: str
    WSFrame: Any
    WSTransport: Any
    WSListener: Any
    WSProtocol: Any
    WSCloseInfo: Any
    WSCloseHandshake: Any
    WSMessageListener: Any
    #: permessage-deflate for it; `picows.deflate.DeflateCodec` serves any engine.
    DeflateCodec: Any
    MemoryBuffer: Any

    def make_protocol(
        self,
        loop: asyncio.AbstractEventLoop,
        options: ConnectionOptions,
        opening: Opening,
        registry: Optional[MutableSet[Any]] = None,
        is_plain: bool = True,
    ) -> Any:
        """The WSProtocol that reads fastest; `is_plain` where the transport is the loop's own, without TLS."""

    def scan_upgrade(self, data: bytes) -> Optional[Tuple[int, bytes, bytes]]:
        """Recognise an ordinary upgrade request: the size of its head, its target, Sec-WebSocket-Accept for it."""

    def ws_broadcast(self, transports: Iterable[Any], msg_type: int, message: Optional[WSBuffer]) -> None: ...
    def sort_for_broadcast(self, connections: Iterable[Any]) -> Tuple[List[Any], List[Any]]:
        """The transports of those that `ws_broadcast` may be called for, and the other connections."""
        ...

    def describe(self) -> Sequence[Tuple[str, str]]:
        """Rows (what, value) for `python -m picows`."""
        ...
