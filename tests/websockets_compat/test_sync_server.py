"""A server of the threading API, ours and that of websockets 17.4: the same happens; and each talks to the other."""

from __future__ import annotations

import http
import logging
import re
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
theirs = pytest.importorskip("websockets", reason="websockets is not installed: nothing to compare with")
if theirs.__version__ != "17.4":
    pytest.skip(f"websockets 17.4 is emulated, {theirs.__version__} is installed", allow_module_level=True)

from fixtures.api_cases import CREDENTIALS, HOOKS, REQUESTS  # noqa: E402
from fixtures.certificates import make_certificates  # noqa: E402
from fixtures.sync_api import (  # noqa: E402
    OURS,
    THEIRS,
    TIMEOUT_S,
    ask,
    both,
    echo,
    library,
    outcome,
    peer,
    read_head,
    running,
    serving,
    stable,
)

PAIRS = [(OURS, OURS), (OURS, THEIRS), (THEIRS, OURS)]


def connect(lib: Any, uri: str, **kwargs: Any) -> Any:
    return lib.client.connect(uri, **{"legacy": True, "proxy": None, **kwargs})


@pytest.mark.parametrize(("client", "server"), PAIRS)
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_echo(client: str, server: str, compression: str | None) -> None:
    with serving(library(server), echo, compression=compression) as serves:
        with connect(library(client), serves.uri, compression=compression, max_size=None) as connection:
            for message in ("", "hé", b"\0\1", "x" * 70_000, bytes(300_000)):
                connection.send(message)
                assert connection.recv(TIMEOUT_S) == message
            connection.send(iter(["a", "b"]))
            assert connection.recv(TIMEOUT_S) == "ab"
            assert connection.ping().wait(TIMEOUT_S)
        assert connection.close_code == 1000


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_tls(client: str, server: str) -> None:
    certificates = make_certificates()
    with serving(library(server), echo, ssl=certificates.server) as serves:
        with connect(library(client), serves.uri, ssl=certificates.client) as connection:
            for message in ("x", b"y" * 900_000):
                connection.send(message)
                assert connection.recv(TIMEOUT_S) == message
        assert connection.close_code == 1000
        assert outcome(connect, library(client), serves.uri)[1] == "SSLCertVerificationError"


