"""The client's opening handshake: what it sends, which answers it takes, and when the listener is made."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Iterator

import pytest
from fixtures.peers import RawPeer, accept_value, header_of
from fixtures.sockets import Echo, Net, Recorder

from picows import (
    WSHandshakeEOFError,
    WSHandshakeError,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)

# --- the connection ---


async def test_W1_a_failure_of_connection_made_is_of_no_other_connection(net: Net) -> None:
    """aiofastnet goes on to wait for the descriptor of a transport that was aborted there, and the next socket has the
    same."""

    class Refusing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError(22, record.msg)

    server = await net.serve(lambda request: Echo())
    logger = logging.Logger("refusing", logging.INFO)
    logger.addHandler(Refusing())
    for _ in range(3):
        with pytest.raises(OSError, match="connected, local"):
            await net.connect(Recorder, server, logger_name=logger)
        transport, listener = await net.connect(Recorder, server)
        transport.send(1, "x")
        assert (await listener.next_frame()).payload == b"x"
        transport.disconnect()
        await transport.wait_disconnected()


# --- the request ---


async def test_request_on_the_wire(tcp: Net) -> None:
    heads = []

    async def handler(peer: RawPeer) -> None:
        heads.append(await peer.accept())
        await peer.read_rest()

    server = await tcp.raw_server(handler)
    extra = [("X-One", "1"), ("x-one", "2"), ("Cookie", "a=b")]
    transport, _ = await tcp.connect(Recorder, tcp.url(server, "/a b?q=\u20ac"), extra_headers=extra)
    lines = heads[0].decode("ascii").split("\r\n")
    port = server.sockets[0].getsockname()[1]
    key = transport.request.headers["Sec-WebSocket-Key"]
    assert lines == [
        "GET /a%20b?q=%E2%82%AC HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        "X-One: 1",
        "x-one: 2",
        "Cookie: a=b",
        "",
        "",
    ]
    assert transport.request.path == b"/a%20b?q=%E2%82%AC"
    assert transport.response.status == 101
    assert transport.is_client_side


async def test_server_sees_the_request(net: Net) -> None:
    requests = []

    def factory(request: WSUpgradeRequest) -> Recorder:
        requests.append(request)
        return Recorder()

    server = await net.serve(factory)
    transport, listener = await net.connect(
        Recorder, net.url(server, "/path?x=1"), extra_headers={"Host": "example.com", "X": "y"}
    )
    (remote,) = server.connections
    (request,) = requests
    assert request.path == b"/path?x=1"
    assert (request.headers["Host"], request.headers["X"]) == ("example.com", "y")
    assert remote.request is request
    assert remote.response.headers["Sec-WebSocket-Accept"] == accept_value(request.headers["Sec-WebSocket-Key"])
    assert not remote.is_client_side
    assert remote.is_secure is transport.is_secure is net.is_secure
    assert listener.transport is transport


async def test_W9_credentials_in_the_url(tcp: Net, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1, "picows")
    heads = []

    async def handler(peer: RawPeer) -> None:
        heads.append(await peer.accept())
        await peer.read_rest()

    server = await tcp.raw_server(handler)
    port = server.sockets[0].getsockname()[1]
    await tcp.connect(Recorder, f"ws://us%65r:s%3Acret@127.0.0.1:{port}/")
    assert header_of(heads[0], "Authorization") == "Basic dXNlcjpzOmNyZXQ="
    assert header_of(heads[0], "Host") == f"127.0.0.1:{port}"
    assert caplog.records
    for secret in ("cret", "dXNlcjpzOmNyZXQ"):
        assert secret not in caplog.text


async def test_W9_credentials_do_not_replace_the_users_header(local: Net) -> None:
    heads = []

    async def handler(peer: RawPeer) -> None:
        heads.append(await peer.accept())
        await peer.read_rest()

    server = await local.raw_server(handler)
    url = f"ws://u:p@127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    await local.connect(Recorder, url, extra_headers={"Authorization": "Bearer x"})
    assert heads[0].lower().count(b"authorization:") == 1
    assert header_of(heads[0], "Authorization") == "Bearer x"


async def test_W9_the_host_is_idna_encoded(local: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = []

    async def handler(peer: RawPeer) -> None:
        heads.append(await peer.accept())
        await peer.read_rest()

    server = await local.raw_server(handler)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    asked = []

    async def resolve(host: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        return await real("127.0.0.1", *args, **kwargs)

    real = loop.getaddrinfo
    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    await local.connect(Recorder, f"ws://b\u00fccher.example:{port}/", use_aiofastnet=False)
    assert asked == ["xn--bcher-kva.example"]
    assert header_of(heads[0], "Host") == f"xn--bcher-kva.example:{port}"


# --- the answer ---


@pytest.mark.parametrize(
    "lines",
    [
        ["Connection: keep-alive, Upgrade", "Upgrade: websocket"],
        ["Connection: keep-alive", "Connection: Upgrade", "Upgrade: websocket"],
        ["CONNECTION: UPGRADE", "UPGRADE: WebSocket"],
        ["connection:upgrade", "upgrade:websocket", "Content-Length: 0"],
    ],
    ids=["list", "repeated", "case", "content-length"],
)
async def test_W7_answers_that_confirm(tcp: Net, lines: list[str]) -> None:
    async def handler(peer: RawPeer) -> None:
        key = header_of(await peer.read_head(), "Sec-WebSocket-Key") or ""
        head = ["HTTP/1.1 101 Fine", *lines, f"sec-websocket-ACCEPT: {accept_value(key)}", "", ""]
        peer.write("\r\n".join(head).encode() + b"\x81\x02ok")
        await peer.read_rest()

    server = await tcp.raw_server(handler)
    _, listener = await tcp.connect(Recorder, server)
    assert (await listener.next_frame()).payload == b"ok"


UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
ACCEPT = "Sec-WebSocket-Accept"


@pytest.mark.parametrize(
    ("head", "error", "name"),
    [
        ("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n", WSInvalidUpgradeError, "Upgrade"),
        ("HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", WSInvalidUpgradeError, "Upgrade"),
        ("HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n", WSInvalidUpgradeError, "Connection"),
        ("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n", WSInvalidUpgradeError, "Connection"),
        (f"HTTP/1.1 101 X\r\n{UPGRADE}\r\n", WSInvalidHeaderError, ACCEPT),
        (f"HTTP/1.1 101 X\r\n{UPGRADE}{ACCEPT}: AAAA\r\n\r\n", WSInvalidHeaderError, ACCEPT),
        (f"HTTP/1.1 101 X\r\n{UPGRADE}Transfer-Encoding: chunked\r\n\r\n", WSInvalidHeaderError, "Transfer-Encoding"),
        (f"HTTP/1.1 101 X\r\n{UPGRADE}Content-Length: 5\r\n\r\n", WSInvalidHeaderError, "Content-Length"),
        (
            f"HTTP/1.1 101 X\r\n{UPGRADE}{ACCEPT}: {{}}\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
            WSInvalidHeaderError,
            "Sec-WebSocket-Protocol",
        ),
    ],
)
async def test_answers_that_do_not_confirm(tcp: Net, head: str, error: type[WSInvalidHeaderError], name: str) -> None:
    rest = []

    async def handler(peer: RawPeer) -> None:
        key = header_of(await peer.read_head(), "Sec-WebSocket-Key") or ""
        peer.write(head.format(accept_value(key)).encode() + b"\x81\x02ok")
        rest.append(await peer.read_rest())

    server = await tcp.raw_server(handler)
    with pytest.raises(error) as caught:
        await tcp.connect(must_not_be_called, server)
    assert caught.value.name == name
    assert caught.value.raw_header is not None
    assert caught.value.raw_header.startswith(b"HTTP/1.1 101 X")
    assert caught.value.raw_body == b"\x81\x02ok"
    assert caught.value.response.status == 101


def must_not_be_called(*args: Any) -> Any:
    """A listener factory."""
    raise AssertionError("the listener factory was called")


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.0 101 X\r\n\r\n", b"HTTP/1.1 1x1 X\r\n\r\n", b"HTTP/1.1 200 X\nA: b\n\n"],
)
async def test_answers_that_are_not_http(tcp: Net, answer: bytes) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(answer)
        await peer.read_rest()

    server = await tcp.raw_server(handler)
    with pytest.raises(WSInvalidMessageError) as caught:
        await tcp.connect(must_not_be_called, server)
    assert caught.value.raw_header is not None
    assert answer.startswith(caught.value.raw_header)


@pytest.mark.parametrize("size", [0, 10, 64 * 1024, 64 * 1024 + 5])
async def test_P8_a_refusal_has_its_whole_body(net: Net, size: int) -> None:
    body = b"b" * size

    async def handler(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(f"HTTP/1.1 403 Forbidden\r\nContent-Length: {size}\r\nX-Why: no\r\n\r\n".encode())
        await peer.writer.drain()
        for start in range(0, size, 10_000):
            peer.write(body[start : start + 10_000])
            await peer.writer.drain()
        await peer.read_rest()

    server = await net.raw_server(handler)
    with pytest.raises(WSInvalidStatusError) as caught:
        await net.connect(must_not_be_called, server)
    response = caught.value.response
    assert response.status == 403
    assert response.headers["X-Why"] == "no"
    assert response.body == caught.value.raw_body == body[: 64 * 1024]


async def test_P8_a_chunked_refusal(tcp: Net) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n")
        await peer.read_rest()

    server = await tcp.raw_server(handler)
    with pytest.raises(WSInvalidStatusError) as caught:
        await tcp.connect(must_not_be_called, server)
    assert caught.value.response.body == b"hello!"


async def test_P8_a_refusal_that_ends_with_the_connection(net: Net) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(b"HTTP/1.1 503 Later\r\n\r\nfirst,")
        await peer.writer.drain()
        peer.write(b"second")
        peer.hang_up()

    server = await net.raw_server(handler)
    with pytest.raises(WSInvalidStatusError) as caught:
        await net.connect(must_not_be_called, server)
    assert caught.value.response.body == b"first,second"


@pytest.mark.parametrize(
    "answer",
    [b"", b"H", b"HTTP/1.1 101 Switching Protocols\r\nUpgr", b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n"],
    ids=["nothing", "one byte", "in a line", "between lines"],
)
async def test_W4_hang_up_before_the_answer_is_complete(net: Net, answer: bytes) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(answer)
        peer.hang_up()

    server = await net.raw_server(handler)
    with pytest.raises(WSHandshakeEOFError) as caught:
        await net.connect(must_not_be_called, server)
    assert caught.value.raw_header == answer
    assert isinstance(caught.value, WSHandshakeError)


async def test_W4_hang_up_before_the_request_is_read(tcp: Net) -> None:
    async def handler(peer: RawPeer) -> None:
        peer.writer.transport.abort()

    server = await tcp.raw_server(handler)
    # With the request unread in its buffers the kernel may say reset instead of EOF.
    with pytest.raises((WSHandshakeEOFError, ConnectionError)):
        await tcp.connect(must_not_be_called, server)


async def test_W4_reset_during_the_handshake(tcp: Net) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(b"HTTP/1.1 101 ")
        peer.reset()

    server = await tcp.raw_server(handler)
    with pytest.raises((ConnectionResetError, WSHandshakeEOFError)):
        await tcp.connect(must_not_be_called, server)


async def test_W4_half_a_tls_handshake(local: Net) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.reader.read(1)
        peer.hang_up()

    local.load_certificates()
    local.allowed_reports.append("SSL handshake failed")  # aiofastnet in debug mode
    server = await local.raw_server(handler)
    url = local.url(server).replace("ws:", "wss:")
    with pytest.raises(OSError):
        await local.connect(must_not_be_called, url, ssl_context=local.certificates.client)


async def test_W8_no_header_injection_from_a_location(local: Net) -> None:
    """A server cannot send these bytes in a header; a relative redirect with a tab can be sent and must be refused."""

    async def handler(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(b"HTTP/1.1 302 X\r\nLocation: /a\tb\r\nContent-Length: 0\r\n\r\n")
        await peer.read_rest()

    server = await local.raw_server(handler)
    with pytest.raises(ValueError, match="control character"):
        await local.connect(must_not_be_called, server)


# --- the listener factory ---


async def test_factory_gets_request_and_response(net: Net) -> None:
    seen = []

    def factory(request: Any, response: Any) -> Recorder:
        seen.append((request, response))
        return Recorder()

    server = await net.serve(lambda request: Echo())
    transport, listener = await net.connect(factory, server)
    assert seen == [(transport.request, transport.response)]
    assert isinstance(seen[0][1], WSUpgradeResponse)
    assert listener.transport is transport


async def test_factory_without_arguments(local: Net) -> None:
    server = await local.serve(lambda request: Echo())
    made = []
    _, listener = await local.connect(lambda: made.append(Recorder()) or made[0], server)
    assert made == [listener]
    assert listener.events == [("connected",)]


async def test_factory_that_raises(net: Net) -> None:
    def factory(request: Any, response: Any) -> Any:
        raise KeyError("mine")

    remote = Recorder()
    server = await net.serve(lambda request: remote)
    with pytest.raises(KeyError, match="mine"):
        await net.connect(factory, server)
    await remote.disconnected.wait()


async def test_factory_that_raises_stop_iteration(net: Net) -> None:
    """Of `next(...)`, say. A coroutine cannot raise it, and a future does not take it."""
    server = await net.serve(lambda request: Echo())
    listeners: Iterator[Any] = iter(())
    with pytest.raises(RuntimeError, match="factory raised StopIteration") as caught:
        await net.connect(lambda *args: next(listeners), server)
    assert isinstance(caught.value.__cause__, StopIteration)


async def test_a_timeout_of_others_is_not_logged_as_ours(local: Net, caplog: pytest.LogCaptureFixture) -> None:
    def factory(request: Any, response: Any) -> Any:
        raise asyncio.TimeoutError("of the factory")

    caplog.set_level(logging.INFO)
    server = await local.serve(lambda request: Echo())
    with pytest.raises(asyncio.TimeoutError, match="of the factory"):
        await local.connect(factory, server)
    assert "connected, local" in caplog.text
    assert "was not open" not in caplog.text


async def test_factory_whose_first_typeerror_is_raised(local: Net) -> None:
    def factory(*args: Any) -> Any:
        raise TypeError(f"with {len(args)} arguments")

    server = await local.serve(lambda request: Echo())
    with pytest.raises(TypeError, match="with 2 arguments"):
        await local.connect(factory, server)


async def test_factory_that_fails_without_arguments(local: Net) -> None:
    def factory() -> Any:
        raise LookupError("no arguments")

    server = await local.serve(lambda request: Echo())
    with pytest.raises(LookupError, match="no arguments"):
        await local.connect(factory, server)


@pytest.mark.parametrize("result", [None, object(), Recorder, "text"], ids=["None", "object", "class", "str"])
async def test_factory_that_returns_no_listener(local: Net, result: Any) -> None:
    server = await local.serve(lambda request: Echo())
    with pytest.raises(TypeError, match="must return a WSListener"):
        await local.connect(lambda: result, server)


async def test_a_coroutine_function_is_no_client_factory(local: Net) -> None:
    coroutines = []

    async def factory() -> Recorder:
        return Recorder()

    def keep() -> Any:
        coroutines.append(factory())
        return coroutines[0]

    server = await local.serve(lambda request: Echo())
    with pytest.raises(TypeError, match="coroutine"):
        await local.connect(keep, server)
    coroutines[0].close()


# --- subprotocols ---


@pytest.mark.parametrize(("offered", "chosen"), [("chat, v2", "v2"), ("v2", "v2"), ("other", None)])
async def test_subprotocol(net: Net, offered: str, chosen: Any) -> None:
    def factory(request: WSUpgradeRequest) -> Any:
        names = [name.strip() for name in request.headers["Sec-WebSocket-Protocol"].split(",")]
        extra = {"Sec-WebSocket-Protocol": "v2"} if "v2" in names else None
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(extra), Echo())

    server = await net.serve(factory)
    transport, _ = await net.connect(Recorder, server, extra_headers={"Sec-WebSocket-Protocol": offered})
    assert transport.response.headers.get("Sec-WebSocket-Protocol") == chosen


async def test_a_subprotocol_nobody_offered(local: Net) -> None:
    extra = {"Sec-WebSocket-Protocol": "v3"}
    server = await local.serve(
        lambda request: WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(extra), Echo())
    )
    with pytest.raises(WSInvalidHeaderError, match="Sec-WebSocket-Protocol"):
        await local.connect(must_not_be_called, server, extra_headers={"Sec-WebSocket-Protocol": "v1, v2"})
