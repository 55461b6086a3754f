from .closing cimport WSCloseHandshake
from .wire cimport Wire


cdef class Connection(Wire):
    cdef:
        object __weakref__
        readonly object request
        readonly object response
        readonly WSCloseHandshake close_handshake
        readonly bint is_client_side
        readonly bint is_close_frame_sent
        readonly bint is_disconnected
        readonly object _options
        public object _failure
        object _listener
        # Whose `connection_lost` ends it, once the opening handshake is complete.
        object _protocol
        object _logger
        unsigned long _thread_id
        # A pong is awaited: the listener is asked about every frame.
        public bint _awaits_pong
        # No further frame is delivered.
        bint _input_is_over
        # No further frame is sent.
        readonly bint _is_sealed
        # The event loop's transport has ended, and may not even know whether it reads.
        bint _is_severed
        bint _is_lost
        bint _is_writing_paused
        # The listener has enough.
        bint _is_reading_paused
        # We have paused the event loop's transport.
        bint _is_held
        # Disconnect when the peer's CLOSE comes.
        bint _hangs_up
        bint _is_aborted
        # Bytes that were dropped because the input was over.
        Py_ssize_t _discarded
        Py_ssize_t _max_write_buffer_size
        # Goes on with what was read and not yet parsed; None if there is no such thing.
        object _go_on
        object _pending_pong
        object _auto_pinger
        object _roundtrips
        object _lost_waiter
        # The Deadlines in which it waits for the peer to hang up.
        object _close_deadlines

    cpdef disconnect(self, bint graceful=*)
    cpdef notify_user_specific_pong_received(self)

    cdef int _check_thread(self, str method) except -1
    cdef bint _follows_loop(self) except -1
    cdef int _change_thread(self) except -1
    cdef int _log_sealed(self, str method) except -1
    cdef int _check_write_buffer(self) except -1
    cdef int _on_pause_writing(self) except -1
    cdef int _on_resume_writing(self) except -1
    cdef int _pause_reading(self) except -1
    cdef int _resume_reading(self) except -1
    cdef int _suspend_reading(self, go_on) except -1
    cdef bint _may_go_on(self) except -1
    cdef int _seal(self) except -1
    cdef int _discard(self, Py_ssize_t size) except -1
    cdef WSCloseHandshake _close_record(self)
    cdef int _hang_up(self) except -1
    cdef int _linger(self) except -1
    cdef int _on_lost(self) except -1
    cdef int _release_waiters(self) except -1
    cdef int _start_auto_ping(self) except -1
    cdef int _stop_auto_ping(self) except -1
    cdef int _start_close_timer(self) except -1
