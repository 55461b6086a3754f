"""A client of the trio API, ours and that of websockets 17.4, finds its way: redirects, new attempts, proxies, TLS."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from fixtures.api_cases import CLOSE, PROXIES, TEXT
from fixtures.certificates import make_certificates
from fixtures.compat import skip_unless_comparable

skip_unless_comparable()
trio = pytest.importorskip("trio", reason="trio is not installed: pip install trio")

from fixtures.sync_api import OURS, THEIRS, frame, library, peer, read_head, sends  # noqa: E402
from fixtures.trio_api import both, connect, echo, outcome, run, serving, try_connect  # noqa: E402
from fixtures.trio_api import library as trio_library  # noqa: E402


def test_redirects() -> None:
    async def scenario(lib: Any) -> Any:
        target = ""

        def process_request(connection: Any, request: Any) -> Any:
            location = {"/same": "/other", "/away": target, "/loop": "/loop"}.get(request.path)
            if location is None:
                return None
            response = connection.respond(302, "moved")
            response.headers["Location"] = location
            return response

        seen: list[Any] = []
        async with serving(lib, echo) as away, serving(lib, echo, process_request=process_request) as server:
            target = away.uri
            headers = {"Authorization": "secret", "X-A": "b"}
            for path in ("same", "away"):
                async with connect(lib, server.uri + path, additional_headers=headers) as connection:
                    sent = connection.request.headers
                    seen.append((connection.request.path, sent.get("Authorization"), sent.get("X-A")))
            seen.append(await try_connect(lib, server.uri + "loop"))
            seen.append(await try_connect(lib, server.uri + "away", port=server.port))
            seen.append(await try_connect(lib, server.uri + "same", port=server.port))
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            seen.append(await try_connect(lib, server.uri + "same", stream=stream))
        return seen

    both(scenario)


def no_delays() -> Any:
    while True:
        yield 0.0


def test_reconnecting() -> None:
    async def scenario(lib: Any) -> Any:
        failures: list[str] = []
        seen: list[Any] = []

        def process_exception(exc: Exception) -> Exception | None:
            failures.append(type(exc).__name__)
            return None if len(failures) < 3 else KeyError("enough")

        options = {"process_exception": process_exception, "reconnect_delays": no_delays}
        async with serving(lib, echo) as server:
            connecting = connect(lib, server.uri, **options)

            async def iterate() -> None:
                async for connection in connecting:
                    await connection.send("x")
                    seen.append((await connection.recv(), connection.state.name, connection.request.path))
                    if len(seen) == 2:
                        await server.server.aclose()

            given_up = await outcome(iterate)
        return seen, failures, given_up

    both(scenario)


def test_leaving_the_loop() -> None:
    """The library corrupts trio's tasks here."""

    async def scenario(lib: Any) -> Any:
        async with serving(lib, echo) as server:
            connections = aiter(connect(lib, server.uri))
            async for connection in connections:
                await connection.send("x")
                break
            state = connection.state.name
            await connections.aclose()
            connections = aiter(connect(lib, server.uri))
            with pytest.raises(KeyError):
                async for connection in connections:
                    raise KeyError(await connection.send("x"))
            await connections.aclose()
            return state, connection.state.name, connection.protocol.close_sent.code

    assert run(scenario, trio_library(OURS)) == ("OPEN", "CLOSED", 1011)


def test_cancelling_the_loop() -> None:
    async def scenario(lib: Any) -> Any:
        async with serving(lib, echo) as server:
            connections = aiter(connect(lib, server.uri))
            with trio.CancelScope() as scope:
                async for connection in connections:
                    scope.cancel()
                    await connection.recv()
            await connections.aclose()
            return scope.cancelled_caught, connection.state.name

    assert run(scenario, trio_library(OURS)) == (True, "CLOSED")


async def connect_through(lib: Any, proxy: str) -> Any:
    return await try_connect(lib, "ws://target.test:81/", proxy=proxy)


@pytest.mark.parametrize(("scheme", "answer"), PROXIES.values(), ids=list(PROXIES))
def test_proxy_refuses(scheme: str, answer: bytes) -> None:
    seen = []
    for name in (OURS, THEIRS):
        heads: list[bytes] = []

        def script(sock: socket.socket, heads: list[bytes] = heads) -> None:
            heads.append(read_head(sock))
            sock.sendall(answer)

        with peer(script) as uri:
            proxy = uri.replace("ws://", f"{scheme}://u:p@")
            seen.append((run(connect_through, trio_library(name), proxy), heads))
    assert seen[0] == seen[1]


