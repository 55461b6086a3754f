"""What users say about limits, as the engine and asyncio want it."""

from __future__ import annotations

import functools
from collections.abc import Hashable

from picows.options import check_size

from .._limits import check_limits


def check_options(max_size: object, max_queue: object, write_limit: object) -> None:
    """Refuse limits that no connection can have, before there is one.

    Args:
        max_size: as for `connect`, like the others.
        max_queue: see max_size.
        write_limit: see max_size.

    Raises:
        ValueError: they are out of range, or in the wrong order.
        TypeError: they are no numbers.
    """
    for limit in _pair("max_size", max_size, True):
        if limit is not None:
            check_size("max_size", limit)
    _in_order("max_queue", max_queue, True)
    _in_order("write_limit", write_limit, False)


def queue_limits(max_queue: object) -> int | None | tuple[int, int]:
    """`max_queue` for the engine. Raises as `check_options`."""
    return _queue_limits(tuple(max_queue) if isinstance(max_queue, list) else max_queue)


def write_limits(write_limit: object) -> tuple[int | None, int | None]:
    """`write_limit` for `set_write_buffer_limits`: high and low. Raises as `check_options`."""
    return _write_limits(tuple(write_limit) if isinstance(write_limit, list) else write_limit)


# Each connection asks these, nearly always what the last one has asked. 1 and True are not the same.


@functools.lru_cache(maxsize=16, typed=True)
def _queue_limits(max_queue: Hashable) -> int | None | tuple[int, int]:
    high, low = _in_order("max_queue", max_queue, True)
    if high is None or low is None:
        return None
    return max(high, 1), low  # with less, the engine would never read


@functools.lru_cache(maxsize=16, typed=True)
def _write_limits(write_limit: Hashable) -> tuple[int | None, int | None]:
    return _in_order("write_limit", write_limit, False)


def _in_order(name: str, limits: object, may_be_none: bool) -> tuple[int | None, int | None]:
    high, low = _pair(name, limits, may_be_none)
    try:
        return check_limits(high, low)
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}, got {limits!r}") from None


def _pair(name: str, limits: object, may_be_none: bool) -> tuple[int | None, int | None]:
    """One limit alone, or two."""
    pair = limits if isinstance(limits, (tuple, list)) else (limits, None)
    if not may_be_none and limits is None or not all(each is None or isinstance(each, int) for each in pair):
        raise TypeError(f"{name} must be an int or a pair of int or None, got {limits!r}")
    if len(pair) != 2:
        raise ValueError(f"{name} must be an int or a pair, got {limits!r}")
    return pair[0], pair[1]
