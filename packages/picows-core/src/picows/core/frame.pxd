from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

from .buffers cimport ReadBuffer
from .enums cimport WSMsgType


cdef class WSFrame:
    cdef:
        # The payload, unmasked: valid for as long as the frame is.
        char* payload_ptr
        readonly Py_ssize_t payload_size
        readonly Py_ssize_t tail_size
        # The opcode for C code; Python sees the member of picows.WSMsgType under this name.
        WSMsgType msg_type
        readonly uint8_t fin
        readonly uint8_t rsv1
        readonly uint8_t rsv2
        readonly uint8_t rsv3
        readonly uint8_t last_in_buffer
        uint8_t _first
        PyObject* _msg_type_member
        # What keeps the payload's memory: a ReadBuffer, or bytes.
        object _owner

    cpdef bytes get_payload_as_bytes(self)
    cpdef str get_payload_as_utf8_text(self)
    cpdef str get_payload_as_ascii_text(self)
    cpdef object get_payload_as_memoryview(self)
    cpdef object get_close_code(self)
    cpdef bytes get_close_message(self)
    cpdef str get_close_reason(self)

    cdef int _require_close(self, str method) except -1


cdef WSFrame new_frame(object owner)

# The members of picows.WSMsgType by opcode; they live as long as the interpreter.
cdef PyObject** type_members() noexcept


cdef inline void fill_frame(
    WSFrame frame, PyObject** members, uint8_t first, char* payload, Py_ssize_t size, Py_ssize_t tail_size
) noexcept:
    """Make `frame` the one with this first byte and payload; `last_in_buffer` is 0."""
    frame.payload_ptr = payload
    frame.payload_size = size
    frame.tail_size = tail_size
    frame._first = first
    frame.msg_type = <WSMsgType>(first & 0x0F)
    frame.fin = first >> 7
    frame.rsv1 = first >> 6 & 1
    frame.rsv2 = first >> 5 & 1
    frame.rsv3 = first >> 4 & 1
    frame.last_in_buffer = 0
    frame._msg_type_member = members[first & 0x0F]


cpdef WSFrame _make_test_ws_frame(int msg_type, bytes payload, bint fin=*, bint rsv1=*)
