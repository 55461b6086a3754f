"""Proxies and socket factories: tunnels through real proxies to a target that echoes, without WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import socket
import ssl
import sys
import tempfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Callable, Optional, Union

import pytest
import trustme
from fixtures.proxies import (
    EchoServer,
    HTTPProxy,
    SilentServer,
    Socks4Proxy,
    Socks5Proxy,
    TunnelServer,
    make_proxy,
    tunnel_to_echo,
)
from python_socks import ProxyConnectionError, ProxyError

from picows import http_tunnel
from picows import proxy as proxy_module
from picows.errors import WSHandshakeEOFError, WSHandshakeError, WSInvalidURL
from picows.http_tunnel import MAX_HEAD_SIZE
from picows.proxy import check_proxy, check_tls_in_tls, connect_via_proxy, hand_over, socket_from_factory
from picows.url import WSParsedURL, parse_url

SCHEMES = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"]
TIMEOUT_S = 20
unix_only = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")


def have(module: str) -> bool:
    with contextlib.suppress(ImportError):
        __import__(module)
        return True
    return False


class Runner:
    """Runs a coroutine on one kind of event loop; whatever reaches the loop's exception handler fails the test."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.use_aiofastnet = kind == "aiofastnet"
        self.has_tls_in_tls = kind != "asyncio" or sys.version_info >= (3, 11)
        #: Set by tests that make asyncio log through no fault of ours.
        self.may_report = False

    def __call__(self, main: Coroutine[Any, Any, Any]) -> Any:
        if self.kind == "uvloop":
            import uvloop

            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        else:
            loop = asyncio.new_event_loop()
        reports: list[dict[str, Any]] = []

        def report(_: object, context: dict[str, Any]) -> None:
            # In debug mode the servers of the tests report clients that refuse their certificates.
            if context["message"] != "Error on transport creation for incoming connection":
                reports.append(context)

        loop.set_exception_handler(report)
        try:
            result = loop.run_until_complete(asyncio.wait_for(main, TIMEOUT_S))
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(loop.shutdown_default_executor())
            gc.collect()
            assert self.may_report or reports == []
            return result
        finally:
            loop.close()


@pytest.fixture(
    params=[
        "asyncio",
        pytest.param("uvloop", marks=pytest.mark.skipif(not have("uvloop"), reason="uvloop is not installed")),
        pytest.param("aiofastnet", marks=pytest.mark.skipif(not have("aiofastnet"), reason="not installed")),
    ]
)
def run(request: pytest.FixtureRequest) -> Runner:
    return Runner(request.param)


class Certificates:
    """Certificates of one authority: for the servers of the tests, and for another name."""

    def __init__(self) -> None:
        authority = trustme.CA()
        self.server = self._server_context(authority.issue_cert("127.0.0.1", "localhost", "target.test"))
        self.other = self._server_context(authority.issue_cert("other.test"))
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)

    @staticmethod
    def _server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


class Collector(asyncio.BufferedProtocol):
    """What the engine will be: it reads into a buffer of its own."""

    def __init__(self) -> None:
        self.transport: Optional[asyncio.Transport] = None
        self.received = b""
        self.was_lost = asyncio.Event()
        self._buffer = bytearray(65536)
        self._expected: Optional[tuple[int, asyncio.Future[None]]] = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert self.transport is None
        self.transport = transport  # type: ignore[assignment]

    def get_buffer(self, sizehint: int) -> memoryview:
        assert self.transport is not None, "data before connection_made"
        return memoryview(self._buffer)  # asyncio's TLS slices it: of a bytearray it would get a copy

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self._buffer[:nbytes]
        if self._expected is not None and len(self.received) >= self._expected[0]:
            self._expected[1].set_result(None)
            self._expected = None

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self.was_lost.set()

    async def read(self, size: int) -> bytes:
        if len(self.received) < size:
            future = asyncio.get_running_loop().create_future()
            self._expected = size, future
            await future
        data, self.received = self.received[:size], self.received[size:]
        return data


