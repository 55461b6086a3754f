"""Tunnels handed over to a protocol: targets and protocols that misbehave meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from fixtures.certificates import Certificates
from fixtures.proxies import (
    EchoServer,
    HTTPProxy,
)
from fixtures.tunnels import (
    Collector,
    Runner,
    connect,
)
from python_socks import ProxyError

from picows import http_tunnel
from picows.errors import WSHandshakeEOFError, WSHandshakeError
from picows.proxy import hand_over


def test_target_that_speaks_before_it_is_asked(run: Runner, certificates: Certificates) -> None:
    async def main() -> None:
        async with HTTPProxy() as proxy, EchoServer(ssl_context=certificates.server) as target:
            target.greeting = b"HTTP/1.1 200 OK\r\n\r\n" * 10
            protocol = Collector()
            transport = await connect(proxy, target, run)
            delayed = delay_wake_up()
            with delayed, pytest.raises(WSHandshakeError, match="before the request") as caught:
                await hand_over(
                    asyncio.get_running_loop(),
                    transport,
                    protocol,
                    ssl_context=certificates.client,
                    server_hostname="localhost",
                    use_aiofastnet=run.use_aiofastnet,
                )
            assert caught.value.raw_body is not None
            assert caught.value.raw_body.startswith(b"HTTP/1.1 200")
            assert protocol.transport is None
            await proxy.all_closed()

    run(main())


@contextlib.contextmanager
def delay_wake_up() -> Iterator[None]:
    """Let start_tls return only after the target has spoken, which otherwise depends on timing."""
    original = http_tunnel._function

    def function(loop: asyncio.AbstractEventLoop, name: str, use_aiofastnet: bool) -> Callable[..., Any]:
        start_tls = original(loop, name, use_aiofastnet)

        async def delayed(transport: Any, protocol: Any, *args: Any, **kwargs: Any) -> Any:
            spoken = asyncio.Event()
            for name in ("data_received", "connection_lost"):
                setattr(protocol, name, noticing(getattr(protocol, name), spoken))
            result = await start_tls(transport, protocol, *args, **kwargs)
            await spoken.wait()
            return result

        return delayed

    http_tunnel._function = function
    try:
        yield
    finally:
        http_tunnel._function = original


def noticing(method: Callable[[Any], None], event: asyncio.Event) -> Callable[[Any], None]:
    def noticed(argument: Any) -> None:
        method(argument)
        event.set()

    return noticed


class GoneServer(EchoServer):
    """Completes the TLS handshake and hangs up."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        return


def test_target_that_hangs_up_after_the_tls_handshake(run: Runner, certificates: Certificates) -> None:
    async def main() -> None:
        async with HTTPProxy() as proxy, GoneServer(ssl_context=certificates.server) as target:
            protocol = Collector()
            transport = await connect(proxy, target, run)
            with delay_wake_up(), pytest.raises(WSHandshakeEOFError):
                await hand_over(
                    asyncio.get_running_loop(),
                    transport,
                    protocol,
                    ssl_context=certificates.client,
                    server_hostname="localhost",
                    use_aiofastnet=run.use_aiofastnet,
                )
            assert protocol.transport is None
            await proxy.all_closed()

    run(main())


def test_hand_over_of_a_closed_tunnel(run: Runner) -> None:
    async def main() -> None:
        async with HTTPProxy() as proxy, EchoServer() as target:
            transport = await connect(proxy, target, run)
            transport.abort()
            protocol = Collector()
            with pytest.raises(ProxyError, match="closed the connection"):
                await hand_over(asyncio.get_running_loop(), transport, protocol)
            assert protocol.transport is None

    run(main())


def test_hand_over_with_an_unknown_option(run: Runner, certificates: Certificates) -> None:
    async def main() -> None:
        async with HTTPProxy() as proxy, EchoServer() as target:
            transport = await connect(proxy, target, run)
            with pytest.raises(TypeError, match="nonsense"):
                await hand_over(
                    asyncio.get_running_loop(),
                    transport,
                    Collector(),
                    ssl_context=certificates.client,
                    server_hostname="localhost",
                    use_aiofastnet=run.use_aiofastnet,
                    nonsense=1,
                )
            await proxy.all_closed()

    run(main())


def test_hand_over_to_a_protocol_that_fails(run: Runner) -> None:
    class Failing(Collector):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            raise LookupError("no")

    async def main() -> None:
        async with HTTPProxy() as proxy, EchoServer() as target:
            transport = await connect(proxy, target, run)
            with pytest.raises(LookupError):
                await hand_over(asyncio.get_running_loop(), transport, Failing())
            await proxy.all_closed()

    run(main())


def test_hand_over_to_a_protocol_that_closes(run: Runner) -> None:
    class Closing(Collector):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.close()

    async def main() -> None:
        async with HTTPProxy() as proxy, EchoServer() as target:
            protocol = Closing()
            await hand_over(asyncio.get_running_loop(), await connect(proxy, target, run), protocol)
            await protocol.was_lost.wait()
            await proxy.all_closed()

    run(main())
