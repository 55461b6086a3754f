"""Auto-ping: when to ping, and when to give up on the pong.

A timing state machine without a clock. The engine sets a timer to `next_deadline()`, calls `on_deadline` when it fires,
does what is answered and sets the timer again. Times are seconds of any monotonic clock, the same for all calls.

    waiting --PING--> awaiting the pong --on_pong--> waiting
                            `--TIMEOUT--> over

PING_PERIODICALLY follows a fixed grid, so that late timers do not add up; a grid point that was missed altogether (a
blocked event loop) starts a new grid instead of a burst of pings. A pong that is late because our own loop was blocked
has probably been received and not been read, so that a timer that fires late gives it a moment before it is missing.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from .enums import WSAutoPingStrategy

#: A timer this late means that the event loop was blocked.
STALL_S = 0.05


class KeepAliveAction(enum.Enum):
    """What the engine has to do at a deadline."""

    #: Nothing: the timer was set anew.
    WAIT = "wait"
    #: Send a ping; its pong is awaited from now on.
    PING = "ping"
    #: The pong did not come: end the connection.
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class AutoPingPolicy:
    """When to ping and how long to wait for the pong.

    Attributes:
        strategy: PING_WHEN_IDLE or PING_PERIODICALLY; a plain int is taken as well.
        idle_timeout_s: seconds without data, or from ping to ping.
        reply_timeout_s: seconds from a ping to its pong, at most `idle_timeout_s`.

    Raises:
        TypeError: a timeout is not a number.
        ValueError: a timeout is not positive and finite, the reply timeout is the longer one, or the strategy is
            unknown.
    """

    strategy: WSAutoPingStrategy = WSAutoPingStrategy.PING_WHEN_IDLE
    idle_timeout_s: float = 20.0
    reply_timeout_s: float = 20.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "strategy", WSAutoPingStrategy(self.strategy))
        for name in ("idle_timeout_s", "reply_timeout_s"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                raise TypeError(f"{name} must be a number of seconds, got {type(value).__name__}")
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be greater than 0 and finite, got {value}")
        if self.reply_timeout_s > self.idle_timeout_s:
            allowed = f"at most idle_timeout_s ({self.idle_timeout_s})"
            raise ValueError(f"reply_timeout_s must be {allowed}, got {self.reply_timeout_s}")


class KeepAlive:
    """The state of auto-ping on one connection.

    Args:
        policy: when to ping.
        now: the time at which the connection opened.
    """

    __slots__ = ("_awaiting_pong", "_deadline", "_had_grace", "_next_ping", "_policy")

    def __init__(self, policy: AutoPingPolicy, now: float) -> None:
        self._policy = policy
        self._awaiting_pong = False
        self._had_grace = False
        self._next_ping = self._deadline = now + policy.idle_timeout_s

    @property
    def policy(self) -> AutoPingPolicy:
        """The policy it was made with."""
        return self._policy

    @property
    def awaiting_pong(self) -> bool:
        """True from a PING until its pong."""
        return self._awaiting_pong

    def next_deadline(self) -> float:
        """When `on_deadline` is to be called; infinity after a TIMEOUT."""
        return self._deadline

    def on_deadline(self, now: float, last_data_time: float) -> KeepAliveAction:
        """Say what is due.

        Args:
            now: the time; before the deadline nothing is due.
            last_data_time: when bytes were last received.
        """
        if now < self._deadline:
            return KeepAliveAction.WAIT
        if self._awaiting_pong:
            return self._on_missing_pong(now)
        if self._is_periodic():
            self._follow_grid(now)
        elif now < last_data_time + self._policy.idle_timeout_s:
            self._deadline = last_data_time + self._policy.idle_timeout_s
            return KeepAliveAction.WAIT
        self._awaiting_pong = True
        self._had_grace = False
        self._deadline = now + self._policy.reply_timeout_s
        return KeepAliveAction.PING

    def on_pong(self, now: float) -> None:
        """The awaited pong was received: the wait is over at once. Without a wait nothing happens."""
        if self._awaiting_pong:
            self._awaiting_pong = False
            self._deadline = self._next_ping if self._is_periodic() else now + self._policy.idle_timeout_s

    def skip(self, now: float) -> None:
        """Pass over a deadline, because a round-trip measurement already asks the peer for a pong.

        Call it instead of `on_deadline`. A ping that is due is left out; a pong that is awaited gets the reply timeout
        once more.
        """
        if now < self._deadline:
            return
        if self._awaiting_pong:
            self._deadline = now + self._policy.reply_timeout_s
        elif self._is_periodic():
            self._follow_grid(now)
            self._deadline = self._next_ping
        else:
            self._deadline = now + self._policy.idle_timeout_s

    def _is_periodic(self) -> bool:
        return self._policy.strategy is WSAutoPingStrategy.PING_PERIODICALLY

    def _follow_grid(self, now: float) -> None:
        """Set the time of the ping after the one that is due."""
        self._next_ping += self._policy.idle_timeout_s
        if self._next_ping <= now:
            self._next_ping = now + self._policy.idle_timeout_s

    def _on_missing_pong(self, now: float) -> KeepAliveAction:
        if now - self._deadline >= STALL_S and not self._had_grace:
            self._had_grace = True
            self._deadline = now + STALL_S
            return KeepAliveAction.WAIT
        self._awaiting_pong = False
        self._deadline = math.inf
        return KeepAliveAction.TIMEOUT
