"""What one side wants of permessage-deflate, and what both have agreed on (RFC 7692 7.1)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Optional, Union

MIN_WINDOW_BITS = 9
MAX_WINDOW_BITS = 15

SERVER_NO_CONTEXT = "server_no_context_takeover"
CLIENT_NO_CONTEXT = "client_no_context_takeover"
SERVER_BITS = "server_max_window_bits"
CLIENT_BITS = "client_max_window_bits"


@dataclass(frozen=True)
class DeflateParameters:
    """What both sides agreed on (RFC 7692 7.1). Window sizes are the base-2 logarithm of bytes."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = MAX_WINDOW_BITS
    client_max_window_bits: int = MAX_WINDOW_BITS


@dataclass(frozen=True)
class DeflateOptions:
    """What one side wants. The defaults suit a client; `SERVER_DEFLATE` suits a server.

    Attributes:
        server_no_context_takeover: the server forgets its window after each message.
        client_no_context_takeover: the client forgets its window after each message.
        server_max_window_bits: limit of the server's window, 9 to 15. None: no limit is asked for.
        client_max_window_bits: limit of the client's window, 9 to 15. On a client None means that the server may not
            limit it and True that it may; on a server both mean that no limit is asked for.
        require_client_max_window_bits: a server declines clients whose window it cannot limit.
        level: zlib's compression level, -1 (zlib's choice) to 9.
        mem_level: zlib's memory level, 1 to 9. A compressor takes 2**(window bits + 2) + 2**(mem_level + 9) bytes.
        threshold: messages shorter than this many bytes are sent uncompressed.

    Raises:
        TypeError: an option is of the wrong type.
        ValueError: an option is out of range.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: Optional[int] = None
    client_max_window_bits: Union[int, bool, None] = True
    require_client_max_window_bits: bool = False
    level: int = zlib.Z_DEFAULT_COMPRESSION
    mem_level: int = 5
    threshold: int = 0

    def __post_init__(self) -> None:
        for name in (SERVER_NO_CONTEXT, CLIENT_NO_CONTEXT, "require_client_max_window_bits"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, got {type(getattr(self, name)).__name__}")
        if self.server_max_window_bits is not None:
            _check_int(SERVER_BITS, self.server_max_window_bits, MIN_WINDOW_BITS, MAX_WINDOW_BITS)
        if self.client_max_window_bits is not None and self.client_max_window_bits is not True:
            _check_int(CLIENT_BITS, self.client_max_window_bits, MIN_WINDOW_BITS, MAX_WINDOW_BITS)
        _check_int("level", self.level, -1, 9)
        _check_int("mem_level", self.mem_level, 1, 9)
        _check_int("threshold", self.threshold, 0, None)
        if self.require_client_max_window_bits and limit_of(self.client_max_window_bits) is None:
            got = self.client_max_window_bits
            raise ValueError(f"require_client_max_window_bits needs a number as {CLIENT_BITS}, got {got}")


def _check_int(name: str, value: object, low: int, high: Optional[int]) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if value < low or (high is not None and value > high):
        allowed = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"{name} must be {allowed}, got {value}")


def limit_of(bits: Union[int, bool, None]) -> Optional[int]:
    """The number in a window option, or None where it asks for no limit."""
    return None if bits is None or bits is True else int(bits)


CLIENT_DEFLATE = DeflateOptions()
#: Windows of 4 KiB, because a server has many connections.
SERVER_DEFLATE = DeflateOptions(server_max_window_bits=12, client_max_window_bits=12)
