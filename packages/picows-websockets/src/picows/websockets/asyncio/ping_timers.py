"""When to ping, and when to give up on the pong: what the keepalives of the asyncio API and of uvicorn have in common.

The timers are shared by all connections of the loop (see `picows.deadlines`). A ping that is due while a pong is
awaited is sent when that has come. A pong that is late because our own loop was blocked has probably arrived and was
not read: it gets a moment.
"""

from __future__ import annotations

import abc
import asyncio
import math

from picows.deadlines import Deadlines
from picows.keepalive import STALL_S

from .timers import deadlines


class PingTimers(abc.ABC):
    """The timers of one connection; a subclass says what a ping is, and what follows when its pong is missing.

    Args:
        loop: the connection's loop.
        interval_s: seconds until the first ping.
    """

    __slots__ = ("_is_due", "_late", "_late_from", "_loop", "_next")

    def __init__(self, loop: asyncio.AbstractEventLoop, interval_s: float) -> None:
        self._loop = loop
        #: Where the time runs until the pong is late, and from when on it is; infinity once it has got its moment.
        self._late: Deadlines[PingTimers] | None = None
        self._late_from = math.inf
        self._ping_after(interval_s)

    def stop(self) -> None:
        """Nothing is due any more."""
        self._next.discard(self)
        self._expect_no_pong()

    @abc.abstractmethod
    def _ping(self) -> None:
        """Send a ping, with `_ping_after` and `_expect_pong_within` for what is to follow."""

    @abc.abstractmethod
    def _on_pong_missing(self) -> None:
        """The pong did not come in its time."""

    def _ping_after(self, seconds: float) -> None:
        self._is_due = False
        self._next = deadlines(self._loop, seconds, PingTimers._on_due)
        self._next.add(self)

    def _expect_pong_within(self, seconds: float) -> None:
        self._late_from = self._loop.time() + seconds
        self._wait_for_pong(seconds)

    def _wait_for_pong(self, seconds: float) -> None:
        self._late = deadlines(self._loop, seconds, PingTimers._on_late)
        self._late.add(self)

    def _expect_no_pong(self) -> None:
        if self._late is not None:
            self._late.discard(self)
            self._late = None

    def _on_expected_pong(self) -> None:
        self._expect_no_pong()
        if self._is_due:
            self._ping()

    def _on_due(self) -> None:
        self._is_due = True
        if self._late is None:
            self._ping()

    def _on_late(self) -> None:
        self._late = None
        if self._loop.time() - self._late_from >= STALL_S:
            self._late_from = math.inf
            self._wait_for_pong(STALL_S)
        else:
            self._on_pong_missing()
