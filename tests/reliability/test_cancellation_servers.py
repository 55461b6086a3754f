"""T14 for a server of the core API, for a listener factory that is a coroutine function, and for the way through a
proxy: each cancelled at every point where it waits. test_cancellation.py has connections."""

from __future__ import annotations

import asyncio
from typing import Any, List

import pytest
from fixtures.cancelling import Cancelled, Point, cancel_everywhere, run_cancelled
from fixtures.peers import request_head
from fixtures.places import Place
from fixtures.proxies import make_proxy
from fixtures.sockets import count_sockets, have, port_of, settle, until

from picows import ws_connect, ws_create_server
from picows.errors import WSConnectionClosed

#: Points on asyncio; uvloop starts to listen, and resolves addresses, in fewer steps.
LEAST = {"start_serving": 2, "serve_forever": 4, "wait_closed": 2, "async with": 10, "factory": 6, "proxy": 8}


class Room(Place):
    """A Place for many servers, one after the other, which the test closes itself."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.loop_kind, place.engine)
        self.before = -1

    async def open(self, **options: Any) -> Any:
        """A server."""
        if self.before < 0:  # not earlier: the loop has sockets of its own
            self.before = count_sockets()
        listener = self.engine.WSMessageListener
        options = {"engine": self.engine, "close_timeout": 2, **self.server_options(), **options}
        return await ws_create_server(lambda request: listener(), "127.0.0.1", 0, **options)

    async def join(self, server: Any) -> Any:
        """A message listener that is connected to it."""
        count = len(server.connections)
        options = {"engine": self.engine, **self.client_options()}
        _, client = await ws_connect(self.engine.WSMessageListener, self.url(server), **options)
        await until(lambda: len(server.connections) > count)
        return client

    async def check_gone(self, server: Any, *clients: Any, code: int = 1001) -> None:
        """Nobody listens, clients were told, and nothing is left."""
        assert not server.is_serving()
        assert not server.connections
        for client in clients:
            with pytest.raises(WSConnectionClosed) as caught:
                await client.recv()
            assert caught.value.code == code
            await client.transport.wait_disconnected()
        await settle(10)
        await until(lambda: count_sockets() <= self.before)


@pytest.fixture
def room(place: Place) -> Room:
    """Each loop, each engine."""
    return Room(place)


def least(room: Place, name: str) -> int:
    """How many points there must be."""
    return LEAST[name] if room.loop_kind == "asyncio" else 0


async def close_soon(server: Any) -> None:
    """Stop listening in some turns of the loop."""
    await settle(5)
    server.close()


async def test_t14_start_serving(room: Room) -> None:
    """It may be called again, and then there is a server."""

    async def attempt(point: Point) -> bool:
        server = await room.open(start_serving=False)
        was_reached, _ = await run_cancelled(server.start_serving(), point)
        await server.start_serving()
        client = await room.join(server)
        await server.close()
        await room.check_gone(server, client)
        return was_reached

    assert await cancel_everywhere(attempt) >= least(room, "start_serving")


async def test_t14_serve_forever(room: Room) -> None:
    """N9: who cancels it has a server that is closed, with 1001 for everybody; who cancels that too may close it."""

    async def attempt(point: Point) -> bool:
        server = await room.open()
        clients = [await room.join(server) for _ in range(2)]
        port = port_of(server)
        ending = asyncio.ensure_future(close_soon(server))
        was_reached, _ = await run_cancelled(server.serve_forever(), point)
        await ending
        await server.close()
        await room.check_gone(server, *clients)
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        return was_reached

    assert await cancel_everywhere(attempt) >= least(room, "serve_forever")


async def test_t14_wait_closed(room: Room) -> None:
    """Cancelling one who waits disturbs neither the server nor another one who waits."""

    async def close(server: Any) -> None:
        await settle(5)
        await server.close()

    async def attempt(point: Point) -> bool:
        server = await room.open()
        client = await room.join(server)
        closing = asyncio.ensure_future(close(server))
        other = asyncio.ensure_future(server.wait_closed())
        was_reached, _ = await run_cancelled(server.wait_closed(), point)
        await asyncio.wait_for(asyncio.gather(other, closing), 5)
        await room.check_gone(server, client)
        return was_reached

    assert await cancel_everywhere(attempt) >= least(room, "wait_closed")


async def test_t14_async_with(room: Room) -> None:
    """Whatever is cancelled within it, the server ends."""

    async def attempt(point: Point) -> bool:
        kept: List[Any] = []

        async def session() -> None:
            async with await room.open() as server:
                kept.append(server)
                kept.append(await room.join(server))

        was_reached, _ = await run_cancelled(session(), point)
        for server in kept[:1]:
            await server.close()  # the last step of `async with` may be what was cancelled
            await room.check_gone(server, *kept[1:])
        await until(lambda: count_sockets() <= room.before)
        return was_reached

    assert await cancel_everywhere(attempt) >= least(room, "async with")


async def test_t14_listener_factory(room: Room) -> None:
    """H11: cancelled from within, it is as if it had raised: the client is told, and does not wait for a timeout."""

    async def steps() -> Any:
        for _ in range(3):
            await asyncio.sleep(0)
        return room.engine.WSMessageListener()

    for_now: List[Cancelled] = []

    async def factory(request: Any) -> Any:
        return await for_now[-1]

    server = await room.serve(factory, open_timeout=60)

    async def attempt(point: Point) -> bool:
        for_now.append(Cancelled(steps(), point))
        peer = await room.raw_client(server)
        peer.write(request_head())
        status = (await asyncio.wait_for(peer.reader.readline(), 5))[9:12]
        assert status == (b"500" if for_now[-1].was_reached else b"101")
        await peer.aclose()
        await until(lambda: not server.connections)
        return for_now[-1].was_reached

    assert await cancel_everywhere(attempt) >= LEAST["factory"]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.skipif(not have("python_socks"), reason="python-socks is not installed: pip install python-socks[asyncio]")
async def test_t14_ws_connect_through_a_proxy(room: Room, scheme: str) -> None:
    """The sockets to the proxy are closed, and so are the tunnel's."""
    server = await room.serve(lambda request: room.engine.WSMessageListener())
    async with make_proxy(scheme, None) as proxy:  # type: ignore[arg-type]
        before = count_sockets()

        async def attempt(point: Point) -> bool:
            opened: List[Any] = []

            async def connect() -> None:
                options = {"engine": room.engine, "proxy": proxy.url(), **room.client_options()}
                opened.append(await ws_connect(room.engine.WSMessageListener, room.url(server), **options))

            was_reached, _ = await run_cancelled(connect(), point)
            for transport, listener in opened:
                await listener.send("x")
                transport.disconnect(graceful=False)
                await transport.wait_disconnected()
            await until(lambda: not server.connections and count_sockets() <= before)
            return was_reached

        assert await cancel_everywhere(attempt) >= least(room, "proxy")
