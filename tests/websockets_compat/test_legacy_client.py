"""Clients in the API before websockets 14: requests as bytes, answers, redirects, arguments, on both libraries."""

from __future__ import annotations

import asyncio
import gc
import itertools
import re
import socket
import sys
import weakref
from typing import Any

import pytest
from fixtures.compat import OURS, Library, Lines, assert_same, attempt, raw_server, run, skip_unless_comparable, uri

skip_unless_comparable()

from fixtures.legacy_api import Peer, connect, legacy, serve, stable, warned  # noqa: E402

from picows.handshake import accept_key  # noqa: E402

ACCEPT = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


class Server:
    """A script for `raw_server`: it answers requests, and keeps them.

    Args:
        answer: status line and headers. {accept} stands for the proof that it has read the request, {port} for `port`.
    """

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.port = 0
        self.requests: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(stable(head))
        key = re.search(rb"Key: ([^\r]*)", head)
        assert key is not None
        answer = self.answer.replace(b"{accept}", b"Sec-WebSocket-Accept: " + accept_key(key[1]).encode() + b"\r\n")
        writer.write(answer.replace(b"{port}", b"%d" % self.port))
        if b" 101 " in answer:
            await reader.read()


async def ask(library: Library, answer: bytes, **options: Any) -> Any:
    """What a client sends, and what comes of an answer."""
    server = Server(answer)
    async with raw_server(server, opens=False) as port:
        websocket = await attempt(connect(library, port, **options))
        result = websocket
        if not isinstance(websocket, tuple):
            result = (
                websocket.subprotocol,
                repr(websocket.extensions),
                sorted(websocket.response_headers.raw_items())[:1],
            )
            websocket.transport.abort()
            await websocket.wait_closed()
    return server.requests, result


REQUESTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "headers": {"extra_headers": {"User-Agent": "me", "X": "y"}},
    "pairs": {"extra_headers": [("A", "1"), ("A", "2")], "user_agent_header": None},
    "Headers": {"extra_headers": None, "user_agent_header": "me"},
    "origin": {"origin": "here"},
    "subprotocols": {"subprotocols": ["a", "b"]},
    "no compression": {"compression": None},
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests(name: str) -> None:
    assert_same(lambda library: ask(library, ACCEPT + b"{accept}\r\n", **REQUESTS[name]))


def test_credentials_in_the_uri() -> None:
    async def scenario(library: Library) -> Any:
        server = Server(b"HTTP/1.1 403 No\r\n\r\n")
        async with raw_server(server, opens=False) as port:
            with_credentials = uri(port, "/a%20b?c=d").replace("ws://", "ws://u%40:p@")
            error = await attempt(legacy(library).client.connect(with_credentials))
        return server.requests, error

    requests, _ = assert_same(scenario)
    assert b"Authorization: Basic dUA6cA==" in requests[0]


