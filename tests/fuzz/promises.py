"""What targets share: cuts of their input, and the exception for a promise that was not kept."""

from __future__ import annotations

from typing import Any

#: Stands in responses for the Sec-WebSocket-Accept that is right.
ACCEPT = b"{accept}"
#: The most that a message or a frame may have.
LIMIT = 4096
#: Up to this size an input is also fed byte by byte.
_BYTEWISE = 400


class Broken(Exception):
    """A promise was not kept."""


def same(what: str, *outcomes: Any) -> Any:
    """Raise if there are different ones."""
    for outcome in outcomes:
        if outcome != outcomes[0]:
            raise Broken(f"{what}: {outcome!r:.2000}\ninstead of {outcomes[0]!r:.2000}")
    return outcomes[0]


def must(condition: object, what: str) -> None:
    """Raise if it is false."""
    if not condition:
        raise Broken(what)


def pieces_of(data: bytes, first: int, second: int) -> list[bytes]:
    """Cut at two places, of which each is so many 255ths of it."""
    one, two = sorted((first * len(data) // 255, second * len(data) // 255))
    return [piece for piece in (data[:one], data[one:two], data[two:]) if piece]


def ways(data: bytes, first: int, second: int) -> list[list[bytes]]:
    """Whole, cut at two places, and byte by byte if that does not take long."""
    cuts = [[data] if data else [], pieces_of(data, first, second)]
    return cuts if len(data) > _BYTEWISE else [*cuts, [data[at : at + 1] for at in range(len(data))]]


def ways_of_heads(data: bytes, first: int) -> list[list[bytes]]:
    """Ways in which no read has a whole head of more than a byte before its last one."""
    middle = 1 + first * max(0, len(data) - 2) // 255
    cuts = [[data[:1], data[1:]], [data[:1], data[1:middle], data[middle:]]]
    if len(data) <= _BYTEWISE:
        cuts.append([data[at : at + 1] for at in range(len(data))])
    return [[piece for piece in pieces if piece] for pieces in cuts]
