"""One timer for many deadlines that are all equally far away when they are set.

Most handshakes are completed and most closing connections end long before their time is over. A timer for each would
be made and cancelled for nothing. Here they stand in a dict, which is in the order of the deadlines because the newest
is always the latest. One timer waits for the first of them; it is not moved when that is removed, but finds the next
one when it fires. When nothing is left it is cancelled, because every turn of an asyncio loop costs 1 us more as long
as the loop has any timer. That waits for the next turn: often another one has come until then, and to make a timer
and to cancel it costs more than all the rest.
"""

from __future__ import annotations

import math
import weakref
from typing import Any, Callable, Generic, Iterator, Optional, TypeVar

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Those whose time is running. They must be hashable.

    Args:
        loop: anything with `time()`, `call_at()` and `call_soon()`.
        timeout_s: how long each has, in seconds; None is for ever.
        on_expired: called with the one whose time is over. It has been removed before.
    """

    __slots__ = (
        "__weakref__",
        "_deadlines",
        "_is_firing",
        "_is_resting",
        "_on_expired",
        "_timer",
        "loop",
        "timeout_s",
    )

    def __init__(self, loop: Any, timeout_s: Optional[float], on_expired: Callable[[T], object]) -> None:
        self.timeout_s = math.inf if timeout_s is None else timeout_s
        self.loop = loop
        self._on_expired = on_expired
        self._deadlines: dict[T, float] = {}
        self._timer: Any = None
        self._is_resting = False
        #: The timer has fired, and is set again when everybody was called whose time is over.
        self._is_firing = False

    def __iter__(self) -> Iterator[T]:
        return iter(self._deadlines)

    def add(self, one: T) -> None:
        """From now on its time is running. It must not be there already."""
        deadline = self._deadlines[one] = self.loop.time() + self.timeout_s
        if self._timer is None and deadline != math.inf and not self._is_firing:
            self._timer = self.loop.call_at(deadline, self._on_timer)

    def discard(self, one: T) -> None:
        """Its time does not matter any more. No-op if it is not there."""
        self._deadlines.pop(one, None)
        if not (self._deadlines or self._timer is None or self._is_resting):
            self._is_resting = True
            try:
                self.loop.call_soon(self._rest)
            except RuntimeError:  # the loop is closed
                self._rest()

    def _rest(self) -> None:
        self._is_resting = False
        if not self._deadlines and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        now = self.loop.time()
        expired = []
        for one, deadline in self._deadlines.items():
            if deadline > now:
                break
            expired.append(one)
        # One that is added again, as for the next ping, is later than those that still wait.
        self._is_firing = True
        try:
            for one in expired:
                # The end of one may have been the end of others.
                if self._deadlines.pop(one, None) is not None:
                    self._on_expired(one)
        finally:
            self._is_firing = False
            first = next(iter(self._deadlines.values()), None)
            if first is not None:
                self._timer = self.loop.call_at(first, self._on_timer)


class SharedDeadlines:
    """The Deadlines of one thread: they are of one loop, and as good as always there is one timeout.

    It keeps them, and with them the loop, only as long as somebody's time is running.
    """

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        self._latest: Optional[weakref.ref[Deadlines[Any]]] = None

    def get(self, loop: Any, timeout_s: float, on_expired: Callable[[Any], object]) -> Deadlines[Any]:
        """Those for this loop and this timeout; arguments as for Deadlines. The caller keeps the result."""
        deadlines = self._latest() if self._latest is not None else None
        if deadlines is None or deadlines.loop is not loop or deadlines.timeout_s != timeout_s:
            deadlines = Deadlines(loop, timeout_s, on_expired)
            self._latest = weakref.ref(deadlines)
        return deadlines
