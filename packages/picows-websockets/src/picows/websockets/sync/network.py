"""From a URI to a connected socket: directly, over a Unix socket, through a proxy, with TLS.

Every function takes a deadline; the sockets that are returned have a timeout, which the connection replaces.
"""

from __future__ import annotations

import os
import socket
import ssl as ssl_module
from typing import Any, Literal, NamedTuple, cast

from picows.url import tls_name

from .._proxy_answer import SOCKS_RESOLVES, ProxyAnswer
from ..exceptions import InvalidProxyMessage, ProxyError
from ..proxy import Proxy, get_proxy, parse_proxy, prepare_connect_request
from ..uri import WebSocketURI
from .nested_tls import NestedTLS
from .utils import Deadline

_CHUNK = 65536


class ProxyOptions(NamedTuple):
    """How to use proxies."""

    proxy: str | Literal[True] | None
    ssl: ssl_module.SSLContext | None
    server_hostname: str | None
    user_agent: str | None


def open_socket(uri: WebSocketURI, options: ProxyOptions, kwargs: dict[str, Any], deadline: Deadline) -> socket.socket:
    """Open a connection over which a server can be spoken to, except for TLS.

    Args:
        uri: the server.
        options: the proxy.
        kwargs: for `socket.create_connection`; or `unix` and `path`.
        deadline: for all of it.

    Raises:
        ValueError: arguments do not fit together.
        OSError, ProxyError: no connection.
    """
    kwargs = dict(kwargs)
    if kwargs.pop("unix", False):
        return _open_unix(deadline, **kwargs)
    url = get_proxy(uri) if options.proxy is True else options.proxy
    if url is None:
        kwargs.setdefault("address", (uri.host, uri.port))
        return _connect(deadline, **kwargs)
    proxy = parse_proxy(url)
    if proxy.scheme.startswith("socks"):
        return connect_socks_proxy(proxy, uri, deadline, **kwargs)
    context = options.ssl
    if proxy.scheme == "https":
        context = context or ssl_module.create_default_context()
    elif context is not None:
        raise ValueError("proxy_ssl argument is incompatible with an http:// proxy")
    return connect_http_proxy(
        proxy,
        uri,
        deadline,
        user_agent_header=options.user_agent,
        ssl=context,
        server_hostname=options.server_hostname,
        **kwargs,
    )


def _connect(deadline: Deadline, *args: Any, **kwargs: Any) -> socket.socket:
    kwargs.setdefault("timeout", deadline.timeout())
    return socket.create_connection(*args, **kwargs)


def _open_unix(deadline: Deadline, path: Any = None) -> socket.socket:
    if path is None:
        raise ValueError("missing path argument")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(deadline.timeout())
        sock.connect(os.fspath(path))
    except BaseException:
        sock.close()
        raise
    return sock


def enable_tls(
    sock: socket.socket, context: ssl_module.SSLContext, server_hostname: str | None, deadline: Deadline
) -> socket.socket:
    """Do the TLS handshake of a client.

    Args:
        sock: connected; an SSLSocket gets TLS within its TLS. Belongs to the result if this succeeds.
        context: the settings.
        server_hostname: the name in the certificate.
        deadline: for the handshake.

    Returns:
        What to use in place of `sock`.

    Raises:
        ssl.SSLError: it failed.
        TimeoutError: it took too long.
    """
    sock.settimeout(deadline.timeout())
    if isinstance(sock, ssl_module.SSLSocket):
        return cast(socket.socket, NestedTLS(sock, context, server_hostname))
    return context.wrap_socket(sock, server_hostname=server_hostname)


def connect_http_proxy(
    proxy: Proxy,
    ws_uri: WebSocketURI,
    deadline: Deadline,
    *,
    user_agent_header: str | None = None,
    ssl: ssl_module.SSLContext | None = None,
    server_hostname: str | None = None,
    **kwargs: Any,
) -> socket.socket:
    """Connect to an HTTP proxy and have it connect to a server (RFC 9110 9.3.6).

    Args:
        proxy: where the proxy is, and the credentials for it.
        ws_uri: where the server is.
        deadline: for all of it.
        user_agent_header: of the request; None for none.
        ssl: for an https proxy.
        server_hostname: the name in its certificate; by default its host.
        kwargs: for `socket.create_connection`.

    Raises:
        InvalidProxyStatus: the proxy refuses.
        InvalidProxyMessage: it answers with something else than HTTP.
        OSError: no connection.
    """
    sock = _connect(deadline, (proxy.host, proxy.port), **kwargs)
    try:
        if ssl is not None:
            sock = enable_tls(sock, ssl, server_hostname or tls_name(proxy.host), deadline)
        sock.settimeout(deadline.timeout())
        sock.sendall(prepare_connect_request(proxy, ws_uri, user_agent_header))
        read_connect_response(sock, deadline)
    except BaseException:
        sock.close()
        raise
    return sock


def read_connect_response(sock: socket.socket, deadline: Deadline) -> None:
    """Read what a proxy answers.

    Raises:
        InvalidProxyStatus: the proxy refuses.
        InvalidProxyMessage: this is not HTTP.
        TimeoutError: it takes too long.
    """
    answer = ProxyAnswer()
    while True:
        try:
            sock.settimeout(deadline.timeout())
            data = sock.recv(_CHUNK)
        except TimeoutError:
            raise TimeoutError("timed out while connecting to HTTP proxy") from None
        except OSError as exc:
            raise InvalidProxyMessage("did not receive a valid HTTP response from proxy") from exc
        if answer.feed(data):
            return


def connect_socks_proxy(proxy: Proxy, ws_uri: WebSocketURI, deadline: Deadline, **kwargs: Any) -> socket.socket:
    """Connect to a SOCKS proxy and have it connect to a server.

    Args:
        proxy: where the proxy is, and the credentials for it.
        ws_uri: where the server is.
        deadline: for all of it.
        kwargs: for python-socks: `local_addr`, for example.

    Raises:
        ImportError: python-socks is not installed.
        ProxyError: the proxy refuses, or speaks something else.
        OSError: no connection.
    """
    try:
        import python_socks
        from python_socks.sync import Proxy as SocksProxy
    except ImportError:
        raise ImportError("connecting through a SOCKS proxy requires python-socks") from None
    kind = python_socks.ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else python_socks.ProxyType.SOCKS5
    rdns = SOCKS_RESOLVES[proxy.scheme]
    socks = SocksProxy(kind, proxy.host, proxy.port, proxy.username, proxy.password, rdns)
    kwargs.setdefault("timeout", deadline.timeout())
    try:
        return socks.connect(ws_uri.host, ws_uri.port, **kwargs)
    except (OSError, python_socks.ProxyConnectionError, python_socks.ProxyTimeoutError):
        raise
    except Exception as exc:
        raise ProxyError("failed to connect to SOCKS proxy") from exc
