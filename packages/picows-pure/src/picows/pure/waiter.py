"""What `recv` awaits: a future that wakes its task as soon as the read is processed, not in the next cycle of the loop.

An asyncio.Future calls back through `call_soon`: the task goes on in the loop's next cycle, behind another `select`.
The message layer wakes at most one task a read, and when it does, the read is over and nothing is left to do in this
callback of the loop: the task may as well run there. It does unless it would run within another task, or where no loop
runs; then it is woken as a Future would.

asyncio's tasks await anything that has `_asyncio_future_blocking` and the methods of a Future.
"""

from __future__ import annotations

import asyncio
import sys
from contextvars import Context, copy_context
from typing import Any, Callable, Generator, List, Optional, Tuple

_Callback = Callable[[Any], object]
# Before Python 3.12 asyncio.current_task is a Python function around this.
_current_task = asyncio.current_task if sys.version_info >= (3, 12) else vars(asyncio.tasks)["_current_tasks"].get


class Waiter:
    """A future of one loop, without a result; whoever has it sets `is_done` once, and wakes."""

    __slots__ = (
        "__weakref__",
        "_asyncio_future_blocking",
        "_callbacks",
        "_is_cancelled",
        "_loop",
        "_message",
        "is_done",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._callbacks: List[Tuple[_Callback, Context]] = []
        self._message: Optional[Any] = None
        self._is_cancelled = False
        self.is_done = False

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it belongs to."""
        return self._loop

    def done(self) -> bool:
        """True once it was set or cancelled."""
        return self.is_done

    def cancelled(self) -> bool:
        """True if it was cancelled."""
        return self._is_cancelled

    def result(self) -> None:
        """None once it was set. Raises CancelledError if it was cancelled, InvalidStateError if neither."""
        if self._is_cancelled:
            raise self._cancelled_error()
        if not self.is_done:
            raise asyncio.InvalidStateError("Result is not set.")

    def exception(self) -> None:
        """As `result`: no exception is ever set."""
        self.result()

    def cancel(self, msg: Optional[Any] = None) -> bool:
        """What Task.cancel calls. False if it is done."""
        self._asyncio_future_blocking = False
        if self.is_done:
            return False
        self.is_done = self._is_cancelled = True
        self._message = msg
        self.wake_soon()
        return True

    def add_done_callback(self, callback: _Callback, *, context: Optional[Context] = None) -> None:
        """Have something called once this is done, in a context."""
        if context is None:
            context = copy_context()
        if self.is_done:
            self._loop.call_soon(callback, self, context=context)
        else:
            self._callbacks.append((callback, context))

    def remove_done_callback(self, callback: _Callback) -> int:
        """Forget a callback. Returns: how often it was there."""
        kept = [each for each in self._callbacks if each[0] != callback]
        count = len(self._callbacks) - len(kept)
        self._callbacks = kept
        return count

    def __await__(self) -> Generator[Any, None, None]:
        if not self.is_done:
            self._asyncio_future_blocking = True
            yield self
        if self._is_cancelled:
            raise self._cancelled_error()

    __iter__ = __await__

    def __repr__(self) -> str:
        state = "cancelled" if self._is_cancelled else "finished" if self.is_done else "pending"
        return f"<Waiter {state}>"

    def _cancelled_error(self) -> asyncio.CancelledError:
        return asyncio.CancelledError() if self._message is None else asyncio.CancelledError(self._message)

    def wake(self) -> None:
        """It is done: call back, now if that is possible. Nothing that is called raises here."""
        if len(self._callbacks) != 1 or not self._loop.is_running() or _current_task(self._loop) is not None:
            self.wake_soon()
            return
        try:
            self._callbacks[0][1].run(self._call)
        except BaseException as exc:  # KeyboardInterrupt and SystemExit end the loop, as from any callback
            if self._callbacks:  # somebody has entered this context already
                self.wake_soon()
            else:
                self._loop.call_soon(_raise, exc)

    def wake_soon(self) -> None:
        """It is done: call back in the next cycle of the loop."""
        callbacks, self._callbacks = self._callbacks, []
        for callback, context in callbacks:
            self._loop.call_soon(callback, self, context=context)

    def _call(self) -> None:
        callback = self._callbacks.pop()[0]
        callback(self)


def _raise(exc: BaseException) -> None:
    raise exc
