"""A client of the trio API, ours and that of websockets 17.4, against peers written by hand: the same happens."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fixtures.api_cases import ANSWERS, CLOSE, CONT, FRAGMENTS, PONG, RECEIVED, TEXT
from fixtures.compat import skip_unless_comparable

skip_unless_comparable()
trio = pytest.importorskip("trio", reason="trio is not installed: pip install trio")
testing = pytest.importorskip("trio.testing")

from fixtures.sync_api import (  # noqa: E402
    OURS,
    THEIRS,
    TIMEOUT_S,
    ending,
    frame,
    peer,
    read_frame,
    read_head,
    read_to_end,
    sends,
    upgrade,
)
from fixtures.trio_api import both, connect, echo, library, outcome, run, serving, try_connect  # noqa: E402


def both_with_peer(script: Callable[[socket.socket], None], scenario: Callable[[Any, str], Any]) -> Any:
    """A scenario gives the same with both libraries, with a peer for each."""
    seen = []
    for name in (OURS, THEIRS):
        with peer(script) as uri:
            seen.append(run(scenario, library(name), uri))
    assert seen[0] == seen[1]
    return seen[0]


async def left(connecting: Any, scenario: Callable[[Any], Any]) -> Any:
    """What comes of a block, and how its connection has ended."""
    seen: list[Any] = []
    async with connecting as connection:
        seen.append(await scenario(connection))
    return seen, ending(connection)


@pytest.mark.parametrize(("frames", "arguments"), RECEIVED.values(), ids=list(RECEIVED))
def test_receiving(frames: list[bytes], arguments: dict[str, Any]) -> None:
    async def scenario(lib: Any, uri: str) -> Any:
        async def receive(connection: Any) -> Any:
            seen = [await outcome(connection.recv)]
            while seen[-1][0] == "returned":
                seen.append(await outcome(connection.recv))
            return [what[:3] for what in seen]

        return await left(connect(lib, uri, **arguments), receive)

    both_with_peer(sends(*frames, frame(CLOSE, b"\x03\xe8")), scenario)


def test_invalid_text() -> None:
    async def scenario(lib: Any, uri: str) -> Any:
        return await left(connect(lib, uri), lambda connection: outcome(connection.recv))

    both_with_peer(sends(frame(TEXT, b"\xff")), scenario)


def test_decode() -> None:
    messages = [frame(TEXT, b"a"), frame(2, b"b"), frame(TEXT, b"d", fin=False), frame(CONT, b"e")]

    async def scenario(lib: Any, uri: str) -> Any:
        async with connect(lib, uri) as connection:
            whole = await connection.recv(decode=False), await connection.recv(decode=True)
            return whole, [fragment async for fragment in connection.recv_streaming(decode=False)]

    both_with_peer(sends(*messages), scenario)


def drop(sock: socket.socket) -> None:
    upgrade(sock)
    sock.sendall(frame(TEXT, b"a"))


def reset(sock: socket.socket) -> None:
    upgrade(sock)
    sock.recv(100)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_dropped() -> None:
    async def scenario(lib: Any, uri: str) -> Any:
        async def use(connection: Any) -> Any:
            seen = [await outcome(connection.recv), await outcome(connection.recv)]
            await connection.wait_closed()
            return seen, await outcome(connection.send, "x"), await outcome(connection.ping)

        return await left(connect(lib, uri), use)

    both_with_peer(drop, scenario)


def test_reset() -> None:
    async def scenario(lib: Any, uri: str) -> Any:
        async def use(connection: Any) -> Any:
            await connection.send("x")
            return await outcome(connection.recv)

        return await left(connect(lib, uri), use)

    both_with_peer(reset, scenario)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=list(ANSWERS))
def test_refused(answer: bytes) -> None:
    def script(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(answer)

    both_with_peer(script, try_connect)


def read_only(sock: socket.socket) -> None:
    read_to_end(sock)


def test_opening_timeout() -> None:
    both_with_peer(read_only, lambda lib, uri: try_connect(lib, uri, open_timeout=0.1))


ARGUMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "uri": ("http://127.0.0.1/", {}),
    "compression": ("ws://127.0.0.1:1/", {"compression": "zip"}),
    "subprotocols": ("ws://127.0.0.1:1/", {"subprotocols": "abc"}),
    "ssl": ("ws://127.0.0.1:1/", {"ssl": ssl.create_default_context()}),
    "proxy": ("ws://127.0.0.1:1/", {"proxy": "ftp://127.0.0.1:1"}),
    "proxy_ssl": ("ws://127.0.0.1:1/", {"proxy": "http://h", "proxy_ssl": ssl.create_default_context()}),
    "unknown": ("ws://127.0.0.1:1/", {"foo": 1}),
    "nobody there": ("ws://127.0.0.1:1/", {}),
}


@pytest.mark.parametrize(("uri", "arguments"), ARGUMENTS.values(), ids=list(ARGUMENTS))
def test_arguments(uri: str, arguments: dict[str, Any]) -> None:
    both(lambda lib: try_connect(lib, uri, **arguments))


def test_unix_needs_a_path() -> None:
    async def scenario(lib: Any) -> Any:
        async def attempt(**kwargs: Any) -> None:
            async with lib.client.unix_connect(**kwargs):
                pass

        return await outcome(attempt), (await outcome(attempt, path="/nowhere/socket"))[:2]

    both(scenario)


def test_misuse() -> None:
    async def scenario(lib: Any) -> Any:
        async with serving(lib, echo) as server, connect(lib, server.uri) as connection:
            calls = [
                await outcome(connection.send, {}),
                await outcome(connection.send, 1),
                await outcome(connection.ping, {}),
                await outcome(connection.pong, 1),
                await outcome(connection.ping, b"x" * 126),
                await outcome(connection.send, []),
            ]
            return calls, connection.state.name

    both(scenario)


def test_codes_that_may_not_be_sent() -> None:
    """As in the other APIs. Theirs drops the connection without a CLOSE frame, and says nothing."""

    async def scenario(lib: Any) -> Any:
        async with serving(lib, echo) as server, connect(lib, server.uri) as connection:
            calls = await outcome(connection.aclose, 5), await outcome(connection.aclose, 1000, "x" * 124)
            await connection.send("still there")
            return [call[1:3] for call in calls], await connection.recv()

    calls, answer = run(scenario, library(OURS))
    assert calls == [("ProtocolError", "invalid status code"), ("ProtocolError", "control frame too long")]
    assert answer == "still there"


def test_groups_from_the_block_stay_groups() -> None:
    """Theirs raises what is in a group if that is one exception."""
    group = ExceptionGroup("body", [KeyError("x")])

    async def scenario(lib: Any) -> None:
        async with serving(lib, echo) as server:
            with pytest.raises(ExceptionGroup, match="body") as caught:
                async with connect(lib, server.uri):
                    raise group
            assert caught.value is group

    run(scenario, library(OURS))


def test_use_of_connect() -> None:
    async def scenario(lib: Any) -> Any:
        async with serving(lib, echo) as server:
            connecting = connect(lib, server.uri)
            async with connecting:
                again = await outcome(connecting.__aenter__)
            async with connecting as connection:
                await connection.send("again")
                answer = await connection.recv()
            with pytest.raises(KeyError, match="body"):
                async with connecting as connection:
                    raise KeyError("body")
            return again, answer, ending(connection)

    both(scenario)


async def asynchronously(fragments: Any) -> Any:
    for fragment in fragments:
        yield fragment


@pytest.mark.parametrize("fragments", FRAGMENTS.values(), ids=list(FRAGMENTS))
@pytest.mark.parametrize("convert", [iter, asynchronously])
def test_sending_fragments(fragments: Callable[[], Any], convert: Callable[[Any], Any]) -> None:
    async def scenario(lib: Any, uri: str) -> Any:
        async def use(connection: Any) -> Any:
            messages = convert(fragments())
            try:
                return await outcome(connection.send, messages)
            finally:
                if convert is asynchronously:
                    await messages.aclose()

        return await left(connect(lib, uri), use)

    both_with_peer(sends(), scenario)


def test_concurrent_receiving() -> None:
    async def scenario(lib: Any) -> Any:
        async with serving(lib, echo) as server, connect(lib, server.uri) as connection:
            await connection.send("a")
            stream = connection.recv_streaming()
            seen = [await anext(stream), await outcome(connection.recv)]
            seen.append(await outcome(anext, connection.recv_streaming()))
            return seen, [fragment async for fragment in stream]

    both(scenario)


def test_pings() -> None:
    async def scenario(lib: Any, uri: str) -> Any:
        async with connect(lib, uri, close_timeout=0.1) as connection:
            first, second = await connection.ping("a"), await connection.ping(b"b")
            third = await connection.ping("c", ack_on_close=True)
            twice = await outcome(connection.ping, "c")
            await connection.send("go on")
            assert await connection.recv() == "x"
            before = first.is_set(), second.is_set(), third.is_set()
            latency = connection.latency > 0
        return twice, before, latency, third.is_set(), ending(connection)

    def script(sock: socket.socket) -> None:
        upgrade(sock)
        for _ in range(4):
            read_frame(sock)
        sock.sendall(frame(PONG, b"b") + frame(PONG, b"?") + frame(TEXT, b"x"))
        read_to_end(sock)

    both_with_peer(script, scenario)


@pytest.mark.parametrize("name", [OURS, THEIRS])
def test_close_interrupts_recv(name: str) -> None:
    lib = library(name)
    seen: list[Any] = []

    async def scenario() -> None:
        async with serving(lib, echo) as server, connect(lib, server.uri) as connection:

            async def receive() -> None:
                seen.append(await outcome(connection.recv))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await testing.wait_all_tasks_blocked()
                await connection.aclose(4001, "why")

    run(scenario)
    assert seen[0][:2] == ("raised", "ConnectionClosedError")
    assert "sent 4001 (private use) why" in seen[0][2]


def silent(sock: socket.socket) -> None:
    upgrade(sock)
    read_to_end(sock)


def test_close_timeout() -> None:
    async def scenario(lib: Any, uri: str) -> Any:
        async with connect(lib, uri, close_timeout=0.1) as connection:
            return await outcome(connection.aclose), ending(connection), await outcome(connection.recv)

    both_with_peer(silent, scenario)


def test_keepalive_gives_up() -> None:
    async def scenario(lib: Any, uri: str) -> Any:
        async with connect(lib, uri, ping_interval=0.05, ping_timeout=0.05, close_timeout=0.1) as connection:
            return (await outcome(connection.recv))[:3], ending(connection)

    both_with_peer(silent, scenario)


@pytest.mark.parametrize("name", [OURS, THEIRS])
def test_keepalive_measures(name: str) -> None:
    pinged = threading.Event()

    def script(sock: socket.socket) -> None:
        upgrade(sock)
        _, payload = read_frame(sock)
        pinged.set()
        sock.sendall(frame(PONG, payload) + frame(TEXT, b"x") + frame(CLOSE))
        read_to_end(sock)

    async def scenario(uri: str) -> None:
        async with connect(library(name), uri, ping_interval=0.01, close_timeout=0.1) as connection:
            assert connection.latency == 0
            assert await connection.recv() == "x"
            assert pinged.is_set()
            assert 0 < connection.latency < TIMEOUT_S

    with peer(script) as uri:
        run(scenario, uri)


def test_messages_before_close_are_received() -> None:
    async def scenario(lib: Any, uri: str) -> Any:
        async with connect(lib, uri) as connection:
            first = await connection.recv()
            await connection.aclose()
            return first, [await connection.recv() for _ in range(4)], await outcome(connection.recv)

    both_with_peer(sends(*(frame(TEXT, b"%d" % i) for i in range(5))), scenario)


def test_full_queue_stops_reading_and_close_goes_on() -> None:
    async def scenario(lib: Any, uri: str) -> Any:
        async with connect(lib, uri, max_queue=(4, 2)) as connection:
            first = await connection.recv()
            await connection.aclose()
            return first, [await outcome(connection.recv) for _ in range(50)]

    with peer(sends(*(frame(TEXT, b"%d" % i) for i in range(50)))) as uri:
        first, rest = run(scenario, library(OURS), uri)
    assert first == "0"
    assert [what[1] for what in rest[:49]] == [str(i) for i in range(1, 50)]
    assert rest[49][1] == "ConnectionClosedError"  # the peer hangs up without a CLOSE frame


def test_full_queue_pauses() -> None:
    """Theirs does not read on when it closes, and waits for ever."""
    size = 64 * 1024
    paused = threading.Event()
    sent: list[int] = []

    def script(sock: socket.socket) -> None:
        upgrade(sock)
        sock.settimeout(0.3)
        try:
            while True:
                sock.sendall(frame(2, bytes(size)))
                sent.append(1)
        except TimeoutError:
            paused.set()

    async def scenario(uri: str) -> None:
        async with connect(library(OURS), uri, max_queue=2, close_timeout=0.1):
            assert await trio.to_thread.run_sync(paused.wait, TIMEOUT_S)

    with peer(script) as uri:
        run(scenario, uri)
    assert len(sent) < 1000


def test_addresses() -> None:
    async def scenario(lib: Any) -> Any:
        one, other = testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            protocol = lib.protocol.Protocol(lib.protocol.CLIENT)
            connection = lib.connection.Connection(nursery, one, protocol)
            seen = [type(await get_error(connection, name)).__name__ for name in ("local_address", "remote_address")]
            await other.aclose()
        async with serving(lib, echo) as server, connect(lib, server.uri) as connection:
            seen += [connection.remote_address == ("127.0.0.1", server.port), connection.local_address[0]]
        return seen

    async def get_error(connection: Any, name: str) -> BaseException:
        with pytest.raises(NotImplementedError) as caught:
            getattr(connection, name)
        return caught.value

    both(scenario)


def test_over_any_stream() -> None:
    """A connection on each side of a pair of streams that is no socket; `stream=` takes such a one too."""

    async def scenario(lib: Any) -> Any:
        one, other = testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            client = lib.connection.Connection(nursery, one, lib.protocol.Protocol(lib.protocol.CLIENT))
            server = lib.connection.Connection(nursery, other, lib.protocol.Protocol(lib.protocol.SERVER))
            await client.send("x" * 300_000)
            size = len(await server.recv())
            pong = await server.ping()
            await pong.wait()
            await client.aclose(4000, "bye")
            return size, await outcome(server.recv), ending(client), ending(server)

    both(scenario)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_another_connection_ends_while_its_messages_are_passed_on(count: int) -> None:
    async def scenario(lib: Any) -> Any:
        async def passed_on() -> Any:
            for _ in range(count):
                yield "a"
            raise lib.exceptions.ConnectionClosedError(None, None)

        async def wait(connection: Any) -> None:
            await connection.wait_closed()

        async with serving(lib, wait) as serves, connect(lib, serves.uri) as connection:
            return [
                await outcome(connection.send, passed_on()),
                await outcome(connection.send, "x"),
                ending(connection),
            ]

    both(scenario)
