# cython: binding=False
"""How bytes leave: straight to the socket while nothing is pending, else through the event loop's transport.

A `Wire` owns neither the socket nor the transport. Over plain TCP and Unix sockets it calls send(2) itself with
MSG_NOSIGNAL; what the socket does not take goes to the transport, which owns backpressure. Over TLS everything goes
through the transport.

Within a batch (see `pool`) a connection's first write leaves at once; later ones are gathered in its outbox, until the
end of the batch or 64 KiB. Where a peer keeps many frames in flight the first answer waits for the others as well, if
more frames of the read are there: two sends a batch would halve the peer's batches too. It cannot wait long: this lasts
only as long as such batches are over within 200 us.
"""

import socket

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_SetFromErrno
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from ._kernels cimport LIVE_OUTBOX, PICOWS_IS_DEBUG, count_live
from .buffers cimport ReadBuffer
from .pool cimport GATHER_LIMIT, LARGEST_SPARE, PIPELINED, SHORT_BATCH_NS, Pool


cdef extern from "frame_codec.h":
    enum:
        PICOWS_MAX_HEADER


cdef extern from "clock.h":
    int64_t picows_now_ns() noexcept


cdef extern from "socket_io.h":
    enum:
        PICOWS_CAN_SEND
    # The number of bytes that the socket took, 0 if it takes none now, -1 if it is broken.
    Py_ssize_t picows_send(int fd, const void* data, Py_ssize_t size) noexcept
    Py_ssize_t picows_send_two(int fd, const void* one, Py_ssize_t size, const void* two, Py_ssize_t size_two) noexcept
    int picows_no_sigpipe(int fd) noexcept
    int picows_tune(int fd, int quick_ack) noexcept
    int picows_has_unread(int fd) noexcept


cdef enum:
    # The first outbox of a batch is a whole block, which the pool keeps; further ones begin small.
    OUTBOX_SIZE = GATHER_LIMIT + JOIN_LIMIT + 64
    SMALL_OUTBOX = 4096

cdef tuple _INET = (socket.AF_INET, socket.AF_INET6)


