from .frame cimport WSFrame
from .receiving cimport MessageReceiver


cdef class WSMessageListener(MessageReceiver):
    cdef:
        public object _frame_rules
        # Limits; None is none.
        object _max_size
        object _max_fragments
        object _max_fragment_size
        object _end
        # (code, reason) of a CLOSE that waits until the receiver has answered what came before a violation.
        object _pending_farewell
        # The message that is arriving.
        Py_ssize_t _size
        Py_ssize_t _arrived_fragments
        # The `MessageState` that checks inflated text, once there was some. (strict.pxd is not for users' modules.)
        object _validator
        bint _is_text
        bint _is_compressed
        readonly bint _in_message
        bint _is_deaf

    # Layers above override these.
    cpdef object _on_violation(self, exc)
    cpdef _on_pong(self, bytes payload)
    cpdef _on_close(self, WSFrame frame)

    cdef bint _sends_plainly(self)
    cdef int _on_fragment(self, WSFrame frame) except -1
    cdef int _begin_message(self, WSFrame frame) except -1
    cdef int _count_fragment(self) except -1
    cdef bytes _inflate(self, WSFrame frame, bint is_last)
    cdef int _fail(self, object exc) except -1
