"""Frames cut out of a stream of bytes (RFC 6455 5.2), in whatever pieces the bytes arrive.

What waits is kept as `bytes`: pieces are collected in a list until the frame is complete, and then joined once. So the
work is linear however small the pieces are, and a read that ends with a frame copies its payload only. Small pieces
are put together as they come, because an object for each would take many times the memory of its bytes.

A frame that cannot become valid is refused with its header, not after its payload: the size that it announces is the
peer's choice.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import _masking
from .exceptions import PayloadTooBig, ProtocolError
from .frames import Frame, Opcode
from .typing import BytesLike

_OPCODES = {int(opcode): opcode for opcode in Opcode}
_MAX_CONTROL_SIZE = 125  # RFC 6455 5.5
#: Below this size a copy costs less than a memoryview.
_VIEW_SIZE = 4096
#: Pieces below this size do not remain objects of their own.
_PIECE_SIZE = 4096


class FrameReader:
    """Reads the frames of one peer.

    Args:
        masked: whether it masks its frames, as clients must and servers must not.
    """

    __slots__ = ("_at", "_data", "_masked", "_missing", "_pieces")

    def __init__(self, masked: bool) -> None:
        self._masked = masked
        self._data = b""
        #: Where the next frame begins in `_data`.
        self._at = 0
        #: What came after `_data`; and how many more bytes must come before it is worth looking again.
        self._pieces: list[bytes | bytearray] = []
        self._missing = 0

    def feed(self, data: BytesLike) -> None:
        """Add bytes; they are copied unless they are `bytes`."""
        if type(data) is not bytes:
            data = bytes(memoryview(data))
        self._missing -= len(data)
        if self._missing > 0 or self._pieces:
            self._keep(data)
        elif self._at == len(self._data):
            self._data, self._at = data, 0
        else:
            self._data, self._at = self._data[self._at :] + data, 0

    def _keep(self, data: bytes) -> None:
        pieces = self._pieces
        if len(data) >= _PIECE_SIZE:
            pieces.append(data)
        elif pieces and isinstance(pieces[-1], bytearray):
            pieces[-1] += data
        else:
            pieces.append(bytearray(data))

    def read(self, max_size: int | None, allows_reserved_bits: bool) -> Frame | None:
        """Take the next frame.

        Args:
            max_size: how many bytes its payload may have; None for no limit.
            allows_reserved_bits: whether there are extensions, which give RSV1 to RSV3 a meaning.

        Returns:
            The frame, its payload unmasked; None while it is not complete.

        Raises:
            PayloadTooBig: it announces more than `max_size` bytes.
            ProtocolError: RFC 6455 5 does not allow it. Do not read on after an error.
        """
        if self._missing > 0:
            return None
        if self._pieces:
            self._data = b"".join((self._data[self._at :], *self._pieces))
            self._at = 0
            self._pieces.clear()
        data, at = self._data, self._at
        available = len(data) - at
        if available < 2:
            self._missing = 2 - available
            return None
        first, second = data[at], data[at + 1]
        opcode = _OPCODES.get(first & 15)
        size = second & 127
        if opcode is None or (second > 127) is not self._masked:
            raise _header_error(first)
        head = 2
        if size > _MAX_CONTROL_SIZE:
            head = 4 if size == 126 else 10
            if available < head:
                self._missing = head - available
                return None
            size = int.from_bytes(data[at + 2 : at + head], "big")
        if max_size is not None and size > max_size:
            raise PayloadTooBig(size, max_size)
        if first & 0x70 and not allows_reserved_bits:
            raise ProtocolError("reserved bits must be 0")
        if opcode >= 8:
            _check_control(first, size)
        if self._masked:
            head += 4
        end = head + size
        if available < end:
            self._missing = end - available
            return None
        if self._masked:
            view = data[at + head : at + end] if size < _VIEW_SIZE else memoryview(data)[at + head : at + end]
            payload = _masking.apply(view, data[at + head - 4 : at + head])
        else:
            payload = data[at + head : at + end]
        self._at = at + end
        return Frame(opcode, payload, first > 127, first & 0x40 != 0, first & 0x20 != 0, first & 0x10 != 0)

    def end(self) -> EOFError:
        """The error that says where the stream ended."""
        for expected in self._steps():
            if expected[0] < expected[1]:
                return EOFError(f"stream ends after {expected[0]} bytes, expected {expected[1]} bytes")
        return EOFError("unexpected end of stream")

    @property
    def remainder(self) -> bytes:
        """What is not read yet."""
        return b"".join((self._data[self._at :], *self._pieces))

    def clear(self) -> None:
        """Drop what is not read yet."""
        self._data, self._at, self._missing = b"", 0, 0
        self._pieces.clear()

    def _steps(self) -> Iterator[tuple[int, int]]:
        """How many bytes there are of each part of the frame that is not complete, and how many it needs."""
        data = self.remainder
        if not data:
            return
        yield len(data), 2
        size, at = data[1] & 127, 2
        if size > _MAX_CONTROL_SIZE:
            extension = 2 if size == 126 else 8
            yield len(data) - at, extension
            size, at = int.from_bytes(data[at : at + extension], "big"), at + extension
        if self._masked:
            yield len(data) - at, 4
            at += 4
        yield len(data) - at, size


def _header_error(first: int) -> ProtocolError:
    try:
        Opcode(first & 15)
    except ValueError as exc:
        error = ProtocolError("invalid opcode")
        error.__cause__ = exc
        return error
    return ProtocolError("incorrect masking")


def _check_control(first: int, size: int) -> None:
    if size > _MAX_CONTROL_SIZE:
        raise ProtocolError("control frame too long")
    if first < 128:
        raise ProtocolError("fragmented control frame")
