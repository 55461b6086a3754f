"""What strict mode adds to the frame parser: reserved bits, the order of fragments, the size of messages, UTF-8 (RFC
6455 5.2, 5.4, 8.1)."""

from libc.string cimport memset

from ._kernels cimport active_kernels, picows_kernels, picows_utf8_is_complete
from .enums cimport WSMsgType

from picows.enums import WSCloseCode as _WSCloseCode
from picows.errors import WSMessageTooBigError, WSProtocolError

cdef enum:
    FIN = 0x80
    RESERVED = 0x70
    CONTROL = 0x08

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

cdef const picows_kernels* _kernels = active_kernels()


cdef class MessageState:
    """Where the incoming stream stands between and within messages. One for each connection in strict mode.

    Args:
        rules: a `picows.abc.FrameRules`.
    """

    def __init__(self, rules):
        self.rules = rules
        self._limit = -1 if rules.max_message_size is None else min(rules.max_message_size, <object>PY_SSIZE_T_MAX)
        self._reserved_bits = rules.reserved_bits
        self._minimal_lengths = rules.minimal_lengths
        self._refuse_close_in_message = rules.refuse_close_in_message

    cdef int admit(self, uint8_t first, Py_ssize_t size, bint is_minimal) except -1:
        """Check a header: 1 if the payload must go through `validate`, else 0.

        Raises:
            WSProtocolError: 1002 where the frame may not come now, 1009 where the message would exceed its limit.
        """
        cdef uint8_t opcode = first & 0x0F
        cdef uint8_t allowed = self._reserved_bits if 0 < opcode < CONTROL else 0
        if self._minimal_lengths and not is_minimal:
            raise not_minimal(size)
        if first & RESERVED & ~allowed:
            raise protocol_violation(f"reserved bits 0x{first & RESERVED:02x} are set in a frame with opcode {opcode}")
        if opcode & CONTROL:
            if opcode == WSMsgType.CLOSE and self._in_message and self._refuse_close_in_message:
                raise protocol_violation("CLOSE frame in the middle of a fragmented message")
            return 0
        if opcode == WSMsgType.CONTINUATION:
            if not self._in_message:
                raise protocol_violation("CONTINUATION frame without a message to continue")
        else:
            if self._in_message:
                raise protocol_violation("a new message before the last fragment of the previous one")
            self._is_text = opcode == WSMsgType.TEXT and not first & RESERVED
            self._size = 0
        if self._limit >= 0 and size > self._limit - self._size:
            # The sum may be more than a Py_ssize_t.
            size_of_message = <object>self._size + size
            raise WSMessageTooBigError(f"message of more than {self._limit} bytes", size_of_message, self._limit)
        self._size += size
        self._in_message = not first & FIN
        return self._is_text

    cdef int validate(self, const uint8_t* data, Py_ssize_t size, bint is_last) except -1:
        """Validate a piece of the current text message; `is_last` with its last byte.

        Raises:
            WSProtocolError: 1007, at the first byte that cannot be UTF-8; its cause says where in this piece that is.
        """
        cdef picows_utf8_state before = self._utf8
        cdef Py_ssize_t good = _kernels.validate_utf8(&self._utf8, data, size)
        if good < size:
            # The state is of no use now; which kind of byte is missing shows from what came before.
            self._utf8 = before
            _kernels.validate_utf8(&self._utf8, data, good)
            if picows_utf8_is_complete(&self._utf8):
                raise _not_utf8("invalid start byte", data, size, good, good + 1)
            raise _not_utf8("invalid continuation byte", data, size, _last_start(data, good), good)
        if is_last:
            if not picows_utf8_is_complete(&self._utf8):
                raise _not_utf8("unexpected end of data", data, size, _last_start(data, size), size)
            memset(&self._utf8, 0, sizeof(self._utf8))
        return 0


cdef object protocol_violation(str message):
    return WSProtocolError(_WSCloseCode.PROTOCOL_ERROR, message)


cdef object not_minimal(size):
    """The violation of RFC 6455 5.2 that a length in too many bytes is."""
    return protocol_violation(f"length {size} is not encoded in the fewest bytes")


cdef Py_ssize_t _last_start(const uint8_t* data, Py_ssize_t size) noexcept:
    """Where the last character of a piece begins; 0 if that is in a piece before."""
    cdef Py_ssize_t at = size - 1
    while at > 0 and data[at] & 0xC0 == 0x80:
        at -= 1
    return max(at, 0)


cdef _not_utf8(str reason, const uint8_t* data, Py_ssize_t size, Py_ssize_t start, Py_ssize_t end):
    error = WSProtocolError(_WSCloseCode.INVALID_TEXT, f"text is not UTF-8: {reason}")
    error.__cause__ = UnicodeDecodeError("utf-8", data[:size], start, max(end, start + 1), reason)
    return error
