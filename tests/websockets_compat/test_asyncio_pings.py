"""Pings, pongs, keepalive and broadcasts, on websockets and on ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fixtures.clock import ClockLoop
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

from picows.websockets.asyncio.keepalive import Keepalive, Pings
from picows.websockets.protocol import OPEN

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


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("before", [logging.DEBUG, logging.INFO], ids=["from DEBUG to INFO", "from INFO to DEBUG"])
def test_the_level_of_the_logger_may_change(before: int, compression: str | None) -> None:
    after = logging.INFO if before == logging.DEBUG else logging.DEBUG

    async def scenario(library: Library) -> Any:
        is_answered = asyncio.Event()

        async def handler(connection: Any) -> None:
            await (await connection.ping(b"of the server"))
            is_answered.set()
            await connection.wait_closed()

        at_server, at_client = Lines(before), Lines(before)
        async with library.serve(handler, logger=at_server.logger, compression=compression) as server:
            connecting = library.connect(server, logger=at_client.logger, compression=compression)
            at_server.logger.setLevel(after)
            at_client.logger.setLevel(after)
            async with connecting as connection:
                await (await connection.ping(b"of the client"))
                await is_answered.wait()
        frames = [line for lines in (at_server, at_client) for line in lines.lines if "of the" in line]
        return sorted(frames)

    assert len(assert_same(scenario)) == (0 if before == logging.DEBUG else 8)


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


class OnAClock:
    """What Keepalive needs of a connection, on a loop with a clock; pings are counted, and answered when told."""

    def __init__(self, ping_interval: float, ping_timeout: float | None) -> None:
        self.loop = ClockLoop()
        self.protocol = SimpleNamespace(state=OPEN, debug=False)
        self.ping_interval: float | None = ping_interval
        self.ping_timeout = ping_timeout
        self._pings = Pings(self.loop)
        self.waiters: list[Any] = []
        self.failures: list[Any] = []
        self.keepalive = Keepalive(self, self.loop)  # type: ignore[arg-type]

    def _send_keepalive_ping(self) -> Any:
        self.waiters.append(self._pings.add(None)[1])
        if len(self.waiters) == 100:  # a flood would not let time pass
            self.keepalive.stop()
        return self.waiters[-1]

    def _close_failing(self, code: int, reason: str) -> None:
        self.failures.append((code, reason))

    def answer(self) -> None:
        self.waiters[-1].set_result(0.0)
        self.loop.settle()


@pytest.fixture
def on_a_clock() -> Iterator[Callable[..., OnAClock]]:
    made: list[OnAClock] = []

    def make(ping_interval: float, ping_timeout: float | None) -> OnAClock:
        made.append(OnAClock(ping_interval, ping_timeout))
        return made[-1]

    yield make
    for each in made:
        each.keepalive.stop()
        each.loop.close()


def test_an_interval_of_None_ends_the_pings_of_an_open_connection(on_a_clock: Any) -> None:
    """websockets' keepalive fails then, which it logs."""
    connection = on_a_clock(20, None)
    connection.loop.advance(30)
    connection.ping_interval = None
    connection.loop.advance(1000)
    assert len(connection.waiters) == 1


def test_an_interval_of_None_while_a_pong_is_awaited(on_a_clock: Any) -> None:
    """The next ping was due, and waited for it."""
    connection = on_a_clock(20, 100)
    connection.loop.advance(50)
    connection.ping_interval = None
    connection.answer()
    connection.loop.advance(1000)
    assert (len(connection.waiters), connection.failures) == (1, [])


def test_another_interval_holds_from_the_next_ping_on(on_a_clock: Any) -> None:
    connection = on_a_clock(20, None)
    connection.ping_interval = 5
    counts = []
    for _ in range(6):
        connection.loop.advance(5)
        counts.append(len(connection.waiters))
    assert counts == [0, 0, 0, 1, 2, 3]


@pytest.mark.parametrize(("before", "after", "failures"), [(None, 10, 1), (100, 10, 1), (10, None, 0)])
def test_another_timeout_holds_from_the_next_ping_on(on_a_clock: Any, before: Any, after: Any, failures: int) -> None:
    connection = on_a_clock(20, before)
    connection.ping_timeout = after
    connection.loop.advance(35)
    assert len(connection.failures) == failures


@pytest.mark.parametrize("after", [None, 1000])
def test_the_timeout_of_a_ping_is_that_of_when_it_was_sent(on_a_clock: Any, after: Any) -> None:
    connection = on_a_clock(20, 10)
    connection.loop.advance(25)
    connection.ping_timeout = after
    connection.loop.advance(10)
    assert connection.failures == [(1011, "keepalive ping timeout")]


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
