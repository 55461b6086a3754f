# cython: binding=False, embedsignature.format=clinic
"""One message to many connections."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from .messages cimport WSMessageListener
from .transport cimport WSTransport, as_bytes, check_frame
from .wire cimport JOIN_LIMIT


cdef extern from "frame_codec.h":
    enum:
        PICOWS_FIN
    size_t picows_header_size(uint64_t payload_size, unsigned mask_bit) noexcept
    size_t picows_write_header(uint8_t* to, unsigned first, uint64_t size, unsigned mask_bit, uint32_t key) noexcept


cpdef ws_broadcast(transports, int msg_type, message):
    """Send one unfragmented frame to many connections; the server's frame is built once.

    Connections that are closing or closed are skipped; a slow one is not waited for (see `max_write_buffer_size`).
    Client-side transports may be among them: they get a frame of their own, because each needs its own masking key.

    Args:
        transports: those of one loop.
        msg_type: as for `WSTransport.send`.
        message: as for `WSTransport.send`.

    Raises:
        ValueError, TypeError, BufferError: as `WSTransport.send`, before anything is sent.
        RuntimeError: a transport belongs to another thread.
    """
    cdef WSTransport transport
    cdef bytes payload = as_bytes(message)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
    cdef unsigned int first = PICOWS_FIN | <unsigned int>msg_type
    cdef Py_ssize_t header_size = picows_header_size(size, 0)
    check_frame(msg_type, True, size)
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, header_size + size if size <= JOIN_LIMIT else 0)
    if size <= JOIN_LIMIT:
        picows_write_header(<uint8_t*>PyBytes_AS_STRING(frame), first, size, 0, 0)
        memcpy(PyBytes_AS_STRING(frame) + header_size, PyBytes_AS_STRING(payload), size)
    for each in transports:
        if not isinstance(each, WSTransport):
            raise TypeError(f"a broadcast goes to WSTransport objects, got {type(each).__name__}")
        transport = <WSTransport>each
        transport._check_thread("ws_broadcast")
        if transport._is_sealed:
            if transport.is_client_side:
                transport._log_sealed("send")
        elif transport.is_client_side or size > JOIN_LIMIT:
            transport._send_frame(first, PyBytes_AS_STRING(payload), size, payload)
        else:
            transport._write_or_gather(PyBytes_AS_STRING(frame), header_size, size)


cpdef tuple sort_for_broadcast(connections):
    """Find out who of many may be sent a message with `ws_broadcast`.

    Args:
        connections: any objects.

    Returns:
        The transports of WSMessageListener objects that would send a message now and as it is: they are open, do not
        compress, and have never sent one in fragments; and all other objects.
    """
    cdef list transports = [], others = []
    for each in connections:
        if isinstance(each, WSMessageListener) and (<WSMessageListener>each)._sends_plainly():
            transports.append((<WSMessageListener>each).transport)
        else:
            others.append(each)
    return transports, others
