"""T14 for the opening handshakes of `picows.websockets` by all ways that test_cancellation_drop_in.py leaves out: Unix
sockets, proxies, `async for`, a server that starts later, and hooks that are coroutine functions."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
from pathlib import Path
from typing import Any, Dict, List

import pytest
from fixtures.cancelling import Cancelled, Point, cancel_everywhere, refuse_every_second, run_cancelled
from fixtures.drop_in import DropIn, load_drop_in, silent
from fixtures.peers import request_head
from fixtures.proxies import make_proxy
from fixtures.sockets import Net, count_sockets, have, port_of, unix_only, until
from fixtures.stage import Stage, echo, record

LEAST = {"unix": 6, "unix_serve": 4, "proxy": 8, "async for": 20, "start_serving": 2, "hook": 6}


@pytest.fixture
def library(engine: Any) -> DropIn:
    """The drop-in on an engine."""
    return load_drop_in(engine)


@unix_only
async def test_t14_unix_connect(local: Net, library: DropIn, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with library.unix_serve(echo, path, logger=silent(), close_timeout=1) as server:
        before = count_sockets()

        async def attempt(point: Point) -> bool:
            async def session() -> None:
                async with library.unix_connect(path, close_timeout=1) as connection:
                    await connection.send("x")
                    assert await connection.recv() == "x"

            was_reached, _ = await run_cancelled(session(), point)
            await until(lambda: not server.connections and count_sockets() <= before)
            return was_reached

        assert await cancel_everywhere(attempt) >= LEAST["unix"]


@unix_only
async def test_t14_unix_serve(local: Net, library: DropIn, tmp_path: Path) -> None:
    """A server that nobody got hold of does not listen, and there may be another one on its path."""
    path = str(tmp_path / "socket")
    before = count_sockets()

    async def attempt(point: Point) -> bool:
        async def session() -> None:
            async with library.unix_serve(echo, path, logger=silent()):
                await asyncio.sleep(0)

        was_reached, _ = await run_cancelled(session(), point)
        await until(lambda: count_sockets() <= before)
        async with library.unix_serve(echo, path, logger=silent()):
            async with library.unix_connect(path) as connection:
                await connection.send("x")
                assert await connection.recv() == "x"
        await until(lambda: count_sockets() <= before)
        return was_reached

    assert await cancel_everywhere(attempt) >= LEAST["unix_serve"]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.skipif(not have("python_socks"), reason="python-socks is not installed: pip install python-socks[asyncio]")
async def test_t14_connect_through_a_proxy(local: Net, library: DropIn, scheme: str) -> None:
    """The sockets to the proxy are closed, and so are the tunnel's."""
    async with Stage(library, echo) as stage, make_proxy(scheme, None) as proxy:  # type: ignore[arg-type]
        before = count_sockets()

        async def attempt(point: Point) -> bool:
            opened: List[Any] = []

            async def connect() -> None:
                opened.append(await stage.connect(proxy=proxy.url()))

            was_reached, _ = await run_cancelled(connect(), point)
            for connection in opened:
                await connection.send("x")
                assert await connection.recv() == "x"
                await connection.close()
            await until(lambda: not stage.server.connections and count_sockets() <= before)
            return was_reached

        assert await cancel_everywhere(attempt) >= LEAST["proxy"]


async def test_t14_connecting_again(local: Net, library: DropIn) -> None:
    """`async for`, where every second attempt is refused and waits for the next: no connection is left behind."""
    async with Stage(library, echo, process_request=refuse_every_second()) as stage:
        before = count_sockets()

        async def attempt(point: Point) -> bool:
            received: List[str] = []

            async def session() -> None:
                delays = lambda: itertools.repeat(0)  # noqa: E731
                connections = stage.connect(point, reconnect_delays=delays, logger=silent())
                async with contextlib.aclosing(connections.__aiter__()) as them:
                    async for connection in them:
                        await connection.send("x")
                        received.append(await connection.recv())
                        if len(received) == 2:
                            return

            was_reached, result = await run_cancelled(session(), point)
            assert result is not None or received == ["x", "x"]
            await until(lambda: not stage.server.connections and count_sockets() <= before)
            return was_reached

        assert await cancel_everywhere(attempt) >= LEAST["async for"]


async def test_t14_start_serving(local: Net, library: DropIn) -> None:
    """It may be called again, and then there is a server."""
    before = count_sockets()

    async def attempt(point: Point) -> bool:
        server = await library.serve(record, "127.0.0.1", 0, logger=silent(), start_serving=False)
        was_reached, _ = await run_cancelled(server.start_serving(), point)
        await server.start_serving()
        async with library.connect(f"ws://127.0.0.1:{port_of(server)}", proxy=None) as connection:
            server.close()
            await connection.wait_closed()
            assert connection.close_code == 1001
        await server.wait_closed()
        await until(lambda: count_sockets() <= before)
        return was_reached

    assert await cancel_everywhere(attempt) >= LEAST["start_serving"]


@pytest.mark.parametrize("hook", ["process_request", "process_response", "check_credentials"])
async def test_t14_hooks(local: Net, library: DropIn, hook: str) -> None:
    """Cancelled from within, it is as if it had raised: the client is told, and does not wait for a timeout."""
    attempts: List[Cancelled] = []

    async def steps() -> Any:
        for _ in range(3):
            await asyncio.sleep(0)
        return True if hook == "check_credentials" else None

    async def wait(*args: Any) -> Any:
        return await attempts[-1]

    options: Dict[str, Any] = {hook: wait}
    if hook == "check_credentials":
        options = {"process_request": library.basic_auth("here", check_credentials=wait)}
    async with Stage(library, echo, open_timeout=60, **options) as stage:
        before = count_sockets()

        async def attempt(point: Point) -> bool:
            attempts.append(Cancelled(steps(), point))
            peer = await local.raw_client(stage.server)
            credentials = base64.b64encode(b"user:password").decode()
            peer.write(request_head(f"Authorization: Basic {credentials}"))
            status = (await asyncio.wait_for(peer.reader.readline(), 5))[9:12]
            assert status == (b"500" if attempts[-1].was_reached else b"101")
            await peer.aclose()
            await until(lambda: not stage.server.connections and count_sockets() <= before)
            return attempts[-1].was_reached

        assert await cancel_everywhere(attempt) >= LEAST["hook"]


async def test_t14_pong(local: Net, library: DropIn) -> None:
    """It never waits while the connection is open: there is no point at which it could be cancelled half way."""
    async with Stage(library, record) as stage:

        async def attempt(point: Point) -> bool:
            connection = await stage.connect(point)
            connection.pause_writing()
            was_reached, _ = await run_cancelled(connection.pong("unasked"), point)
            connection.resume_writing()
            await connection.send("alive")
            await connection.close()
            assert await stage.end(connection) == (["alive"], 1000)
            return was_reached

        assert await cancel_everywhere(attempt) == 0
