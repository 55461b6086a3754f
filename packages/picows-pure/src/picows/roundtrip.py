"""Measuring round trips: pings one at a time, because a user-specific pong does not say which ping it answers."""

from __future__ import annotations

import asyncio
import time
from typing import List, Optional, Protocol


class Pinged(Protocol):
    """What a measurement needs of an engine's WSTransport."""

    #: A pong is awaited.
    _awaits_pong: bool

    @property
    def _is_sealed(self) -> bool: ...
    @property
    def _loop(self) -> asyncio.AbstractEventLoop: ...
    def _ping(self) -> None: ...


class RoundTrips:
    """The measurements of one connection; made when the first one starts."""

    def __init__(self, transport: Pinged) -> None:
        self._transport = transport
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._pong: Optional[asyncio.Future[None]] = None

    @property
    def is_busy(self) -> bool:
        """True while a measurement runs or waits for its turn; auto-ping then sends nothing."""
        return self._waiting > 0

    async def measure(self, rounds: int, timeout: Optional[float]) -> List[float]:
        """See `WSTransport.measure_roundtrip_time`."""
        self._waiting += 1
        try:
            async with self._turn:
                if self._transport._awaits_pong:
                    await self._wait_for_pong(timeout)
                return [await self._measure_once(timeout) for _ in range(rounds)]
        finally:
            self._waiting -= 1

    async def _measure_once(self, timeout: Optional[float]) -> float:
        if self._transport._is_sealed:
            raise ConnectionResetError("the connection is closed")
        started = time.perf_counter()
        try:
            self._transport._ping()
            await self._wait_for_pong(timeout)
        except BaseException:
            # A late pong goes to the listener, or to the next measurement's ping.
            self._transport._awaits_pong = False
            raise
        return time.perf_counter() - started

    async def _wait_for_pong(self, timeout: Optional[float]) -> None:
        if not self._transport._awaits_pong:
            return
        pong = self._pong = self._transport._loop.create_future()
        try:
            await asyncio.wait_for(pong, timeout)
        finally:
            self._pong = None

    def on_pong(self) -> None:
        """The awaited pong was received."""
        if self._pong is not None and not self._pong.done():
            self._pong.set_result(None)

    def on_lost(self) -> None:
        """The connection is gone."""
        if self._pong is not None and not self._pong.done():
            self._pong.set_exception(ConnectionResetError("the connection was lost while waiting for a pong"))
