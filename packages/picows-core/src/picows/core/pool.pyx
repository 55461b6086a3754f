"""What the connections of one thread share, so that an idle connection owns no buffer.

- one read buffer: an event loop asks for a buffer, fills it and hands it over in one go, so one serves all its
  connections;
- the frame object that callbacks get, used again as long as nobody keeps it;
- a scratch buffer in which frames are built;
- masking keys, drawn from the operating system in blocks (RFC 6455 10.3): one costs a nanosecond and no system call;
- the timer of those that wait for their peer to hang up;
- the batch: while one read is being processed, each connection's first write goes out at once and its later ones are
  gathered and leave together at the end of the batch (see `transport`).

A pool belongs to one thread: nothing in it is ever shared between threads. After fork() the child draws new keys.
"""

import os
import threading
import weakref

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.string cimport memcpy, memset

from ._kernels cimport LIVE_OUTBOX, LIVE_POOL, PICOWS_IS_DEBUG, count_live
from .buffers cimport HEADROOM, new_read_buffer
from .frame cimport new_frame

from picows.deadlines import SharedDeadlines


cdef enum:
    MAX_HEADER = 14

_pools = weakref.WeakSet()
_pools_lock = threading.Lock()
_local = threading.local()


cdef class Pool:
    """The shared state of one thread's connections."""

    def __cinit__(self):
        if PICOWS_IS_DEBUG:
            count_live(LIVE_POOL, 1)
        self.keys = NULL
        self.spare_outbox = NULL
        self.scratch = <char*>PyMem_RawMalloc(SCRATCH_SIZE + MAX_HEADER)
        self.keys = <uint32_t*>PyMem_RawMalloc(KEYS_PER_BLOCK * 4)
        if self.scratch is NULL or self.keys is NULL:
            raise MemoryError("no memory for the buffers of a thread")
        self.next_key_index = KEYS_PER_BLOCK
        self.read_buffer = new_read_buffer(HEADROOM + READ_SIZE, HEADROOM)
        self.gathering = []
        self.closing = SharedDeadlines()

    def __init__(self):
        with _pools_lock:
            _pools.add(self)

    def __dealloc__(self):
        if self.keys is not NULL:
            memset(self.keys, 0, KEYS_PER_BLOCK * 4)
        PyMem_RawFree(self.scratch)
        PyMem_RawFree(self.keys)
        if PICOWS_IS_DEBUG:
            count_live(LIVE_POOL, -1)
            if self.spare_outbox is not NULL:
                count_live(LIVE_OUTBOX, -1)
        PyMem_RawFree(self.spare_outbox)

    cdef uint32_t next_key(self) except? 0:
        """A fresh masking key, as it lies in memory."""
        if self.next_key_index == KEYS_PER_BLOCK:
            self.draw_keys()
        cdef uint32_t key = self.keys[self.next_key_index]
        self.next_key_index += 1
        return key

    cdef int draw_keys(self) except -1:
        cdef bytes block = os.urandom(KEYS_PER_BLOCK * 4)
        memcpy(self.keys, PyBytes_AS_STRING(block), KEYS_PER_BLOCK * 4)
        self.next_key_index = 0
        return 0

    cpdef drop_caches(self):
        """Free what is kept for the next batch only."""
        self.frame = None
        self.spare = self.output = None
        if PICOWS_IS_DEBUG and self.spare_outbox is not NULL:
            count_live(LIVE_OUTBOX, -1)
        PyMem_RawFree(self.spare_outbox)
        self.spare_outbox = NULL

    cpdef forget_keys(self):
        """Draw a new block for the next key."""
        self.next_key_index = KEYS_PER_BLOCK

    cdef WSFrame take_frame(self, ReadBuffer buffer):
        """A frame object in `buffer` that nobody else has."""
        cdef WSFrame frame = self.frame
        if frame is None:
            return new_frame(buffer)
        self.frame = None
        if frame._owner is not buffer:
            frame._owner = buffer
        return frame

    cdef int wake(self, Waiter waiter) except -1:
        """Wake a task at the end of this read, or, where that is taken or nothing is read, in the next cycle."""
        waiter.is_done = True
        if self.in_read and self.waking is None:
            self.waking = waiter
        else:
            waiter.wake_soon()
        return 0

    cdef int end_read(self) except -1:
        """The last thing that the loop's callback for a read does."""
        cdef Waiter waiter = self.waking
        self.in_read = False
        if waiter is not None:
            self.waking = None
            waiter.wake()
        return 0

    cdef ReadBuffer take_large(self, Py_ssize_t size):
        """A buffer of its own for a frame of `size` bytes."""
        cdef ReadBuffer buffer = self.spare
        if buffer is not None and size <= buffer.capacity <= 2 * size:
            self.spare = None
            buffer.start, buffer.stop = 0, size
            return buffer
        return new_read_buffer(size, 0)

    cdef ReadBuffer take_output(self, Py_ssize_t size):
        """A buffer of at least `size` bytes in which a large frame is built; whoever is done with it puts it back as
        `output`."""
        cdef ReadBuffer buffer = self.output
        self.output = None
        if buffer is None or buffer.capacity < size:
            return new_read_buffer(size, 0)
        return buffer

    cdef void recycle(self, ReadBuffer buffer) noexcept:
        """The payload in this buffer is of no use any more."""
        if buffer.capacity <= LARGEST_SPARE:
            self.spare = buffer


cdef Pool current_pool():
    """The pool of the calling thread."""
    pool = getattr(_local, "pool", None)
    if pool is None:
        pool = _local.pool = Pool()
    return <Pool>pool


def _drop_caches():
    """Free what the calling thread's connections keep for their next batch; for tests that count objects."""
    current_pool().drop_caches()


def _forget_all_keys():
    for pool in list(_pools):
        pool.forget_keys()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all_keys)
