"""What users say about limits, as the engine and asyncio want it."""

from __future__ import annotations


def queue_limits(max_queue: int | None | tuple[int | None, int | None]) -> int | None | tuple[int, int]:
    """`max_queue` for the engine."""
    high, low = max_queue if isinstance(max_queue, tuple) else (max_queue, None)
    if high is None:
        return None
    high = max(high, 1)  # with less, the engine would never read
    return high, high // 4 if low is None else min(low, high)


def write_limits(write_limit: int | tuple[int, int | None]) -> dict[str, int | None]:
    """Arguments of `set_write_buffer_limits`."""
    high, low = (write_limit, None) if isinstance(write_limit, int) else write_limit
    return {"high": high, "low": low}
