"""One side of a connection without I/O: bytes in, events and bytes out, and the state of RFC 6455 in between.

    protocol.receive_data(data)             what the socket had; `receive_eof()` when it ended
    protocol.events_received()              requests, responses and frames, for the application
    protocol.data_to_send()                 what the socket must get; SEND_EOF means: shut the writing side down
    protocol.close_expected()               whether the socket will be closed soon

A protocol is in one of four phases: the opening handshake, which a subclass reads; frames; discarding, after a failure
or a close; and "left", where frames are the business of an engine of picows that took over after the handshake.

Exceptions are kept without their tracebacks: those refer to the protocol, and the cycle would keep it in memory.
"""

from __future__ import annotations

import enum
import logging

from ._failures import close_after, drop_tracebacks
from ._frame_reader import FrameReader
from ._frame_writer import as_bytes_like, encode_frame
from ._lifecycle import CLOSED as CLOSED
from ._lifecycle import CLOSING as CLOSING
from ._lifecycle import CONNECTING as CONNECTING
from ._lifecycle import OPEN as OPEN
from ._lifecycle import Lifecycle, State
from .exceptions import InvalidState, PayloadTooBig, ProtocolError
from .extensions.base import Extension
from .frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, Close, CloseCode, Frame, Opcode
from .frames import OK_CLOSE_CODES as OK_CLOSE_CODES
from .http11 import Request, Response
from .typing import BytesLike, LoggerLike, Origin, Subprotocol

__all__ = ["Protocol", "Side", "State", "SEND_EOF"]

#: What a protocol receives.
Event = Request | Response | Frame


class Side(enum.IntEnum):
    """Which side of the connection this is."""

    SERVER, CLIENT = range(2)


SERVER = Side.SERVER
CLIENT = Side.CLIENT


#: In `data_to_send()`: shut down the writing side of the connection.
SEND_EOF = b""

HANDSHAKE, FRAMES, DISCARD, LEFT = range(4)  # the phases

#: The reader of those that have not come to frames; it never gets any bytes.
_NOTHING_READ = FrameReader(masked=False)


