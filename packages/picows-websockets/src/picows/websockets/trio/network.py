"""From a URI to a connected stream: directly, over a Unix socket, through a proxy, with TLS.

Nothing here limits the time: the caller does.
"""

from __future__ import annotations

import os
import ssl as ssl_module
from typing import Any, Literal, NamedTuple

import trio

from picows.url import tls_name

from .._proxy_answer import SOCKS_RESOLVES, ProxyAnswer
from ..exceptions import ProxyError
from ..proxy import Proxy, get_proxy, parse_proxy, prepare_connect_request
from ..uri import WebSocketURI

_CHUNK = 65536


class ProxyOptions(NamedTuple):
    """How to use proxies."""

    proxy: str | Literal[True] | None
    ssl: ssl_module.SSLContext | None
    server_hostname: str | None
    user_agent: str | None


async def open_stream(uri: WebSocketURI, options: ProxyOptions, kwargs: dict[str, Any]) -> trio.abc.Stream:
    """Open a connection over which a server can be spoken to, except for TLS.

    Args:
        uri: the server.
        options: the proxy.
        kwargs: for `trio.open_tcp_stream`; or `unix` and `path`.

    Raises:
        ValueError: arguments do not fit together.
        OSError, ProxyError: no connection.
    """
    kwargs = dict(kwargs)
    if kwargs.pop("unix", False):
        return await _open_unix(**kwargs)
    url = get_proxy(uri) if options.proxy is True else options.proxy
    if url is None:
        kwargs.setdefault("host", uri.host)
        kwargs.setdefault("port", uri.port)
        return await trio.open_tcp_stream(**kwargs)
    proxy = parse_proxy(url)
    if proxy.scheme.startswith("socks"):
        return await connect_socks_proxy(proxy, uri, **kwargs)
    context = options.ssl
    if proxy.scheme == "https":
        context = context or ssl_module.create_default_context()
    elif context is not None:
        raise ValueError("proxy_ssl argument is incompatible with an http:// proxy")
    return await connect_http_proxy(
        proxy,
        uri,
        user_agent_header=options.user_agent,
        ssl=context,
        server_hostname=options.server_hostname,
        **kwargs,
    )


async def _open_unix(path: Any = None) -> trio.abc.Stream:
    if path is None:
        raise ValueError("missing path argument")
    return await trio.open_unix_socket(os.fspath(path))


async def enable_tls(
    stream: trio.abc.Stream, context: ssl_module.SSLContext, server_hostname: str | None
) -> trio.abc.Stream:
    """Do the TLS handshake of a client.

    Args:
        stream: connected; may have TLS already.
        context: the settings.
        server_hostname: the name in the certificate.

    Returns:
        What to use in place of `stream`; to be closed by the caller.

    Raises:
        trio.BrokenResourceError: it failed; its cause is what the standard library says.
    """
    encrypted = trio.SSLStream(stream, context, server_hostname=server_hostname)
    await encrypted.do_handshake()
    return encrypted


async def connect_http_proxy(
    proxy: Proxy,
    ws_uri: WebSocketURI,
    *,
    user_agent_header: str | None = None,
    ssl: ssl_module.SSLContext | None = None,
    server_hostname: str | None = None,
    **kwargs: Any,
) -> trio.abc.Stream:
    """Connect to an HTTP proxy and have it connect to a server (RFC 9110 9.3.6).

    Args:
        proxy: where the proxy is, and the credentials for it.
        ws_uri: where the server is.
        user_agent_header: of the request; None for none.
        ssl: for an https proxy.
        server_hostname: the name in its certificate; by default its host.
        kwargs: for `trio.open_tcp_stream`.

    Raises:
        InvalidProxyStatus: the proxy refuses.
        InvalidProxyMessage: it answers with something else than HTTP.
        OSError: no connection.
    """
    stream: trio.abc.Stream = await trio.open_tcp_stream(proxy.host, proxy.port, **kwargs)
    try:
        if ssl is not None:
            stream = await enable_tls(stream, ssl, server_hostname or tls_name(proxy.host))
        await stream.send_all(prepare_connect_request(proxy, ws_uri, user_agent_header))
        answer = ProxyAnswer()
        while not answer.feed(bytes(await stream.receive_some(_CHUNK))):
            pass
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def connect_socks_proxy(proxy: Proxy, ws_uri: WebSocketURI, **kwargs: Any) -> trio.abc.Stream:
    """Connect to a SOCKS proxy and have it connect to a server.

    Args:
        proxy: where the proxy is, and the credentials for it.
        ws_uri: where the server is.
        kwargs: for python-socks.

    Raises:
        ImportError: python-socks is not installed.
        ProxyError: the proxy refuses, or speaks something else.
        OSError: no connection.
    """
    try:
        import python_socks
        from python_socks.async_.trio import Proxy as SocksProxy
    except ImportError:
        raise ImportError("connecting through a SOCKS proxy requires python-socks") from None
    kind = python_socks.ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else python_socks.ProxyType.SOCKS5
    rdns = SOCKS_RESOLVES[proxy.scheme]
    socks = SocksProxy(kind, proxy.host, proxy.port, proxy.username, proxy.password, rdns)
    try:
        sock = await socks.connect(ws_uri.host, ws_uri.port, **kwargs)
    except (OSError, python_socks.ProxyConnectionError, python_socks.ProxyTimeoutError):
        raise
    except Exception as exc:
        raise ProxyError("failed to connect to SOCKS proxy") from exc
    return trio.SocketStream(sock)
