"""Frames of messages on their way from the task that reads to the task that receives."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any

import trio

from .._limits import MAX_FRAGMENTS, check_limits
from ..exceptions import ConcurrencyError, TooManyFragments
from ..frames import TEXT, Frame
from ..typing import Data

__all__ = ["Assembler"]

_new_decoder = codecs.getincrementaldecoder("utf-8")


def _nothing() -> None:
    return None


class Assembler:
    """A queue of frames that gives messages.

    Args:
        high: more frames than this in the queue call `pause`; None for never.
        low: so few call `resume`; a quarter of `high` by default.
        pause: called without arguments.
        resume: the same.

    Raises:
        ValueError: the limits are negative, or in the wrong order.
    """

    def __init__(
        self,
        high: int | None = None,
        low: int | None = None,
        pause: Callable[[], Any] = _nothing,
        resume: Callable[[], Any] = _nothing,
    ) -> None:
        self.high, self.low = check_limits(high, low)
        self.pause = pause
        self.resume = resume
        self.paused = False
        self.closed = False
        self.get_in_progress = False
        self._frames: deque[Frame] = deque()
        #: Set when there is a frame, or the end.
        self._arrival: trio.Event | None = None

    async def get(self, decode: bool | None = None) -> Data:
        """Take a message. Cancelling it loses nothing.

        Args:
            decode: True returns str, False bytes; None what was sent.

        Raises:
            EOFError: there are no more.
            ConcurrencyError: another task is getting one.
            TooManyFragments: it has more than WEBSOCKETS_MAX_FRAGMENTS.
            UnicodeDecodeError: it is not UTF-8.
        """
        self._begin()
        try:
            await self._wait()
            frame = self._take()
            is_text = frame.opcode is TEXT if decode is None else decode
            data = bytes(frame.data) if frame.fin else await self._get_rest(frame)
        finally:
            self.get_in_progress = False
        return data.decode() if is_text else data

    async def _get_rest(self, frame: Frame) -> bytes:
        frames = [frame]
        while not frame.fin:
            try:
                if not self._frames:
                    await self._wait()
                frame = self._take()
            except BaseException:  # the end, or cancellation: the next call begins with the message again
                self._frames.extendleft(reversed(frames))
                raise
            frames.append(frame)
            if len(frames) > MAX_FRAGMENTS:
                raise TooManyFragments(MAX_FRAGMENTS)
        return b"".join([frame.data for frame in frames])

    async def get_iter(self, decode: bool | None = None) -> AsyncGenerator[Data]:
        """Take a message fragment by fragment. Once begun, it must be iterated to the end before the next message.

        Args:
            decode: True yields str, False bytes; None what was sent.

        Raises:
            EOFError: there are no more.
            ConcurrencyError: another task is getting one, or the last one was not iterated to its end.
            UnicodeDecodeError: it is not UTF-8.
        """
        self._begin()
        try:
            await self._wait()
            frame = self._take()
        except BaseException:
            self.get_in_progress = False
            raise
        decoder = _new_decoder() if (frame.opcode is TEXT if decode is None else decode) else None
        while True:
            yield bytes(frame.data) if decoder is None else decoder.decode(frame.data, frame.fin)
            if frame.fin:
                break
            await self._wait()
            frame = self._take()
        self.get_in_progress = False

    def put(self, frame: Frame) -> None:
        """Add a frame.

        Raises:
            EOFError: after `close`.
        """
        if self.closed:
            raise EOFError("stream of frames ended")
        self._frames.append(frame)
        self._wake()
        if self.high is not None:
            self.maybe_pause()

    def maybe_pause(self) -> None:
        """Call `pause` if there are too many frames."""
        if self.high is not None and not self.paused and len(self._frames) > self.high:
            self.paused = True
            self.pause()

    def maybe_resume(self) -> None:
        """Call `resume` if there are few frames again."""
        if self.paused and self.low is not None and len(self._frames) <= self.low:
            self.paused = False
            self.resume()

    def lift_limits(self) -> None:
        """Never pause again: the end of the stream is near, and must be reached."""
        self.high = None
        if self.paused:
            self.paused = False
            self.resume()

    def close(self) -> None:
        """End the stream. What is in the queue can still be had. Idempotent."""
        self.closed = True
        self._wake()
        self.lift_limits()
        self.pause = self.resume = _nothing  # what they belong to is freed without the garbage collector then

    def _begin(self) -> None:
        if self.get_in_progress:
            raise ConcurrencyError("get() or get_iter() is already running")
        self.get_in_progress = True

    async def _wait(self) -> None:
        """Wait for a frame, or the end; lets other tasks run in any case."""
        if self._frames or self.closed:
            await trio.lowlevel.checkpoint()
        else:
            self._arrival = trio.Event()
            await self._arrival.wait()

    def _take(self) -> Frame:
        if not self._frames:
            raise EOFError("stream of frames ended")
        frame = self._frames.popleft()
        if self.paused:
            self.maybe_resume()
        return frame

    def _wake(self) -> None:
        if self._arrival is not None:
            self._arrival.set()
            self._arrival = None
