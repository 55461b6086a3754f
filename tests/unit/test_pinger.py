"""Auto-ping with a clock and a transport of the test's own: what is sent when, and how it ends."""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from typing import Any, Callable, List, Tuple

import pytest

from picows.enums import WSAutoPingStrategy, WSCloseCode
from picows.keepalive import STALL_S, AutoPingPolicy
from picows.pinger import FAREWELL_DELAY_S, AutoPinger

IDLE, PERIODIC = WSAutoPingStrategy.PING_WHEN_IDLE, WSAutoPingStrategy.PING_PERIODICALLY
BOTH = pytest.mark.parametrize("strategy", [IDLE, PERIODIC], ids=["idle", "periodic"])


class Timer:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeLoop:
    """Timers, and a clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: List[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(when, callback))
        return self.timers[-1]

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return self.call_at(self.now + delay, callback)

    @property
    def pending(self) -> List[Timer]:
        return [timer for timer in self.timers if not timer.is_cancelled]

    def advance(self, until: float) -> None:
        """Run what is due until then, each at its time."""
        while due := [timer for timer in self.pending if timer.when <= until]:
            timer = min(due, key=lambda other: other.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when)
            timer.callback()
        self.now = until


class FakeTransport:
    """Records (time, what)."""

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.events: List[Tuple[float, Any]] = []
        self.logged: List[Tuple[int, str]] = []
        self._is_measuring = False
        self.is_alive = True
        self.on_ping: Callable[[], None] = lambda: None

    def _record(self, what: Any) -> None:
        self.events.append((round(self.loop.now, 6), what))

    def _auto_ping(self) -> bool:
        self._record("ping")
        self.on_ping()
        return self.is_alive

    def send_close(self, code: int, message: bytes) -> None:
        self._record((code, message))

    def _abort(self) -> None:
        self._record("abort")

    def _log(self, level: int, message: str, *arguments: Any) -> None:
        self.logged.append((level, message % arguments))


def start(strategy: Any, idle: float = 10, reply: float = 4) -> Tuple[FakeLoop, FakeTransport, AutoPinger]:
    loop = FakeLoop()
    transport = FakeTransport(loop)
    return loop, transport, AutoPinger(loop, transport, AutoPingPolicy(strategy, idle, reply))  # type: ignore[arg-type]


GIVING_UP = (WSCloseCode.GOING_AWAY, b"peer has not replied to ping within 4 second(s)")


@BOTH
def test_a_missing_pong_ends_the_connection(strategy: Any) -> None:
    loop, transport, pinger = start(strategy)
    loop.advance(113.9)
    assert transport.events == [(110, "ping")]
    assert pinger.awaiting_pong
    loop.advance(200)
    assert transport.events[1:] == [(114, GIVING_UP), (114 + FAREWELL_DELAY_S, "abort")]
    assert transport.logged == [(logging.INFO, "no pong within 4 s, closing the connection")]
    assert not pinger.awaiting_pong
    assert loop.pending == []


def test_when_idle_the_next_ping_is_counted_from_the_pong() -> None:
    loop, transport, pinger = start(IDLE)
    loop.advance(111)
    pinger.on_pong()
    assert not pinger.awaiting_pong
    loop.advance(120.9)
    assert transport.events == [(110, "ping")]
    loop.advance(121)
    assert transport.events == [(110, "ping"), (121, "ping")]


def test_periodically_the_pong_changes_nothing_about_the_period() -> None:
    """P7."""
    loop, transport, pinger = start(PERIODIC)
    transport.on_ping = lambda: loop.call_later(1, pinger.on_pong) and None
    loop.advance(145)
    assert transport.events == [(110, "ping"), (120, "ping"), (130, "ping"), (140, "ping")]


def test_data_postpones_the_ping_when_idle() -> None:
    loop, transport, pinger = start(IDLE)
    for until in (105, 112, 119):
        loop.advance(until)
        pinger.last_data_time = until
    loop.advance(128.9)
    assert transport.events == []
    loop.advance(129)
    assert transport.events == [(129, "ping")]


def test_data_is_no_pong_and_does_not_postpone_periodic_pings() -> None:
    for strategy in (IDLE, PERIODIC):
        loop, transport, pinger = start(strategy)
        loop.advance(110)
        assert transport.events == [(110, "ping")]
        pinger.last_data_time = 113
        loop.advance(114)
        assert transport.events[1:] == [(114, GIVING_UP)]


@BOTH
def test_a_pong_that_nobody_awaits(strategy: Any) -> None:
    loop, transport, pinger = start(strategy)
    before = loop.pending
    loop.advance(105)
    pinger.on_pong()
    assert loop.pending == before
    loop.advance(110)
    assert transport.events == [(110, "ping")]


@BOTH
def test_stop(strategy: Any) -> None:
    loop, transport, pinger = start(strategy)
    pinger.stop()
    pinger.stop()
    assert loop.pending == []
    loop.advance(200)
    assert transport.events == []


@BOTH
def test_stop_while_a_pong_is_awaited(strategy: Any) -> None:
    loop, transport, pinger = start(strategy)
    loop.advance(110)
    pinger.stop()
    pinger.on_pong()
    loop.advance(200)
    assert transport.events == [(110, "ping")]
    assert loop.pending == []


def test_a_timer_that_fires_after_stop() -> None:
    """As a loop may, where both happen in one turn."""
    loop, transport, pinger = start(IDLE)
    (timer,) = loop.pending
    pinger.stop()
    loop.now = 110
    timer.callback()
    assert transport.events == []


def test_stop_frees_the_transport() -> None:
    loop, transport, pinger = start(IDLE)
    pinger.stop()
    gone = weakref.ref(transport)
    del transport
    if sys.implementation.name != "cpython":
        gc.collect()
    assert gone() is None


@BOTH
def test_a_ping_that_ends_the_connection(strategy: Any) -> None:
    loop, transport, pinger = start(strategy)
    transport.is_alive = False
    loop.advance(200)
    assert transport.events == [(110, "ping")]
    assert loop.pending == []


def test_a_ping_that_stops_the_pinger() -> None:
    loop, transport, pinger = start(IDLE)
    transport.on_ping = pinger.stop
    loop.advance(200)
    assert transport.events == [(110, "ping")]
    assert loop.pending == []


def test_a_pong_within_the_ping() -> None:
    """As where the application's ping is a call that answers at once."""
    loop, transport, pinger = start(IDLE)
    transport.on_ping = pinger.on_pong
    loop.advance(125)
    assert transport.events == [(110, "ping"), (120, "ping")]
    assert len(loop.pending) == 1


