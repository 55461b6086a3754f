"""Each of our APIs with each library of others, both ways, over TCP and TLS, compressed and not: one scenario for all.

The sides are in `fixtures.matrix`, `matrix_ours` and `matrix_theirs`.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from fixtures.matrix import Client, Serving, Side
from fixtures.matrix_ours import OURS
from fixtures.matrix_theirs import theirs
from fixtures.sockets import Net

ONE_MIB = 2**20
MESSAGES = [
    "",
    b"",
    "text \u20ac\U0001f600",
    b"\0\xff",
    "x" * 125,
    b"y" * 126,
    "\u20ac" * 30_000,
    random.Random(1).randbytes(65_536),
    "m" * ONE_MIB,
    random.Random(2).randbytes(ONE_MIB),
]
THEIRS = ("websockets", "aiohttp", "ws")


@pytest.fixture(params=[False, True], ids=["tcp", "tls"])
def wire(request: pytest.FixtureRequest) -> Net:
    """asyncio's loop and the default transports, over TCP and TLS."""
    net = Net("asyncio", None, request.param)
    if net.is_secure:
        net.load_certificates()
    return net


@pytest.fixture(params=OURS, ids=lambda side: side.name)
def ours(request: pytest.FixtureRequest) -> Side:
    """One of our APIs."""
    side: Side = request.param
    _skip_without(side)
    return side


@pytest.fixture(params=THEIRS)
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Side:
    """Another library."""
    side = theirs(request.param, tmp_path)
    _skip_without(side)
    if side.name == "ws":
        from fixtures.node_peer import node_modules

        node_modules()
    return side


def _skip_without(side: Side) -> None:
    if side.module is not None:
        pytest.importorskip(f"{side.module}", reason=f"{side.module} is not installed")


async def check_messages(client: Client) -> None:
    for message in MESSAGES:
        await client.send(message)
        assert await client.recv() == message


async def check_fragments(client: Client, sends: bool, asks: bool) -> None:
    if sends:
        for parts in (["frag", "ment", "s"], [b"\0", b"", b"\xff" * 70_000], ["", "x"]):
            await client.send_fragments(parts)
            assert await client.recv() == parts[0][:0].join(parts)  # type: ignore[arg-type]
    if asks:
        await client.send("!fragments text")
        assert await client.recv() == "one two three"
        await client.send("!fragments binary")
        assert await client.recv() == b"one two three"


async def check_pings(client: Client) -> None:
    await client.ping()
    await client.send("!ping")
    assert await client.recv() == "pong are you there"
    await client.ping()


async def check_pair(net: Net, dials: Side, serves: Side, compress: bool) -> None:
    """All that is to be seen between a client and a server."""
    async with serves.serve(net, compress) as serving:
        async with dials.connect(net, serving.url, compress) as client:
            assert client.compresses == compress
            await check_messages(client)
            await check_fragments(client, dials.can_fragment, serves.can_fragment)
            await check_pings(client)
            await check_closing_by_client(client, serving, serves.answer or 4001)
        async with dials.connect(net, serving.url, compress) as client:
            await client.send("!close 4002 from the server \u20ac")
            assert await client.hear_end() == (4002, "from the server \u20ac")
            assert (await serving.hear_end())[0] == (dials.answer or 4002)


async def check_closing_by_client(client: Client, serving: Serving, answer: int) -> None:
    assert await client.close(4001, "from the client \u20ac") == answer
    assert await serving.hear_end() == (4001, "from the client \u20ac")


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "deflate"])
async def test_our_client(wire: Net, ours: Side, other: Side, compress: bool) -> None:
    await check_pair(wire, ours, other, compress)


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "deflate"])
async def test_our_server(wire: Net, ours: Side, other: Side, compress: bool) -> None:
    await check_pair(wire, other, ours, compress)


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "deflate"])
@pytest.mark.parametrize("serves", OURS, ids=lambda side: side.name)
async def test_ours_with_ours(wire: Net, ours: Side, serves: Any, compress: bool) -> None:
    _skip_without(serves)
    await check_pair(wire, ours, serves, compress)
