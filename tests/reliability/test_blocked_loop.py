"""T13: a loop that does nothing for longer than a pong may take does not end connections whose peers have answered.

On real sockets: the peer runs in a thread with a loop of its own, and answers while ours is blocked. The pong then
lies in the socket when the timer fires that waits for it, and loops differ in what they look at first.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Any, Callable, Iterator

import pytest
from fixtures.drop_in import load_drop_in, silent
from fixtures.places import Place
from fixtures.sockets import port_of

from picows import WSAutoPingStrategy, ws_create_server

PING_S = 0.05
#: Longer than a ping and its pong may take.
BLOCKED_S = 0.2


@contextlib.contextmanager
def elsewhere(serve: Callable[[], Any]) -> Iterator[int]:
    """A server in another thread. Gives its port; `serve` returns it and a coroutine function that closes it."""
    ports: list[int] = []
    is_ready = threading.Event()
    loop = asyncio.new_event_loop()
    is_over = asyncio.Event()

    async def run() -> None:
        server, close = await serve()
        ports.append(port_of(server))
        is_ready.set()
        await is_over.wait()
        await close()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert is_ready.wait(10)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(is_over.set)
        thread.join(10)
        loop.close()


def block_after_the_ping(times: int) -> asyncio.Future[None]:
    """Block the loop right after each of the next pings; done after the last one."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def block(left: int) -> None:
        end = time.monotonic() + BLOCKED_S
        while time.monotonic() < end:  # time.sleep() would be found out by blockbuster
            pass
        if left:
            loop.call_later(PING_S * 1.5, block, left - 1)
        else:
            loop.call_later(PING_S, done.set_result, None)

    loop.call_later(PING_S * 1.02, block, times - 1)
    return done


@pytest.mark.parametrize("strategy", list(WSAutoPingStrategy), ids=lambda strategy: strategy.name)
async def test_t13_blocked_loop(place: Place, engine: Any, strategy: Any) -> None:
    async def serve() -> Any:
        server = await ws_create_server(lambda request: engine.WSListener(), "127.0.0.1", 0, engine=engine)
        return server, server.close

    with elsewhere(serve) as port:
        options = {"auto_ping_idle_timeout": PING_S, "auto_ping_reply_timeout": PING_S, "auto_ping_strategy": strategy}
        transport, _ = await place.connect(
            engine.WSListener, f"ws://127.0.0.1:{port}/", enable_auto_ping=True, **options
        )
        await block_after_the_ping(2)
        assert not transport.is_close_frame_sent
        assert not transport.is_disconnected
        await transport.measure_roundtrip_time(1, timeout=5)
        transport.disconnect()
        await transport.wait_disconnected()


async def test_t13_blocked_loop_drop_in(place: Place, engine: Any) -> None:
    """websockets 17.4 closes this connection with 1011 "keepalive ping timeout"."""
    library = load_drop_in(engine)

    async def handler(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def serve() -> Any:
        server = await library.serve(handler, "127.0.0.1", 0, logger=silent())

        async def close() -> None:
            server.close()
            await server.wait_closed()

        return server, close

    with elsewhere(serve) as port:
        options = {"ping_interval": PING_S, "ping_timeout": PING_S, "proxy": None, "logger": silent()}
        async with library.connect(f"ws://127.0.0.1:{port}/", **options) as connection:
            await block_after_the_ping(2)
            await connection.send("still there")
            assert await asyncio.wait_for(connection.recv(), 5) == "still there"
