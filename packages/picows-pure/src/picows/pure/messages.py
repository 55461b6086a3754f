"""Messages instead of frames: a listener that puts fragments together, queues them, and is read and written with
`await`.

Frames arrive in the loop's callback and are queued as fragments; `recv` takes one message, `recv_streaming` its
fragments. Above `max_queue` frames the connection stops reading and the peer feels TCP's backpressure. A peer that
sends its message in crumbs cannot fill memory with our bookkeeping: beyond a few fragments they are joined as they
arrive.

The parser is strict here and checks UTF-8 and sizes on the wire; compressed messages are inflated and checked here,
never beyond `max_message_size`. CLOSE is answered.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
from collections import deque
from typing import Any, AsyncIterable, AsyncIterator, Deque, Iterable, Optional, Tuple, Union, cast

from ..abc import FrameRules, WSBuffer
from ..closing import truncated_reason
from ..deflate import DeflateCodec
from ..enums import WSCloseCode, WSMsgType
from ..errors import WSConnectionClosed, WSMessageTooBigError, WSProtocolError
from ..options import check_size
from .fragments import Fragment, FragmentSender
from .frame import CONTROL, FIN, RSV1, WSFrame
from .listener import WSListener
from .pool import Pool
from .transport import WSTransport, _as_buffer
from .utf8 import Utf8Decoder

#: So many fragments of one message may wait before further ones are joined to the last.
_SEPARATE_FRAGMENTS = 64
_new_decoder = codecs.getincrementaldecoder("utf-8")
_CLEAN_CODES = (WSCloseCode.OK, WSCloseCode.GOING_AWAY, WSCloseCode.NO_INFO)


class WSMessageListener(WSListener):
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
        self._high, self._low = _watermarks(max_queue)
        if max_message_size is not None:
            check_size("max_message_size", max_message_size)
        if max_fragments is not None:
            check_size("max_fragments", max_fragments)
        if max_fragment_size is not None:
            check_size("max_fragment_size", max_fragment_size)
        self._max_fragment_size = max_fragment_size
        self._max_size = max_message_size
        self._max_fragments = max_fragments
        self._codec = codec
        self._frame_rules = FrameRules(RSV1 if codec is not None else 0, max_message_size, minimal_lengths=False)
        self._transport: Any = None
        self._fragments: Deque[Fragment] = deque()
        self._queued_frames = 0
        self._reader: Optional[asyncio.Future[None]] = None
        # Who takes the fragments of the message at the head of the queue one by one.
        self._stream: Optional[object] = None
        self._is_streaming = False
        self._is_reading_paused = False
        self._is_closing = False
        self._is_deaf = False
        self._is_lost = False
        self._end: Optional[asyncio.Future[None]] = None
        # The message that is arriving.
        self._is_text = False
        self._is_compressed = False
        self._in_message = False
        self._size = 0
        self._arrived_fragments = 0
        self._decoder: Optional[Utf8Decoder] = None
        # The batch that `recv` has begun, or 0.
        self._burst = 0
        # Sending.
        self._drain: Optional[asyncio.Future[None]] = None
        self._stream_lock: Optional[asyncio.Lock] = None

    # --- what layers above override: see `picows.websockets` ---

    #: True: while the iterator of `recv_streaming` is within a message nobody else may receive.
    _has_exclusive_streams = False

    @property
    def transport(self) -> Any:
        """The WSTransport, from `on_ws_connected` on; None before."""
        return self._transport

    @transport.setter
    def transport(self, transport: Any) -> None:
        self._transport = transport

    def _use_codec(self, codec: Optional[DeflateCodec]) -> None:
        """Set what the constructor was not told yet; only before `on_ws_connected`."""
        rsv1 = RSV1 if codec is not None else 0
        self._codec = codec
        self._frame_rules = FrameRules(rsv1, self._max_size, minimal_lengths=False)

    def _closed_error(self) -> Exception:
        """What `recv` and `send` raise once the connection has ended."""
        handshake = self._transport.close_handshake
        received = None if handshake is None else handshake.recv
        if received is None:
            error = WSConnectionClosed(WSCloseCode.ABNORMAL_CLOSURE, "")
        else:
            error = WSConnectionClosed(received.code, received.reason or "")
        error.__cause__ = self._transport._failure
        return error

    def _concurrency_error(self, method: str) -> Exception:
        """What `method` raises while somebody else receives."""
        return RuntimeError("another recv is waiting for a message on this connection")

    def _ends_iteration(self, exc: BaseException) -> bool:
        """Whether `async for` ends, rather than raise this exception of `recv`."""
        return isinstance(exc, WSConnectionClosed) and exc.code in _CLEAN_CODES

    async def _on_undecodable(self, exc: UnicodeDecodeError) -> Exception:
        """What `recv` raises where the caller wants a str of a binary message that is not UTF-8."""
        return exc

    def _on_violation(self, exc: WSProtocolError) -> WSProtocolError:
        """The peer broke a rule, and the connection is about to be closed with this error's code and text."""
        return exc

    def _on_pong(self, payload: bytes) -> None:
        """A PONG was received that nobody in the engine waits for."""

    def _put(self, data: bytes, is_text: bool, is_first: bool, is_last: bool) -> None:
        """Queue a fragment that did not come through `on_ws_frame`; `data` of a text must be UTF-8."""
        self._is_text = is_text
        self._enqueue(data, None, is_first, is_last)

    async def _send_other(self, message: Any, text: Optional[bool]) -> None:
        """Send what is neither str, bytes, bytearray nor memoryview, or refuse it."""
        if message is None:
            raise TypeError("a message must be str or bytes-like, got None")
        await self.send(memoryview(_as_buffer(message)), text=text)

    async def _refuse_send(self) -> None:
        """Raise, because the connection is closing or closed."""
        raise self._closed_error()

    # --- receiving ---

    async def recv(self, decode: Optional[bool] = None) -> Union[str, bytes]:
        """Receive a message. Cancelling it loses nothing.

        Args:
            decode: True returns str, False bytes; None str for text and bytes for binary messages.

        Raises:
            WSConnectionClosed: the connection has ended and every message was received.
            RuntimeError: another `recv` is waiting.
        """
        self._begin_receiving("recv")
        while not self._has_message():
            await self._wait_for_fragment()
        if len(self._fragments) > 1:
            self._begin_burst()
        try:
            return self._take_message(decode)
        except UnicodeDecodeError as exc:
            undecodable = exc
        raise await self._on_undecodable(undecodable)

    async def recv_streaming(self, decode: Optional[bool] = None) -> AsyncIterator[Union[str, bytes]]:
        """Receive a message as an iterator over its fragments; arguments and errors as for `recv`.

        Cancelling it before its first fragment loses nothing. Leaving it later, by `break` or by cancelling, drops the
        rest of this message when the next one is asked for, also where that rest arrives only then.

        Raises:
            RuntimeError: also where the iterator goes on after somebody else asked for the next message.
        """
        stream = self._begin_receiving("recv_streaming")
        decoder: Any = None
        undecodable: Optional[UnicodeDecodeError] = None
        has_begun = is_last = False
        while not is_last:
            if not has_begun:
                self._drop_rest_of_message()
            if not self._fragments:
                await self._wait_for_fragment()
                continue
            fragment = self._take_fragment()
            has_begun, is_last = True, fragment.is_last
            self._is_streaming = self._has_exclusive_streams and not is_last
            if decode is None:
                decode = fragment.is_text
            if decode:
                decoder = decoder or _new_decoder()
                try:
                    text = decoder.decode(fragment.data, is_last)
                except UnicodeDecodeError as exc:
                    undecodable = exc
                    break
                yield text
            else:
                yield bytes(fragment.data)
            if not is_last and self._stream is not stream:
                raise RuntimeError("the rest of this message was dropped because the next one was asked for")
        if undecodable is not None:
            raise await self._on_undecodable(undecodable)

    def __aiter__(self) -> AsyncIterator[Union[str, bytes]]:
        """Messages until the connection is closed properly; an error of `recv` if it ends otherwise."""
        return _Messages(self)

    def _begin_receiving(self, method: str) -> object:
        if self._reader is not None or self._is_streaming:
            raise self._concurrency_error(method)
        self._stream = object()
        return self._stream

    def _has_message(self) -> bool:
        """True if a whole message is queued. While one is arriving its fragments are joined, and reading goes on."""
        self._drop_rest_of_message()
        fragments = self._fragments
        while len(fragments) > 1 and not fragments[0].is_last:
            follower = fragments[1]
            fragments[0].join(follower.data, follower.is_last, follower.frames)
            del fragments[1]
        if not fragments or fragments[0].is_last:
            return bool(fragments)
        self._queued_frames -= fragments[0].frames
        fragments[0].frames = 0
        self._resume_reading()
        return False

    def _take_fragment(self) -> Fragment:
        fragment = self._fragments.popleft()
        self._queued_frames -= fragment.frames
        self._resume_reading()
        return fragment

    def _take_message(self, decode: Optional[bool]) -> Union[str, bytes]:
        fragment = self._take_fragment()
        if fragment.is_text if decode is None else decode:
            return fragment.data.decode() if fragment.text is None else fragment.text
        return bytes(fragment.data)

    def _drop_rest_of_message(self) -> None:
        """What the queue begins with belongs to a message whose beginning was taken by `recv_streaming` alone."""
        while self._fragments and not self._fragments[0].is_first:
            self._take_fragment()

    def _begin_burst(self) -> None:
        """More is queued: what the receiver sends until it has to wait is gathered, as it is within a read; and in any
        case it leaves in the next cycle of the loop."""
        transport = self._transport
        pool = transport._pool
        if transport._wire.coalesce and not pool.in_batch and not self._is_lost:
            pool.in_batch = True
            pool.batch += 1
            self._burst = pool.batch
            transport._loop.call_soon(_end_burst, pool, pool.batch)

    async def _wait_for_fragment(self) -> None:
        if self._burst:
            _end_burst(self._transport._pool, self._burst)
            self._burst = 0
        if self._is_lost:
            raise self._closed_error()
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

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
            if frame._msg_type is not WSMsgType.CONTINUATION:
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

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Wake everybody who waits."""
        self._is_lost = True
        self._codec = None
        if self._end is not None and not self._end.done():
            self._end.set_result(None)
        self._wake_reader()
        self.resume_writing()

    def _fail(self, exc: WSProtocolError) -> None:
        """The peer broke a rule of messages (RFC 6455 7.1.7): what the protocol does where it broke one of frames."""
        transport = self._transport
        exc = self._on_violation(exc)
        transport._log(logging.ERROR, "protocol error, closing with %d: %s", exc.code, exc)
        if transport._failure is None:
            exc.__context__ = None  # like its own, its traceback would keep the connection alive
            transport._failure = exc.with_traceback(None)
        transport._farewell(exc.code, truncated_reason(str(exc)))

    def _begin_message(self, frame: WSFrame) -> None:
        self._is_text = frame._msg_type is WSMsgType.TEXT
        self._is_compressed = bool(frame._first & RSV1)
        self._size = self._arrived_fragments = 0
        self._decoder = Utf8Decoder() if self._is_compressed and self._is_text else None

    def _count_fragment(self) -> None:
        self._arrived_fragments += 1
        if self._max_fragments is not None and self._arrived_fragments > self._max_fragments:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, f"message of more than {self._max_fragments} fragments")

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

    def _enqueue(self, data: Any, text: Optional[str], is_first: bool, is_last: bool) -> None:
        fragments = self._fragments
        if not is_first and len(fragments) >= _SEPARATE_FRAGMENTS and not fragments[-1].is_last:
            fragments[-1].join(data, is_last)
        else:
            fragments.append(Fragment(self._is_text, data, text, is_first, is_last))
        self._queued_frames += 1
        self._wake_reader()
        if self._queued_frames > self._high and not self._is_closing and not self._is_reading_paused:
            self._is_reading_paused = True
            self._transport._pause_reading()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _resume_reading(self) -> None:
        if self._is_reading_paused and self._queued_frames <= self._low:
            self._is_reading_paused = False
            if not self._transport.is_disconnected:
                self._transport._resume_reading()

    def _on_close(self, frame: WSFrame) -> None:
        """Answer; the server then hangs up, the client waits for it (RFC 6455 7.1.1)."""
        if not self._transport.is_close_frame_sent:
            self._transport.send_close(frame.get_close_code(), frame.get_close_message())
        if not self._transport.is_client_side:
            self._transport._hang_up()

    # --- sending ---

    async def send(self, message: WSBuffer, *, text: Optional[bool] = None) -> None:
        """Send a message; returns when the write buffer has room for more.

        Args:
            message: str is sent as text, anything else as binary.
            text: True sends bytes (which must be UTF-8) as text, False a str as binary.

        Raises:
            WSConnectionClosed: the connection is closing or closed and the message was not sent; or it was lost while
                the message waited to be sent, and nobody knows how much of it the peer has received.
            TypeError, BufferError: as `WSTransport.send`, but None is no message.
        """
        if not isinstance(message, (str, bytes, bytearray, memoryview)):
            await self._send_other(message, text)
            return
        if self._stream_lock is not None and self._stream_lock.locked():
            async with self._stream_lock:
                is_sent = self._send_frame(message, self._opcode(message, text), True, True)
        else:
            is_sent = self._send_frame(message, self._opcode(message, text), True, True)
        if not is_sent:
            await self._refuse_send()
        if self._drain is not None:
            await self._wait_for_drain()

    async def send_fragments(
        self, fragments: Union[Iterable[WSBuffer], AsyncIterable[WSBuffer]], text: Optional[bool] = None
    ) -> None:
        """Send one message in fragments; other messages wait until it is complete.

        If the iterable raises, or this is cancelled, the message cannot be completed: the connection is then closed
        with 1011.

        Args:
            fragments: all str or all bytes-like; none is sent as an empty message.
            text: as for `send`.

        Raises:
            WSConnectionClosed, BufferError: as for `send`.
            TypeError: what is iterated over is itself a message, or not all fragments are of one kind.
        """
        if isinstance(fragments, (str, bytes, bytearray, memoryview)):
            raise TypeError(f"fragments must be an iterable of messages, got {type(fragments).__name__}")
        if self._stream_lock is None:
            self._stream_lock = asyncio.Lock()
        async with self._stream_lock:
            sender = FragmentSender(self, text)
            try:
                if isinstance(fragments, AsyncIterable):
                    async for fragment in fragments:
                        await sender.send(fragment)
                else:
                    for fragment in fragments:
                        await sender.send(fragment)
                if not self._send_frame(b"", sender.opcode, sender.is_first, True):
                    await self._refuse_send()
            except BaseException:
                if not sender.is_first and not self._transport.is_close_frame_sent:
                    self._transport.send_close(WSCloseCode.INTERNAL_ERROR, "error in fragmented message")
                raise

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

    def pause_writing(self) -> None:
        """The write buffer is full: `send` waits from now on."""
        if self._drain is None and not self._is_lost:
            self._drain = self._transport._loop.create_future()  # none may be running

    def resume_writing(self) -> None:
        """The write buffer has room again."""
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)

    async def _wait_for_drain(self) -> None:
        if self._drain is not None:
            await asyncio.shield(self._drain)
            if self._is_lost:
                raise self._closed_error()

    def _opcode(self, message: object, text: Optional[bool]) -> WSMsgType:
        is_text = isinstance(message, str) if text is None else text
        return WSMsgType.TEXT if is_text else WSMsgType.BINARY

    def _send_frame(self, message: WSBuffer, opcode: int, is_first: bool, is_last: bool) -> bool:
        """False if nothing can be sent any more."""
        transport: WSTransport = self._transport
        payload = _as_buffer(message)
        if transport._is_sealed:
            return False
        codec = self._codec
        is_compressed = codec is not None and is_first and is_last and codec.should_compress(len(payload))
        if is_compressed and codec is not None:
            payload = codec.compress(payload)
        transport.send(opcode if is_first else WSMsgType.CONTINUATION, payload, fin=is_last, rsv1=is_compressed)
        return True


class _Messages:
    """What `async for` goes through."""

    __slots__ = ("_listener",)

    def __init__(self, listener: WSMessageListener) -> None:
        self._listener = listener

    def __aiter__(self) -> _Messages:
        return self

    async def __anext__(self) -> Union[str, bytes]:
        """The next message."""
        try:
            return await self._listener.recv()
        except Exception as exc:
            if self._listener._ends_iteration(exc):
                raise StopAsyncIteration from None
            raise


def _end_burst(pool: Pool, batch: int) -> None:
    if pool.in_batch and pool.batch == batch:
        pool.end_batch()


def _watermarks(max_queue: Union[int, None, Tuple[int, int]]) -> Tuple[int, int]:
    """(high, low) in frames."""
    if max_queue is None:
        return 1 << 62, 1 << 61
    high, low = max_queue if isinstance(max_queue, tuple) else (max_queue, max_queue // 4)
    if not 0 <= low <= high or high == 0:
        raise ValueError(f"max_queue must be greater than 0, and low not above high, got high={high}, low={low}")
    return high, low
