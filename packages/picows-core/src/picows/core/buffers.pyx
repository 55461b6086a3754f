"""Memory that the event loop reads into, shared by reference with the frames that lie in it."""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from libc.string cimport memset

from ._kernels cimport LIVE_READ_BUFFER, PICOWS_IS_DEBUG, count_live


@cython.final
@cython.no_gc
@cython.freelist(8)
cdef class ReadBuffer:
    """A block of memory with a window that the event loop may write to.

    A frame that lies in it keeps a reference, so the memory lives for as long as anyone looks at it.
    """

    def __cinit__(self):
        self.data = NULL
        if PICOWS_IS_DEBUG:
            count_live(LIVE_READ_BUFFER, 1)

    def __dealloc__(self):
        PyMem_RawFree(self.data)
        if PICOWS_IS_DEBUG:
            count_live(LIVE_READ_BUFFER, -1)

    def __len__(self):
        return self.stop - self.start

    def __getitem__(self, key):
        # asyncio's TLS reads into `buffer[offset:]`, and before Python 3.11 assigns to a slice.
        return memoryview(self)[key]

    def __setitem__(self, key, value):
        memoryview(self)[key] = value

    def __getbuffer__(self, Py_buffer* view, int flags):
        fill_view(view, self, self.data + self.start, self.stop - self.start, 0, flags)


cdef ReadBuffer new_read_buffer(Py_ssize_t capacity, Py_ssize_t start):
    """A buffer whose window is everything from `start` on; MemoryError if there is none."""
    cdef ReadBuffer buffer = ReadBuffer.__new__(ReadBuffer)
    buffer.data = <char*>PyMem_RawMalloc(capacity if capacity else 1)
    if buffer.data is NULL:
        raise MemoryError(f"no memory for a read buffer of {capacity} bytes")
    buffer.capacity = buffer.stop = capacity
    buffer.start = start
    return buffer


cdef class MemoryBuffer:
    """Bytes that can grow. `size` bytes are in use, `capacity` are there.

    Upstream exposes it; kept for code that uses it.

    Args:
        capacity: how many bytes to begin with.
    """

    def __cinit__(self, Py_ssize_t capacity=0):
        if capacity < 0:
            raise ValueError(f"capacity must not be negative, got {capacity}")
        self.data = NULL
        self.size = self.capacity = self._exports = 0
        self._reserve(capacity)

    def __dealloc__(self):
        PyMem_RawFree(self.data)

    def __getbuffer__(self, Py_buffer* view, int flags):
        fill_view(view, self, self.data if self.data is not NULL else <char*>b"", self.size, 0, flags)
        self._exports += 1

    def __releasebuffer__(self, Py_buffer* view):
        self._exports -= 1

    cpdef NoResult resize(self, Py_ssize_t size) except NoResult.EXC:
        """Use `size` bytes, growing if needed; the content stays.

        Raises:
            ValueError: the size is negative.
            BufferError: it would have to grow while there are views of it.
        """
        if size < 0:
            raise ValueError(f"size must not be negative, got {size}")
        if size > self.capacity:
            self._reserve(max(size, 2 * self.capacity))
        self.size = size
        return NoResult.SUCCESS

    cdef NoResult _reserve(self, Py_ssize_t capacity) except NoResult.EXC:
        cdef char* data
        if capacity <= self.capacity:
            return NoResult.SUCCESS
        if self._exports:
            raise BufferError("a MemoryBuffer cannot grow while there are views of it")
        data = <char*>PyMem_RawRealloc(self.data, capacity)
        if data is NULL:
            raise MemoryError(f"no memory for {capacity} bytes")
        memset(data + self.capacity, 0, capacity - self.capacity)
        self.data = data
        self.capacity = capacity
        return NoResult.SUCCESS
