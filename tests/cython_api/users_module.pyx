# cython: language_level=3
"""What a user writes in Cython: listeners, and functions that call transports without going through Python.

The tests compile it as it is, and with `picows` and `picows.core` in the place of `picows.picows`.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyTypeObject
from libc.string cimport memcpy

from picows.picows cimport (
    MemoryBuffer,
    NoResult,
    WSAutoPingStrategy,
    WSCloseCode,
    WSCloseHandshake,
    WSCloseInfo,
    WSFrame,
    WSListener,
    WSMessageListener,
    WSMsgType,
    WSTransport,
    _make_test_ws_frame,
    ws_broadcast,
)


cdef extern from "Python.h":
    void PyType_Modified(type cls)


# Calls of the functions below. Nobody looks at Python attributes while it counts.
cdef int _calls = 0


def take_calls():
    """How many calls were counted since the last time."""
    global _calls
    calls, _calls = _calls, 0
    return calls


# --- listeners ---


@cython.final
cdef class Final(WSListener):
    """Cannot be derived from, and its three hot methods are gone from Python's view: only the vtable has them."""

    cdef readonly list events

    def __cinit__(self):
        self.events = []

    cpdef on_ws_connected(self, WSTransport transport):
        global _calls
        _calls += 1
        self.events.append("connected")

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        global _calls
        _calls += 1
        self.events.append(frame.get_payload_as_bytes())

    cpdef is_user_specific_pong(self, WSFrame frame):
        global _calls
        _calls += 1
        return frame.msg_type == WSMsgType.TEXT and frame.get_payload_as_ascii_text() == "pong!"

    cpdef on_ws_disconnected(self, WSTransport transport):
        self.events.append("disconnected")


cdef int _hide_from_python(type cls) except -1:
    namespace = <dict>(<PyTypeObject*>cls).tp_dict
    for name in ("on_ws_connected", "on_ws_frame", "is_user_specific_pong"):
        namespace[name] = None
    PyType_Modified(cls)
    return 0


_hide_from_python(Final)


cdef class Open(WSListener):
    """Every method, for Python to derive from."""

    cdef readonly list events
    # What to raise from the method of that name.
    cdef public dict errors

    def __cinit__(self):
        self.events = []
        self.errors = {}

    cdef int _record(self, str name, event) except -1:
        global _calls
        _calls += 1
        self.events.append(event)
        if name in self.errors:
            raise self.errors[name]
        return 0

    cpdef on_ws_connected(self, WSTransport transport):
        self._record("on_ws_connected", "connected")

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        self._record("on_ws_frame", frame.get_payload_as_bytes())

    cpdef on_ws_disconnected(self, WSTransport transport):
        self._record("on_ws_disconnected", "disconnected")

    cpdef send_user_specific_ping(self, WSTransport transport):
        self._record("send_user_specific_ping", "ping")
        transport.send(WSMsgType.TEXT, "ping?")

    cpdef is_user_specific_pong(self, WSFrame frame):
        self._record("is_user_specific_pong", ("pong?", frame.get_payload_as_bytes()))
        return frame.payload_size == 5 and frame.payload_ptr[4] == b"!"

    cpdef pause_writing(self):
        self._record("pause_writing", "pause")

    cpdef resume_writing(self):
        self._record("resume_writing", "resume")


@cython.final
cdef class Reader(WSListener):
    """Reads frames as C sees them."""

    cdef readonly list frames

    def __cinit__(self):
        self.frames = []

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        cdef Py_ssize_t at
        cdef unsigned long total = 0
        cdef str kind
        for at in range(frame.payload_size):
            total += <unsigned char>frame.payload_ptr[at]
        if frame.msg_type == WSMsgType.TEXT:
            kind = "text"
        elif frame.msg_type == WSMsgType.CONTINUATION:
            kind = "continuation"
        else:
            kind = f"opcode {<int>frame.msg_type}"
        self.frames.append(
            (kind, bool(frame.fin), frame.rsv1, frame.rsv2, frame.rsv3, frame.last_in_buffer, frame.tail_size, total)
        )


@cython.final
cdef class Getters(WSListener):
    """What the getters return, called through the vtable."""

    cdef readonly list payloads

    def __cinit__(self):
        self.payloads = []

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        cdef bytes as_bytes = frame.get_payload_as_bytes()
        cdef str as_utf8 = frame.get_payload_as_utf8_text()
        cdef str as_ascii = frame.get_payload_as_ascii_text()
        self.payloads.append((as_bytes, as_utf8, as_ascii, frame.get_payload_as_memoryview()))


@cython.final
cdef class Keeper(WSListener):
    """Keeps frames, and looks at them again when the connection has ended."""

    cdef list _frames
    cdef readonly list payloads

    def __cinit__(self):
        self._frames = []

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        self._frames.append(frame)

    cpdef on_ws_disconnected(self, WSTransport transport):
        cdef WSFrame frame
        self.payloads = []
        for frame in self._frames:
            self.payloads.append(PyBytes_FromStringAndSize(frame.payload_ptr, frame.payload_size))
        self._frames = None


@cython.final
cdef class Closing(WSListener):
    """Answers a CLOSE, and says what the record of it is in C."""

    cdef readonly object recorded

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        cdef WSCloseCode code
        cdef WSCloseHandshake record
        cdef WSCloseInfo received
        if frame.msg_type != WSMsgType.CLOSE:
            return
        code = frame.get_close_code()
        transport.send_close(code, frame.get_close_message())
        record = transport.close_handshake
        received = record.recv
        self.recorded = (
            code == WSCloseCode.GOING_AWAY,
            received.code == WSCloseCode.GOING_AWAY,
            received.reason,
            record.sent.code == code,
            record.recv_then_sent,
            transport.is_close_frame_sent,
        )
        transport.disconnect()


