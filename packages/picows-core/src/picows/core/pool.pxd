from libc.stdint cimport int64_t, uint32_t, uint64_t

from .buffers cimport HEADROOM, ReadBuffer
from .frame cimport WSFrame
from .waiter cimport Waiter


cdef enum:
    # A frame that is larger does not leave its buffer behind.
    LARGEST_SPARE = 2 * 1024 * 1024
    KEYS_PER_BLOCK = 1024
    # What one read may bring.
    READ_SIZE = 256 * 1024 - HEADROOM
    # Frames up to this size are built in one piece before they are sent.
    SCRATCH_SIZE = 256 * 1024
    # Gathered writes leave when they are this many bytes.
    GATHER_LIMIT = 64 * 1024
    # A peer whose last read had this many answers gathered, in no longer than that, has many frames in flight.
    PIPELINED = 8
    SHORT_BATCH_NS = 200000


cdef class Pool:
    cdef:
        ReadBuffer read_buffer
        # A large buffer that has done its work, for the next large frame.
        ReadBuffer spare
        # As that, for frames that are sent.
        ReadBuffer output
        # The frame object of the next batch; None while one is being processed.
        WSFrame frame
        bint in_batch
        # If the batch is not a read but a burst of `recv`: the event loop that will end it; else None.
        object burst_loop
        # Counts batches, so that a transport can tell its first write of a batch from later ones without a reset.
        uint64_t batch
        # More frames of the read that is being processed are waiting.
        bint has_more_frames
        # The loop's callback for a read is running, and whom it wakes when it is over.
        bint in_read
        Waiter waking
        # Transports that hold gathered writes, and since when the first does, in ns.
        list gathering
        int64_t gathering_since
        # The timer of those that wait for their peer to hang up, a SharedDeadlines.
        object closing
        # Where frames are built before they are sent: SCRATCH_SIZE bytes and room for a header.
        char* scratch
        # A block for gathered writes, of GATHER_LIMIT bytes and a frame, that nobody uses just now; or NULL.
        char* spare_outbox
        uint32_t* keys
        int next_key_index
        object __weakref__

    cdef uint32_t next_key(self) except? 0
    cdef int draw_keys(self) except -1
    cdef WSFrame take_frame(self, ReadBuffer buffer)
    cdef int wake(self, Waiter waiter) except -1
    cdef int end_read(self) except -1
    cdef ReadBuffer take_large(self, Py_ssize_t size)
    cdef ReadBuffer take_output(self, Py_ssize_t size)
    cdef void recycle(self, ReadBuffer buffer) noexcept
    cpdef forget_keys(self)
    cpdef drop_caches(self)


cdef Pool current_pool()
