"""How connections end: who says what, who waits for whom, and what everybody sees, on websockets and on ours."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from typing import Any

import pytest
from fixtures.compat import (
    BOTH,
    Library,
    assert_same,
    attempt,
    raw_server,
    read_frame,
    run,
    show_end,
    silent,
    skip_unless_comparable,
)
from fixtures.peers import accept_value, close_frame, header_of

skip_unless_comparable()

CLOSES = [(), (1000,), (1001, "x"), (3000,), (4999, "é" * 61 + "x"), (1011, "error"), (1014,)]
BAD_CLOSES = [(1005,), (1006,), (1015,), (999,), (2000,), (5000,), (65536,), (3000, "é" * 62)]


async def after(connection: Any) -> list[Any]:
    """What a connection that has ended answers."""
    calls = (connection.recv, lambda: connection.send("x"), connection.ping, connection.pong, connection.close)
    return [await attempt(call()) for call in calls]


@pytest.mark.parametrize("args", CLOSES, ids=repr)
def test_close(args: Any) -> None:
    async def scenario(library: Library) -> Any:
        ends: dict[str, Any] = {}

        async def handler(connection: Any) -> None:
            ends["handler"] = await attempt(connection.recv()), await after(connection)

        async with library.serve(handler) as server:
            connection = await library.connect(server)
            await connection.close(*args)
            ends["client"] = show_end(connection), await after(connection)
        return ends

    assert_same(scenario)


@pytest.mark.parametrize("args", BAD_CLOSES, ids=repr)
def test_a_close_that_must_not_be_sent(args: Any) -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve() as server, library.connect(server) as connection:
            refusal = await attempt(connection.close(*args))
            await connection.send("goes on")
            return refusal, show_end(connection), await connection.recv()

    assert_same(scenario)


def test_states() -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve() as server:
            connection = await library.connect(server)
            states = [connection.state, connection.protocol.state]
            closing = asyncio.create_task(connection.close())
            await asyncio.sleep(0)
            states += [connection.state, connection.protocol.state, connection.close_code]
            await closing
            return [*map(str, states), str(connection.state), str(connection.protocol.state), connection.close_code]

    assert_same(scenario)


async def ignore(reader: Any, writer: Any) -> None:
    await reader.read()


async def answer_and_stay(reader: Any, writer: Any) -> None:
    await read_frame(reader)
    writer.write(b"\x88\x02\x03\xe8")
    await reader.read()


async def hang_up(reader: Any, writer: Any) -> None:
    await read_frame(reader)


async def reset(reader: Any, writer: Any) -> None:
    writer.transport.abort()


@pytest.mark.parametrize("script", [ignore, answer_and_stay, hang_up], ids=lambda script: script.__name__)
def test_peers_that_do_not_close_properly(script: Any) -> None:
    async def scenario(library: Library) -> Any:
        async with raw_server(script) as port:
            connection = await library.connect(port, close_timeout=0.05)
            await connection.close()
            return show_end(connection), await attempt(connection.recv())

    assert_same(scenario)


def test_who_uses_a_closing_connection_waits_for_its_end() -> None:
    async def scenario(library: Library) -> Any:
        async with raw_server(answer_and_stay) as port:
            connection = await library.connect(port, close_timeout=0.05)
            closing = asyncio.create_task(connection.close())
            await asyncio.sleep(0)
            results = [await attempt(connection.send("x")), await attempt(connection.ping())]
            await closing
            return results

    assert_same(scenario)


def test_close_ends_a_recv_and_a_ping() -> None:
    async def scenario(library: Library) -> Any:
        async with raw_server(hang_up) as port:
            connection = await library.connect(port, close_timeout=0.05, ping_interval=None)
            receiving = asyncio.create_task(connection.recv())
            await asyncio.sleep(0)
            await connection.close()
            return await attempt(receiving)

    assert_same(scenario)


def test_close_within_a_fragmented_message() -> None:
    async def scenario(library: Library) -> Any:
        goes_on = asyncio.Event()

        async def fragments() -> Any:
            yield "a"
            await goes_on.wait()
            yield "b"

        async with library.serve(logger=silent()) as server:
            connection = await library.connect(server)
            sending = asyncio.create_task(connection.send(fragments()))
            await asyncio.sleep(0.01)
            closing = asyncio.create_task(connection.close())
            await asyncio.sleep(0)
            goes_on.set()
            await closing
            return await attempt(sending), await attempt(connection.recv())

    assert_same(scenario)


def test_messages_wait_for_a_fragmented_one() -> None:
    async def scenario(library: Library) -> Any:
        goes_on = asyncio.Event()

        async def fragments() -> Any:
            yield "a"
            await goes_on.wait()
            yield "b"

        async with library.serve() as server, library.connect(server) as connection:
            first = asyncio.create_task(connection.send(fragments()))
            await asyncio.sleep(0.01)
            second = asyncio.create_task(connection.send("second"))
            await asyncio.sleep(0)
            assert not second.done()
            goes_on.set()
            await asyncio.gather(first, second)
            return await connection.recv(), await connection.recv()

    assert assert_same(scenario) == ("ab", "second")


@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
def test_context_manager(raises: bool) -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve(logger=silent()) as server:
            connection = None
            try:
                async with library.connect(server) as connection:
                    if raises:
                        raise LookupError("of the user")
            except LookupError as exc:
                return str(exc), show_end(connection)
            return show_end(connection)

    assert_same(scenario)


def test_a_connection_is_a_context_manager_itself() -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve() as server:
            async with await library.connect(server) as connection:
                await connection.send("x")
            return show_end(connection)

    assert_same(scenario)


@pytest.mark.parametrize("last", [close_frame(1000, b"bye"), b"\x88\x01x"], ids=["CLOSE", "broken CLOSE"])
def test_a_server_that_is_gone_when_its_close_arrives(last: bytes) -> None:
    """It says CLOSE with the 101 and closes the socket: what the client answers is met by a reset."""

    async def scenario(library: Library) -> Any:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)

            async def accept_and_leave() -> None:
                loop = asyncio.get_running_loop()
                sock, _ = await loop.sock_accept(listening)
                with sock:
                    request = await loop.sock_recv(sock, 1 << 16)
                    accept = accept_value(header_of(request, "Sec-WebSocket-Key") or "")
                    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    sock.send(f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode() + last)

            leaving = asyncio.create_task(accept_and_leave())
            connection = await library.connect(listening.getsockname()[1])
            await leaving
            ended = await attempt(connection.recv())
            await connection.wait_closed()
            return ended, show_end(connection)

    assert_same(scenario)


@pytest.mark.parametrize("library", BOTH, ids=repr)
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_closed_connection_is_freed_without_the_garbage_collector(library: Library, compression: Any) -> None:
    async def scenario() -> None:
        served: list[Any] = []

        async def handler(connection: Any) -> None:
            served.append(weakref.ref(connection))
            async for message in connection:
                await connection.send(message)

        async with library.serve(handler, compression=compression) as server:
            connection = await library.connect(server, compression=compression)
            await connection.send("x" * 100)
            await connection.recv()
            await (await connection.ping())
            own = weakref.ref(connection)
            await connection.close()
            del connection
            for _ in range(20):
                await asyncio.sleep(0)
            await asyncio.sleep(0.02)
            assert own() is None
            assert served[0]() is None

    gc.collect()
    gc.disable()
    try:
        run(scenario())
    finally:
        gc.enable()
