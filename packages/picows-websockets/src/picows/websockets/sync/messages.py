"""Frames of messages on their way from the thread that reads to the thread that receives."""

from __future__ import annotations

import codecs
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .._limits import MAX_FRAGMENTS, check_limits
from ..exceptions import ConcurrencyError, TooManyFragments
from ..frames import TEXT, Frame
from ..typing import Data
from .utils import Deadline

__all__ = ["Assembler"]

_new_decoder = codecs.getincrementaldecoder("utf-8")


def _nothing() -> None:
    return None


class Assembler:
    """A queue of frames that gives messages.

    One thread puts frames, one at a time gets messages.

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
        self._mutex = threading.Lock()
        # None at the end. SimpleQueue wakes without running Python, unlike a Condition.
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        #: Frames of a message whose end did not come in time.
        self._returned: deque[Frame] = deque()

    def get_next_frame(self, timeout: float | None = None) -> Frame:
        """Take a frame.

        Args:
            timeout: seconds to wait; None for ever.

        Raises:
            EOFError: there are no more.
            TimeoutError: none came.
        """
        if self._returned:
            return self._returned.popleft()
        try:
            frame = self._frames.get(timeout is None or timeout > 0, timeout)
        except queue.Empty:
            raise TimeoutError(f"timed out in {timeout:.1f}s") from None
        if frame is None:
            self._frames.put(None)
            raise EOFError("stream of frames ended")
        return frame

    def reset_queue(self, frames: Iterable[Frame]) -> None:
        """Put frames back, to be the next ones."""
        self._returned.extendleft(reversed(list(frames)))

    def get(self, timeout: float | None = None, decode: bool | None = None) -> Data:
        """Take a message.

        Args:
            timeout: seconds to wait for all of it; None for ever.
            decode: True returns str, False bytes; None what was sent.

        Raises:
            EOFError: there are no more.
            ConcurrencyError: another thread is getting one.
            TimeoutError: it did not come.
            TooManyFragments: it has more than WEBSOCKETS_MAX_FRAGMENTS.
            UnicodeDecodeError: it is not UTF-8.
        """
        self._begin()
        try:
            frame = self.get_next_frame(timeout)
            self.maybe_resume()
            is_text = frame.opcode is TEXT if decode is None else decode
            data = bytes(frame.data) if frame.fin else self._get_rest(frame, timeout)
        finally:
            self.get_in_progress = False
        return data.decode() if is_text else data

    def _get_rest(self, frame: Frame, timeout: float | None) -> bytes:
        deadline = Deadline(timeout)
        frames = [frame]
        while not frame.fin:
            try:
                frame = self.get_next_frame(deadline.timeout(raise_if_elapsed=False))
            except (TimeoutError, EOFError) as exc:
                self.reset_queue(frames)
                if isinstance(exc, TimeoutError):
                    raise TimeoutError(f"timed out in {timeout:.1f}s") from None
                raise
            self.maybe_resume()
            frames.append(frame)
            if len(frames) > MAX_FRAGMENTS:
                raise TooManyFragments(MAX_FRAGMENTS)
        return b"".join([frame.data for frame in frames])

    def get_iter(self, decode: bool | None = None) -> Iterator[Data]:
        """Take a message fragment by fragment. Once begun, it must be iterated to the end before the next message.

        Args:
            decode: True yields str, False bytes; None what was sent.

        Raises:
            EOFError: there are no more.
            ConcurrencyError: another thread is getting one, or the last one was not iterated to its end.
            UnicodeDecodeError: it is not UTF-8.
        """
        self._begin()
        try:
            frame = self.get_next_frame()
        except BaseException:
            self.get_in_progress = False
            raise
        self.maybe_resume()
        decoder = _new_decoder() if (frame.opcode is TEXT if decode is None else decode) else None
        while True:
            yield bytes(frame.data) if decoder is None else decoder.decode(frame.data, frame.fin)
            if frame.fin:
                break
            frame = self.get_next_frame()
            self.maybe_resume()
        self.get_in_progress = False

    def put(self, frame: Frame) -> None:
        """Add a frame.

        Raises:
            EOFError: after `close`.
        """
        if self.closed:
            raise EOFError("stream of frames ended")
        self._frames.put(frame)
        if self.high is not None:
            self.maybe_pause()

    def maybe_pause(self) -> None:
        """Call `pause` if there are too many frames."""
        with self._mutex:
            if self.high is not None and not self.paused and self._size() > self.high:
                self.paused = True
                self.pause()

    def maybe_resume(self) -> None:
        """Call `resume` if there are few frames again."""
        if self.paused:
            with self._mutex:
                if self.paused and self.low is not None and self._size() <= self.low:
                    self.paused = False
                    self.resume()

    def lift_limits(self) -> None:
        """Never pause again: the end of the stream is near, and must be reached."""
        with self._mutex:
            self.high = None
            if self.paused:
                self.paused = False
                self.resume()

    def close(self) -> None:
        """End the stream. What is in the queue can still be had. Idempotent."""
        if not self.closed:
            self.closed = True
            self._frames.put(None)
            self.lift_limits()

    def _size(self) -> int:
        return self._frames.qsize() + len(self._returned)

    def _begin(self) -> None:
        with self._mutex:
            if self.get_in_progress:
                raise ConcurrencyError("get() or get_iter() is already running")
            self.get_in_progress = True
