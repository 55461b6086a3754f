from libc.stdint cimport uint8_t

from .frame cimport WSFrame
from .listener cimport WSListener
from .parser cimport Parser


cdef class Receiver(Parser):
    cdef:
        object _opening
        object _registry
        readonly object _options
        WSListener _listener
        uint8_t _is_open
        readonly bint _is_debug
        bint _has_part_of_head
        uint8_t _auto_pong
        # The listener's on_ws_frame is a Python function.
        uint8_t _calls_python
        # It is of this package and nobody has overridden it.
        uint8_t _calls_natively
        # Room for a picows_method (csrc/method_cache.h): the Python function.
        void* _on_ws_frame[3]

    cpdef buffer_updated(self, Py_ssize_t nbytes)
    cdef int _on_read(self, Py_ssize_t nbytes) except -1
    cdef int _deliver_in_c(self, WSListener listener, WSFrame frame) except -1
    cdef int _on_frame_callback_raised(self) except -1
    cdef int _deliver_control(self, WSFrame frame) except -1
    cdef int _answer_close(self) except -1
