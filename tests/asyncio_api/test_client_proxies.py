"""ws_connect through every kind of proxy, to targets with and without TLS. (test_proxy.py has what is below it.)"""

from __future__ import annotations

import socket
from typing import Any

import pytest
from fixtures.peers import RawPeer
from fixtures.proxies import HTTPProxy, Socks5Proxy, make_proxy
from fixtures.sockets import Echo, Net, Recorder, port_of

from picows import WSInvalidStatusError

python_socks = pytest.importorskip("python_socks")
SCHEMES = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"]


def proxy_options(net: Net, proxy: Any, user_info: str = "") -> dict[str, Any]:
    """The arguments of ws_connect for a proxy."""
    options = {"proxy": proxy.url(user_info)}
    if proxy.scheme == "https":
        options["proxy_ssl_context"] = net.certificates.client
    return options


def load(net: Net, scheme: str) -> Any:
    """The TLS context of an https proxy; skips what the loop cannot do."""
    if scheme != "https":
        return None
    if net.is_secure and not net.has_tls_in_tls:
        pytest.skip("asyncio has TLS inside TLS since Python 3.11")
    return net.load_certificates().server


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_echo_through_a_proxy(net: Net, scheme: str) -> None:
    server = await net.serve(lambda request: Echo())
    async with make_proxy(scheme, load(net, scheme)) as proxy:
        transport, listener = await net.connect(Recorder, server, **proxy_options(net, proxy))
        for size in (1, 1000, 300_000):
            transport.send(2, b"x" * size)
            assert (await listener.next_frame()).payload == b"x" * size
        assert proxy.targets == [("127.0.0.1", port_of(server))]
        assert transport.is_secure is net.is_secure or scheme == "https"
        transport.disconnect()
        await transport.wait_disconnected()
        await proxy.all_closed()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_frames_right_behind_the_handshake(net: Net, scheme: str) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.accept(then=b"\x81\x01a\x81\x01b")
        await peer.read_rest()

    server = await net.raw_server(handler)
    async with make_proxy(scheme, None) as proxy:  # type: ignore[arg-type]
        transport, listener = await net.connect(Recorder, server, **proxy_options(net, proxy))
        assert [(await listener.next_frame()).payload for _ in range(2)] == [b"a", b"b"]
        transport.disconnect()
        await transport.wait_disconnected()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_credentials_of_the_proxy(tcp: Net, scheme: str) -> None:
    server = await tcp.serve(lambda request: Echo())
    async with make_proxy(scheme, None, credentials=("user", "p@ss")) as proxy:  # type: ignore[arg-type]
        transport, _ = await tcp.connect(Recorder, server, **proxy_options(tcp, proxy, "user:p%40ss"))
        assert "Proxy-Authorization" not in transport.request.headers
        with pytest.raises(python_socks.ProxyError):
            await tcp.connect(Recorder, server, **proxy_options(tcp, proxy, "user:wrong"))


async def test_the_target_is_not_told_about_the_proxy(tcp: Net) -> None:
    server = await tcp.serve(lambda request: Echo())
    async with HTTPProxy() as proxy:
        await tcp.connect(Recorder, server, extra_headers={"X": "y"}, **proxy_options(tcp, proxy))
        assert b"X: y" not in proxy.heads[0]
        assert b"Sec-WebSocket" not in proxy.heads[0]


@pytest.mark.parametrize("scheme", ["http", "socks4", "socks5"])
async def test_proxy_that_cannot_be_reached(tcp: Net, scheme: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        proxy = f"{scheme}://127.0.0.1:{sock.getsockname()[1]}"
        with pytest.raises((ConnectionRefusedError, python_socks.ProxyConnectionError)):
            await tcp.connect(Recorder, "ws://127.0.0.1:1/", proxy=proxy)


@pytest.mark.parametrize("scheme", ["http", "socks4", "socks5"])
async def test_target_that_cannot_be_reached(tcp: Net, scheme: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        async with make_proxy(scheme, None) as proxy:  # type: ignore[arg-type]
            with pytest.raises(python_socks.ProxyError):
                url = f"ws://127.0.0.1:{sock.getsockname()[1]}/"
                await tcp.connect(Recorder, url, **proxy_options(tcp, proxy))


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_refusal_by_the_target(net: Net, scheme: str) -> None:
    server = await net.serve(lambda request: None)
    async with make_proxy(scheme, None) as proxy:  # type: ignore[arg-type]
        with pytest.raises(WSInvalidStatusError) as caught:
            await net.connect(Recorder, server, **proxy_options(net, proxy))
        assert caught.value.response.body == b"404 Not Found"
        await proxy.all_closed()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_redirects_go_through_the_proxy(tcp: Net, scheme: str) -> None:
    from picows import WSUpgradeResponse, WSUpgradeResponseWithListener

    target = await tcp.serve(lambda request: Echo())
    answer = WSUpgradeResponse.create_redirect_response(302, tcp.url(target))
    server = await tcp.serve(lambda request: WSUpgradeResponseWithListener(answer, None))
    async with make_proxy(scheme, None) as proxy:  # type: ignore[arg-type]
        await tcp.connect(Recorder, server, **proxy_options(tcp, proxy))
        assert [port for _, port in proxy.targets] == [port_of(server), port_of(target)]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_socket_factory_leads_to_the_proxy(net: Net, scheme: str) -> None:
    server = await net.serve(lambda request: Echo())
    seen = []
    async with make_proxy(scheme, None) as proxy:  # type: ignore[arg-type]

        def factory(url: Any) -> socket.socket:
            seen.append((url.scheme, url.port))
            return socket.create_connection(("127.0.0.1", proxy.port))

        options = proxy_options(net, proxy)
        transport, listener = await net.connect(Recorder, server, socket_factory=factory, **options)
        transport.send(1, "x")
        assert (await listener.next_frame()).payload == b"x"
        assert seen == [(scheme, proxy.port)]


async def test_the_certificate_of_the_target_is_checked(local: Net) -> None:
    certificates = local.load_certificates()
    local.allowed_reports += ["SSL handshake failed", "Error on transport creation for incoming connection"]
    server = await local.serve(lambda request: Echo(), ssl=certificates.other)
    async with Socks5Proxy() as proxy:
        with pytest.raises(OSError, match="(?i)certificate.verify.failed"):
            url = f"wss://127.0.0.1:{port_of(server)}/"
            await local.connect(Recorder, url, ssl_context=certificates.client, proxy=proxy.url())
        await proxy.all_closed()


async def test_a_proxy_that_dies(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    async with HTTPProxy() as proxy:
        transport, listener = await net.connect(Recorder, server, **proxy_options(net, proxy))
    await transport.wait_disconnected()
    assert listener.events[-1] == ("disconnected",)
