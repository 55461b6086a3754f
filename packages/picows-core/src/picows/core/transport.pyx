# cython: binding=False, embedsignature.format=clinic
"""The sending half and the life of one connection.

Everything here runs in the thread of the connection's loop; a call from another thread is a RuntimeError. Once our
CLOSE was sent or `disconnect()` was called nothing more reaches the wire: all `send*` methods are then silent no-ops.

How bytes leave: over plain TCP and Unix sockets by send(2) itself, with MSG_NOSIGNAL, as long as nothing is pending;
what the socket does not take goes to the event loop's transport, which owns backpressure. Over TLS everything goes
through the transport. Within a batch (see `pool`) a connection's first write leaves at once; later ones are gathered
in its outbox, until the end of the batch or 64 KiB.
"""

import asyncio
import logging
import sys

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ._kernels cimport (
    LIVE_OUTBOX,
    LIVE_TRANSPORT,
    PICOWS_IS_DEBUG,
    active_kernels,
    count_live,
    picows_kernels,
    picows_rotate_key,
)
from .closing cimport WSCloseInfo
from .enums cimport WSCloseCode, WSMsgType
from .pool cimport GATHER_LIMIT, SCRATCH_SIZE, current_pool

from picows.closing import close_payload as _close_payload
from picows.enums import PICOWS_DEBUG_LL
from picows.enums import WSCloseCode as _WSCloseCode
from picows.enums import close_code as _close_code
from picows.options import ConnectionOptions, connection_logger
from picows.pinger import FAREWELL_DELAY_S, AutoPinger
from picows.roundtrip import RoundTrips


cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() noexcept
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL


cdef extern from "frame_codec.h":
    enum:
        PICOWS_FIN
        PICOWS_CONTROL
        PICOWS_OPCODE
        PICOWS_MASK
        PICOWS_MAX_CONTROL_PAYLOAD
        PICOWS_MAX_HEADER
    size_t picows_header_size(uint64_t payload_size, unsigned mask_bit) noexcept
    size_t picows_write_header(uint8_t* to, unsigned first, uint64_t size, unsigned mask_bit, uint32_t key) noexcept


cdef extern from "socket_io.h":
    enum:
        PICOWS_CAN_SEND
    # The number of bytes that the socket took, 0 if it takes none now, -1 if it is broken.
    Py_ssize_t picows_send(int fd, const void* data, Py_ssize_t size) noexcept
    Py_ssize_t picows_send_two(int fd, const void* one, Py_ssize_t size, const void* two, Py_ssize_t size_two) noexcept
    int picows_no_sigpipe(int fd) noexcept


cdef enum:
    # Larger frames are not copied into one piece with others.
    JOIN_LIMIT = 32 * 1024
    # The first outbox of a batch is a whole block, which the pool keeps; further ones begin small.
    OUTBOX_SIZE = GATHER_LIMIT + JOIN_LIMIT + 64
    SMALL_OUTBOX = 4096
    # Large masked frames are masked and sent in pieces that stay in the processor's cache.
    PIECE_SIZE = SCRATCH_SIZE

cdef const picows_kernels* _kernels = active_kernels()