cdef class Wire:
    """The way out of one connection; `_open_wire` comes first."""

    def __cinit__(self):
        self._fd = -1
        self._outbox = NULL

    def __dealloc__(self):
        self._free_outbox()

    cdef int _open_wire(self, underlying_transport, loop, Pool pool, bint coalesces) except -1:
        self.underlying_transport = underlying_transport
        self._loop = loop
        self._pool = pool
        self._coalesces = coalesces
        # The opening handshake was written through the transport, which may not have sent it yet.
        self._has_backlog = True
        self._is_secure = _is_secure(underlying_transport)
        if PICOWS_CAN_SEND and not self._is_secure:
            sock = underlying_transport.get_extra_info("socket")
            if sock is not None:
                self._fd = sock.fileno()
                picows_no_sigpipe(self._fd)
        return 0

    cdef int _gathers(self) except -1:
        """What becomes of this write.

        Returns:
            GATHERED if it waits for the end of the batch: all but the connection's first, and the first of a peer that
            has many frames in flight. LEAVES if it goes behind what was gathered, and all of that by `_leave()`: to
            flush before would let a callback of the transport send something that overtakes it.
        """
        cdef Pool pool = self._pool
        if self._is_lent and not self._leaves_at_once():
            return LEAVES if self._outbox_size else DIRECT
        if not pool.in_batch or not self._coalesces:
            # A callback within the end of a batch: not before what was gathered earlier.
            return GATHERED if self._outbox_size else DIRECT
        if pool.burst_loop is not None and pool.burst_loop is not self._loop:
            return LEAVES  # that loop was stopped before it came to that, and may never run again
        if self._batch != pool.batch:
            self._batch = pool.batch
            # Something is gathered if a callback within the end of the last batch has begun this one.
            if not (self._outbox_size or (self._is_pipelined and pool.has_more_frames)):
                return DIRECT
        self._gathered += 1
        return GATHERED

    cdef int _leave(self) except -1:
        """Send what was gathered, now."""
        cdef Pool pool = self._pool
        try:
            self._flush()  # first: what a callback of another connection's write sends here finds room
        finally:
            if pool.burst_loop is not None and pool.burst_loop is not self._loop:
                end_batch(pool)
        return 0

    cdef bint _leaves_at_once(self) except -1:
        """True if what is gathered will reach the socket although the user of a transport that was lent closes it."""
        self._mind_the_end()
        return self._may_write_directly()

    cdef int _mind_the_end(self) except -1:
        """If the user of a transport that was lent has closed it: what was sent before leaves (the socket is open until
        the next turn of the loop), what follows goes to the transport, which drops it."""
        if self._is_lent and self._fd >= 0 and self.underlying_transport.is_closing():
            self._flush()
            self._fd = -1
        return 0

    cdef char* _gather(self, Py_ssize_t size) except NULL:
        """Room for `size` bytes, JOIN_LIMIT and a header at most, at the end of the outbox."""
        assert self._outbox_size < GATHER_LIMIT and size <= JOIN_LIMIT + PICOWS_MAX_HEADER, "an outbox is overfull"
        cdef Pool pool = self._pool
        cdef Py_ssize_t capacity
        cdef char* outbox
        if self._outbox_size + size > self._outbox_capacity:
            if self._outbox is NULL and pool.spare_outbox is not NULL:
                self._outbox, pool.spare_outbox = pool.spare_outbox, NULL
                self._outbox_capacity = OUTBOX_SIZE
            else:
                capacity = OUTBOX_SIZE if not pool.gathering else max(SMALL_OUTBOX, 2 * self._outbox_capacity)
                capacity = max(min(capacity, <Py_ssize_t>OUTBOX_SIZE), self._outbox_size + size)
                outbox = <char*>PyMem_RawRealloc(self._outbox, capacity)
                if outbox is NULL:
                    raise MemoryError("no memory for gathered writes")
                if PICOWS_IS_DEBUG and self._outbox is NULL:
                    count_live(LIVE_OUTBOX, 1)
                self._outbox = outbox
                self._outbox_capacity = capacity
        if not self._is_gathering:
            if not pool.gathering:
                pool.gathering_since = picows_now_ns()
            pool.gathering.append(self)
            self._is_gathering = True
        self._outbox_size += size
        return self._outbox + self._outbox_size - size

    cdef bint _may_write_directly(self) except -1:
        """True if there is a socket to write to and nothing waits to be written before."""
        if self._fd < 0:
            return False
        if self._has_backlog:
            self._has_backlog = self.underlying_transport.get_write_buffer_size() > 0
        return not self._has_backlog

    cdef int _write(self, const char* data, Py_ssize_t size) except -1:
        """Write bytes that are whole frames; they may change as soon as this returns."""
        cdef Py_ssize_t sent = 0
        if self._may_write_directly():
            sent = picows_send(self._fd, data, size)
            if sent == size:
                return 0
            if sent < 0:
                return self._on_broken_socket()
            self._has_backlog = True
        if not sent:
            return self._give_to_transport(data, size)
        try:
            self._give_to_transport(data + sent, size - sent)
        except Exception:
            self._tear(sent)
            raise
        return 0

    cdef int _write_parts(
        self, const char* header, Py_ssize_t header_size, const char* payload, Py_ssize_t size, bytes owner
    ) except -1:
        """Write one large frame behind what was gathered, without copying it. `owner` is the bytes object that has the
        payload, or None: then its owner may change it as soon as this returns."""
        cdef Py_ssize_t sent = 0, owed = self._outbox_size
        header = self._put_behind_gathered(header, &header_size)
        if self._may_write_directly():
            sent = self._send_two(header, header_size, payload, size)
            if sent < 0:
                return 0
        try:
            if owner is not None and self._is_fast_tls():
                self.underlying_transport.writelines([PyBytes_FromStringAndSize(header, header_size), owner])
            elif sent >= header_size and owner is not None:
                # Bytes cannot change: the transport may keep them.
                if sent < header_size + size:
                    self.underlying_transport.write(memoryview(owner)[sent - header_size:])
            elif sent < header_size + size:
                self._write_joined(header, header_size, payload, size, sent)
        except Exception:
            self._tear(sent or owed)
            raise
        return 0

    cdef const char* _put_behind_gathered(self, const char* header, Py_ssize_t* size) except NULL:
        """Nothing is gathered any more: it is the beginning of the header that is returned, and of its `size`.

        One piece, because a callback of the transport would send what overtakes the frame. It is in the outbox, valid
        until the transport is given something.
        """
        if not self._outbox_size:
            return header
        memcpy(self._gather(size[0]), header, size[0])
        size[0], self._outbox_size = self._outbox_size, 0
        return self._outbox

    cdef Py_ssize_t _send_two(
        self, const char* header, Py_ssize_t header_size, const char* payload, Py_ssize_t size
    ) except -2:
        """Write to the socket alone.

        Returns:
            How many bytes it took: fewer than all if the rest has to go through the transport; -1 if it is broken,
            which has ended the connection.
        """
        cdef Py_ssize_t sent = picows_send_two(self._fd, header, header_size, payload, size)
        if sent < 0:
            self._on_broken_socket()
        else:
            self._has_backlog = sent < header_size + size
        return sent

    cdef int _write_joined(
        self, const char* header, Py_ssize_t header_size, const char* payload, Py_ssize_t size, Py_ssize_t sent
    ) except -1:
        """Give header and payload to the transport as one object, without their first `sent` bytes."""
        cdef Py_ssize_t rest = header_size + size - sent
        output = self._new_output(rest)
        cdef char* to = room_in(output)
        if sent < header_size:
            memcpy(to, header + sent, header_size - sent)
            memcpy(to + header_size - sent, payload, size)
        else:
            memcpy(to, payload + sent - header_size, rest)
        return self._give_output(output, rest)

    cdef bint _is_fast_tls(self) noexcept:
        """True if the transport encrypts, and takes what we have without a copy or a Python call."""
        return self._fd < 0 and self._fast_write is not NULL

    cdef object _new_output(self, Py_ssize_t size):
        """Room for bytes that go to the transport in one piece, by `_give_output`.

        Where all of them will be encrypted at once that is memory which is used again: fresh pages would cost more
        than the encryption.
        """
        if size <= LARGEST_SPARE and self._is_fast_tls() and self.underlying_transport.get_write_buffer_size() == 0:
            return self._pool.take_output(size)
        return PyBytes_FromStringAndSize(NULL, size)

    cdef int _give_output(self, output, Py_ssize_t size) except -1:
        if isinstance(output, bytes):
            self.underlying_transport.write(output)
        else:
            self._fast_write(self.underlying_transport, (<ReadBuffer>output).data, size)
            self._pool.output = <ReadBuffer>output
        return 0

    cdef int _give_to_transport(self, const char* data, Py_ssize_t size) except -1:
        if self._fast_write is not NULL:
            return self._fast_write(self.underlying_transport, <char*>data, size)
        self.underlying_transport.write(PyBytes_FromStringAndSize(data, size))
        return 0

    cdef int _on_broken_socket(self) except -1:
        # The transport would meet the same error, but without MSG_NOSIGNAL.
        self.underlying_transport.abort()
        return 0

    cdef int _tear(self, Py_ssize_t taken) except -1:
        """The rest of what was being sent is lost, for want of memory: where the peer has got a part of it, the next
        frame would be read as the rest of this one, and who has sent what was gathered was told that it is sent."""
        if taken:
            self.underlying_transport.abort()
        return 0

    cdef int _flush(self) except -1:
        """Send what was gathered."""
        cdef Py_ssize_t size = self._outbox_size
        if size:
            self._outbox_size = 0
            try:
                self._write(self._outbox, size)
            except Exception:
                self._tear(size)
                raise
        return 0

    cdef int _end_batch(self, bint was_short) except -1:
        """Send what was gathered, and own no block between batches."""
        self._is_gathering = False
        self._is_pipelined = was_short and self._gathered >= PIPELINED
        self._gathered = 0
        try:
            self._flush()
        finally:
            if not self._is_gathering:  # else a callback of the transport has begun another batch
                self._leave_outbox()
        return 0

    cdef void _leave_outbox(self) noexcept:
        if self._outbox_capacity == OUTBOX_SIZE and self._pool.spare_outbox is NULL:
            self._pool.spare_outbox, self._outbox = self._outbox, NULL
        self._free_outbox()

    cdef void _free_outbox(self) noexcept:
        if PICOWS_IS_DEBUG and self._outbox is not NULL:
            count_live(LIVE_OUTBOX, -1)
        PyMem_RawFree(self._outbox)
        self._outbox = NULL
        self._outbox_size = self._outbox_capacity = 0

    cdef int _drop_output(self) except -1:
        """Forget what was gathered, and the socket: nothing is written any more."""
        self._outbox_size = 0
        self._fd = -1
        return 0

    cdef Py_ssize_t _pending_size(self) except -1:
        cdef Py_ssize_t waiting = self.underlying_transport.get_write_buffer_size()
        return self._outbox_size + waiting

    cdef bint _has_unread_input(self) noexcept:
        """True if more has arrived than was read: closing the socket now would reset the connection."""
        return self._fd >= 0 and picows_has_unread(self._fd)


cdef char* room_in(output):
    return PyBytes_AS_STRING(output) if isinstance(output, bytes) else (<ReadBuffer>output).data


cdef int end_batch(Pool pool) except -1:
    """Send what was gathered, and end the batch."""
    cdef bint was_short
    cdef Py_ssize_t ended
    pool.in_batch = pool.has_more_frames = False
    pool.burst_loop = None
    while pool.gathering:
        was_short = picows_now_ns() - pool.gathering_since <= SHORT_BATCH_NS
        gathering, pool.gathering = pool.gathering, []
        ended = 0
        try:
            for each in gathering:
                ended += 1
                (<Wire>each)._end_batch(was_short)
        except BaseException:
            # Ctrl-C in a callback of one: what the others have gathered leaves all the same.
            pool.gathering[:0] = gathering[ended:]
            end_batch(pool)
            raise
    return 0


cdef bint _is_secure(transport) except -1:
    """True if the transport encrypts."""
    return transport.get_extra_info("sslcontext") is not None or transport.get_extra_info("ssl_object") is not None


cdef int tune_socket(transport, int fd) except -1:
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
