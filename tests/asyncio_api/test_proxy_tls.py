"""TLS with proxies and through them: whose certificate is checked, and what TLS inside TLS needs."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys

import pytest
from fixtures.certificates import Certificates
from fixtures.proxies import (
    EchoServer,
    HTTPProxy,
    SilentServer,
    make_proxy,
    tunnel_to_echo,
)
from fixtures.tunnels import (
    Runner,
    attach,
    check_echo,
    connect,
    proxy_context,
)

from picows.proxy import check_tls_in_tls
from picows.url import parse_url


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
