"""Frames out of bytes (RFC 6455 5.2): the hot path of receiving.

The event loop reads into the thread's shared buffer (`Pool.read_buffer`), or, while a large frame is incomplete, into
the rest of that frame's own buffer. Frames are unmasked where they lie and delivered one after the other through one
WSFrame object. A frame is delivered when it is known whether another complete one follows it in the same read
(`last_in_buffer`), that is one header late.

Between reads a connection keeps nothing but what it must: a few bytes of a header or of a small frame (the tail),
which the next batch finds in front of what was read, or a large frame's buffer. If the user keeps a frame or a view of
it, which its reference count shows, the buffer is left to them and the thread takes another one.

A read may bring tens of thousands of tiny frames. After FRAMES_PER_TURN of them, or when the listener pauses reading,
the rest (the backlog) waits for another turn of the loop, and nothing is read until then.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ._kernels cimport LIVE_TAIL, PICOWS_IS_DEBUG, active_kernels, count_live, picows_kernels, picows_rotate_key
from .buffers cimport HEADROOM, new_read_buffer
from .frame cimport fill_frame, new_frame, type_members
from .pool cimport READ_SIZE, current_pool
from .strict cimport not_minimal, protocol_violation
from .wire cimport end_batch

from picows import options
from picows.enums import WSCloseCode as _WSCloseCode
from picows.errors import WSMessageTooBigError, WSProtocolError


cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    Py_ssize_t Py_REFCNT(object o) noexcept
    unsigned long PyThread_get_thread_ident() noexcept


cdef enum:
    # An incomplete frame up to this size is completed by a copy: that saves a read. It also bounds what is copied when
    # a peer sends single bytes. HEADROOM has room for such a frame with its header.
    SMALL = 4096
    # What is missing of a larger frame is copied, not read into place, once it is this little.
    SMALL_REST = 32 * 1024

cdef const picows_kernels* _kernels = active_kernels()
cdef PyObject** _members = type_members()
cdef int FRAMES_PER_TURN = options.FRAMES_PER_TURN


cdef class Parser:
    """The receiving half of one connection. `Receiver` adds what happens with frames and failures."""

    def __cinit__(self):
        self._tail = NULL

    def __dealloc__(self):
        self._free_tail()

    cdef int _open_parser(self, bint is_client_side, max_frame_size) except -1:
        self._mask_bit = 0 if is_client_side else PICOWS_MASK
        # A header announces up to 2^64-1 bytes. What passes the limit must fit a Py_ssize_t, which may have 32 bits.
        self._limit = min(max_frame_size, <object>PY_SSIZE_T_MAX)
        self._pool = current_pool()
        self._thread_id = PyThread_get_thread_ident()
        return 0

    cdef int _deliver(self, WSFrame frame) except -1:
        """Hand one frame over."""
        raise AssertionError("a parser alone delivers nothing")

    cdef int _fail(self, exc) except -1:
        """The peer broke the protocol."""
        raise AssertionError("a parser alone has no connection that could fail")

    # --- where the loop reads into ---

    cdef int _follow_loop(self) except -1:
        """The loop calls: if it runs in another thread than before, that thread's pool is ours from now on. It would be
        shared with connections of other threads otherwise."""
        if PyThread_get_thread_ident() != self._thread_id:
            if self._transport is not None:
                self._transport._change_thread()
            self._pool = current_pool()
            self._thread_id = PyThread_get_thread_ident()
        return 0

    cpdef get_buffer(self, Py_ssize_t sizehint):
        """Where the loop reads into: a large pending frame's own buffer, else the connection's or the thread's."""
        return self._target()

    cdef bint _reads_in_place(self) noexcept:
        """True if the loop reads into the pending frame's buffer. The last bytes of a frame are not worth a read of
        their own: they are read together with what follows, and copied."""
        return self._pending is not None and self._pending.stop - self._pending.start > SMALL_REST

    cdef ReadBuffer _target(self):
        self._follow_loop()
        if self._reads_in_place():
            return self._pending
        if self._own_buffer is not None:
            return self._own_buffer
        if self._pool.in_read or self._pool.read_buffer is None:
            # A callback runs the loop (nest_asyncio): the batch that it belongs to lies in the shared buffer, and keeps it.
            self._pool.read_buffer = new_read_buffer(HEADROOM + READ_SIZE, HEADROOM)
        return self._pool.read_buffer

    cdef int _unpack(self, ReadBuffer buffer, Py_ssize_t size) except -1:
        """`size` bytes were read into `buffer`, behind its headroom: the tail belongs in front of them."""
        cdef char* data = buffer.data + HEADROOM
        if self._tail_size:
            data -= self._tail_size
            size += self._tail_size
            memcpy(data, self._tail, self._tail_size)
            self._free_tail()
        return self._process(buffer, data, size)

    # --- bytes to frames ---

    cdef int _process(self, ReadBuffer buffer, char* data, Py_ssize_t size) except -1:
        """Bytes of frames arrived: those at `data` in `buffer`, or, where that is NULL, `size` bytes that were read right
        into the pending frame's buffer."""
        cdef WSTransport transport = self._transport
        cdef Pool pool = self._pool
        cdef bint is_outermost
        if transport is None:
            return 0
        if transport._input_is_over:
            return transport._discard(size)
        if self._backlog is not None:
            return self._add_to_backlog(data, size)
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
        except BaseException:
            if self._is_torn:
                # Event loops do not end a connection for a KeyboardInterrupt.
                transport._abort()
            raise
        finally:
            try:
                if is_outermost:
                    end_batch(pool)
            finally:
                self._suspend(transport)
        return 0

    cdef int _suspend(self, WSTransport transport) except -1:
        """If there is a backlog another turn of the loop goes on with it."""
        if self._backlog is not None:
            if transport._input_is_over:
                self._backlog = None
            else:
                transport._suspend_reading(self._go_on)
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
        cdef int budget = FRAMES_PER_TURN
        cdef bint is_filled = False, is_complete, is_text = False, was_kept = False
        cdef object violation = None
        if pending is not None:
            fill_frame(frame, _members, self._pending_first, pending.data, pending.stop, size)
            is_filled = True
        try:
            while True:
                is_complete = False
                if budget <= 0 and at < size:
                    # Another turn goes on with what is left.
                    self._add_to_backlog(<char*>data + at, size - at)
                    at = size
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
                    self._pool.has_more_frames = is_complete
                    self._deliver(frame)
                    is_filled = False
                    if transport._input_is_over:
                        return 0
                    budget -= 1
                    if transport._is_reading_paused:
                        budget = 0
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
        except BaseException:
            self._is_torn = at < size or self._backlog is not None
            raise
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
            self._pool.read_buffer = None  # also where there is no memory for another one
            self._pool.read_buffer = new_read_buffer(HEADROOM + READ_SIZE, HEADROOM)
        elif buffer is self._own_buffer:
            self._own_buffer = None
            self._own_buffer = new_read_buffer(buffer.capacity, HEADROOM)
        return 0

    cdef int _keep_tail(self, const uint8_t* data, Py_ssize_t size) except -1:
        assert size <= SMALL + PICOWS_MAX_HEADER <= HEADROOM, "a tail that does not fit in front of a read"
        self._free_tail()  # there is none, unless a callback has fed its own connection
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
        """A frame has arrived in part: give it a buffer of its own, into which the loop reads the rest. What the header
        announces is only reserved; memory is used as the bytes come."""
        try:
            self._pending = self._pool.take_large(header.payload_size)
        except MemoryError:
            raise WSProtocolError(
                _WSCloseCode.MESSAGE_TOO_BIG, f"no memory for a frame of {header.payload_size} bytes"
            ) from None
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
        if data is NULL:
            data = pending.data + pending.stop  # nothing follows
        else:
            count = min(size, pending.stop - pending.start)
            memcpy(pending.data + pending.start, data, count)
            data += count
        self._fill_pending(count)
        if pending.start < pending.stop:
            return 0
        self._pending = None
        return self._parse(buffer, <uint8_t*>data, size - count, pending)

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
            return protocol_violation(f"frame with reserved opcode {first & 0x0F}")
        if result == PICOWS_HEADER_FRAGMENTED_CONTROL:
            return protocol_violation("fragmented control frame")
        if result == PICOWS_HEADER_MASKED:
            return protocol_violation("masked frame from the server")
        if result == PICOWS_HEADER_UNMASKED:
            return protocol_violation("unmasked frame from the client")
        return protocol_violation(f"control frame with more than {PICOWS_MAX_CONTROL_PAYLOAD} bytes")

    # --- another turn ---

    cdef int _add_to_backlog(self, const char* data, Py_ssize_t size) except -1:
        cdef ReadBuffer backlog = self._backlog
        cdef Py_ssize_t before = 0 if backlog is None else backlog.stop - backlog.start
        cdef ReadBuffer buffer = new_read_buffer(before + size, 0)
        if before:
            memcpy(buffer.data, backlog.data + backlog.start, before)
        memcpy(buffer.data + before, data, size)
        buffer.start, buffer.stop = 0, before + size
        self._backlog = buffer
        return 0

    def _go_on(self):
        """The next turn of the loop."""
        cdef WSTransport transport = self._transport
        cdef Pool pool
        cdef bint is_outermost
        self._follow_loop()
        if transport is None or not transport._may_go_on():
            return
        pool = self._pool
        is_outermost = not pool.in_read  # else a callback runs the loop
        pool.in_read = True
        try:
            self._parse_backlog()
        finally:
            if is_outermost:
                pool.end_read()

    cdef int _parse_backlog(self) except -1:
        cdef ReadBuffer backlog = self._backlog
        if backlog is not None:
            self._backlog = None
            self._process(backlog, backlog.data + backlog.start, backlog.stop - backlog.start)
        return 0

    cdef int _drain(self) except -1:
        """There will not be another turn: the peer's input, or the connection, has ended."""
        cdef WSTransport transport = self._transport
        while self._backlog is not None and not transport._input_is_over:
            transport._is_reading_paused = False
            self._parse_backlog()
        self._backlog = None
        return 0
