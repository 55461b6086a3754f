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
cdef void fill_frame(WSFrame frame, uint8_t first, char* payload, Py_ssize_t size, Py_ssize_t tail_size) noexcept

cpdef WSFrame _make_test_ws_frame(int msg_type, bytes payload, bint fin=*, bint rsv1=*)
