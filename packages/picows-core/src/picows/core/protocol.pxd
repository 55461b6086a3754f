from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .buffers cimport ReadBuffer
from .frame cimport WSFrame
from .listener cimport WSListener
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


cdef class Receiver:
    cdef:
        object __weakref__
        WSTransport _transport
        object _opening
        object _registry
        readonly object _options
        object _loop
        WSListener _listener
        # Once open: the message rules of strict mode, or None.
        MessageState _state
        Pool _pool
        # Where the loop keeps the buffer while it waits for data, a connection has its own.
        ReadBuffer _own_buffer
        uint64_t _limit
        uint8_t _mask_bit
        uint8_t _is_open
        readonly bint _is_debug
        uint8_t _auto_pong
        # The listener's on_ws_frame is a Python function.
        uint8_t _calls_python
        # It is of this package and nobody has overridden it.
        uint8_t _calls_natively
        # A partial header or small frame of the last read.
        char* _tail
        Py_ssize_t _tail_size
        # A larger frame that has not arrived completely: its payload is read into place.
        ReadBuffer _pending
        uint32_t _pending_key
        uint8_t _pending_first
        uint8_t _pending_is_text

    cdef bint _reads_in_place(self) noexcept
    cdef ReadBuffer _target(self)
    cpdef get_buffer(self, Py_ssize_t sizehint)
    cpdef buffer_updated(self, Py_ssize_t nbytes)

    cdef int _process(self, ReadBuffer buffer, char* data, Py_ssize_t size) except -1
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
    cdef int _deliver(self, WSFrame frame) except -1
    cdef int _deliver_in_c(self, WSListener listener, WSFrame frame) except -1
    cdef int _on_frame_callback_raised(self) except -1
    cdef int _deliver_control(self, WSFrame frame) except -1
    cdef int _answer_close(self) except -1
    cdef int _fail(self, exc) except -1
