"""N: asyncio. Cancelling, closing and forgetting lose nothing, leave nothing behind, and never wait for ever."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import subprocess
import sys
import time
import weakref
from typing import Any, List, Set

import pytest
from fixtures.messages import closed, fragments, start
from fixtures.peers import close_frame
from fixtures.places import Place
from fixtures.sockets import port_of, settle, until
from fixtures.wire import BINARY, CLOSE, TEXT, build, close_payload

from picows.errors import WSConnectionClosed

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


@pytest.mark.parametrize("parts", [1, 3], ids=["frames", "fragments"])
def test_n1_a_cancelled_recv_loses_nothing(talk: Any, parts: int) -> None:
    """Thousands of numbered messages, and a recv that is cancelled at random moments."""
    connection = talk(max_queue=None)
    count, rng = (20_000 if "PICOWS_TEST_LARGE" in os.environ else 3000) // parts, random.Random(1)
    received: List[int] = []
    cancelled = 0

    async def receive() -> None:
        nonlocal cancelled
        while len(received) < count:
            task = asyncio.ensure_future(connection.listener.recv())
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
            task.cancel()
            try:
                received.append(int(await task))
            except asyncio.CancelledError:
                cancelled += 1

    task = connection.loop.create_task(receive())
    sent = 0
    while not task.done():
        for _ in range(rng.randrange(50)):
            if sent < count:
                connection.feed(fragments(connection, TEXT, *[b"", b""][: parts - 1], b"%d" % sent))
                sent += 1
        connection.loop.settle()
    assert received == list(range(count))
    assert cancelled > 100


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.TaskGroup is new in Python 3.11")
def test_n1_a_task_group_that_is_aborted_loses_nothing(talk: Any) -> None:
    """Its recv is cancelled in the turn in which another task fails, before, with and after the message."""
    group_type = vars(asyncio)["TaskGroup"]
    connection = talk(max_queue=None)
    received: List[str] = []

    async def fail() -> None:
        raise KeyError("the group is aborted")

    async def attempt(number: int, turns: int) -> None:
        async def take() -> None:
            received.append(await connection.listener.recv())

        try:
            async with group_type() as group:
                group.create_task(take())
                await settle(turns)
                connection.feed_frame(TEXT, str(number))
                await settle(number % 4)
                group.create_task(fail())
        except BaseException as exc:  # a group of them, which is no class before Python 3.11
            if [type(cause) for cause in exc.exceptions] != [KeyError]:  # type: ignore[attr-defined]
                raise

    for number in range(200):
        connection.run(attempt(number, number % 5))
    while len(received) < 200:
        received.append(connection.run(connection.listener.recv()))
    assert received == [str(number) for number in range(200)]


async def test_n1_wait_for_0(place: Place) -> None:
    async def handler(listener: Any) -> None:
        for number in range(200):
            await listener.send(str(number))

    server = await place.serve_messages(handler)
    client = await place.message_client(server)
    received: List[str] = []
    while len(received) < 200:
        with contextlib.suppress(asyncio.TimeoutError):
            received.append(await asyncio.wait_for(client.recv(), 0))
            continue
        received.append(await client.recv())
    assert received == [str(number) for number in range(200)]


@pytest.mark.parametrize("ending", ["close", "close and reset", "reset", "eof"])
async def test_n2_what_came_before_the_end_is_received(place: Place, ending: str) -> None:
    async def handler(peer: Any) -> None:
        await peer.accept(then=b"".join(build(TEXT, b"%d" % number) for number in range(100)))
        if ending.startswith("close"):
            peer.write(close_frame(1000))
        await peer.writer.drain()
        await arrived.wait()
        peer.hang_up() if ending in ("close", "eof") else peer.reset()

    arrived = asyncio.Event()
    server = await place.raw_server(handler)
    client = await place.message_client(server, max_queue=None)
    messages = [await client.recv()]
    arrived.set()
    with pytest.raises(WSConnectionClosed) as caught:
        while True:
            messages.append(await client.recv())
    assert messages == [str(number) for number in range(len(messages))]
    if not ending.endswith("reset"):  # a reset may overtake what the kernel has not given us yet
        assert len(messages) == 100
        assert caught.value.code == (1000 if ending == "close" else 1006)


NOISE = """
import asyncio, contextlib, sys
sys.path[:0] = {paths!r}
from picows.errors import WSConnectionClosed
from picows import _engine, ws_connect, ws_create_server
engine = _engine.load({engine!r})

