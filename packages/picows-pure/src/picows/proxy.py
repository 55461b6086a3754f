"""The way to the target when there is a proxy or a socket of the user's: everything up to a byte stream, nothing after.

    check_proxy(...)                      before anything is opened
    tunnel = await connect_via_proxy(...)
    a socket (SOCKS):     create_connection(factory, sock=tunnel, ssl=...)
    a transport (HTTP):   await hand_over(loop, tunnel, protocol, ssl_context=...)

SOCKS is spoken by python-socks, on a socket that we connect and pass in as its first hop: so the user's socket
factory works, as do `family` and `local_addr`, and it is known who closes the socket. HTTP is spoken in `http_tunnel`,
on a transport, because an https proxy has no socket that could be given away.

No function has a timeout: the caller has one for the whole handshake. Whatever a function opened, or was given by a
socket factory, it closes when it fails or is cancelled. What it returned belongs to the caller.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import socket
import ssl
import sys
from collections.abc import Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Optional, Union, cast

from .http_tunnel import hand_over, import_python_socks, open_http_tunnel, proxy_error
from .url import WSParsedURL, parse_url

if TYPE_CHECKING:
    from python_socks.async_.asyncio import Proxy

__all__ = [
    "WSSocketFactory",
    "check_proxy",
    "check_tls_in_tls",
    "connect_via_proxy",
    "hand_over",
    "open_socket",
    "socket_from_factory",
]

#: Called with the URL that is to be connected to: the proxy's, where there is one. Returns a stream socket, which then
#: is ours, or None for the usual way. May be a coroutine function.
WSSocketFactory = Callable[[WSParsedURL], Union[socket.socket, None, Awaitable[Optional[socket.socket]]]]

_HTTP_SCHEMES = ("http", "https")
#: Scheme to (version, is the target's name resolved by the proxy).
_SOCKS_SCHEMES = {"socks4": (4, False), "socks4a": (4, True), "socks5": (5, True), "socks5h": (5, True)}
_SOCKS_PORT = 1080

#: python-socks takes no None for its timeout.
_NO_TIMEOUT_S = 365 * 24 * 3600.0


def check_proxy(proxy: Optional[str], proxy_ssl_context: Optional[ssl.SSLContext] = None) -> Optional[WSParsedURL]:
    """Validate the proxy arguments; nothing is opened.

    Args:
        proxy: URL with the scheme http, https, socks4, socks4a, socks5 or socks5h, or None.
        proxy_ssl_context: for https proxies only.

    Returns:
        The parsed URL, or None without a proxy. The default port of SOCKS is 1080.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: the URL is wrong (WSInvalidURL), its scheme or credentials cannot be used, or proxy_ssl_context is
            given with another proxy than an https one.
    """
    if proxy_ssl_context is not None and not isinstance(proxy_ssl_context, ssl.SSLContext):
        raise TypeError(f"proxy_ssl_context must be an SSLContext or None, got {type(proxy_ssl_context).__name__}")
    url = None
    if proxy is not None:
        if not isinstance(proxy, str):
            raise TypeError(f"proxy must be a str or None, got {type(proxy).__name__}")
        url = parse_url(proxy, check_scheme=False)
        if url.scheme in _SOCKS_SCHEMES:
            url = _check_socks(url)
        elif url.scheme not in _HTTP_SCHEMES:
            allowed = ", ".join((*_HTTP_SCHEMES, *_SOCKS_SCHEMES))
            raise ValueError(f"the scheme of a proxy must be one of {allowed}, got {url.scheme}")
        elif ":" in (url.username or ""):  # the proxy would take what follows it for the password
            raise ValueError("the user name for an http or https proxy must not contain a colon (RFC 7617 2)")
    if proxy_ssl_context is not None and (url is None or url.scheme != "https"):
        used = "no proxy" if url is None else f"a proxy of the scheme {url.scheme}"
        raise ValueError(f"proxy_ssl_context is for https proxies, got {used}")
    return url


def _check_socks(url: WSParsedURL) -> WSParsedURL:
    version, _ = _SOCKS_SCHEMES[url.scheme]
    username, password = url.username or "", url.password or ""
    # Otherwise python-socks would leave out a user name without password, and fail on the rest in the middle.
    if version == 5 and bool(username) != bool(password):
        raise ValueError("SOCKS5 credentials need a user name and a password (RFC 1929)")
    if not (username + password).isascii() or max(len(username), len(password)) > 255:
        raise ValueError("SOCKS credentials must be ASCII and at most 255 characters long")
    has_port = re.search(r":[0-9]+$", url.netloc) is not None
    return url if has_port else replace(url, port=_SOCKS_PORT)


def check_tls_in_tls(
    loop: asyncio.AbstractEventLoop, proxy: WSParsedURL, target: WSParsedURL, use_aiofastnet: bool = False
) -> None:
    """Raise RuntimeError if the target needs TLS inside the proxy's TLS, and this event loop cannot do that."""
    is_nested = proxy.scheme == "https" and target.is_secure
    # uvloop's loop is not a BaseEventLoop.
    if sys.version_info < (3, 11) and is_nested and not use_aiofastnet and isinstance(loop, asyncio.BaseEventLoop):
        raise RuntimeError(
            "wss:// through an https:// proxy is TLS inside TLS, which asyncio supports on Python 3.11 and newer only: "
            "use aiofastnet, uvloop or an http:// proxy"
        )


