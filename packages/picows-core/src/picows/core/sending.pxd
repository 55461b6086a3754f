from .codec cimport DeflateCodec
from .listener cimport WSListener
from .transport cimport WSTransport


cdef class MessageSender(WSListener):
    cdef:
        public WSTransport transport
        object _codec
        # The same, if it is ours: then no method of Python is called.
        DeflateCodec _own_codec
        object _drain
        public object _stream_lock
        bint _is_lost
        # A layer above makes the frames of messages itself, and `broadcast` is not to pass it by.
        public bint _is_tapped

    # Layers above override it.
    cpdef object _closed_error(self)

    cdef int _set_codec(self, codec) except -1
    cdef int _send_compressed(self, int opcode, bytes payload) except -1
    cdef bint _send_frame(self, object message, int opcode, bint is_first, bint is_last) except -1
    cdef WSTransport _get_transport(self)
