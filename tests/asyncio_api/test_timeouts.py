"""P6: the handshake timeout covers the whole way to an open connection."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import socket
import sys
from typing import Any

import pytest
from fixtures.peers import RawPeer, request_head
from fixtures.proxies import SilentServer, make_proxy
from fixtures.sockets import Echo, Net, Recorder, count_sockets, have, port_of, until

from picows import WSInvalidStatusError, ws_connect

SHORT = 0.1
both_names = pytest.mark.parametrize("name", ["open_timeout", "websocket_handshake_timeout"])
needs_python_socks = pytest.mark.skipif(not have("python_socks"), reason="python-socks is not installed")
if have("python_socks"):  # it is imported on first use, which would be within the timeout
    importlib.import_module("python_socks.async_.asyncio")


async def silence(peer: RawPeer) -> None:
    """A server that reads and says nothing."""
    await peer.reader.read()


@both_names
async def test_P6_silence_after_the_request(net: Net, name: str) -> None:
    server = await net.raw_server(silence)
    before = count_sockets()
    with pytest.raises(asyncio.TimeoutError):
        await net.connect(Recorder, server, **{name: SHORT})
    await until(lambda: count_sockets() <= before)


async def test_P6_name_resolution(local: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*args: Any, **kwargs: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    with pytest.raises(asyncio.TimeoutError):
        await ws_connect(Recorder, "ws://slow.example/", open_timeout=SHORT, use_aiofastnet=False)


@pytest.mark.skipif(sys.platform != "linux", reason="how many connections a full backlog takes is known for Linux")
async def test_P6_tcp_that_is_not_accepted(tcp: Net) -> None:
    """A listening socket whose queue is full does not answer."""
    listening = socket.socket()
    fillers = []
    try:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            filler = socket.socket()
            fillers.append(filler)
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
        with pytest.raises(asyncio.TimeoutError):
            await tcp.connect(Recorder, url, open_timeout=SHORT)
    finally:
        for sock in [listening, *fillers]:
            sock.close()


async def test_P6_tls(net: Net) -> None:
    """A server that accepts and then says nothing: neither TLS nor the upgrade get anywhere."""
    server = await net.raw_server(silence, is_plain=True)
    net.allowed_reports.append("SSL handshake failed")
    with pytest.raises(asyncio.TimeoutError):
        await net.connect(Recorder, server, open_timeout=SHORT)


@needs_python_socks
@pytest.mark.parametrize("scheme", ["http", "socks4", "socks5"])
async def test_P6_proxy_that_is_silent(tcp: Net, scheme: str) -> None:
    async with SilentServer() as proxy:
        url = f"{scheme}://127.0.0.1:{proxy.port}"
        with pytest.raises(asyncio.TimeoutError):
            await tcp.connect(Recorder, "ws://127.0.0.1:1/", proxy=url, open_timeout=SHORT)
        assert proxy.was_asked.is_set()
        await proxy.all_closed()


@needs_python_socks
async def test_P6_https_proxy_that_is_silent(local: Net) -> None:
    certificates = local.load_certificates()
    local.allowed_reports.append("SSL handshake failed")
    async with SilentServer() as proxy:
        with pytest.raises(asyncio.TimeoutError):
            await local.connect(
                Recorder,
                "ws://127.0.0.1:1/",
                proxy=f"https://127.0.0.1:{proxy.port}",
                proxy_ssl_context=certificates.client,
                open_timeout=SHORT,
            )
        await proxy.all_closed()


@needs_python_socks
async def test_P6_target_behind_a_proxy_that_is_silent(tcp: Net) -> None:
    server = await tcp.raw_server(silence)
    async with make_proxy("http", None) as proxy:  # type: ignore[arg-type]
        with pytest.raises(asyncio.TimeoutError):
            await tcp.connect(Recorder, server, proxy=proxy.url(), open_timeout=SHORT)
        await proxy.all_closed()
    assert proxy.targets == [("127.0.0.1", port_of(server))]


async def test_P6_socket_factory(tcp: Net) -> None:
    async def factory(url: Any) -> Any:
        await asyncio.Event().wait()

    with pytest.raises(asyncio.TimeoutError):
        await tcp.connect(Recorder, "ws://127.0.0.1:1/", socket_factory=factory, open_timeout=SHORT)


async def test_P6_all_hops_together(tcp: Net) -> None:
    """A server that redirects for ever, each time in less than the timeout."""
    hops = []

    async def handler(peer: RawPeer) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await peer.read_head()
        hops.append(1)
        await asyncio.sleep(SHORT / 8)
        peer.write(b"HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
        await peer.reader.read()

    server = await tcp.raw_server(handler)
    with pytest.raises(asyncio.TimeoutError):
        await tcp.connect(Recorder, server, open_timeout=SHORT, max_redirects=1000)
    assert 1 < len(hops) < 12


async def test_P6_slow_bytes_do_not_extend_it(tcp: Net) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.read_head()
        for byte in b"HTTP/1.1 101 " + b"x" * 1000:
            peer.write(bytes([byte]))
            await asyncio.sleep(SHORT / 20)

    server = await tcp.raw_server(handler)
    with pytest.raises(asyncio.TimeoutError):
        await tcp.connect(Recorder, server, open_timeout=SHORT)


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked", "X: until the end"])
async def test_P6_P8_a_refusal_whose_body_does_not_end(net: Net, framing: str) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(f"HTTP/1.1 403 Forbidden\r\n{framing}\r\n\r\n".encode())
        peer.write(b"4\r\npart\r\n" if "chunked" in framing else b"part")
        await peer.reader.read()

    server = await net.raw_server(handler)
    with pytest.raises(WSInvalidStatusError) as caught:
        await net.connect(Recorder, server, open_timeout=SHORT)
    assert caught.value.response.status == 403
    assert caught.value.response.body == b"part"


async def test_P6_is_logged_without_credentials(local: Net, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "picows")
    server = await local.raw_server(silence)
    with pytest.raises(asyncio.TimeoutError):
        await local.connect(Recorder, f"ws://user:s3cret@127.0.0.1:{port_of(server)}/", open_timeout=SHORT)
    assert "was not open within 0.1 s" in caplog.text
    assert "s3cret" not in caplog.text


async def test_P6_no_timeout(local: Net) -> None:
    """None is no limit, whichever name it has; the connection opens."""
    server = await local.serve(lambda request: Echo(), open_timeout=None)
    await local.connect(Recorder, server, websocket_handshake_timeout=None)
    await local.connect(Recorder, server, open_timeout=None)


async def test_P6_ends_with_the_handshake(net: Net) -> None:
    """An open connection is not bothered by it."""
    server = await net.serve(lambda request: Echo(), open_timeout=SHORT)
    transport, listener = await net.connect(Recorder, server, open_timeout=SHORT)
    await asyncio.sleep(2 * SHORT)
    transport.send(1, "x")
    assert (await listener.next_frame()).payload == b"x"


# --- the server's side ---


@both_names
@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost:"], ids=["nothing", "half a request"])
async def test_P6_server(net: Net, name: str, head: bytes) -> None:
    server = await net.serve(lambda request: Echo(), **{name: SHORT})
    peer = await net.raw_client(server)
    peer.write(head)
    assert await peer.read_rest() == b""


async def test_P6_server_with_slow_bytes(tcp: Net) -> None:
    server = await tcp.serve(lambda request: Echo(), open_timeout=SHORT)
    peer = await tcp.raw_client(server)
    ended = asyncio.ensure_future(peer.read_rest())
    for byte in request_head() * 100:
        if ended.done():
            break
        peer.write(bytes([byte]))
        await asyncio.sleep(SHORT / 20)
    else:
        pytest.fail("the server went on reading")
    with contextlib.suppress(ConnectionResetError):  # for the bytes that were on their way
        assert await ended == b""


async def test_P6_a_silent_client_costs_the_others_nothing(tcp: Net) -> None:
    server = await tcp.serve(lambda request: Echo(), open_timeout=SHORT)
    silent = await tcp.raw_client(server)
    transport, listener = await tcp.connect(Recorder, server)
    assert await silent.read_rest() == b""
    transport.send(1, "x")
    assert (await listener.next_frame()).payload == b"x"