async def socket_from_factory(
    factory: WSSocketFactory, url: WSParsedURL, loop: asyncio.AbstractEventLoop
) -> Optional[socket.socket]:
    """Ask the user's factory for a socket, and connect it where it is not connected yet.

    Args:
        factory: called once, with `url`.
        url: where to connect to.
        loop: the running loop.

    Returns:
        A connected, non-blocking socket that belongs to the caller, or None if the factory returned None.

    Raises:
        TypeError: the factory returned something else. An ssl.SSLSocket is something else.
        ValueError: not a stream socket, or a Unix socket that is not connected.
        OSError: it could not be connected.
    """
    result: Any = factory(url)
    if inspect.isawaitable(result):
        result = await result
    if result is None:
        return None
    if not isinstance(result, socket.socket) or isinstance(result, ssl.SSLSocket):
        raise TypeError(f"socket_factory must return a socket.socket or None, got {type(result).__name__}")
    sock = result
    try:
        if sock.type != socket.SOCK_STREAM:
            raise ValueError(f"socket_factory must return a stream socket, got {sock.type!r}")
        sock.setblocking(False)
        if not _is_connected(sock):
            if sock.family not in (socket.AF_INET, socket.AF_INET6):
                raise ValueError(f"socket_factory must connect a socket of {sock.family!r} itself")
            await loop.sock_connect(sock, (url.host, url.port))
    except BaseException:
        sock.close()
        raise
    return sock


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


async def connect_via_proxy(
    loop: asyncio.AbstractEventLoop,
    proxy_url: WSParsedURL,
    target: WSParsedURL,
    *,
    proxy_ssl_context: Optional[ssl.SSLContext] = None,
    socket_factory: Optional[WSSocketFactory] = None,
    create_connection_kwargs: Optional[dict[str, Any]] = None,
    use_aiofastnet: bool = False,
) -> Union[socket.socket, asyncio.Transport]:
    """Connect to the target through a proxy.

    Args:
        loop: the running loop.
        proxy_url: from `check_proxy`.
        target: where the proxy is to connect to. The proxy learns its host and port, and nothing else.
        proxy_ssl_context: for https proxies; None is the default context.
        socket_factory: makes the connection to the proxy, if it wants to.
        create_connection_kwargs: `server_hostname` and those that begin with `ssl` are meant for the target and are not
            used here.
        use_aiofastnet: transports are made by aiofastnet.

    Returns:
        For SOCKS a connected, non-blocking socket. For http and https a transport for `hand_over`; reading is paused.
        Both belong to the caller. TLS with the target has not begun.

    Raises:
        python_socks.ProxyError: the proxy refuses, or does not speak its protocol.
        OSError: the proxy cannot be reached. For SOCKS it is a python_socks.ProxyConnectionError.
        RuntimeError: the event loop has no TLS inside TLS.
        ImportError: python-socks is missing or too old.
    """
    check_tls_in_tls(loop, proxy_url, target, use_aiofastnet)
    options = {
        name: value
        for name, value in (create_connection_kwargs or {}).items()
        if name != "server_hostname" and not name.startswith("ssl")
    }
    if proxy_url.scheme == "https":
        options["ssl"] = proxy_ssl_context or ssl.create_default_context()
        options["server_hostname"] = proxy_url.tls_name
    import_python_socks()
    sock = None
    if socket_factory is not None:
        sock = await socket_from_factory(socket_factory, proxy_url, loop)
    if proxy_url.scheme in _HTTP_SCHEMES:
        if sock is None and proxy_url.is_secure and use_aiofastnet:
            sock = await open_socket(loop, proxy_url, options)
        return await open_http_tunnel(loop, proxy_url, target, sock, options, use_aiofastnet)
    if sock is None:
        sock = await _open_socket_to_socks(loop, proxy_url, options)
    return await _open_socks_tunnel(loop, proxy_url, target, sock)


