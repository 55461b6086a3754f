# cython: embedsignature=False
"""Messages instead of frames: a listener that puts fragments together, queues them, and is read and written with
`await`.

Frames arrive in the loop's callback and are queued as fragments; `recv` takes one message, `recv_streaming` its
fragments. A payload is copied once, out of the read buffer; a text in one frame, which the parser has validated, is
decoded there and then. Above `max_queue` frames the connection stops reading and the peer feels TCP's backpressure. A
peer that sends its message in crumbs cannot fill memory with our bookkeeping: beyond a few fragments they are joined
as they arrive.

The parser is strict here and checks UTF-8 and sizes on the wire; compressed messages are inflated and checked here,
never beyond `max_message_size`. CLOSE is answered.
"""

import asyncio
import codecs
import logging
from collections.abc import AsyncIterable

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t

from .enums cimport WSMsgType
from .fragments cimport FragmentSender, new_fragment, opcode_of
from .pool cimport Pool
from .strict cimport MessageState
from .transport cimport as_bytes
from .wire cimport end_batch

from picows.abc import FrameRules
from picows.closing import truncated_reason
from picows.enums import WSCloseCode
from picows.errors import WSConnectionClosed, WSMessageTooBigError, WSProtocolError
from picows.options import check_size


cdef enum:
    RSV1 = 0x40
    CONTROL = 0x08
    WHOLE_TEXT = 0x81
    WHOLE_BINARY = 0x82
    # So many fragments of one message may wait before further ones are joined to the last.
    SEPARATE_FRAGMENTS = 64

_new_decoder = codecs.getincrementaldecoder("utf-8")
_get_running_loop = asyncio.get_running_loop
_CLEAN_CODES = (WSCloseCode.OK, WSCloseCode.GOING_AWAY, WSCloseCode.NO_INFO)


