"""A nursery that is not bound to the block in which it was opened.

Where connections are iterated over, the nursery of one of them must be open while a generator is suspended, whose
caller may leave the loop whenever he likes. In trio a block of his own task must not be left open like that. So a
system task opens the nursery, and waits until it is told to close it.
"""

from __future__ import annotations

import trio


class Host:
    """Opens and closes a nursery. It is used by `await open()`, then `await close()` or `abandon()`."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._is_ready = trio.Event()
        self._is_done = trio.Event()
        self._has_ended = trio.Event()
        self._failure: BaseException | None = None

    async def open(self) -> trio.Nursery:
        """Open the nursery."""
        trio.lowlevel.spawn_system_task(self._run)
        try:
            await self._is_ready.wait()
        except trio.Cancelled:
            self.abandon()
            raise
        assert self._nursery is not None
        return self._nursery

    async def close(self) -> None:
        """Wait for the tasks in the nursery. Raises what they raised."""
        self._is_done.set()
        await self._has_ended.wait()
        if self._failure is not None:
            raise self._failure

    def abandon(self) -> None:
        """Have the nursery end when its tasks do."""
        self._is_done.set()

    async def _run(self) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                self._is_ready.set()
                await self._is_done.wait()
        except BaseException as exc:  # a system task that fails ends the program
            self._failure = exc
        finally:
            self._has_ended.set()
