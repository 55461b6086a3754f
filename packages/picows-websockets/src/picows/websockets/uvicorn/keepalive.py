"""Pings with uvicorn's timing: one every interval, and each must be answered within the timeout.

The timers are shared by all connections of the loop (see `picows.deadlines`). A pong that is late because our own loop
was blocked has probably arrived and was not read: it gets a moment.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from picows.deadlines import Deadlines
from picows.keepalive import STALL_S

from ..asyncio.timers import deadlines

if TYPE_CHECKING:
    from .connection import Connection

#: What a peer reads that did not answer.
REASON = "keepalive ping timeout"


class Keepalive:
    """Pings a connection until it is stopped.

    Args:
        connection: open; it hears from `on_pong_missing`.
        loop: its loop.
        interval_s: seconds from ping to ping, or from a pong that came later than that.
        timeout_s: seconds that a pong may take; None for ever.
    """

    __slots__ = (
        "_awaited",
        "_connection",
        "_had_grace",
        "_interval_s",
        "_late",
        "_loop",
        "_next",
        "_pinged_at",
        "_timeout_s",
    )

    def __init__(
        self, connection: Connection, loop: asyncio.AbstractEventLoop, interval_s: float, timeout_s: float | None
    ) -> None:
        self._connection: Connection | None = connection
        self._loop = loop
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        #: The payload of the ping whose pong is awaited.
        self._awaited: bytes | None = None
        #: When that ping was sent, and whether its pong has got a moment more than its time.
        self._pinged_at = 0.0
        self._had_grace = False
        self._late: Deadlines[Keepalive] | None = None
        self._next: Deadlines[Keepalive] | None = None
        self._schedule()

    def stop(self) -> None:
        """Send no more pings, and forget the connection."""
        self._connection = None
        if self._next is not None:
            self._next.discard(self)
        self._expect_nothing()

    def on_pong(self, payload: bytes) -> None:
        """A pong arrived; those that answer nothing of ours count for nothing."""
        if payload == self._awaited:
            self._expect_nothing()
            if self._next is None:  # the next ping is overdue: it has waited for this
                self._ping()

    def _schedule(self) -> None:
        self._next = deadlines(self._loop, self._interval_s, Keepalive._on_due)
        self._next.add(self)

    def _expect_within(self, seconds: float) -> None:
        self._late = deadlines(self._loop, seconds, Keepalive._on_late)
        self._late.add(self)

    def _expect_nothing(self) -> None:
        self._awaited = None
        if self._late is not None:
            self._late.discard(self)
            self._late = None

    def _on_due(self) -> None:
        self._next = None
        if self._late is None:
            self._ping()

    def _ping(self) -> None:
        connection = self._connection
        if connection is None:
            return
        self._awaited = os.urandom(4)
        self._pinged_at = self._loop.time()
        self._had_grace = False
        if self._timeout_s is not None:
            self._expect_within(self._timeout_s)
        self._schedule()
        connection.transport.send_ping(self._awaited)

    def _on_late(self) -> None:
        self._late = None
        if self._connection is None:
            return
        if not self._had_grace and self._was_blocked():
            self._had_grace = True
            self._expect_within(STALL_S)
        else:
            self._connection.on_pong_missing()

    def _was_blocked(self) -> bool:
        return self._timeout_s is not None and self._loop.time() - self._pinged_at - self._timeout_s >= STALL_S
