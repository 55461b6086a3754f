"""The asyncio protocol of one connection: the hot path of receiving, and what happens around each frame.

The event loop reads into the thread's shared buffer (`Pool.read_buffer`), or, while a large frame is incomplete, into
the rest of that frame's own buffer. Frames are unmasked where they lie and delivered one after the other through one
WSFrame object. A frame is delivered when it is known whether another complete one follows it in the same read
(`last_in_buffer`), that is one header late.

Between reads a connection keeps nothing but what it must: a few bytes of a header or of a small frame (the tail),
which the next batch finds in front of what was read, or a large frame's buffer. If the user keeps a frame or a view of
it, which its reference count shows, the buffer is left to them and the thread takes another one.

Until the opening handshake is complete everything is passed on to the `Opening`.
"""

import asyncio
import logging
import socket
import sys
import types

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ._kernels cimport (
    LIVE_RECEIVER,
    LIVE_TAIL,
    PICOWS_IS_DEBUG,
    active_kernels,
    count_live,
    picows_kernels,
    picows_rotate_key,
)
from .buffers cimport HEADROOM, new_read_buffer
from .closing cimport WSCloseHandshake, WSCloseInfo
from .enums cimport WSMsgType
from .frame cimport fill_frame, new_frame, type_members
from .listener cimport overrides
from .pool cimport READ_SIZE, current_pool
from .strict cimport not_minimal
from .transport cimport end_batch

from picows.abc import FrameRules
from picows.closing import close_after, parse_close_payload, truncated_reason
from picows.enums import PICOWS_DEBUG_LL
from picows.enums import WSCloseCode as _WSCloseCode
from picows.errors import WSMessageTooBigError, WSProtocolError
from picows.http import hide_credentials


cdef extern from "Python.h":
    PyObject* PyObject_VectorcallMethod(object name, PyObject** args, size_t nargsf, PyObject* kwnames)
    void Py_DECREF(PyObject* o) noexcept
    Py_ssize_t Py_REFCNT(object o) noexcept


cdef extern from "socket_io.h":
    enum:
        PICOWS_CAN_SEND
    int picows_tune(int fd, int quick_ack) noexcept


cdef extern from *:
    """
    #ifndef PICOWS_AIOFASTNET
    #  define PICOWS_AIOFASTNET ""
    #endif
    """
    # The version of aiofastnet that was there when this was compiled.
    const char* PICOWS_AIOFASTNET


cdef enum:
    # An incomplete frame up to this size is completed by a copy: that saves a read. It also bounds what is copied when
    # a peer sends single bytes. HEADROOM has room for such a frame with its header.
    SMALL = 4096
    # What is missing of a larger frame is copied, not read into place, once it is this little.
    SMALL_REST = 32 * 1024

cdef const picows_kernels* _kernels = active_kernels()
cdef PyObject** _members = type_members()
cdef tuple _INET = (socket.AF_INET, socket.AF_INET6)
cdef str _ON_WS_FRAME = "on_ws_frame"
cdef type _function = types.FunctionType