ANSWERS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "403": (b"HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nno!", {}),
    "200": (b"HTTP/1.1 200 OK\r\n\r\n", {}),
    "304": (b"HTTP/1.1 304 X\r\nLocation: /x\r\n\r\n", {}),
    "cut": (b"HTTP/1.1 10", {}),
    "nothing": (b"", {}),
    "not HTTP": (b"hello\r\n\r\n", {}),
    "no upgrade": (b"HTTP/1.1 101 X\r\n\r\n", {}),
    "no accept": (ACCEPT + b"\r\n", {}),
    "wrong accept": (ACCEPT + b"Sec-WebSocket-Accept: x\r\n\r\n", {}),
    "subprotocol": (ACCEPT + b"{accept}Sec-WebSocket-Protocol: b\r\n\r\n", {"subprotocols": ["a", "b"]}),
    "two subprotocols": (ACCEPT + b"{accept}Sec-WebSocket-Protocol: b, a\r\n\r\n", {"subprotocols": ["a", "b"]}),
    "unknown subprotocol": (ACCEPT + b"{accept}Sec-WebSocket-Protocol: c\r\n\r\n", {"subprotocols": ["a", "b"]}),
    "unasked subprotocol": (ACCEPT + b"{accept}Sec-WebSocket-Protocol: c\r\n\r\n", {}),
    "extension": (ACCEPT + b"{accept}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", {}),
    "unasked extension": (ACCEPT + b"{accept}Sec-WebSocket-Extensions: x; a=b\r\n\r\n", {"compression": None}),
    "unknown extension": (ACCEPT + b"{accept}Sec-WebSocket-Extensions: x; a=b\r\n\r\n", {}),
    "unknown parameter": (ACCEPT + b"{accept}Sec-WebSocket-Extensions: permessage-deflate; a=b\r\n\r\n", {}),
    "malformed extension": (ACCEPT + b"{accept}Sec-WebSocket-Extensions: ;\r\n\r\n", {}),
    "redirect to itself": (b"HTTP/1.1 302 X\r\nLocation: /a\r\n\r\n", {}),
    "redirect to nowhere": (b"HTTP/1.1 302 X\r\n\r\n", {}),
    "redirect to two places": (b"HTTP/1.1 302 X\r\nLocation: /a\r\nLocation: /b\r\n\r\n", {}),
    "redirect to HTTP": (b"HTTP/1.1 302 X\r\nLocation: http://x/\r\n\r\n", {}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(name: str) -> None:
    answer, options = ANSWERS[name]
    assert_same(lambda library: ask(library, answer, **options))


def test_a_refusal_has_status_and_headers() -> None:
    async def scenario(library: Library) -> Any:
        async with raw_server(Server(b"HTTP/1.1 403 No\r\nA: b\r\n\r\n"), opens=False) as port:
            with pytest.raises(legacy(library).exceptions.InvalidStatusCode) as caught:
                await connect(library, port)
            return caught.value.status_code, list(caught.value.headers.raw_items())

    assert_same(scenario)


def test_an_answer_that_takes_too_long() -> None:
    async def scenario(library: Library) -> Any:
        async with raw_server(Peer(), opens=False) as port:
            return await attempt(connect(library, port, open_timeout=0.05))

    assert assert_same(scenario)[0] == "TimeoutError"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]

    async def scenario(library: Library) -> Any:
        name, *_ = await attempt(connect(library, port))
        return name

    assert assert_same(scenario) == "ConnectionRefusedError"


def test_cancelling_the_handshake_closes_the_connection() -> None:
    async def scenario(library: Library) -> Any:
        accepted, ended = asyncio.Event(), asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.set()
            try:
                await reader.read()
            finally:
                ended.set()

        async with raw_server(script, opens=False) as port:
            connecting = asyncio.ensure_future(legacy(library).client.connect(uri(port)).__await_impl__())
            await accepted.wait()
            connecting.cancel()
            result = await attempt(connecting)
            await ended.wait()
            return result

    assert assert_same(scenario)[0] == "CancelledError"


# --- redirects ---

REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:{port}/new\r\n\r\n"
SECRETS = {"Authorization": "a", "Cookie": "b", "X": "y"}


async def redirected(library: Library, target: Server, **options: Any) -> Any:
    """A client that is sent from one server to another."""
    first = Server(REDIRECT)
    async with raw_server(target, opens=False) as first.port, raw_server(first, opens=False) as port:
        websocket = await attempt(connect(library, options.pop("where", port), **options))
        if not isinstance(websocket, tuple):
            websocket.transport.abort()
            await websocket.wait_closed()
            websocket = None
    return first.requests, target.requests, websocket


def test_redirects_are_followed_without_credentials() -> None:
    target = Server(ACCEPT + b"{accept}\r\n")
    first, second, error = assert_same(
        lambda library: redirected(library, Server(target.answer), extra_headers=SECRETS)
    )
    assert error is None
    assert b"Cookie: b" in first[0]
    assert b"X: y" in second[0]
    assert b"Cookie" not in second[0]
    assert b"Authorization" not in second[0]


