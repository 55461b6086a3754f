"""Tunnels through real proxies to a target that echoes, and proxies that cannot be reached."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import pytest
from fixtures.certificates import Certificates
from fixtures.ports import free_port
from fixtures.proxies import (
    EchoServer,
    HTTPProxy,
    Socks4Proxy,
    Socks5Proxy,
    TunnelServer,
    make_proxy,
    tunnel_to_echo,
)
from fixtures.tunnels import (
    SCHEMES,
    Runner,
    attach,
    check_echo,
    connect,
    proxy_context,
)
from python_socks import ProxyConnectionError, ProxyError

from picows.proxy import connect_via_proxy
from picows.url import parse_url

# --- tunnels ---


@pytest.mark.parametrize("is_secure", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_tunnel(run: Runner, certificates: Certificates, scheme: str, is_secure: bool) -> None:
    if scheme == "https" and is_secure and not run.has_tls_in_tls:
        pytest.skip("asyncio has TLS inside TLS since Python 3.11")

    async def main() -> None:
        async with tunnel_to_echo(scheme, is_secure, certificates.server) as (proxy, target):
            url = parse_url(target.url())
            tunnel = await connect(proxy, target, run, **proxy_context(scheme, certificates))
            assert isinstance(tunnel, socket.socket) is scheme.startswith("socks")
            if isinstance(tunnel, socket.socket):
                assert tunnel.getblocking() is False
            await check_echo(await attach(tunnel, url, certificates, run.use_aiofastnet))
            assert proxy.connections == 1
            assert target.connections == 1
            assert proxy.targets == [(url.host, url.port)]
            await proxy.all_closed()

    run(main())


@pytest.mark.parametrize(
    ("scheme", "is_resolved_by_proxy"),
    [("http", True), ("https", True), ("socks4", False), ("socks4a", True), ("socks5", True), ("socks5h", True)],
)
def test_who_resolves_the_name_of_the_target(
    run: Runner, certificates: Certificates, scheme: str, is_resolved_by_proxy: bool
) -> None:
    async def main() -> None:
        names = {"target.test": "127.0.0.1"}
        async with tunnel_to_echo(scheme, False, certificates.server, names=names) as (proxy, target):
            host = "target.test" if is_resolved_by_proxy else "localhost"
            url = parse_url(f"ws://{host}:{target.port}")
            tunnel = await connect(proxy, url.url, run, **proxy_context(scheme, certificates))
            await check_echo(await attach(tunnel, url, certificates, run.use_aiofastnet))
            assert proxy.targets == [(host if is_resolved_by_proxy else "127.0.0.1", target.port)]

    run(main())


def test_connect_request(run: Runner) -> None:
    async def main() -> None:
        async with HTTPProxy(answer=b"HTTP/1.1 204 \r\n\r\n") as proxy:
            for target in ("ws://Example.COM/path?q", "wss://u:p@[2001:db8::1]", "ws://[fe80::1%25eth0]:8080"):
                transport = await connect(proxy, target, run)
                transport.abort()
            await connect_and_abort(proxy, "ws://a", run, user_info="us%65r:p%40ss%3A%C3%A9")
            await connect_and_abort(proxy, "ws://a", run, user_info="user")
            assert proxy.heads == [
                b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n",
                b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n",
                b"CONNECT [fe80::1]:8080 HTTP/1.1\r\nHost: [fe80::1]:8080\r\n\r\n",
                b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nProxy-Authorization: Basic dXNlcjpwQHNzOsOp\r\n\r\n",
                b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nProxy-Authorization: Basic dXNlcjo=\r\n\r\n",
            ]

    run(main())


async def connect_and_abort(proxy: TunnelServer, target: str, run: Runner, **kwargs: Any) -> None:
    (await connect(proxy, target, run, **kwargs)).abort()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_L5_credentials_reach_the_proxy_and_nobody_else(run: Runner, certificates: Certificates, scheme: str) -> None:
    async def main() -> None:
        credentials = ("user", "p@ss:w")
        async with tunnel_to_echo(scheme, False, certificates.server, credentials=credentials) as (proxy, target):
            context = proxy_context(scheme, certificates)
            tunnel = await connect(proxy, target, run, user_info="us%65r:p%40ss%3Aw", **context)
            protocol = await attach(tunnel, parse_url(target.url()), certificates, run.use_aiofastnet)
            assert protocol.transport is not None
            protocol.transport.write(b"hello")
            assert await protocol.read(5) == b"hello"
            assert target.received == b"hello"
            protocol.transport.close()
            await protocol.was_lost.wait()

    run(main())


@pytest.mark.parametrize("user_info", ["", "user:wrong", "other:pass"], ids=["none", "password", "user"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_refused_credentials(run: Runner, certificates: Certificates, scheme: str, user_info: str) -> None:
    if scheme in ("socks4", "socks4a") and user_info == "user:wrong":
        pytest.skip("SOCKS4 has no password")

    async def main() -> None:
        async with tunnel_to_echo(scheme, False, certificates.server, credentials=("user", "pass")) as (proxy, target):
            with pytest.raises(ProxyError) as caught:
                await connect(proxy, target, run, user_info=user_info, **proxy_context(scheme, certificates))
            if scheme.startswith("http"):
                assert caught.value.error_code == 407
                assert "407 Proxy Authentication Required" in str(caught.value)
            assert "wrong" not in str(caught.value)
            await proxy.all_closed()
            assert target.connections == 0

    run(main())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_target_that_refuses(run: Runner, certificates: Certificates, scheme: str) -> None:
    async def main() -> None:
        async with make_proxy(scheme, certificates.server) as proxy:
            with pytest.raises(ProxyError):
                await connect(proxy, f"ws://127.0.0.1:{free_port()}", run, **proxy_context(scheme, certificates))
            await proxy.all_closed()

    run(main())


# --- reaching the proxy ---


@pytest.mark.parametrize("scheme", SCHEMES)
def test_proxy_that_cannot_be_reached(run: Runner, certificates: Certificates, scheme: str) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError if scheme.startswith("http") else ProxyConnectionError) as caught:
            await connect(f"{scheme}://127.0.0.1:{free_port()}", "ws://a", run)
        assert caught.value.errno is not None

    run(main())


def test_socks_proxy_with_a_name_that_does_not_exist(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        class Loop:
            """The running loop with another resolver."""

            def __getattr__(self, name: str) -> Any:
                return getattr(loop, name)

            async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
                raise socket.gaierror(socket.EAI_NONAME, "unknown")

        url = parse_url("socks5://nowhere.test", check_scheme=False)
        with pytest.raises(ProxyConnectionError, match="nowhere.test.*unknown"):
            await connect_via_proxy(Loop(), url, parse_url("ws://a"))  # type: ignore[arg-type]
        async with Socks4Proxy() as proxy:
            url = parse_url(proxy.url(), check_scheme=False)
            with pytest.raises(socket.gaierror):
                await connect_via_proxy(
                    Loop(),  # type: ignore[arg-type]
                    url,
                    parse_url("ws://nowhere.test"),
                    socket_factory=lambda url: socket.create_connection((url.host, url.port)),
                )
            await proxy.all_closed()

    run(main())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_local_addr_and_family(run: Runner, certificates: Certificates, scheme: str) -> None:
    async def main() -> None:
        port = free_port()
        options = {"local_addr": ("127.0.0.1", port), "family": socket.AF_INET}
        async with tunnel_to_echo(scheme, False, certificates.server) as (proxy, target):
            context = proxy_context(scheme, certificates)
            tunnel = await connect(proxy, target, run, create_connection_kwargs=options, **context)
            await check_echo(await attach(tunnel, parse_url(target.url()), certificates, run.use_aiofastnet))
            assert [peer[1] for peer in proxy.peers] == [port]

    run(main())


def test_socks_proxy_without_an_address(run: Runner) -> None:
    async def main() -> None:
        class Loop:
            """A loop with a resolver that finds nothing and says so by an empty list."""

            async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
                return []

        url = parse_url("socks5://nowhere.test", check_scheme=False)
        with pytest.raises(ProxyConnectionError, match="no address"):
            await connect_via_proxy(Loop(), url, parse_url("ws://a"))  # type: ignore[arg-type]

    run(main())


def test_socks_tries_every_address(run: Runner, certificates: Certificates) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with Socks5Proxy() as proxy, EchoServer() as target:

            class Loop:
                """The running loop with a resolver that knows three addresses, of which the last one listens."""

                def __getattr__(self, name: str) -> Any:
                    return getattr(loop, name)

                async def getaddrinfo(self, host: str, port: int, **kwargs: Any) -> Any:
                    address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", free_port()))
                    return [address, address, (*address[:4], ("127.0.0.1", proxy.port))]

            url = parse_url("socks5://many.test", check_scheme=False)
            tunnel = await connect_via_proxy(Loop(), url, parse_url(target.url()))  # type: ignore[arg-type]
            await check_echo(await attach(tunnel, parse_url(target.url()), certificates, run.use_aiofastnet))

    run(main())


def test_socks_connection_that_breaks(run: Runner) -> None:
    class ResettingProxy(Socks5Proxy):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async def main() -> None:
        async with ResettingProxy() as proxy:
            with pytest.raises(ProxyError):
                await connect(proxy, "ws://a", run)

    run(main())


def test_missing_python_socks_is_explained(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks.async_.asyncio", None)

    async def main() -> None:
        async with HTTPProxy() as proxy:
            with pytest.raises(ImportError, match=r"python-socks\[asyncio\] 3"):
                await connect(proxy, "ws://a", run)
            assert proxy.connections == 0

    run(main())
