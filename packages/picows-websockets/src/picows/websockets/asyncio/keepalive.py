"""Pings that wait for their pongs, and the pings that keep a connection alive.

Keepalive is a timer that connections share, not a task: an idle connection has no coroutine for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .._pings import choose_payload, take_acknowledged
from ..exceptions import ConnectionClosed
from ..frames import CloseCode
from ..protocol import OPEN
from .ping_timers import PingTimers

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

    def give_up(self, exc: ConnectionClosed) -> None:
        """No pong will come any more."""
        waiting, self._waiting = self._waiting, {}
        for waiter, _ in waiting.values():
            if not waiter.done():
                waiter.set_exception(exc)
                waiter.exception()  # whoever has not kept it is not told that nobody looked at it


class Keepalive(PingTimers):
    """Pings a connection every `ping_interval`, and closes it when a pong takes longer than `ping_timeout`.

    Both may be changed while the connection is open: from the next ping on. An interval of None is the end of pings.

    Where our own loop was blocked, websockets closes the connection for a pong that was not read; here it is read.
    """

    __slots__ = ("_connection", "_waiter")

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop, connection.ping_interval or 0)
        self._connection: Connection | None = connection
        self._waiter: asyncio.Future[float] | None = None

    def stop(self) -> None:
        """Send no more pings, and forget the connection."""
        super().stop()
        self._connection = self._waiter = None

    def _ping(self) -> None:
        connection = self._connection
        if connection is None or connection.ping_interval is None or connection.protocol.state is not OPEN:
            return
        self._ping_after(connection.ping_interval)
        self._waiter = connection._send_keepalive_ping()
        if connection.ping_timeout is not None:
            self._expect_pong_within(connection.ping_timeout)
            self._waiter.add_done_callback(self._on_pong)

    def _on_pong(self, waiter: asyncio.Future[float]) -> None:
        connection = self._connection
        if connection is None or waiter is not self._waiter or waiter.cancelled() or waiter.exception() is not None:
            return
        if connection.protocol.debug:
            connection.logger.debug("%% received keepalive pong")
        self._on_expected_pong()

    def _on_pong_missing(self) -> None:
        connection, waiter = self._connection, self._waiter
        if connection is None or waiter is None or connection.protocol.state is not OPEN:
            return
        if waiter.done():  # in this turn of the loop: `_on_pong` comes in the next one
            return
        if connection.protocol.debug:
            connection.logger.debug("- timed out waiting for keepalive pong")
        connection._close_failing(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