async def attach(
    tunnel: Union[socket.socket, asyncio.Transport],
    target: WSParsedURL,
    certificates: Certificates,
    use_aiofastnet: bool = False,
    server_hostname: Optional[str] = None,
) -> Collector:
    """What the client does with a tunnel."""
    loop = asyncio.get_running_loop()
    protocol = Collector()
    context = certificates.client if target.is_secure else None
    hostname = (server_hostname or target.host) if target.is_secure else None
    if isinstance(tunnel, socket.socket):
        create_connection: Any = loop.create_connection
        if use_aiofastnet:
            import aiofastnet

            create_connection = functools.partial(aiofastnet.create_connection, loop)
        await create_connection(lambda: protocol, sock=tunnel, ssl=context, server_hostname=hostname)
    else:
        transport = await hand_over(
            loop, tunnel, protocol, ssl_context=context, server_hostname=hostname, use_aiofastnet=use_aiofastnet
        )
        assert transport is protocol.transport
    return protocol


async def check_echo(protocol: Collector) -> None:
    """Send small and large messages through and back, then hang up."""
    assert protocol.transport is not None
    for size in (5, 1000, 300_000):
        message = bytes(i % 251 for i in range(size))
        protocol.transport.write(message)
        assert await protocol.read(size) == message
    protocol.transport.close()
    await protocol.was_lost.wait()


def connect(proxy: Union[TunnelServer, str], target: Union[TunnelServer, str], run: Runner, **kwargs: Any) -> Any:
    """connect_via_proxy with less to write. User info for the proxy goes into `user_info`."""
    user_info = kwargs.pop("user_info", "")
    proxy_url = check_proxy(proxy if isinstance(proxy, str) else proxy.url(user_info), kwargs.get("proxy_ssl_context"))
    assert proxy_url is not None
    target_url = parse_url(target if isinstance(target, str) else target.url())
    return connect_via_proxy(
        asyncio.get_running_loop(), proxy_url, target_url, use_aiofastnet=run.use_aiofastnet, **kwargs
    )


def proxy_context(scheme: str, certificates: Certificates) -> dict[str, Any]:
    return {"proxy_ssl_context": certificates.client} if scheme == "https" else {}


# -- Tunnels ----------------------------------------------------------------------------------------------------------


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
                await connect(proxy, f"ws://127.0.0.1:{unused_port()}", run, **proxy_context(scheme, certificates))
            await proxy.all_closed()

    run(main())


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# -- Answers of HTTP proxies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 299 \r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * (MAX_HEAD_SIZE - 24) + b"\r\n\r\n",
    ],
    ids=["usual", "HTTP/1.0", "no reason", "bytes behind the head", "longest head"],
)
def test_accepted_answers(run: Runner, head: bytes) -> None:
    assert len(head) <= MAX_HEAD_SIZE

    async def main() -> None:
        async with HTTPProxy(answer=head) as proxy:
            transport = await connect(proxy, "ws://a", run)
            transport.abort()
            await proxy.all_closed()

    run(main())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", "302 Found"),
        (b"HTTP/1.1 101 \r\n\r\n", "101"),
        (b"HTTP/1.1 500 \x1b[31m\xff\r\n\r\n", r"500 \x1b[31m\xff"),
        (b"HTTP/2 200 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1 \xb2\xb3\xb9 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1  200 OK\r\n\r\n", "status line"),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", "status line"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "status line"),
        (b"SSH-2.0-x", "status line"),
        (b"H1", "status line"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000, "more than 65536 bytes"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * (MAX_HEAD_SIZE - 23) + b"\r\n\r\n", "more than 65536 bytes"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_refused_answers(run: Runner, answer: bytes, error: str) -> None:
    async def main() -> None:
        async with HTTPProxy(answer=answer) as proxy:
            with pytest.raises(ProxyError) as caught:
                await connect(proxy, "ws://a", run, user_info="user:secret")
            assert error in str(caught.value)
            assert str(caught.value).isprintable()
            assert "secret" not in str(caught.value)
            await proxy.all_closed()

    run(main())


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["nothing", "half a head"])
def test_proxy_that_hangs_up(run: Runner, answer: bytes) -> None:
    async def main() -> None:
        async with HTTPProxy(answer=answer, hang_up=True) as proxy:
            with pytest.raises(ProxyError, match="closed the connection before it answered CONNECT a:80"):
                await connect(proxy, "ws://a", run)

    run(main())


