"""The chaos proxy itself: every byte in order up to the fault, the planned fault, the same again by its seed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, AsyncIterator, Callable, Coroutine, List, Tuple

import pytest
from fixtures.chaos import DOWN, FAULTS, SHAPES, UP, ChaosProxy, Plan, make_plan
from fixtures.peers import RawPeer
from fixtures.sockets import Net, until

DATA = bytes(range(256)) * 400
Script = Callable[[RawPeer], Coroutine[Any, Any, None]]


@contextlib.asynccontextmanager
async def through(net: Net, script: Script, plan: Plan) -> AsyncIterator[Tuple[RawPeer, ChaosProxy]]:
    """A client, through a proxy with one plan, to a server that runs a script."""
    server = await net.raw_server(script)
    async with ChaosProxy(server.sockets[0].getsockname()[:2], 7, plan=lambda number: plan) as proxy:
        peer = RawPeer(*await asyncio.open_connection("127.0.0.1", proxy.port))
        try:
            yield peer, proxy
        finally:
            await peer.aclose()


async def read_all(peer: RawPeer) -> Tuple[bytes, str]:
    """What comes, and how it ends."""
    data = bytearray()
    try:
        while piece := await peer.reader.read(65536):
            data += piece
    except ConnectionResetError:
        return bytes(data), "reset"
    return bytes(data), "end"


async def echo(peer: RawPeer) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await peer.reader.read(65536):
            peer.write(data)
            await peer.writer.drain()
        peer.writer.write_eof()


@pytest.mark.parametrize("size", [1, 1000, 100_000])
@pytest.mark.parametrize("shape", SHAPES)
async def test_shapes_change_no_byte(local: Net, shape: str, size: int) -> None:
    if shape != "split":
        size = max(2048, size)
    async with through(local, echo, Plan(shape, size=size, pause_s=0.0005)) as (peer, proxy):
        peer.write(DATA)
        peer.writer.write_eof()
        assert await read_all(peer) == (DATA, "end")
        assert dict(proxy.shapes) == ({} if shape == "whole" else {shape: 1})
        assert proxy.fault_count == 0


@pytest.mark.parametrize("after", [0, 1, 5000])
@pytest.mark.parametrize(("fault", "ends"), [("cut", {"end"}), ("half-close", {"end"}), ("reset", {"reset"})])
async def test_what_ends_a_direction(local: Net, fault: str, ends: Any, after: int) -> None:
    async def script(peer: RawPeer) -> None:
        peer.write(DATA)
        with contextlib.suppress(ConnectionError):
            await peer.reader.read()

    async with through(local, script, Plan(fault=fault, direction=DOWN, after=after)) as (peer, proxy):
        data, end = await read_all(peer)
        assert end in ends
        assert data == DATA[:after] if fault != "reset" else DATA[:after].startswith(data)  # RST overtakes
        assert dict(proxy.faults) == {fault: 1}
        assert proxy.log[-1] == f"seed 7 connection 0: {fault} down at {after}"


async def test_half_closed_one_way_goes_on_the_other(local: Net) -> None:
    seen: List[bytes] = []

    async def script(peer: RawPeer) -> None:
        seen.append(await peer.reader.read())
        peer.write(b"still there")

    async with through(local, script, Plan(fault="half-close", direction=UP, after=3)) as (peer, _):
        peer.write(b"abcdef")
        assert await peer.reader.readexactly(11) == b"still there"
        assert seen == [b"abc"]


async def test_a_stall_ends_and_a_blackhole_does_not(local: Net) -> None:
    async with through(local, echo, Plan(fault="stall", direction=UP, after=2, stall_s=0.05)) as (peer, _):
        started = asyncio.get_running_loop().time()
        peer.write(b"abcd")
        assert await peer.reader.readexactly(4) == b"abcd"
        assert asyncio.get_running_loop().time() - started >= 0.04
    async with through(local, echo, Plan(fault="blackhole", direction=UP, after=2)) as (peer, proxy):
        peer.write(b"abcd")
        await until(lambda: proxy.faults)
        peer.write(b"efgh")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(peer.reader.readexactly(3), 0.05)


async def test_a_restart_ends_everything_and_comes_back(local: Net) -> None:
    server = await local.raw_server(echo)
    plans = [Plan(), Plan(fault="restart", after=2, stall_s=0.05), Plan()]
    async with ChaosProxy(server.sockets[0].getsockname()[:2], plan=plans.__getitem__) as proxy:
        port = proxy.port
        bystander, peer = [RawPeer(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(2)]
        bystander.write(b"x")
        assert await bystander.reader.readexactly(1) == b"x"
        peer.write(b"abcd")
        assert (await read_all(peer))[1] == (await read_all(bystander))[1] == "reset"
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        for each in (peer, bystander):
            await each.aclose()
        while proxy.port:
            with contextlib.suppress(ConnectionRefusedError):
                again = RawPeer(*await asyncio.open_connection("127.0.0.1", port))
                break
        again.write(b"y")
        assert await again.reader.readexactly(1) == b"y"
        await again.aclose()
        assert dict(proxy.faults) == {"restart": 1}


async def test_the_target_learns_of_a_client_that_is_gone(local: Net) -> None:
    ended = asyncio.Event()

    async def script(peer: RawPeer) -> None:
        with contextlib.suppress(ConnectionError):
            await peer.reader.read()
        ended.set()

    async with through(local, script, Plan()) as (peer, proxy):
        peer.write(b"x")
        await peer.writer.drain()
        peer.reset()
        await ended.wait()


def test_a_seed_says_everything() -> None:
    plans = [make_plan(3, number) for number in range(500)]
    assert plans == [make_plan(3, number) for number in range(500)]
    assert plans != [make_plan(4, number) for number in range(500)]
    assert {plan.shape for plan in plans} == set(SHAPES)
    assert {(plan.fault, plan.direction) for plan in plans} == {(fault, way) for fault in FAULTS for way in (UP, DOWN)}
    assert min(plan.after for plan in plans) < 10
    assert max(plan.after for plan in plans) > 50_000


async def test_a_failure_is_replayed_by_its_number(local: Net) -> None:
    """The 5th connection of one proxy and the only one of another are cut at the same byte."""
    ends: List[Any] = []

    async def script(peer: RawPeer) -> None:
        peer.write(DATA)
        with contextlib.suppress(ConnectionError):
            await peer.reader.read()

    server = await local.raw_server(script)
    address = server.sockets[0].getsockname()[:2]
    number = next(n for n in range(1000) if make_plan(1, n)[3:5] == ("cut", DOWN) and make_plan(1, n).after > 1000)
    for first in (number, 0):
        plan = make_plan(1, number)
        async with ChaosProxy(address, 1, first=first, plan=None if first else lambda n: plan) as proxy:  # noqa: B023
            peer = RawPeer(*await asyncio.open_connection("127.0.0.1", proxy.port))
            ends.append(await read_all(peer))
            await peer.aclose()
    assert ends[0] == ends[1] == (DATA[: make_plan(1, number).after], "end")


async def test_a_target_that_refuses(local: Net) -> None:
    server = await local.raw_server(echo)
    address = server.sockets[0].getsockname()[:2]
    server.close()
    await server.wait_closed()
    async with ChaosProxy(address) as proxy:
        peer = RawPeer(*await asyncio.open_connection("127.0.0.1", proxy.port))
        assert await read_all(peer) == (b"", "end")
        await peer.aclose()
        assert "refuses" in proxy.log[-1]
