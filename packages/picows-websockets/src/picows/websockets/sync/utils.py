"""A point in time by which something must be done."""

from __future__ import annotations

import time

__all__ = ["Deadline"]


#: What the operating system can wait for at once: it counts milliseconds in 31 bits.
MAX_WAIT_S = 2_000_000.0


class Deadline:
    """A timeout that several waits share.

    Args:
        timeout: seconds from now; None for ever.

    Attributes:
        deadline: the same on the monotonic clock, or None.
    """

    __slots__ = ("deadline",)

    def __init__(self, timeout: float | None) -> None:
        self.deadline: float | None = None if timeout is None else time.monotonic() + timeout

    def timeout(self, *, raise_if_elapsed: bool = True) -> float | None:
        """Seconds that are left, or None.

        Args:
            raise_if_elapsed: False returns what may be negative.

        Raises:
            TimeoutError: none are left.
        """
        if self.deadline is None:
            return None
        left = self.deadline - time.monotonic()
        if raise_if_elapsed and left <= 0:
            raise TimeoutError("timed out")
        return min(left, MAX_WAIT_S)
