from libc.stdint cimport uint8_t

from ._kernels cimport picows_utf8_state


cdef class MessageState:
    cdef:
        readonly object rules
        Py_ssize_t _limit
        Py_ssize_t _size
        picows_utf8_state _utf8
        uint8_t _reserved_bits
        uint8_t _minimal_lengths
        uint8_t _refuse_close_in_message
        uint8_t _in_message
        uint8_t _is_text

    cdef int admit(self, uint8_t first, Py_ssize_t size, bint is_minimal) except -1
    cdef int validate(self, const uint8_t* data, Py_ssize_t size, bint is_last) except -1


cdef object not_minimal(size)
cdef object protocol_violation(str message)
