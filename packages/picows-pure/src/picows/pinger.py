"""Auto-ping of one connection: the timer around the policy in `keepalive`. Both engines use it; it runs once per timer.

It is given the loop as an object and imports no event loop itself, so that it can be tested with a clock of the
test's own.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Optional

from .enums import WSCloseCode
from .keepalive import AutoPingPolicy, KeepAlive, KeepAliveAction

if TYPE_CHECKING:
    from .abc import EngineTransport

FAREWELL_DELAY_S = 0.01


class AutoPinger:
    """Sends the pings of one connection and ends it when a pong is missing.

    Args:
        loop: anything with `time()` and `call_at()`.
        transport: the engine's WSTransport. Its `_ping()` sends a ping and starts waiting for the pong.
        policy: when to ping.
    """

    __slots__ = ("_loop", "_transport", "_keepalive", "_handle", "last_data_time")

    def __init__(self, loop: Any, transport: EngineTransport, policy: AutoPingPolicy) -> None:
        self._loop = loop
        self._transport: Optional[EngineTransport] = transport
        now = loop.time()
        self._keepalive = KeepAlive(policy, now)
        #: Written by the protocol whenever bytes arrive, in the loop's time.
        self.last_data_time: float = now
        self._handle: Any = loop.call_at(self._keepalive.next_deadline(), self._on_deadline)

    @property
    def awaiting_pong(self) -> bool:
        """True from the ping until its pong or the timeout."""
        return self._keepalive.awaiting_pong

    def on_pong(self) -> None:
        """The awaited pong came: the next ping is scheduled from now on."""
        if self._keepalive.awaiting_pong:
            self._keepalive.on_pong(self._loop.time())
            self._rearm()

    def stop(self) -> None:
        """End it; the timer and the reference to the transport are dropped."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._transport = None

    def _rearm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._transport is not None:
            self._handle = self._loop.call_at(self._keepalive.next_deadline(), self._on_deadline)

    def _on_deadline(self) -> None:
        transport = self._transport
        if transport is None:
            return
        self._handle = None
        if transport._is_measuring and not self._keepalive.awaiting_pong:
            self._keepalive.skip(self._loop.time())
        else:
            action = self._keepalive.on_deadline(self._loop.time(), self.last_data_time)
            if action is KeepAliveAction.PING:
                if not transport._auto_ping():
                    return
            elif action is KeepAliveAction.TIMEOUT:
                self._on_timeout(transport)
                return
        self._rearm()

    def _on_timeout(self, transport: EngineTransport) -> None:
        timeout = self._keepalive.policy.reply_timeout_s
        transport._log(logging.INFO, "no pong within %s s, closing the connection", timeout)
        transport.send_close(
            WSCloseCode.GOING_AWAY, f"peer has not replied to ping within {timeout:g} second(s)".encode()
        )
        self._loop.call_later(FAREWELL_DELAY_S, transport._abort)
