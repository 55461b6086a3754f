"""A server of the trio API, ours and that of websockets 17.4: the same happens; and each talks to the other."""

from __future__ import annotations

import http
import logging
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
from fixtures.api_cases import CREDENTIALS, HOOKS, REQUESTS
from fixtures.certificates import make_certificates
from fixtures.compat import skip_unless_comparable

skip_unless_comparable()
trio = pytest.importorskip("trio", reason="trio is not installed: pip install trio")

from fixtures.sync_api import OURS, THEIRS, TIMEOUT_S, ask, ending, stable  # noqa: E402
from fixtures.trio_api import (  # noqa: E402
    both,
    connect,
    echo,
    library,
    nothing,
    outcome,
    run,
    serving,
    try_connect,
    where,
)

PAIRS = [(OURS, OURS), (OURS, THEIRS), (THEIRS, OURS)]


async def ask_it(serves: Any, *args: Any, **kwargs: Any) -> bytes:
    """`ask`, which is a function that waits."""
    return await trio.to_thread.run_sync(lambda: ask(serves.port, *args, **kwargs))


@pytest.mark.parametrize(("client", "server"), PAIRS)
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_echo(client: str, server: str, compression: str | None) -> None:
    async def scenario() -> None:
        async with serving(library(server), echo, compression=compression) as serves:
            async with connect(library(client), serves.uri, compression=compression, max_size=None) as connection:
                for message in ("", "hé", b"\0\1", "x" * 70_000, bytes(300_000)):
                    await connection.send(message)
                    assert await connection.recv() == message
                await connection.send(iter(["a", "b"]))
                assert await connection.recv() == "ab"
                await (await connection.ping()).wait()
            assert connection.close_code == 1000

    run(scenario)


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_tls(client: str, server: str) -> None:
    certificates = make_certificates()

    async def scenario() -> None:
        async with serving(library(server), echo, ssl=certificates.server) as serves:
            async with connect(library(client), serves.uri, ssl=certificates.client) as connection:
                for message in ("x", b"y" * 900_000):
                    await connection.send(message)
                    assert await connection.recv() == message
                assert connection.remote_address == ("127.0.0.1", serves.port)
            assert ending(connection) == ("CLOSED", 1000, "", "1000 (OK)")

    run(scenario)


def test_tls_refused() -> None:
    certificates = make_certificates()

    async def scenario(lib: Any) -> Any:
        async with serving(lib, echo, ssl=certificates.server) as serves:
            return await try_connect(lib, serves.uri), await try_connect(lib, serves.uri.replace("wss", "ws"))

    both(scenario)


def test_both_sides_send_without_receiving() -> None:
    """What the other has sent is read while we wait for room: neither side is stuck."""
    size, count = 256 * 1024, 40
    received: list[int] = []

    async def handler(connection: Any) -> None:
        for _ in range(count):
            await connection.send(bytes(size))
        received.extend([len(await connection.recv()) for _ in range(count)])

    async def scenario(lib: Any) -> None:
        async with serving(lib, handler, max_queue=None, compression=None) as serves:
            async with connect(lib, serves.uri, max_queue=None) as connection:
                for _ in range(count):
                    await connection.send(bytes(size))
                assert [len(await connection.recv()) for _ in range(count)] == [size] * count
                with pytest.raises(lib.exceptions.ConnectionClosedOK):
                    await connection.recv()

    run(scenario, library(OURS))
    assert received == [size] * count


@pytest.mark.parametrize(("headers", "arguments"), REQUESTS.values(), ids=list(REQUESTS))
@pytest.mark.parametrize(
    "options", [{}, {"origins": [None], "subprotocols": ["a", "c"], "server_header": None}], ids=["default", "options"]
)
def test_requests(headers: list[bytes], arguments: dict[str, Any], options: dict[str, Any]) -> None:
    async def scenario(lib: Any) -> Any:
        async with serving(lib, nothing, logger=logging.Logger("silent", 99), **options) as serves:
            return await ask_it(serves, *headers, **arguments)

    both(scenario)


