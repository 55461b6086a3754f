"""W5: connecting through a proxy is cancelled at any await, and everything is closed."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from fixtures.certificates import Certificates
from fixtures.proxies import (
    HTTPProxy,
    SilentServer,
    make_proxy,
    tunnel_to_echo,
)
from fixtures.tunnels import (
    SCHEMES,
    Runner,
    attach,
    connect,
    connected,
    proxy_context,
    unconnected,
)

from picows.proxy import connect_via_proxy, socket_from_factory
from picows.url import WSParsedURL, parse_url


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("with_factory", [False, True], ids=["own socket", "factory"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_W5_cancelled_while_the_proxy_is_silent(
    run: Runner, certificates: Certificates, scheme: str, with_factory: bool
) -> None:
    async def main() -> None:
        factory = connected if with_factory else None
        async with make_proxy(scheme, certificates.server, answer=b"") as proxy:
            context = proxy_context(scheme, certificates)
            task = asyncio.ensure_future(connect(proxy, "ws://127.0.0.1", run, socket_factory=factory, **context))
            await proxy.was_asked.wait()
            await cancel(task)
            await proxy.all_closed()

    run(main())


@pytest.mark.parametrize("with_factory", [False, True], ids=["own socket", "factory"])
def test_W5_cancelled_during_tls_with_the_proxy(run: Runner, certificates: Certificates, with_factory: bool) -> None:
    async def main() -> None:
        factory = connected if with_factory else None
        async with SilentServer() as proxy:
            task = asyncio.ensure_future(
                connect(proxy, "ws://a", run, socket_factory=factory, proxy_ssl_context=certificates.client)
            )
            await proxy.was_asked.wait()
            await cancel(task)
            await proxy.all_closed()

    run(main())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_W5_cancelled_during_tls_with_the_target(run: Runner, certificates: Certificates, scheme: str) -> None:
    if scheme == "https" and not run.has_tls_in_tls:
        pytest.skip("asyncio has TLS inside TLS since Python 3.11")

    async def main() -> None:
        async with make_proxy(scheme, certificates.server) as proxy, SilentServer() as target:
            url = parse_url(f"wss://127.0.0.1:{target.port}")
            tunnel = await connect(proxy, url.url, run, **proxy_context(scheme, certificates))
            task = asyncio.ensure_future(attach(tunnel, url, certificates, run.use_aiofastnet))
            await target.was_asked.wait()
            await cancel(task)
            await proxy.all_closed()

    run(main())


def test_W5_cancelled_while_the_factory_works(run: Runner) -> None:
    async def main() -> None:
        started = asyncio.Event()

        async def factory(url: WSParsedURL) -> Any:
            started.set()
            await asyncio.Event().wait()

        async with HTTPProxy() as proxy:
            task = asyncio.ensure_future(connect(proxy, "ws://a", run, socket_factory=factory))
            await started.wait()
            await cancel(task)
            assert proxy.connections == 0

    run(main())


@pytest.mark.parametrize("scheme", ["socks5", "factory"])
def test_W5_cancelled_while_tcp_connects(run: Runner, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        sockets: list[socket.socket] = []
        started = asyncio.Event()

        class Loop:
            """The running loop, on which no connection is ever made."""

            def __getattr__(self, name: str) -> Any:
                return getattr(loop, name)

            async def sock_connect(self, sock: socket.socket, address: Any) -> None:
                sockets.append(sock)
                started.set()
                await asyncio.Event().wait()

        url = parse_url("socks5://127.0.0.1:9", check_scheme=False)
        coroutine: Any = connect_via_proxy(Loop(), url, parse_url("ws://a"))  # type: ignore[arg-type]
        if scheme == "factory":
            coroutine.close()
            coroutine = socket_from_factory(unconnected, url, Loop())  # type: ignore[arg-type]
        task = asyncio.ensure_future(coroutine)
        await started.wait()
        await cancel(task)
        assert [sock.fileno() for sock in sockets] == [-1]

    run(main())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_W5_cancelled_after_any_number_of_steps(run: Runner, certificates: Certificates, scheme: str) -> None:
    async def main() -> None:
        async with tunnel_to_echo(scheme, False, certificates.server) as (proxy, target):
            context = proxy_context(scheme, certificates)
            for steps in range(1000):
                task = asyncio.ensure_future(connect(proxy, target, run, **context))
                for _ in range(steps):
                    await asyncio.sleep(0)
                if task.done():
                    tunnel = task.result()
                    close = tunnel.close if isinstance(tunnel, socket.socket) else tunnel.abort
                    close()
                    break
                task.cancel()
                try:
                    tunnel = await task
                except asyncio.CancelledError:
                    continue
                # It had finished in the same step: the tunnel is ours.
                close = tunnel.close if isinstance(tunnel, socket.socket) else tunnel.abort
                close()
            else:
                pytest.fail("1000 steps are not enough to connect")
            await proxy.all_closed()

    run(main())
