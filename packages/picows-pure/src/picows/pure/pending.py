"""A large frame that has not arrived completely, and the memory that it arrives in.

A header must not be able to use the memory that it announces, and a large frame is to be read into place, without a
buffer that grows. So the memory is reserved at once and used as the bytes come: a page of a private mapping is there
when something is written to it, while `bytearray(size)` writes its zeros. A bytearray is the faster of the two, and it
is for frames that are small, or of which half is there already. A thread keeps the last mapping (see `pool`), because
most of what one costs is its pages.

Rejected: a bytearray that grows with what has come (it cannot while the event loop has a view of it), reads of a
limited size that are joined at the end (as many calls as there are reads, and everything is there twice).
"""

from __future__ import annotations

import sys
from typing import Any, Callable, Optional, Union

from ..enums import WSCloseCode
from ..errors import WSProtocolError
from .frame import FIN
from .mask import mask
from .pool import current_pool
from .strict import MessageState

#: A frame up to this size has its memory at once.
_RESIDENT = 48 * 1024


class Pending:
    """A frame whose header is known and whose payload has not arrived completely.

    Args:
        first: the first byte of its header.
        key: its masking key, read as a little-endian integer; None if it is not masked.
        size: the announced size of its payload.
        arrived: how many bytes of it there are already.
        state: where the payload is text that must be validated as it arrives.

    Raises:
        WSProtocolError: 1009, there is no memory for it.
    """

    __slots__ = ("first", "key", "payload", "filled", "rest", "_state", "_decoded", "_mapping")

    def __init__(self, first: int, key: Optional[int], size: int, arrived: int, state: Optional[MessageState]) -> None:
        self.first = first
        self.key = key
        self._mapping: Any = None
        try:
            if size <= max(_RESIDENT, 2 * arrived):
                self.payload = memoryview(bytearray(size))
            else:
                self._mapping = current_pool().take_mapping(size) or new_mapping(size)
                self.payload = memoryview(self._mapping)[:size]
        except (MemoryError, OSError, OverflowError):
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, f"no memory for a frame of {size} bytes") from None
        self.filled = 0
        #: What is still to be read into.
        self.rest = self.payload
        self._state = state
        self._decoded = 0

    def advance(self, count: int) -> bool:
        """`count` more bytes were read into `rest`; True if that was all."""
        self.filled += count
        self.rest = self.rest[count:]
        if self._state is not None:
            self._validate(self._state)
        return not self.rest

    def _validate(self, state: MessageState) -> None:
        """Unmask and decode what has arrived: UTF-8 fails at its first bad byte, not at the end of the frame."""
        start, stop = self._decoded, self.filled
        piece = bytes(self.payload[start:stop])
        if self.key is not None:
            piece = mask(piece, _rotate(self.key, start & 3))
            self.payload[start:stop] = piece
        self._decoded = stop
        state.decode(piece, not self.rest and bool(self.first & FIN))

    def finish(self) -> Union[bytes, bytearray]:
        """The unmasked payload. The frame is not pending any more."""
        payload: Union[bytes, bytearray]
        if self.key is not None and self._state is None:
            payload = mask(self.payload, self.key)
        elif self._mapping is None:
            payload = self.payload.obj  # type: ignore[assignment]  # the bytearray
        else:
            payload = bytes(self.payload)
        self.payload = self.rest = self.rest[:0]
        if self._mapping is not None:
            current_pool().keep_mapping(self._mapping)
        return payload


def _load_mapping() -> Callable[[int], Any]:
    try:
        import mmap
    except ImportError:  # WASI
        return bytearray
    if sys.platform == "win32":
        return lambda size: mmap.mmap(-1, size)
    # A shared one, which is the default, would be a file in memory, and the child of a fork would write to it.
    return lambda size: mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


#: Memory of so many bytes that is used as it is written to; a bytearray where there is no such thing.
new_mapping = _load_mapping()


def _rotate(key: int, count: int) -> int:
    """The key as it continues after `count` bytes, 0 to 3."""
    bits = count << 3
    return (key >> bits | key << (32 - bits)) & 0xFFFFFFFF
