# cython: embedsignature=False
"""Messages instead of frames: a listener that puts fragments together, queues them, and is read and written with
`await`.

Here frames arrive in the loop's callback and become fragments; `receiving` has the queue that they wait in, `sending`
the other direction. A payload is copied once, out of the read buffer; a text in one frame, which the parser has
validated, is decoded there and then.

The parser is strict here and checks UTF-8 and sizes on the wire; compressed messages are inflated and checked here,
never beyond `max_message_size`. CLOSE is answered. The CLOSE for a violation lets the receiver answer what came before
it in the same read, as a listener of frames does in its callback.
"""

import asyncio
import logging

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t

from .enums cimport WSMsgType
from .fragments cimport new_fragment
from .strict cimport MessageState
from .transport cimport WSTransport

from picows.abc import FrameRules
from picows.closing import truncated_reason
from picows.enums import WSCloseCode
from picows.errors import WSMessageTooBigError, WSProtocolError
from picows.options import check_size


cdef enum:
    RSV1 = 0x40
    CONTROL = 0x08
    WHOLE_TEXT = 0x81
    WHOLE_BINARY = 0x82
    # Turns of the loop that a receiver has to answer what came before a violation.
    TURNS_TO_ANSWER = 8

_get_running_loop = asyncio.get_running_loop


cdef class WSMessageListener(MessageReceiver):
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
        self._open_queue(max_queue)
        if max_message_size is not None:
            check_size("max_message_size", max_message_size)
        if max_fragments is not None:
            check_size("max_fragments", max_fragments)
        if max_fragment_size is not None:
            check_size("max_fragment_size", max_fragment_size)
        self._max_fragment_size = max_fragment_size
        self._max_size = max_message_size
        self._max_fragments = max_fragments
        WSMessageListener._use_codec(self, codec)

    #: True: while the iterator of `recv_streaming` is within a message nobody else may receive.
    _has_exclusive_streams = False

    # --- what layers above override: see `picows.websockets` ---

    def _use_codec(self, codec):
        """Set what the constructor was not told yet; only before `on_ws_connected`."""
        self._set_codec(codec)
        self._frame_rules = FrameRules(RSV1 if codec is not None else 0, self._max_size, minimal_lengths=False)

    cpdef object _on_violation(self, exc):
        """The peer broke a rule, and the connection is about to be closed with this error's code and text."""
        return exc

    cpdef _on_pong(self, bytes payload):
        """A PONG was received that nobody in the engine waits for."""

    # --- frames from the engine ---

    cpdef on_ws_connected(self, WSTransport transport):
        """The connection can be used."""
        self.transport = transport

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        """Queue data, answer CLOSE."""
        if frame is None:
            raise TypeError("a frame must be a WSFrame, got None")
        self._receive(transport, frame)

    cdef bint _sends_plainly(self):
        """Whether a whole message would leave now as one frame that is nothing but the message."""
        return (
            self.transport is not None
            and not self.transport._is_sealed
            and self._codec is None
            and self._stream_lock is None
            and self._pending_farewell is None
            and not self._is_tapped
        )

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
            raise _too_many_fragments(self._max_fragments)
        return 0

    cdef bytes _inflate(self, WSFrame frame, bint is_last):
        """One frame of a compressed message, inflated and, if it is text, checked."""
        cdef bytes data
        budget = None if self._max_size is None else self._max_size - self._size
        fragment = self._max_fragment_size
        if fragment is not None and (budget is None or fragment < budget):
            budget = fragment
        try:
            if self._own_codec is not None:
                data = self._own_codec._inflate(frame.payload_ptr, frame.payload_size, is_last, budget)
            else:  # without any codec the parser refuses RSV1
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

    cpdef _refuse_message(self):
        """`recv` would have to join more frames than layers above allow it."""
        self._fail(_too_many_fragments(self._max_joined))

    cdef int _fail(self, object exc) except -1:
        """The peer broke a rule of messages (RFC 6455 7.1.7): what the protocol does where it broke one of frames."""
        cdef WSTransport transport = self._get_transport()
        exc = self._on_violation(exc)
        transport._log(logging.ERROR, "protocol error, closing with %d: %s", exc.code, exc)
        if transport._failure is None:
            exc.__context__ = None  # like its own, its traceback would keep the connection alive
            transport._failure = exc.with_traceback(None)
        self._say_farewell(exc.code, truncated_reason(str(exc)))
        return 0

    def _say_farewell(self, code, reason):
        """Close after a violation. What came before it may be answered first: a receiver that this read has woken has
        not run yet, and `ws_connect` may not have returned yet."""
        cdef WSTransport transport = self._get_transport()
        if not self._has_whole_message():
            transport._farewell(code, reason)
        else:
            transport._input_is_over = True
            self._pending_farewell = code, reason
            transport._loop.call_soon(self._await_answers, TURNS_TO_ANSWER)

    def _await_answers(self, turns):
        """Until the receiver waits for more, but not for long: `wait_for` takes some turns to wake its caller."""
        if self._pending_farewell is None:
            return
        if turns and (self._reader is None or self._reader.is_done):
            self.transport._loop.call_soon(self._await_answers, turns - 1)
        else:
            self._bid_farewell()

    def _bid_farewell(self):
        """Send the CLOSE that waits, if there is one."""
        farewell, self._pending_farewell = self._pending_farewell, None
        if farewell is not None:
            self.transport._farewell(*farewell)

    # --- the end ---

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
        self._bid_farewell()
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

    cpdef _on_close(self, WSFrame frame):
        """Answer; the server then hangs up, the client waits for it (RFC 6455 7.1.1)."""
        cdef WSTransport transport = self._get_transport()
        if not transport.is_close_frame_sent:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
        if not transport.is_client_side:
            transport._hang_up()

    cpdef on_ws_disconnected(self, WSTransport transport):
        """Wake everybody who waits."""
        self._is_lost = True
        self._codec = self._own_codec = self._pending_farewell = None
        if self._end is not None and not self._end.done():
            self._end.set_result(None)
        self._wake_reader()
        self.resume_writing()


cdef object _too_many_fragments(limit):
    return WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, f"message of more than {limit} fragments")


cdef inline bytes _payload(WSFrame frame):
    return PyBytes_FromStringAndSize(frame.payload_ptr, frame.payload_size)
