from .listener cimport WSListener
from .transport cimport WSTransport


cdef class MessageSender(WSListener):
    cdef:
        public WSTransport transport
        object _codec
        object _drain
        public object _stream_lock
        bint _is_lost

    # Layers above override it.
    cpdef object _closed_error(self)

    cdef bint _send_frame(self, object message, int opcode, bint is_first, bint is_last) except -1
    cdef WSTransport _get_transport(self)
