"""The timing of auto-ping, with a clock of the test's own."""

from __future__ import annotations

import math
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows.enums import WSAutoPingStrategy
from picows.keepalive import STALL_S, AutoPingPolicy, KeepAlive, KeepAliveAction

WAIT, PING, TIMEOUT = KeepAliveAction.WAIT, KeepAliveAction.PING, KeepAliveAction.TIMEOUT
IDLE, PERIODIC = WSAutoPingStrategy.PING_WHEN_IDLE, WSAutoPingStrategy.PING_PERIODICALLY
BOTH = pytest.mark.parametrize("strategy", [IDLE, PERIODIC], ids=["idle", "periodic"])


def keepalive(strategy: WSAutoPingStrategy, idle: float = 10, reply: float = 4, now: float = 100) -> KeepAlive:
    return KeepAlive(AutoPingPolicy(strategy, idle, reply), now)


# -- The policy -------------------------------------------------------------------------------------------------------


def test_policy_takes_ints_and_equal_timeouts() -> None:
    policy = AutoPingPolicy(2, 5, 5)  # type: ignore[arg-type]
    assert policy.strategy is PERIODIC
    assert KeepAlive(policy, 0).policy is policy


@pytest.mark.parametrize(
    ("error", "match", "args"),
    [
        (ValueError, "3", (3, 10, 10)),
        (ValueError, "idle", ("idle", 10, 10)),
        (ValueError, "at most idle_timeout_s \\(10\\), got 10.5", (IDLE, 10, 10.5)),
        (ValueError, "idle_timeout_s", (IDLE, 0, 0)),
        (ValueError, "idle_timeout_s", (IDLE, -1, -2)),
        (ValueError, "reply_timeout_s", (IDLE, 1, 0)),
        (ValueError, "reply_timeout_s", (IDLE, 1, -1)),
        (ValueError, "idle_timeout_s.*nan", (IDLE, math.nan, 1)),
        (ValueError, "reply_timeout_s.*nan", (IDLE, 1, math.nan)),
        (ValueError, "idle_timeout_s.*inf", (IDLE, math.inf, 1)),
        (TypeError, "idle_timeout_s.*bool", (IDLE, True, 1)),
        (TypeError, "reply_timeout_s.*bool", (IDLE, 1, True)),
        (TypeError, "idle_timeout_s.*str", (IDLE, "10", 1)),
        (TypeError, "reply_timeout_s.*NoneType", (IDLE, 10, None)),
    ],
    ids=str,
)
def test_policy_is_validated(error: type[Exception], match: str, args: Any) -> None:
    with pytest.raises(error, match=match):
        AutoPingPolicy(*args)


# -- Waiting ----------------------------------------------------------------------------------------------------------


@BOTH
def test_nothing_is_due_before_the_deadline(strategy: WSAutoPingStrategy) -> None:
    timer = keepalive(strategy)
    assert timer.next_deadline() == 110
    assert timer.on_deadline(109.999, 0) is WAIT
    assert timer.next_deadline() == 110
    assert not timer.awaiting_pong


def test_idle_counts_from_the_last_data() -> None:
    timer = keepalive(IDLE)
    assert timer.on_deadline(110, last_data_time=103) is WAIT
    assert timer.next_deadline() == 113
    assert timer.on_deadline(113, last_data_time=112.5) is WAIT
    assert timer.next_deadline() == 122.5
    assert timer.on_deadline(122.5, last_data_time=112.5) is PING
    assert timer.awaiting_pong


def test_P7_periodic_pings_whatever_was_received() -> None:
    timer = keepalive(PERIODIC)
    assert timer.on_deadline(110, last_data_time=109.9) is PING


# -- The pong ---------------------------------------------------------------------------------------------------------


@BOTH
def test_P7_a_pong_ends_the_wait_at_once(strategy: WSAutoPingStrategy) -> None:
    timer = keepalive(strategy)
    assert timer.on_deadline(110, 100) is PING
    assert timer.next_deadline() == 114
    timer.on_pong(111)
    assert not timer.awaiting_pong
    assert timer.next_deadline() == (121 if strategy is IDLE else 120)
    assert timer.on_deadline(114, 111) is WAIT


@BOTH
def test_a_pong_without_a_ping_changes_nothing(strategy: WSAutoPingStrategy) -> None:
    timer = keepalive(strategy)
    timer.on_pong(105)
    assert timer.next_deadline() == 110
    assert not timer.awaiting_pong


@BOTH
def test_other_data_does_not_replace_the_pong(strategy: WSAutoPingStrategy) -> None:
    timer = keepalive(strategy)
    assert timer.on_deadline(110, 100) is PING
    assert timer.on_deadline(114, last_data_time=113.9) is TIMEOUT


