"""Limits and proxies that users get wrong: refused as websockets does it, but before anything is connected (W6)."""

from __future__ import annotations

from typing import Any

import pytest
from fixtures.compat import OURS, Library, assert_same, attempt, skip_unless_comparable, uri

from picows.websockets.asyncio.limits import queue_limits, write_limits

skip_unless_comparable()

ACCEPTED: list[dict[str, Any]] = [
    *({"max_queue": each} for each in (0, 1, None, (2, None), (None, 4), (None, None), (4, 4), (0, 0), [3, 1])),
    *({"write_limit": each} for each in (0, (8, 2), (None, 4), (None, None), (0, 0))),
    *({"max_size": each} for each in (None, 5, (5, None), (None, 5), (5, 5), [5, 5])),
]
#: What is out of range, and what is no number.
WRONG = [
    *({"max_queue": each} for each in (-1, (2, 5), (4, -1), (None, -1), (1, 2, 3))),
    *({"write_limit": each} for each in (-1, (2, 5), (4, -1), (1, 2, 3))),
    *({"max_size": each} for each in (0, -1, (5, 0), (1, 2, 3))),
]
NO_NUMBERS = [
    *({"max_queue": each} for each in (2.5, "a", ("a", None), {})),
    *({"write_limit": each} for each in (None, 2.5, "a", ("a", None))),
    *({"max_size": each} for each in (2.5, "a", ("a", None), True)),
]
REFUSED = [(options, ValueError) for options in WRONG] + [(options, TypeError) for options in NO_NUMBERS]


@pytest.mark.parametrize("options", ACCEPTED, ids=repr)
def test_limits_that_connections_can_have(options: Any) -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve(**options) as server, library.connect(server, **options) as connection:
            for _ in range(3):
                await connection.send("x")
            return [await connection.recv() for _ in range(3)]

    assert_same(scenario)


@pytest.mark.parametrize(("options", "expected"), REFUSED, ids=repr)
def test_limits_that_no_connection_can_have(options: Any, expected: Any) -> None:
    """websockets connects first, says this in its log and raises what follows from it; it knows no wrong `max_size`."""
    (name,) = options
    with pytest.raises(expected, match=f"^{name}"):
        OURS.client.connect(uri(1), **options)
    with pytest.raises(expected, match=f"^{name}"):
        OURS.serve(**options)


def test_limits_that_were_left_out() -> None:
    """As the Assembler has them; but for 0: with that the engine would never read."""
    queues = [queue_limits(limits) for limits in (16, (16, 2), (None, 4), 0, None, (None, None))]
    assert queues == [(16, 4), (16, 2), (16, 4), (1, 0), None, None]
    buffers = [write_limits(limits) for limits in (16, (None, 4), 0, (None, None))]
    assert buffers == [(16, 4), (16, 4), (0, 0), (None, None)]


@pytest.mark.parametrize("proxy", [False, 0, b"http://127.0.0.1:1", b"", []], ids=repr)
def test_a_proxy_that_is_no_str(proxy: Any) -> None:
    """What is wrong with it is said in other words: theirs is about a scheme."""

    async def scenario(library: Library) -> Any:
        name, text, cause = await attempt(library.connect(1, proxy=proxy))
        return name, text.partition(": ")[0], cause

    assert assert_same(scenario)[0] == "InvalidProxy"
