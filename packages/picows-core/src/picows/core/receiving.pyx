# cython: embedsignature=False
"""The receiving half of a connection of messages (see `messages`): a queue of fragments, and whoever waits for them.

`recv` takes one message, `recv_streaming` its fragments, `async for` one message after the other. Above `max_queue`
frames the connection stops reading and the peer feels TCP's backpressure. A peer that sends its message in crumbs
cannot fill memory with our bookkeeping: beyond a few fragments they are joined as they arrive.
"""

import asyncio
import codecs

from .fragments cimport new_fragment
from .pool cimport Pool
from .transport cimport WSTransport
from .waiter cimport new_waiter
from .wire cimport end_batch

from picows.enums import WSCloseCode
from picows.errors import WSConnectionClosed


cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX


cdef enum:
    # So many fragments of one message may wait before further ones are joined to the last.
    SEPARATE_FRAGMENTS = 64

_new_decoder = codecs.getincrementaldecoder("utf-8")
_get_running_loop = asyncio.get_running_loop
_CLEAN_CODES = (WSCloseCode.OK, WSCloseCode.GOING_AWAY, WSCloseCode.NO_INFO)


cdef class MessageReceiver(MessageSender):
    """What WSMessageListener receives with."""

    cdef int _open_queue(self, max_queue) except -1:
        """Set the watermarks, in frames."""
        self._max_joined = PY_SSIZE_T_MAX
        if max_queue is None:
            self._high = self._low = PY_SSIZE_T_MAX
            return 0
        high, low = max_queue if isinstance(max_queue, tuple) else (max_queue, max_queue // 4)
        if not 0 <= low <= high or high == 0:
            raise ValueError(f"max_queue must be greater than 0, and low not above high, got high={high}, low={low}")
        self._high, self._low = min(high, <object>PY_SSIZE_T_MAX), min(low, <object>PY_SSIZE_T_MAX)
        return 0

    # --- what layers above override: see `picows.websockets` ---

    #: True: while the iterator of `recv_streaming` is within a message nobody else may receive.
    _has_exclusive_streams = False

    cpdef object _concurrency_error(self, method):
        """What `method` raises while somebody else receives."""
        return RuntimeError("another recv is waiting for a message on this connection")

    cpdef bint _has_ended_well(self) except -1:
        """Whether `async for` ends now that the connection has, rather than raise `_closed_error()`."""
        return self._ends_iteration(self._closed_error())

    cpdef bint _ends_iteration(self, exc) except -1:
        """Whether `async for` ends, rather than raise this exception of `recv`."""
        return isinstance(exc, WSConnectionClosed) and exc.code in _CLEAN_CODES

    async def _on_undecodable(self, exc):
        """What `recv` raises where the caller wants a str of a binary message that is not UTF-8."""
        return exc

    def _put(self, bytes data, bint is_text, bint is_first, bint is_last):
        """Queue a fragment that did not come through `on_ws_frame`; `data` of a text must be UTF-8."""
        self._enqueue(new_fragment(data, is_text, is_first, is_last))

    cpdef _refuse_message(self):
        """`recv` would have to join more than `_max_joined` frames: fail the connection."""
        raise AssertionError("a receiver alone has no connection that could fail")

    # --- receiving ---

    async def recv(self, decode=None):
        """Receive a message. Cancelling it loses nothing.

        Args:
            decode: True returns str, False bytes; None str for text and bytes for binary messages.

        Raises:
            WSConnectionClosed: the connection has ended and every message was received.
            RuntimeError: another `recv` is waiting.
        """
        cdef Fragment fragment
        self._begin_receiving("recv")
        while not self._has_message():
            try:
                await self._new_reader(False)
            finally:
                self._reader = None
        fragment = self._take_fragment()
        if self._head is not None:
            self._begin_burst()
        if decode is None:
            return fragment.as_message(None)
        try:
            return fragment.as_message(decode)
        except UnicodeDecodeError as exc:
            undecodable = exc
        raise await self._on_undecodable(undecodable)

    async def recv_streaming(self, decode=None):
        """Receive a message as an iterator over its fragments; arguments and errors as for `recv`.

        Cancelling it before its first fragment loses nothing. Leaving it later, by `break` or by cancelling, drops the
        rest of this message when the next one is asked for, also where that rest arrives only then.

        Raises:
            RuntimeError: also where the iterator goes on after somebody else asked for the next message.
        """
        cdef Fragment fragment
        cdef bint has_begun = False, is_last = False
        self._begin_receiving("recv_streaming")
        asked = self._asked
        decoder = undecodable = None
        while not is_last:
            if not has_begun:
                self._drop_rest_of_message()
            if self._head is None:
                try:
                    await self._new_reader(False)
                finally:
                    self._reader = None
                continue
            fragment = self._take_fragment()
            has_begun, is_last = True, fragment.is_last
            self._is_streaming = not is_last and self._has_exclusive_streams
            if decode is None:
                decode = fragment.is_text
            if decode:
                decoder = decoder or _new_decoder()
                try:
                    text = decoder.decode(fragment.as_bytes(), is_last)
                except UnicodeDecodeError as exc:
                    undecodable = exc
                    break
                yield text
            else:
                yield fragment.as_bytes()
            if not is_last and self._asked != asked:
                raise RuntimeError("the rest of this message was dropped because the next one was asked for")
        if undecodable is not None:
            raise await self._on_undecodable(undecodable)

    def __aiter__(self):
        """Messages until the connection is closed properly; an error of `recv` if it ends otherwise."""
        cdef _Messages messages = _Messages.__new__(_Messages)
        messages._listener = self
        if type(self).recv is MessageReceiver.recv and "recv" not in getattr(self, "__dict__", ()):
            messages._next = self._next
        else:
            messages._next = messages._next_of_subclass
        return messages

    async def _next(self):
        """`recv`, as `__anext__`."""
        cdef Fragment fragment
        self._begin_receiving("recv")
        while not self._has_message():
            try:
                await self._new_reader(True)
            finally:
                self._reader = None
        fragment = self._take_fragment()
        if self._head is not None:
            self._begin_burst()
        return fragment.as_message(None)

    cdef int _begin_receiving(self, str method) except -1:
        if self._reader is not None or self._is_streaming:
            raise self._concurrency_error(method)
        self._asked += 1
        return 0

    cdef object _new_reader(self, bint iterates):
        """What to wait for where no fragment is there; whoever has waited removes it."""
        if self._burst:
            _end_burst(self.transport._pool, self._burst)
            self._burst = 0
        if self._is_lost:
            if iterates and self._has_ended_well():
                raise StopAsyncIteration
            raise self._closed_error()
        self._reader = new_waiter(_get_running_loop() if self.transport is None else self.transport._loop)
        return self._reader

    cdef int _begin_burst(self) except -1:
        """More is queued: what the receiver sends until it has to wait is gathered, as it is within a read; and in any
        case it leaves in the next cycle of the loop."""
        cdef WSTransport transport = self._get_transport()
        cdef Pool pool = transport._pool
        if transport._coalesces and not pool.in_batch and not self._is_lost:
            pool.in_batch = pool.has_more_frames = True
            pool.burst_loop = transport._loop
            pool.batch += 1
            self._burst = pool.batch
            transport._loop.call_soon(_end_burst, pool, pool.batch)
        return 0

    # --- the queue ---

    cdef int _enqueue(self, Fragment fragment) except -1:
        cdef Fragment tail = self._tail
        if tail is None:
            self._head = self._tail = fragment
            self._length = 1
        elif self._length >= SEPARATE_FRAGMENTS and not fragment.is_first and not tail.is_last:
            tail.join(fragment)
        else:
            tail.follower = self._tail = fragment
            self._length += 1
        self._queued_frames += 1
        if self._reader is not None:
            self._wake_reader()
        if self._queued_frames > self._high and not self._is_closing and not self._is_reading_paused:
            self._is_reading_paused = True
            self._get_transport()._pause_reading()
        return 0

    cdef bint _has_message(self) except -1:
        """True if a whole message is queued. While one is arriving its fragments are joined, and reading goes on."""
        cdef Fragment head, follower
        self._drop_rest_of_message()
        head = self._head
        if head is None:
            return False
        while head.follower is not None and not head.is_last:
            follower = head.follower
            head.join(follower)
            head.follower, follower.follower = follower.follower, None
            self._length -= 1
        if head.follower is None:
            self._tail = head
        if head.total > self._max_joined:
            self._drop_queue()
            self._refuse_message()
            return False
        if head.is_last:
            return True
        self._queued_frames -= head.frames
        head.frames = 0
        self._resume_reading()
        return False

    cdef bint _has_whole_message(self) except -1:
        """Whether somebody who receives would get a message."""
        cdef Fragment fragment = self._head
        while fragment is not None and not fragment.is_last:
            fragment = fragment.follower
        return fragment is not None

    cdef Fragment _take_fragment(self):
        cdef Fragment fragment = self._head
        self._head = fragment.follower
        fragment.follower = None
        if self._head is None:
            self._tail = None
        self._length -= 1
        self._queued_frames -= fragment.frames
        if self._is_reading_paused:
            self._resume_reading()
        return fragment

    cdef int _drop_queue(self) except -1:
        """Nothing of what has arrived is received."""
        while self._head is not None:
            self._take_fragment()
        return 0

    cdef int _drop_rest_of_message(self) except -1:
        """What the queue begins with belongs to a message whose beginning was taken by `recv_streaming` alone."""
        while self._head is not None and not self._head.is_first:
            self._take_fragment()
        return 0

    cdef int _wake_reader(self) except -1:
        if self._reader is not None and not self._reader.is_done:
            if self.transport is None:
                self._reader.is_done = True
                self._reader.wake_soon()
            else:
                self.transport._pool.wake(self._reader)
        return 0

    cdef int _resume_reading(self) except -1:
        if self._is_reading_paused and self._queued_frames <= self._low:
            self._is_reading_paused = False
            if not self._get_transport().is_disconnected:
                self._get_transport()._resume_reading()
        return 0


cdef class _Messages:
    """What `async for` goes through."""

    cdef MessageReceiver _listener
    cdef object _next

    def __aiter__(self):
        return self

    def __anext__(self):
        return self._next()

    async def _next_of_subclass(self):
        try:
            return await self._listener.recv()
        except Exception as exc:
            if self._listener._ends_iteration(exc):
                raise StopAsyncIteration from None
            raise


def _end_burst(Pool pool, batch):
    if pool.in_batch and pool.batch == batch:
        end_batch(pool)
