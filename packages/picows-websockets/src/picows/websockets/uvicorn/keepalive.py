"""Pings with uvicorn's timing: one every interval, and each must be answered within the timeout."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from ..asyncio.ping_timers import PingTimers

if TYPE_CHECKING:
    from .connection import Connection

#: What a peer reads that did not answer.
REASON = "keepalive ping timeout"


class Keepalive(PingTimers):
    """Pings a connection until it is stopped.

    Args:
        connection: open; it hears from `on_pong_missing`.
        loop: its loop.
        interval_s: seconds from ping to ping, or from a pong that came later than that.
        timeout_s: seconds that a pong may take; None for ever.
    """

    __slots__ = ("_awaited", "_connection", "_interval_s", "_timeout_s")

    def __init__(
        self, connection: Connection, loop: asyncio.AbstractEventLoop, interval_s: float, timeout_s: float | None
    ) -> None:
        super().__init__(loop, interval_s)
        self._connection: Connection | None = connection
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        #: The payload of the ping whose pong is awaited.
        self._awaited: bytes | None = None

    def stop(self) -> None:
        """Send no more pings, and forget the connection."""
        super().stop()
        self._connection = self._awaited = None

    def on_pong(self, payload: bytes) -> None:
        """A pong arrived; those that answer nothing of ours count for nothing."""
        if payload == self._awaited:
            self._awaited = None
            self._on_expected_pong()

    def _ping(self) -> None:
        connection = self._connection
        if connection is None:
            return
        self._awaited = payload = os.urandom(4)
        self._ping_after(self._interval_s)
        if self._timeout_s is not None:
            self._expect_pong_within(self._timeout_s)
        connection.transport.send_ping(payload)

    def _on_pong_missing(self) -> None:
        if self._connection is not None:
            self._connection.on_pong_missing()
