"""What the connections of one thread share, so that an idle connection owns no buffer.

- one read buffer: an event loop asks for a buffer, fills it and hands it over in one go, so one serves all its
  connections;
- a mapping that a large frame has left behind, for the next one (see `pending`);
- masking keys, drawn from the operating system in blocks: one key costs nanoseconds and no system call;
- the timer of those that wait for their peer to hang up;
- the batch: while one read is being processed, each connection's first write goes out at once and its later ones are
  gathered and leave together at the end of the batch (see `wire`).

A pool belongs to one thread: keys are never shared between threads. After fork() the child draws a new block.
"""

from __future__ import annotations

import asyncio
import os
import struct
import threading
import weakref
from typing import TYPE_CHECKING, Any, Iterator, List, Optional, Tuple

from ..deadlines import SharedDeadlines

if TYPE_CHECKING:
    from .waiter import Waiter
    from .wire import Wire

#: Small enough that the bytes copied out of it stay below malloc's threshold for mmap, whose page faults cost more
#: than the read.
READ_SIZE = 64 * 1024
#: A frame that is larger does not leave its mapping behind.
_LARGEST_SPARE = 2 * 1024 * 1024
_KEYS_PER_BLOCK = 256
_unpack_little = struct.Struct(f"<{_KEYS_PER_BLOCK}I").unpack
_unpack_big = struct.Struct(f">{_KEYS_PER_BLOCK}I").unpack


class Pool:
    """The shared state of one thread's connections."""

    __slots__ = (
        "__weakref__",
        "_keys",
        "_spare",
        "batch",
        "burst_loop",
        "closing",
        "gathering",
        "in_batch",
        "in_read",
        "read_view",
        "waking",
    )

    def __init__(self) -> None:
        self.read_view = memoryview(bytearray(READ_SIZE))
        self.in_batch = False
        #: If the batch is not a read but a burst of `recv`: the event loop that will end it.
        self.burst_loop: Optional[asyncio.AbstractEventLoop] = None
        #: Counts batches, so that a transport can tell its first write of a batch from later ones without being reset.
        self.batch = 0
        #: The loop's callback for a read is running, and whom it wakes when it is over.
        self.in_read = False
        self.waking: Optional[Waiter] = None
        #: Connections that hold gathered writes.
        self.gathering: List[Wire] = []
        self.closing = SharedDeadlines()
        self._spare: Any = None
        self._keys: Iterator[Tuple[int, int]] = iter(())
        _pools.add(self)

    def next_key(self) -> Tuple[int, int]:
        """A fresh masking key, its four bytes read as a little-endian and as a big-endian integer."""
        key = next(self._keys, None)
        if key is None:
            block = os.urandom(4 * _KEYS_PER_BLOCK)
            self._keys = zip(_unpack_little(block), _unpack_big(block))
            key = next(self._keys)
        return key

    def forget_keys(self) -> None:
        """Draw a new block for the next key."""
        self._keys = iter(())

    def take_mapping(self, size: int) -> Any:
        """The mapping that was kept, if it is of about that size, else None."""
        spare = self._spare
        if spare is None or not size <= len(spare) <= 2 * size:
            return None
        self._spare = None
        return spare

    def keep_mapping(self, mapping: Any) -> None:
        """Nobody needs this mapping any more."""
        if len(mapping) <= _LARGEST_SPARE:
            self._spare = mapping

    def wake(self, waiter: Waiter) -> None:
        """Wake a task at the end of this read, or, where that is taken or nothing is read, in the next cycle."""
        waiter.is_done = True
        if self.in_read and self.waking is None:
            self.waking = waiter
        else:
            waiter.wake_soon()

    def end_read(self) -> None:
        """The last thing that the loop's callback for a read does."""
        waiter = self.waking
        self.in_read = False
        if waiter is not None:
            self.waking = None
            waiter.wake()

    def end_batch(self) -> None:
        """Send what was gathered, and end the batch."""
        self.in_batch = False
        self.burst_loop = None
        while self.gathering:
            wires, self.gathering = iter(self.gathering), []
            try:
                for wire in wires:
                    wire.end_batch()
            except BaseException:
                # Ctrl-C in a callback of one: what the others have gathered leaves all the same.
                self.gathering[:0] = wires
                self.end_batch()
                raise


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_local = threading.local()


def current_pool() -> Pool:
    """The pool of the calling thread."""
    pool: Optional[Pool] = getattr(_local, "pool", None)
    if pool is None:
        pool = _local.pool = Pool()
    return pool


def _forget_all_keys() -> None:
    for pool in list(_pools):
        pool.forget_keys()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all_keys)