def test_redirects_within_a_server_keep_credentials() -> None:
    async def scenario(library: Library) -> Any:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            requests.append(stable(await reader.readuntil(b"\r\n\r\n")))
            writer.write(b"HTTP/1.1 %s X\r\nLocation: new\r\n\r\n" % (b"302" if len(requests) == 1 else b"403"))

        requests: list[bytes] = []
        async with raw_server(script, opens=False) as port:
            error = await attempt(connect(library, port, "/a/old", extra_headers=SECRETS))
        return requests, error

    requests, _ = assert_same(scenario)
    assert requests[1].startswith(b"GET /a/new ")
    assert b"Cookie: b" in requests[1]


@pytest.mark.parametrize(
    ("target", "error"),
    [("ws://a/b", "redirect from WSS to WS"), ("http://a/b", "http://a/b isn't a valid URI"), ("wss://c/d", None)],
)
def test_redirects_from_tls(target: str, error: str | None) -> None:
    def follow(library: Library) -> Any:
        connector = legacy(library).client.connect("wss://a/b")
        try:
            connector.handle_redirect(target)
        except Exception as exc:
            return type(exc).__name__, str(exc)
        return None

    async def scenario(library: Library) -> Any:
        return follow(library)

    seen = assert_same(scenario)
    assert seen is None if error is None else error in seen[1]


@pytest.mark.parametrize(
    ("options", "target", "error"),
    [
        ({"sock": object()}, "/x", "with a preexisting socket"),
        ({"unix": True, "path": "x"}, "ws://c/", "with a Unix socket"),
    ],
    ids=["socket", "Unix socket"],
)
def test_redirects_that_cannot_be_followed(options: dict[str, Any], target: str, error: str) -> None:
    """With websockets, asyncio refuses the arguments that come out of it."""
    with pytest.raises(ValueError, match=error):
        legacy(OURS).client.connect("ws://a/", **options).handle_redirect(target)


# --- connecting again ---


def test_iterating_connects_again() -> None:
    async def scenario(library: Library) -> Any:
        lines = Lines()
        seen: list[Any] = []
        count = 0

        async def once(websocket: Any) -> None:
            nonlocal count
            count += 1
            await websocket.send(str(count))

        async with serve(library, once) as server:
            connector = connect(library, server, logger=lines.logger)
            connector.BACKOFF_INITIAL = connector.BACKOFF_MIN = 0
            async for websocket in connector:
                seen.append(await websocket.recv())
                if len(seen) == 3:
                    break
            await websocket.close()
        return seen, lines.lines

    assert assert_same(scenario)[0] == ["1", "2", "3"]


def test_iterating_repeats_attempts_that_fail() -> None:
    """They are logged in the same words. The first wait is random here; with websockets the second one is."""

    async def scenario(library: Library) -> Any:
        lines = Lines()
        attempts = 0

        async def process_request(path: str, headers: Any) -> Any:
            nonlocal attempts
            attempts += 1
            return (503, [], b"") if attempts < 4 else None

        async with serve(library, process_request=process_request) as server:
            connector = connect(library, server, logger=lines.logger)
            connector.BACKOFF_INITIAL, connector.BACKOFF_MIN = 0, 0.001
            async for websocket in connector:
                await websocket.close()
                break
        return attempts, {line for line in lines.lines if "connect failed" in line}

    attempts, lines = assert_same(scenario)
    assert attempts == 4
    assert len(lines) == 2


def test_waits_between_attempts() -> None:
    connector = legacy(OURS).client.connect("ws://a/")
    first, *others = (delay for _, delay in itertools.islice(connector._delays(), 8))
    assert 0 <= first <= 5
    assert others == [5, 8, 13, 21, 34, 55, 89]


