"""Hooks of trio servers while clients leave or the server closes: the same as with websockets 17.4."""

from __future__ import annotations

import logging
import socket
import struct
from typing import Any

import pytest
from fixtures.certificates import make_certificates
from fixtures.compat import skip_unless_comparable

skip_unless_comparable()
trio = pytest.importorskip("trio", reason="trio is not installed: pip install trio")

from fixtures.sync_api import OURS, ask, stable  # noqa: E402
from fixtures.trio_api import both, connect, echo, library, nothing, outcome, run, serving  # noqa: E402

GET = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
OUTCOMES = ["accepts", "refuses", "raises"]
HOOKS = ["process_request", "process_response"]


class _Bug(Exception):
    """What a hook raises."""


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says, each line once: a server of theirs that is closed twice says so."""
    return sorted({stable(record.getMessage()) for record in caplog.records})


def answered(connection: Any, outcome: str) -> Any:
    """What a hook makes of a request."""
    if outcome == "raises":
        raise _Bug
    return connection.respond(403, "no") if outcome == "refuses" else None


async def leave(stream: Any, by: str) -> None:
    """Close a connection, or one direction, or have it reset."""
    if by == "half":
        await stream.send_eof()
        return
    if by == "reset":
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@pytest.mark.parametrize("by", ["end", "half", "reset"])
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("during", HOOKS)
def test_a_client_that_leaves_during_a_hook(
    during: str, outcome: str, by: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def scenario(lib: Any) -> Any:
        caplog.clear()
        seen: list[Any] = []
        has_begun = trio.Event()

        async def outlive(connection: Any) -> Any:
            has_begun.set()
            while connection.state.name != "CLOSED":
                await trio.lowlevel.checkpoint()
            return answered(connection, outcome)

        async def process_request(connection: Any, request: Any) -> Any:
            seen.append(connection)
            return await outlive(connection) if during == "process_request" else None

        async def process_response(connection: Any, request: Any, response: Any) -> Any:
            seen.append(response.status_code)
            return await outlive(connection) if during == "process_response" else None

        async def handler(connection: Any) -> None:
            seen.append("a handler ran")

        hooks = {"process_request": process_request, "process_response": process_response}
        async with serving(lib, handler, **hooks) as serves:
            stream = await trio.open_tcp_stream("127.0.0.1", serves.port)
            await stream.send_all(GET)
            await has_begun.wait()
            await leave(stream, by)
            answer = bytes(await stream.receive_some()) if by == "half" else b""
            await stream.aclose()
        connection = seen.pop(0)
        seen.append((connection.state.name, connection.close_code, connection.close_reason))
        return seen, answer, logged(caplog)

    both(scenario)
    assert not any("connection open" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("close_connections", [True, False])
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("during", HOOKS)
def test_closing_lets_hooks_finish(
    during: str, outcome: str, close_connections: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def scenario(lib: Any) -> Any:
        caplog.clear()
        seen: list[Any] = []
        answers: list[bytes] = []
        has_begun, go_on = trio.Event(), trio.Event()

        async def decide(connection: Any) -> Any:
            has_begun.set()
            await go_on.wait()
            seen.append("decided")
            return answered(connection, outcome)

        async def process_request(connection: Any, request: Any) -> Any:
            seen.append(connection)
            return await decide(connection) if during == "process_request" else None

        async def process_response(connection: Any, request: Any, response: Any) -> Any:
            seen.append(response.status_code)
            return await decide(connection) if during == "process_response" else None

        async def send_request(port: int) -> None:
            answers.append(await trio.to_thread.run_sync(ask, port))

        hooks = {"process_request": process_request, "process_response": process_response}
        async with trio.open_nursery() as nursery, serving(lib, nothing, **hooks) as serves:
            nursery.start_soon(send_request, serves.port)
            await has_begun.wait()
            nursery.start_soon(serves.server.aclose, close_connections)
            while "server closing" not in caplog.messages:
                await trio.lowlevel.checkpoint()
            go_on.set()
        connection = seen.pop(0)
        seen.append((connection.response.status_code, connection.close_code))
        return answers, seen, logged(caplog)

    both(scenario)


@pytest.mark.parametrize("is_secure", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("size", [5, 200_000])
def test_what_is_sent_ahead_is_received(size: int, is_secure: bool) -> None:
    """What a hurried client sends while a hook decides is not lost when the hook returns."""
    message = b"x" * size
    head = b"\x82\x85" if size == 5 else b"\x82\xff" + struct.pack("!Q", size)
    certificates = make_certificates()

    async def scenario(lib: Any) -> Any:
        received: list[Any] = []
        has_begun, go_on, is_done = trio.Event(), trio.Event(), trio.Event()

        async def process_request(connection: Any, request: Any) -> None:
            has_begun.set()
            await go_on.wait()

        async def handler(connection: Any) -> None:
            received.append(await connection.recv())
            is_done.set()

        options = {"ssl": certificates.server} if is_secure else {}
        async with serving(lib, handler, process_request=process_request, **options) as serves:
            stream: Any = await trio.open_tcp_stream("127.0.0.1", serves.port)
            if is_secure:
                stream = trio.SSLStream(stream, certificates.client, server_hostname="localhost")
            async with trio.open_nursery() as nursery:
                await stream.send_all(GET)
                await has_begun.wait()
                await stream.send_all(head + bytes(4) + message[:1000])
                nursery.start_soon(stream.send_all, message[1000:])
                go_on.set()
                await is_done.wait()
            await trio.aclose_forcefully(stream)
        return received

    both(scenario)


def test_a_hook_that_raises_when_it_is_cancelled() -> None:
    """A server that is cancelled waits for nothing that its hooks' clients send."""

    async def scenario(lib: Any) -> list[str]:
        seen: list[str] = []
        has_begun = trio.Event()

        async def process_request(connection: Any, request: Any) -> None:
            has_begun.set()
            try:
                await trio.sleep_forever()
            finally:
                seen.append("cancelled")

        async with trio.open_nursery() as nursery:
            async with serving(lib, nothing, process_request=process_request) as serves:
                stream = await trio.open_tcp_stream("127.0.0.1", serves.port)
                await stream.send_all(GET)
                await has_begun.wait()
                nursery.cancel_scope.cancel()
        await stream.aclose()
        return seen

    assert run(scenario, library(OURS)) == ["cancelled"]


def test_a_close_that_cannot_be_told_does_nothing() -> None:
    async def scenario(lib: Any) -> Any:
        async with serving(lib, echo) as serves, connect(lib, serves.uri) as connection:
            failure = await outcome(serves.server.aclose, True, 1006)
            await connection.send("x")
            return failure[1], await connection.recv()

    assert run(scenario, library(OURS)) == ("ProtocolError", "x")
