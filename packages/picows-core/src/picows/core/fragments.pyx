"""Messages in pieces, for `messages`: those that wait to be received, and the one that is being sent.

What waits is a chain of fragments: an idle connection owns no container for them. They refer to nothing but bytes, text
and each other, in one direction, so that the garbage collector need not know them.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_Check, PyUnicode_CheckExact, PyUnicode_DecodeUTF8

from ._kernels cimport LIVE_FRAGMENT, PICOWS_IS_DEBUG, count_live


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Fragment:
    """Some consecutive frames of a message."""

    def __cinit__(self):
        if PICOWS_IS_DEBUG:
            count_live(LIVE_FRAGMENT, 1)

    def __dealloc__(self):
        if PICOWS_IS_DEBUG:
            count_live(LIVE_FRAGMENT, -1)
        # One after the other: freed recursively, a long chain would overflow the stack.
        cdef Fragment rest = self.follower
        cdef Fragment fragment
        self.follower = None
        while rest is not None:
            fragment = rest
            rest = fragment.follower
            fragment.follower = None

    cdef int join(self, Fragment other) except -1:
        """Append what follows."""
        if type(self.data) is not bytearray:
            self.data = bytearray(self.as_bytes())
        self.data += other.as_bytes() if PyUnicode_CheckExact(other.data) else other.data
        self.is_last = other.is_last
        self.frames += other.frames
        self.total += other.total
        return 0

    cdef object as_message(self, object decode):
        """Str or bytes, as `decode` of `recv` says."""
        if self.is_text if decode is None else decode:
            return self.as_text()
        return self.as_bytes()

    cdef bytes as_bytes(self):
        if PyBytes_CheckExact(self.data):
            return <bytes>self.data
        if PyUnicode_CheckExact(self.data):
            return (<str>self.data).encode()
        return PyBytes_FromStringAndSize(PyByteArray_AS_STRING(self.data), PyByteArray_GET_SIZE(self.data))

    cdef str as_text(self):
        if PyUnicode_CheckExact(self.data):
            return <str>self.data
        if PyBytes_CheckExact(self.data):
            return PyUnicode_DecodeUTF8(PyBytes_AS_STRING(self.data), PyBytes_GET_SIZE(self.data), NULL)
        return PyUnicode_DecodeUTF8(PyByteArray_AS_STRING(self.data), PyByteArray_GET_SIZE(self.data), NULL)


cdef Fragment new_fragment(object data, bint is_text, bint is_first, bint is_last):
    """One frame. `data`: its payload as bytes, or as str where it is a whole text."""
    cdef Fragment fragment = Fragment.__new__(Fragment)
    fragment.data = data
    fragment.frames = fragment.total = 1
    fragment.is_text = is_text
    fragment.is_first = is_first
    fragment.is_last = is_last
    return fragment


@cython.final
cdef class FragmentSender:
    """The state of one `send_fragments`."""

    def __cinit__(self, text):
        self._text = text
        self.opcode = opcode_of(b"", text)
        self.is_first = True

    cdef int admit(self, object fragment) except -1:
        """Check the next fragment; the first one decides what the message is."""
        cdef bint is_str = PyUnicode_Check(fragment)
        if self.is_first:
            self._is_str = is_str
            self.opcode = opcode_of(fragment, self._text)
        elif is_str != self._is_str:
            raise TypeError("the fragments of a message must be all str or all bytes-like")
        return 0


cdef WSMsgType opcode_of(object message, object text) except? WSMsgType.PONG:
    """TEXT or BINARY; `text` as for `send`."""
    cdef bint is_text = PyUnicode_Check(message) if text is None else text
    return WSMsgType.TEXT if is_text else WSMsgType.BINARY
