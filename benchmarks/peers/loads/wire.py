"""Just enough RFC 6455 for load generators: prebuilt frames and both sides of the upgrade on blocking sockets."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
import ssl
import struct
import zlib
from typing import Optional

KEY = base64.b64encode(bytes(range(16)))
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ACCEPT = base64.b64encode(hashlib.sha1(KEY + GUID).digest())
DEFLATE_OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
CLOSE_1000 = b"\x88\x82" + bytes(4) + b"\x03\xe8"
"""A masked CLOSE with code 1000; the masking key is zero, which is as good a key as any here."""


def build_frame(payload: bytes, masked: bool, first: int = 0x82) -> bytes:
    """Returns: one complete frame; `first` is its first byte, by default a final BINARY."""
    size, bit = len(payload), 0x80 if masked else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    cover = (mask * (size // 4 + 1))[:size]
    covered = int.from_bytes(payload, "big") ^ int.from_bytes(cover, "big")
    return head + mask + covered.to_bytes(size, "big")


def build_deflated(payload: bytes, bits: int = 9, first: int = 0xC2) -> bytes:
    """Returns: a masked frame compressed per RFC 7692, by default with a window that any negotiation allows."""
    packer = zlib.compressobj(wbits=-bits)
    packed = packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)
    return build_frame(packed[:-4], masked=True, first=first)


def echoed_size(size: int) -> int:
    """Returns: bytes of an unmasked frame with that payload."""
    return size + (2 if size < 126 else 4 if size < 65536 else 10)


def upgrade_request(port: int, extra: bytes = b"") -> bytes:
    """Returns: a client's upgrade request, with the header fields that common clients send."""
    return (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%sUser-Agent: picows-benchmark\r\n\r\n"
    ) % (port, KEY, extra)


def check_response(head: bytes) -> None:
    """Raises: ConnectionError unless this is a 101 with the right accept value."""
    if not head.startswith(b"HTTP/1.1 101 ") or ACCEPT not in head:
        raise ConnectionError(f"the server under test answered {head[:200]!r}, wanted a 101")


def connect(port: int, extra: bytes = b"", context: Optional[ssl.SSLContext] = None) -> socket.socket:
    """Returns: a blocking socket, upgraded; encrypted if there is a context."""
    return _upgrade(port, extra, context)[0]


def connect_deflate(port: int) -> tuple[socket.socket, str]:
    """Returns: a blocking socket, upgraded with permessage-deflate, and the parameters that the server chose."""
    sock, head = _upgrade(port, DEFLATE_OFFER)
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    return sock, next(v for name, _, v in lines if name.lower() == b"sec-websocket-extensions").decode().strip()


def client_bits(agreed: str) -> int:
    """Returns: the window that a client may use for compression, in bits (RFC 7692, section 7.1.2.2)."""
    found = re.search(r"client_max_window_bits\s*=\s*\"?(\d+)", agreed)
    return int(found[1]) if found else 15


def _upgrade(port: int, extra: bytes, context: Optional[ssl.SSLContext] = None) -> tuple[socket.socket, bytes]:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is not None:
        sock = context.wrap_socket(sock, server_hostname="127.0.0.1")
    sock.sendall(upgrade_request(port, extra))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = sock.recv(4096)
        if not more:
            raise ConnectionError(f"the server under test hung up after {head[:200]!r}")
        head += more
    check_response(head)
    if extra and b"permessage-deflate" not in head:
        raise ConnectionError("the server under test did not accept permessage-deflate")
    return sock, head


def accept(listener: socket.socket) -> socket.socket:
    """Returns: the next connection, with its upgrade answered."""
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(4096)
    key = next(
        line.split(b":", 1)[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")
    )
    digest = hashlib.sha1(key + GUID).digest()
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % base64.b64encode(digest)
    )
    return sock


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """Returns: exactly so many bytes. Raises: ConnectionError at the end of the stream."""
    data = bytearray(size)
    view, have = memoryview(data), 0
    while have < size:
        more = sock.recv_into(view[have:])
        if not more:
            raise ConnectionError(f"the server under test hung up after {have} of {size} bytes")
        have += more
    return bytes(data)


def read_frame(sock: socket.socket) -> bytes:
    """Returns: the payload of the next unmasked frame, as it is on the wire."""
    size = read_exactly(sock, 2)[1]
    if size == 126:
        size = int.from_bytes(read_exactly(sock, 2), "big")
    elif size == 127:
        size = int.from_bytes(read_exactly(sock, 8), "big")
    return read_exactly(sock, size)
