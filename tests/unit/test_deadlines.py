"""Deadlines: one timer, whoever comes and goes. SharedDeadlines: one of them for a thread."""

from __future__ import annotations

import gc
import weakref
from typing import Callable, List, Optional

import pytest

from picows.deadlines import Deadlines, SharedDeadlines


class Handle:
    """What `call_at` returns."""

    def __init__(self, timers: List[tuple[float, Callable[[], None]]], timer: tuple[float, Callable[[], None]]) -> None:
        self.timers = timers
        self.timer = timer

    def cancel(self) -> None:
        self.timers.remove(self.timer)


class Loop:
    """A clock of the test's own, and the timers that were set."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: List[tuple[float, Callable[[], None]]] = []
        self.soon: List[Callable[[], None]] = []
        self.is_closed = False

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> object:
        self.timers.append((when, callback))
        return Handle(self.timers, self.timers[-1])

    def call_soon(self, callback: Callable[[], None]) -> None:
        if self.is_closed:
            raise RuntimeError("Event loop is closed")
        self.soon.append(callback)

    def turn(self) -> None:
        """Run what was to come soon."""
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()

    def run_until(self, when: float) -> None:
        """Run what is due until then."""
        while self.timers and min(self.timers)[0] <= when:
            timer = min(self.timers)
            self.timers.remove(timer)
            self.now = max(self.now, timer[0])
            timer[1]()
        self.now = when


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def expired() -> List[str]:
    return []


@pytest.fixture
def deadlines(loop: Loop, expired: List[str]) -> Deadlines[str]:
    return Deadlines(loop, 10, expired.append)


def test_each_has_its_full_time(loop: Loop, expired: List[str], deadlines: Deadlines[str]) -> None:
    for name in "abc":
        deadlines.add(name)
        loop.run_until(loop.now + 3)
    assert list(deadlines) == ["a", "b", "c"]
    for when, names in ((109.9, []), (110, ["a"]), (112.9, ["a"]), (113, ["a", "b"]), (116, ["a", "b", "c"])):
        loop.run_until(when)
        assert expired == names
    assert list(deadlines) == []


def test_nothing_happens_to_those_that_were_removed(loop: Loop, expired: List[str], deadlines: Deadlines[str]) -> None:
    for name in "abcd":
        deadlines.add(name)
        loop.run_until(loop.now + 1)
    deadlines.discard("a")
    deadlines.discard("c")
    deadlines.discard("c")
    deadlines.discard("never there")
    loop.run_until(200)
    assert expired == ["b", "d"]


def test_thousands_that_come_and_go_share_one_timer(loop: Loop, expired: List[str], deadlines: Deadlines[str]) -> None:
    deadlines.add("0")
    timers = list(loop.timers)
    for number in range(1000):
        deadlines.add(str(number + 1))
        loop.run_until(loop.now + 0.001)
        deadlines.discard(str(number))
        assert loop.timers == timers
    deadlines.discard("1000")
    loop.turn()
    assert (loop.timers, expired) == ([], [])
    deadlines.add("again")
    loop.run_until(loop.now + 10)
    assert expired == ["again"]


def test_a_timer_that_fires_early_is_set_again(loop: Loop, expired: List[str], deadlines: Deadlines[str]) -> None:
    deadlines.add("a")
    ((when, fire),) = loop.timers
    loop.timers.clear()
    loop.now = when - 1e-9
    fire()
    assert expired == []
    loop.run_until(when)
    assert expired == ["a"]


def test_no_timer_is_left_when_nobody_is(loop: Loop, expired: List[str], deadlines: Deadlines[str]) -> None:
    for name in "ab":
        deadlines.add(name)
    deadlines.discard("b")
    loop.turn()
    assert len(loop.timers) == 1
    deadlines.discard("a")
    loop.turn()
    assert loop.timers == []
    deadlines.discard("a")
    assert loop.soon == []
    deadlines.add("c")
    loop.run_until(loop.now + 10)
    assert (loop.timers, expired) == ([], ["c"])


def test_one_that_comes_in_the_same_turn_takes_the_timer_over(
    loop: Loop, expired: List[str], deadlines: Deadlines[str]
) -> None:
    deadlines.add("first")
    timers = list(loop.timers)
    for number in range(3):
        deadlines.discard("first" if number == 0 else str(number - 1))
        deadlines.add(str(number))
    assert len(loop.soon) == 1
    loop.turn()
    assert (loop.timers, loop.soon) == (timers, [])
    deadlines.discard("2")
    loop.turn()
    assert (loop.timers, expired) == ([], [])


def test_the_timer_may_fire_before_that_turn(loop: Loop, expired: List[str], deadlines: Deadlines[str]) -> None:
    deadlines.add("a")
    deadlines.discard("a")
    loop.run_until(110)
    assert (loop.timers, expired) == ([], [])
    deadlines.add("b")
    loop.turn()
    assert len(loop.timers) == 1
    loop.run_until(120)
    assert expired == ["b"]


def test_a_loop_that_is_closed(loop: Loop, expired: List[str], deadlines: Deadlines[str]) -> None:
    for name in "ab":
        deadlines.add(name)
        loop.is_closed = True
        deadlines.discard(name)
        assert (loop.timers, list(deadlines)) == ([], [])
        loop.is_closed = False


@pytest.mark.parametrize("timeout_s", [None, float("inf")])
def test_for_ever(loop: Loop, expired: List[str], timeout_s: Optional[float]) -> None:
    deadlines: Deadlines[str] = Deadlines(loop, timeout_s, expired.append)
    deadlines.add("a")
    assert (loop.timers, list(deadlines)) == ([], ["a"])
    deadlines.discard("a")
    assert list(deadlines) == []


def test_one_that_expires_may_end_others_and_begin_new_ones(loop: Loop) -> None:
    ended = []

    def on_expired(name: str) -> None:
        ended.append(name)
        deadlines.discard("b")
        if name == "a":
            deadlines.add("later")

    deadlines: Deadlines[str] = Deadlines(loop, 10, on_expired)
    for name in "abc":
        deadlines.add(name)
    loop.run_until(110)
    assert ended == ["a", "c"]
    assert len(loop.timers) == 1
    loop.run_until(120)
    assert ended == ["a", "c", "later"]


def test_those_that_begin_anew_do_not_delay_the_others(loop: Loop) -> None:
    """As pings do, which the connections of a loop send at different times."""
    fired = []

    def on_expired(name: str) -> None:
        fired.append((name, loop.now))
        deadlines.add(name)

    deadlines: Deadlines[str] = Deadlines(loop, 10, on_expired)
    for name in "abc":
        deadlines.add(name)
        loop.run_until(loop.now + 3)
    loop.run_until(128)
    assert fired == [("a", 110), ("b", 113), ("c", 116), ("a", 120), ("b", 123), ("c", 126)]
    assert len(loop.timers) == 1


def test_an_exception_does_not_stop_the_others(loop: Loop) -> None:
    ended = []

    def on_expired(name: str) -> None:
        ended.append(name)
        if name == "a":
            raise ValueError(name)

    deadlines: Deadlines[str] = Deadlines(loop, 10, on_expired)
    deadlines.add("a")
    deadlines.add("b")
    with pytest.raises(ValueError, match="a"):
        loop.run_until(110)
    loop.run_until(110)
    assert ended == ["a", "b"]


def test_shared_by_those_of_one_loop_and_timeout(loop: Loop, expired: List[str]) -> None:
    shared = SharedDeadlines()
    first = shared.get(loop, 10, expired.append)
    first.add("a")
    assert shared.get(loop, 10, expired.append) is first
    other = shared.get(loop, 20, expired.append)
    other.add("b")
    assert other is not first
    assert shared.get(loop, 20, expired.append) is other
    assert shared.get(Loop(), 20, expired.append) is not other
    loop.run_until(120)
    assert expired == ["a", "b"]


def test_shared_as_long_as_they_are_used(loop: Loop, expired: List[str]) -> None:
    shared = SharedDeadlines()
    shared.get(loop, 10, expired.append).add("a")
    freed: List[object] = []
    weakref.finalize(shared.get(loop, 10, expired.append), freed.append, "freed")
    gc.collect()
    assert list(shared.get(loop, 10, expired.append)) == ["a"]
    loop.run_until(110)
    gc.collect()
    assert (expired, freed) == (["a"], ["freed"])
    assert list(shared.get(loop, 10, expired.append)) == []
