"""The record of the closing handshake (RFC 6455 7) and the payload of a CLOSE frame."""

from __future__ import annotations

from typing import NamedTuple, Optional, Union

from ..enums import WSCloseCode, is_sendable_close_code
from ..errors import WSProtocolError

MAX_CONTROL_PAYLOAD = 125
MAX_REASON = MAX_CONTROL_PAYLOAD - 2


class WSCloseInfo(NamedTuple):
    """One CLOSE frame: its code (NO_INFO if it had none) and its reason (None if a received one had no code)."""

    code: WSCloseCode
    reason: Optional[str]


class WSCloseHandshake:
    """The CLOSE frames of a connection so far."""

    __slots__ = ("_recv", "_sent", "_recv_then_sent")

    def __init__(self) -> None:
        self._recv: Optional[WSCloseInfo] = None
        self._sent: Optional[WSCloseInfo] = None
        self._recv_then_sent = False

    @property
    def recv(self) -> Optional[WSCloseInfo]:
        """The peer's CLOSE, or None."""
        return self._recv

    @property
    def sent(self) -> Optional[WSCloseInfo]:
        """Our CLOSE, or None."""
        return self._sent

    @property
    def recv_then_sent(self) -> bool:
        """True if the peer's CLOSE arrived before ours was sent."""
        return self._recv_then_sent

    def __repr__(self) -> str:
        return f"WSCloseHandshake(recv={self._recv}, sent={self._sent}, recv_then_sent={self._recv_then_sent})"

    def _record_received(self, info: WSCloseInfo) -> None:
        self._recv = info
        self._recv_then_sent = self._sent is None

    def _record_sent(self, info: WSCloseInfo) -> None:
        self._sent = info


def close_payload(code: int, message: Union[bytes, bytearray, memoryview]) -> bytes:
    """The payload of a CLOSE frame to send: nothing for NO_INFO.

    Raises:
        ValueError: the code may not be sent (RFC 6455 7.4), there is a reason without a code, or it has more than
            123 bytes.
        UnicodeDecodeError: the reason is not UTF-8.
    """
    if code == WSCloseCode.NO_INFO:
        if message:
            raise ValueError("a CLOSE frame without a code cannot carry a message")
        return b""
    if not is_sendable_close_code(code):
        raise ValueError(f"close code {int(code)} must not be sent: 1000-1003, 1007-1014 and 3000-4999 may be")
    if len(message) > MAX_REASON:
        raise ValueError(f"a close message has at most {MAX_REASON} bytes, got {len(message)}")
    bytes(message).decode()
    return int(code).to_bytes(2, "big") + message


def parse_close_payload(payload: Union[bytes, bytearray]) -> WSCloseInfo:
    """What the peer's CLOSE frame says; WSProtocolError where RFC 6455 5.5.1 or 7.4 forbids it."""
    if not payload:
        return WSCloseInfo(WSCloseCode.NO_INFO, None)
    if len(payload) == 1:
        raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "CLOSE frame with a payload of 1 byte")
    code = int.from_bytes(payload[:2], "big")
    if not is_sendable_close_code(code):
        raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, f"CLOSE frame with invalid code {code}")
    try:
        reason = payload[2:].decode()
    except UnicodeDecodeError:
        raise WSProtocolError(WSCloseCode.INVALID_TEXT, "CLOSE frame whose reason is not UTF-8") from None
    return WSCloseInfo(WSCloseCode(code), reason)


def truncated_reason(text: str) -> bytes:
    """A reason cut to the 123 bytes that fit into a CLOSE frame, at a character boundary."""
    return text.encode("utf-8", "replace")[:MAX_REASON].decode("utf-8", "ignore").encode()