def test_both_sides_send_without_receiving() -> None:
    """What the other has sent is read while we wait for room: neither side is stuck."""
    lib, size, count = library(OURS), 256 * 1024, 40
    received: list[int] = []

    def handler(connection: Any) -> None:
        for _ in range(count):
            connection.send(bytes(size))
        received.extend(len(connection.recv()) for _ in range(count))

    with serving(lib, handler, max_queue=None, compression=None) as serves:
        with connect(lib, serves.uri, max_queue=None, compression=None) as connection:
            for _ in range(count):
                connection.send(bytes(size))
            assert [len(connection.recv(TIMEOUT_S)) for _ in range(count)] == [size] * count
            with pytest.raises(lib.exceptions.ConnectionClosedOK):
                connection.recv(TIMEOUT_S)
    assert received == [size] * count


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_unix(client: str, server: str, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    serves = library(server).server.unix_serve(echo, path)
    thread = threading.Thread(target=serves.serve_forever)
    thread.start()
    with library(client).client.unix_connect(path) as connection:
        connection.send("x")
        assert connection.recv(TIMEOUT_S) == "x"
        assert connection.request.headers["Host"] == "localhost"
    serves.shutdown()
    thread.join(TIMEOUT_S)


@pytest.mark.parametrize(("headers", "arguments"), REQUESTS.values(), ids=list(REQUESTS))
@pytest.mark.parametrize("options", [{}, {"origins": [None], "subprotocols": ["a", "c"], "server_header": None}])
def test_requests(headers: list[bytes], arguments: dict[str, Any], options: dict[str, Any]) -> None:
    def scenario(lib: Any) -> Any:
        with serving(lib, lambda connection: None, **options) as serves:
            return ask(serves.port, *headers, **arguments)

    both(scenario)


def test_slow_client_is_dropped() -> None:
    def scenario(lib: Any) -> Any:
        with serving(lib, echo, open_timeout=0.1) as serves:
            return ask(serves.port, raw=b"GET")

    both(scenario)


@pytest.mark.parametrize("options", HOOKS.values(), ids=list(HOOKS))
def test_hooks(options: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    def scenario(lib: Any) -> Any:
        caplog.clear()
        with caplog.at_level(logging.INFO), serving(lib, lambda connection: None, **options) as serves:
            answer = ask(serves.port, b"Sec-WebSocket-Protocol: b, a")
        return answer, sorted(stable(record.getMessage()) for record in caplog.records if record.levelno > logging.INFO)

    both(scenario)


def test_wrong_return_value_of_a_hook() -> None:
    """Theirs hangs up without a word."""
    with serving(library(OURS), echo, process_request=lambda *_: 5) as serves:
        assert ask(serves.port).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize(("options", "user_info"), CREDENTIALS.values(), ids=list(CREDENTIALS))
def test_basic_auth(options: dict[str, Any], user_info: str) -> None:
    def scenario(lib: Any) -> Any:
        def handler(connection: Any) -> None:
            connection.send(connection.username)

        process_request = lib.server.basic_auth("realm", **options)
        with serving(lib, handler, process_request=process_request) as serves:
            return outcome(lambda: connect(lib, serves.uri.replace("//", f"//{user_info}")).recv(TIMEOUT_S))

    both(scenario)


MISUSE: dict[str, Callable[[Any], Any]] = {
    "no credentials": lambda lib: lib.server.basic_auth(),
    "both": lambda lib: lib.server.basic_auth("", ("a", "b"), lambda a, b: True),
    "not a pair": lambda lib: lib.server.basic_auth("", 5),
    "not pairs": lambda lib: lib.server.basic_auth("", [1, 2]),
    "compression": lambda lib: lib.server.serve(echo, "127.0.0.1", 0, compression="zip"),
    "subprotocols": lambda lib: lib.server.serve(echo, "127.0.0.1", 0, subprotocols="zip"),
    "no path": lambda lib: lib.server.unix_serve(echo),
    "broadcast": lambda lib: lib.server.broadcast([], 5),
    "queue": lambda lib: lib.messages.Assembler(4, 5),
    "queue, negative": lambda lib: lib.messages.Assembler(4, -1),
    "deadline": lambda lib: lib.utils.Deadline(-1).timeout(),
}


@pytest.mark.parametrize("call", MISUSE.values(), ids=list(MISUSE))
def test_misuse(call: Callable[[Any], Any]) -> None:
    both(lambda lib: outcome(call, lib))


def test_handler_fails(caplog: pytest.LogCaptureFixture) -> None:
    def scenario(lib: Any) -> Any:
        def handler(connection: Any) -> None:
            connection.recv()
            raise KeyError("handler")

        caplog.clear()
        with serving(lib, handler) as serves:
            connection = connect(lib, serves.uri)
            connection.send("x")
            seen = outcome(connection.recv, TIMEOUT_S)
        return seen, [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]

    both(scenario)


@pytest.mark.parametrize("close", [{}, {"code": 4000, "reason": "bye"}], ids=["default", "code"])
def test_shutdown_closes_connections(close: dict[str, Any]) -> None:
    def scenario(lib: Any) -> Any:
        seen: list[Any] = []

        def handler(connection: Any) -> None:
            connection.send("ready")
            seen.append(outcome(connection.recv))

        with serving(lib, handler) as serves:
            connection = connect(lib, serves.uri)
            assert connection.recv(TIMEOUT_S) == "ready"
            open_connections = len(serves.server.connections)
            serves.server.shutdown(**close)
            seen.append(outcome(connection.recv, TIMEOUT_S))
            refused = outcome(socket.create_connection, ("127.0.0.1", serves.port))[1]
        return open_connections, sorted(seen), refused, serves.server.fileno()

    both(scenario)


def test_shutdown_leaves_connections_alone() -> None:
    def scenario(lib: Any) -> Any:
        with serving(lib, echo) as serves:
            connection = connect(lib, serves.uri)
            thread = threading.Thread(target=serves.server.shutdown, args=(False,))
            thread.start()
            connection.send("still there")
            answer = connection.recv(TIMEOUT_S)
            connection.close()
            thread.join(TIMEOUT_S)
            return answer, thread.is_alive()

    both(scenario)


def test_shutdown_refuses_handshakes() -> None:
    def scenario(lib: Any) -> Any:
        asked, go_on = threading.Event(), threading.Event()
        answer: list[bytes] = []

        def process_request(connection: Any, request: Any) -> None:
            asked.set()
            assert go_on.wait(TIMEOUT_S)

        server = lib.server.serve(echo, "127.0.0.1", 0, process_request=process_request)
        port = server.socket.getsockname()[1]
        threads = [
            threading.Thread(target=server.serve_forever),
            threading.Thread(target=lambda: answer.append(ask(port))),
            threading.Thread(target=server.shutdown),
        ]
        for thread in threads[:2]:
            thread.start()
        assert asked.wait(TIMEOUT_S)
        threads[2].start()
        threads[0].join(TIMEOUT_S)  # it does not accept any more
        go_on.set()
        for thread in threads:
            thread.join(TIMEOUT_S)
        return answer

    both(scenario)


def test_shutdown_of_a_server_that_did_not_serve() -> None:
    """Theirs waits for serve_forever()."""
    with library(OURS).server.serve(echo, "127.0.0.1", 0) as server:
        assert server.fileno() >= 0
    assert server.fileno() == -1
    server.shutdown()
    server.serve_forever()


def test_broadcast(caplog: pytest.LogCaptureFixture) -> None:
    def scenario(lib: Any) -> Any:
        caplog.clear()
        begun, go_on = threading.Event(), threading.Event()

        def fragments() -> Any:
            yield "a"
            begun.set()
            assert go_on.wait(TIMEOUT_S)
            yield "b"

        def handler(connection: Any) -> None:
            connection.send("ready")
            outcome(connection.recv)

        with serving(lib, handler) as serves:
            connections = [connect(lib, serves.uri) for _ in range(3)]
            for connection in connections:
                connection.recv(TIMEOUT_S)
            lib.server.broadcast(serves.server.connections, "all")
            seen = [connection.recv(TIMEOUT_S) for connection in connections]
            lib.server.broadcast(serves.server.connections, b"text", text=True)
            seen += [connection.recv(TIMEOUT_S) for connection in connections]
            busy = next(iter(serves.server.connections))
            sender = threading.Thread(target=busy.send, args=(fragments(),))
            sender.start()
            assert begun.wait(TIMEOUT_S)
            lib.server.broadcast([busy], "skipped")
            with pytest.raises(ExceptionGroup) as raised:
                lib.server.broadcast([busy], "skipped", raise_exceptions=True)
            go_on.set()
            sender.join(TIMEOUT_S)
            for connection in connections:
                connection.close()
        warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        return seen, warned, str(raised.value), str(raised.value.exceptions[0])

    both(scenario)


def test_routes() -> None:
    routing = pytest.importorskip("werkzeug.routing", reason="werkzeug is not installed")

    def scenario(lib: Any) -> Any:
        def handler(connection: Any, name: str) -> None:
            connection.send(name)

        def process_request(connection: Any, request: Any) -> Any:
            return connection.respond(http.HTTPStatus.GONE, "") if request.path == "/gone" else None

        url_map = routing.Map([routing.Rule("/hello/<name>/", endpoint=handler)])
        server = lib.router.route(url_map, "127.0.0.1", 0, process_request=process_request)
        uri = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        with running(server):
            found = connect(lib, uri + "/hello/x/").recv(TIMEOUT_S), connect(lib, uri + "/hello/y").recv(TIMEOUT_S)
            return found, outcome(connect, lib, uri + "/nothing"), outcome(connect, lib, uri + "/gone")

    both(scenario)


def test_tls_through_a_tls_proxy() -> None:
    """TLS within TLS, which the standard library does not do by itself; the proxy passes bytes on."""
    certificates = make_certificates()
    for name in (OURS, THEIRS):
        lib = library(name)
        with serving(lib, echo, ssl=certificates.server) as serves:

            def script(sock: socket.socket, port: int = serves.port) -> None:
                with certificates.server.wrap_socket(sock, server_side=True) as outer:
                    assert read_head(outer).startswith(b"CONNECT ")
                    outer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    outer.setblocking(False)
                    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as inner:
                        relay(outer, inner)

            with peer(script) as uri:
                proxy = uri.replace("ws://", "https://")
                options = {"ssl": certificates.client, "proxy_ssl": certificates.client, "proxy": proxy}
                with connect(lib, serves.uri, **options) as connection:
                    for message in ("x", b"y" * 300_000):
                        connection.send(message)
                        assert connection.recv(TIMEOUT_S) == message


def relay(outer: Any, inner: socket.socket) -> None:
    """Pass bytes between a TLS socket that does not block and another socket, until one ends."""
    import select
    import ssl

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[outer.send(view) :]
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                select.select([], [outer], [], TIMEOUT_S)

    while True:
        ready = [outer] if outer.pending() else select.select([outer, inner], [], [], TIMEOUT_S)[0]
        if not ready:
            raise TimeoutError("nothing to relay")
        if outer in ready:
            try:
                data = outer.recv(65536)
            except ssl.SSLWantReadError:
                continue
            except OSError:
                return
            if not data:
                return
            inner.sendall(data)
        if inner in ready:
            data = inner.recv(65536)
            if not data:
                return
            write(data)


def test_log_of_frames(caplog: pytest.LogCaptureFixture) -> None:
    def scenario(lib: Any) -> Any:
        caplog.clear()
        with serving(lib, echo, compression=None) as serves, caplog.at_level(logging.DEBUG, "websockets.client"):
            with connect(lib, serves.uri, compression=None) as connection:
                connection.send("x")
                connection.recv(TIMEOUT_S)
        lines = [record.getMessage() for record in caplog.records if record.name == "websockets.client"]
        return [stable(line) for line in lines if not re.search("Key|Accept|Date|EOF|CLOSED|TCP|x half", line)]

    both(scenario)
