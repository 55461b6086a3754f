"""Cancellation in the trio API of ours: nothing is lost, no half frame is sent, nobody waits, nothing is left open."""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
trio = pytest.importorskip("trio", reason="trio is not installed: pip install trio")
testing = pytest.importorskip("trio.testing")

from fixtures.api_cases import BINARY, CONT, PONG, TEXT  # noqa: E402
from fixtures.certificates import make_certificates  # noqa: E402
from fixtures.sync_api import OURS, frame, peer, read_frame, read_to_end, upgrade  # noqa: E402
from fixtures.trio_api import connect, echo, library, outcome, run, serving  # noqa: E402

LIB = library(OURS)


def pair(nursery: Any, stream: Any = None, other: Any = None, **kwargs: Any) -> tuple[Any, Any]:
    """A client and a server connection over memory."""
    if stream is None:
        stream, other = testing.memory_stream_pair()
    protocol = LIB.protocol
    client = LIB.connection.Connection(nursery, stream, protocol.Protocol(protocol.CLIENT), **kwargs)
    return client, LIB.connection.Connection(nursery, other, protocol.Protocol(protocol.SERVER), **kwargs)


def test_receiving_loses_nothing() -> None:
    async def scenario() -> Any:
        one, other = testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            protocol = LIB.protocol.Protocol(LIB.protocol.CLIENT)
            connection = LIB.connection.Connection(nursery, one, protocol, close_timeout=0)
            await other.send_all(frame(TEXT, b"a", fin=False) + frame(CONT, b"b", fin=False))
            with trio.move_on_after(0.01) as waited:
                await connection.recv()
            with trio.move_on_after(0) as at_once:
                await connection.recv()
            await other.send_all(frame(CONT, b"c"))
            message = await connection.recv()
            await connection.aclose()
            return waited.cancelled_caught, at_once.cancelled_caught, message

    assert run(scenario) == (True, True, "abc")


def test_a_stream_that_is_left_and_closed() -> None:
    """Trio warns of generators that nobody closes; that within the user's is ours to close (websockets does not)."""

    async def scenario() -> Any:
        one, other = testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            protocol = LIB.protocol.Protocol(LIB.protocol.CLIENT)
            connection = LIB.connection.Connection(nursery, one, protocol, close_timeout=0)
            await other.send_all(frame(TEXT, b"a", fin=False) + frame(CONT, b"b"))
            async with contextlib.aclosing(connection.recv_streaming()) as fragments:
                first = await anext(fragments)
            del fragments
            gc.collect()
            error = (await outcome(connection.recv))[1]
            await connection.aclose()
            return first, error

    assert run(scenario) == ("a", "ConcurrencyError")


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_sending_goes_on(secure: bool) -> None:
    """Whoever cancels a send that waits for room has cancelled the waiting, not the frame."""
    certificates = make_certificates()
    size = 8_000_000

    async def scenario() -> Any:
        go_on = trio.Event()
        received: list[int] = []

        async def handler(connection: Any) -> None:
            connection._pause()  # nobody reads
            await go_on.wait()
            connection._resume()
            received.extend([len(message) async for message in connection])

        options = {"max_size": None, "compression": None, "ssl": certificates.server if secure else None}
        async with serving(LIB, handler, **options) as server:
            async with connect(LIB, server.uri, ssl=certificates.client if secure else None) as connection:
                with trio.move_on_after(0.05) as waited:
                    await connection.send(bytes(size))
                go_on.set()
                await connection.send(b"after")
        return waited.cancelled_caught, received

    assert run(scenario) == (True, [size, 5])


def test_cancelled_fragments_end_the_connection() -> None:
    async def scenario() -> Any:
        async def fragments() -> Any:
            yield "a"
            await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            client, server = pair(nursery)
            messages = fragments()
            with trio.move_on_after(0.01):
                await client.send(messages)
            await messages.aclose()
            end = await outcome(server.recv)
            await client.wait_closed()
            return end[2]

    assert run(scenario).startswith("received 1011 (internal error) error in fragmented message; then sent 1002")


def test_cancelled_block() -> None:
    """The peer is told, and does not have to answer."""

    async def scenario() -> Any:
        seen: list[Any] = []

        async def handler(connection: Any) -> None:
            seen.append((await outcome(connection.recv))[2])

        async with serving(LIB, handler) as server:
            with trio.CancelScope() as scope:
                async with connect(LIB, server.uri, close_timeout=None) as connection:
                    scope.cancel()
                    await trio.sleep_forever()
            state = connection.state.name
        return state, seen

    assert run(scenario) == ("CLOSED", ["received 1011 (internal error); then sent 1011 (internal error)"])


