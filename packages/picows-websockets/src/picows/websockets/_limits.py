"""What users say about limits, as queues of frames want it."""

from __future__ import annotations

import os
import sys

#: Fragments that are joined to one message. No list has more than sys.maxsize.
MAX_FRAGMENTS = min(int(os.environ.get("WEBSOCKETS_MAX_FRAGMENTS", "4096")), sys.maxsize)

#: Bytes of frames that are read before the opening handshake is over, while a hook of the user decides about it.
MAX_SENT_AHEAD = 64 * 1024


def check_limits(high: int | None, low: int | None) -> tuple[int | None, int | None]:
    """The limits of a queue, with the one that was left out: a quarter, or four times as much.

    Raises:
        ValueError: they are negative, or in the wrong order.
    """
    if high is None and low is not None:
        high = low * 4
    if high is not None and low is None:
        low = high // 4
    if low is not None and low < 0:
        raise ValueError("low must be positive or equal to zero")
    if high is not None and low is not None and high < low:
        raise ValueError("high must be greater than or equal to low")
    return high, low
