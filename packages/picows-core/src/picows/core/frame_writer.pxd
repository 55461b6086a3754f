from libc.stdint cimport uint8_t, uint32_t

from .connection cimport Connection


cdef class FrameWriter(Connection):
    cdef:
        # RFC 6455 5.3: 0x80 on a client, which masks what it sends.
        uint8_t _mask_bit

    cdef int _send_bytes(self, unsigned int first, bytes payload) except -1
    cdef int _send_frame(self, unsigned int first, const char* payload, Py_ssize_t size, object owner) except -1
    cdef bint _may_send_large(self) except -1
    cdef int _send_large(self, unsigned int first, const char* payload, Py_ssize_t size, object owner) except -1
    cdef int _write_masked(
        self, const char* header, Py_ssize_t header_size, const char* payload, Py_ssize_t size, uint32_t key
    ) except -1
    cdef int _send_in_place(self, unsigned int first, char* message, Py_ssize_t size) except -1
    cdef int _write_or_gather(self, const char* frame, Py_ssize_t header_size, Py_ssize_t size) except -1
