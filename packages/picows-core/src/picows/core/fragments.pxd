from .enums cimport WSMsgType


cdef class Fragment:
    cdef:
        # bytes, a bytearray once joined, or the str of a whole text.
        object data
        # The next one of the queue.
        Fragment follower
        # How many of its frames count for `max_queue`.
        Py_ssize_t frames
        # How many it is made of.
        Py_ssize_t total
        bint is_text
        bint is_first
        bint is_last

    cdef int join(self, Fragment other) except -1
    cdef object as_message(self, object decode)
    cdef bytes as_bytes(self)
    cdef str as_text(self)


cdef Fragment new_fragment(object data, bint is_text, bint is_first, bint is_last)


cdef class FragmentSender:
    cdef:
        object _text
        bint _is_str
        bint is_first
        WSMsgType opcode

    cdef int admit(self, object fragment) except -1


cdef WSMsgType opcode_of(object message, object text) except? WSMsgType.PONG
