"""The sending half and the life of one connection.

Everything here runs in the thread of the connection's loop; a call from another thread is a RuntimeError. Once our CLOSE was sent or
`disconnect()` was called nothing more reaches the wire: all `send*` methods are then silent no-ops.
"""

from __future__ import annotations

import asyncio
import logging
from struct import Struct
from threading import get_ident
from typing import TYPE_CHECKING, Any, List, Optional, cast

from ..abc import EngineListener, WSBuffer
from ..enums import PICOWS_DEBUG_LL, WSCloseCode, WSMsgType
from ..options import AnyLogger, ConnectionOptions, connection_logger
from ..pinger import FAREWELL_DELAY_S, AutoPinger
from .closing import MAX_CONTROL_PAYLOAD, WSCloseHandshake, WSCloseInfo, close_payload
from .frame import CONTROL, FIN, RSV1, RSV2, RSV3
from .mask import Buffer, mask
from .pool import current_pool
from .roundtrip import RoundTrips
from .wire import Wire, is_secure

if TYPE_CHECKING:
    from ..http import WSUpgradeRequest, WSUpgradeResponse

#: Room that `send_reuse_external_bytearray` needs before the message: the longest header of a masked frame.
MAX_HEADER = 14

_pack_7 = Struct(">BB").pack
_pack_16 = Struct(">BBH").pack
_pack_64 = Struct(">BBQ").pack
_pack_7_key = Struct(">BBI").pack
_pack_16_key = Struct(">BBHI").pack
_pack_64_key = Struct(">BBQI").pack


