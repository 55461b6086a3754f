"""Between aiofastnet's transports and ours without Python calls: two a read and one a write are saved.

aiofastnet offers a C interface (its `.pxd`) whose layout belongs to one version. `protocol` imports this module only if
that version is installed; without it the same transports are used through asyncio's interface.
"""

from aiofastnet.transport cimport Protocol, Transport
from aiofastnet.utils cimport NoResult

from .buffers cimport ReadBuffer
from .protocol cimport Receiver
from .wire cimport FastWrite


cdef class FastProtocol(Protocol):
    """Passes on what a transport calls to the Receiver that made it."""

    cdef Receiver _receiver

    cpdef is_buffered_protocol(self):
        return True

    cdef NoResult get_buffer_c(self, Py_ssize_t hint, char** buf, Py_ssize_t* buf_len) except NoResult.EXC:
        cdef ReadBuffer buffer = self._receiver._target()
        buf[0] = buffer.data + buffer.start
        buf_len[0] = buffer.stop - buffer.start
        return NoResult.OK

    cpdef get_buffer(self, Py_ssize_t hint):
        return self._receiver._target()

    cpdef buffer_updated(self, Py_ssize_t bytes_read):
        self._receiver.buffer_updated(bytes_read)

    def connection_made(self, transport):
        self._receiver.connection_made(transport)

    def connection_lost(self, exc):
        self._receiver.connection_lost(exc)

    def eof_received(self):
        return self._receiver.eof_received()

    def pause_writing(self):
        self._receiver.pause_writing()

    def resume_writing(self):
        self._receiver.resume_writing()


cdef int _write(object transport, char* data, Py_ssize_t size) except -1:
    (<Transport>transport).write_c(data, size)
    return 0


cdef FastWrite _writer = _write


def adopt(Receiver receiver not None, transport):
    """Let one of aiofastnet's transports and a receiver call each other in C."""
    cdef FastProtocol protocol
    if not isinstance(transport, Transport):
        return
    protocol = FastProtocol.__new__(FastProtocol)
    protocol._receiver = receiver
    (<Transport>transport).set_protocol(protocol)
    receiver._transport._fast_write = _writer
