from .frame cimport WSFrame
from .transport cimport WSTransport


cdef class WSListener:
    cdef object __weakref__

    cpdef on_ws_connected(self, WSTransport transport)
    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame)
    cpdef on_ws_disconnected(self, WSTransport transport)
    cpdef send_user_specific_ping(self, WSTransport transport)
    cpdef is_user_specific_pong(self, WSFrame frame)
    cpdef pause_writing(self)
    cpdef resume_writing(self)

    # For listeners of this package: a way for frames that Python code cannot override.
    cdef bint _receives_natively(self) except -1
    cdef int _receive(self, WSTransport transport, WSFrame frame) except -1


cdef bint overrides(WSListener listener, str method) except -1
