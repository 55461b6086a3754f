"""Pings of the APIs in which a ping gives an event: which is set by its pong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from ._pings import choose_payload, take_acknowledged


class Event(Protocol):
    """Of threading or trio."""

    def set(self) -> Any:
        """Wake who waits for it."""


EventT = TypeVar("EventT", bound=Event)


class PingEvents(Generic[EventT]):
    """Pings that wait for their pongs, oldest first. In threads, its methods need the connection's lock.

    Args:
        make_event: the class of the events.
        clock: gives the time in seconds.
    """

    __slots__ = ("_clock", "_make_event", "_waiting")

    def __init__(self, make_event: Callable[[], EventT], clock: Callable[[], float]) -> None:
        self._make_event = make_event
        self._clock = clock
        #: Payload to (event, time it was sent at, whether the end of the connection sets it).
        self._waiting: dict[bytes, tuple[EventT, float, bool]] = {}

    def add(self, payload: bytes | None, ack_on_close: bool) -> tuple[bytes, EventT]:
        """Note a ping that is about to be sent.

        Args:
            payload: None for random bytes.
            ack_on_close: the end of the connection is as good as a pong.

        Raises:
            ConcurrencyError: a ping with the same payload waits already.
        """
        payload = choose_payload(payload, self._waiting)
        event = self._make_event()
        self._waiting[payload] = event, self._clock(), ack_on_close
        return payload, event

    def acknowledge(self, payload: bytes) -> float | None:
        """A pong came: it answers the ping with its payload and those before.

        Returns:
            The latency in seconds; None if there is no such ping.
        """
        taken = take_acknowledged(payload, self._waiting)
        for event, _, _ in taken:
            event.set()
        return self._clock() - taken[-1][1] if taken else None

    def end(self) -> None:
        """No pong will come any more."""
        for event, _, ack_on_close in self._waiting.values():
            if ack_on_close:
                event.set()
        self._waiting.clear()