class Echo(engine.WSMessageListener):
    def on_ws_connected(self, transport):
        super().on_ws_connected(transport)
        self.task = asyncio.ensure_future(self.run())
    async def run(self):
        with contextlib.suppress(WSConnectionClosed):
            async for message in self:
                await self.send(message)

async def main():
    options = dict(engine=engine, enable_auto_ping=True)
    server = await ws_create_server(lambda request: Echo(), "127.0.0.1", 0, **options)
    url = "ws://127.0.0.1:%d/" % server.sockets[0].getsockname()[1]
    for how in ("close", "cancel", "disconnect", "abort", "ping"):
        transport, listener = await ws_connect(engine.WSMessageListener, url, **options)
        await listener.send("x")
        task = asyncio.ensure_future(listener.recv() if how != "ping" else transport.measure_roundtrip_time(3))
        if how == "cancel":
            task.cancel()
        await asyncio.wait([task])
        if how in ("close", "ping"):
            await listener.close()
        else:
            transport.disconnect(graceful=how != "abort")
        await transport.wait_disconnected()
        del transport, listener, task
    await server.close()

asyncio.run(main())
import gc; gc.collect()
"""


def test_n3_asyncio_has_nothing_to_complain_about(engine: Any) -> None:
    """Debug mode, warnings as errors: not a word on stderr. (Every other test fails for what asyncio reports.)"""
    program = NOISE.format(paths=sys.path, engine=engine.name)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONASYNCIODEBUG": "1"},
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Executing ")]  # slow, says debug mode
    assert (done.returncode, lines) == (0, [])


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="only CPython counts references")
@pytest.mark.parametrize("how", ["close", "fin", "reset"])
async def test_n4_closed_connections_need_no_garbage_collector(place: Place, how: str) -> None:
    """30 of each kind; `tests/load/churn.py` does it with as many as you like."""
    refs: List[Any] = []

    async def handler(listener: Any) -> None:
        refs.extend([weakref.ref(listener), weakref.ref(listener.transport)])
        with contextlib.suppress(WSConnectionClosed):
            await listener.send(await listener.recv())
            await listener.recv()

    server = await place.serve_messages(handler)
    gc.collect()
    gc.disable()
    try:
        for _ in range(30):
            await place.come_and_go(server, how)
        await until(lambda: not server.connections)
        await settle(20)
        assert len(refs) == 60
        assert [ref() for ref in refs if ref() is not None and type(ref()).__name__ != "Served"] == []
    finally:
        gc.enable()


async def test_n5_loggers_are_not_kept(place: Place, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "picows")
    server = await place.serve_messages()
    before = len(logging.root.manager.loggerDict)
    for _ in range(20):
        peer = await place.raw_client(server)
        await peer.upgrade()
        await peer.aclose()
    await until(lambda: not server.connections)
    assert len(logging.root.manager.loggerDict) == before


@SIDES
@pytest.mark.parametrize("is_full", [False, True], ids=["", "the queue is full"])
@pytest.mark.parametrize("is_black_hole", [False, True], ids=["", "nothing leaves"])
def test_n6_close_ends(talk: Any, client: bool, is_full: bool, is_black_hole: bool) -> None:
    connection = talk(client=client, max_queue=2, close_timeout=10)
    if is_full:
        connection.feed(connection.frame(TEXT, b"x") * 10)
        assert connection.wire.calls == ["pause_reading"]
    connection.wire.stalled = is_black_hole
    began = connection.loop.time()
    connection.run(asyncio.wait_for(connection.listener.close(), 60))
    assert connection.loop.time() - began <= (20 if is_black_hole else 10)


def without_an_end(connection: Any) -> None:
    """Neither close nor abort of this transport leads to connection_lost."""
    connection.wire.abort = lambda: connection.wire.calls.append("abort")
    connection.wire.close = lambda: connection.wire.calls.append("close")


@SIDES
def test_n6_close_ends_although_connection_lost_never_comes(talk: Any, client: bool) -> None:
    """Twice close_timeout: for the peer, and for the transport."""
    connection = talk(client=client, close_timeout=10)
    without_an_end(connection)
    began = connection.loop.time()
    connection.run(asyncio.wait_for(connection.listener.close(), 60))
    assert connection.loop.time() - began == 20
    with pytest.raises(WSConnectionClosed):
        connection.run(connection.listener.recv())


@SIDES
@pytest.mark.parametrize(("graceful", "timeouts"), [(True, 2), (False, 1)], ids=["disconnect", "abort"])
def test_n6_wait_disconnected_ends_although_connection_lost_never_comes(
    connect: Any, client: bool, graceful: bool, timeouts: int
) -> None:
    registry: Set[Any] = set()
    connection = connect(client=client, close_timeout=10, registry=registry)
    without_an_end(connection)
    began = connection.loop.time()
    connection.transport.disconnect(graceful)
    connection.run(asyncio.wait_for(connection.transport.wait_disconnected(), 60))
    assert connection.loop.time() - began == 10 * timeouts
    assert connection.events == ["connected", "disconnected"]
    assert registry == set()
    connection.protocol.connection_lost(None)  # too late
    assert connection.events == ["connected", "disconnected"]


@SIDES
@pytest.mark.parametrize("second", ["recv", "recv_streaming"])
def test_n7_the_second_receiver_is_refused(talk: Any, client: bool, second: str) -> None:
    connection = talk(client=client)
    first = start(connection, connection.listener.recv())

    async def receive() -> Any:
        if second == "recv":
            return await connection.listener.recv()
        return [piece async for piece in connection.listener.recv_streaming()]

    with pytest.raises(RuntimeError, match="another recv"):
        connection.run(receive())
    connection.feed_frame(TEXT, b"for the first")
    connection.loop.settle()
    assert first.result() == "for the first"


async def test_n8_the_library_never_blocks(place: Place) -> None:
    """So it is in every test with `place`; this one also shows that a call that blocks would be found."""
    blockbuster = pytest.importorskip("blockbuster", reason="blockbuster is not installed: pip install blockbuster")
    server = await place.serve_messages()
    client = await place.message_client(server)
    for message in ("x", b"x" * 100_000):
        await client.send(message)
        assert await client.recv() == message

    class Sleepy(place.engine.WSListener):  # type: ignore[misc, name-defined]
        def on_ws_connected(self, transport: Any) -> None:
            with pytest.raises(blockbuster.BlockingError, match=r"time\.sleep"):
                time.sleep(0)
            found.append(transport)

    found: List[Any] = []
    await place.connect(Sleepy, server)
    assert len(found) == 1
    await client.close()


@pytest.mark.parametrize("stage", ["idle", "handshake", "open", "closing"])
async def test_n9_cancelling_serve_forever_ends_everything(place: Place, stage: str) -> None:
    """Nobody is accepted any more, handshakes get 503, connections 1001, and no task is left (`Net` looks)."""
    ended: List[str] = []

    async def handler(listener: Any) -> None:
        try:
            with contextlib.suppress(WSConnectionClosed):
                await listener.recv()
        finally:
            ended.append("handler")

    server = await place.serve_messages(handler, close_timeout=0.5)
    serving = asyncio.ensure_future(server.serve_forever())
    peer: Any = None
    if stage != "idle":
        peer = await place.raw_client(server)
        peer.write(b"GET / HTTP/1.1\r\n") if stage == "handshake" else await peer.upgrade()
        await settle(20)
    if stage == "closing":
        peer.send_close(1000)
        await peer.writer.drain()
    await settle()
    port = port_of(server)
    serving.cancel()
    if stage == "handshake":
        assert (await peer.reader.readline()).startswith(b"HTTP/1.1 503 ")
    elif peer is not None:
        frame = await peer.read_frame()
        answers = [close_payload(1001)] + [close_payload(1000)] * (stage == "closing")  # whichever CLOSE came first
        assert frame.opcode == CLOSE
        assert frame.payload in answers
        if stage == "open":
            peer.send_close(1001)
    if peer is not None:
        await peer.read_rest()
        await peer.aclose()
    with pytest.raises(asyncio.CancelledError):
        await serving
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    await until(lambda: stage not in ("open", "closing") or ended == ["handler"])
    assert not server.connections


def test_n_closed_connections_say_so(talk: Any) -> None:
    """After the end everything raises, and at once."""
    connection = talk()
    connection.lose()
    assert closed(connection).code == 1006
    with pytest.raises(WSConnectionClosed):
        connection.run(connection.listener.send(b"x" * BINARY))
