"""The C kernels as Cython sees them, and the set of them that this process uses.

For the modules of picows.core: users of its wheel have no `picows_kernels.h`, so no public `.pxd` cimports this.
"""

from libc.stdint cimport uint8_t, uint32_t

cdef extern from "picows_kernels.h":
    ctypedef struct picows_utf8_state:
        uint8_t missing
        uint8_t lowest
        uint8_t highest

    ctypedef struct picows_kernels:
        const char *name
        void (*mask)(uint8_t *, const uint8_t *, size_t, uint32_t) noexcept nogil
        size_t (*validate_utf8)(picows_utf8_state *, const uint8_t *, size_t) noexcept nogil

    uint32_t picows_load32(const uint8_t *at) noexcept nogil
    uint32_t picows_rotate_key(uint32_t key, size_t done) noexcept nogil
    bint picows_utf8_is_complete(const picows_utf8_state *state) noexcept nogil

# What PICOWS_SIMD asked for, or the best that runs here. Constant: call it once at import and keep the pointer.
cdef const picows_kernels *active_kernels() noexcept nogil

cdef extern from "debug.h":
    enum:
        PICOWS_IS_DEBUG

# Kinds of objects that debug builds count.
cdef enum:
    LIVE_READ_BUFFER
    LIVE_FRAME
    LIVE_FRAGMENT
    LIVE_POOL
    LIVE_TRANSPORT
    LIVE_RECEIVER
    LIVE_OUTBOX
    LIVE_TAIL
    LIVE_KINDS

cdef void count_live(int kind, int change) noexcept nogil
