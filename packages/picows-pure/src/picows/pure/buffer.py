"""MemoryBuffer: a growable byte buffer that upstream exposes; kept for code that uses it."""

from __future__ import annotations


class MemoryBuffer:
    """Bytes that can grow. `size` bytes are in use, `capacity` are there.

    Args:
        capacity: how many bytes to begin with.
    """

    __slots__ = ("_data", "_size")

    def __init__(self, capacity: int = 0) -> None:
        self._data = bytearray(capacity)
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes in use."""
        return self._size

    @property
    def capacity(self) -> int:
        """Bytes that are there."""
        return len(self._data)

    def resize(self, size: int) -> None:
        """Use `size` bytes, growing if needed; the content stays."""
        if size < 0:
            raise ValueError(f"size must not be negative, got {size}")
        if size > len(self._data):
            self._data.extend(bytes(max(size, 2 * len(self._data)) - len(self._data)))
        self._size = size

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self._data)[: self._size]
