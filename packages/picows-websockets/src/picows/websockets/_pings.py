"""Pings that wait for their pongs, by payload, oldest first (RFC 6455 5.5.2 and 5.5.3)."""

from __future__ import annotations

import random
from collections.abc import Container
from typing import TypeVar

from .exceptions import ConcurrencyError

T = TypeVar("T")


def choose_payload(payload: bytes | None, waiting: Container[bytes]) -> bytes:
    """The payload of a new ping: the user's, or one that is not in use if that is None.

    Raises:
        ConcurrencyError: the user's is in use.
    """
    if payload is None:
        payload = random.randbytes(4)
        while payload in waiting:
            payload = random.randbytes(4)
    elif payload in waiting:
        raise ConcurrencyError("already waiting for a pong with the same data")
    return payload


def take_acknowledged(payload: bytes, waiting: dict[bytes, T]) -> list[T]:
    """Remove the ping that a pong answers, and those sent before it; none if nobody sent such a ping."""
    if payload not in waiting:
        return []
    taken: list[T] = []
    while payload in waiting:
        taken.append(waiting.pop(next(iter(waiting))))
    return taken
