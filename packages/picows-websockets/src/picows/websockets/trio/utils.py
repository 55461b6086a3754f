"""Waiting for one of several events."""

from __future__ import annotations

import trio

__all__ = ["race_events"]


async def race_events(*events: trio.Event) -> None:
    """Wait until at least one of the events is set.

    Args:
        events: which.

    Raises:
        ValueError: there are none.
    """
    if not events:
        raise ValueError("no events provided")
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(wait, event)