cdef class Echo(WSListener):
    """Sends every message back, from the read buffer itself."""

    cdef MemoryBuffer _room

    def __cinit__(self):
        self._room = MemoryBuffer()

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
            return
        self._room.resize(14 + frame.payload_size)
        memcpy(self._room.data + 14, frame.payload_ptr, frame.payload_size)
        transport.send_reuse_external_buffer(frame.msg_type, self._room.data + 14, frame.payload_size, frame.fin)


cdef class Asking(WSListener):
    """Sends a message when it is connected and keeps the answers; CLOSE after so many of them."""

    cdef readonly WSTransport transport
    cdef readonly list answers
    cdef list _questions

    def __init__(self, list questions):
        self._questions = questions
        self.answers = []

    cpdef on_ws_connected(self, WSTransport transport):
        self.transport = transport
        for question in self._questions:
            transport.send(WSMsgType.BINARY, question)

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
            return
        self.answers.append(frame.get_payload_as_bytes())
        if len(self.answers) == len(self._questions):
            transport.send_close(WSCloseCode.OK, b"enough")


cdef class Chat(WSMessageListener):
    """The message layer, with something of its own before each frame."""

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        global _calls
        _calls += 1
        WSMessageListener.on_ws_frame(self, transport, frame)


# --- calls of a transport ---


def send_defaults(WSTransport transport, message):
    transport.send(WSMsgType.TEXT, message)


def send_positional(WSTransport transport, message):
    transport.send(WSMsgType.TEXT, message, False, True, False, True)


def send_keywords(WSTransport transport, message):
    transport.send(WSMsgType.TEXT, message, fin=False, rsv1=False, rsv2=True)


def send_through_python(object transport, message):
    """Cython does not leave out an argument of a C function; those of a Python object it does."""
    transport.send(WSMsgType.TEXT, message, rsv3=True)


def send_controls(WSTransport transport):
    transport.send_ping()
    transport.send_ping(b"ping")
    transport.send_pong(b"pong")


def send_in_place(WSTransport transport, bytes message, int msg_type=WSMsgType.BINARY):
    """Send from a `char*` with 14 bytes of room before it. Returns what is there afterwards."""
    cdef MemoryBuffer buffer = MemoryBuffer()
    cdef Py_ssize_t size = len(message)
    cdef NoResult result
    cdef char* at
    buffer.resize(14 + size)
    at = buffer.data + 14
    memcpy(at, <const char*>message, size)
    result = transport.send_reuse_external_buffer(<WSMsgType>msg_type, at, size)
    if result != NoResult.SUCCESS:
        raise RuntimeError(f"send_reuse_external_buffer returned {<int>result}")
    return PyBytes_FromStringAndSize(at, size)


def send_in_place_with_bits(WSTransport transport, bytes message):
    cdef bytearray buffer = bytearray(14) + message
    cdef char* at = buffer
    transport.send_reuse_external_buffer(WSMsgType.TEXT, at + 14, len(message), False, False, True, False)
    buffer[14:] = message
    transport.send_reuse_external_buffer(WSMsgType.TEXT, at + 14, len(message), fin=False, rsv1=True)


def send_from_nowhere(WSTransport transport):
    transport.send_reuse_external_buffer(WSMsgType.TEXT, NULL, 0)


def send_bytearray(WSTransport transport, bytes message):
    transport.send_reuse_external_bytearray(WSMsgType.TEXT, bytearray(20) + message, 20)


def broadcast(list transports, bytes message):
    ws_broadcast(transports, WSMsgType.BINARY, message)


def close(WSTransport transport):
    transport.send_close(WSCloseCode.GOING_AWAY, b"bye")


# --- the rest ---


def make_frame():
    cdef WSFrame frame = _make_test_ws_frame(WSMsgType.BINARY, b"made")
    return PyBytes_FromStringAndSize(frame.payload_ptr, frame.payload_size), frame


def constants():
    return {
        "WSMsgType": [
            <int>WSMsgType.CONTINUATION,
            <int>WSMsgType.TEXT,
            <int>WSMsgType.BINARY,
            <int>WSMsgType.CLOSE,
            <int>WSMsgType.PING,
            <int>WSMsgType.PONG,
        ],
        "WSCloseCode": [
            <int>WSCloseCode.NO_INFO,
            <int>WSCloseCode.OK,
            <int>WSCloseCode.GOING_AWAY,
            <int>WSCloseCode.PROTOCOL_ERROR,
            <int>WSCloseCode.UNSUPPORTED_DATA,
            <int>WSCloseCode.ABNORMAL_CLOSURE,
            <int>WSCloseCode.INVALID_TEXT,
            <int>WSCloseCode.POLICY_VIOLATION,
            <int>WSCloseCode.MESSAGE_TOO_BIG,
            <int>WSCloseCode.MANDATORY_EXTENSION,
            <int>WSCloseCode.INTERNAL_ERROR,
            <int>WSCloseCode.SERVICE_RESTART,
            <int>WSCloseCode.TRY_AGAIN_LATER,
            <int>WSCloseCode.BAD_GATEWAY,
        ],
        "WSAutoPingStrategy": [
            <int>WSAutoPingStrategy.PING_WHEN_IDLE,
            <int>WSAutoPingStrategy.PING_PERIODICALLY,
        ],
    }
