"""What `recv` awaits: a future that wakes its task as soon as the read is processed, not in the next cycle of the loop.

An asyncio.Future calls back through `call_soon`: the task goes on in the loop's next cycle, behind another `select`.
The message layer wakes at most one task a read, and when it does, the read is over and nothing is left to do in this
callback of the loop: the task may as well run there. It does unless it would run within another task, or where no loop
runs; then it is woken as a Future would.

asyncio's tasks await anything that has `_asyncio_future_blocking` and the methods of a Future.
"""

import asyncio
import sys

cimport cython
from cpython.contextvars cimport PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit

# Before Python 3.12 asyncio.current_task is a Python function around this.
_current_task = asyncio.current_task if sys.version_info >= (3, 12) else asyncio.tasks._current_tasks.get


@cython.final
@cython.freelist(16)
cdef class Waiter:
    """A future of one loop, without a result; whoever has it sets it once."""

    @property
    def _asyncio_future_blocking(self):
        return self._is_blocking

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, bint is_blocking):
        self._is_blocking = is_blocking

    def get_loop(self):
        """The loop that it belongs to."""
        return self._loop

    def done(self):
        """True once it was set or cancelled."""
        return self.is_done

    def cancelled(self):
        """True if it was cancelled."""
        return self._is_cancelled

    def result(self):
        """None once it was set. Raises CancelledError if it was cancelled, InvalidStateError if neither."""
        if self._is_cancelled:
            raise self._cancelled_error()
        if not self.is_done:
            raise asyncio.InvalidStateError("Result is not set.")

    def exception(self):
        """As `result`: no exception is ever set."""
        return self.result()

    def cancel(self, msg=None):
        """What Task.cancel calls. False if it is done."""
        self._is_blocking = False
        if self.is_done:
            return False
        self.is_done = self._is_cancelled = True
        self._message = msg
        self.wake_soon()
        return True

    def add_done_callback(self, callback, *, context=None):
        """Have something called once this is done, in a context."""
        if context is None:
            context = PyContext_CopyCurrent()
        if self.is_done:
            self._loop.call_soon(callback, self, context=context)
        elif self._callback is None:
            self._callback, self._context = callback, context
        else:
            self._others = [*(self._others or ()), (callback, context)]

    def remove_done_callback(self, callback):
        """Forget a callback. Returns: how often it was there."""
        added = [] if self._callback is None else [(self._callback, self._context), *(self._others or ())]
        kept = [each for each in added if each[0] != callback]
        self._callback, self._context = kept[0] if kept else (None, None)
        self._others = kept[1:]
        return len(added) - len(kept)

    def __await__(self):
        return self

    __iter__ = __await__

    def __next__(self):
        if not self.is_done:
            self._is_blocking = True
            return self
        if self._is_cancelled:
            raise self._cancelled_error()
        raise StopIteration

    def __repr__(self):
        state = "cancelled" if self._is_cancelled else "finished" if self.is_done else "pending"
        return f"<Waiter {state}>"

    cdef object _cancelled_error(self):
        return asyncio.CancelledError() if self._message is None else asyncio.CancelledError(self._message)

    cdef int wake(self) except -1:
        """It is done: call back, now if that is possible. Nothing that is called raises here."""
        callback, context = self._callback, self._context
        if callback is None:
            return 0
        if self._others or not self._may_run_now() or not _enter(context):
            return self.wake_soon()
        self._callback = self._context = None
        try:
            callback(self)
        except BaseException as exc:  # KeyboardInterrupt and SystemExit end the loop, as from any callback
            self._loop.call_soon(_raise, exc)
        finally:
            PyContext_Exit(context)
        return 0

    cdef int wake_soon(self) except -1:
        """It is done: call back in the next cycle of the loop."""
        callback, context = self._callback, self._context
        if callback is not None:
            self._callback = self._context = None
            self._loop.call_soon(callback, self, context=context)
            others, self._others = self._others, None
            for callback, context in others or ():
                self._loop.call_soon(callback, self, context=context)
        return 0

    cdef bint _may_run_now(self) except -1:
        return self._loop.is_running() and _current_task(self._loop) is None


cdef Waiter new_waiter(loop):
    cdef Waiter waiter = Waiter.__new__(Waiter)
    waiter._loop = loop
    return waiter


cdef bint _enter(context) except -1:
    """False if somebody has entered this context already."""
    try:
        PyContext_Enter(context)
    except RuntimeError:
        return False
    return True


def _raise(exc):
    raise exc
