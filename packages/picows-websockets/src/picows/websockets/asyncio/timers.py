"""Timers that connections share (see `picows.deadlines`): an idle connection has none of its own."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from typing import Any

from picows.deadlines import Deadlines


class _Known(threading.local):
    """The Deadlines of a thread, as long as somebody's time is running."""

    def __init__(self) -> None:
        self.by_purpose: weakref.WeakValueDictionary[Any, Deadlines[Any]] = weakref.WeakValueDictionary()


_known = _Known()


def deadlines(loop: asyncio.AbstractEventLoop, timeout_s: float, on_expired: Callable[[Any], object]) -> Deadlines[Any]:
    """The Deadlines of this loop for a timeout and what follows from it; the caller keeps them."""
    purpose = on_expired, timeout_s
    known = _known.by_purpose.get(purpose)
    if known is None or known.loop is not loop:
        known = _known.by_purpose[purpose] = Deadlines(loop, timeout_s, on_expired)
    return known