cdef class WSMessageListener(WSListener):
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
        request=None,
        response=None,
        *,
        max_message_size=10 * 1024 * 1024,
        max_fragments=None,
        max_fragment_size=None,
        max_queue=16,
        codec=None,
    ):
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

    # --- what layers above override: see `picows.websockets` ---

    #: True: while the iterator of `recv_streaming` is within a message nobody else may receive.
    _has_exclusive_streams = False

    @property
    def _transport(self):
        """The WSTransport, where a subclass has something else as `transport`."""
        return self.transport

    def _use_codec(self, codec):
        """Set what the constructor was not told yet; only before `on_ws_connected`."""
        self._codec = codec
        self._frame_rules = FrameRules(RSV1 if codec is not None else 0, self._max_size, minimal_lengths=False)

    cpdef object _closed_error(self):
        """What `recv` and `send` raise once the connection has ended."""
        cdef WSTransport transport = self._get_transport()
        received = None if transport.close_handshake is None else transport.close_handshake.recv
        if received is None:
            error = WSConnectionClosed(WSCloseCode.ABNORMAL_CLOSURE, "")
        else:
            error = WSConnectionClosed(received.code, received.reason or "")
        error.__cause__ = transport._failure
        return error

    cpdef object _concurrency_error(self, method):
        """What `method` raises while somebody else receives."""
        return RuntimeError("another recv is waiting for a message on this connection")

    cpdef bint _ends_iteration(self, exc) except -1:
        """Whether `async for` ends, rather than raise this exception of `recv`."""
        return isinstance(exc, WSConnectionClosed) and exc.code in _CLEAN_CODES

    async def _on_undecodable(self, exc):
        """What `recv` raises where the caller wants a str of a binary message that is not UTF-8."""
        return exc

    cpdef object _on_violation(self, exc):
        """The peer broke a rule, and the connection is about to be closed with this error's code and text."""
        return exc

    cpdef _on_pong(self, bytes payload):
        """A PONG was received that nobody in the engine waits for."""

    def _put(self, bytes data, bint is_text, bint is_first, bint is_last):
        """Queue a fragment that did not come through `on_ws_frame`; `data` of a text must be UTF-8."""
        self._enqueue(new_fragment(data, is_text, is_first, is_last))

    async def _send_other(self, message, text):
        """Send what is neither str, bytes, bytearray nor memoryview, or refuse it."""
        if message is None:
            raise TypeError("a message must be str or bytes-like, got None")
        await self.send(memoryview(as_bytes(message)), text=text)

    async def _refuse_send(self):
        """Raise, because the connection is closing or closed."""
        raise self._closed_error()

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
                await self._new_reader()
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
                    await self._new_reader()
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
        if type(self).recv is WSMessageListener.recv and "recv" not in getattr(self, "__dict__", ()):
            messages._next = self._next
        else:
            messages._next = messages._next_of_subclass
        return messages

    async def _next(self):
        """`recv`, as `__anext__`."""
        cdef Fragment fragment
        try:
            self._begin_receiving("recv")
            while not self._has_message():
                try:
                    await self._new_reader()
                finally:
                    self._reader = None
            fragment = self._take_fragment()
            if self._head is not None:
                self._begin_burst()
            return fragment.as_message(None)
        except Exception as exc:
            if self._ends_iteration(exc):
                raise StopAsyncIteration from None
            raise

    cdef int _begin_receiving(self, str method) except -1:
        if self._reader is not None or self._is_streaming:
            raise self._concurrency_error(method)
        self._asked += 1
        return 0

    cdef bint _has_message(self) except -1:
        """True if a whole message is queued. While one is arriving its fragments are joined, and reading goes on."""
        cdef Fragment head, follower
        self._drop_rest_of_message()
        head = self._head
        if head is None or head.is_last:
            return head is not None
        while head.follower is not None and not head.is_last:
            follower = head.follower
            head.join(follower)
            head.follower, follower.follower = follower.follower, None
            self._length -= 1
        if head.follower is None:
            self._tail = head
        if head.is_last:
            return True
        self._queued_frames -= head.frames
        head.frames = 0
        self._resume_reading()
        return False

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

    cdef int _drop_rest_of_message(self) except -1:
        """What the queue begins with belongs to a message whose beginning was taken by `recv_streaming` alone."""
        while self._head is not None and not self._head.is_first:
            self._take_fragment()
        return 0

    cdef int _begin_burst(self) except -1:
        """More is queued: what the receiver sends until it has to wait is gathered, as it is within a read; and in any
        case it leaves in the next cycle of the loop."""
        cdef WSTransport transport = self._get_transport()
        cdef Pool pool = transport._pool
        if transport._coalesces and not pool.in_batch and not self._is_lost:
            pool.in_batch = pool.has_more_frames = True
            pool.batch += 1
            self._burst = pool.batch
            transport._loop.call_soon(_end_burst, pool, pool.batch)
        return 0

    cdef object _new_reader(self):
        """What to wait for where no fragment is there; whoever has waited removes it."""
        if self._burst:
            _end_burst(self.transport._pool, self._burst)
            self._burst = 0
        if self._is_lost:
            raise self._closed_error()
        self._reader = _get_running_loop().create_future()
        return self._reader

    cdef WSTransport _get_transport(self):
        if self.transport is None:
            raise AttributeError(f"a {type(self).__name__} has no transport before on_ws_connected")
        return self.transport

    # --- frames from the engine ---

    cpdef on_ws_connected(self, WSTransport transport):
        """The connection can be used."""
        self.transport = transport

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        """Queue data, answer CLOSE."""
        if frame is None:
            raise TypeError("a frame must be a WSFrame, got None")
        self._receive(transport, frame)

    cdef bint _receives_natively(self) except -1:
        own = getattr(type(self), "on_ws_frame")
        return own is getattr(WSMessageListener, "on_ws_frame") and "on_ws_frame" not in getattr(self, "__dict__", ())

    cdef int _receive(self, WSTransport transport, WSFrame frame) except -1:
        if frame._first & CONTROL:
            if frame.msg_type == WSMsgType.CLOSE:
                self._on_close(frame)
            elif frame.msg_type == WSMsgType.PONG:
                self._on_pong(_payload(frame))
            return 0
        if self._is_closing and self._queued_frames >= self._high:
            self._is_deaf = True  # nobody has promised to receive; and no message is better than one with a hole
        if self._is_deaf:
            return 0
        if frame._first == WHOLE_BINARY and not self._in_message:
            return self._enqueue(new_fragment(_payload(frame), False, True, True))
        if frame._first == WHOLE_TEXT and not self._in_message:
            text = PyUnicode_DecodeUTF8(frame.payload_ptr, frame.payload_size, NULL)
            return self._enqueue(new_fragment(text, True, True, True))
        return self._on_fragment(frame)

    cpdef on_ws_disconnected(self, WSTransport transport):
        """Wake everybody who waits."""
        self._is_lost = True
        self._codec = None
        if self._end is not None and not self._end.done():
            self._end.set_result(None)
        self._wake_reader()
        self.resume_writing()

    cdef int _fail(self, object exc) except -1:
        """The peer broke a rule of messages (RFC 6455 7.1.7): what the protocol does where it broke one of frames."""
        cdef WSTransport transport = self._get_transport()
        exc = self._on_violation(exc)
        transport._log(logging.ERROR, "protocol error, closing with %d: %s", exc.code, exc)
        if transport._failure is None:
            exc.__context__ = None  # like its own, its traceback would keep the connection alive
            transport._failure = exc.with_traceback(None)
        transport._farewell(exc.code, truncated_reason(str(exc)))
        return 0

    cdef int _on_fragment(self, WSFrame frame) except -1:
        """A frame that is not a whole message, or is compressed."""
        cdef bint is_first, is_last = frame.fin
        cdef object data
        try:
            if frame.msg_type != WSMsgType.CONTINUATION:
                self._begin_message(frame)
            self._count_fragment()
            is_first = not self._in_message
            self._in_message = not is_last
            data = self._inflate(frame, is_last) if self._is_compressed else _payload(frame)
            self._enqueue(new_fragment(data, self._is_text, is_first, is_last))
        except WSProtocolError as exc:
            self._fail(exc)
        return 0

    cdef int _begin_message(self, WSFrame frame) except -1:
        self._is_text = frame.msg_type == WSMsgType.TEXT
        self._is_compressed = frame.rsv1
        self._size = self._arrived_fragments = 0
        return 0

    cdef int _count_fragment(self) except -1:
        self._arrived_fragments += 1
        if self._max_fragments is not None and self._arrived_fragments > self._max_fragments:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, f"message of more than {self._max_fragments} fragments")
        return 0

    cdef bytes _inflate(self, WSFrame frame, bint is_last):
        """One frame of a compressed message, inflated and, if it is text, checked."""
        cdef bytes data
        budget = None if self._max_size is None else self._max_size - self._size
        fragment = self._max_fragment_size
        if fragment is not None and (budget is None or fragment < budget):
            budget = fragment
        try:
            # Without a codec the parser refuses RSV1.
            data = self._codec.decompress(_payload(frame), is_last, budget)
        except WSMessageTooBigError as exc:
            limit = self._size + budget
            raise WSMessageTooBigError(
                f"message inflates to more than {limit} bytes", self._size + exc.size, limit
            ) from None
        self._size += len(data)
        if self._is_text:
            if self._validator is None:
                self._validator = MessageState(self._frame_rules)
            (<MessageState>self._validator).validate(
                <const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), is_last
            )
        return data

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

    cdef int _wake_reader(self) except -1:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        return 0

    cdef int _resume_reading(self) except -1:
        if self._is_reading_paused and self._queued_frames <= self._low:
            self._is_reading_paused = False
            if not self._get_transport().is_disconnected:
                self._get_transport()._resume_reading()
        return 0

    cpdef _on_close(self, WSFrame frame):
        """Answer; the server then hangs up, the client waits for it (RFC 6455 7.1.1)."""
        cdef WSTransport transport = self._get_transport()
        if not transport.is_close_frame_sent:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
        if not transport.is_client_side:
            transport._hang_up()

    # --- sending ---

    async def send(self, message, *, text=None):
        """Send a message; returns when the write buffer has room for more.

        Args:
            message: str is sent as text, anything else as binary.
            text: True sends bytes (which must be UTF-8) as text, False a str as binary.

        Raises:
            WSConnectionClosed: the connection is closing or closed and the message was not sent; or it was lost while
                the message waited to be sent, and nobody knows how much of it the peer has received.
            TypeError, BufferError: as `WSTransport.send`, but None is no message.
        """
        cdef bint is_sent
        if not isinstance(message, (str, bytes, bytearray, memoryview)):
            await self._send_other(message, text)
            return
        if self._stream_lock is not None and self._stream_lock.locked():
            async with self._stream_lock:
                is_sent = self._send_frame(message, opcode_of(message, text), True, True)
        else:
            is_sent = self._send_frame(message, opcode_of(message, text), True, True)
        if not is_sent:
            await self._refuse_send()
        if self._drain is not None:
            await self._wait_for_drain()

    async def send_fragments(self, fragments, text=None):
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
        cdef FragmentSender sender
        if isinstance(fragments, (str, bytes, bytearray, memoryview)):
            raise TypeError(f"fragments must be an iterable of messages, got {type(fragments).__name__}")
        if self._stream_lock is None:
            self._stream_lock = asyncio.Lock()
        async with self._stream_lock:
            sender = FragmentSender(text)
            try:
                if isinstance(fragments, AsyncIterable):
                    async for fragment in fragments:
                        await self._send_fragment(sender, fragment)
                else:
                    for fragment in fragments:
                        await self._send_fragment(sender, fragment)
                if not self._send_frame(b"", sender.opcode, sender.is_first, True):
                    await self._refuse_send()
            except BaseException:
                if not sender.is_first and not self._get_transport().is_close_frame_sent:
                    self.transport.send_close(WSCloseCode.INTERNAL_ERROR, "error in fragmented message")
                raise

    async def close(self, code=WSCloseCode.OK, reason=""):
        """Close properly (RFC 6455 7.1.2) and wait until the connection has ended, at most for `close_timeout`.

        Messages that were queued can still be received. Those that arrive while closing are queued up to `max_queue`
        and then dropped, because the peer's CLOSE comes after them. Idempotent.

        Args:
            code: 1000-1003, 1007-1014 or 3000-4999.
            reason: at most 123 bytes in UTF-8.

        Raises:
            ValueError: a code or a reason that must not be sent; the connection goes on.
        """
        cdef WSTransport transport = self._get_transport()
        if not transport.is_close_frame_sent:
            transport.send_close(code, reason)
        self._is_closing = True
        if self._is_reading_paused:
            self._is_reading_paused = False
            if not transport.is_disconnected:
                transport._resume_reading()
        if not self._is_lost:
            # Not wait_disconnected: it raises what the connection failed with, which recv reports.
            if self._end is None:
                self._end = _get_running_loop().create_future()
            await asyncio.shield(self._end)

    cpdef pause_writing(self):
        """The write buffer is full: `send` waits from now on."""
        if self._drain is None and not self._is_lost:
            self._drain = self._get_transport()._loop.create_future()  # none may be running

    cpdef resume_writing(self):
        """The write buffer has room again."""
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)

    async def _send_fragment(self, FragmentSender sender, fragment):
        sender.admit(fragment)
        if fragment is None:
            raise TypeError("a message must be str or bytes-like, got None")
        if not self._send_frame(fragment, sender.opcode, sender.is_first, False):
            await self._refuse_send()
        sender.is_first = False
        if self._drain is not None:
            await self._wait_for_drain()

    async def _wait_for_drain(self):
        if self._drain is not None:
            await asyncio.shield(self._drain)
            if self._is_lost:
                raise self._closed_error()

    cdef bint _send_frame(self, object message, int opcode, bint is_first, bint is_last) except -1:
        """False if nothing can be sent any more."""
        cdef WSTransport transport = self._get_transport()
        cdef bytes payload
        if transport._is_sealed:
            as_bytes(message)  # what is no message is refused at any time
            return False
        if not is_first:
            opcode = WSMsgType.CONTINUATION
        elif is_last and self._codec is not None:
            payload = as_bytes(message)
            if self._codec.should_compress(PyBytes_GET_SIZE(payload)):
                transport.send(opcode, self._codec.compress(payload), True, True)
            else:
                transport.send(opcode, payload, True)
            return True
        transport.send(opcode, message, is_last)
        return True


cdef class _Messages:
    """What `async for` goes through."""

    cdef WSMessageListener _listener
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


cdef inline bytes _payload(WSFrame frame):
    return PyBytes_FromStringAndSize(frame.payload_ptr, frame.payload_size)


def _end_burst(Pool pool, batch):
    if pool.in_batch and pool.batch == batch:
        end_batch(pool)


def _watermarks(max_queue):
    """(high, low) in frames."""
    if max_queue is None:
        return 1 << 62, 1 << 61
    high, low = max_queue if isinstance(max_queue, tuple) else (max_queue, max_queue // 4)
    if not 0 <= low <= high or high == 0:
        raise ValueError(f"max_queue must be greater than 0, and low not above high, got high={high}, low={low}")
    return min(high, 1 << 62), min(low, 1 << 62)
