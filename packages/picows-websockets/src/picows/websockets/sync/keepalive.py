"""Pings: those of the user, by payload, and those that the reading thread sends by itself."""

from __future__ import annotations

import threading
import time

from .._pings import choose_payload, take_acknowledged


class Pings:
    """Pings that wait for their pongs, oldest first. Its methods are called with the connection's lock held."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        #: Payload to (event, time it was sent at, whether the end of the connection sets it).
        self._waiting: dict[bytes, tuple[threading.Event, float, bool]] = {}

    def add(self, payload: bytes | None, ack_on_close: bool) -> tuple[bytes, threading.Event]:
        """Note a ping that is about to be sent.

        Args:
            payload: None for random bytes.
            ack_on_close: the end of the connection is as good as a pong.

        Raises:
            ConcurrencyError: a ping with the same payload waits already.
        """
        payload = choose_payload(payload, self._waiting)
        event = threading.Event()
        self._waiting[payload] = event, time.monotonic(), ack_on_close
        return payload, event

    def acknowledge(self, payload: bytes) -> float | None:
        """A pong came: it answers the ping with its payload and those before.

        Returns:
            The latency in seconds; None if there is no such ping.
        """
        taken = take_acknowledged(payload, self._waiting)
        for event, _, _ in taken:
            event.set()
        return time.monotonic() - taken[-1][1] if taken else None

    def end(self) -> None:
        """No pong will come any more."""
        for event, _, ack_on_close in self._waiting.values():
            if ack_on_close:
                event.set()
        self._waiting.clear()


class Keepalive:
    """When to ping, and when to lose patience.

    Args:
        interval: seconds between pings; None for none.
        timeout: seconds to wait for a pong; None for ever.
    """

    __slots__ = ("_event", "_interval", "_next", "_timeout")

    def __init__(self, interval: float | None, timeout: float | None) -> None:
        self._interval = interval
        self._timeout = timeout
        #: Of the ping that waits for its pong.
        self._event: threading.Event | None = None
        #: When something is to be done: ping if there is no event, else give up. None if nothing ever is.
        self._next: float | None = None
        self.restart()

    def restart(self) -> None:
        """Forget the time that went by while nothing was read."""
        if self._interval is not None:
            waits = self._timeout if self._event is not None else self._interval
            self._next = None if waits is None else time.monotonic() + waits

    def on_pong(self) -> bool:
        """Whether the pong that came was for our ping."""
        if self._event is None or not self._event.is_set():
            return False
        self._event = None
        self.restart()
        return True

    def sent(self, event: threading.Event) -> None:
        """A ping was sent."""
        self._event = event
        self.restart()

    def seconds(self) -> float | None:
        """Seconds until `is_due` or `is_late` are worth asking; None for never."""
        return None if self._next is None else max(self._next - time.monotonic(), 0.0)

    def is_due(self) -> bool:
        """Whether to ping now."""
        return self._event is None and self._next is not None and time.monotonic() >= self._next

    def is_late(self) -> bool:
        """Whether the pong should have come."""
        return self._event is not None and self._next is not None and time.monotonic() >= self._next