class Protocol(Lifecycle):
    """A connection whose opening handshake is over; ServerProtocol and ClientProtocol add that.

    Args:
        side: which side this is.
        state: where it begins.
        max_size: how many bytes a message may have, or (message, fragment); None for no limit.
        logger: gets one line per frame at DEBUG.

    Attributes:
        id: a UUID, for logs.
        logger: the logger.
        handshake_exc: why the opening handshake failed, or None.
        parser_exc: why nothing is read any more, or None.
        origin: value of the request's Origin header.
        subprotocol: what the opening handshake agreed on.
        extensions: the same; the first is the nearest to the application.
        close_rcvd, close_sent: the CLOSE frames, or None.
        close_rcvd_then_sent: which of them came first, once there are both.
    """

    def __init__(
        self,
        side: Side,
        *,
        state: State = OPEN,
        max_size: tuple[int | None, int | None] | int | None = 2**20,
        logger: LoggerLike | None = None,
    ) -> None:
        if logger is None:
            logger = logging.getLogger(f"websockets.{Side(side).name.lower()}")
        if max_size is None or isinstance(max_size, int):
            max_size = max_size, None
        self.max_message_size, self.max_fragment_size = max_size
        self.side = side
        self._logger = logger
        self.debug = logger.isEnabledFor(logging.DEBUG)
        self.extensions: list[Extension] = []
        self.events: list[Event] = []
        self.writes: list[bytes] = []
        self._state = state
        self._phase = HANDSHAKE
        if not self._has_opening or state is not CONNECTING:
            self._expect_frames(FRAMES)
        if self.debug:
            self.logger.debug("= connection is %s", state.name)

    # What a connection has not changed, its class has for it.
    #: Whether it begins with an opening handshake that a subclass reads.
    _has_opening = False
    origin: Origin | None = None
    subprotocol: Subprotocol | None = None
    #: Bytes of the incoming fragmented message so far; None outside one.
    current_size: int | None = None
    #: Whether a fragmented message is being sent.
    expect_continuation_frame = False
    handshake_exc: Exception | None = None
    eof_sent = False
    _reader = _NOTHING_READ
    _eof_received = False

    # Bytes in

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the network. Afterwards call `data_to_send` and `events_received`.

        Raises:
            EOFError: after `receive_eof`.
        """
        if self._eof_received:
            raise EOFError("stream ended")
        if self._phase == FRAMES:
            self._reader.feed(data)
            self._read_frames()
        elif self._phase == HANDSHAKE:
            self._receive_handshake(data)
        elif self._phase == LEFT:
            self._reader.feed(data)

    def receive_eof(self) -> None:
        """Take the end of the stream. Afterwards call `data_to_send` and `events_received`."""
        if self._eof_received:
            return
        self._eof_received = True
        if self._phase == LEFT:
            return
        if self._phase == HANDSHAKE:
            self._receive_handshake_eof()
        elif self._phase == FRAMES:
            self.parser_exc = self._reader.end()
            if self.debug and not self._reader.remainder:
                self.logger.debug("< EOF")
        self._discard()
        if not self.eof_sent:
            self.send_eof()
        self.state = CLOSED
        if self.side is SERVER:
            self.logger.info("connection closed")

    def events_received(self) -> list[Event]:
        """Take the events that came since the last call."""
        events, self.events = self.events, []
        return events

    # Frames out

    def send_continuation(self, data: BytesLike, fin: bool) -> None:
        """Send the next fragment of a message.

        Raises:
            ProtocolError: there is no fragmented message.
            InvalidState: the connection is not open.
        """
        if not self.expect_continuation_frame:
            raise ProtocolError("unexpected continuation frame")
        self._send_data(CONT, data, fin)

    def send_text(self, data: BytesLike, fin: bool = True) -> None:
        """Send a text message, or its first fragment.

        Args:
            data: UTF-8; this is not checked.
            fin: False for the first fragment.

        Raises:
            ProtocolError: a fragmented message is not finished.
            InvalidState: the connection is not open.
        """
        if self.expect_continuation_frame:
            raise ProtocolError("expected a continuation frame")
        self._send_data(TEXT, data, fin)

    def send_binary(self, data: BytesLike, fin: bool = True) -> None:
        """Send a binary message, or its first fragment. Raises what send_text raises."""
        if self.expect_continuation_frame:
            raise ProtocolError("expected a continuation frame")
        self._send_data(BINARY, data, fin)

    def send_close(self, code: CloseCode | int | None = None, reason: str = "") -> None:
        """Begin the closing handshake (RFC 6455 7.1.2).

        Args:
            code: why; None for no code.
            reason: the same in words; at most 123 bytes of UTF-8.

        Raises:
            ProtocolError: the code may not be sent, the reason is too long, or it comes without a code.
            InvalidState: the connection is not open.
        """
        if self._state is not OPEN:
            raise self._invalid_state()
        if code is None:
            if reason:
                raise ProtocolError("cannot send a reason without a code")
            close, data = Close(CloseCode.NO_STATUS_RCVD, ""), b""
        else:
            close = Close(code, reason)
            data = close.serialize()
        self.send_frame(Frame(CLOSE, data))
        self.close_sent = close
        self.state = CLOSING

    def send_ping(self, data: BytesLike) -> None:
        """Send a PING; also while the connection is closing.

        Raises:
            ProtocolError: it has more than 125 bytes.
            InvalidState: the connection is not established, or closed.
        """
        self._send_control(PING, data)

    def send_pong(self, data: BytesLike) -> None:
        """Send a PONG nobody asked for; received PINGs are answered already. Raises what send_ping raises."""
        self._send_control(PONG, data)

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        """Fail the connection (RFC 6455 7.1.7): say why, if that is possible, and read nothing more.

        Args:
            code: as in `send_close`; 1006 sends no CLOSE frame.
            reason: as in `send_close`.

        Raises:
            ProtocolError: as in `send_close`.
            InvalidState: a client's connection is closed, or was never established; servers may always call it.
        """
        if self.side is CLIENT and (self._state is CLOSED or self._state is CONNECTING):
            raise self._invalid_state()
        if self._state is OPEN and code != CloseCode.ABNORMAL_CLOSURE:
            close = Close(code, reason)
            self.send_frame(Frame(CLOSE, close.serialize()))
            self.close_sent = close
            self.state = CLOSING
        # The server closes the TCP connection (RFC 6455 7.1.1); a client waits for that.
        if self.side is SERVER and not self.eof_sent:
            self.send_eof()
        self._discard()

    # Bytes out

    def data_to_send(self) -> list[bytes]:
        """Take the bytes to write since the last call, in order; SEND_EOF at the end shuts the writing side down."""
        writes, self.writes = self.writes, []
        return writes

    def close_expected(self) -> bool:
        """Whether the TCP connection will be closed soon, so that waiting for it needs a time limit."""
        if self._state is CONNECTING:
            return self.eof_sent
        return self._state is CLOSING

    # Between frames and bytes; not documented, but what subclasses override

    def recv_frame(self, frame: Frame) -> None:
        """Act on a frame, and make it an event.

        Raises:
            ProtocolError: it must not come here.
        """
        opcode = frame.opcode
        if opcode is TEXT or opcode is BINARY:
            if self.current_size is not None:
                raise ProtocolError("expected a continuation frame")
            if not frame.fin:
                self.current_size = len(frame.data)
        elif opcode is CONT:
            if self.current_size is None:
                raise ProtocolError("unexpected continuation frame")
            self.current_size = None if frame.fin else self.current_size + len(frame.data)
        elif opcode is PING:
            if self._state is OPEN or self._state is CLOSING:
                self.send_frame(Frame(PONG, frame.data))
        elif opcode is CLOSE:
            self._receive_close(frame)
        self.events.append(frame)

    def send_frame(self, frame: Frame) -> None:
        """Encode a frame. Raises ProtocolError if RFC 6455 does not allow it."""
        if self.debug:
            self.logger.debug("> %s", frame)
        self.writes.append(frame.serialize(mask=self.side is CLIENT, extensions=self.extensions))

    def send_eof(self) -> None:
        """Shut down the writing side. Raises InvalidState if that was done before."""
        if self.eof_sent:
            raise InvalidState("the writing side is shut down already")
        self.eof_sent = True
        if self.debug:
            self.logger.debug("> EOF")
        self.writes.append(SEND_EOF)

    # Inside

    def _expect_frames(self, phase: int) -> None:
        self._phase = phase
        self._reader = FrameReader(masked=self.side is SERVER)

    def _receive_handshake(self, data: BytesLike) -> None:
        """Overridden where there is an opening handshake to read."""

    def _receive_handshake_eof(self) -> None:
        """Overridden where there is an opening handshake to read."""

    def _discard(self) -> None:
        """Read nothing more."""
        self._phase = DISCARD
        self._reader.clear()

    def _read_frames(self) -> None:
        try:
            while self._phase == FRAMES:
                limit = self.max_message_size
                if self.current_size is not None and limit is not None:
                    limit -= self.current_size
                fragment = self.max_fragment_size
                if fragment is not None and (limit is None or fragment < limit):
                    limit = fragment
                frame = self._reader.read(limit, allows_reserved_bits=bool(self.extensions))
                if frame is None:
                    return
                if self.extensions:
                    for extension in reversed(self.extensions):
                        frame = extension.decode(frame, max_size=limit)
                    frame.check()
                if self.debug:
                    self.logger.debug("< %s", frame)
                self.recv_frame(frame)
        except Exception as exc:
            self._fail_parser(exc)

    def _fail_parser(self, exc: Exception) -> None:
        if isinstance(exc, PayloadTooBig) and exc.message is None and exc.current_size is None:
            exc.set_current_size(self.current_size)
        self.parser_exc = exc
        close = close_after(exc)
        if close is None:
            self.logger.error("parser failed", exc_info=exc)
            close = Close(CloseCode.INTERNAL_ERROR, "")
        drop_tracebacks(exc)
        if self._state is CLOSED or close.code == CloseCode.ABNORMAL_CLOSURE:  # an owner may set CLOSED at any time
            self._discard()
        else:
            self.fail(close.code, close.reason)

    def _receive_close(self, frame: Frame) -> None:
        self.close_rcvd = Close.parse(frame.data)
        if self._state is OPEN:
            self.close_rcvd_then_sent = True
        elif self.close_sent is not None:
            self.close_rcvd_then_sent = False
        if self.current_size is not None:
            raise ProtocolError("incomplete fragmented message")
        if self._state is OPEN:
            self.send_frame(Frame(CLOSE, frame.data))
            self.close_sent = self.close_rcvd
            self.state = CLOSING
        if self.side is SERVER and not self.eof_sent:
            self.send_eof()
        self._discard()

    def _send_data(self, opcode: Opcode, data: BytesLike, fin: bool) -> None:
        if self._state is not OPEN:
            raise self._invalid_state()
        if type(data) is not bytes and type(data) is not bytearray:
            data = as_bytes_like(data)
        if self.debug or self.extensions:
            self.send_frame(Frame(opcode, data, fin))
        else:
            self.writes.append(encode_frame(opcode | 0x80 if fin else opcode, data, self.side is CLIENT))
        self.expect_continuation_frame = not fin

    def _send_control(self, opcode: Opcode, data: BytesLike) -> None:
        if self._state is not OPEN and self._state is not CLOSING:
            raise self._invalid_state()
        self.send_frame(Frame(opcode, as_bytes_like(data)))

    def _invalid_state(self) -> InvalidState:
        return InvalidState(f"connection is {self._state.name.lower()}")