def test_leaving_a_context_closes_the_connection() -> None:
    async def scenario(library: Library) -> Any:
        async with serve(library) as server:
            seen = []
            for raises in (False, True):
                try:
                    async with connect(library, server) as websocket:
                        if raises:
                            raise KeyError
                except KeyError:
                    pass
                seen.append((websocket.closed, websocket.close_code))
        return seen

    assert_same(scenario)


# --- arguments ---


def test_arguments() -> None:
    """What `connect` and the protocol refuse, and what is deprecated, with the same words."""

    async def scenario(library: Library) -> Any:
        module = legacy(library).client
        factory, loop = module.WebSocketClientProtocol, asyncio.get_running_loop()
        cases: list[dict[str, Any]] = [
            {}, {"klass": factory}, {"timeout": 3}, {"loop": loop}, {"legacy_recv": True}, {"compression": "x"},
            {"subprotocols": "x"}, {"subprotocols": ["a b"]}, {"ssl": True}, {"anything": 1},
        ]  # fmt: skip
        seen = [warned(module.connect, "ws://a/", **case) for case in cases]
        seen += [warned(module.connect, bad) for bad in ("http://a/", "a", "ws://a/#b", "ws:///")]
        seen += [warned(module.unix_connect, "/x", **case) for case in ({}, {"uri": "wss://a/"}, {"ssl": True})]
        direct: list[dict[str, Any]] = [{}, {"timeout": 3}, {"loop": loop}, {"legacy_recv": True}]
        seen += [warned(factory, **case) for case in direct]
        return seen + [warned(getattr, factory(host="h", port=1), name) for name in ("host", "port", "secure")]

    assert_same(scenario)


def test_the_socket_of_the_caller() -> None:
    async def scenario(library: Library) -> Any:
        async with serve(library) as server:
            sock = socket.create_connection(server.sockets[0].getsockname())
            async with legacy(library).client.connect("ws://elsewhere/", sock=sock) as websocket:
                await websocket.send("a")
                return websocket.request_headers["Host"], await websocket.recv()

    assert_same(scenario)


def test_another_host_than_that_of_the_uri() -> None:
    async def scenario(library: Library) -> Any:
        async with serve(library) as server:
            port = server.sockets[0].getsockname()[1]
            async with legacy(library).client.connect("ws://elsewhere/", host="127.0.0.1", port=port) as websocket:
                return websocket.request_headers["Host"], websocket.remote_address == ("127.0.0.1", port)

    assert_same(scenario)


def test_methods_that_a_subclass_overrides() -> None:
    async def scenario(library: Library) -> Any:
        seen: list[Any] = []

        class Protocol(legacy(library).client.WebSocketClientProtocol):  # type: ignore[misc]
            def write_http_request(self, path: str, headers: Any) -> None:
                headers["X-A"] = "b"
                super().write_http_request(path, headers)

            async def read_http_response(self) -> Any:
                status, headers = await super().read_http_response()
                seen.append((status, self.path, self.request_headers["X-A"], headers is self.response_headers))
                return status, headers

            def connection_lost(self, exc: Exception | None) -> None:
                seen.append(("lost", exc))
                super().connection_lost(exc)

        async with serve(library) as server, connect(library, server, "/p", create_protocol=Protocol) as websocket:
            await websocket.send("a")
            seen.append(await websocket.recv())
        return seen

    assert assert_same(scenario)[-1] == ("lost", None)


def test_a_closed_connection_is_freed() -> None:
    """Without the garbage collector."""
    if sys.implementation.name != "cpython":
        pytest.skip("only CPython frees an object with its last reference")

    async def scenario() -> Any:
        async with serve(OURS) as server:
            async with connect(OURS, server) as websocket:
                await websocket.send("a")
                await websocket.recv()
                reference = weakref.ref(websocket)
                server_side = weakref.ref(next(iter(server.websockets)))
            del websocket
        for _ in range(5):
            await asyncio.sleep(0)
        return reference, server_side

    gc.collect()
    gc.disable()
    try:
        references = run(scenario())
    finally:
        gc.enable()
    assert [reference() for reference in references] == [None, None]