cdef class WSTransport:
    """One WebSocket connection, as its listener sees it.

    Made by the library. The constructor is for tests and for engines of protocols that are built on this one.

    Args:
        is_client_side: True masks what is sent (RFC 6455 5.3).
        underlying_transport: the asyncio transport.
        logger: where it logs.
        loop: the loop that it belongs to.
        options: validated options; the defaults of one side if None.
    """

    def __cinit__(self):
        self._fd = -1
        self._outbox = NULL
        if PICOWS_IS_DEBUG:
            count_live(LIVE_TRANSPORT, 1)

    def __init__(self, bint is_client_side, underlying_transport, logger, loop, options=None):
        self.underlying_transport = underlying_transport
        self._options = options or ConnectionOptions(is_client_side=is_client_side, logger=logger)
        limit = self._options.max_write_buffer_size
        self._max_write_buffer_size = -1 if limit is None else limit
        self.is_client_side = is_client_side
        self._mask_bit = PICOWS_MASK if is_client_side else 0
        self._loop = loop
        self._logger = logger
        self._thread_id = PyThread_get_thread_ident()
        self._pool = current_pool()
        self._coalesces = self._options.write_coalescing
        # The opening handshake was written through the transport, which may not have sent it yet.
        self._has_backlog = True
        if PICOWS_CAN_SEND and not _is_secure(underlying_transport):
            sock = underlying_transport.get_extra_info("socket")
            if sock is not None:
                self._fd = sock.fileno()
                picows_no_sigpipe(self._fd)

    def __dealloc__(self):
        self._free_outbox()
        if PICOWS_IS_DEBUG:
            count_live(LIVE_TRANSPORT, -1)

    @property
    def is_secure(self):
        """True over TLS."""
        return _is_secure(self.underlying_transport)

    @property
    def write_buffer_size(self):
        """How many bytes were accepted by `send` and not yet given to the operating system."""
        return 0 if self._is_lost else self._pending_size()

    # --- sending ---

    cpdef send(self, int msg_type, message, bint fin=True, bint rsv1=False, bint rsv2=False, bint rsv3=False):
        """Send one frame; never blocks (see `write_buffer_size` and `WSListener.pause_writing`).

        Args:
            msg_type: the opcode, 0 to 15 but not CLOSE (see `send_close`).
            message: str (sent as UTF-8), any C-contiguous buffer, or None for no payload. It may be changed after
                the call.
            fin: False if fragments of the message follow (RFC 6455 5.4).
            rsv1: the reserved bits (RFC 6455 5.2).
            rsv2: as rsv1.
            rsv3: as rsv1.

        Raises:
            ValueError: the opcode is CLOSE or above 15, or a control frame is fragmented or has more than 125 bytes.
            TypeError: the message is none of the above.
            BufferError: the buffer is not C-contiguous.
            RuntimeError: called from another thread than the loop's.
        """
        cdef Py_buffer view
        cdef const char* text
        cdef Py_ssize_t size
        cdef unsigned int first = (PICOWS_FIN if fin else 0) | <unsigned int>msg_type
        if rsv1 or rsv2 or rsv3:
            first |= (0x40 if rsv1 else 0) | (0x20 if rsv2 else 0) | (0x10 if rsv3 else 0)
        self._check_thread("send")
        if PyBytes_CheckExact(message):
            self._send_checked(msg_type, first, PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message), message)
        elif PyUnicode_Check(message):
            text = PyUnicode_AsUTF8AndSize(message, &size)
            self._send_checked(msg_type, first, text, size, None)
        elif message is None:
            self._send_checked(msg_type, first, NULL, 0, None)
        else:
            _get_buffer(message, &view)
            try:
                self._send_checked(msg_type, first, <char*>view.buf, view.len, None)
            finally:
                PyBuffer_Release(&view)

    cpdef send_ping(self, message=None):
        """Send a PING (RFC 6455 5.5.2) with at most 125 bytes; arguments and errors as for `send`."""
        self._send_control("send_ping", WSMsgType.PING, message)

    cpdef send_pong(self, message=None):
        """Send a PONG (RFC 6455 5.5.3) with at most 125 bytes; arguments and errors as for `send`."""
        self._send_control("send_pong", WSMsgType.PONG, message)

    cpdef send_close(self, int close_code=0, close_message=None):
        """Send a CLOSE (RFC 6455 5.5.1); it does not disconnect.

        A peer that neither answers nor hangs up within `close_timeout` is cut off.

        Args:
            close_code: 1000-1003, 1007-1014 or 3000-4999; NO_INFO sends a CLOSE without a code.
            close_message: the reason, UTF-8 of at most 123 bytes.

        Raises:
            ValueError: the code must not be sent, the reason is too long, or there is a reason without a code.
            UnicodeDecodeError: the reason is not UTF-8. Nothing is sent.
            TypeError, RuntimeError: as for `send`.
        """
        self._check_thread("send_close")
        cdef bytes reason = as_bytes(close_message)
        cdef bytes payload = _close_payload(close_code, reason)
        if self._is_sealed:
            self._log_sealed("send_close")
            return
        self._close_record().sent = WSCloseInfo(_close_code(close_code), reason.decode())
        # Sealed first: a write buffer that is full must not send another CLOSE from within.
        self.is_close_frame_sent = self._is_sealed = True
        self._send_bytes(PICOWS_FIN | <unsigned int>WSMsgType.CLOSE, payload)
        self._stop_auto_ping()
        self._start_close_timer()

    cpdef send_reuse_external_bytearray(
        self,
        int msg_type,
        object buffer,
        Py_ssize_t msg_offset,
        bint fin=True,
        bint rsv1=False,
        bint rsv2=False,
        bint rsv3=False,
    ):
        """Send `buffer[msg_offset:]`, leaving room before it for the header.

        The engine may write the header into that room and, on a client, mask the message in place: after the call the
        buffer's content is undefined.

        Args:
            msg_type: as for `send`.
            buffer: at least 14 bytes of room, then the message.
            msg_offset: where the message begins, >= 14.
            fin: as for `send`; likewise the reserved bits.
            rsv1: see `send`.
            rsv2: see `send`.
            rsv3: see `send`.

        Raises:
            ValueError: no buffer, or an offset or opcode that is not allowed.
            TypeError, RuntimeError: as for `send`.
        """
        if buffer is None:
            raise ValueError("buffer must not be None")
        if not isinstance(buffer, bytearray):
            raise TypeError(f"buffer must be a bytearray, got {type(buffer).__name__}")
        cdef Py_ssize_t size = PyByteArray_GET_SIZE(buffer)
        if not PICOWS_MAX_HEADER <= msg_offset <= size:
            raise ValueError(
                f"msg_offset must be {PICOWS_MAX_HEADER} to {size} (the buffer's length), got {msg_offset}"
            )
        _check_frame(msg_type, fin, size - msg_offset)
        self._check_thread("send_reuse_external_bytearray")
        if self._is_sealed:
            self._log_sealed("send_reuse_external_bytearray")
            return
        cdef unsigned int first = _first_byte(msg_type, fin, rsv1, rsv2, rsv3)
        self._send_in_place(first, PyByteArray_AS_STRING(buffer) + msg_offset, size - msg_offset)

    cdef NoResult send_reuse_external_buffer(
        self,
        int msg_type,
        char* msg_ptr,
        Py_ssize_t msg_size,
        bint fin=True,
        bint rsv1=False,
        bint rsv2=False,
        bint rsv3=False,
    ) except NoResult.EXC:
        """`send_reuse_external_bytearray` for C code: 14 bytes before `msg_ptr` must be writable."""
        if msg_ptr is NULL or msg_size < 0:
            raise ValueError(f"a message is a pointer and a size, got a size of {msg_size}")
        _check_frame(msg_type, fin, msg_size)
        self._check_thread("send_reuse_external_buffer")
        if self._is_sealed:
            self._log_sealed("send_reuse_external_buffer")
        else:
            self._send_in_place(_first_byte(msg_type, fin, rsv1, rsv2, rsv3), msg_ptr, msg_size)
        return NoResult.SUCCESS

    cpdef flush(self):
        """Send at once what was gathered while a read is being processed, instead of at its end."""
        self._check_thread("flush")
        if not self._is_lost:
            self._flush()

    cdef int _send_control(self, str method, int opcode, object message) except -1:
        self._check_thread(method)
        cdef bytes payload = as_bytes(message)
        _check_frame(opcode, True, PyBytes_GET_SIZE(payload))
        if self._is_sealed:
            self._log_sealed(method)
            return 0
        return self._send_bytes(PICOWS_FIN | <unsigned int>opcode, payload)

    # --- frames to bytes ---

    cdef int _send_checked(
        self, int msg_type, unsigned int first, const char* payload, Py_ssize_t size, object owner
    ) except -1:
        _check_frame(msg_type, first & PICOWS_FIN, size)
        if self._is_sealed:
            return self._log_sealed("send")
        return self._send_frame(first, payload, size, owner)

    cdef int _send_bytes(self, unsigned int first, bytes payload) except -1:
        return self._send_frame(first, PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), payload)

    cdef int _send_frame(self, unsigned int first, const char* payload, Py_ssize_t size, object owner) except -1:
        """The way of every frame that nobody lent us the room around. `owner`: the bytes object that has the payload,
        or None."""
        cdef char* to
        cdef uint32_t key = 0
        cdef Py_ssize_t header
        cdef bint gathers
        if size > JOIN_LIMIT:
            return self._send_large(first, payload, size, owner)
        if self._mask_bit:
            key = self._pool.next_key()
        header = picows_header_size(size, self._mask_bit)
        gathers = self._gathers()
        to = self._gather(header + size) if gathers else self._pool.scratch
        picows_write_header(<uint8_t*>to, first, size, self._mask_bit, key)
        if self._mask_bit:
            _kernels.mask(<uint8_t*>to + header, <const uint8_t*>payload, size, key)
        elif size:
            memcpy(to + header, payload, size)
        if not gathers:
            self._write(to, header + size)
        elif self._outbox_size >= GATHER_LIMIT:
            self._flush()
        if self._max_write_buffer_size >= 0:
            self._check_write_buffer()
        return 0

    cdef int _send_large(self, unsigned int first, const char* payload, Py_ssize_t size, object owner) except -1:
        """A frame that is not worth a copy: in order after what was gathered, and never gathered itself."""
        cdef char* header = self._pool.scratch
        cdef Py_ssize_t header_size = picows_header_size(size, self._mask_bit)
        cdef Py_ssize_t sent = 0
        cdef uint32_t key = self._pool.next_key() if self._mask_bit else 0
        self._flush()
        picows_write_header(<uint8_t*>header, first, size, self._mask_bit, key)
        if self._mask_bit:
            self._send_masked_pieces(header_size, payload, size, key)
        else:
            if self._may_write_directly():
                sent = picows_send_two(self._fd, header, header_size, payload, size)
                if sent < 0:
                    return self._on_broken_socket()
                self._has_backlog = sent < header_size + size
            if sent >= header_size and owner is not None:
                # Bytes cannot change: the transport may keep them.
                if sent < header_size + size:
                    self.underlying_transport.write(memoryview(owner)[sent - header_size:])
            elif sent < header_size + size:
                self._write_joined(header, header_size, payload, size, sent)
        if self._max_write_buffer_size >= 0:
            self._check_write_buffer()
        return 0

    cdef int _write_joined(
        self, const char* header, Py_ssize_t header_size, const char* payload, Py_ssize_t size, Py_ssize_t sent
    ) except -1:
        """Give header and payload to the transport as one object, without their first `sent` bytes."""
        cdef bytes rest = PyBytes_FromStringAndSize(NULL, header_size + size - sent)
        cdef char* to = PyBytes_AS_STRING(rest)
        if sent < header_size:
            memcpy(to, header + sent, header_size - sent)
            memcpy(to + header_size - sent, payload, size)
        else:
            memcpy(to, payload + sent - header_size, header_size + size - sent)
        self.underlying_transport.write(rest)
        return 0

    cdef int _send_masked_pieces(
        self, Py_ssize_t header_size, const char* payload, Py_ssize_t size, uint32_t key
    ) except -1:
        """Mask into the scratch buffer, where the header is, and send from there, piece by piece."""
        cdef char* scratch = self._pool.scratch
        cdef Py_ssize_t filled = header_size
        cdef Py_ssize_t done = 0, piece, sent
        cdef bytes rest
        cdef char* to
        cdef bint is_direct = self._may_write_directly()
        while is_direct and done < size:
            piece = min(size - done, <Py_ssize_t>PIECE_SIZE)
            _kernels.mask(
                <uint8_t*>scratch + filled, <const uint8_t*>payload + done, piece, picows_rotate_key(key, done)
            )
            done += piece
            filled += piece
            sent = picows_send(self._fd, scratch, filled)
            if sent < 0:
                return self._on_broken_socket()
            if sent < filled:
                self._has_backlog = True
                is_direct = False
                scratch += sent
                filled -= sent
            else:
                filled = 0
        if filled or done < size:
            rest = PyBytes_FromStringAndSize(NULL, filled + size - done)
            to = PyBytes_AS_STRING(rest)
            memcpy(to, scratch, filled)
            _kernels.mask(
                <uint8_t*>to + filled, <const uint8_t*>payload + done, size - done, picows_rotate_key(key, done)
            )
            self.underlying_transport.write(rest)
        return 0

    cdef int _send_in_place(self, unsigned int first, char* message, Py_ssize_t size) except -1:
        """Send a message with PICOWS_MAX_HEADER writable bytes before it, without a copy."""
        cdef Py_ssize_t header_size = picows_header_size(size, self._mask_bit)
        cdef char* start = message - header_size
        cdef uint32_t key = self._pool.next_key() if self._mask_bit else 0
        picows_write_header(<uint8_t*>start, first, size, self._mask_bit, key)
        if self._mask_bit:
            _kernels.mask(<uint8_t*>message, <const uint8_t*>message, size, key)
        return self._write_or_gather(start, header_size, size)

    cdef int _write_or_gather(self, const char* frame, Py_ssize_t header_size, Py_ssize_t size) except -1:
        """Send a frame that is complete: a header and a payload of `size` bytes."""
        cdef bint is_large = size > JOIN_LIMIT
        size += header_size
        if is_large:
            self._flush()
            self._write(frame, size)
        elif self._gathers():
            memcpy(self._gather(size), frame, size)
            if self._outbox_size >= GATHER_LIMIT:
                self._flush()
        else:
            self._write(frame, size)
        if self._max_write_buffer_size >= 0:
            self._check_write_buffer()
        return 0

    # --- bytes to the socket ---

    cdef bint _gathers(self) noexcept:
        """True if this write is not the connection's first of the batch."""
        cdef Pool pool = self._pool
        if not pool.in_batch or not self._coalesces:
            return False
        if self._batch == pool.batch:
            return True
        self._batch = pool.batch
        return False

    cdef char* _gather(self, Py_ssize_t size) except NULL:
        """Room for `size` bytes, JOIN_LIMIT and a header at most, at the end of the outbox."""
        assert self._outbox_size < GATHER_LIMIT and size <= JOIN_LIMIT + PICOWS_MAX_HEADER, "an outbox is overfull"
        cdef Pool pool = self._pool
        cdef Py_ssize_t capacity
        cdef char* outbox
        if self._outbox_size + size > self._outbox_capacity:
            if self._outbox is NULL and pool.spare_outbox is not NULL:
                self._outbox, pool.spare_outbox = pool.spare_outbox, NULL
                self._outbox_capacity = OUTBOX_SIZE
            else:
                capacity = OUTBOX_SIZE if not pool.gathering else max(SMALL_OUTBOX, 2 * self._outbox_capacity)
                capacity = min(max(capacity, self._outbox_size + size), <Py_ssize_t>OUTBOX_SIZE)
                outbox = <char*>PyMem_RawRealloc(self._outbox, capacity)
                if outbox is NULL:
                    raise MemoryError("no memory for gathered writes")
                if PICOWS_IS_DEBUG and self._outbox is NULL:
                    count_live(LIVE_OUTBOX, 1)
                self._outbox = outbox
                self._outbox_capacity = capacity
        if not self._is_gathering:
            pool.gathering.append(self)
            self._is_gathering = True
        self._outbox_size += size
        return self._outbox + self._outbox_size - size

    cdef bint _may_write_directly(self) except -1:
        """True if there is a socket to write to and nothing waits to be written before."""
        if self._fd < 0:
            return False
        if self._has_backlog:
            self._has_backlog = self.underlying_transport.get_write_buffer_size() > 0
        return not self._has_backlog

    cdef int _write(self, const char* data, Py_ssize_t size) except -1:
        """Write bytes that are whole frames; they may change as soon as this returns."""
        cdef Py_ssize_t sent = 0
        if self._may_write_directly():
            sent = picows_send(self._fd, data, size)
            if sent == size:
                return 0
            if sent < 0:
                return self._on_broken_socket()
            self._has_backlog = True
        return self._give_to_transport(data + sent, size - sent)

    cdef int _give_to_transport(self, const char* data, Py_ssize_t size) except -1:
        if self._fast_write is not NULL:
            return self._fast_write(self.underlying_transport, <char*>data, size)
        self.underlying_transport.write(PyBytes_FromStringAndSize(data, size))
        return 0

    cdef int _on_broken_socket(self) except -1:
        # The transport would meet the same error, but without MSG_NOSIGNAL.
        self.underlying_transport.abort()
        return 0

    cdef int _flush(self) except -1:
        """Send what was gathered."""
        cdef Py_ssize_t size = self._outbox_size
        if size:
            self._outbox_size = 0
            self._write(self._outbox, size)
        return 0

    cdef int _end_batch(self) except -1:
        """Send what was gathered, and own no block between batches."""
        self._is_gathering = False
        try:
            self._flush()
        finally:
            if self._outbox_capacity == OUTBOX_SIZE and self._pool.spare_outbox is NULL:
                self._pool.spare_outbox, self._outbox = self._outbox, NULL
            self._free_outbox()
        return 0

    cdef void _free_outbox(self) noexcept:
        if PICOWS_IS_DEBUG and self._outbox is not NULL:
            count_live(LIVE_OUTBOX, -1)
        PyMem_RawFree(self._outbox)
        self._outbox = NULL
        self._outbox_size = self._outbox_capacity = 0

    cdef int _drop_output(self) except -1:
        """Forget what was gathered, and the socket: nothing is written any more."""
        self._outbox_size = 0
        self._fd = -1
        return 0

    cdef Py_ssize_t _pending_size(self) except -1:
        cdef Py_ssize_t waiting = self.underlying_transport.get_write_buffer_size()
        return self._outbox_size + waiting

    cdef int _check_write_buffer(self) except -1:
        cdef Py_ssize_t size
        if self._max_write_buffer_size < 0 or self._is_sealed:
            return 0
        size = self._pending_size()
        if size > self._max_write_buffer_size:
            self._log(
                logging.WARNING,
                "%d bytes wait to be sent, %d are allowed: closing the connection",
                size,
                self._max_write_buffer_size,
            )
            self._farewell(
                _WSCloseCode.POLICY_VIOLATION, f"write buffer exceeds {self._max_write_buffer_size} bytes".encode()
            )
        return 0

    cdef int _answer_ping(self, const char* payload, Py_ssize_t size) except -1:
        """Auto-pong. While the peer does not read, only the newest ping will be answered (RFC 6455 5.5.3 allows it)."""
        if self._is_writing_paused:
            self._pending_pong = PyBytes_FromStringAndSize(payload, size)
        elif not self._is_sealed:
            self._send_frame(PICOWS_FIN | <unsigned int>WSMsgType.PONG, payload, size, None)
        return 0

    cdef int _on_pause_writing(self) except -1:
        self._is_writing_paused = True
        return 0

    cdef int _on_resume_writing(self) except -1:
        cdef bytes payload = self._pending_pong
        self._is_writing_paused = False
        if payload is not None:
            self._pending_pong = None
            self._answer_ping(PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
        return 0

    # --- the end ---

    cpdef disconnect(self, bint graceful=True):
        """End the connection without sending a CLOSE; idempotent.

        Args:
            graceful: True lets what was sent before leave first (for at most `close_timeout` seconds), False drops it.
        """
        self._check_thread("disconnect")
        if self._is_lost or (self.is_disconnected and graceful):
            return
        if graceful:
            self._flush()
        self.is_disconnected = self._is_sealed = self._input_is_over = True
        self._stop_auto_ping()
        if graceful and not self.underlying_transport.is_closing():
            self.underlying_transport.close()
            self._start_close_timer()
        elif not graceful:
            self.underlying_transport.abort()
        self._drop_output()

    @cython.binding(True)
    async def wait_disconnected(self):
        """Wait until the connection has ended and `on_ws_disconnected` was called.

        Raises:
            BaseException: on a client, what ended the connection if that was local: the first exception out of a
                callback, or the WSProtocolError with which we failed the connection. The peer's CLOSE, EOF or reset
                raise nothing.
        """
        self._check_thread("wait_disconnected")
        if not self._is_lost:
            if self._lost_waiter is None:
                self._lost_waiter = self._loop.create_future()
            await asyncio.shield(self._lost_waiter)
        if self.is_client_side and self._failure is not None:
            raise self._failure

    @cython.binding(True)
    async def measure_roundtrip_time(self, rounds, timeout=None):
        """Ping the peer and time the pongs; concurrent measurements take turns.

        Args:
            rounds: how many pings, one after the other.
            timeout: seconds to wait for each pong, None for as long as the connection lives.

        Returns:
            Seconds from each ping to its pong.

        Raises:
            ConnectionError: the connection is closed, or closes meanwhile.
            asyncio.TimeoutError: a pong did not come in time.
        """
        self._check_thread("measure_roundtrip_time")
        if self._is_lost:
            raise ConnectionResetError("the connection is closed")
        if self._roundtrips is None:
            self._roundtrips = RoundTrips(self)
        return await self._roundtrips.measure(rounds, timeout)

    cpdef notify_user_specific_pong_received(self):
        """Tell that the awaited pong was received, where only the application can know; no-op if none is awaited."""
        self._check_thread("notify_user_specific_pong_received")
        if self._awaits_pong:
            self._awaits_pong = False
            if self._auto_pinger is not None:
                self._auto_pinger.on_pong()
            if self._roundtrips is not None:
                self._roundtrips.on_pong()

    @property
    def _is_measuring(self):
        return self._roundtrips is not None and self._roundtrips.is_busy

    cdef int _start_auto_ping(self) except -1:
        if self._options.auto_ping is not None and not self._is_sealed:
            self._auto_pinger = AutoPinger(self._loop, self, self._options.auto_ping)
        return 0

    cdef int _stop_auto_ping(self) except -1:
        if self._auto_pinger is not None:
            self._auto_pinger.stop()
            self._auto_pinger = None
        return 0

    def _ping(self):
        """Send a ping and wait for its pong. What the listener raises is the caller's to handle."""
        listener = self._listener
        if listener is None:
            raise ConnectionResetError("the connection is closed")
        self._awaits_pong = True
        listener.send_user_specific_ping(self)

    def _auto_ping(self):
        """Ping for auto-ping; False if that ended the connection."""
        try:
            self._ping()
        except Exception:
            self._log(logging.ERROR, "send_user_specific_ping failed", exc_info=True)
            self._farewell(_WSCloseCode.INTERNAL_ERROR, b"an exception occurred in auto-ping loop")
            return False
        return not self._is_sealed

    cdef WSCloseHandshake _close_record(self):
        if self.close_handshake is None:
            self.close_handshake = WSCloseHandshake()
        return self.close_handshake

    def _farewell(self, code, reason):
        """Send CLOSE, deliver nothing more, and disconnect once the CLOSE had time to leave."""
        self._input_is_over = True
        if not self._is_sealed:
            self.send_close(code, reason)
        self._loop.call_later(FAREWELL_DELAY_S, self.disconnect)

    def _close_and_hang_up(self, code, reason):
        """Say goodbye: send CLOSE, and disconnect as soon as the peer answers it."""
        self._hangs_up = True
        if not self._is_sealed:
            self.send_close(code, reason)
        if self.close_handshake is not None and self.close_handshake.recv is not None:
            self.disconnect()

    cdef int _start_close_timer(self) except -1:
        timeout = self._options.close_timeout
        if timeout is not None and self._close_deadlines is None:
            self._close_deadlines = self._pool.closing.get(self._loop, timeout, WSTransport._on_close_timeout)
            self._close_deadlines.add(self)
        return 0

    def _on_close_timeout(self):
        self._close_deadlines = None
        self._log(logging.INFO, "the peer has not closed within %s s: disconnecting", self._options.close_timeout)
        self._abort()

    def _abort(self):
        if not self._is_lost:
            self.disconnect(graceful=False)

    cdef int _on_lost(self) except -1:
        """The connection is gone: free everything that waits for it, and every reference that would keep it alive."""
        self._is_lost = self.is_disconnected = self._is_sealed = self._input_is_over = True
        self._awaits_pong = False
        self._listener = None
        self._pending_pong = None
        self._stop_auto_ping()
        self._drop_output()
        if sys.version_info < (3, 11) and self.is_secure:
            # asyncio's TLS transports of old warn that they were not closed where only the peer has closed.
            self.underlying_transport.close()
        if self._close_deadlines is not None:
            self._close_deadlines.discard(self)
            self._close_deadlines = None
        roundtrips, self._roundtrips = self._roundtrips, None
        if roundtrips is not None:
            roundtrips.on_lost()
        return 0

    cdef int _release_waiters(self) except -1:
        if self._lost_waiter is not None and not self._lost_waiter.done():
            self._lost_waiter.set_result(None)
        return 0

    # --- checks and logs ---

    cdef int _check_thread(self, str method) except -1:
        if PyThread_get_thread_ident() != self._thread_id:
            raise RuntimeError(
                f"WSTransport.{method} called from a wrong thread: {PyThread_get_thread_ident()} instead of"
                f" {self._thread_id}; use loop.call_soon_threadsafe"
            )
        return 0

    cdef int _log_sealed(self, str method) except -1:
        what = "disconnect" if self.is_disconnected else "CLOSE"
        self._log(logging.DEBUG, "%s after %s is ignored", method, what)
        return 0

    def _log(self, level, message, *args, exc_info=None):
        """Log under the connection's own name, which is made only when something is logged."""
        if self._options.logger.isEnabledFor(level):
            if self._logger is self._options.logger:
                sock = self.underlying_transport.get_extra_info("socket")
                self._logger = connection_logger(self._logger, None if sock is None else sock.fileno())
            self._logger.log(level, message, *args, exc_info=exc_info)

    def _log_bytes(self, what, data):
        self._log(PICOWS_DEBUG_LL, "%s: %r", what, data)


cdef int end_batch(Pool pool) except -1:
    """Send what was gathered, and end the batch."""
    cdef WSTransport transport
    pool.in_batch = False
    while pool.gathering:
        gathering, pool.gathering = pool.gathering, []
        for transport in gathering:
            transport._end_batch()
    return 0


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
    _check_frame(msg_type, True, size)
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


cdef bytes as_bytes(message):
    """A message of `send` as bytes; TypeError or BufferError if it is none."""
    cdef Py_buffer view
    if PyBytes_CheckExact(message):
        return <bytes>message
    if message is None:
        return b""
    if PyUnicode_Check(message):
        return (<str>message).encode()
    _get_buffer(message, &view)
    try:
        return PyBytes_FromStringAndSize(<char*>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef int _get_buffer(message, Py_buffer* view) except -1:
    if not PyObject_CheckBuffer(message):
        raise TypeError(f"a message must be str, bytes-like or None, got {type(message).__name__}")
    try:
        PyObject_GetBuffer(message, view, PyBUF_SIMPLE)
    except BufferError:
        raise BufferError("a message must be a C-contiguous buffer") from None
    return 0


cdef bint _is_secure(transport) except -1:
    return transport.get_extra_info("sslcontext") is not None or transport.get_extra_info("ssl_object") is not None


cdef inline unsigned int _first_byte(int msg_type, bint fin, bint rsv1, bint rsv2, bint rsv3) noexcept:
    return (
        (PICOWS_FIN if fin else 0)
        | <unsigned int>msg_type
        | (0x40 if rsv1 else 0)
        | (0x20 if rsv2 else 0)
        | (0x10 if rsv3 else 0)
    )


cdef inline int _check_frame(int msg_type, bint fin, Py_ssize_t size) except -1:
    """Refuse control frames that RFC 6455 5.5 does not allow, and opcodes that do not exist."""
    if <unsigned int>msg_type < PICOWS_CONTROL:
        return 0
    return _check_control(msg_type, fin, size)


cdef int _check_control(int msg_type, bint fin, Py_ssize_t size) except -1:
    if not 0 <= msg_type <= 15:
        raise ValueError(f"an opcode is 0 to 15, got {msg_type}")
    if msg_type == WSMsgType.CLOSE:
        raise ValueError("CLOSE frames are sent with send_close, which keeps the record of the closing handshake")
    if not fin:
        raise ValueError("a control frame cannot be fragmented")
    if size > PICOWS_MAX_CONTROL_PAYLOAD:
        raise ValueError(f"a control frame carries at most {PICOWS_MAX_CONTROL_PAYLOAD} bytes, got {size}")
    return 0
