from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .pool cimport Pool

# Writes through a transport without a Python call.
ctypedef int (*FastWrite)(object transport, char* data, Py_ssize_t size) except -1

cdef enum:
    # Larger frames are not copied into one piece with others.
    JOIN_LIMIT = 32 * 1024
    # What becomes of a write: see `_gathers`.
    DIRECT = 0
    GATHERED = 1
    LEAVES = 2


cdef class Wire:
    cdef:
        readonly object underlying_transport
        readonly object _loop
        Pool _pool
        FastWrite _fast_write
        # The descriptor that is written to directly, or -1.
        int _fd
        # The opening handshake, or the event loop's transport, holds bytes that must leave first.
        uint8_t _has_backlog
        uint8_t _coalesces
        uint8_t _is_secure
        # The transport has a user, who may close it at any time.
        uint8_t _is_lent
        uint8_t _is_gathering
        # In its last batch so many answers were gathered that the first of the next one may wait for the others.
        uint8_t _is_pipelined
        # How many writes were gathered in this batch.
        uint32_t _gathered
        # The batch in which something was written.
        uint64_t _batch
        # What was gathered since.
        char* _outbox
        Py_ssize_t _outbox_size
        Py_ssize_t _outbox_capacity

    cdef int _open_wire(self, underlying_transport, loop, Pool pool, bint coalesces) except -1
    cdef bint _leaves_at_once(self) except -1
    cdef int _mind_the_end(self) except -1
    cdef char* _gather(self, Py_ssize_t size) except NULL
    cdef int _gathers(self) except -1
    cdef int _leave(self) except -1
    cdef int _tear(self, Py_ssize_t taken) except -1
    cdef bint _may_write_directly(self) except -1
    cdef int _write(self, const char* data, Py_ssize_t size) except -1
    cdef int _write_parts(
        self, const char* header, Py_ssize_t header_size, const char* payload, Py_ssize_t size, bytes owner
    ) except -1
    cdef const char* _put_behind_gathered(self, const char* header, Py_ssize_t* size) except NULL
    cdef Py_ssize_t _send_two(
        self, const char* header, Py_ssize_t header_size, const char* payload, Py_ssize_t size
    ) except -2
    cdef int _write_joined(
        self, const char* header, Py_ssize_t header_size, const char* payload, Py_ssize_t size, Py_ssize_t sent
    ) except -1
    cdef bint _is_fast_tls(self) noexcept
    cdef object _new_output(self, Py_ssize_t size)
    cdef int _give_output(self, output, Py_ssize_t size) except -1
    cdef int _give_to_transport(self, const char* data, Py_ssize_t size) except -1
    cdef int _on_broken_socket(self) except -1
    cdef int _flush(self) except -1
    cdef int _end_batch(self, bint was_short) except -1
    cdef void _leave_outbox(self) noexcept
    cdef void _free_outbox(self) noexcept
    cdef int _drop_output(self) except -1
    cdef Py_ssize_t _pending_size(self) except -1
    cdef bint _has_unread_input(self) noexcept


cdef char* room_in(output)
cdef int end_batch(Pool pool) except -1
cdef int tune_socket(transport, int fd) except -1
