"""What proxies answer: accepted, refused, broken off, nonsense."""

from __future__ import annotations

import asyncio

import pytest
from fixtures.certificates import Certificates
from fixtures.proxies import (
    EchoServer,
    HTTPProxy,
    make_proxy,
)
from fixtures.tunnels import (
    Runner,
    attach,
    check_echo,
    connect,
)
from python_socks import ProxyError

from picows import http_tunnel
from picows.http_tunnel import MAX_HEAD_SIZE
from picows.url import parse_url


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 299 \r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * (MAX_HEAD_SIZE - 24) + b"\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\nA: b\r\n\r\nHTTP/1.1 100\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 8 + b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["usual", "HTTP/1.0", "no reason", "bytes behind the head", "longest head", "interim", "most interim"],
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
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 407 No\r\n\r\n", "407 No"),
        (b"HTTP/1.1 100 Continue\r\n\r\nSSH-2.0-x", "status line"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + b"HTTP/1.1 200 OK\r\n\r\n", "100 Continue"),
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
        for byte in b"HTTP/1.1 102 \r\nA: \r\n\r\nHTTP/1.1 200 OK\r\nA: \r \n\r\n\r\n":
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
