"""Frames put into bytes, one at a time (RFC 6455 5.2)."""

from __future__ import annotations

import os

from picows.frame_header import frame_header

from . import _masking
from .typing import BytesLike


def encode_frame(first: int, data: BytesLike, masked: bool) -> bytes:
    """A frame that needs no check, and that no extension changes."""
    if not masked:
        return b"".join((frame_header(first, len(data)), data))
    head = bytearray(frame_header(first, len(data)))
    head[1] |= 0x80
    key = os.urandom(4)
    return b"".join((head, key, _masking.apply(data, key)))


def as_bytes_like(data: BytesLike) -> BytesLike:
    """Something that can be joined with bytes. Raises TypeError for what a payload cannot be."""
    if isinstance(data, (bytes, bytearray)):
        return data
    if not isinstance(data, memoryview):
        raise TypeError(f"data must be bytes, bytearray or memoryview, not {type(data).__name__}")
    return data if data.c_contiguous and data.itemsize == 1 else bytes(data)
