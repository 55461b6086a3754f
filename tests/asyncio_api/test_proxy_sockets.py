"""Socket factories, with and without a proxy."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from pathlib import Path
from typing import Any, Callable

import pytest
from fixtures.certificates import Certificates
from fixtures.ports import free_port
from fixtures.proxies import (
    EchoServer,
    HTTPProxy,
    tunnel_to_echo,
)
from fixtures.sockets import unix_only
from fixtures.tunnels import (
    SCHEMES,
    Runner,
    attach,
    check_echo,
    connect,
    connected,
    proxy_context,
    unconnected,
)

from picows.proxy import socket_from_factory
from picows.url import WSParsedURL, parse_url


async def from_coroutine(url: WSParsedURL) -> socket.socket:
    return connected(url)


def nothing(url: WSParsedURL) -> None:
    return None


@pytest.mark.parametrize("factory", [connected, unconnected, from_coroutine, nothing])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_socket_factory_connects_to_the_proxy(
    run: Runner, certificates: Certificates, scheme: str, factory: Any
) -> None:
    async def main() -> None:
        urls = []

        def recording(url: WSParsedURL) -> Any:
            urls.append(url)
            return factory(url)

        options: dict[str, Any] = {"family": socket.AF_INET, "local_addr": None}
        if run.kind != "uvloop":
            options["happy_eyeballs_delay"] = 0.25
        async with tunnel_to_echo(scheme, False, certificates.server) as (proxy, target):
            tunnel = await connect(
                proxy,
                target,
                run,
                socket_factory=recording,
                create_connection_kwargs=options,
                **proxy_context(scheme, certificates),
            )
            await check_echo(await attach(tunnel, parse_url(target.url()), certificates, run.use_aiofastnet))
            assert [(url.scheme, url.host, url.port) for url in urls] == [(scheme, "127.0.0.1", proxy.port)]
            assert proxy.connections == 1
            await proxy.all_closed()

    run(main())


@unix_only
@pytest.mark.parametrize("is_secure", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_W1_unix_socket_to_the_proxy(run: Runner, certificates: Certificates, scheme: str, is_secure: bool) -> None:
    if scheme == "https" and is_secure and not run.has_tls_in_tls:
        pytest.skip("asyncio has TLS inside TLS since Python 3.11")

    async def main() -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = str(Path(directory) / "socket")

            def factory(url: WSParsedURL) -> socket.socket:
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(path)
                return sock

            async with tunnel_to_echo(scheme, is_secure, certificates.server, path=path) as (proxy, target):
                context = proxy_context(scheme, certificates)
                tunnel = await connect(proxy, target, run, socket_factory=factory, **context)
                url = parse_url(target.url())
                if scheme.startswith("socks") and run.kind == "uvloop":
                    tunnel.close()  # its create_connection takes no Unix socket: a matter of the client's
                else:
                    await check_echo(await attach(tunnel, url, certificates, run.use_aiofastnet))
                assert proxy.connections == 1

    run(main())


def test_socket_factory_without_proxy(run: Runner) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with EchoServer() as target:
            url = parse_url(f"ws://localhost:{target.port}")
            assert await socket_from_factory(nothing, url, loop) is None
            for factory in (unconnected, connected, from_coroutine):
                sock = await socket_from_factory(factory, url, loop)
                assert sock is not None
                assert sock.getpeername() == ("127.0.0.1", target.port)
                assert sock.getblocking() is False
                sock.close()

    run(main())


@pytest.mark.parametrize("result", [42, "socket", object(), b""], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_socket_factory_of_the_wrong_type(run: Runner, result: Any, is_async: bool) -> None:
    async def coroutine(url: WSParsedURL) -> Any:
        return result

    def plain(url: WSParsedURL) -> Any:
        return result

    async def main() -> None:
        with pytest.raises(TypeError, match=type(result).__name__):
            await socket_from_factory(coroutine if is_async else plain, parse_url("ws://a"), asyncio.get_running_loop())

    run(main())


def test_tls_socket_from_the_factory_is_refused(run: Runner, certificates: Certificates) -> None:
    async def main() -> None:
        with socket.socket() as sock:
            wrapped = certificates.client.wrap_socket(sock, server_hostname="a", do_handshake_on_connect=False)
            with wrapped, pytest.raises(TypeError, match="SSLSocket"):
                await socket_from_factory(lambda url: wrapped, parse_url("ws://a"), asyncio.get_running_loop())

    run(main())


@pytest.mark.parametrize(
    ("make", "error"),
    [
        pytest.param(lambda: socket.socket(type=socket.SOCK_DGRAM), ValueError, id="datagram"),
        pytest.param(lambda: socket.socket(socket.AF_UNIX), ValueError, id="unix", marks=unix_only),
        pytest.param(socket.socket, ConnectionRefusedError, id="refused"),
    ],
)
def test_unusable_socket_is_closed(run: Runner, make: Callable[[], socket.socket], error: type[Exception]) -> None:
    async def main() -> None:
        sock = make()
        url = parse_url(f"ws://127.0.0.1:{free_port()}")
        with pytest.raises(error):
            await socket_from_factory(lambda _: sock, url, asyncio.get_running_loop())
        assert sock.fileno() == -1

    run(main())


def test_failing_factory(run: Runner) -> None:
    def factory(url: WSParsedURL) -> socket.socket:
        raise LookupError("no")

    async def main() -> None:
        async with HTTPProxy() as proxy:
            with pytest.raises(LookupError):
                await connect(proxy, "ws://a", run, socket_factory=factory)
            assert proxy.connections == 0

    run(main())


def test_factory_socket_is_closed_when_the_transport_cannot_be_made(run: Runner) -> None:
    sockets = []

    def factory(url: WSParsedURL) -> socket.socket:
        sockets.append(connected(url))
        return sockets[-1]

    async def main() -> None:
        async with HTTPProxy() as proxy:
            with pytest.raises(TypeError):
                await connect(proxy, "ws://a", run, socket_factory=factory, create_connection_kwargs={"nonsense": 1})
            assert [sock.fileno() for sock in sockets] == [-1]
            await proxy.was_connected.wait()
            await proxy.all_closed()

    run(main())
