"""The pings that the reading thread sends by itself."""

from __future__ import annotations

import threading
import time


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
