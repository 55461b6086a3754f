"""A client of the threading API, ours and that of websockets 17.4, finds its way: redirects, new attempts, proxies."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
theirs = pytest.importorskip("websockets", reason="websockets is not installed: nothing to compare with")
if theirs.__version__ != "17.4":
    pytest.skip(f"websockets 17.4 is emulated, {theirs.__version__} is installed", allow_module_level=True)

from fixtures.api_cases import CLOSE, PROXIES, TEXT  # noqa: E402
from fixtures.sync_api import (  # noqa: E402
    both,
    connect,
    echo,
    frame,
    outcome,
    peer,
    read_head,
    sends,
    serving,
)


def test_redirects() -> None:
    def scenario(lib: Any) -> Any:
        target = ""

        def process_request(connection: Any, request: Any) -> Any:
            location = {"/same": "/other", "/away": target, "/loop": "/loop"}.get(request.path)
            if location is None:
                return None
            response = connection.respond(302, "moved")
            response.headers["Location"] = location
            return response

        seen = []
        with serving(lib, echo) as away, serving(lib, echo, process_request=process_request) as server:
            target = away.uri
            headers = {"Authorization": "secret", "X-A": "b"}
            for path in ("same", "away"):
                connection = connect(lib, server.uri + path, additional_headers=headers)
                sent = connection.request.headers
                seen.append((connection.request.path, sent.get("Authorization"), sent.get("X-A")))
                connection.close()
            seen.append(outcome(connect, lib, server.uri + "loop"))
            address = "127.0.0.1", server.port
            seen.append(outcome(connect, lib, server.uri + "away", address=address))
            seen.append(outcome(connect, lib, server.uri + "same", sock=socket.create_connection(address)))
        return seen

    both(scenario)


def test_reconnecting() -> None:
    def scenario(lib: Any) -> Any:
        failures: list[str] = []

        def process_exception(exc: Exception) -> Exception | None:
            failures.append(type(exc).__name__)
            return None if len(failures) < 3 else KeyError("enough")

        def delays() -> Any:
            while True:
                yield 0.0

        with serving(lib, echo) as server:
            seen = []
            for connection in lib.client.reconnect(server.uri, proxy=None):
                connection.send("x")
                seen.append(connection.recv())
                if len(seen) == 2:
                    break
            connector = lib.client.reconnect(server.uri, proxy=None)
            with connector:
                again = outcome(connector.__enter__)
        options = {"process_exception": process_exception, "reconnect_delays": delays, "proxy": None}
        given_up = outcome(list, lib.client.reconnect("ws://127.0.0.1:1/", **options))
        return seen, again, failures, given_up

    both(scenario)


@pytest.mark.parametrize(("scheme", "answer"), PROXIES.values(), ids=list(PROXIES))
def test_proxy_refuses(scheme: str, answer: bytes) -> None:
    def scenario(lib: Any) -> Any:
        heads: list[bytes] = []

        def script(sock: socket.socket) -> None:
            heads.append(read_head(sock))
            sock.sendall(answer)

        with peer(script) as uri:
            proxy = uri.replace("ws://", f"{scheme}://u:p@")
            seen = outcome(connect, lib, "ws://target.test:81/", proxy=proxy)
        return seen, heads

    both(scenario)


def test_http_proxy() -> None:
    def scenario(lib: Any) -> Any:
        heads: list[bytes] = []

        def script(sock: socket.socket) -> None:
            heads.append(read_head(sock))
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            sends(frame(TEXT, b"through"), frame(CLOSE))(sock)

        with peer(script) as uri, connect(lib, "ws://target.test:81/", proxy=uri.replace("ws", "http")) as connection:
            return heads, connection.recv(), connection.request.headers["Host"]

    both(scenario)


def test_socks_proxy() -> None:
    pytest.importorskip("python_socks", reason="python-socks is not installed")

    def scenario(lib: Any) -> Any:
        asked: list[bytes] = []

        def script(sock: socket.socket) -> None:
            assert sock.recv(3) == b"\5\1\0"
            sock.sendall(b"\5\0")
            asked.append(sock.recv(100))
            sock.sendall(b"\5\0\0\1\0\0\0\0\0\0")
            sends(frame(TEXT, b"through"), frame(CLOSE))(sock)

        with (
            peer(script) as uri,
            connect(lib, "ws://target.test:81/", proxy=uri.replace("ws", "socks5h")) as connection,
        ):
            return asked, connection.recv()

    both(scenario)