cdef class Receiver:
    """Everything of WSProtocol. The class of its own is there because asyncio tells a BufferedProtocol by its type."""

    def __cinit__(self):
        self._tail = NULL
        if PICOWS_IS_DEBUG:
            count_live(LIVE_RECEIVER, 1)

    def __init__(self, loop, options, opening, registry=None):
        self._loop = loop
        self._options = options
        self._auto_pong = options.enable_auto_pong
        self._mask_bit = 0 if options.is_client_side else PICOWS_MASK
        self._limit = min(options.max_frame_size, 0x7FFFFFFFFFFFFFFF)
        self._opening = opening
        self._registry = registry
        self._pool = current_pool()

    def __dealloc__(self):
        self._free_tail()
        if PICOWS_IS_DEBUG:
            count_live(LIVE_RECEIVER, -1)

    @property
    def transport(self):
        """The WSTransport, from `connection_made` until `connection_lost`."""
        return self._transport

    # --- asyncio calls these ---

    def connection_made(self, transport):
        """The connection exists: tune the socket and start the opening handshake."""
        options = self._options
        try:
            self._transport = WSTransport(options.is_client_side, transport, options.logger, self._loop, options)
            _tune_socket(transport, self._transport._fd)
            if _is_aiofastnets(transport):
                _adopt(self, transport)
            if options.logger.isEnabledFor(logging.INFO):
                self._is_debug = options.logger.isEnabledFor(PICOWS_DEBUG_LL)
                self._transport._log(
                    logging.INFO,
                    "connected, local %s, peer %s, %s",
                    transport.get_extra_info("sockname"),
                    transport.get_extra_info("peername"),
                    "TLS" if self._transport.is_secure else "plain",
                )
            if self._opening is not None:
                self._opening.connection_made(self)
        except Exception as exc:
            opening, self._opening = self._opening, None
            if opening is not None:
                opening.connection_lost(exc)
            transport.abort()

    def is_buffered_protocol(self):
        """aiofastnet asks for this first."""
        return True

    def eof_received(self):
        """The peer has finished sending: the transport closes itself."""
        if self._opening is not None:
            self._opening.eof_received()

    def connection_lost(self, exc):
        """The connection is gone: tell the listener, then those who wait."""
        cdef WSTransport transport = self._transport
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.connection_lost(exc)
        if transport is None:
            return
        transport._on_lost()
        if self._registry is not None:
            self._registry.discard(transport)
        listener, self._listener = self._listener, None
        self._is_open = False
        self._pending = None
        self._state = None
        self._free_tail()
        try:
            if listener is not None:
                transport._log(logging.INFO, "disconnected%s", f": {exc!r}" if exc else "")
                self._call_disconnected(listener)
        finally:
            transport._release_waiters()
            # The TLS transports of asyncio and uvloop keep bound methods of ours for ever, and `_transport` keeps them.
            self._transport = None

    def pause_writing(self):
        """The write buffer is above its high watermark."""
        if self._transport is not None:
            self._transport._on_pause_writing()
            self._report_pressure(
                "pause_writing", "the peer reads slower than is sent: write buffer above its high watermark"
            )

    def resume_writing(self):
        """The write buffer is below its low watermark."""
        if self._transport is not None:
            self._transport._on_resume_writing()
            self._report_pressure("resume_writing", "write buffer below its low watermark again")

    def _report_pressure(self, method, message):
        if self._listener is None:
            return
        if overrides(self._listener, method):
            getattr(self._listener, method)()
        else:
            self._transport._log(logging.WARNING, message)

    cpdef get_buffer(self, Py_ssize_t sizehint):
        """Where the loop reads into: a large pending frame's own buffer, else the connection's or the thread's."""
        return self._target()

    cdef bint _reads_in_place(self) noexcept:
        """True if the loop reads into the pending frame's buffer. The last bytes of a frame are not worth a read of
        their own: they are read together with what follows, and copied."""
        return self._pending is not None and self._pending.stop - self._pending.start > SMALL_REST

    cdef ReadBuffer _target(self):
        if self._reads_in_place():
            return self._pending
        if self._own_buffer is not None:
            return self._own_buffer
        return self._pool.read_buffer

    cpdef buffer_updated(self, Py_ssize_t nbytes):
        """`nbytes` bytes were read."""
        cdef ReadBuffer buffer
        cdef char* data
        if self._reads_in_place():
            self._process(None, NULL, nbytes)
            return
        buffer = self._pool.read_buffer if self._own_buffer is None else self._own_buffer
        data = buffer.data + HEADROOM
        if self._is_debug:
            received = PyBytes_FromStringAndSize(data, nbytes)
            self._transport._log_bytes("received", received if self._opening is None else hide_credentials(received))
        if self._is_open:
            if self._tail_size:
                data -= self._tail_size
                nbytes += self._tail_size
                memcpy(data, self._tail, self._tail_size)
                self._free_tail()
            self._process(buffer, data, nbytes)
        elif self._opening is not None:
            self._opening.data_received(PyBytes_FromStringAndSize(data, nbytes))

    # --- the opening calls this ---

    def open(self, WSListener listener not None, request, response, bytes remainder not None):
        """The handshake is complete: from now on frames go to `listener`, those in `remainder` first."""
        cdef WSTransport transport = self._transport
        cdef ReadBuffer buffer
        if transport is None:
            raise RuntimeError("there is no connection that could be opened")
        self._opening = None
        self._listener = transport._listener = listener
        self._calls_python = isinstance(getattr(type(listener), _ON_WS_FRAME), _function)
        self._calls_natively = listener._receives_natively()
        transport.request, transport.response = request, response
        rules = listener._frame_rules
        if rules is None and self._options.strict:
            rules = FrameRules()
        if rules is not None:
            self._state = MessageState(rules)
        self._is_open = True
        if self._registry is not None:
            self._registry.add(transport)
        try:
            listener.on_ws_connected(transport)
        except Exception as exc:
            self._fail_callback(exc, "on_ws_connected", True)
            return
        transport._start_auto_ping()
        if remainder and not transport._input_is_over:
            # It is unmasked in place, which bytes cannot be.
            buffer = new_read_buffer(PyBytes_GET_SIZE(remainder), 0)
            memcpy(buffer.data, PyBytes_AS_STRING(remainder), PyBytes_GET_SIZE(remainder))
            self._process(buffer, buffer.data, PyBytes_GET_SIZE(remainder))

    def abandon(self):
        """Whoever asked for this connection has gone: the last callback runs now, none later."""
        listener, self._listener = self._listener, None
        if self._transport is not None:
            self._transport._abort()
            if listener is not None:
                self._call_disconnected(listener)

    # --- bytes to frames ---

    cdef int _process(self, ReadBuffer buffer, char* data, Py_ssize_t size) except -1:
        """Bytes of frames arrived: those at `data` in `buffer`, or, where that is NULL, `size` bytes that were read right
        into the pending frame's buffer."""
        cdef WSTransport transport = self._transport
        cdef Pool pool = self._pool
        cdef bint is_outermost
        if transport is None or transport._input_is_over:
            return 0
        if transport._auto_pinger is not None:
            transport._auto_pinger.last_data_time = self._loop.time()
        is_outermost = not pool.in_batch
        if is_outermost:
            pool.in_batch = True
            pool.batch += 1
        try:
            if self._pending is not None:
                self._read_into_pending(buffer, data, size)
            else:
                self._parse(buffer, <uint8_t*>data, size, None)
        except WSProtocolError as exc:
            self._pending = None  # its buffer may be full: what still arrives is read elsewhere and discarded
            self._fail(exc)
        finally:
            if is_outermost:
                end_batch(pool)
        return 0

    cdef int _parse(self, ReadBuffer buffer, uint8_t* data, Py_ssize_t size, ReadBuffer pending) except -1:
        """Deliver the frame in `pending`, which this read completed, if there is one, and then the frames in these bytes;
        keep what is left of them."""
        assert self._pending is None and self._tail is NULL, "a batch begins while part of a frame is kept"
        assert not size or buffer.data <= <char*>data <= buffer.data + buffer.capacity - size, "bytes out of bounds"
        cdef WSTransport transport = self._transport
        cdef MessageState state = self._state
        cdef WSFrame frame = self._pool.take_frame(buffer if pending is None else pending)
        cdef picows_header header
        cdef picows_header_result result
        cdef Py_ssize_t at = 0, body = 0
        cdef bint is_filled = False, is_complete, is_text = False, was_kept = False
        cdef object violation = None
        if pending is not None:
            fill_frame(frame, _members, self._pending_first, pending.data, pending.stop, size)
            is_filled = True
        try:
            while True:
                is_complete = False
                result = picows_parse_header(data + at, size - at, self._mask_bit, self._limit, &header)
                if result != PICOWS_HEADER_OK:
                    violation = self._find_violation(result, data[at] if at < size else 0, &header)
                else:
                    body = at + header.size
                    if state is not None:
                        try:
                            is_text = state.admit(header.first, header.payload_size, header.is_minimal)
                        except WSProtocolError as exc:
                            violation = exc
                    if violation is None:
                        is_complete = header.payload_size <= <uint64_t>(size - body)
                        if not is_complete and (state is not None or header.payload_size > SMALL):
                            try:
                                self._begin_pending(&header, data + body, size - body, is_text)
                            except WSProtocolError as exc:
                                violation = exc
                            at = size
                if is_filled:
                    frame.last_in_buffer = not is_complete
                    self._deliver(frame)
                    is_filled = False
                    if transport._input_is_over:
                        return 0
                    if is_complete:
                        if Py_REFCNT(frame) > 1:
                            was_kept = was_kept or pending is None
                            frame = new_frame(buffer)
                        elif pending is not None:
                            frame._owner = buffer
                            self._pool.recycle(pending)
                        pending = None
                if violation is not None:
                    raise violation
                if not is_complete:
                    break
                if self._mask_bit:
                    _kernels.mask(data + body, data + body, header.payload_size, header.key)
                at = body + <Py_ssize_t>header.payload_size
                if is_text:
                    state.validate(data + body, header.payload_size, header.first & PICOWS_FIN)
                fill_frame(frame, _members, header.first, <char*>data + body, header.payload_size, size - at)
                is_filled = True
            if at < size:
                self._keep_tail(data + at, size - at)
        finally:
            if Py_REFCNT(frame) > 1:
                was_kept = was_kept or pending is None
            else:
                frame._owner = None
                self._pool.frame = frame
                if pending is not None:
                    self._pool.recycle(pending)
            if was_kept:
                self._leave_buffer(buffer)
        return 0

    cdef int _leave_buffer(self, ReadBuffer buffer) except -1:
        """The user keeps something in this buffer: read into another one from now on."""
        if buffer is self._pool.read_buffer:
            self._pool.read_buffer = new_read_buffer(HEADROOM + READ_SIZE, HEADROOM)
        elif buffer is self._own_buffer:
            self._own_buffer = new_read_buffer(buffer.capacity, HEADROOM)
        return 0

    cdef int _keep_tail(self, const uint8_t* data, Py_ssize_t size) except -1:
        assert size <= SMALL + PICOWS_MAX_HEADER <= HEADROOM, "a tail that does not fit in front of a read"
        self._tail = <char*>PyMem_RawMalloc(size)
        if self._tail is NULL:
            raise MemoryError("no memory for a part of a frame")
        if PICOWS_IS_DEBUG:
            count_live(LIVE_TAIL, 1)
        memcpy(self._tail, data, size)
        self._tail_size = size
        return 0

    cdef void _free_tail(self) noexcept:
        if PICOWS_IS_DEBUG and self._tail is not NULL:
            count_live(LIVE_TAIL, -1)
        PyMem_RawFree(self._tail)
        self._tail = NULL
        self._tail_size = 0

    cdef int _begin_pending(
        self, picows_header* header, const uint8_t* data, Py_ssize_t available, bint is_text
    ) except -1:
        """A frame has arrived in part: give it a buffer of its own, into which the loop reads the rest."""
        self._pending = self._pool.take_large(header.payload_size)
        self._pending_first = header.first
        self._pending_key = header.key
        self._pending_is_text = is_text
        memcpy(self._pending.data, data, available)
        return self._fill_pending(available)

    cdef int _fill_pending(self, Py_ssize_t count) except -1:
        """`count` more bytes are in the pending frame's buffer: unmask and validate them while they are in the cache."""
        cdef ReadBuffer pending = self._pending
        cdef Py_ssize_t filled = pending.start
        cdef uint8_t* data = <uint8_t*>pending.data + filled
        pending.start += count
        assert 0 <= filled and pending.start <= pending.stop <= pending.capacity, "more was read than there was room for"
        if self._mask_bit:
            _kernels.mask(data, data, count, picows_rotate_key(self._pending_key, filled))
        if self._pending_is_text:
            self._state.validate(data, count, pending.start == pending.stop and self._pending_first & PICOWS_FIN)
        return 0

    cdef int _read_into_pending(self, ReadBuffer buffer, char* data, Py_ssize_t size) except -1:
        """Bytes arrived for a pending frame: `size` bytes in its own buffer, or, if `data` is not NULL, its end and what
        follows it in `buffer`."""
        cdef ReadBuffer pending = self._pending
        cdef Py_ssize_t count = size
        if data is not NULL:
            count = min(size, pending.stop - pending.start)
            memcpy(pending.data + pending.start, data, count)
        self._fill_pending(count)
        if pending.start < pending.stop:
            return 0
        self._pending = None
        return self._parse(buffer, <uint8_t*>data + count, size - count, pending)

    cdef object _find_violation(self, picows_header_result result, uint8_t first, picows_header* header):
        """What is wrong with a header that is not OK; None if it is only incomplete."""
        cdef MessageState state = self._state
        if header.size and not header.is_minimal and state is not None and state._minimal_lengths:
            return not_minimal(header.payload_size)
        if result == PICOWS_HEADER_INCOMPLETE:
            return None
        if result == PICOWS_HEADER_TOO_BIG:
            size = header.payload_size
            return WSMessageTooBigError(f"frame of {size} bytes, {self._limit} are allowed", size, self._limit)
        if result == PICOWS_HEADER_RESERVED_OPCODE:
            return _violation(f"frame with reserved opcode {first & 0x0F}")
        if result == PICOWS_HEADER_FRAGMENTED_CONTROL:
            return _violation("fragmented control frame")
        if result == PICOWS_HEADER_MASKED:
            return _violation("masked frame from the server")
        if result == PICOWS_HEADER_UNMASKED:
            return _violation("unmasked frame from the client")
        return _violation(f"control frame with more than {PICOWS_MAX_CONTROL_PAYLOAD} bytes")

    # --- frames to the listener ---

    cdef int _deliver(self, WSFrame frame) except -1:
        """Hand one frame over."""
        cdef WSTransport transport = self._transport
        cdef WSListener listener = self._listener
        cdef PyObject* args[3]
        cdef PyObject* result
        if frame._first & PICOWS_CONTROL or transport._awaits_pong:
            return self._deliver_control(frame)
        if not self._calls_python:
            return self._deliver_in_c(listener, frame)
        # As `listener.on_ws_frame(transport, frame)`, without a bound method and a try statement in between.
        args[0] = <PyObject*>listener
        args[1] = <PyObject*>transport
        args[2] = <PyObject*>frame
        result = PyObject_VectorcallMethod(_ON_WS_FRAME, args, 3, NULL)
        if result is NULL:
            return self._on_frame_callback_raised()
        Py_DECREF(result)
        return 0

    cdef int _deliver_in_c(self, WSListener listener, WSFrame frame) except -1:
        """Through the vtable: the listener is written in Cython, or does not override `on_ws_frame`."""
        try:
            if self._calls_natively:
                listener._receive(self._transport, frame)
            else:
                listener.on_ws_frame(self._transport, frame)
        except Exception as exc:
            self._fail_callback(exc, "on_ws_frame", self._options.disconnect_on_exception)
        return 0

    cdef int _on_frame_callback_raised(self) except -1:
        """An exception is set."""
        try:
            raise_current()
        except Exception as exc:
            self._fail_callback(exc, "on_ws_frame", self._options.disconnect_on_exception)
        return 0

    cdef int _deliver_control(self, WSFrame frame) except -1:
        """A control frame, or any frame while a pong is awaited (an application may have pongs of its own)."""
        cdef WSTransport transport = self._transport
        cdef WSListener listener = self._listener
        cdef WSMsgType msg_type = frame.msg_type
        cdef WSCloseHandshake record
        if msg_type == WSMsgType.PING and self._auto_pong:
            return transport._answer_ping(frame.payload_ptr, frame.payload_size)
        if msg_type == WSMsgType.CLOSE:
            code, reason = parse_close_payload(frame.get_payload_as_bytes())
            record = transport._close_record()
            record.recv = WSCloseInfo(code, reason)
            record.recv_then_sent = record.sent is None
            transport._input_is_over = True
        try:
            if transport._awaits_pong and listener.is_user_specific_pong(frame):
                transport.notify_user_specific_pong_received()
            else:
                listener.on_ws_frame(transport, frame)
        except Exception as exc:
            self._fail_callback(exc, "on_ws_frame", self._options.disconnect_on_exception)
        if msg_type == WSMsgType.CLOSE and (self._options.enable_auto_close or transport._hangs_up):
            self._answer_close()
        return 0

    cdef int _answer_close(self) except -1:
        """The peer closes and the listener has not answered: echo its code; the server then hangs up (RFC 6455
        7.1.1)."""
        cdef WSTransport transport = self._transport
        received = transport._close_record().recv
        if received is not None and not transport._is_sealed:
            transport.send_close(received.code, received.reason)
        if not self._options.is_client_side:
            transport.disconnect()
        return 0

    # --- failures ---

    cdef int _fail(self, exc) except -1:
        """The peer broke the protocol (RFC 6455 7.1.7)."""
        cdef WSTransport transport = self._transport
        rephrase = getattr(self._listener, "_on_violation", None)
        if rephrase is not None:  # a message layer, which has words of its own
            exc = rephrase(exc)
        transport._log(logging.ERROR, "protocol error, closing with %d: %s", exc.code, exc)
        # Its traceback would keep the connection alive until a garbage collection.
        exc.__context__ = None
        self._remember(exc.with_traceback(None))
        transport._farewell(exc.code, truncated_reason(str(exc)))
        return 0

    def _fail_callback(self, exc, callback, is_fatal):
        """A callback raised. A WSProtocolError is a request to close with its code, whatever the options say."""
        cdef WSTransport transport = self._transport
        if not is_fatal and not isinstance(exc, WSProtocolError):
            transport._log(logging.ERROR, "%s raised", callback, exc_info=exc)
            return
        code, reason = close_after(exc)
        level = self._remember_raised(exc)
        # A warning's traceback comes out of wait_disconnected.
        exc_info = exc if level == logging.ERROR else None
        transport._log(level, "%s raised %r, closing with %d", callback, exc, code, exc_info=exc_info)
        transport._farewell(code, reason)

    def _remember_raised(self, exc):
        """Keep what a callback raised. The level to log it at: a client's first failure is raised by
        wait_disconnected."""
        return logging.WARNING if self._remember(exc) and self._options.is_client_side else logging.ERROR

    def _remember(self, exc):
        """Keep the first failure for wait_disconnected; True if this is it."""
        if self._transport._failure is None:
            self._transport._failure = exc
            return True
        return False

    def _call_disconnected(self, listener):
        try:
            listener.on_ws_disconnected(self._transport)
        except Exception as exc:
            self._transport._log(self._remember_raised(exc), "on_ws_disconnected raised", exc_info=exc)


