"""The sending half and the life of one connection.

Everything here runs in the thread of the connection's loop; a call from another thread is a RuntimeError. Once our
CLOSE was sent or `disconnect()` was called nothing more reaches the wire: all `send*` methods are then silent no-ops.
"""

from __future__ import annotations

import logging
from threading import get_ident
from typing import Optional

from ..abc import WSBuffer
from ..closing import MAX_CONTROL_PAYLOAD, close_payload
from ..enums import WSCloseCode, WSMsgType
from ..enums import close_code as close_code_member
from ..frame_header import pack_7, pack_7_key, pack_16, pack_16_key, pack_64, pack_64_key
from .closing import WSCloseInfo
from .connection import Connection
from .frame import CONTROL, FIN, RSV1, RSV2, RSV3
from .mask import Buffer, mask
from .wire import JOIN_LIMIT

#: Room that `send_reuse_external_bytearray` needs before the message: the longest header of a masked frame.
MAX_HEADER = 14

#: Bits of FIN and opcode that no data frame has.
_NOT_DATA = ~(FIN | (CONTROL - 1))


class WSTransport(Connection):
    """One WebSocket connection, as its listener sees it.

    Made by the library. The constructor is for tests and for engines of protocols that are built on this one.

    Args:
        is_client_side: True masks what is sent (RFC 6455 5.3).
        underlying_transport: the asyncio transport.
        logger: where it logs.
        loop: the loop that it belongs to.
        options: validated options; the defaults of one side if None.
    """

    __slots__ = ()

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
            message: str (sent as UTF-8), any C-contiguous buffer, or None for no payload. It may be changed after
                the call.
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
            self._check_thread("send")
        payload = message if type(message) is bytes else _as_buffer(message)
        first = (FIN if fin else 0) | msg_type
        if first & _NOT_DATA:
            _check_control(msg_type, fin, len(payload))
        if rsv1 or rsv2 or rsv3:
            first |= (RSV1 if rsv1 else 0) | (RSV2 if rsv2 else 0) | (RSV3 if rsv3 else 0)
        if self._is_sealed:
            self._log_sealed("send")
        elif self._is_client_side or self._max_write_buffer_size is not None or len(payload) > JOIN_LIMIT:
            self._write_frame(first, payload)
        else:  # what a server mostly sends, with one call less
            size = len(payload)
            header = pack_7(first, size) if size < 126 else pack_16(first, 126, size)
            self._wire.write(header + payload)

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
        self._close_record()._record_sent(WSCloseInfo(close_code_member(close_code), reason.decode()))
        # Sealed first: a write buffer that is full must not send another CLOSE from within.
        self._is_close_frame_sent = self._is_sealed = True
        self._write_frame(FIN | WSMsgType.CLOSE, payload)
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

    def _lend_transport(self) -> None:
        """Somebody gets the asyncio transport, and may close it at any time: what was sent before that leaves, what is
        sent after it goes to the transport, which drops it."""
        if get_ident() == self._thread_id:
            self._wire.flush()
        self._wire.is_lent = True

    # --- writing ---

    def _write_frame(self, first: int, payload: Buffer) -> None:
        size = len(payload)
        if self._is_client_side:
            key, key_big = self._pool.next_key()
            if size < 126:
                header = pack_7_key(first, 0x80 | size, key_big)
            elif size < 65536:
                header = pack_16_key(first, 0xFE, size, key_big)
            else:
                header = pack_64_key(first, 0xFF, size, key_big)
            payload = mask(payload, key)
        elif size < 126:
            header = pack_7(first, size)
        elif size < 65536:
            header = pack_16(first, 126, size)
        else:
            header = pack_64(first, 127, size)
        if size <= JOIN_LIMIT:
            self._wire.write(header + payload)
        else:
            self._write_large(header, payload)
        if self._max_write_buffer_size is not None:
            self._check_write_buffer()

    def _write_large(self, header: bytes, payload: Buffer) -> None:
        self._wire.mind_the_end()
        if self._is_sealed:  # by a callback, within
            self._log_sealed("send")
        else:
            self._wire.write_parts(header, payload)

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
        limit = self._max_write_buffer_size
        if limit is None or self._is_sealed:
            return
        size = self._wire.pending_size
        if size > limit:
            self._wire.flush()  # what nobody has tried to send does not say that the peer is slow
            size = 0 if self._is_sealed else self._wire.pending_size
        if size > limit:
            self._log(logging.WARNING, "%d bytes wait to be sent, %d are allowed: closing the connection", size, limit)
            self._farewell(WSCloseCode.POLICY_VIOLATION, f"write buffer exceeds {limit} bytes".encode())

    def _on_pause_writing(self) -> None:
        self._is_writing_paused = True

    def _on_resume_writing(self) -> None:
        self._is_writing_paused = False
        if self._pending_pong is not None:
            payload, self._pending_pong = self._pending_pong, None
            self._answer_ping(payload)


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
    return view.cast("B") if view.nbytes else b""


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
