"""From a URI to a TCP connection: directly, over a Unix socket, through a proxy, with TLS.

The work is that of `picows.transports` and `picows.proxy`; HTTP proxies are spoken to here, because their errors carry
this API's Response.
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import ssl as ssl_module
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from picows.http_tunnel import hand_over
from picows.proxy import connect_via_proxy
from picows.transports import ADDRESS_OPTIONS, loop_method
from picows.url import WSParsedURL, parse_url, tls_name

from .._proxy_answer import SOCKS_RESOLVES
from ..exceptions import ProxyError
from ..headers import build_host
from ..proxy import Proxy, get_proxy, parse_proxy
from ..uri import WebSocketURI
from .tunnel import open_http_tunnel

ProtocolFactory = Callable[[], Any]


class Route(NamedTuple):
    """Where to connect, and how."""

    uri: WebSocketURI
    proxy: str | Literal[True] | None
    user_agent: str | None
    #: The user's arguments for `create_connection`.
    kwargs: dict[str, Any]


async def open_connection(
    loop: asyncio.AbstractEventLoop, route: Route, make_protocol: ProtocolFactory, uses_aiofastnet: bool
) -> None:
    """Connect a protocol of the engine.

    Raises:
        ValueError: `ssl` is None for a wss:// URI, or the arguments for a proxy do not fit it.
        OSError, ProxyError: no connection.
    """
    uri = route.uri
    kwargs = dict(route.kwargs)
    _arrange_tls(uri, kwargs)
    if kwargs.pop("unix", False):
        await loop_method(loop, "create_unix_connection", uses_aiofastnet)(make_protocol, **kwargs)
        return
    if kwargs.get("sock") is not None:
        method = "create_connection"
        if hasattr(socket, "AF_UNIX") and kwargs["sock"].family == socket.AF_UNIX and uses_aiofastnet:
            method = "create_unix_connection"
        await loop_method(loop, method, uses_aiofastnet)(make_protocol, **kwargs)
        return
    proxy = get_proxy(uri) if route.proxy is True else route.proxy
    if proxy is not None:
        await _open_via_proxy(loop, route, parse_proxy(proxy), kwargs, make_protocol, uses_aiofastnet)
        return
    kwargs.setdefault("host", uri.host)
    kwargs.setdefault("port", uri.port)
    await loop_method(loop, "create_connection", uses_aiofastnet)(make_protocol, **kwargs)


def _arrange_tls(uri: WebSocketURI, kwargs: dict[str, Any]) -> None:
    if uri.secure:
        kwargs.setdefault("ssl", True)
        kwargs.setdefault("server_hostname", tls_name(uri.host))
        if kwargs["ssl"] is None:
            raise ValueError("ssl=None is incompatible with a wss:// URI")
        if kwargs["ssl"] is True:
            kwargs["ssl"] = ssl_module.create_default_context()


async def _open_via_proxy(
    loop: asyncio.AbstractEventLoop,
    route: Route,
    proxy: Proxy,
    kwargs: dict[str, Any],
    make_protocol: ProtocolFactory,
    uses_aiofastnet: bool,
) -> None:
    context = kwargs.pop("ssl", None)
    server_hostname = kwargs.pop("server_hostname", None)
    tls = {name: kwargs.pop(name) for name in list(kwargs) if name.startswith("ssl_")}
    if proxy.scheme.startswith("socks"):
        sock = await _open_socks(loop, proxy, route.uri, kwargs)
        options = {name: value for name, value in kwargs.items() if name not in ADDRESS_OPTIONS}
        options.update(tls)
        if context is not None:
            options.update(ssl=context, server_hostname=server_hostname)
        try:
            await loop_method(loop, "create_connection", uses_aiofastnet)(make_protocol, sock=sock, **options)
        except BaseException:
            sock.close()
            raise
        return
    for_proxy = {name[6:]: kwargs.pop(name) for name in list(kwargs) if name.startswith("proxy_")}
    if proxy.scheme == "https":
        for_proxy.setdefault("ssl", True)
        for_proxy.setdefault("server_hostname", tls_name(proxy.host))
        if for_proxy["ssl"] is None:
            raise ValueError("proxy_ssl=None is incompatible with an https:// proxy")
        if for_proxy["ssl"] is True:
            for_proxy["ssl"] = ssl_module.create_default_context()
    elif for_proxy.get("ssl") is not None:
        raise ValueError("proxy_ssl argument is incompatible with an http:// proxy")
    kwargs.update(for_proxy)
    transport = await open_http_tunnel(loop, proxy, route.uri, route.user_agent, kwargs, uses_aiofastnet)
    await hand_over(
        loop,
        transport,
        make_protocol(),
        ssl_context=context,
        server_hostname=server_hostname,
        use_aiofastnet=uses_aiofastnet,
        **tls,
    )


async def _open_socks(
    loop: asyncio.AbstractEventLoop, proxy: Proxy, uri: WebSocketURI, kwargs: dict[str, Any]
) -> socket.socket:
    try:
        import python_socks
    except ImportError:
        raise ImportError("connecting through a SOCKS proxy requires python-socks") from None
    try:
        host = uri.host if SOCKS_RESOLVES[proxy.scheme] else await _resolve(loop, uri)
        target = _target(uri, host)
        tunnel = await connect_via_proxy(loop, _engine_url(proxy), target, create_connection_kwargs=kwargs)
    except (OSError, python_socks.ProxyConnectionError):
        raise
    except Exception as exc:
        raise ProxyError("failed to connect to SOCKS proxy") from exc
    if not isinstance(tunnel, socket.socket):
        raise TypeError(f"a SOCKS tunnel must be a socket, got {type(tunnel).__name__}")
    return tunnel


def _engine_url(proxy: Proxy) -> WSParsedURL:
    """A proxy for `picows.proxy`."""
    url = parse_url(f"http://{build_host(proxy.host, proxy.port, False, always_include_port=True)}", check_scheme=False)
    return dataclasses.replace(url, scheme=proxy.scheme, username=proxy.username, password=proxy.password)


def _target(uri: WebSocketURI, host: str) -> WSParsedURL:
    """A server for `picows.proxy`, which leaves a name to the proxy where the scheme is socks5."""
    scheme = "wss" if uri.secure else "ws"
    return parse_url(f"{scheme}://{build_host(host, uri.port, uri.secure, always_include_port=True)}/")


async def _resolve(loop: asyncio.AbstractEventLoop, uri: WebSocketURI) -> str:
    """An address of a server, of IPv4 if it has one. Raises socket.gaierror."""
    found = await loop.getaddrinfo(uri.host, uri.port, type=socket.SOCK_STREAM)
    _, _, _, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    return str(address[0])
