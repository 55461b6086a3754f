"""Pings, pongs, keepalive and broadcasts, on websockets and on ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fixtures.compat import (
    Library,
    Lines,
    assert_same,
    attempt,
    called,
    raw_server,
    read_frame,
    show_end,
    skip_unless_comparable,
)

skip_unless_comparable()


PAYLOADS = [None, "é", b"x", bytearray(b"y"), memoryview(b"z"), b"", b"x" * 125]


@pytest.mark.parametrize("data", PAYLOADS, ids=lambda data: f"{type(data).__name__} {len(data or b'')}")
def test_ping(data: Any) -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve() as server, library.connect(server) as connection:
            before = connection.latency
            latency = await (await connection.ping(data))
            return before, latency > 0, connection.latency == latency

    assert assert_same(scenario) == (0, True, True)


@pytest.mark.parametrize("data", [1, [], b"x" * 126, "é" * 63], ids=repr)
def test_bad_data(data: Any) -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve() as server, library.connect(server) as connection:
            return await attempt(connection.ping(data)), await attempt(connection.pong(data)), show_end(connection)

    assert_same(scenario)


def test_a_pong_answers_all_pings_before() -> None:
    async def script(reader: Any, writer: Any) -> None:
        for _ in range(3):
            await read_frame(reader)
        writer.write(b"\x8a\x01z\x8a\x01b\x81\x01x")
        await read_frame(reader)

    async def scenario(library: Library) -> Any:
        async with raw_server(script) as port:
            connection = await library.connect(port)
            pongs = [await connection.ping(data) for data in "abc"]
            again = await attempt(connection.ping(b"c"))
            await connection.recv()
            done = [pong.done() for pong in pongs]
            await connection.close()
            return done, again, await attempt(pongs[2])

    assert_same(scenario)


def test_what_the_peer_gets() -> None:
    async def scenario(library: Library) -> Any:
        frames = []

        async def script(reader: Any, writer: Any) -> None:
            writer.write(b"\x89\x02hi\x81\x01x")
            for _ in range(4):
                frames.append(await read_frame(reader))

        async with raw_server(script) as port:
            connection = await library.connect(port)
            await connection.recv()
            await connection.ping("a")
            await connection.pong(b"b")
            await connection.close(1001, "bye")
        return frames

    assert_same(scenario)


def test_keepalive() -> None:
    async def scenario(library: Library) -> Any:
        pings = []

        async def script(reader: Any, writer: Any) -> None:
            while len(pings) < 3:
                first, data = await read_frame(reader)
                pings.append((first, len(data)))
                writer.write(b"\x8a\x04" + data)
            writer.write(b"\x81\x01x")
            await read_frame(reader)

        async with raw_server(script) as port:
            connection = await library.connect(port, ping_interval=0.005)
            message = await connection.recv()
            latency = connection.latency
            await connection.close()
            return message, latency > 0, pings

    assert_same(scenario)


def test_keepalive_gives_up() -> None:
    async def script(reader: Any, writer: Any) -> None:
        await read_frame(reader)
        assert await read_frame(reader) == (0x88, b"\x03\xf3keepalive ping timeout")

    async def scenario(library: Library) -> Any:
        async with raw_server(script) as port:
            connection = await library.connect(port, ping_interval=0.005, ping_timeout=0.005, close_timeout=1)
            return (await attempt(connection.recv()))[:2], show_end(connection)

    assert_same(scenario)


def test_no_keepalive() -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve(ping_interval=None) as server:
            async with library.connect(server, ping_interval=None) as connection:
                await connection.send("x")
                return await connection.recv(), connection.latency

    assert_same(scenario)


# --- broadcast ---


@pytest.fixture(params=[None, "deflate"], ids=["plain", "deflate"])
def compression(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_broadcast(compression: Any) -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve(lambda connection: connection.wait_closed(), compression=compression) as server:
            clients = [await library.connect(server, compression=compression) for _ in range(3)]
            while len(server.connections) < 3:
                await asyncio.sleep(0)
            broadcast = library.server.broadcast
            broadcast(server.connections, "é")
            broadcast(server.connections, b"b")
            broadcast(server.connections, b"c", text=True)
            broadcast(server.connections, "d", text=False)
            broadcast(server.connections, memoryview(b"e"))
            broadcast([], "nobody")
            received = [[await client.recv() for _ in range(5)] for client in clients]
            refusals = [called(broadcast, server.connections, bad) for bad in (None, 1, [], {})]
            everybody = list(server.connections)
            await clients[0].close()
            broadcast(everybody, "rest")
            received.append([await client.recv() for client in clients[1:]])
            for client in clients:
                await client.close()
            return received, refusals

    assert_same(scenario)


def test_broadcast_passes_over_fragmented_messages() -> None:
    async def scenario(library: Library) -> Any:
        goes_on = asyncio.Event()

        async def fragments() -> Any:
            yield "a"
            await goes_on.wait()

        async def handler(connection: Any) -> None:
            sending = asyncio.create_task(connection.send(fragments()))
            await asyncio.sleep(0.005)
            library.server.broadcast([connection], "x")
            try:
                library.server.broadcast([connection], "x", raise_exceptions=True)
            except ExceptionGroup as exc:
                raised.append((str(exc), [(type(each).__name__, str(each)) for each in exc.exceptions]))
            goes_on.set()
            await sending

        raised: list[Any] = []
        lines = Lines()
        async with library.serve(handler, logger=lines.logger) as server, library.connect(server) as connection:
            return await connection.recv(), raised, [line for line in lines.lines if "broadcast" in line]

    assert_same(scenario)


@pytest.mark.parametrize("no_context", [False, True])
def test_compressed_broadcasts_keep_to_their_contexts(no_context: bool) -> None:
    """Messages sent before and after, to one connection only, use windows of their own."""

    async def scenario(library: Library) -> Any:
        factory = library.module("extensions.permessage_deflate").ServerPerMessageDeflateFactory
        extensions = [factory(server_no_context_takeover=no_context)]
        options = {"extensions": extensions, "compression": None}
        async with library.serve(lambda connection: connection.wait_closed(), **options) as server:
            clients = [await library.connect(server) for _ in range(2)]
            while len(server.connections) < 2:
                await asyncio.sleep(0)
            served = sorted(server.connections, key=lambda connection: connection.remote_address)
            clients.sort(key=lambda connection: connection.local_address)
            await served[0].send("only one " * 9)
            for text in ("first " * 9, "first " * 9 + "second"):
                library.server.broadcast(served, text)
            await served[0].send("only one " * 9)
            received = [[await clients[0].recv() for _ in range(4)], [await clients[1].recv() for _ in range(2)]]
            for client in clients:
                await client.close()
            return received

    assert_same(scenario)
