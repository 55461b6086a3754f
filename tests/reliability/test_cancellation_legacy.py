"""T14 for the API of websockets before version 14, `picows.websockets.legacy`: connections and servers, cancelled at
every point where they wait."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any, AsyncIterator, Callable, Dict, List, Tuple

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")

from fixtures.cancelling import Point, cancel_everywhere, run_cancelled
from fixtures.compat import OURS
from fixtures.legacy_api import connect, echo, legacy, serve
from fixtures.sockets import Net, count_sockets, until

OPTIONS: Dict[str, Any] = {"compression": None, "ping_interval": None, "close_timeout": 1}
#: How many points there are at least.
LEAST = {"session": 10, "recv": 30, "iterating": 30, "send": 20, "fragments": 20, "ping": 10, "pong": 0}
LEAST.update({"close": 2, "wait_closed": 2, "serve": 2, "serve_forever": 2, "server.wait_closed": 2})


class Ends:
    """A handler that keeps what came, and the code of the end, by path."""

    def __init__(self) -> None:
        self.by_path: Dict[str, Tuple[List[Any], Any]] = {}

    async def __call__(self, connection: Any) -> None:
        messages: List[Any] = []
        with contextlib.suppress(connection_closed()):
            while True:
                messages.append(await connection.recv())
        self.by_path[connection.path] = messages, connection.close_code

    async def of(self, connection: Any) -> Tuple[List[Any], Any]:
        """What came of a connection."""
        await until(lambda: connection.path in self.by_path)
        return self.by_path[connection.path]


def connection_closed() -> Any:
    """The exception class."""
    return OURS.module("exceptions").ConnectionClosed


def client(server: Any, point: Point, **options: Any) -> Any:
    """A connection of its own for this point."""
    path = f"/{point.number}/{point.how.replace(' ', '-')}"
    return connect(OURS, server, path, **{**OPTIONS, **options})


async def everywhere(attempt: Callable[[Any, Point], Any], handler: Any = None, **options: Any) -> int:
    """`cancel_everywhere` with a server; after each run no connection and no socket may be left."""
    async with serve(OURS, handler, **{**OPTIONS, **options}) as server:
        before = count_sockets()

        async def attempt_at(point: Point) -> bool:
            was_reached: bool = await attempt(server, point)
            await until(lambda: not server.websockets and count_sockets() <= before)
            return was_reached

        return await cancel_everywhere(attempt_at)


@pytest.mark.parametrize("hook", [None, "process_request"])
async def test_t14_legacy_session(local: Net, hook: Any) -> None:
    """`async with` closes whatever happens, also where the server takes its time."""

    async def slow(path: str, headers: Any) -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    async def attempt(server: Any, point: Point) -> bool:
        async def session() -> None:
            async with client(server, point) as connection:
                for number in range(3):
                    await connection.send(f"{number}")
                    assert await connection.recv() == f"{number}"

        return (await run_cancelled(session(), point))[0]

    assert await everywhere(attempt, **({hook: slow} if hook else {})) >= LEAST["session"]


async def test_t14_legacy_connecting_again(local: Net) -> None:
    async def attempt(server: Any, point: Point) -> bool:
        received: List[Any] = []

        async def session() -> None:
            async with contextlib.aclosing(client(server, point).__aiter__()) as them:
                async for connection in them:
                    await connection.send("x")
                    received.append(await connection.recv())
                    if len(received) == 2:
                        return
                    await connection.close()

        was_reached, result = await run_cancelled(session(), point)
        assert result is not None or received == ["x", "x"]
        return was_reached

    assert await everywhere(attempt) >= LEAST["session"]


@pytest.mark.parametrize("way", ["recv", "iterating"])
async def test_t14_legacy_recv(local: Net, way: str) -> None:
    """Whoever goes on after a cancelled recv gets every message, once and in order."""
    expected = [f"m{number}" for number in range(40)]

    async def talkative(connection: Any) -> None:
        for message in expected:
            await asyncio.sleep(0)
            await connection.send(message)
        await connection.wait_closed()

    async def attempt(server: Any, point: Point) -> bool:
        connection = await client(server, point)
        taken: List[Any] = []

        async def receive() -> None:
            while way == "recv" and len(taken) < 40:
                taken.append(await connection.recv())
            if way == "iterating":
                async for message in connection:
                    taken.append(message)
                    if len(taken) == 40:
                        break

        was_reached, _ = await run_cancelled(receive(), point)
        if len(taken) < 40:
            await receive()
        assert taken == expected
        await connection.close()
        return was_reached

    assert await everywhere(attempt, talkative) >= LEAST[way]


async def slowly(parts: List[Any]) -> AsyncIterator[Any]:
    for part in parts:
        await asyncio.sleep(0)
        yield part


@pytest.mark.parametrize("kind", ["send", "fragments"])
async def test_t14_legacy_send(local: Net, kind: str) -> None:
    """A message is sent as a whole or not at all; one that cannot be completed ends the connection."""
    parts = [f"part {number} " for number in range(20)]
    ends = Ends()

    async def attempt(server: Any, point: Point) -> bool:
        connection = await client(server, point)
        started: List[Any] = []

        async def send() -> None:
            if kind == "fragments":
                await connection.send(slowly(parts))
            for part in parts if kind == "send" else ():
                connection.pause_writing()
                asyncio.get_running_loop().call_later(0.0005, connection.resume_writing)
                started.append(part)
                await connection.send(part)

        was_reached, result = await run_cancelled(send(), point)
        if connection.open:
            await connection.send("alive")
            await connection.close()
            messages, code = await ends.of(connection)
            assert (messages[-1], code) == ("alive", 1000)
            assert messages[:-1] in ([started] if kind == "send" else [["".join(parts)], []])
        else:
            assert kind == "fragments"
            assert isinstance(result, asyncio.CancelledError)
            assert (await ends.of(connection))[0] in ([], ["".join(parts)])
            await connection.wait_closed()
        return was_reached

    assert await everywhere(attempt, ends) >= LEAST[kind]


@pytest.mark.parametrize("method", ["ping", "pong"])
async def test_t14_legacy_pings(local: Net, method: str) -> None:
    ends = Ends()

    async def attempt(server: Any, point: Point) -> bool:
        connection = await client(server, point)

        async def ping() -> None:
            for _ in range(5):
                await (await connection.ping())

        was_reached, _ = await run_cancelled(ping() if method == "ping" else connection.pong("unasked"), point)
        await (await connection.ping())
        await connection.send("alive")
        await connection.close()
        assert await ends.of(connection) == (["alive"], 1000)
        return was_reached

    assert await everywhere(attempt, ends) >= LEAST[method]


@pytest.mark.parametrize("method", ["close", "wait_closed"])
async def test_t14_legacy_closing(local: Net, method: str) -> None:
    ends = Ends()

    async def attempt(server: Any, point: Point) -> bool:
        connection = await client(server, point)
        await connection.send("before")
        closing = asyncio.ensure_future(connection.close() if method == "wait_closed" else asyncio.sleep(0))
        was_reached, _ = await run_cancelled(getattr(connection, method)(), point)
        await closing
        await connection.close()
        await connection.wait_closed()
        assert connection.closed
        assert await ends.of(connection) == (["before"], 1000)
        with pytest.raises(connection_closed()):
            await connection.recv()
        return was_reached

    assert await everywhere(attempt, ends) >= LEAST[method]


async def serve_forever(server: Any) -> None:
    """As asyncio's, it is cancelled where the server closes."""
    with contextlib.suppress(asyncio.CancelledError):
        await server.serve_forever()


@pytest.mark.parametrize("way", ["serve", "serve_forever", "server.wait_closed"])
async def test_t14_legacy_servers(local: Net, way: str) -> None:
    """Clients are told with 1001, handlers are waited for, and nothing listens any more."""
    before = count_sockets()

    async def attempt(point: Point) -> bool:
        if way == "serve":

            async def session() -> None:
                async with legacy(OURS).server.serve(echo, "localhost", 0, **OPTIONS):
                    await asyncio.sleep(0)

            was_reached, _ = await run_cancelled(session(), point)
        else:
            server = await serve(OURS, Ends(), **OPTIONS)
            connection = await client(server, point)
            asyncio.get_running_loop().call_later(0.002, server.close)
            use = serve_forever(server) if way == "serve_forever" else server.wait_closed()
            was_reached, _ = await run_cancelled(use, point)
            server.close()
            await server.wait_closed()
            await connection.wait_closed()
            assert connection.close_code == 1001
        await until(lambda: count_sockets() <= before)
        return was_reached

    assert await cancel_everywhere(attempt) >= LEAST[way]
