"""The receiving half of a connection of messages (see `messages`): a queue of fragments, and whoever waits for them.

`recv` takes one message, `recv_streaming` its fragments, `async for` one message after the other. Above `max_queue`
frames the connection stops reading and the peer feels TCP's backpressure. A peer that sends its message in crumbs
cannot fill memory with our bookkeeping: beyond a few fragments they are joined as they arrive.
"""

from __future__ import annotations

import asyncio
import codecs
import sys
from collections import deque
from typing import Any, AsyncIterator, Deque, Optional, Tuple, Union

from ..deflate import DeflateCodec
from ..enums import WSCloseCode
from ..errors import WSConnectionClosed
from .fragments import Fragment
from .pool import Pool
from .sending import MessageSender
from .waiter import Waiter

#: So many fragments of one message may wait before further ones are joined to the last.
_SEPARATE_FRAGMENTS = 64
_new_decoder = codecs.getincrementaldecoder("utf-8")
_CLEAN_CODES = (WSCloseCode.OK, WSCloseCode.GOING_AWAY, WSCloseCode.NO_INFO)


class MessageReceiver(MessageSender):
    """What WSMessageListener receives with.

    Args:
        codec: see WSMessageListener.
        max_queue: see WSMessageListener.
    """

    def __init__(self, codec: Optional[DeflateCodec], max_queue: Union[int, None, Tuple[int, int]]) -> None:
        super().__init__(codec)
        self._high, self._low = _watermarks(max_queue)
        self._fragments: Deque[Fragment] = deque()
        self._queued_frames = 0
        #: How many frames of one message `recv` joins: a limit of layers above.
        self._max_joined = sys.maxsize
        self._reader: Optional[Waiter] = None
        # Who takes the fragments of the message at the head of the queue one by one.
        self._stream: Optional[object] = None
        # The batch that `recv` has begun, or 0.
        self._burst = 0
        self._is_text = False
        self._is_streaming = False
        self._is_reading_paused = False
        self._is_closing = False

    # --- what layers above override: see `picows.websockets` ---

    #: True: while the iterator of `recv_streaming` is within a message nobody else may receive.
    _has_exclusive_streams = False

    def _concurrency_error(self, method: str) -> Exception:
        """What `method` raises while somebody else receives."""
        return RuntimeError("another recv is waiting for a message on this connection")

    def _ends_iteration(self, exc: BaseException) -> bool:
        """Whether `async for` ends, rather than raise this exception of `recv`."""
        return isinstance(exc, WSConnectionClosed) and exc.code in _CLEAN_CODES

    async def _on_undecodable(self, exc: UnicodeDecodeError) -> Exception:
        """What `recv` raises where the caller wants a str of a binary message that is not UTF-8."""
        return exc

    def _put(self, data: bytes, is_text: bool, is_first: bool, is_last: bool) -> None:
        """Queue a fragment that did not come through `on_ws_frame`; `data` of a text must be UTF-8."""
        self._is_text = is_text
        self._enqueue(data, None, is_first, is_last)

    def _refuse_message(self) -> None:
        """`recv` would have to join more than `_max_joined` frames: fail the connection."""
        raise AssertionError("a receiver alone has no connection that could fail")

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

    async def _wait_for_fragment(self) -> None:
        if self._burst:
            _end_burst(self._transport._pool, self._burst)
            self._burst = 0
        if self._is_lost:
            raise self._closed_error()
        transport = self._transport
        self._reader = Waiter(asyncio.get_running_loop() if transport is None else transport._loop)
        try:
            await self._reader
        finally:
            self._reader = None

    def _begin_burst(self) -> None:
        """More is queued: what the receiver sends until it has to wait is gathered, as it is within a read; and in any
        case it leaves in the next cycle of the loop."""
        transport = self._transport
        pool = transport._pool
        if transport._wire.coalesce and not pool.in_batch and not self._is_lost:
            pool.in_batch = True
            pool.burst_loop = transport._loop
            pool.batch += 1
            self._burst = pool.batch
            transport._loop.call_soon(_end_burst, pool, pool.batch)

    # --- the queue ---

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

    def _has_message(self) -> bool:
        """True if a whole message is queued. While one is arriving its fragments are joined, and reading goes on."""
        fragments = self._fragments
        if fragments and not fragments[0].is_first:
            self._drop_rest_of_message()
        while len(fragments) > 1 and not fragments[0].is_last:
            follower = fragments[1]
            fragments[0].join(follower.data, follower.is_last, follower.frames, follower.total)
            del fragments[1]
        if fragments and fragments[0].total > self._max_joined:
            while fragments:  # nothing of what has arrived is received
                self._take_fragment()
            self._refuse_message()
            return False
        if not fragments or fragments[0].is_last:
            return bool(fragments)
        self._queued_frames -= fragments[0].frames
        fragments[0].frames = 0
        self._resume_reading()
        return False

    def _take_fragment(self) -> Fragment:
        fragment = self._fragments.popleft()
        self._queued_frames -= fragment.frames
        if self._is_reading_paused:
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

    def _wake_reader(self) -> None:
        reader = self._reader
        if reader is not None and not reader.is_done:
            if self._transport is None:
                reader.is_done = True
                reader.wake_soon()
            else:
                self._transport._pool.wake(reader)

    def _resume_reading(self) -> None:
        if self._is_reading_paused and self._queued_frames <= self._low:
            self._is_reading_paused = False
            if not self._transport.is_disconnected:
                self._transport._resume_reading()


class _Messages:
    """What `async for` goes through."""

    __slots__ = ("_listener",)

    def __init__(self, listener: MessageReceiver) -> None:
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
