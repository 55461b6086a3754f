"""Pings that wait for their pongs, and the pings that keep a connection alive.

Keepalive is a timer that connections share, not a task: an idle connection has no coroutine for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from picows.deadlines import Deadlines
from picows.keepalive import STALL_S

from .._pings import choose_payload, take_acknowledged
from ..exceptions import ConnectionClosed
from ..frames import CloseCode
from ..protocol import OPEN
from .timers import deadlines

if TYPE_CHECKING:
    from .connection import Connection


class Pings:
    """The pings of one connection that have no pong yet, in the order in which they were sent."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[bytes, tuple[asyncio.Future[float], float]] = {}

    def add(self, payload: bytes | None) -> tuple[bytes, asyncio.Future[float]]:
        """Register a ping.

        Args:
            payload: None for one that is not in use.

        Raises:
            ConcurrencyError: this payload is in use.
        """
        payload = choose_payload(payload, self._waiting)
        waiter: asyncio.Future[float] = self._loop.create_future()
        self._waiting[payload] = waiter, self._loop.time()
        return payload, waiter

    def acknowledge(self, payload: bytes) -> float | None:
        """A pong came: it answers its ping and all those before (RFC 6455 5.5.3).

        Returns:
            The latency, or None if nobody sent such a ping.
        """
        latency = None
        now = self._loop.time()
        for waiter, sent_at in take_acknowledged(payload, self._waiting):
            latency = now - sent_at
            if not waiter.done():
                waiter.set_result(latency)
        return latency

    def sent_at(self, waiter: asyncio.Future[float]) -> float:
        """When the ping with this waiter was sent, which has no pong yet."""
        return next(sent_at for one, sent_at in self._waiting.values() if one is waiter)

    def give_up(self, exc: ConnectionClosed) -> None:
        """No pong will come any more."""
        waiting, self._waiting = self._waiting, {}
        for waiter, _ in waiting.values():
            if not waiter.done():
                waiter.set_exception(exc)
                waiter.exception()  # whoever has not kept it is not told that nobody looked at it


class Keepalive:
    """Pings a connection every `ping_interval`, and closes it when a pong takes longer than `ping_timeout`.

    Both may be changed while the connection is open: from the next ping on. An interval of None is the end of pings.

    A pong that is late because our own loop was blocked has probably arrived and was not read: websockets closes the
    connection, here it gets a moment.
    """

    __slots__ = ("_connection", "_had_grace", "_is_due", "_late", "_loop", "_next", "_waiter")

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection: Connection | None = connection
        self._loop = loop
        self._waiter: asyncio.Future[float] | None = None
        #: The next ping is due, and waits for the last one's pong.
        self._is_due = self._had_grace = False
        #: Where the time runs until the pong is late, and until the next ping.
        self._late: Deadlines[Keepalive] | None = None
        self._next = deadlines(loop, connection.ping_interval or 0, Keepalive._on_due)
        self._next.add(self)

    def stop(self) -> None:
        """Send no more pings, and forget the connection."""
        self._next.discard(self)
        self._expect_no_pong()
        self._connection = self._waiter = None

    def _expect_no_pong(self) -> None:
        if self._late is not None:
            self._late.discard(self)
            self._late = None

    def _on_due(self) -> None:
        if self._late is None:
            self._ping()
        else:
            self._is_due = True

    def _ping(self) -> None:
        connection = self._connection
        self._is_due = self._had_grace = False
        if connection is None or connection.ping_interval is None or connection.protocol.state is not OPEN:
            return
        self._next = deadlines(self._loop, connection.ping_interval, Keepalive._on_due)
        self._next.add(self)
        self._waiter = connection._send_keepalive_ping()
        if connection.ping_timeout is not None:
            self._late = deadlines(self._loop, connection.ping_timeout, Keepalive._on_timeout)
            self._late.add(self)
            self._waiter.add_done_callback(self._on_pong)

    def _on_pong(self, waiter: asyncio.Future[float]) -> None:
        connection = self._connection
        if connection is None or waiter is not self._waiter or waiter.cancelled() or waiter.exception() is not None:
            return
        self._expect_no_pong()
        if connection.protocol.debug:
            connection.logger.debug("%% received keepalive pong")
        if self._is_due:
            self._ping()

    def _on_timeout(self) -> None:
        self._late = None
        connection, waiter = self._connection, self._waiter
        if connection is None or waiter is None or connection.protocol.state is not OPEN:
            return
        if waiter.done():  # in this turn of the loop: `_on_pong` comes in the next one
            return
        if not self._had_grace and self._was_blocked(connection, waiter):
            self._had_grace = True
            self._late = deadlines(self._loop, STALL_S, Keepalive._on_timeout)
            self._late.add(self)
            return
        if connection.protocol.debug:
            connection.logger.debug("- timed out waiting for keepalive pong")
        connection._close_failing(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")

    def _was_blocked(self, connection: Connection, waiter: asyncio.Future[float]) -> bool:
        pings, timeout = connection._pings, connection.ping_timeout
        if pings is None or timeout is None:
            return False
        return self._loop.time() - pings.sent_at(waiter) - timeout >= STALL_S