@BOTH
def test_no_ping_while_round_trips_are_measured(strategy: Any) -> None:
    loop, transport, pinger = start(strategy)
    transport._is_measuring = True
    loop.advance(125)
    assert transport.events == []
    transport._is_measuring = False
    loop.advance(130)
    assert transport.events == [(130, "ping")]


def test_a_pong_that_is_awaited_is_awaited_while_round_trips_are_measured() -> None:
    """The measurement waits for it too: nobody else would give up on it."""
    loop, transport, pinger = start(IDLE)
    loop.advance(111)
    transport._is_measuring = True
    loop.advance(114)
    assert transport.events[1:] == [(114, GIVING_UP)]


def test_a_blocked_loop_gives_the_pong_a_moment() -> None:
    loop, transport, pinger = start(IDLE)
    loop.advance(110)
    loop.now = 120  # blocked; the timer of 114 fires late
    loop.advance(120)
    assert transport.events == [(110, "ping")]
    loop.advance(120 + STALL_S)
    assert transport.events[1:] == [(120 + STALL_S, GIVING_UP)]


def test_fractions_of_seconds_in_the_reason() -> None:
    loop, transport, pinger = start(IDLE, 1, 0.25)
    loop.advance(102)
    assert transport.events[1] == (
        101.25,
        (WSCloseCode.GOING_AWAY, b"peer has not replied to ping within 0.25 second(s)"),
    )
