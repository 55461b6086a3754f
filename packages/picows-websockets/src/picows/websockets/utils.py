"""Small things that several modules need: handshake keys, masking, names of sockets."""

from __future__ import annotations

import base64
import os
import socket

from picows import handshake

from . import _masking
from .typing import BytesLike

__all__ = ["accept_key", "apply_mask", "get_socket_name"]

#: RFC 6455 1.3.
GUID = handshake.GUID.decode("ascii")


def generate_key() -> str:
    """A new Sec-WebSocket-Key (RFC 6455 4.1)."""
    return base64.b64encode(os.urandom(16)).decode("ascii")


def accept_key(key: str) -> str:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455 4.2.2)."""
    return handshake.accept_key(key.encode())


def apply_mask(data: BytesLike, mask: bytes | bytearray) -> bytes:
    """Mask, or unmask, a payload (RFC 6455 5.3).

    Args:
        data: the payload; it is not changed.
        mask: the four bytes of the masking key.

    Returns:
        As many new bytes.

    Raises:
        ValueError: `mask` is not four bytes long.
        TypeError: an argument is not bytes.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"data must be bytes, bytearray or memoryview, not {type(data).__name__}")
    if not isinstance(mask, (bytes, bytearray)):
        raise TypeError(f"mask must be bytes or bytearray, not {type(mask).__name__}")
    if len(mask) != 4:
        raise ValueError("mask must contain 4 bytes")
    if isinstance(data, memoryview) and not (data.c_contiguous and data.itemsize == 1):
        data = bytes(data)
    return _masking.apply(data, bytes(mask))


def get_socket_name(sock: socket.socket) -> str:
    """Where a socket listens, for logs: `host:port`, `[host]:port`, or the path of a Unix socket.

    Raises:
        ValueError: the socket is of another family.
    """
    name = sock.getsockname()
    if sock.family == socket.AF_INET:
        return f"{name[0]}:{name[1]}"
    if sock.family == socket.AF_INET6:
        return f"[{name[0]}]:{name[1]}"
    if sock.family == getattr(socket, "AF_UNIX", None):
        return os.fsdecode(name)
    raise ValueError(f"unsupported socket family {sock.family!r}")