class WSProtocol(Receiver, asyncio.BufferedProtocol):
    """The asyncio protocol of one connection.

    Args:
        loop: the loop that the connection belongs to.
        options: validated options of this side.
        opening: drives the opening handshake.
        registry: a set that holds the WSTransport of each open connection.
    """

    __slots__ = ()


def make_protocol(loop, options, opening, registry=None, is_plain=True):
    """The protocol for this loop.

    Args:
        loop: as for WSProtocol; likewise options, opening and registry.
        options: see WSProtocol.
        opening: see WSProtocol.
        registry: see WSProtocol.
        is_plain: True if the transport is the loop's own, without TLS. It makes no difference here.
    """
    protocol = WSProtocol(loop, options, opening, registry)
    if _keeps_buffers(loop):
        (<Receiver>protocol)._own_buffer = new_read_buffer(HEADROOM + options.read_buffer_init_size, HEADROOM)
    return protocol


# What is known of the classes of loops and transports: every connection asks.
cdef dict _loops = {}
cdef dict _transports = {}


cdef bint _keeps_buffers(loop) except -1:
    """Completion-based loops keep the buffer while they wait for data."""
    known = _loops.get(type(loop))
    if known is None:
        kind = type(loop)
        known = _loops[kind] = "Proactor" in kind.__name__ or kind.__module__.startswith("winloop")
    return known


