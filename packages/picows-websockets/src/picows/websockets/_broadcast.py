"""What the broadcasts of the APIs have in common: the message."""

from __future__ import annotations

from .typing import BytesLike, DataLike


def encode_message(message: DataLike, text: bool | None) -> tuple[BytesLike, bool]:
    """The bytes to send, and whether they are text.

    Raises:
        TypeError: the message is neither str nor bytes-like.
    """
    if isinstance(message, str):
        return message.encode(), text is None or text
    if isinstance(message, (bytes, bytearray, memoryview)):
        return message, bool(text)
    raise TypeError("data must be str or bytes")