async def receive_through(lib: Any, proxy: str) -> Any:
    async with connect(lib, "ws://target.test:81/", proxy=proxy) as connection:
        return await connection.recv(), connection.request.headers["Host"]


def http_proxy(sock: socket.socket, asked: list[bytes]) -> None:
    asked.append(read_head(sock))
    sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")


def socks_proxy(sock: socket.socket, asked: list[bytes]) -> None:
    assert sock.recv(3) == b"\5\1\0"
    sock.sendall(b"\5\0")
    asked.append(sock.recv(100))
    sock.sendall(b"\5\0\0\1\0\0\0\0\0\0")


@pytest.mark.parametrize(("scheme", "accept"), [("http", http_proxy), ("socks5h", socks_proxy)], ids=["http", "socks"])
def test_proxies(scheme: str, accept: Any) -> None:
    if scheme == "socks5h":
        pytest.importorskip("python_socks", reason="python-socks is not installed: pip install python-socks")
    seen = []
    for name in (OURS, THEIRS):
        asked: list[bytes] = []

        def script(sock: socket.socket, asked: list[bytes] = asked) -> None:
            accept(sock, asked)
            sends(frame(TEXT, b"through"), frame(CLOSE))(sock)

        with peer(script) as uri:
            seen.append((run(receive_through, trio_library(name), uri.replace("ws", scheme)), asked))
    assert seen[0] == seen[1]


def test_tls_through_a_tls_proxy() -> None:
    """TLS within TLS; the proxy passes bytes on."""
    certificates = make_certificates()

    async def relay(source: Any, sink: Any) -> None:
        async for data in source:
            await sink.send_all(data)

    async def scenario(lib: Any) -> Any:
        async with serving(lib, echo, ssl=certificates.server) as server, trio.open_nursery() as nursery:

            async def proxy(stream: Any) -> None:
                encrypted = trio.SSLStream(stream, certificates.server, server_side=True)
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += await encrypted.receive_some(1000)
                await encrypted.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
                inner = await trio.open_tcp_stream("127.0.0.1", server.port)
                async with inner, trio.open_nursery() as relaying:
                    relaying.start_soon(relay, encrypted, inner)
                    await relay(inner, encrypted)
                    relaying.cancel_scope.cancel()
                await trio.aclose_forcefully(encrypted)

            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listeners[0].socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, proxy, listeners)
            options = {"ssl": certificates.client, "proxy_ssl": certificates.client}
            async with connect(lib, server.uri, proxy=f"https://127.0.0.1:{port}", **options) as connection:
                for message in ("x", b"y" * 300_000):
                    await connection.send(message)
                    assert await connection.recv() == message
            nursery.cancel_scope.cancel()
            return connection.close_code

    both(scenario)


@pytest.mark.parametrize("name", [OURS, THEIRS])
def test_unix(name: str, tmp_path: Path) -> None:
    """The trio API has no unix_serve: a listener does."""
    path = str(tmp_path / "socket")

    async def scenario(lib: Any) -> None:
        sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        await sock.bind(path)
        sock.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: lib.server.serve(echo, listeners=[trio.SocketListener(sock)]))
            async with lib.client.unix_connect(path) as connection:
                await connection.send("x")
                assert await connection.recv() == "x"
                assert connection.request.headers["Host"] == "localhost"
            nursery.cancel_scope.cancel()

    run(scenario, trio_library(name))


@pytest.mark.parametrize("name", [OURS, THEIRS])
@pytest.mark.parametrize("other", [OURS, THEIRS])
def test_stream(name: str, other: str) -> None:
    async def scenario(lib: Any, server_lib: Any) -> None:
        async with serving(server_lib, echo) as server:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            async with connect(lib, "ws://elsewhere.test/", stream=stream) as connection:
                assert connection.stream is stream
                assert connection.request.headers["Host"] == "elsewhere.test"
                await connection.send("x")
                assert await connection.recv() == "x"

    run(scenario, trio_library(name), trio_library(other))


def test_with_the_threading_api() -> None:
    """Both APIs stand on the same protocol: a client in a thread, a server in trio."""

    def use(uri: str) -> Any:
        with library(OURS).client.connect(uri, proxy=None) as connection:
            connection.send("x")
            return connection.recv(10)

    async def scenario(lib: Any) -> Any:
        async with serving(lib, echo) as server:
            return await trio.to_thread.run_sync(use, server.uri)

    assert run(scenario, trio_library(OURS)) == "x"
