from libc.stdint cimport uint64_t

from .fragments cimport Fragment
from .sending cimport MessageSender
from .waiter cimport Waiter


cdef class MessageReceiver(MessageSender):
    cdef:
        # Watermarks of the queue, in frames.
        Py_ssize_t _high
        Py_ssize_t _low
        # The queue.
        Fragment _head
        Fragment _tail
        Py_ssize_t _length
        Py_ssize_t _queued_frames
        # How many frames of one message `recv` joins: a limit of layers above.
        public Py_ssize_t _max_joined
        Waiter _reader
        # Counts who asked for a message: the last one takes the fragments of the one at the head of the queue.
        unsigned long long _asked
        # The batch that `recv` has begun, or 0.
        uint64_t _burst
        bint _is_streaming
        bint _is_reading_paused
        bint _is_closing

    # Layers above override these.
    cpdef _refuse_message(self)
    cpdef object _concurrency_error(self, method)
    cpdef bint _has_ended_well(self) except -1
    cpdef bint _ends_iteration(self, exc) except -1

    cdef int _open_queue(self, max_queue) except -1
    cdef int _begin_receiving(self, str method) except -1
    cdef object _new_reader(self, bint iterates)
    cdef int _begin_burst(self) except -1
    cdef int _enqueue(self, Fragment fragment) except -1
    cdef bint _has_message(self) except -1
    cdef bint _has_whole_message(self) except -1
    cdef Fragment _take_fragment(self)
    cdef int _drop_queue(self) except -1
    cdef int _drop_rest_of_message(self) except -1
    cdef int _wake_reader(self) except -1
    cdef int _resume_reading(self) except -1
