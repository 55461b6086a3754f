"""The slow way of frames, as objects: for connections whose log is at DEBUG, or with an extension that the engine does
not know.

A tap puts itself before `on_ws_frame` and `send` of one connection, in the dictionary of that object. The engine sees
that, and calls it for every frame; the connection drops it when it ends.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import PayloadTooBig, ProtocolError
from ..extensions.base import Extension
from ..frames import BINARY, CLOSE, CONT, DATA_OPCODES, PING, PONG, TEXT, CloseCode, Frame, Opcode

if TYPE_CHECKING:
    from ..typing import DataLike
    from .connection import Connection

_new_decoder = codecs.getincrementaldecoder("utf-8")


class Tap:
    """The frames of one connection, in both directions.

    Args:
        connection: whose.
        extensions: those that encode and decode here; the engine has none then.
    """

    __slots__ = (
        "_connection",
        "_debug",
        "_decoder",
        "_extensions",
        "_is_paused",
        "_is_text",
        "_pong",
        "_size",
        "in_message",
    )

    def __init__(self, connection: Connection, extensions: Sequence[Extension]) -> None:
        self._connection = connection
        self._extensions = extensions
        self._debug = connection.protocol.debug
        #: Whether the write buffer is above its high watermark, and the pong that waits meanwhile.
        self._is_paused = False
        self._pong: Frame | None = None
        #: Fragments of a message have arrived, and not the last.
        self.in_message = False
        self._size = 0
        self._is_text = False
        self._decoder: Any = None

    def attach(self) -> None:
        """Take the place of the engine's methods."""
        connection = self._connection
        connection.__dict__["on_ws_frame"] = self.receive
        connection.__dict__["send"] = self.send
        connection._is_tapped = True
        if self._debug:  # the engine does not answer pings then
            connection.__dict__["pause_writing"] = self.pause_writing
            connection.__dict__["resume_writing"] = self.resume_writing
        if self._extensions:
            connection._frame_rules = None  # reserved bits and payloads mean what the extensions say

    def detach(self) -> None:
        """Make room for them again: nothing comes any more."""
        for name in ("on_ws_frame", "send", "pause_writing", "resume_writing"):
            self._connection.__dict__.pop(name, None)
        self._connection._is_tapped = False

    # Receiving

    def receive(self, transport: Any, received: Any) -> None:
        """What `on_ws_frame` does."""
        connection = self._connection
        try:
            self._take(transport, received)
        except PayloadTooBig as exc:
            connection._close_failing(CloseCode.MESSAGE_TOO_BIG, str(exc), _bare(exc))
        except UnicodeDecodeError as exc:
            reason = f"{exc.reason} at position {exc.start}"
            connection._close_failing(CloseCode.INVALID_DATA, reason, _bare(exc))
        except ProtocolError as exc:
            connection._close_failing(CloseCode.PROTOCOL_ERROR, str(exc), _bare(exc))
        except Exception as exc:  # out of an extension
            connection.logger.error("parser failed", exc_info=exc)
            connection._close_failing(CloseCode.INTERNAL_ERROR, "", _bare(exc))

    def _take(self, transport: Any, received: Any) -> None:
        connection = self._connection
        frame = Frame(
            Opcode(int(received.msg_type)),
            received.get_payload_as_bytes(),
            bool(received.fin),
            bool(received.rsv1),
            bool(received.rsv2),
            bool(received.rsv3),
        )
        for extension in reversed(self._extensions):
            frame = extension.decode(frame, max_size=self._allowed())
        frame.check()
        if self._debug:
            connection.logger.debug("< %s", frame)
        if frame.opcode in DATA_OPCODES:
            self._take_data(frame)
        elif frame.opcode is PING:
            if self._debug:
                self._answer(Frame(PONG, frame.data))
        elif frame.opcode is PONG:
            connection._on_pong(bytes(frame.data))
        elif frame.opcode is CLOSE:
            connection._on_close(received)

    def _allowed(self) -> int | None:
        protocol = self._connection.protocol
        limit = protocol.max_message_size
        if limit is not None:
            limit -= self._size
        fragment = protocol.max_fragment_size
        return fragment if limit is None or (fragment is not None and fragment < limit) else limit

    def _take_data(self, frame: Frame) -> None:
        is_first = frame.opcode is not CONT
        if is_first and self.in_message:
            raise ProtocolError("expected a continuation frame")
        if not is_first and not self.in_message:
            raise ProtocolError("unexpected continuation frame")
        if is_first:
            self._is_text = frame.opcode is TEXT
            self._decoder = _new_decoder() if self._is_text else None
        limit = self._allowed()
        if limit is not None and len(frame.data) > limit:
            raise PayloadTooBig(len(frame.data), limit, self._size or None)
        self.in_message = not frame.fin
        self._size += len(frame.data)
        if self._decoder is not None:
            self._decoder.decode(frame.data, frame.fin)
        self._connection._put(bytes(frame.data), self._is_text, is_first, frame.fin)
        if frame.fin:
            self._size = 0

    # Answering pings, as the engine does it: while the peer does not read, only the newest one will be answered

    def _answer(self, pong: Frame) -> None:
        if self._is_paused:
            self._pong = pong
        elif not self._connection._transport._is_sealed:
            self.send_frame(pong)

    def pause_writing(self) -> None:
        """The write buffer is full."""
        self._is_paused = True
        type(self._connection).pause_writing(self._connection)

    def resume_writing(self) -> None:
        """The write buffer has room again."""
        self._is_paused = False
        type(self._connection).resume_writing(self._connection)
        pong, self._pong = self._pong, None
        if pong is not None:
            self._answer(pong)

    # Sending

    async def send(self, message: Any, *, text: bool | None = None) -> None:
        """What `Connection.send` does."""
        connection = self._connection
        if not isinstance(message, (str, bytes, bytearray, memoryview)):
            await connection._send_other(message, text)
            return
        is_text = isinstance(message, str) if text is None else text
        lock = connection._stream_lock
        if lock is not None and lock.locked():
            async with lock:
                is_sent = self.send_message(TEXT if is_text else BINARY, message)
        else:
            is_sent = self.send_message(TEXT if is_text else BINARY, message)
        if not is_sent:
            await connection._refuse_send()
        await connection._wait_for_drain()

    def send_message(self, opcode: Opcode, message: DataLike, fin: bool = True) -> bool:
        """Send a message, or a fragment of one; False if nothing can be sent any more."""
        if self._connection._transport._is_sealed:
            return False
        self.send_frame(Frame(opcode, message.encode() if isinstance(message, str) else bytes(message), fin))
        return True

    def send_frame(self, frame: Frame) -> None:
        """Send a frame that the extensions have not seen yet."""
        if self._debug:
            self._connection.logger.debug("> %s", frame)
        for extension in self._extensions:
            frame = extension.encode(frame)
        transport = self._connection._transport
        transport.send(int(frame.opcode), frame.data, frame.fin, frame.rsv1, frame.rsv2, frame.rsv3)


def _bare(exc: Exception) -> Exception:
    """Without what would keep the connection alive."""
    exc.__context__ = None
    return exc.with_traceback(None)