cdef bint _is_aiofastnets(transport) except -1:
    known = _transports.get(type(transport))
    if known is None:
        known = _transports[type(transport)] = type(transport).__module__.startswith("aiofastnet")
    return known


cdef int _tune_socket(transport, int fd) except -1:
    """No Nagle: a frame is never worth waiting for. Acknowledge at once where that can be asked for."""
    if fd < 0:
        sock = transport.get_extra_info("socket")
        if sock is None:
            return 0
        if not PICOWS_CAN_SEND:  # Windows, which has no TCP_QUICKACK
            if sock.family in _INET:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return 0
        fd = sock.fileno()
    if picows_tune(fd, getattr(socket, "TCP_QUICKACK", -1)) < 0:
        PyErr_SetFromErrno(OSError)
    return 0


def _adopt(receiver, transport):
    """Use aiofastnet's C interface if it is the one that we were compiled against."""
    global _adopt
    aiofastnet = sys.modules["aiofastnet"]
    if aiofastnet.__version__ == PICOWS_AIOFASTNET.decode():
        from ._fastnet import adopt
    else:
        def adopt(receiver, transport):
            pass
    _adopt = adopt
    adopt(receiver, transport)


cdef int raise_current() except -1:
    """Raise the exception that C code has left."""
    return -1


cdef _violation(str message):
    return WSProtocolError(_WSCloseCode.PROTOCOL_ERROR, message)
