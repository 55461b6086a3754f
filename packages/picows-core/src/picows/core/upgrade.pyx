"""The upgrade request that almost every client sends, recognised without Python (csrc/upgrade.h)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from picows.handshake import accept_key


cdef extern from "upgrade.h":
    ctypedef struct picows_upgrade:
        size_t size
        const uint8_t* target
        size_t target_size
        const uint8_t* key
    int picows_scan_upgrade(const uint8_t* data, size_t size, picows_upgrade* found) noexcept
    enum:
        PICOWS_KEY_SIZE


def scan_upgrade(bytes data not None):
    """Recognise an upgrade request that is complete and has nothing unusual about it.

    Args:
        data: what the client has sent.

    Returns:
        The size of its head, its target, and the value of Sec-WebSocket-Accept that answers it. None if it is not such
        a request, be it right or wrong: `picows.handshake` finds that out.
    """
    cdef picows_upgrade found
    if not picows_scan_upgrade(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), &found):
        return None
    key = PyBytes_FromStringAndSize(<const char*>found.key, PICOWS_KEY_SIZE)
    return (
        found.size,
        PyBytes_FromStringAndSize(<const char*>found.target, found.target_size),
        accept_key(key).encode("ascii"),
    )
