cimport cython

from .enums cimport NoResult


cdef enum:
    # Room in front of every shared read buffer: a partial frame of the last read is put there, so that it and what
    # the next read brings are in one piece.
    HEADROOM = 4096 + 64


cdef extern from *:
    """
    /* Cython has put None into view->obj, which PyBuffer_FillInfo does not release. */
    static inline int picows_fill_view(
        Py_buffer *view, PyObject *owner, char *data, Py_ssize_t size, int read_only, int flags)
    {
        Py_CLEAR(view->obj);
        return PyBuffer_FillInfo(view, owner, data, size, read_only, flags);
    }
    """
    # What `__getbuffer__` does for a block of memory.
    int fill_view "picows_fill_view"(
        Py_buffer* view, object owner, char* data, Py_ssize_t size, int read_only, int flags
    ) except -1


@cython.final
cdef class ReadBuffer:
    cdef:
        char* data
        Py_ssize_t capacity
        # What the event loop may write to: data[start:stop].
        Py_ssize_t start
        Py_ssize_t stop


cdef ReadBuffer new_read_buffer(Py_ssize_t capacity, Py_ssize_t start)


cdef class MemoryBuffer:
    cdef:
        readonly Py_ssize_t size
        readonly Py_ssize_t capacity
        char* data
        Py_ssize_t _exports

    cdef NoResult _reserve(self, Py_ssize_t capacity) except NoResult.EXC
    cpdef NoResult resize(self, Py_ssize_t size) except NoResult.EXC
