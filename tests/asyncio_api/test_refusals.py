"""The server's side of the opening handshake: what it answers, and how it ends the connection after a refusal."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, List, Optional, Type

import pytest
from fixtures.peers import OPENING_KEY, accept_value, header_of, request_head
from fixtures.sockets import Echo, Net, Recorder, count_sockets, settle, until
from multidict import CIMultiDict

from picows import WSUpgradeResponse as Response
from picows import WSUpgradeResponseWithListener as Answer
from picows import server as server_module

BASE = "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
KEY_LINE = f"Sec-WebSocket-Key: {OPENING_KEY}\r\n"
VERSION = "Sec-WebSocket-Version: 13\r\n"


async def refused(net: Net, server: Any, request: bytes, then: bytes = b"") -> tuple[int, bytes, bytes]:
    """Send a request that is refused. Returns status, head and body; RFC 9112 framing and the end are checked."""
    peer = await net.raw_client(server)
    peer.write(request + then)
    data = await peer.read_rest()  # a reset would be an exception
    head, _, body = data.partition(b"\r\n\r\n")
    head += b"\r\n\r\n"
    assert header_of(head, "Connection") == "close", data
    assert header_of(head, "Content-Length") == str(len(body)), data
    assert head.startswith(b"HTTP/1.1 ")
    peer.hang_up()
    return int(head[9:12]), head, body


REFUSED = [
    ("wrong version", f"GET / HTTP/1.1\r\n{BASE}{KEY_LINE}Sec-WebSocket-Version: 12\r\n\r\n", 426),
    ("old version", f"GET / HTTP/1.1\r\n{BASE}{KEY_LINE}Sec-WebSocket-Version: 8\r\n\r\n", 426),
    ("no version", f"GET / HTTP/1.1\r\n{BASE}{KEY_LINE}\r\n", 426),
    ("no upgrade", f"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n{KEY_LINE}{VERSION}\r\n", 426),
    ("no connection", f"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n{KEY_LINE}{VERSION}\r\n", 426),
    ("no key", f"GET / HTTP/1.1\r\n{BASE}{VERSION}\r\n", 400),
    ("two keys", f"GET / HTTP/1.1\r\n{BASE}{KEY_LINE}{KEY_LINE}{VERSION}\r\n", 400),
    ("short key", f"GET / HTTP/1.1\r\n{BASE}Sec-WebSocket-Key: AAAAAAAAAAA=\r\n{VERSION}\r\n", 400),
    ("no host", f"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{KEY_LINE}{VERSION}\r\n", 400),
    ("two hosts", f"GET / HTTP/1.1\r\nHost: b\r\n{BASE}{KEY_LINE}{VERSION}\r\n", 400),
    ("post", f"POST / HTTP/1.1\r\n{BASE}{KEY_LINE}{VERSION}\r\n", 405),
    ("lower case", f"get / HTTP/1.1\r\n{BASE}{KEY_LINE}{VERSION}\r\n", 405),
    ("HTTP/1.0", f"GET / HTTP/1.0\r\n{BASE}{KEY_LINE}{VERSION}\r\n", 505),
    ("HTTP/2.0", f"GET / HTTP/2.0\r\n{BASE}{KEY_LINE}{VERSION}\r\n", 505),
    ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ("no HTTP", "hello\r\n\r\n", 400),
    ("bare LF", f"GET / HTTP/1.1\n{BASE}{KEY_LINE}{VERSION}\r\n", 400),
    ("NUL", f"GET / HTTP/1.1\r\n{BASE}X: a\0b\r\n{KEY_LINE}{VERSION}\r\n", 400),
    ("folded", f"GET / HTTP/1.1\r\n{BASE}X: a\r\n b\r\n{KEY_LINE}{VERSION}\r\n", 400),
    ("body", f"GET / HTTP/1.1\r\n{BASE}{KEY_LINE}{VERSION}Content-Length: 5\r\n\r\nhello", 400),
    ("chunked", f"GET / HTTP/1.1\r\n{BASE}{KEY_LINE}{VERSION}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("long target", f"GET /{'a' * 9000} HTTP/1.1\r\n{BASE}{KEY_LINE}{VERSION}\r\n", 414),
    ("long header", f"GET / HTTP/1.1\r\n{BASE}X: {'a' * 9000}\r\n{KEY_LINE}{VERSION}\r\n", 431),
    ("long head", f"GET / HTTP/1.1\r\n{BASE}" + f"X: {'a' * 8000}\r\n" * 3 + f"{KEY_LINE}{VERSION}\r\n", 431),
    ("many headers", f"GET / HTTP/1.1\r\n{BASE}" + "X: a\r\n" * 130 + f"{KEY_LINE}{VERSION}\r\n", 431),
]


@pytest.mark.parametrize(("request_text", "status"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_P8_refused_requests(tcp: Net, request_text: str, status: int) -> None:
    def factory(request: Any) -> Recorder:
        listeners.append(Recorder())
        return listeners[-1]

    listeners: List[Recorder] = []
    server = await tcp.serve(factory)
    found, head, body = await refused(tcp, server, request_text.encode("latin-1"))
    assert found == status
    assert body != b""
    extra = {426: ("Sec-WebSocket-Version", "13"), 405: ("Allow", "GET")}.get(status)
    if extra is not None:
        assert header_of(head, extra[0]) == extra[1]
    assert all(listener.events == [] for listener in listeners)
    assert not server.connections


@pytest.mark.parametrize("name", ["wrong version", "long header", "post", "HTTP/1.0", "no key"])
async def test_P8_the_same_over_tls(net: Net, name: str) -> None:
    (row,) = [row for row in REFUSED if row[0] == name]
    server = await net.serve(lambda request: Echo())
    assert (await refused(net, server, row[1].encode("latin-1")))[0] == row[2]


@pytest.mark.parametrize("size", [1_000, 300_000])
async def test_P8_the_answer_arrives_although_the_client_still_sends(tcp: Net, size: int) -> None:
    """Input that nobody reads would turn the end into a reset, which may overtake the answer."""
    server = await tcp.serve(lambda request: Echo())
    request = f"POST / HTTP/1.1\r\n{BASE}Content-Length: {size}\r\n\r\n".encode()
    status, _, _ = await refused(tcp, server, request, b"x" * size)
    assert status == 405


async def test_P8_a_client_that_does_not_hang_up_is_cut_off(tcp: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "LINGER_S", 0.05)
    server = await tcp.serve(lambda request: None)
    before = count_sockets()
    peer = await tcp.raw_client(server)
    peer.write(request_head())
    assert (await peer.read_rest()).startswith(b"HTTP/1.1 404 ")
    await until(lambda: count_sockets() == before + 1)  # the client's


async def test_P10_closing_the_server_waits_for_refused_clients(tcp: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "LINGER_S", 0.05)
    before = count_sockets()
    server = await tcp.serve(lambda request: None)
    peer = await tcp.raw_client(server)
    peer.write(request_head())
    assert (await peer.read_head()).startswith(b"HTTP/1.1 404 ")
    await server.close()
    await settle()
    assert count_sockets() == before + 1  # the client's


@pytest.mark.parametrize(
    "lines",
    [
        ["Connection: keep-alive, Upgrade", "Upgrade: websocket"],
        ["Connection: keep-alive", "connection: UPGRADE", "upgrade: WebSocket"],
        ["Connection: , Upgrade ,", "Upgrade: h2c, websocket"],
    ],
    ids=["firefox", "repeated", "lists"],
)
async def test_W7_requests_that_ask_for_the_upgrade(tcp: Net, lines: List[str]) -> None:
    server = await tcp.serve(lambda request: Echo())
    peer = await tcp.raw_client(server)
    text = "\r\n".join(
        ["GET / HTTP/1.1", "HOST: a", *lines, f"sec-websocket-key: {OPENING_KEY}", "SEC-WEBSOCKET-VERSION: 13"]
    )
    peer.write(text.encode() + b"\r\n\r\n")
    head = await peer.read_head()
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert header_of(head, "Upgrade") == "websocket"
    assert header_of(head, "Connection") == "upgrade"
    assert header_of(head, "Sec-WebSocket-Accept") == accept_value(OPENING_KEY)
    peer.send(1, b"hi")
    assert (await peer.read_frame()).payload == b"hi"


async def test_request_in_single_bytes(tcp: Net) -> None:
    server = await tcp.serve(lambda request: Echo())
    peer = await tcp.raw_client(server)
    for byte in request_head() + b"\x81\x81\0\0\0\0a":
        peer.write(bytes([byte]))
        await peer.writer.drain()
    assert (await peer.read_head()).startswith(b"HTTP/1.1 101 ")
    assert (await peer.read_frame()).payload == b"a"


@pytest.mark.parametrize("head", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\n"])
@pytest.mark.parametrize("is_reset", [False, True], ids=["eof", "reset"])
async def test_clients_that_hang_up_are_forgotten(tcp: Net, head: bytes, is_reset: bool) -> None:
    calls: List[Any] = []
    server = await tcp.serve(lambda request: calls.append(request))
    peer = await tcp.raw_client(server)
    peer.write(head)
    await peer.writer.drain()
    await settle()
    if is_reset:
        peer.reset()
    else:
        peer.writer.write_eof()
        assert await peer.read_rest() == b""
    await settle()
    assert not calls
    assert not server.connections


# --- what a factory may return ---

OUTCOMES = [
    ("None", None, 404, b"404 Not Found"),
    ("a str", "no", 500, b""),
    ("a response without wrapper", Response.create_ok_response(b"x"), 500, b""),
    ("a class", Echo, 500, b""),
    ("ok", Answer(Response.create_ok_response(b"hello"), None), 200, b"hello"),
    ("empty ok", Answer(Response.create_ok_response(), None), 200, b""),
    ("error", Answer(Response.create_error_response(403, b"go away"), None), 403, b"go away"),
    ("redirect", Answer(Response.create_redirect_response(302, "/x"), None), 302, b""),
    ("ok with a listener", Answer(Response.create_ok_response(b"plain"), Echo), 200, b"plain"),
]


@pytest.mark.parametrize(("answer", "status", "body"), [row[1:] for row in OUTCOMES], ids=[row[0] for row in OUTCOMES])
async def test_factory_outcomes(net: Net, answer: Any, status: int, body: bytes) -> None:
    server = await net.serve(lambda request: answer)
    found = await refused(net, server, request_head())
    assert (found[0], found[2]) == (status, body)


async def test_factory_outcome_101_with_headers(net: Net) -> None:
    server = await net.serve(lambda request: Answer(Response.create_101_response([("X-A", "1"), ("X-A", "2")]), Echo()))
    transport, _ = await net.connect(Recorder, server)
    assert transport.response.headers.getall("X-A") == ["1", "2"]
    assert transport.response.headers["Upgrade"] == "websocket"


async def test_a_response_may_be_used_again(local: Net) -> None:
    shared = Response.create_error_response(503, b"later", {"Connection": "keep-alive", "Content-Length": "99"})
    server = await local.serve(lambda request: Answer(shared, None))
    for _ in range(2):
        assert (await refused(local, server, request_head()))[0] == 503
    assert shared.headers["Connection"] == "keep-alive"


async def test_plain_http_answers(tcp: Net) -> None:
    """A health check needs no upgrade headers; they are checked only where the factory accepts."""

    def factory(request: Any) -> Any:
        if request.path == b"/health":
            return Answer(Response.create_ok_response(b"alive", {"X-Load": "1"}), None)
        return Echo()

    server = await tcp.serve(factory)
    status, head, body = await refused(tcp, server, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (status, body) == (200, b"alive")
    assert header_of(head, "X-Load") == "1"
    assert header_of(head, "Content-Type") == "text/plain; charset=utf-8"
    assert (await refused(tcp, server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))[0] == 426


# --- factories that fail ---


class Boom(Exception):
    """What a factory raises."""


class NoException(BaseException):
    """What pytest.fail and other libraries raise: no `except Exception` stops it."""


@pytest.mark.parametrize(
    ("error", "is_async"),
    [(Boom, False), (Boom, True), (NoException, False), (NoException, True), (asyncio.CancelledError, False)],
    ids=["function", "coroutine", "function-BaseException", "coroutine-BaseException", "function-CancelledError"],
)
async def test_W10_factory_that_raises(
    net: Net, error: Type[BaseException], is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def factory(request: Any) -> Any:
        raise error("password=hunter2")

    async def async_factory(request: Any) -> Any:
        factory(request)

    server = await net.serve(async_factory if is_async else factory)
    status, head, body = await refused(net, server, request_head())
    assert (status, body) == (500, b"")
    assert b"hunter2" not in head
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], error)
    assert record.name.startswith("picows.server")


async def test_W10_wrong_results_are_logged(local: Net, caplog: pytest.LogCaptureFixture) -> None:
    server = await local.serve(lambda request: {"secret": 1})
    assert (await refused(local, server, request_head()))[2] == b""
    assert "returned dict" in caplog.text


async def test_W10_responses_that_cannot_be_sent(local: Net, caplog: pytest.LogCaptureFixture) -> None:
    response = Response.create_ok_response(b"x")
    response.headers["X"] = "a\r\nY: b"
    server = await local.serve(lambda request: Answer(response, None))
    status, head, _ = await refused(local, server, request_head())
    assert status == 500
    assert header_of(head, "Y") is None
    assert "cannot be sent" in caplog.text


class Unset(Response):
    """A response of which the user has forgotten the body."""

    __slots__ = ()

    def __init__(self) -> None:
        self.version, self.status, self.headers = b"HTTP/1.1", 200, CIMultiDict()


@pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Answer(Response.create_101_response(), Recorder), "returned type, not a WSListener"),
        (lambda: Answer(Unset(), None), "cannot be sent"),
    ],
    ids=["a class for a listener", "an attribute is missing"],
)
async def test_W10_wrong_parts_of_results(
    net: Net, make: Any, message: str, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def factory(request: Any) -> Any:
        return make()

    server = await net.serve(factory if is_async else lambda request: make())
    assert (await refused(net, server, request_head()))[0] == 500
    assert message in caplog.text
    assert not server.connections


async def test_W10_the_failure_of_a_coroutine_arrives_although_the_client_sends_ahead(local: Net) -> None:
    """Reading was paused: it must go on, or the unread input turns the end into a reset."""
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def factory(request: Any) -> Any:
        entered.set()
        await go_on.wait()
        raise Boom

    server = await local.serve(factory)
    peer = await local.raw_client(server)
    peer.write(request_head())
    await entered.wait()
    (opening,) = server._openings
    transport = opening._protocol.transport.underlying_transport
    while transport.is_reading():
        peer.write(b"x" * 4096)
        await settle(1)
    go_on.set()
    assert (await peer.read_rest()).startswith(b"HTTP/1.1 500 ")
    assert transport.is_reading()


async def test_W10_101_with_a_body(local: Net, caplog: pytest.LogCaptureFixture) -> None:
    response = Response.create_101_response()
    response.body = b"\x81\x01x"
    listener = Recorder()
    server = await local.serve(lambda request: Answer(response, listener))
    assert (await refused(local, server, request_head()))[0] == 500
    assert listener.events == []
    assert "must not have a body" in caplog.text


async def test_W10_a_class_with_two_arguments_fails_on_the_server(local: Net, caplog: pytest.LogCaptureFixture) -> None:
    def client_factory(request: Any, response: Any) -> Optional[Recorder]:
        return Recorder()

    server = await local.serve(client_factory)
    assert (await refused(local, server, request_head()))[0] == 500
    assert "TypeError" in caplog.text


async def test_on_ws_connected_that_raises(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Recorder):
        def on_ws_connected(self, transport: Any) -> None:
            super().on_ws_connected(transport)
            raise Boom("in on_ws_connected")

    listener = Failing()
    server = await net.serve(lambda request: listener)
    peer = await net.raw_client(server)
    await peer.upgrade(then=b"\x81\x81\0\0\0\0a")
    frame = await peer.read_frame()
    assert (frame.opcode, frame.payload) == (8, b"\x03\xf3")
    assert await peer.read_rest() == b""
    await until(listener.disconnected.is_set)
    assert listener.events == [("connected",), ("disconnected",)]
    assert "Boom" in caplog.text
