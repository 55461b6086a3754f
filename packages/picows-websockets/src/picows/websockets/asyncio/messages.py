"""Frames to messages, for who has frames but no connection: the Assembler that connections themselves do not use.

The queue of a connection is the engine's (`WSMessageListener`). This one is for code that imports the class from here.
"""

from __future__ import annotations

import asyncio
import codecs
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from .._limits import MAX_FRAGMENTS, check_limits
from ..exceptions import ConcurrencyError, TooManyFragments
from ..frames import DATA_OPCODES, TEXT, Frame
from ..typing import Data

__all__ = ["Assembler"]

_new_decoder = codecs.getincrementaldecoder("utf-8")


class Assembler:
    """A queue of frames that is read in messages.

    Args:
        high: more frames than this in the queue call `pause`; None never does.
        low: `resume` is called when there are so few again; a quarter of `high` by default.
        pause: stops who puts frames.
        resume: lets them go on.

    Raises:
        ValueError: the limits are negative, or in the wrong order.
    """

    def __init__(
        self,
        high: int | None = None,
        low: int | None = None,
        pause: Callable[[], Any] = lambda: None,
        resume: Callable[[], Any] = lambda: None,
    ) -> None:
        self.high, self.low = check_limits(high, low)
        self.pause = pause
        self.resume = resume
        self.paused = False
        self.closed = False
        self._frames: deque[Frame] = deque()
        self._arrival: asyncio.Future[None] | None = None
        self._is_busy = False

    async def get(self, decode: bool | None = None) -> Data:
        """Take a message. Cancelling it loses nothing.

        Args:
            decode: True returns str, False bytes; None str for text and bytes for binary messages.

        Raises:
            EOFError: the queue was closed and has no whole message.
            ConcurrencyError: somebody else is taking a message.
            TooManyFragments: it has more frames than WEBSOCKETS_MAX_FRAGMENTS; those are dropped.
        """
        self._begin("get")
        taken: list[Frame] = []
        try:
            while not taken or not taken[-1].fin:
                taken.append(await self._take())
                if len(taken) > MAX_FRAGMENTS:
                    raise TooManyFragments(MAX_FRAGMENTS)
        except TooManyFragments:
            raise
        except BaseException:
            self._frames.extendleft(reversed(taken))
            raise
        finally:
            self._is_busy = False
        data = b"".join(frame.data for frame in taken)
        is_text = taken[0].opcode is TEXT if decode is None else decode
        return data.decode() if is_text else data

    async def get_iter(self, decode: bool | None = None) -> AsyncIterator[Data]:
        """Take a message frame by frame; arguments and errors as for `get`."""
        self._begin("get_iter")
        try:
            frame = await self._take()
        except BaseException:
            self._is_busy = False
            raise
        is_text = frame.opcode is TEXT if decode is None else decode
        decoder = _new_decoder()
        while True:
            yield decoder.decode(frame.data, frame.fin) if is_text else bytes(frame.data)
            if frame.fin:
                break
            frame = await self._take()
        self._is_busy = False

    def put(self, frame: Frame) -> None:
        """Append a frame; control frames are passed over.

        Raises:
            EOFError: the queue is closed.
        """
        if self.closed:
            raise EOFError("stream of frames ended")
        if frame.opcode not in DATA_OPCODES:
            return
        self._frames.append(frame)
        self._wake()
        self.maybe_pause()

    def maybe_pause(self) -> None:
        """Call `pause` if there are too many frames."""
        if self.high is not None and len(self._frames) > self.high and not self.paused:
            self.paused = True
            self.pause()

    def maybe_resume(self) -> None:
        """Call `resume` if there are few enough."""
        if self.low is not None and len(self._frames) <= self.low and self.paused:
            self.paused = False
            self.resume()

    def close(self) -> None:
        """End the queue: what is there can still be taken."""
        self.closed = True
        self._wake()

    def _begin(self, method: str) -> None:
        if self._is_busy:
            raise ConcurrencyError(f"{method} is called while another coroutine is already running get or get_iter")
        self._is_busy = True

    async def _take(self) -> Frame:
        while not self._frames:
            if self.closed:
                raise EOFError("stream of frames ended")
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        frame = self._frames.popleft()
        self.maybe_resume()
        return frame

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
