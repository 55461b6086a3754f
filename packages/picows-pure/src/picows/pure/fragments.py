"""Messages in pieces, for `messages`: those that wait to be received, and the one that is being sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Union

from ..abc import WSBuffer

if TYPE_CHECKING:
    from .sending import MessageSender


class Fragment:
    """Some consecutive frames of a message."""

    __slots__ = ("is_text", "data", "text", "is_first", "is_last", "frames", "total", "is_joined")

    def __init__(self, is_text: bool, data: Any, text: Optional[str], is_first: bool, is_last: bool) -> None:
        self.is_text = is_text
        self.data: Union[bytes, bytearray] = data
        self.text = text
        self.is_first = is_first
        self.is_last = is_last
        #: How many of its frames count for `max_queue`.
        self.frames = 1
        #: How many it is made of.
        self.total = 1
        self.is_joined = False

    def join(self, data: Union[bytes, bytearray], is_last: bool, frames: int = 1, total: int = 1) -> None:
        """Append what follows; `frames` and `total` are its own."""
        if not self.is_joined:
            self.data = bytearray(self.data)  # a copy: views of the frame's payload may have been kept
            self.is_joined = True
        self.data += data
        self.text = None
        self.is_last = is_last
        self.frames += frames
        self.total += total


class FragmentSender:
    """The state of one `send_fragments`."""

    __slots__ = ("_listener", "_text", "_is_str", "opcode", "is_first")

    def __init__(self, listener: MessageSender, text: Optional[bool]) -> None:
        self._listener = listener
        self._text = text
        self._is_str = False
        self.opcode = listener._opcode(b"", text)
        self.is_first = True

    async def send(self, fragment: WSBuffer) -> None:
        """Send one fragment, then wait until the write buffer has room for more."""
        is_str = isinstance(fragment, str)
        if self.is_first:
            self._is_str, self.opcode = is_str, self._listener._opcode(fragment, self._text)
        elif is_str is not self._is_str:
            raise TypeError("the fragments of a message must be all str or all bytes-like")
        if fragment is None:
            raise TypeError("a message must be str or bytes-like, got None")
        if not self._listener._send_frame(fragment, self.opcode, self.is_first, False):
            await self._listener._refuse_send()
        self.is_first = False
        await self._listener._wait_for_drain()
