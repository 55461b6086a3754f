# cython: binding=False, embedsignature.format=clinic
"""What users send with; each call is checked here. How a frame becomes bytes is in `frame_writer`, how the connection
lives in `connection`, how bytes leave in `wire`."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_Check

from ._kernels cimport LIVE_TRANSPORT, PICOWS_IS_DEBUG, count_live
from .closing cimport WSCloseInfo
from .enums cimport WSMsgType

from picows.closing import close_payload as _close_payload
from picows.enums import close_code as _close_code


cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    unsigned long PyThread_get_thread_ident() noexcept


cdef extern from "frame_codec.h":
    enum:
        PICOWS_FIN
        PICOWS_CONTROL
        PICOWS_MAX_CONTROL_PAYLOAD
        PICOWS_MAX_HEADER


cdef class WSTransport(FrameWriter):
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
        if PICOWS_IS_DEBUG:
            count_live(LIVE_TRANSPORT, 1)

    def __dealloc__(self):
        if PICOWS_IS_DEBUG:
            count_live(LIVE_TRANSPORT, -1)

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
        cdef Py_buffer view
        # Lent: a callback of the event loop's transport within this call must not resize it.
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
        try:
            self._send_in_place(first, <char*>view.buf + msg_offset, size - msg_offset)
        finally:
            PyBuffer_Release(&view)

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

    def _lend_transport(self):
        """Somebody gets the asyncio transport, and may close it at any time: what was sent before that leaves, what is
        sent after it goes to the transport, which drops it."""
        if PyThread_get_thread_ident() == self._thread_id:
            self._flush()
        self._is_lent = True

    cdef int _send_checked(
        self, int msg_type, unsigned int first, const char* payload, Py_ssize_t size, object owner
    ) except -1:
        _check_frame(msg_type, first & PICOWS_FIN, size)
        if self._is_sealed:
            return self._log_sealed("send")
        return self._send_frame(first, payload, size, owner)

    cdef int _send_control(self, str method, int opcode, object message) except -1:
        self._check_thread(method)
        cdef bytes payload = as_bytes(message)
        _check_frame(opcode, True, PyBytes_GET_SIZE(payload))
        if self._is_sealed:
            self._log_sealed(method)
            return 0
        return self._send_bytes(PICOWS_FIN | <unsigned int>opcode, payload)

    cdef int _answer_ping(self, const char* payload, Py_ssize_t size) except -1:
        """Auto-pong. While the peer does not read, only the newest ping will be answered (RFC 6455 5.5.3 allows it)."""
        if self._is_writing_paused:
            self._pending_pong = PyBytes_FromStringAndSize(payload, size)
        elif not self._is_sealed:
            self._send_frame(PICOWS_FIN | <unsigned int>WSMsgType.PONG, payload, size, None)
        return 0

    cdef int _on_resume_writing(self) except -1:
        cdef bytes payload = self._pending_pong
        self._is_writing_paused = False
        if payload is not None:
            self._pending_pong = None
            self._answer_ping(PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
        return 0


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
    except (BufferError, ValueError):  # the latter is numpy's
        raise BufferError("a message must be a C-contiguous buffer") from None
    return 0


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


cdef int check_frame(int msg_type, bint fin, Py_ssize_t size) except -1:
    return _check_frame(msg_type, fin, size)