async def _open_socket_to_socks(
    loop: asyncio.AbstractEventLoop, proxy: WSParsedURL, options: dict[str, Any]
) -> socket.socket:
    """As `open_socket`, with the exception by which users of python-socks know that they cannot reach it."""
    try:
        return await open_socket(loop, proxy, options)
    except OSError as exc:
        message = f"cannot connect to proxy {proxy.safe_url}: {exc}"
        raise import_python_socks().ProxyConnectionError(exc.errno, message) from exc


class _FirstHop:
    """What python-socks takes as the proxy before the proxy (`forward`): it answers with a socket that is connected."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def connect(self, dest_host: str, dest_port: int, timeout: Optional[float] = None) -> socket.socket:
        return self._sock


async def _open_socks_tunnel(
    loop: asyncio.AbstractEventLoop, proxy: WSParsedURL, target: WSParsedURL, sock: socket.socket
) -> socket.socket:
    python_socks = import_python_socks()
    version, is_resolved_by_proxy = _SOCKS_SCHEMES[proxy.scheme]
    try:
        client = python_socks.async_.asyncio.Proxy(
            python_socks.ProxyType.SOCKS5 if version == 5 else python_socks.ProxyType.SOCKS4,
            proxy.host,
            proxy.port,
            proxy.username,
            proxy.password,
            is_resolved_by_proxy,
            forward=cast("Proxy", _FirstHop(sock)),
            loop=loop,
        )
        await client.connect(target.host, target.port, timeout=_NO_TIMEOUT_S)
    except python_socks.ProxyError as exc:
        sock.close()
        what = f"proxy {proxy.safe_url} was asked for {target.host}:{target.port}: {exc}"
        raise proxy_error(what, exc.error_code) from exc
    except socket.gaierror:  # the name of the target, which socks4 resolves here
        sock.close()
        raise
    except OSError as exc:
        sock.close()
        raise proxy_error(f"the connection to proxy {proxy.safe_url} broke: {exc}") from exc
    except BaseException:
        sock.close()
        raise
    return sock


async def open_socket(
    loop: asyncio.AbstractEventLoop, url: WSParsedURL, options: Optional[dict[str, Any]] = None
) -> socket.socket:
    """Connect a socket to the first address of a host that answers.

    It is for aiofastnet's transports over TLS as well. aiofastnet 1.2, when cancelled during the TLS handshake, closes
    a socket that it made itself under the transport, and leaves the descriptor in the selector for the next connection
    that gets its number to trip over. A socket that is passed in is left to the transport.

    Args:
        loop: the running loop.
        url: its host and port are connected to.
        options: those of `create_connection`, of which `family`, `proto`, `flags` and `local_addr` are used.

    Returns:
        A non-blocking socket that belongs to the caller.

    Raises:
        OSError: (socket.gaierror included) the error of the first address.
    """
    options = options or {}
    hints = {name: options[name] for name in ("family", "proto", "flags") if name in options}
    failures: list[OSError] = []
    try:
        for family, _, proto, _, address in await loop.getaddrinfo(
            url.host, url.port, type=socket.SOCK_STREAM, **hints
        ):
            try:
                return await _open_address(loop, family, proto, address, options.get("local_addr"))
            except OSError as exc:
                failures.append(exc)
        raise failures[0] if failures else OSError(f"{url.host} has no address")
    finally:
        failures.clear()  # their tracebacks refer to this frame


async def _open_address(
    loop: asyncio.AbstractEventLoop, family: int, proto: int, address: Any, local_addr: Any
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, proto)
    try:
        sock.setblocking(False)
        if local_addr is not None:
            local = await loop.getaddrinfo(*local_addr, family=family, type=socket.SOCK_STREAM, proto=proto)
            sock.bind(local[0][4])
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
