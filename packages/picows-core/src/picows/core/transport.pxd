from .enums cimport NoResult
from .frame_writer cimport FrameWriter


cdef class WSTransport(FrameWriter):
    cpdef send(self, int msg_type, message, bint fin=*, bint rsv1=*, bint rsv2=*, bint rsv3=*)
    cpdef send_ping(self, message=*)
    cpdef send_pong(self, message=*)
    cpdef send_close(self, int close_code=*, close_message=*)
    cpdef send_reuse_external_bytearray(
        self, int msg_type, object buffer, Py_ssize_t msg_offset, bint fin=*, bint rsv1=*, bint rsv2=*, bint rsv3=*
    )
    cpdef flush(self)

    # For C code: 14 writable bytes before `msg_ptr` are used for the header; on a client the message is masked in place.
    cdef NoResult send_reuse_external_buffer(
        self, int msg_type, char* msg_ptr, Py_ssize_t msg_size, bint fin=*, bint rsv1=*, bint rsv2=*, bint rsv3=*
    ) except NoResult.EXC

    cdef int _send_control(self, str method, int opcode, object message) except -1
    cdef int _send_checked(
        self, int msg_type, unsigned int first, const char* payload, Py_ssize_t size, object owner
    ) except -1
    cdef int _answer_ping(self, const char* payload, Py_ssize_t size) except -1


cdef int check_frame(int msg_type, bint fin, Py_ssize_t size) except -1
cdef bytes as_bytes(message)
