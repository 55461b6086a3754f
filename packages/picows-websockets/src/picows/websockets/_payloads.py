"""What users send, as bytes."""

from __future__ import annotations

from .exceptions import ProtocolError
from .frames import CLOSE, Close, CloseCode, Frame
from .typing import BytesLike, DataLike


def encode_fragment(fragment: str | BytesLike) -> BytesLike:
    """The payload of a frame of a fragmented message."""
    return fragment.encode() if isinstance(fragment, str) else fragment


def control_payload(data: DataLike) -> bytes:
    """The payload of a ping or pong.

    Raises:
        TypeError: data is neither str nor bytes-like.
        ProtocolError: it is too long (RFC 6455 5.5).
    """
    if isinstance(data, str):
        payload = data.encode()
    elif isinstance(data, BytesLike):
        payload = bytes(data)
    else:
        raise TypeError("data must be str or bytes-like")
    if len(payload) > 125:
        raise ProtocolError("control frame too long")
    return payload


def check_goodbye(code: CloseCode | int, reason: str) -> None:
    """Raise ProtocolError if connections cannot be closed with this code and reason."""
    Frame(CLOSE, Close(code, reason).serialize()).check()