@pytest.mark.parametrize("answer", [b"", b"\x05", b"\x00", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=ascii)
@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
def test_socks_proxy_that_makes_no_sense(run: Runner, certificates: Certificates, scheme: str, answer: bytes) -> None:
    async def main() -> None:
        async with make_proxy(scheme, certificates.server, answer=answer, hang_up=True) as proxy:
            with pytest.raises(ProxyError):
                await connect(proxy, "ws://127.0.0.1", run)
            await proxy.all_closed()

    run(main())


def test_proxy_that_speaks_before_it_is_asked() -> None:
    class Transport(asyncio.Transport):
        pauses = 0

        def pause_reading(self) -> None:
            self.pauses += 1

    async def main() -> None:
        protocol = http_tunnel._ConnectProtocol(asyncio.get_running_loop(), "proxy http://p", "a:80")
        transport = Transport()
        protocol.connection_made(transport)
        protocol.data_received(b"HTTP/1.1 503 Busy\r\n\r\n")
        protocol.data_received(b"and more, which TLS delivers although reading is paused")
        with pytest.raises(ProxyError, match="503 Busy"):
            await protocol.answer()
        protocol.connection_lost(None)
        assert transport.pauses == 1

    asyncio.run(main())


class ByteByByteProxy(HTTPProxy):
    """Writes each byte of its answer alone."""

    async def _confirm(self, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nA: \r \n\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)


def test_answer_in_single_bytes(run: Runner, certificates: Certificates) -> None:
    async def main() -> None:
        async with ByteByByteProxy() as proxy, EchoServer() as target:
            tunnel = await connect(proxy, target, run)
            await check_echo(await attach(tunnel, parse_url(target.url()), certificates, run.use_aiofastnet))

    run(main())


def test_bytes_behind_the_head_are_not_taken_for_the_target(run: Runner, certificates: Certificates) -> None:
    async def main() -> None:
        async with HTTPProxy() as proxy, EchoServer() as target:
            proxy.after_head = b"this is the proxy"
            tunnel = await connect(proxy, target, run)
            await check_echo(await attach(tunnel, parse_url(target.url()), certificates, run.use_aiofastnet))

    run(main())


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_L6_the_certificate_must_be_that_of_the_target(run: Runner, certificates: Certificates, scheme: str) -> None:
    if scheme == "https" and not run.has_tls_in_tls:
        pytest.skip("asyncio has TLS inside TLS since Python 3.11")
    # gh-113214: before 3.11.8 and 3.12.2 asyncio fails over its own error handling, and logs that.
    run.may_report = scheme == "https" and run.kind == "asyncio" and sys.version_info < (3, 12, 2)

    async def main() -> None:
        proxy_server = make_proxy(scheme, certificates.server)
        async with proxy_server as proxy, EchoServer(ssl_context=certificates.other) as target:
            url = parse_url(target.url())
            for hostname in (None, "localhost"):
                tunnel = await connect(proxy, target, run, **proxy_context(scheme, certificates))
                with pytest.raises(ssl.SSLCertVerificationError):
                    await attach(tunnel, url, certificates, run.use_aiofastnet, hostname)
                if isinstance(tunnel, socket.socket):
                    tunnel.close()
            tunnel = await connect(proxy, target, run, **proxy_context(scheme, certificates))
            await check_echo(await attach(tunnel, url, certificates, run.use_aiofastnet, "other.test"))
            await proxy.all_closed()
            assert target.received != b""

    run(main())


def test_L6_the_certificate_of_the_proxy_is_checked_too(run: Runner, certificates: Certificates) -> None:
    async def main() -> None:
        async with HTTPProxy(ssl_context=certificates.other) as proxy:
            with pytest.raises(ssl.SSLCertVerificationError):
                await connect(proxy, "ws://a", run, proxy_ssl_context=certificates.client)
            with pytest.raises(ssl.SSLCertVerificationError):  # the default context does not know the authority
                await connect(proxy, "ws://a", run)
            assert proxy.heads == []

    run(main())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_options_for_tls_with_the_target_are_withheld_from_the_proxy(
    run: Runner, certificates: Certificates, scheme: str
) -> None:
    async def main() -> None:
        options = {"server_hostname": "other.test", "ssl_handshake_timeout": -1, "family": socket.AF_INET}
        async with tunnel_to_echo(scheme, False, certificates.server) as (proxy, target):
            context = proxy_context(scheme, certificates)
            tunnel = await connect(proxy, target, run, create_connection_kwargs=options, **context)
            await check_echo(await attach(tunnel, parse_url(target.url()), certificates, run.use_aiofastnet))
        assert options == {"server_hostname": "other.test", "ssl_handshake_timeout": -1, "family": socket.AF_INET}

    run(main())


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


def test_tls_in_tls_is_refused_before_anything_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    run = Runner("asyncio")

    async def main() -> None:
        async with SilentServer() as proxy:
            with pytest.raises(RuntimeError, match="TLS inside TLS"):
                await connect(proxy, "wss://a", run)
            assert proxy.connections == 0

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
        https, http = (parse_url(url, check_scheme=False) for url in ("https://p", "http://p"))
        wss, ws = parse_url("wss://a"), parse_url("ws://a")
        check_tls_in_tls(loop, https, ws)
        check_tls_in_tls(loop, http, wss)
        check_tls_in_tls(loop, https, wss, use_aiofastnet=True)
        check_tls_in_tls(object(), https, wss)  # type: ignore[arg-type]
    finally:
        loop.close()


# -- Reaching the proxy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_proxy_that_cannot_be_reached(run: Runner, certificates: Certificates, scheme: str) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError if scheme.startswith("http") else ProxyConnectionError) as caught:
            await connect(f"{scheme}://127.0.0.1:{unused_port()}", "ws://a", run)
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
        port = unused_port()
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
                    address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", unused_port()))
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


# -- Socket factories -------------------------------------------------------------------------------------------------


def connected(url: WSParsedURL) -> socket.socket:
    return socket.create_connection((url.host, url.port))


def unconnected(url: WSParsedURL) -> socket.socket:
    return socket.socket()


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
        url = parse_url(f"ws://127.0.0.1:{unused_port()}")
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


# -- Cancellation -----------------------------------------------------------------------------------------------------


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


# -- Arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxy", "port"),
    [
        ("http://h", 80),
        ("HTTPS://h", 443),
        ("http://u:p@h:3128/", 3128),
        ("socks4://h", 1080),
        ("socks4a://u@h", 1080),
        ("socks5://u:p@h", 1080),
        ("socks5h://[::1]", 1080),
        ("socks5h://[::1]:1081", 1081),
        ("socks5://h:80", 80),
    ],
)
def test_check_proxy(proxy: str, port: int) -> None:
    url = check_proxy(proxy)
    assert url is not None
    assert (url.port, url.scheme) == (port, proxy.partition(":")[0].lower())


