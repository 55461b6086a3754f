cdef class WSCloseInfo:
    cdef:
        readonly object code
        readonly object reason


cdef class WSCloseHandshake:
    cdef:
        readonly WSCloseInfo recv
        readonly WSCloseInfo sent
        readonly bint recv_then_sent