def silent(sock: Any) -> None:
    upgrade(sock)
    read_to_end(sock)


def test_cancelled_closing_does_not_wait() -> None:
    async def scenario(uri: str) -> Any:
        async with connect(LIB, uri, close_timeout=None) as connection:
            with trio.move_on_after(0.01) as scope:
                await connection.aclose()
            await connection.wait_closed()
            return scope.cancelled_caught, connection.close_code

    with peer(silent) as uri:
        assert run(scenario, uri) == (True, 1006)


def test_cancelled_opening_closes_the_socket() -> None:
    read: list[bytes] = []

    async def scenario(uri: str) -> None:
        with trio.move_on_after(0.05) as scope:
            async with connect(LIB, uri, open_timeout=None):
                pytest.fail("nobody answers")
        assert scope.cancelled_caught

    with peer(lambda sock: read.append(read_to_end(sock))) as uri:
        run(scenario, uri)
    assert read[0].startswith(b"GET / HTTP/1.1\r\n")


def test_cancelled_server() -> None:
    async def scenario() -> Any:
        stopped = trio.Event()
        seen: list[Any] = []

        async def use(uri: str) -> None:
            async with connect(LIB, uri) as connection:
                await connection.send("x")
                seen.append(await connection.recv())
                stopped.set()
                seen.append((await outcome(connection.recv))[2])

        async with trio.open_nursery() as outer:
            async with trio.open_nursery() as nursery:
                server = await nursery.start(LIB.server.serve, echo, 0)
                outer.start_soon(use, f"ws://127.0.0.1:{server.listeners[0].socket.getsockname()[1]}/")
                await stopped.wait()
                nursery.cancel_scope.cancel()
        assert not server.connections
        return seen

    assert run(scenario) == ["x", "received 1011 (internal error); then sent 1011 (internal error)"]


def test_cancelled_closing_of_a_server_cancels_handlers() -> None:
    async def scenario() -> Any:
        started, cancelled = trio.Event(), trio.Event()

        async def handler(connection: Any) -> None:
            started.set()
            try:
                await trio.sleep_forever()
            finally:
                cancelled.set()

        async with serving(LIB, handler) as server, connect(LIB, server.uri):
            await started.wait()
            with trio.move_on_after(0.05):
                await server.server.aclose(close_connections=False)
            await cancelled.wait()

    run(scenario)


def test_handler_closes_its_server() -> None:
    async def scenario() -> Any:
        async def handler(connection: Any) -> None:
            await connection.recv()
            await connection.server.aclose()

        async with serving(LIB, handler) as server, connect(LIB, server.uri) as connection:
            await connection.send("stop")
            return (await outcome(connection.recv))[2]

    assert run(scenario) == "received 1001 (going away); then sent 1001 (going away)"


def test_pong_behind_what_nobody_receives() -> None:
    """Keepalive does not take for a dead peer what is our own delay."""
    go_on: list[Any] = []

    def script(sock: Any) -> None:
        upgrade(sock)
        sock.sendall(frame(BINARY, b"x") * 4)
        _, payload = read_frame(sock)
        sock.sendall(frame(BINARY, bytes(200_000)) + frame(PONG, payload))
        go_on.append(read_to_end(sock))

    async def scenario(uri: str) -> Any:
        options = {"ping_interval": 0.02, "ping_timeout": 0.05, "max_queue": 1, "close_timeout": 0.5}
        async with connect(LIB, uri, **options) as connection:
            await trio.sleep(0.3)
            before = connection.state.name
            sizes = [len(await connection.recv()) for _ in range(5)]
            return before, sizes

    with peer(script) as uri:
        assert run(scenario, uri) == ("OPEN", [1, 1, 1, 1, 200_000])


def test_connections_are_freed() -> None:
    """Without the garbage collector."""

    async def scenario() -> list[Any]:
        freed: list[Any] = []

        async def handler(connection: Any) -> None:
            freed.append(weakref.ref(connection))
            await echo(connection)

        async with serving(LIB, handler) as server:
            async with connect(LIB, server.uri) as connection:
                freed.append(weakref.ref(connection))
                await connection.send("x")
                await connection.recv()
            del connection
            await testing.wait_all_tasks_blocked()
        return freed

    gc.collect()
    gc.disable()
    try:
        assert [reference() for reference in run(scenario)] == [None, None]
    finally:
        gc.enable()
