"""T14 for `picows.websockets`: connections and servers of its asyncio API, cancelled at every point where they wait.
Opening handshakes by other ways are in test_cancellation_openings.py."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Iterator, List

import pytest
from fixtures.cancelling import Point, cancel_everywhere, run_cancelled
from fixtures.drop_in import DropIn, load_drop_in, silent
from fixtures.sockets import Net, count_sockets, settle, until
from fixtures.stage import Stage, check_alive, echo, record

LEAST = {
    "connect": 6,
    "session": 10,
    "recv": 50,
    "iterating": 4,
    "recv_streaming": 50,
    "send": 40,
    "iterable": 40,
    "async iterable": 80,
    "ping": 10,
    "close": 2,
    "wait_closed": 2,
    "serve": 4,
    "serve_forever": 4,
    "server.wait_closed": 2,
}


@pytest.fixture
def library(engine: Any) -> DropIn:
    """The drop-in on an engine."""
    return load_drop_in(engine)


# --- connecting ---


async def test_t14_connect(local: Net, library: DropIn) -> None:
    async with Stage(library, echo) as stage:
        before = count_sockets()

        async def attempt(point: Point) -> bool:
            opened: List[Any] = []

            async def connect() -> None:
                opened.append(await stage.connect())

            was_reached, _ = await run_cancelled(connect(), point)
            for connection in opened:
                await connection.close()
            await until(lambda: not stage.server.connections and count_sockets() <= before)
            return was_reached

        assert await cancel_everywhere(attempt) >= LEAST["connect"]


async def test_t14_session(local: Net, library: DropIn) -> None:
    """`async with` closes whatever happens."""
    async with Stage(library, echo) as stage:
        before = count_sockets()

        async def attempt(point: Point) -> bool:
            async def session() -> None:
                async with stage.connect() as connection:
                    for number in range(3):
                        await connection.send(f"{number}")
                        assert await connection.recv() == f"{number}"

            was_reached, _ = await run_cancelled(session(), point)
            await until(lambda: not stage.server.connections and count_sockets() <= before)
            return was_reached

        assert await cancel_everywhere(attempt) >= LEAST["session"]


# --- receiving ---


async def talkative(connection: Any) -> None:
    """A handler: 40 messages, whole and in fragments, one after the other."""
    for number in range(40):
        await asyncio.sleep(0)
        if number % 3:
            await connection.send(f"m{number}")
        else:
            await connection.send(slowly([f"m{number}"[:1], f"m{number}"[1:]]))
    await connection.wait_closed()


async def slowly(parts: List[Any]) -> AsyncIterator[Any]:
    for part in parts:
        await asyncio.sleep(0)
        yield part


async def test_t14_recv(local: Net, library: DropIn) -> None:
    async with Stage(library, talkative) as stage:

        async def attempt(point: Point) -> bool:
            connection = await stage.connect(point)
            taken: List[str] = []

            async def receive() -> None:
                while len(taken) < 40:
                    taken.append(await connection.recv())

            was_reached, _ = await run_cancelled(receive(), point)
            await receive()
            assert taken == [f"m{number}" for number in range(40)]
            await check_alive(connection)
            return was_reached

        assert await cancel_everywhere(attempt) >= LEAST["recv"]


async def test_t14_iterating(local: Net, library: DropIn) -> None:
    """As `recv`; who was cancelled may iterate again."""
    expected = [f"m{number}" for number in range(6)]

    async def say_them(connection: Any) -> None:
        for message in expected:
            await asyncio.sleep(0)
            await connection.send(message)

    async with Stage(library, say_them) as stage:

        async def attempt(point: Point) -> bool:
            connection = await stage.connect(point)
            taken: List[Any] = []

            async def iterate() -> None:
                async for message in connection:
                    taken.append(message)

            was_reached, result = await run_cancelled(iterate(), point)
            if result is not None:
                await iterate()
            assert taken == expected
            await connection.close()
            return was_reached

        assert await cancel_everywhere(attempt) >= LEAST["iterating"]


async def test_t14_recv_streaming(local: Net, library: DropIn) -> None:
    """Before its first fragment a message is kept. After a message was left in the middle, nobody may receive: as in
    websockets, the connection is for closing then."""
    async with Stage(library, talkative) as stage:

        async def attempt(point: Point) -> bool:
            connection = await stage.connect(point)
            whole: List[str] = []
            parts: List[str] = []

            async def receive() -> None:
                while len(whole) < 40:
                    parts.clear()
                    async for part in connection.recv_streaming():
                        parts.append(part)
                    whole.append("".join(parts))
                    parts.clear()

            was_reached, result = await run_cancelled(receive(), point)
            if not parts:
                await receive()
            assert whole == [f"m{number}" for number in range(len(whole))]
            if isinstance(result, asyncio.CancelledError) and parts:
                assert f"m{len(whole)}".startswith("".join(parts))
                await connection.close()
            else:
                assert len(whole) == 40
                await check_alive(connection)
            return was_reached

        assert await cancel_everywhere(attempt) >= LEAST["recv_streaming"]


# --- sending ---


def pause(connection: Any) -> None:
    """The write buffer is full for a moment."""
    connection.pause_writing()
    asyncio.get_running_loop().call_later(0.0005, connection.resume_writing)


async def test_t14_send(local: Net, library: DropIn) -> None:
    messages = [f"message {number}" for number in range(20)]
    async with Stage(library, record) as stage:

        async def attempt(point: Point) -> bool:
            connection = await stage.connect(point)
            started: List[str] = []

            async def send() -> None:
                for message in messages:
                    pause(connection)
                    started.append(message)
                    await connection.send(message)

            was_reached, _ = await run_cancelled(send(), point)
            await check_alive(connection)
            assert await stage.end(connection) == ([*started, "alive"], 1000)
            return was_reached

        assert await cancel_everywhere(attempt) >= LEAST["send"]


@pytest.mark.parametrize("kind", ["iterable", "async iterable"])
async def test_t14_send_fragments(local: Net, library: DropIn, kind: str) -> None:
    """A message that was begun and cannot be completed ends the connection with 1011; nothing is torn."""
    parts = [f"part {number} " for number in range(20)]

    async with Stage(library, record) as stage:

        async def attempt(point: Point) -> bool:
            connection = await stage.connect(point)

            def iterate() -> Iterator[str]:
                for part in parts:
                    pause(connection)
                    yield part

            async def iterate_async() -> AsyncIterator[str]:
                for part in iterate():
                    await asyncio.sleep(0)
                    yield part

            await connection.send("before")
            was_reached, result = await run_cancelled(
                connection.send(iterate() if kind == "iterable" else iterate_async()), point
            )
            if connection.state.name == "OPEN":
                await check_alive(connection)
                messages, code = await stage.end(connection)
                assert messages in (["before", "".join(parts), "alive"], ["before", "alive"])
                assert isinstance(result, asyncio.CancelledError) or len(messages) == 3
                assert code == 1000
            else:
                assert isinstance(result, asyncio.CancelledError)
                with pytest.raises(library.ConnectionClosed):
                    await connection.send("after")
                messages, end = await stage.end(connection)
                assert messages in (["before"], ["before", "".join(parts)])
                # A CLOSE amid a message is itself an error to the peer, as in websockets.
                assert end == 1011 or str(end) == "incomplete fragmented message"
            await connection.wait_closed()
            return was_reached

        assert await cancel_everywhere(attempt) >= LEAST[kind]


async def test_t14_ping(local: Net, library: DropIn) -> None:
    """The pongs that nobody waits for any more disturb nobody."""
    async with Stage(library, record) as stage:

        async def attempt(point: Point) -> bool:
            connection = await stage.connect(point)

            async def ping() -> None:
                for _ in range(5):
                    await (await connection.ping("the same"))

            was_reached, _ = await run_cancelled(ping(), point)
            assert await (await connection.ping()) >= 0
            await connection.pong("unasked")
            await ping()
            await check_alive(connection)
            assert await stage.end(connection) == (["alive"], 1000)
            return was_reached

        assert await cancel_everywhere(attempt) >= LEAST["ping"]


# --- the end ---


@pytest.mark.parametrize("method", ["close", "wait_closed"])
async def test_t14_closing(local: Net, library: DropIn, method: str) -> None:
    async with Stage(library, record) as stage:

        async def attempt(point: Point) -> bool:
            connection = await stage.connect(point)
            await connection.send("before")
            if method == "wait_closed":
                asyncio.get_running_loop().call_soon(connection.transport.close)
            was_reached, _ = await run_cancelled(getattr(connection, method)(), point)
            await connection.close()
            await connection.wait_closed()
            assert connection.state.name == "CLOSED"
            code = 1000 if method == "close" else 1006
            assert await stage.end(connection) == (["before"], code)
            with pytest.raises(library.ConnectionClosed):
                await connection.recv()
            return was_reached

        assert await cancel_everywhere(attempt) >= LEAST[method]


async def test_t14_serve(local: Net, library: DropIn) -> None:
    before = count_sockets()

    async def attempt(point: Point) -> bool:
        servers: List[Any] = []

        async def serve() -> None:
            servers.append(await library.serve(echo, "localhost", 0, logger=silent()))

        was_reached, _ = await run_cancelled(serve(), point)
        for server in servers:
            server.close()
            await server.wait_closed()
        await until(lambda: count_sockets() <= before)
        return was_reached

    assert await asyncio.wait_for(cancel_everywhere(attempt), 20) >= LEAST["serve"]


@pytest.mark.parametrize("method", ["serve_forever", "server.wait_closed"])
async def test_t14_server_ends(local: Net, library: DropIn, method: str) -> None:
    """N9: connections are closed with 1001, handlers are waited for, and nothing is left."""
    before = count_sockets()

    async def attempt(point: Point) -> bool:
        server = await library.serve(record, "127.0.0.1", 0, logger=silent())
        port = server.sockets[0].getsockname()[1]
        clients = [await library.connect(f"ws://127.0.0.1:{port}", proxy=None) for _ in range(2)]
        loop = asyncio.get_running_loop()
        loop.call_later(0.002, server.close)
        coroutine = server.serve_forever() if method == "serve_forever" else server.wait_closed()
        was_reached, _ = await run_cancelled(coroutine, point)
        await server.wait_closed()
        for client in clients:
            await client.wait_closed()
            assert client.close_code == 1001
        await settle(10)
        await until(lambda: count_sockets() <= before)
        return was_reached

    assert await cancel_everywhere(attempt) >= LEAST[method]
