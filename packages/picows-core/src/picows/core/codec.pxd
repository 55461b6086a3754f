cdef class Window:
    cdef:
        list _chunks
        Py_ssize_t _size
        Py_ssize_t _kept

    cpdef add(self, bytes chunk)
    cpdef bytes trim(self)
    cdef int _forget(self) except -1


cdef class DeflateCodec:
    # What is public here is for `picows.inflate`.
    cdef:
        readonly object _zlib
        readonly object _level
        readonly object _mem_level
        Py_ssize_t _threshold
        bint _sends_no_context
        readonly bint _receives_no_context
        readonly int _sends_wbits
        readonly int _receives_wbits
        public object _compressor
        public object _inflater
        readonly Window _sent
        readonly Window _received
        public Py_ssize_t _message_size
        public Py_ssize_t _streams
        public bint _needs_tail
        public bint _is_used

    cdef bint _is_worth_it(self, Py_ssize_t size) noexcept
    cdef bytes _deflate(self, bytes payload)
    cdef bytes _inflate(self, const char* data, Py_ssize_t size, bint fin, object budget)


cdef enum:
    # The bytes of a sync flush with which what `_deflate` returns ends; they are not transmitted (RFC 7692 7.2.1).
    TAIL_SIZE = 4
