from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .closing cimport WSCloseHandshake
from .enums cimport NoResult
from .pool cimport Pool

# Writes through a transport without a Python call.
ctypedef int (*FastWrite)(object transport, char* data, Py_ssize_t size) except -1


cdef class WSTransport:
    cdef:
        object __weakref__
        readonly object underlying_transport
        readonly object request
        readonly object response
        readonly WSCloseHandshake close_handshake
        readonly bint is_client_side
        readonly bint is_close_frame_sent
        readonly bint is_disconnected
        readonly object _options
        readonly object _loop
        public object _failure
        object _listener
        object _logger
        Pool _pool
        unsigned long _thread_id
        # RFC 6455 5.3: 0x80 on a client, which masks what it sends.
        uint8_t _mask_bit
        # The opening handshake, or the event loop's transport, holds bytes that must leave first.
        uint8_t _has_backlog
        uint8_t _coalesces
        uint8_t _is_gathering
        # A pong is awaited: the listener is asked about every frame.
        public bint _awaits_pong
        # No further frame is delivered.
        bint _input_is_over
        # No further frame is sent.
        readonly bint _is_sealed
        bint _is_lost
        bint _is_writing_paused
        # Disconnect when the peer's CLOSE comes.
        bint _hangs_up
        FastWrite _fast_write
        # The descriptor that is written to directly, or -1.
        int _fd
        # The batch in which something was written at once.
        uint64_t _batch
        # What was gathered since.
        char* _outbox
        Py_ssize_t _outbox_size
        Py_ssize_t _outbox_capacity
        Py_ssize_t _max_write_buffer_size
        object _pending_pong
        object _auto_pinger
        object _roundtrips
        object _lost_waiter
        # The Deadlines in which it waits for the peer to hang up.
        object _close_deadlines

    cpdef send(self, int msg_type, message, bint fin=*, bint rsv1=*, bint rsv2=*, bint rsv3=*)
    cpdef send_ping(self, message=*)
    cpdef send_pong(self, message=*)
    cpdef send_close(self, int close_code=*, close_message=*)
    cpdef send_reuse_external_bytearray(
        self, int msg_type, object buffer, Py_ssize_t msg_offset, bint fin=*, bint rsv1=*, bint rsv2=*, bint rsv3=*
    )
    cpdef flush(self)
    cpdef disconnect(self, bint graceful=*)
    cpdef notify_user_specific_pong_received(self)

    # For C code: 14 writable bytes before `msg_ptr` are used for the header; on a client the message is masked in place.
    cdef NoResult send_reuse_external_buffer(
        self, int msg_type, char* msg_ptr, Py_ssize_t msg_size, bint fin=*, bint rsv1=*, bint rsv2=*, bint rsv3=*
    ) except NoResult.EXC

    cdef int _check_thread(self, str method) except -1
    cdef int _log_sealed(self, str method) except -1
    cdef int _send_control(self, str method, int opcode, object message) except -1
    cdef int _send_checked(
        self, int msg_type, unsigned int first, const char* payload, Py_ssize_t size, object owner
    ) except -1
    cdef int _send_bytes(self, unsigned int first, bytes payload) except -1
    cdef int _send_frame(self, unsigned int first, const char* payload, Py_ssize_t size, object owner) except -1
    cdef int _send_large(self, unsigned int first, const char* payload, Py_ssize_t size, object owner) except -1
    cdef int _send_masked_pieces(
        self, Py_ssize_t header_size, const char* payload, Py_ssize_t size, uint32_t key
    ) except -1
    cdef int _send_in_place(self, unsigned int first, char* message, Py_ssize_t size) except -1
    cdef int _write_joined(
        self, const char* header, Py_ssize_t header_size, const char* payload, Py_ssize_t size, Py_ssize_t sent
    ) except -1
    cdef int _write_or_gather(self, const char* frame, Py_ssize_t header_size, Py_ssize_t size) except -1
    cdef char* _gather(self, Py_ssize_t size) except NULL
    cdef bint _gathers(self) noexcept
    cdef bint _may_write_directly(self) except -1
    cdef int _write(self, const char* data, Py_ssize_t size) except -1
    cdef int _give_to_transport(self, const char* data, Py_ssize_t size) except -1
    cdef int _on_broken_socket(self) except -1
    cdef int _flush(self) except -1
    cdef int _end_batch(self) except -1
    cdef void _free_outbox(self) noexcept
    cdef int _drop_output(self) except -1
    cdef Py_ssize_t _pending_size(self) except -1
    cdef int _check_write_buffer(self) except -1
    cdef int _answer_ping(self, const char* payload, Py_ssize_t size) except -1
    cdef int _on_pause_writing(self) except -1
    cdef int _on_resume_writing(self) except -1
    cdef WSCloseHandshake _close_record(self)
    cdef int _on_lost(self) except -1
    cdef int _release_waiters(self) except -1
    cdef int _start_auto_ping(self) except -1
    cdef int _stop_auto_ping(self) except -1
    cdef int _start_close_timer(self) except -1


cdef int end_batch(Pool pool) except -1
cdef bytes as_bytes(message)
cpdef ws_broadcast(transports, int msg_type, message)
