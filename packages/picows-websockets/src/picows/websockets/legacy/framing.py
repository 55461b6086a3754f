"""Frames as tuples, and what goes into them: the frames of today (`frames`) with the methods of before.

Connections do not use them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, NamedTuple

from .. import extensions, frames
from ..typing import BytesLike, DataLike


class Frame(NamedTuple):
    """A frame.

    Attributes:
        fin: whether it ends the message.
        opcode: what it is.
        data: the payload, unmasked.
        rsv1: reserved bit 1.
        rsv2: reserved bit 2.
        rsv3: reserved bit 3.
    """

    fin: bool
    opcode: frames.Opcode
    data: BytesLike
    rsv1: bool = False
    rsv2: bool = False
    rsv3: bool = False

    @property
    def new_frame(self) -> frames.Frame:
        """The same as a frame of today."""
        return frames.Frame(self.opcode, self.data, self.fin, self.rsv1, self.rsv2, self.rsv3)

    def __str__(self) -> str:
        return str(self.new_frame)

    def check(self) -> None:
        """Raise ProtocolError if RFC 6455 does not allow this frame, extensions aside."""
        self.new_frame.check()

    @classmethod
    async def read(
        cls,
        reader: Callable[[int], Awaitable[bytes]],
        *,
        mask: bool,
        max_size: int | None = None,
        extensions: Sequence[extensions.Extension] | None = None,
    ) -> Frame:
        """Read a frame.

        Args:
            reader: a coroutine function that reads that many bytes, such as `StreamReader.readexactly`.
            mask: whether the frame must be masked, as those of clients are, or must not.
            max_size: how large the payload may be, in bytes; None for no limit.
            extensions: applied to the frame, last one first.

        Raises:
            PayloadTooBig: it is larger than `max_size`.
            ProtocolError: RFC 6455 does not allow it.
            Exception: what `reader` raises.
        """
        parser: Any = frames.Frame.parse(_ask, mask=mask, max_size=max_size, extensions=extensions)  # type: ignore[arg-type]
        size = next(parser)
        while True:
            data = await reader(size)
            try:
                size = parser.send(data)
            except StopIteration as stop:
                frame: frames.Frame = stop.value
                return cls(frame.fin, frame.opcode, frame.data, frame.rsv1, frame.rsv2, frame.rsv3)

    def write(
        self,
        write: Callable[[bytes], Any],
        *,
        mask: bool,
        extensions: Sequence[extensions.Extension] | None = None,
    ) -> None:
        """Write the frame.

        Args:
            write: called once, with all of it.
            mask: whether to mask it, as clients must.
            extensions: applied to the frame, first one first.

        Raises:
            ProtocolError: RFC 6455 does not allow this frame.
        """
        write(self.new_frame.serialize(mask=mask, extensions=extensions))


def _ask(size: int) -> Generator[int, bytes, bytes]:
    """How the parser of today asks for bytes: it yields how many."""
    return (yield size)


def prepare_data(data: DataLike) -> tuple[int, BytesLike]:
    """Opcode and payload of a message. Raises TypeError if it is neither str nor bytes-like."""
    if isinstance(data, str):
        return frames.Opcode.TEXT, data.encode()
    if isinstance(data, (bytes, bytearray, memoryview)):
        return frames.Opcode.BINARY, data
    raise TypeError("data must be str or bytes-like")


def prepare_ctrl(data: DataLike) -> bytes:
    """Payload of a ping or pong. Raises TypeError if it is neither str nor bytes-like."""
    return bytes(prepare_data(data)[1])


#: The older name.
encode_data = prepare_ctrl


def parse_close(data: bytes) -> tuple[int, str]:
    """Code and reason in the payload of a CLOSE frame. Raises what `frames.Close.parse` raises."""
    close = frames.Close.parse(data)
    return close.code, close.reason


def serialize_close(code: int, reason: str) -> bytes:
    """The payload of a CLOSE frame. Raises ProtocolError if the code may not stand there."""
    return frames.Close(code, reason).serialize()
