from libc.stdint cimport uint64_t

from .fragments cimport Fragment
from .frame cimport WSFrame
from .listener cimport WSListener
from .transport cimport WSTransport


cdef class WSMessageListener(WSListener):
    cdef:
        public WSTransport transport
        public object _frame_rules
        # Limits; None is none.
        object _max_size
        object _max_fragments
        object _max_fragment_size
        object _codec
        # Watermarks of the queue, in frames.
        Py_ssize_t _high
        Py_ssize_t _low
        # The queue.
        Fragment _head
        Fragment _tail
        Py_ssize_t _length
        Py_ssize_t _queued_frames
        object _reader
        # Counts who asked for a message: the last one takes the fragments of the one at the head of the queue.
        unsigned long long _asked
        bint _is_streaming
        bint _is_reading_paused
        bint _is_closing
        bint _is_deaf
        bint _is_lost
        object _end
        # The message that is arriving.
        bint _is_text
        bint _is_compressed
        readonly bint _in_message
        Py_ssize_t _size
        Py_ssize_t _arrived_fragments
        # The `MessageState` that checks inflated text, once there was some. (strict.pxd is not for users' modules.)
        object _validator
        # The batch that `recv` has begun, or 0.
        uint64_t _burst
        # Sending.
        object _drain
        public object _stream_lock

    # Layers above override these.
    cpdef object _closed_error(self)
    cpdef object _concurrency_error(self, method)
    cpdef bint _ends_iteration(self, exc) except -1
    cpdef object _on_violation(self, exc)
    cpdef _on_pong(self, bytes payload)
    cpdef _on_close(self, WSFrame frame)

    cdef int _begin_receiving(self, str method) except -1
    cdef bint _has_message(self) except -1
    cdef Fragment _take_fragment(self)
    cdef int _drop_rest_of_message(self) except -1
    cdef int _begin_burst(self) except -1
    cdef object _new_reader(self)
    cdef WSTransport _get_transport(self)
    cdef int _on_fragment(self, WSFrame frame) except -1
    cdef int _fail(self, object exc) except -1
    cdef int _begin_message(self, WSFrame frame) except -1
    cdef int _count_fragment(self) except -1
    cdef bytes _inflate(self, WSFrame frame, bint is_last)
    cdef int _enqueue(self, Fragment fragment) except -1
    cdef int _wake_reader(self) except -1
    cdef int _resume_reading(self) except -1
    cdef bint _send_frame(self, object message, int opcode, bint is_first, bint is_last) except -1
