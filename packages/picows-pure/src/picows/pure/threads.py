"""Which thread a connection belongs to: that of its loop.

A loop may run in another thread than the one that its connections were made in, because somebody runs it there. They
then leave the pool of the first thread, which connections of another loop may use at the same time.
"""

from __future__ import annotations

import asyncio
from threading import get_ident
from typing import TYPE_CHECKING, Any

from .pool import Pool, current_pool

if TYPE_CHECKING:
    from .wire import Wire


class ThreadBound:
    """What of a connection belongs to one thread."""

    __slots__ = ("_loop", "_pool", "_thread_id", "_wire")

    _loop: asyncio.AbstractEventLoop
    _pool: Pool
    _wire: Wire
    _thread_id: int

    def _check_thread(self, method: str) -> None:
        if get_ident() != self._thread_id and not self._follows_loop():
            raise RuntimeError(
                f"WSTransport.{method} called from a wrong thread: {get_ident()} instead of {self._thread_id};"
                " use loop.call_soon_threadsafe"
            )

    def _follows_loop(self) -> bool:
        """Whether the loop runs in this thread, which is another one than before."""
        if asyncio._get_running_loop() is not self._loop:
            return False
        self._change_thread()
        return True

    def _change_thread(self) -> None:
        """The loop runs in this thread: share what its connections share, and nothing of the thread before."""
        wire, before = self._wire, self._pool
        if wire in before.gathering:  # in a batch that its thread has not ended
            before.gathering.remove(wire)
            wire.end_batch()
        self._pool = wire._pool = current_pool()
        wire._batch = -1
        self._thread_id = get_ident()


class LoopFollower:
    """What of a protocol belongs to one thread: that in which the loop called it last, and its pool."""

    __slots__ = ("_pool", "_thread_id", "transport")

    _pool: Pool
    _thread_id: int
    transport: Any

    def _follow_loop(self) -> None:
        """The loop calls: where it runs in another thread than before, share what that thread's connections share."""
        if get_ident() != self._thread_id:
            if self.transport is not None:
                self.transport._change_thread()
            self._pool = current_pool()
            self._thread_id = get_ident()
