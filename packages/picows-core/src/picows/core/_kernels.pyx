"""Which set of C kernels runs: the best that the processor has, or the one that PICOWS_SIMD names.

Decided once, at import. Any set that runs here can also be called by its name, which is for tests and benchmarks: the
engine takes the pointer of `active_kernels` and never comes through here again.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memset

import os

cdef extern from "picows_kernels.h":
    ctypedef enum picows_kernels_status:
        PICOWS_KERNELS_FOUND
        PICOWS_KERNELS_UNKNOWN
        PICOWS_KERNELS_UNSUPPORTED

    const picows_kernels *picows_kernels_select(const char *name, picows_kernels_status *status)
    const picows_kernels *picows_kernels_list(size_t *count)


cdef const picows_kernels *_active = NULL
cdef dict _found = {}


cdef const picows_kernels *active_kernels() noexcept nogil:
    return _active


cdef const picows_kernels *_find(str name) except NULL:
    """The set of this name. Raises ValueError if there is none that runs here."""
    cdef picows_kernels_status status
    cdef const picows_kernels *found
    # Asking the processor takes microseconds, in a virtual machine tens of them.
    cached = _found.get(name)
    if cached is not None:
        return <const picows_kernels *><size_t>cached
    found = picows_kernels_select(name.encode(), &status)
    if found is not NULL:
        _found[name] = <size_t>found
    else:
        is_known = status == PICOWS_KERNELS_UNSUPPORTED
        raise ValueError(
            f"{'this processor does not run' if is_known else 'there are no'} kernels {name!r}: "
            f"this build has {', '.join([known for known, _ in available()])}; "
            f"this processor runs {', '.join([known for known, runs_here in available() if runs_here])}"
        )
    return found


cdef _choose():
    global _active
    wanted = os.environ.get("PICOWS_SIMD")
    if not wanted:
        _active = picows_kernels_select(NULL, NULL)
        return
    try:
        _active = _find(wanted)
    except ValueError as exc:
        raise ImportError(f"PICOWS_SIMD={wanted}, but {exc}") from None


def simd() -> str:
    """The name of the set that this process uses: avx512, avx2, sse2, neon or generic."""
    return _active.name.decode()


def available() -> list:
    """All sets of this build, best first.

    Returns:
        (name, whether this processor runs it) of each.
    """
    cdef size_t count, i
    cdef const picows_kernels *sets = picows_kernels_list(&count)
    return [(sets[i].name.decode(), picows_kernels_select(sets[i].name, NULL) is not NULL) for i in range(count)]


cdef uint32_t _load_key(bytes key) except? 0:
    if len(key) != 4:
        raise ValueError(f"a masking key has 4 bytes (RFC 6455 5.3), this one {len(key)}")
    return picows_load32(<const uint8_t *>PyBytes_AS_STRING(key))


def mask(str name not None, data, bytes key not None) -> bytes:
    """Mask or unmask with the set of this name.

    Args:
        data: any buffer of bytes. It is left as it is.
        key: 4 bytes.

    Raises:
        ValueError: no set of that name runs here, or the key has another size.
    """
    cdef const picows_kernels *kernels = _find(name)
    cdef uint32_t loaded = _load_key(key)
    cdef Py_buffer source
    cdef bytes masked
    PyObject_GetBuffer(data, &source, PyBUF_SIMPLE)
    try:
        masked = PyBytes_FromStringAndSize(NULL, source.len)
        kernels.mask(<uint8_t *>PyBytes_AS_STRING(masked), <const uint8_t *>source.buf, source.len, loaded)
    finally:
        PyBuffer_Release(&source)
    return masked


def mask_into(str name not None, to, data, bytes key not None) -> None:
    """Mask or unmask with the set of this name, from one buffer into another or in place.

    Args:
        to: a writable buffer of the size of data: the same memory, or memory that does not overlap it.

    Raises:
        ValueError: as of `mask`, or the sizes differ, or the buffers overlap in part.
    """
    cdef const picows_kernels *kernels = _find(name)
    cdef uint32_t loaded = _load_key(key)
    cdef Py_buffer source, target
    PyObject_GetBuffer(data, &source, PyBUF_SIMPLE)
    try:
        PyObject_GetBuffer(to, &target, PyBUF_WRITABLE)
        try:
            _check_pair(&target, &source)
            kernels.mask(<uint8_t *>target.buf, <const uint8_t *>source.buf, source.len, loaded)
        finally:
            PyBuffer_Release(&target)
    finally:
        PyBuffer_Release(&source)


cdef int _check_pair(const Py_buffer *target, const Py_buffer *source) except -1:
    cdef const uint8_t *to = <const uint8_t *>target.buf
    cdef const uint8_t *data = <const uint8_t *>source.buf
    if target.len != source.len:
        raise ValueError(f"{source.len} bytes cannot be masked into a buffer of {target.len}: the sizes must be equal")
    if to != data and to < data + source.len and data < to + target.len:
        raise ValueError("the buffers overlap in part: they must be the same memory or have none in common")
    return 0


def validate_utf8(str name not None, data) -> int:
    """Validate a whole text (RFC 3629) with the set of this name.

    Returns:
        The size of a valid text, -1 if a text that is valid so far ends within a character, otherwise the index of the
        first byte with which it cannot become valid any more.

    Raises:
        ValueError: no set of that name runs here.
    """
    cdef const picows_kernels *kernels = _find(name)
    cdef picows_utf8_state state
    cdef Py_buffer text
    cdef Py_ssize_t at
    memset(&state, 0, sizeof(state))
    PyObject_GetBuffer(data, &text, PyBUF_SIMPLE)
    try:
        at = kernels.validate_utf8(&state, <const uint8_t *>text.buf, text.len)
        return -1 if at == text.len and not picows_utf8_is_complete(&state) else at
    finally:
        PyBuffer_Release(&text)


cdef int _live[LIVE_KINDS]


cdef void count_live(int kind, int change) noexcept nogil:
    """An object of this kind was made (1) or freed (-1). Callers ask PICOWS_IS_DEBUG first."""
    _live[kind] += change


def live_objects() -> dict | None:
    """How many objects and blocks of memory of each kind there are; None in builds that do not count them."""
    if not PICOWS_IS_DEBUG:
        return None
    return {
        "read buffers": _live[LIVE_READ_BUFFER],
        "frames": _live[LIVE_FRAME],
        "fragments": _live[LIVE_FRAGMENT],
        "pools": _live[LIVE_POOL],
        "transports": _live[LIVE_TRANSPORT],
        "receivers": _live[LIVE_RECEIVER],
        "outboxes": _live[LIVE_OUTBOX],
        "tails": _live[LIVE_TAIL],
    }


_choose()