def test_check_proxy_without_proxy() -> None:
    assert check_proxy(None) is None
    assert check_proxy("https://h", ssl.create_default_context()) is not None


@pytest.mark.parametrize(
    ("proxy", "with_context", "error", "match"),
    [
        ("ftp://h", False, ValueError, "http, https, socks4.*got ftp"),
        ("ws://h", False, ValueError, "got ws"),
        ("socks://h", False, ValueError, "got socks"),
        ("h:3128", False, WSInvalidURL, "scheme"),
        ("http://", False, WSInvalidURL, "host"),
        ("http://h\r\nX: y", False, WSInvalidURL, "control character"),
        ("http://h", True, ValueError, "https proxies, got a proxy of the scheme http"),
        ("socks5://h", True, ValueError, "https proxies"),
        (None, True, ValueError, "https proxies, got no proxy"),
        (b"http://h", False, TypeError, "bytes"),
        ("socks5://user@h", False, ValueError, "password"),
        ("socks5://:pass@h", False, ValueError, "password"),
        ("socks5://us%C3%A9r:p@h", False, ValueError, "ASCII"),
        ("socks5://u:" + "p" * 256 + "@h", False, ValueError, "255"),
        ("socks4://" + "u" * 256 + "@h", False, ValueError, "255"),
    ],
)  # fmt: skip
def test_W6_wrong_proxy_arguments(proxy: Any, with_context: bool, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        check_proxy(proxy, ssl.create_default_context() if with_context else None)


def test_W6_wrong_proxy_ssl_context() -> None:
    with pytest.raises(TypeError, match="proxy_ssl_context must be an SSLContext or None, got bool"):
        check_proxy("https://h", True)  # type: ignore[arg-type]


def test_public_names_are_there() -> None:
    assert all(hasattr(proxy_module, name) for name in proxy_module.__all__)
