"""Messages instead of frames: a listener that puts fragments together, queues them, and is read and written with
`await`.

Here frames arrive in the loop's callback and become fragments; `receiving` has the queue that they wait in, `sending`
the other direction.

The parser is strict here and checks UTF-8 and sizes on the wire; compressed messages are inflated and checked here,
never beyond `max_message_size`. CLOSE is answered. The CLOSE for a violation lets the receiver answer what came before
it in the same read, as a listener of frames does in its callback.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Optional, Tuple, Union, cast

from ..abc import FrameRules
from ..closing import truncated_reason
from ..deflate import DeflateCodec
from ..enums import WSCloseCode, WSMsgType
from ..errors import WSMessageTooBigError, WSProtocolError
from ..options import check_size
from .frame import CONTINUATION, CONTROL, FIN, RSV1, TEXT, WSFrame
from .receiving import MessageReceiver
from .transport import WSTransport
from .utf8 import Utf8Decoder

#: Turns of the loop that a receiver has to answer what came before a violation.
_TURNS_TO_ANSWER = 8


class WSMessageListener(MessageReceiver):
    """A connection of whole messages. Use it as the listener factory, or derive from it.

    Args:
        request: what a listener factory is called with; not used.
        response: as request.
        max_message_size: limit of a message in bytes, also after inflating; more is 1009. None is no limit.
        max_fragments: limit of the frames of one message, empty ones included; more is 1009. None is no limit:
            memory is bounded by what the fragments carry, however many they are.
        max_fragment_size: limit of one frame's payload after inflating; more is 1009. None is no limit of its own. (On
            the wire it is the connection's `max_frame_size`.)
        max_queue: frames that may wait to be received before reading pauses, or (high, low): reading goes on at low.
            None never pauses.
        codec: permessage-deflate as it was negotiated (see `picows.deflate`), or None.
    """

    def __init__(
        self,
        request: Any = None,
        response: Any = None,
        *,
        max_message_size: Optional[int] = 10 * 1024 * 1024,
        max_fragments: Optional[int] = None,
        max_fragment_size: Optional[int] = None,
        max_queue: Union[int, None, Tuple[int, int]] = 16,
        codec: Optional[DeflateCodec] = None,
    ) -> None:
        super().__init__(codec, max_queue)
        if max_message_size is not None:
            check_size("max_message_size", max_message_size)
        if max_fragments is not None:
            check_size("max_fragments", max_fragments)
        if max_fragment_size is not None:
            check_size("max_fragment_size", max_fragment_size)
        self._max_fragment_size = max_fragment_size
        self._max_size = max_message_size
        self._max_fragments = max_fragments
        self._frame_rules = FrameRules(RSV1 if codec is not None else 0, max_message_size, minimal_lengths=False)
        self._is_deaf = False
        self._end: Optional[asyncio.Future[None]] = None
        # Of a CLOSE that waits until the receiver has answered what came before a violation.
        self._pending_farewell: Optional[Tuple[int, bytes]] = None
        # The message that is arriving.
        self._is_compressed = False
        self._in_message = False
        self._size = 0
        self._arrived_fragments = 0
        self._decoder: Optional[Utf8Decoder] = None

    # --- what layers above override: see `picows.websockets` ---

    def _use_codec(self, codec: Optional[DeflateCodec]) -> None:
        """Set what the constructor was not told yet; only before `on_ws_connected`."""
        rsv1 = RSV1 if codec is not None else 0
        self._codec = codec
        self._frame_rules = FrameRules(rsv1, self._max_size, minimal_lengths=False)

    def _on_violation(self, exc: WSProtocolError) -> WSProtocolError:
        """The peer broke a rule, and the connection is about to be closed with this error's code and text."""
        return exc

    def _on_pong(self, payload: bytes) -> None:
        """A PONG was received that nobody in the engine waits for."""

    def _sends_plainly(self) -> bool:
        """Whether a whole message would leave now as one frame that is nothing but the message."""
        return (
            self._transport is not None
            and not self._transport._is_sealed
            and self._codec is None
            and self._stream_lock is None
            and self._pending_farewell is None
            and not self._is_tapped
        )

    # --- frames from the engine ---

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The connection can be used."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Queue data, answer CLOSE."""
        if frame._first & CONTROL:
            if frame._msg_type is WSMsgType.CLOSE:
                self._on_close(frame)
            elif frame._msg_type is WSMsgType.PONG:
                self._on_pong(bytes(frame._payload))
            return
        if self._is_closing and self._queued_frames >= self._high:
            self._is_deaf = True  # nobody has promised to receive; and no message is better than one with a hole
        if self._is_deaf:
            return
        try:
            if frame._msg_type is not CONTINUATION:
                self._begin_message(frame)
            self._count_fragment()
            is_last = frame._first >= FIN
            is_first, self._in_message = not self._in_message, not is_last
            if self._is_compressed:
                self._enqueue(*self._inflate(frame, is_first, is_last), is_first, is_last)
            else:
                self._enqueue(frame._payload, frame._text, is_first, is_last)
        except WSProtocolError as exc:
            self._fail(exc)

    def _begin_message(self, frame: WSFrame) -> None:
        self._is_text = frame._msg_type is TEXT
        self._is_compressed = bool(frame._first & RSV1)
        self._size = self._arrived_fragments = 0
        self._decoder = Utf8Decoder() if self._is_compressed and self._is_text else None

    def _count_fragment(self) -> None:
        self._arrived_fragments += 1
        if self._max_fragments is not None and self._arrived_fragments > self._max_fragments:
            raise _too_many_fragments(self._max_fragments)

    def _inflate(self, frame: WSFrame, is_first: bool, is_last: bool) -> Tuple[bytes, Optional[str]]:
        """One frame of a compressed message, inflated and, if it is text, checked; the text too if it is all of it."""
        codec = cast(DeflateCodec, self._codec)  # without one the parser refuses RSV1
        budget = None if self._max_size is None else self._max_size - self._size
        fragment = self._max_fragment_size
        if fragment is not None and (budget is None or fragment < budget):
            budget = fragment
        try:
            data = codec.decompress(frame._payload, is_last, budget)
        except WSMessageTooBigError as exc:
            limit = self._size + (budget or 0)
            raise WSMessageTooBigError(
                f"message inflates to more than {limit} bytes", self._size + exc.size, limit
            ) from None
        self._size += len(data)
        text = None if self._decoder is None else self._decoder.decode(data, is_last)
        return data, text if is_first and is_last else None

    def _refuse_message(self) -> None:
        """`recv` would have to join more frames than layers above allow it."""
        self._fail(_too_many_fragments(self._max_joined))

    def _fail(self, exc: WSProtocolError) -> None:
        """The peer broke a rule of messages (RFC 6455 7.1.7): what the protocol does where it broke one of frames."""
        transport = self._transport
        exc = self._on_violation(exc)
        transport._log(logging.ERROR, "protocol error, closing with %d: %s", exc.code, exc)
        if transport._failure is None:
            exc.__context__ = None  # like its own, its traceback would keep the connection alive
            transport._failure = exc.with_traceback(None)
        self._say_farewell(exc.code, truncated_reason(str(exc)))

    def _say_farewell(self, code: int, reason: bytes) -> None:
        """Close after a violation. What came before it may be answered first: a receiver that this read has woken has
        not run yet, and `ws_connect` may not have returned yet."""
        transport = self._transport
        if not any(fragment.is_last for fragment in self._fragments):
            transport._farewell(code, reason)
        else:
            transport._input_is_over = True
            self._pending_farewell = code, reason
            transport._loop.call_soon(self._await_answers, _TURNS_TO_ANSWER)

    def _await_answers(self, turns: int) -> None:
        """Until the receiver waits for more, but not for long: `wait_for` takes some turns to wake its caller."""
        if self._pending_farewell is None:
            return
        if turns and (self._reader is None or self._reader.is_done):
            self._transport._loop.call_soon(self._await_answers, turns - 1)
        else:
            self._bid_farewell()

    def _bid_farewell(self) -> None:
        """Send the CLOSE that waits, if there is one."""
        farewell, self._pending_farewell = self._pending_farewell, None
        if farewell is not None:
            self._transport._farewell(*farewell)

    # --- the end ---

    async def close(self, code: int = WSCloseCode.OK, reason: str = "") -> None:
        """Close properly (RFC 6455 7.1.2) and wait until the connection has ended, at most for `close_timeout`.

        Messages that were queued can still be received. Those that arrive while closing are queued up to `max_queue`
        and then dropped, because the peer's CLOSE comes after them. Idempotent.

        Args:
            code: 1000-1003, 1007-1014 or 3000-4999.
            reason: at most 123 bytes in UTF-8.

        Raises:
            ValueError: a code or a reason that must not be sent; the connection goes on.
        """
        self._bid_farewell()
        if not self._transport.is_close_frame_sent:
            self._transport.send_close(code, reason)
        self._is_closing = True
        if self._is_reading_paused:
            self._is_reading_paused = False
            if not self._transport.is_disconnected:
                self._transport._resume_reading()
        if not self._is_lost:
            # Not wait_disconnected: it raises what the connection failed with, which recv reports.
            if self._end is None:
                self._end = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._end)

    def _on_close(self, frame: WSFrame) -> None:
        """Answer; the server then hangs up, the client waits for it (RFC 6455 7.1.1)."""
        if not self._transport.is_close_frame_sent:
            self._transport.send_close(frame.get_close_code(), frame.get_close_message())
        if not self._transport.is_client_side:
            self._transport._hang_up()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Wake everybody who waits."""
        self._is_lost = True
        self._codec = self._pending_farewell = None
        if self._end is not None and not self._end.done():
            self._end.set_result(None)
        self._wake_reader()
        self.resume_writing()


def _too_many_fragments(limit: int) -> WSProtocolError:
    return WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, f"message of more than {limit} fragments")
