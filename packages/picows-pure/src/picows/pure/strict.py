"""What strict mode adds to the frame parser: reserved bits, the order of fragments, the size of messages, UTF-8 (RFC
6455 5.2, 5.4, 8.1)."""

from __future__ import annotations

from typing import Union

from ..abc import FrameRules
from ..enums import WSCloseCode
from ..errors import WSMessageTooBigError, WSProtocolError
from .frame import CLOSE, CONTINUATION, CONTROL, FIN, TEXT
from .utf8 import Utf8Decoder

_RESERVED = 0x70


class MessageState:
    """Where the incoming stream stands between and within messages. One for each connection in strict mode."""

    __slots__ = ("rules", "_limit", "_in_message", "_is_text", "_size", "_decoder")

    def __init__(self, rules: FrameRules) -> None:
        self.rules = rules
        self._limit = rules.max_message_size
        self._in_message = False
        #: The message is text whose UTF-8 is checked here: not compressed.
        self._is_text = False
        self._size = 0
        self._decoder = Utf8Decoder()

    def admit(self, first: int, size: int) -> bool:
        """Check the header of a frame; True if its payload must go through `decode`.

        Raises:
            WSProtocolError: 1002 where the frame may not come now, 1009 where the message would exceed its limit.
        """
        opcode = first & 0x0F
        if first & _RESERVED and first & _RESERVED & ~(self.rules.reserved_bits if 0 < opcode < CONTROL else 0):
            raise _violation(f"reserved bits 0x{first & _RESERVED:02x} are set in a frame with opcode {opcode}")
        if opcode & CONTROL:
            if opcode == CLOSE and self._in_message and self.rules.refuse_close_in_message:
                raise _violation("CLOSE frame in the middle of a fragmented message")
            return False
        self._admit_data(first, opcode, size)
        return self._is_text

    def _admit_data(self, first: int, opcode: int, size: int) -> None:
        if opcode == CONTINUATION:
            if not self._in_message:
                raise _violation("CONTINUATION frame without a message to continue")
        else:
            if self._in_message:
                raise _violation("a new message before the last fragment of the previous one")
            self._is_text = opcode == TEXT and not first & _RESERVED
            self._size = 0
        if self._limit is not None and size > self._limit - self._size:
            raise WSMessageTooBigError(f"message of more than {self._limit} bytes", self._size + size, self._limit)
        self._size += size
        self._in_message = not first & FIN

    def decode(self, payload: Union[bytes, bytearray], final: bool) -> str:
        """Decode a piece of the current text message; `final` with its last byte.

        Raises:
            WSProtocolError: 1007, at the first byte that cannot be UTF-8.
        """
        return self._decoder.decode(payload, final)


def _violation(message: str) -> WSProtocolError:
    return WSProtocolError(WSCloseCode.PROTOCOL_ERROR, message)
