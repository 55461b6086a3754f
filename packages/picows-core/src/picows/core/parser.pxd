from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .buffers cimport ReadBuffer
from .frame cimport WSFrame
from .pool cimport Pool
from .strict cimport MessageState
from .transport cimport WSTransport


cdef extern from "frame_codec.h":
    enum:
        PICOWS_FIN
        PICOWS_CONTROL
        PICOWS_MASK
        PICOWS_OPCODE
        PICOWS_MAX_CONTROL_PAYLOAD
        PICOWS_MAX_HEADER
    ctypedef enum picows_header_result:
        PICOWS_HEADER_OK
        PICOWS_HEADER_INCOMPLETE
        PICOWS_HEADER_RESERVED_OPCODE
        PICOWS_HEADER_FRAGMENTED_CONTROL
        PICOWS_HEADER_MASKED
        PICOWS_HEADER_UNMASKED
        PICOWS_HEADER_LONG_CONTROL
        PICOWS_HEADER_TOO_BIG
    ctypedef struct picows_header:
        uint64_t payload_size
        uint32_t key
        uint8_t first
        uint8_t size
        uint8_t is_minimal
    picows_header_result picows_parse_header(
        const uint8_t* data, size_t available, unsigned mask_bit, uint64_t limit, picows_header* header
    ) noexcept


cdef class Parser:
    cdef:
        object __weakref__
        WSTransport _transport
        object _loop
        # Once open: the message rules of strict mode, or None.
        MessageState _state
        Pool _pool
        # The loop's thread when it last called, whose pool that is.
        unsigned long _thread_id
        # Where the loop keeps the buffer while it waits for data, a connection has its own.
        ReadBuffer _own_buffer
        # What was read and has to wait for another turn.
        ReadBuffer _backlog
        uint64_t _limit
        uint8_t _mask_bit
        # A partial header or small frame of the last read.
        char* _tail
        Py_ssize_t _tail_size
        # A larger frame that has not arrived completely: its payload is read into place.
        ReadBuffer _pending
        uint32_t _pending_key
        uint8_t _pending_first
        uint8_t _pending_is_text
        # A callback has raised what is no Exception, and frames behind its own are lost.
        bint _is_torn

    cdef int _open_parser(self, bint is_client_side, max_frame_size) except -1
    cdef bint _reads_in_place(self) noexcept
    cdef int _follow_loop(self) except -1
    cdef ReadBuffer _target(self)
    cpdef get_buffer(self, Py_ssize_t sizehint)
    cdef int _unpack(self, ReadBuffer buffer, Py_ssize_t size) except -1
    cdef int _process(self, ReadBuffer buffer, char* data, Py_ssize_t size) except -1
    cdef int _suspend(self, WSTransport transport) except -1
    cdef int _parse(self, ReadBuffer buffer, uint8_t* data, Py_ssize_t size, ReadBuffer pending) except -1
    cdef int _keep_tail(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int _leave_buffer(self, ReadBuffer buffer) except -1
    cdef void _free_tail(self) noexcept
    cdef int _begin_pending(
        self, picows_header* header, const uint8_t* data, Py_ssize_t available, bint is_text
    ) except -1
    cdef int _fill_pending(self, Py_ssize_t count) except -1
    cdef int _read_into_pending(self, ReadBuffer buffer, char* data, Py_ssize_t size) except -1
    cdef object _find_violation(self, picows_header_result result, uint8_t first, picows_header* header)
    cdef int _add_to_backlog(self, const char* data, Py_ssize_t size) except -1
    cdef int _parse_backlog(self) except -1
    cdef int _drain(self) except -1
    cdef int _deliver(self, WSFrame frame) except -1
    cdef int _fail(self, exc) except -1
