"""One received frame, and the two rows of small facts about its first byte.

The payload belongs to the frame: it is a bytes object, or a bytearray that nobody writes to any more, so the frame
and every view of it may be kept for as long as one likes.
"""

from __future__ import annotations

from typing import List, Optional, Union

from ..enums import WSCloseCode, WSMsgType, close_code

FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
CONTROL = 0x08
# For every frame: an attribute of an enum costs five times a global.
CONTINUATION, TEXT, BINARY = WSMsgType.CONTINUATION, WSMsgType.TEXT, WSMsgType.BINARY
CLOSE, PING = WSMsgType.CLOSE, WSMsgType.PING


def _message_types() -> List[Optional[WSMsgType]]:
    types: List[Optional[WSMsgType]] = [None] * 256
    for first in range(256):
        for member in WSMsgType:
            if first & 0x0F == member and (member < CONTROL or first & FIN):
                types[first] = member
    return types


#: First byte of a frame -> its type; None for reserved opcodes and fragmented control frames.
MESSAGE_TYPES = tuple(_message_types())


class WSFrame:
    """A frame as it was received (RFC 6455 5.2), unmasked.

    Instances are made by the library. They may be kept after the callback, as may views of their payload.
    """

    __slots__ = ("_msg_type", "_first", "_payload", "_text", "_tail_size", "_last_in_buffer")

    _msg_type: WSMsgType
    _first: int
    _payload: Union[bytes, bytearray]
    _text: Optional[str]
    _tail_size: int
    _last_in_buffer: int

    @property
    def msg_type(self) -> WSMsgType:
        """The opcode, a member of picows.WSMsgType."""
        return self._msg_type

    @property
    def fin(self) -> int:
        """1 if this is the last fragment of its message, else 0."""
        return self._first >> 7

    @property
    def rsv1(self) -> int:
        """The first reserved bit, 0 or 1 (permessage-deflate uses it, RFC 7692 6)."""
        return self._first >> 6 & 1

    @property
    def rsv2(self) -> int:
        """The second reserved bit, 0 or 1."""
        return self._first >> 5 & 1

    @property
    def rsv3(self) -> int:
        """The third reserved bit, 0 or 1."""
        return self._first >> 4 & 1

    @property
    def last_in_buffer(self) -> int:
        """1 if no other complete frame was read together with this one after it, else 0."""
        return self._last_in_buffer

    @property
    def payload_size(self) -> int:
        """Size of the payload in bytes."""
        return len(self._payload)

    @property
    def tail_size(self) -> int:
        """How many bytes were read after this frame in the same read."""
        return self._tail_size

    def get_payload_as_bytes(self) -> bytes:
        """The payload as bytes."""
        payload = self._payload
        return payload if type(payload) is bytes else bytes(payload)

    def get_payload_as_utf8_text(self) -> str:
        """The payload decoded as UTF-8; UnicodeDecodeError if it is not UTF-8."""
        return self._payload.decode() if self._text is None else self._text

    def get_payload_as_ascii_text(self) -> str:
        """The payload decoded as ASCII; UnicodeDecodeError if it is not ASCII."""
        return self._payload.decode("ascii")

    def get_payload_as_memoryview(self) -> memoryview:
        """The payload without a copy, read-only. The view stays valid and unchanged for as long as it is kept."""
        return memoryview(self._payload).toreadonly()

    def get_close_code(self) -> WSCloseCode:
        """The code of a CLOSE frame (RFC 6455 5.5.1), NO_INFO if it has none; ValueError for other frames."""
        self._require_close("get_close_code")
        if len(self._payload) < 2:
            return WSCloseCode.NO_INFO
        return close_code(int.from_bytes(self._payload[:2], "big"))

    def get_close_message(self) -> Optional[bytes]:
        """The reason of a CLOSE frame as bytes, None if it has no code either; ValueError for other frames."""
        self._require_close("get_close_message")
        return bytes(self._payload[2:]) if len(self._payload) >= 2 else None

    def get_close_reason(self) -> Optional[str]:
        """The reason of a CLOSE frame as text, None if it has no code either; ValueError for other frames."""
        message = self.get_close_message()
        return None if message is None else message.decode()

    def _require_close(self, method: str) -> None:
        if self._msg_type is not WSMsgType.CLOSE:
            raise ValueError(f"WSFrame.{method} is for CLOSE frames, this one is {self._msg_type.name}")

    def __str__(self) -> str:
        return (
            f"WSFrame({self._msg_type.name}, fin={bool(self.fin)}, rsv1={bool(self.rsv1)}, rsv2={bool(self.rsv2)},"
            f" rsv3={bool(self.rsv3)}, last_in_buffer={bool(self._last_in_buffer)}, payload_sz={self.payload_size},"
            f" tail_sz={self._tail_size})"
        )

    __repr__ = __str__


def make_frame(
    first: int, msg_type: WSMsgType, payload: Union[bytes, bytearray], text: Optional[str] = None, tail_size: int = 0
) -> WSFrame:
    """A frame that is the last one of its read."""
    frame = WSFrame()
    frame._first = first
    frame._msg_type = msg_type
    frame._payload = payload
    frame._text = text
    frame._tail_size = tail_size
    frame._last_in_buffer = 1
    return frame