class WSTransport:
    """One WebSocket connection, as its listener sees it.

    Made by the library. The constructor is for tests and for engines of protocols that are built on this one.

    Args:
        is_client_side: True masks what is sent (RFC 6455 5.3).
        underlying_transport: the asyncio transport.
        logger: where it logs.
        loop: the loop that it belongs to.
        options: validated options; the defaults of one side if None.
    """

    __slots__ = (
        "__weakref__",
        "_auto_pinger",
        "_close_handshake",
        "_close_timer",
        "_failure",
        "_hangs_up",
        "_input_is_over",
        "_is_client_side",
        "_is_close_frame_sent",
        "_is_disconnected",
        "_is_lost",
        "_is_sealed",
        "_is_writing_paused",
        "_listener",
        "_logger",
        "_loop",
        "_lost_waiter",
        "_options",
        "_pending_pong",
        "_pool",
        "_request",
        "_response",
        "_roundtrips",
        "_thread_id",
        "_underlying_transport",
        "_wire",
        "_awaits_pong",
    )

    def __init__(
        self,
        is_client_side: bool,
        underlying_transport: Any,
        logger: AnyLogger,
        loop: asyncio.AbstractEventLoop,
        options: Optional[ConnectionOptions] = None,
    ) -> None:
        self._underlying_transport = underlying_transport
        self._options = options or ConnectionOptions(is_client_side=is_client_side, logger=logger)
        self._is_client_side = is_client_side
        self._loop = loop
        self._logger = logger
        self._thread_id = get_ident()
        self._pool = current_pool()
        self._wire = Wire(underlying_transport, self._pool, self._options.write_coalescing)
        self._request: Optional[WSUpgradeRequest] = None
        self._response: Optional[WSUpgradeResponse] = None
        self._listener: Optional[EngineListener] = None
        self._close_handshake: Optional[WSCloseHandshake] = None
        self._close_timer: Optional[asyncio.TimerHandle] = None
        self._auto_pinger: Optional[AutoPinger] = None
        self._roundtrips: Optional[RoundTrips] = None
        self._lost_waiter: Optional[asyncio.Future[None]] = None
        self._failure: Optional[BaseException] = None
        self._pending_pong: Optional[bytes] = None
        # A pong is awaited: the parser asks the listener about every frame.
        self._awaits_pong = False
        # No further frame is delivered.
        self._input_is_over = False
        # No further frame is sent.
        self._is_sealed = False
        self._is_close_frame_sent = False
        self._is_disconnected = False
        self._is_lost = False
        self._is_writing_paused = False
        # Disconnect when the peer's CLOSE comes.
        self._hangs_up = False

    @property
    def underlying_transport(self) -> asyncio.Transport:
        """The asyncio transport. Writing to it directly breaks the connection."""
        return cast(asyncio.Transport, self._underlying_transport)

    @property
    def request(self) -> Optional[WSUpgradeRequest]:
        """The opening request."""
        return self._request

    @property
    def response(self) -> Optional[WSUpgradeResponse]:
        """The opening response."""
        return self._response

    @property
    def close_handshake(self) -> Optional[WSCloseHandshake]:
        """The CLOSE frames so far; None before the first."""
        return self._close_handshake

    @property
    def is_client_side(self) -> bool:
        """True on a client."""
        return self._is_client_side

    @property
    def is_secure(self) -> bool:
        """True over TLS."""
        return is_secure(self._underlying_transport)

    @property
    def is_close_frame_sent(self) -> bool:
        """True once our CLOSE was sent."""
        return self._is_close_frame_sent

    @property
    def is_disconnected(self) -> bool:
        """True once `disconnect()` was called or the connection was lost."""
        return self._is_disconnected

    @property
    def write_buffer_size(self) -> int:
        """How many bytes were accepted by `send` and not yet given to the operating system."""
        return 0 if self._is_lost else self._wire.pending_size

    def send(
        self,
        msg_type: int,
        message: Optional[WSBuffer],
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> None:
        """Send one frame; never blocks (see `write_buffer_size` and `WSListener.pause_writing`).

        Args:
            msg_type: the opcode, 0 to 15 but not CLOSE (see `send_close`).
            message: str (sent as UTF-8), any C-contiguous buffer, or None for no payload. It may be changed after the call.
            fin: False if fragments of the message follow (RFC 6455 5.4).
            rsv1: the reserved bits (RFC 6455 5.2).
            rsv2: as rsv1.
            rsv3: as rsv1.

        Raises:
            ValueError: the opcode is CLOSE or above 15, or a control frame is fragmented or has more than 125 bytes.
            TypeError: the message is none of the above.
            BufferError: the buffer is not C-contiguous.
            RuntimeError: called from another thread than the loop's.
        """
        if get_ident() != self._thread_id:
            raise self._wrong_thread("send")
        payload = message if type(message) is bytes else _as_buffer(message)
        first = (FIN if fin else 0) | msg_type
        if rsv1 or rsv2 or rsv3:
            first |= (RSV1 if rsv1 else 0) | (RSV2 if rsv2 else 0) | (RSV3 if rsv3 else 0)
        if msg_type >= CONTROL or msg_type < 0:
            _check_control(msg_type, fin, len(payload))
        if self._is_sealed:
            self._log_sealed("send")
        else:
            self._write_frame(first, payload)

    def send_ping(self, message: Optional[WSBuffer] = None) -> None:
        """Send a PING (RFC 6455 5.5.2) with at most 125 bytes; arguments and errors as for `send`."""
        self._send_control("send_ping", WSMsgType.PING, message)

    def send_pong(self, message: Optional[WSBuffer] = None) -> None:
        """Send a PONG (RFC 6455 5.5.3) with at most 125 bytes; arguments and errors as for `send`."""
        self._send_control("send_pong", WSMsgType.PONG, message)

    def send_close(self, close_code: int = WSCloseCode.NO_INFO, close_message: Optional[WSBuffer] = None) -> None:
        """Send a CLOSE (RFC 6455 5.5.1); it does not disconnect.

        A peer that neither answers nor hangs up within `close_timeout` is cut off.

        Args:
            close_code: 1000-1003, 1007-1014 or 3000-4999; NO_INFO sends a CLOSE without a code.
            close_message: the reason, UTF-8 of at most 123 bytes.

        Raises:
            ValueError: the code must not be sent, the reason is too long, or there is a reason without a code.
            UnicodeDecodeError: the reason is not UTF-8. Nothing is sent.
            TypeError, RuntimeError: as for `send`.
        """
        self._check_thread("send_close")
        reason = bytes(_as_buffer(close_message))
        payload = close_payload(close_code, reason)
        if self._is_sealed:
            self._log_sealed("send_close")
            return
        self._close_record()._record_sent(WSCloseInfo(WSCloseCode(close_code), reason.decode()))
        self._write_frame(FIN | WSMsgType.CLOSE, payload)
        self._is_close_frame_sent = self._is_sealed = True
        self._stop_auto_ping()
        self._start_close_timer()

    def send_reuse_external_bytearray(
        self,
        msg_type: int,
        buffer: bytearray,
        msg_offset: int,
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> None:
        """Send `buffer[msg_offset:]`, leaving room before it for the header.

        The engine may write the header into that room and, on a client, mask the message in place: after the call the
        buffer's content is undefined. (This engine copies instead.)

        Args:
            msg_type: as for `send`.
            buffer: at least 14 bytes of room, then the message.
            msg_offset: where the message begins, >= 14.
            fin: as for `send`; likewise the reserved bits.
            rsv1: see `send`.
            rsv2: see `send`.
            rsv3: see `send`.

        Raises:
            ValueError: no buffer, or an offset or opcode that is not allowed.
            TypeError, RuntimeError: as for `send`.
        """
        if buffer is None:
            raise ValueError("buffer must not be None")
        if not isinstance(buffer, bytearray):
            raise TypeError(f"buffer must be a bytearray, got {type(buffer).__name__}")
        if not MAX_HEADER <= msg_offset <= len(buffer):
            raise ValueError(
                f"msg_offset must be {MAX_HEADER} to {len(buffer)} (the buffer's length), got {msg_offset}"
            )
        size = len(buffer) - msg_offset
        if msg_type >= CONTROL or msg_type < 0:
            _check_control(msg_type, fin, size)
        self._check_thread("send_reuse_external_bytearray")
        if self._is_sealed:
            self._log_sealed("send_reuse_external_bytearray")
            return
        first = (FIN if fin else 0) | msg_type | (RSV1 if rsv1 else 0) | (RSV2 if rsv2 else 0) | (RSV3 if rsv3 else 0)
        self._write_frame(first, bytes(memoryview(buffer)[msg_offset:]))

    def flush(self) -> None:
        """Send at once what was gathered while a read is being processed, instead of at its end."""
        self._check_thread("flush")
        if not self._is_lost:
            self._wire.flush()

    def disconnect(self, graceful: bool = True) -> None:
        """End the connection without sending a CLOSE; idempotent.

        Args:
            graceful: True lets what was sent before leave first (for at most `close_timeout` seconds), False drops it.
        """
        self._check_thread("disconnect")
        if self._is_lost or (self._is_disconnected and graceful):
            return
        if graceful:
            self._wire.flush()
        self._is_disconnected = self._is_sealed = self._input_is_over = True
        self._stop_auto_ping()
        if graceful and not self._underlying_transport.is_closing():
            self._underlying_transport.close()
            self._start_close_timer()
        elif not graceful:
            self._underlying_transport.abort()
        self._wire.drop()

    async def wait_disconnected(self) -> None:
        """Wait until the connection has ended and `on_ws_disconnected` was called.

        Raises:
            BaseException: on a client, what ended the connection if that was local: the first exception out of a callback, or
                the WSProtocolError with which we failed the connection. The peer's CLOSE, EOF or reset raise nothing.
        """
        self._check_thread("wait_disconnected")
        if not self._is_lost:
            if self._lost_waiter is None:
                self._lost_waiter = self._loop.create_future()
            await asyncio.shield(self._lost_waiter)
        if self._is_client_side and self._failure is not None:
            raise self._failure

    async def measure_roundtrip_time(self, rounds: int, timeout: Optional[float] = None) -> List[float]:
        """Ping the peer and time the pongs; concurrent measurements take turns.

        Args:
            rounds: how many pings, one after the other.
            timeout: seconds to wait for each pong, None for as long as the connection lives.

        Returns:
            Seconds from each ping to its pong.

        Raises:
            ConnectionError: the connection is closed, or closes meanwhile.
            asyncio.TimeoutError: a pong did not come in time.
        """
        self._check_thread("measure_roundtrip_time")
        if self._roundtrips is None:
            self._roundtrips = RoundTrips(self)
        return await self._roundtrips.measure(rounds, timeout)

    def notify_user_specific_pong_received(self) -> None:
        """Tell that the awaited pong was received, where only the application can know; no-op if none is awaited."""
        self._check_thread("notify_user_specific_pong_received")
        if self._awaits_pong:
            self._awaits_pong = False
            if self._auto_pinger is not None:
                self._auto_pinger.on_pong()
            if self._roundtrips is not None:
                self._roundtrips.on_pong()

    # --- writing ---

    def _write_frame(self, first: int, payload: Buffer) -> None:
        size = len(payload)
        if self._is_client_side:
            key, key_big = self._pool.next_key()
            if size < 126:
                header = _pack_7_key(first, 0x80 | size, key_big)
            elif size < 65536:
                header = _pack_16_key(first, 0xFE, size, key_big)
            else:
                header = _pack_64_key(first, 0xFF, size, key_big)
            payload = mask(payload, key)
        else:
            header = frame_header(first, size)
        self._wire.write_frame(header, payload)
        if self._options.max_write_buffer_size is not None:
            self._check_write_buffer()

    def _send_control(self, method: str, msg_type: WSMsgType, message: Optional[WSBuffer]) -> None:
        self._check_thread(method)
        payload = _as_buffer(message)
        _check_control(msg_type, True, len(payload))
        if self._is_sealed:
            self._log_sealed(method)
        else:
            self._write_frame(FIN | msg_type, payload)

    def _answer_ping(self, payload: bytes) -> None:
        """Auto-pong. While the peer does not read, only the newest ping will be answered (RFC 6455 5.5.3 allows it)."""
        if self._is_writing_paused:
            self._pending_pong = payload
        elif not self._is_sealed:
            self._write_frame(FIN | WSMsgType.PONG, payload)

    def _check_write_buffer(self) -> None:
        limit = self._options.max_write_buffer_size
        if limit is None or self._is_sealed:
            return
        if (size := self._wire.pending_size) > limit:
            self._log(logging.WARNING, "%d bytes wait to be sent, %d are allowed: closing the connection", size, limit)
            self._input_is_over = True
            self.send_close(WSCloseCode.POLICY_VIOLATION, f"write buffer exceeds {limit} bytes".encode())

    def _on_pause_writing(self) -> None:
        self._is_writing_paused = True

    def _on_resume_writing(self) -> None:
        self._is_writing_paused = False
        if self._pending_pong is not None:
            payload, self._pending_pong = self._pending_pong, None
            self._answer_ping(payload)

    # --- pings ---

    @property
    def _is_measuring(self) -> bool:
        return self._roundtrips is not None and self._roundtrips.is_busy

    def _start_auto_ping(self) -> None:
        if self._options.auto_ping is not None and not self._is_sealed:
            self._auto_pinger = AutoPinger(self._loop, self, self._options.auto_ping)

    def _stop_auto_ping(self) -> None:
        if self._auto_pinger is not None:
            self._auto_pinger.stop()
            self._auto_pinger = None

    def _ping(self) -> None:
        """Send a ping and wait for its pong. What the listener raises is the caller's to handle."""
        listener = self._listener
        if listener is None:
            raise ConnectionResetError("the connection is closed")
        self._awaits_pong = True
        listener.send_user_specific_ping(self)

    def _auto_ping(self) -> bool:
        """Ping for auto-ping; False if that ended the connection."""
        try:
            self._ping()
        except Exception:
            self._log(logging.ERROR, "send_user_specific_ping failed", exc_info=True)
            self._farewell(WSCloseCode.INTERNAL_ERROR, b"an exception occurred in auto-ping loop")
            return False
        return not self._is_sealed

    # --- the end ---

    def _close_record(self) -> WSCloseHandshake:
        if self._close_handshake is None:
            self._close_handshake = WSCloseHandshake()
        return self._close_handshake

    def _farewell(self, code: int, reason: bytes) -> None:
        """Send CLOSE, deliver nothing more, and disconnect once the CLOSE had time to leave."""
        self._input_is_over = True
        if not self._is_sealed:
            self.send_close(code, reason)
        self._loop.call_later(FAREWELL_DELAY_S, self.disconnect)

    def _close_and_hang_up(self, code: int, reason: str) -> None:
        """Say goodbye: send CLOSE, and disconnect as soon as the peer answers it."""
        self._hangs_up = True
        if not self._is_sealed:
            self.send_close(code, reason)
        if self._close_handshake is not None and self._close_handshake._recv is not None:
            self.disconnect()

    def _start_close_timer(self) -> None:
        timeout = self._options.close_timeout
        if timeout is not None and self._close_timer is None:
            self._close_timer = self._loop.call_later(timeout, self._on_close_timeout)

    def _on_close_timeout(self) -> None:
        self._close_timer = None
        self._log(logging.INFO, "the peer has not closed within %s s: disconnecting", self._options.close_timeout)
        self._abort()

    def _abort(self) -> None:
        if not self._is_lost:
            self.disconnect(graceful=False)

    def _on_lost(self) -> None:
        """The connection is gone: free everything that waits for it, and every reference that would keep it alive."""
        self._is_lost = self._is_disconnected = self._is_sealed = self._input_is_over = True
        self._awaits_pong = False
        self._listener = None
        self._pending_pong = None
        self._stop_auto_ping()
        self._wire.drop()
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        if self._roundtrips is not None:
            self._roundtrips.on_lost()

    def _release_waiters(self) -> None:
        if self._lost_waiter is not None and not self._lost_waiter.done():
            self._lost_waiter.set_result(None)

    # --- checks and logs ---

    def _check_thread(self, method: str) -> None:
        if get_ident() != self._thread_id:
            raise self._wrong_thread(method)

    def _wrong_thread(self, method: str) -> RuntimeError:
        return RuntimeError(
            f"WSTransport.{method} called from a wrong thread: {get_ident()} instead of {self._thread_id};"
            " use loop.call_soon_threadsafe"
        )

    def _log_sealed(self, method: str) -> None:
        what = "disconnect" if self._is_disconnected else "CLOSE"
        self._log(logging.DEBUG, "%s after %s is ignored", method, what)

    def _log(self, level: int, message: str, *args: object, exc_info: Any = None) -> None:
        """Log under the connection's own name, which is made only when something is logged."""
        if self._options.logger.isEnabledFor(level):
            if self._logger is self._options.logger:
                sock = self._underlying_transport.get_extra_info("socket")
                self._logger = connection_logger(self._logger, None if sock is None else sock.fileno())
            self._logger.log(level, message, *args, exc_info=exc_info)

    def _log_bytes(self, what: str, data: bytes) -> None:
        self._log(PICOWS_DEBUG_LL, "%s: %r", what, data)


def frame_header(first: int, size: int) -> bytes:
    """The header of an unmasked frame."""
    if size < 126:
        return _pack_7(first, size)
    if size < 65536:
        return _pack_16(first, 126, size)
    return _pack_64(first, 127, size)


def _as_buffer(message: Optional[WSBuffer]) -> Buffer:
    if message is None:
        return b""
    if isinstance(message, str):
        return message.encode()
    if isinstance(message, (bytes, bytearray)):
        return message
    try:
        view = memoryview(message)
    except TypeError:
        raise TypeError(f"a message must be str, bytes-like or None, got {type(message).__name__}") from None
    if not view.c_contiguous:
        raise BufferError("a message must be a C-contiguous buffer")
    return view.cast("B")


def _check_control(msg_type: int, fin: bool, size: int) -> None:
    """Refuse control frames that RFC 6455 5.5 does not allow, and opcodes that do not exist."""
    if not 0 <= msg_type <= 15:
        raise ValueError(f"an opcode is 0 to 15, got {int(msg_type)}")
    if msg_type == WSMsgType.CLOSE:
        raise ValueError("CLOSE frames are sent with send_close, which keeps the record of the closing handshake")
    if not fin:
        raise ValueError("a control frame cannot be fragmented")
    if size > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"a control frame carries at most {MAX_CONTROL_PAYLOAD} bytes, got {size}")
