# cython: binding=False
"""Frames to bytes: what a connection sends, with its header, masked if it is a client's.

A small frame is built in one pass, in the outbox if it is gathered, else in the thread's scratch buffer. One above
JOIN_LIMIT is not worth the copy: it leaves at once, behind what was gathered; a server's from where it lies, a client's
masked piece by piece.

What may be sent at all is checked before, by `WSTransport`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ._kernels cimport active_kernels, picows_kernels, picows_rotate_key
from .pool cimport GATHER_LIMIT, SCRATCH_SIZE
from .wire cimport DIRECT, JOIN_LIMIT, LEAVES, room_in


cdef extern from "frame_codec.h":
    enum:
        PICOWS_MASK
        PICOWS_MAX_HEADER
    size_t picows_header_size(uint64_t payload_size, unsigned mask_bit) noexcept
    size_t picows_write_header(uint8_t* to, unsigned first, uint64_t size, unsigned mask_bit, uint32_t key) noexcept


cdef enum:
    # Large masked frames are masked and sent in pieces that stay in the processor's cache.
    PIECE_SIZE = SCRATCH_SIZE

cdef const picows_kernels* _kernels = active_kernels()


cdef class FrameWriter(Connection):
    """A connection that can write frames; see `WSTransport` for the arguments."""

    def __init__(self, bint is_client_side, underlying_transport, logger, loop, options=None):
        Connection.__init__(self, is_client_side, underlying_transport, logger, loop, options)
        self._mask_bit = PICOWS_MASK if is_client_side else 0

    cdef int _send_bytes(self, unsigned int first, bytes payload) except -1:
        return self._send_frame(first, PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), payload)

    cdef int _send_frame(self, unsigned int first, const char* payload, Py_ssize_t size, object owner) except -1:
        """The way of every frame that nobody lent us the room around. `owner`: the bytes object that has the payload,
        or None."""
        cdef char* to
        cdef uint32_t key = 0
        cdef Py_ssize_t header
        cdef int gathers
        if size > JOIN_LIMIT:
            return self._send_large(first, payload, size, owner)
        if self._mask_bit:
            key = self._pool.next_key()
        header = picows_header_size(size, self._mask_bit)
        gathers = self._gathers()
        to = self._pool.scratch if gathers == DIRECT else self._gather(header + size)
        picows_write_header(<uint8_t*>to, first, size, self._mask_bit, key)
        if self._mask_bit:
            _kernels.mask(<uint8_t*>to + header, <const uint8_t*>payload, size, key)
        elif size:
            memcpy(to + header, payload, size)
        if gathers == DIRECT:
            self._write(to, header + size)
        elif gathers == LEAVES or self._outbox_size >= GATHER_LIMIT:
            self._leave()
        if self._max_write_buffer_size >= 0:
            self._check_write_buffer()
        return 0

    cdef bint _may_send_large(self) except -1:
        """Whether a frame that is not gathered may be sent: a callback within may have sealed the connection."""
        self._mind_the_end()
        if self._is_sealed:
            self._log_sealed("send")
            return False
        return True

    cdef int _send_large(self, unsigned int first, const char* payload, Py_ssize_t size, object owner) except -1:
        """A frame that is not worth a copy: in order after what was gathered, and never gathered itself."""
        cdef char[PICOWS_MAX_HEADER] header
        cdef Py_ssize_t header_size = picows_header_size(size, self._mask_bit)
        cdef uint32_t key = 0
        if not self._may_send_large():
            return 0
        if self._mask_bit:
            key = self._pool.next_key()
        picows_write_header(<uint8_t*>header, first, size, self._mask_bit, key)
        if self._mask_bit:
            self._write_masked(header, header_size, payload, size, key)
        else:
            self._write_parts(header, header_size, payload, size, owner)
        if self._max_write_buffer_size >= 0:
            self._check_write_buffer()
        return 0

    cdef int _write_masked(
        self, const char* header, Py_ssize_t header_size, const char* payload, Py_ssize_t size, uint32_t key
    ) except -1:
        """`_write_parts` for a payload to be masked: into the scratch buffer and from there, piece by piece."""
        cdef Py_ssize_t taken = self._outbox_size
        cdef Py_ssize_t done = 0, piece, sent, of_header
        cdef char* to
        cdef bint is_direct = self._may_write_directly()
        header = self._put_behind_gathered(header, &header_size)
        while is_direct and done < size:
            piece = min(size - done, <Py_ssize_t>PIECE_SIZE)
            _kernels.mask(
                <uint8_t*>self._pool.scratch, <const uint8_t*>payload + done, piece, picows_rotate_key(key, done)
            )
            sent = self._send_two(header, header_size, self._pool.scratch, piece)
            if sent < 0:
                return 0
            is_direct = not self._has_backlog
            of_header = min(sent, header_size)
            header += of_header
            header_size -= of_header
            done += sent - of_header
            taken += sent
        if header_size or done < size:
            try:
                output = self._new_output(header_size + size - done)
                to = room_in(output)
                memcpy(to, header, header_size)
                to += header_size
                # Also what was masked already and not taken: nothing has to be kept of it.
                _kernels.mask(<uint8_t*>to, <const uint8_t*>payload + done, size - done, picows_rotate_key(key, done))
                self._give_output(output, header_size + size - done)
            except Exception:
                self._tear(taken)
                raise
        return 0

    cdef int _send_in_place(self, unsigned int first, char* message, Py_ssize_t size) except -1:
        """Send a message with PICOWS_MAX_HEADER writable bytes before it, without a copy."""
        cdef Py_ssize_t header_size = picows_header_size(size, self._mask_bit)
        cdef char* start = message - header_size
        cdef uint32_t key = self._pool.next_key() if self._mask_bit else 0
        picows_write_header(<uint8_t*>start, first, size, self._mask_bit, key)
        if self._mask_bit:
            _kernels.mask(<uint8_t*>message, <const uint8_t*>message, size, key)
        return self._write_or_gather(start, header_size, size)

    cdef int _write_or_gather(self, const char* frame, Py_ssize_t header_size, Py_ssize_t size) except -1:
        """Send a frame that is complete: a header and a payload of `size` bytes."""
        cdef int gathers
        if size > JOIN_LIMIT:
            if not self._may_send_large():
                return 0
            if self._outbox_size:
                self._write_parts(frame, header_size, frame + header_size, size, None)
            else:
                self._write(frame, header_size + size)
        else:
            size += header_size
            gathers = self._gathers()
            if gathers == DIRECT:
                self._write(frame, size)
            else:
                memcpy(self._gather(size), frame, size)
                if gathers == LEAVES or self._outbox_size >= GATHER_LIMIT:
                    self._leave()
        if self._max_write_buffer_size >= 0:
            self._check_write_buffer()
        return 0