def test_slow_client_is_dropped() -> None:
    async def scenario(lib: Any) -> Any:
        async with serving(lib, echo, open_timeout=0.1) as serves:
            return await ask_it(serves, raw=b"GET")

    both(scenario)


def as_coroutines(options: dict[str, Any]) -> dict[str, Any]:
    """The same hooks, but coroutine functions."""

    def convert(hook: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any) -> Any:
            await trio.lowlevel.checkpoint()
            return hook(*args)

        return call

    return {name: convert(hook) if name.startswith("process_") else hook for name, hook in options.items()}


@pytest.mark.parametrize("options", HOOKS.values(), ids=list(HOOKS))
@pytest.mark.parametrize("convert", [dict, as_coroutines], ids=["functions", "coroutines"])
def test_hooks(options: dict[str, Any], convert: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(lib: Any) -> Any:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            async with serving(lib, nothing, **convert(options)) as serves:
                answer = await ask_it(serves, b"Sec-WebSocket-Protocol: b, a")
        return answer, sorted(stable(record.getMessage()) for record in caplog.records if record.levelno > logging.INFO)

    both(scenario)


@pytest.mark.parametrize(("options", "user_info"), CREDENTIALS.values(), ids=list(CREDENTIALS))
def test_basic_auth(options: dict[str, Any], user_info: str) -> None:
    async def scenario(lib: Any) -> Any:
        async def handler(connection: Any) -> None:
            await connection.send(connection.username)

        async def receive(uri: str) -> Any:
            async with connect(lib, uri) as connection:
                return await connection.recv()

        process_request = lib.server.basic_auth("realm", **options)
        async with serving(lib, handler, process_request=process_request) as serves:
            return await outcome(receive, serves.uri.replace("//", f"//{user_info}"))

    both(scenario)


async def check(username: str, password: str) -> bool:
    await trio.lowlevel.checkpoint()
    return username == password


@pytest.mark.parametrize("user_info", ["x:x@", "x:y@"])
def test_basic_auth_with_a_coroutine(user_info: str) -> None:
    async def scenario(lib: Any) -> Any:
        process_request = lib.server.basic_auth(check_credentials=check)
        async with serving(lib, echo, process_request=process_request) as serves:
            return await try_connect(lib, serves.uri.replace("//", f"//{user_info}"))

    both(scenario)


MISUSE: dict[str, Callable[[Any], Any]] = {
    "no credentials": lambda lib: lib.server.basic_auth(),
    "both": lambda lib: lib.server.basic_auth("", ("a", "b"), lambda a, b: True),
    "not a pair": lambda lib: lib.server.basic_auth("", 5),
    "not pairs": lambda lib: lib.server.basic_auth("", [1, 2]),
    "compression": lambda lib: lib.server.serve(echo, 0, compression="zip"),
    "subprotocols": lambda lib: lib.server.serve(echo, 0, subprotocols="zip"),
    "unknown": lambda lib: lib.server.serve(echo, 0, foo=1),
    "no port": lambda lib: lib.server.serve(echo),
    "port and listeners": lambda lib: lib.server.serve(echo, 0, listeners=[]),
    "host and listeners": lambda lib: lib.server.serve(echo, host="127.0.0.1", listeners=[]),
    "backlog and listeners": lambda lib: lib.server.serve(echo, backlog=5, listeners=[]),
    "broadcast": lambda lib: lib.server.broadcast([], 5),
    "queue": lambda lib: lib.messages.Assembler(4, 5),
    "queue, negative": lambda lib: lib.messages.Assembler(4, -1),
    "no events": lambda lib: lib.utils.race_events(),
}


@pytest.mark.parametrize("call", MISUSE.values(), ids=list(MISUSE))
def test_misuse(call: Callable[[Any], Any]) -> None:
    both(lambda lib: outcome(call, lib))


def test_handler_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(lib: Any) -> Any:
        async def handler(connection: Any) -> None:
            await connection.recv()
            raise KeyError("handler")

        caplog.clear()
        async with serving(lib, handler) as serves, connect(lib, serves.uri) as connection:
            await connection.send("x")
            seen = await outcome(connection.recv)
        return seen, [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]

    both(scenario)


@pytest.mark.parametrize("close", [{}, {"code": 4000, "reason": "bye"}], ids=["default", "code"])
def test_closing_closes_connections(close: dict[str, Any]) -> None:
    async def scenario(lib: Any) -> Any:
        seen: list[Any] = []

        async def handler(connection: Any) -> None:
            await connection.send("ready")
            seen.append(await outcome(connection.recv))

        async with serving(lib, handler) as serves, connect(lib, serves.uri) as connection:
            assert await connection.recv() == "ready"
            open_connections = len(serves.server.connections)
            await serves.server.aclose(**close)
            seen.append(await outcome(connection.recv))
            refused = (await outcome(trio.open_tcp_stream, "127.0.0.1", serves.port))[1]
            await serves.server.aclose()
        return open_connections, sorted(seen), refused, len(serves.server.connections)

    both(scenario)


def test_closing_leaves_connections_alone() -> None:
    async def scenario(lib: Any) -> Any:
        closed = trio.Event()

        async def close(server: Any) -> None:
            await server.aclose(False)
            closed.set()

        async with trio.open_nursery() as nursery, serving(lib, echo) as serves:
            async with connect(lib, serves.uri) as connection:
                nursery.start_soon(close, serves.server)
                await connection.send("still there")
                answer = await connection.recv()
                was_closed = closed.is_set()
            await closed.wait()
            return answer, was_closed

    both(scenario)


def test_closing_refuses_handshakes() -> None:
    async def scenario(lib: Any) -> Any:
        asked, go_on = trio.Event(), trio.Event()
        answers: list[bytes] = []

        async def process_request(connection: Any, request: Any) -> None:
            asked.set()
            await go_on.wait()

        async def send_request(serves: Any) -> None:
            answers.append(await ask_it(serves))

        async with trio.open_nursery() as nursery, serving(lib, echo, process_request=process_request) as serves:
            nursery.start_soon(send_request, serves)
            await asked.wait()
            nursery.start_soon(serves.server.aclose)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            go_on.set()
        return answers

    both(scenario)


def test_closing_does_not_wait_for_requests() -> None:
    async def scenario(lib: Any) -> None:
        accepted = trio.Event()

        class Connection(lib.server.ServerConnection):  # type: ignore[misc, name-defined]
            async def handshake(self, *args: Any) -> None:
                accepted.set()
                await super().handshake(*args)

        options = {"create_connection": Connection, "open_timeout": None}
        async with trio.open_nursery() as nursery, serving(lib, echo, **options) as serves:
            stream = await trio.open_tcp_stream("127.0.0.1", serves.port)
            await accepted.wait()
            nursery.start_soon(serves.server.aclose)
            assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 503 ")
            await stream.aclose()

    run(scenario, library(OURS))


def test_server_by_hand() -> None:
    async def scenario(lib: Any) -> Any:
        accepted: list[str] = []

        async def handler(stream: Any) -> None:
            accepted.append(type(stream).__name__)
            await stream.aclose()

        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = lib.server.Server(listeners, handler)
        async with trio.open_nursery() as nursery:
            assert await nursery.start(server.serve_forever) is server
            stream = await trio.open_tcp_stream("127.0.0.1", where(server).port)
            end = await stream.receive_some(1)
            await stream.aclose()
            await server.aclose()
        return accepted, end, listeners is server.listeners, server.connections

    both(scenario)


def test_listeners() -> None:
    async def scenario(lib: Any) -> Any:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            port = listeners[0].socket.getsockname()[1]
            nursery.start_soon(lambda: lib.server.serve(echo, listeners=listeners))
            async with connect(lib, f"ws://127.0.0.1:{port}/") as connection:
                await connection.send("x")
                answer = await connection.recv()
            nursery.cancel_scope.cancel()
        return answer, listeners[0].socket.fileno()

    both(scenario)


def test_broadcast(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(lib: Any) -> Any:
        caplog.clear()
        begun, go_on = trio.Event(), trio.Event()

        async def fragments() -> Any:
            yield "a"
            begun.set()
            await go_on.wait()
            yield "b"

        async def handler(connection: Any) -> None:
            await connection.send("ready")
            await outcome(connection.recv)

        async with serving(lib, handler) as serves:
            first, second = connect(lib, serves.uri), connect(lib, serves.uri)
            async with first as one, second as other, trio.open_nursery() as nursery:
                seen = [await connection.recv() for connection in (one, other)]
                await lib.server.broadcast(serves.server.connections, "all")
                seen += [await connection.recv() for connection in (one, other)]
                await lib.server.broadcast(serves.server.connections, b"text", text=True)
                seen += [await connection.recv() for connection in (one, other)]
                busy = next(iter(serves.server.connections))
                nursery.start_soon(busy.send, fragments())
                await begun.wait()
                await lib.server.broadcast([busy], "skipped")
                with pytest.raises(ExceptionGroup) as raised:
                    await lib.server.broadcast([busy], "skipped", raise_exceptions=True)
                go_on.set()
        warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        return seen, warned, str(raised.value), [repr(exc) for exc in raised.value.exceptions]

    both(scenario)


def test_routes() -> None:
    routing = pytest.importorskip("werkzeug.routing", reason="werkzeug is not installed: pip install werkzeug")

    async def scenario(lib: Any) -> Any:
        async def handler(connection: Any, name: str) -> None:
            await connection.send(name)

        async def receive(uri: str) -> Any:
            async with connect(lib, uri) as connection:
                return await connection.recv()

        async def process_request(connection: Any, request: Any) -> Any:
            return connection.respond(http.HTTPStatus.GONE, "") if request.path == "/gone" else None

        async def serve(task_status: Any) -> None:
            await lib.router.route(
                url_map, 0, host="127.0.0.1", process_request=process_request, task_status=task_status
            )

        url_map = routing.Map([routing.Rule("/hello/<name>/", endpoint=handler)])
        async with trio.open_nursery() as nursery:
            async with await nursery.start(serve) as server:
                uri = where(server).uri
                found = await receive(uri + "hello/x/"), await receive(uri + "hello/y")
                return found, await outcome(receive, uri + "nothing"), await outcome(receive, uri + "gone")

    both(scenario)


def test_log_of_frames(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(lib: Any) -> Any:
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "websockets.client"):
            async with serving(lib, echo, compression=None) as serves, connect(lib, serves.uri) as connection:
                await connection.send("x")
                await connection.recv()
        lines = [record.getMessage() for record in caplog.records if record.name == "websockets.client"]
        return [stable(line) for line in lines if not re.search("Key|Accept|Date|EOF|CLOSED|TCP|x half|stream", line)]

    both(scenario)


def test_log_of_a_server(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(lib: Any) -> Any:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            async with serving(lib, echo) as serves:
                async with connect(lib, serves.uri):
                    pass
                await ask_it(serves, b"Sec-WebSocket-Version: 12")
        return [stable(record.getMessage()) for record in caplog.records]

    both(scenario)


def test_hook_that_closes_the_connection() -> None:
    async def scenario(lib: Any) -> Any:
        async def process_request(connection: Any, request: Any) -> None:
            await connection.aclose()

        async with serving(lib, echo, process_request=process_request, logger=logging.Logger("silent", 99)) as serves:
            return await try_connect(lib, serves.uri)

    seen = run(scenario, library(OURS))
    assert seen == ("raised", "InvalidMessage", "did not receive a valid HTTP response", "EOFError")


def test_clients_that_hang_up() -> None:
    """Nothing is logged as our error, and the server goes on."""

    async def scenario(lib: Any) -> Any:
        async with serving(lib, echo) as serves:
            for data in (b"", b"GET / HTTP/1.1\r\n"):
                with socket.create_connection(("127.0.0.1", serves.port), TIMEOUT_S) as sock:
                    sock.sendall(data)
            return await try_connect(lib, serves.uri)

    assert run(scenario, library(OURS)) == ("returned", None)