@BOTH
def test_after_a_timeout_nothing_is_due(strategy: WSAutoPingStrategy) -> None:
    timer = keepalive(strategy)
    timer.on_deadline(110, 100)
    assert timer.on_deadline(114.01, 100) is TIMEOUT
    assert timer.next_deadline() == math.inf
    assert not timer.awaiting_pong
    assert timer.on_deadline(1000, 100) is WAIT
    timer.on_pong(1000)
    assert timer.next_deadline() == math.inf


# -- The period -------------------------------------------------------------------------------------------------------


def run_pings(timer: KeepAlive, lateness: list[float], pong_after: float) -> list[float]:
    """Fire each timer late by what the list says, answer each ping, and return when the pings were sent."""
    pings = []
    for late in lateness:
        now = timer.next_deadline() + late
        assert timer.on_deadline(now, now) is PING
        pings.append(now)
        timer.on_pong(now + pong_after)
    return pings


@pytest.mark.parametrize("pong_after", [0.0, 1.0, 3.999])
def test_P7_the_period_is_exactly_the_idle_timeout(pong_after: float) -> None:
    assert run_pings(keepalive(PERIODIC), [0] * 5, pong_after) == [110, 120, 130, 140, 150]


def test_P7_late_timers_do_not_add_up() -> None:
    pings = run_pings(keepalive(PERIODIC), [0.25] * 1000, 0)
    assert pings[-1] == 110 + 999 * 10 + 0.25


def test_P7_no_burst_after_a_stall() -> None:
    timer = keepalive(PERIODIC)
    assert run_pings(timer, [0, 45, 0, 0], 0) == [110, 165, 175, 185]
    timer = keepalive(PERIODIC)
    assert run_pings(timer, [0, 10, 0], 0) == [110, 130, 140]


def test_P7_a_pong_later_than_the_next_ping_is_due() -> None:
    timer = keepalive(PERIODIC, idle=10, reply=10)
    assert timer.on_deadline(113, 113) is PING  # three seconds late: the reply is awaited until 123
    assert timer.next_deadline() == 123
    timer.on_pong(121)
    assert timer.next_deadline() == 120
    assert timer.on_deadline(121, 121) is PING
    timer.on_pong(121.5)
    assert timer.next_deadline() == 130


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=50),
    st.floats(0.1, 50),
    st.sampled_from([IDLE, PERIODIC]),
)
def test_P7_the_next_ping_is_due_later_and_within_one_period(
    lateness: list[float], idle: float, strategy: WSAutoPingStrategy
) -> None:
    timer = keepalive(strategy, idle, idle, now=0)
    previous: Optional[float] = None
    for late in lateness:
        due = timer.next_deadline()
        now = due + late
        assert timer.on_deadline(now, due - idle) is PING
        if previous is not None:
            gap = due - previous
            assert 0 < gap <= idle * 1.000001
        timer.on_pong(now)
        assert timer.next_deadline() > now
        previous = now


# -- A blocked event loop ---------------------------------------------------------------------------------------------


@BOTH
def test_a_pong_that_could_not_be_read_gets_a_moment(strategy: WSAutoPingStrategy) -> None:
    timer = keepalive(strategy)
    timer.on_deadline(110, 100)
    assert timer.on_deadline(119, 100) is WAIT
    assert timer.next_deadline() == 119 + STALL_S
    timer.on_pong(119.01)
    assert not timer.awaiting_pong


@BOTH
def test_the_moment_is_given_once_per_ping(strategy: WSAutoPingStrategy) -> None:
    timer = keepalive(strategy)
    for start in (110.0, 130.0):
        assert timer.on_deadline(start, start - 20) is PING
        assert timer.on_deadline(start + 9, 0) is WAIT
        if start == 110:
            timer.on_pong(119)
    assert timer.on_deadline(500, 0) is TIMEOUT


# -- During a round-trip measurement ----------------------------------------------------------------------------------


def test_skip_leaves_out_a_ping() -> None:
    idle, periodic = keepalive(IDLE), keepalive(PERIODIC)
    for timer in (idle, periodic):
        timer.skip(110.5)
        assert not timer.awaiting_pong
    assert idle.next_deadline() == 120.5
    assert periodic.next_deadline() == 120


@BOTH
def test_skip_extends_the_wait_for_a_pong(strategy: WSAutoPingStrategy) -> None:
    timer = keepalive(strategy)
    timer.on_deadline(110, 100)
    timer.skip(114)
    assert timer.awaiting_pong
    assert timer.next_deadline() == 118
    assert timer.on_deadline(118, 100) is TIMEOUT


@BOTH
def test_skip_before_the_deadline_changes_nothing(strategy: WSAutoPingStrategy) -> None:
    timer = keepalive(strategy)
    timer.skip(109)
    assert timer.next_deadline() == 110
