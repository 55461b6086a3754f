"""HTTP CONNECT (RFC 9110 9.3.6), and what is done with the transport afterwards.

`open_http_tunnel` makes the transport, sends the request, and returns when the proxy has agreed. The transport is then
still bound to a small protocol of ours, and reading is paused, so that nothing can get lost before `hand_over` binds it
to the protocol that is to use it. While TLS with the target begins there is a stand-in: otherwise a hostile target
could send data to a protocol that has not seen `connection_made` yet.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import re
import socket
import ssl
from collections.abc import Awaitable
from typing import Any, Callable, Optional, cast

from .errors import WSHandshakeEOFError, WSHandshakeError
from .handshake import MAX_INTERIM_RESPONSES
from .url import WSParsedURL

#: A proxy's answer to CONNECT is at most this long, up to its empty line.
MAX_HEAD_SIZE = 64 * 1024

#: Arguments of create_connection that say how a name becomes a socket. They have no meaning with a socket.
_ADDRESS_OPTIONS = frozenset(
    ("family", "proto", "flags", "local_addr", "happy_eyeballs_delay", "interleave", "all_errors")
)
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})(?: ([^\r\n]*))?\r\n")
#: Of a response that another one follows (RFC 9110 15.2). 101 would end HTTP on this connection.
_INTERIM_STATUS = re.compile(rb"HTTP/1\.[0-9] 1(?!01)[0-9]{2}[ \r]")


def import_python_socks() -> Any:
    """The module; ImportError says what is needed. It is imported late because few connections have a proxy."""
    try:
        import python_socks.async_.asyncio
    except ImportError as exc:
        raise ImportError(f"proxies need python-socks[asyncio] 3.0 or newer: {exc}") from exc
    return python_socks


def proxy_error(message: str, status: Optional[int] = None) -> Exception:
    """A python_socks.ProxyError, of which `error_code` is the HTTP status, or what a SOCKS proxy has answered."""
    error: Exception = import_python_socks().ProxyError(message, error_code=status)
    return error


async def open_http_tunnel(
    loop: asyncio.AbstractEventLoop,
    proxy: WSParsedURL,
    target: WSParsedURL,
    sock: Optional[socket.socket],
    options: dict[str, Any],
    use_aiofastnet: bool,
) -> asyncio.Transport:
    """Connect to an http or https proxy and have it connect to the target.

    Args:
        loop: the running loop.
        proxy: where the proxy is, and the credentials for it.
        target: where the proxy is to connect to.
        sock: a connection to the proxy, closed by us on failure, or None.
        options: for `create_connection`, `ssl` and `server_hostname` of the proxy included.
        use_aiofastnet: the transport is made by aiofastnet.

    Returns:
        A transport for `hand_over`.
    """
    authority = _authority(target)
    request = _connect_request(authority, proxy)
    create_connection = _function(loop, "create_connection", use_aiofastnet)
    protocol = _ConnectProtocol(loop, f"proxy {proxy.safe_url}", authority)
    if sock is None:
        transport, _ = await create_connection(lambda: protocol, proxy.host, proxy.port, **options)
    else:
        options = {name: value for name, value in options.items() if name not in _ADDRESS_OPTIONS}
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            create_connection = _function(loop, "create_unix_connection", use_aiofastnet)
        try:
            transport, _ = await create_connection(protocol.claim_socket, sock=sock, **options)
        except BaseException:
            if not protocol.owns_socket:
                sock.close()
            raise
    try:
        transport.write(request)
        await protocol.answer()
    except BaseException:
        transport.abort()
        raise
    return cast("asyncio.Transport", transport)


def _function(loop: asyncio.AbstractEventLoop, name: str, use_aiofastnet: bool) -> Callable[..., Awaitable[Any]]:
    """A method of the loop, or aiofastnet's function of the same name."""
    if not use_aiofastnet:
        return cast("Callable[..., Awaitable[Any]]", getattr(loop, name))
    import aiofastnet

    return functools.partial(getattr(aiofastnet, name), loop)


def _authority(target: WSParsedURL) -> str:
    host = target.host.partition("%")[0]  # the zone of an IPv6 address means something on this machine only
    return f"[{host}]:{target.port}" if ":" in host else f"{host}:{target.port}"


def _connect_request(authority: str, proxy: WSParsedURL) -> bytes:
    """The head of the CONNECT request (RFC 9110 9.3.6), with the credentials of the proxy's URL (RFC 7617)."""
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.username is not None:
        credentials = f"{proxy.username}:{proxy.password or ''}".encode()
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(credentials).decode("ascii"))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


class _ConnectProtocol(asyncio.Protocol):
    """Waits for the head of the answer to CONNECT, and pauses reading after it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, proxy: str, authority: str) -> None:
        self._loop = loop
        self._proxy = proxy
        self._authority = authority
        self._transport: Optional[asyncio.Transport] = None
        self._head = bytearray()
        self._interim = 0
        self._is_done = False
        self._error: Optional[Exception] = None
        # Made only when somebody waits: an error in a future that nobody awaits would be logged.
        self._waiter: Optional[asyncio.Future[None]] = None
        self.owns_socket = False

    def claim_socket(self) -> _ConnectProtocol:
        """The protocol factory. Once it has run a transport owns the socket, and closes it."""
        self.owns_socket = True
        return self

    async def answer(self) -> None:
        """Return when the proxy has answered with 2xx; raise python_socks.ProxyError if it answers anything else."""
        if not self._is_done:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._error is not None:
            raise self._error

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._is_done:
            return  # belongs to the answer: the target does not speak before us
        searched = max(0, len(self._head) - 3)
        self._head += data
        while not self._is_done:
            end = self._head.find(b"\r\n\r\n", searched)
            if end + 4 > MAX_HEAD_SIZE or (end < 0 and len(self._head) > MAX_HEAD_SIZE):
                self._fail(f"answered CONNECT {self._authority} with a head of more than {MAX_HEAD_SIZE} bytes")
            elif end >= 0 and self._interim < MAX_INTERIM_RESPONSES and _INTERIM_STATUS.match(self._head):
                self._interim += 1
                del self._head[: end + 4]
                searched = 0
            elif end >= 0 or self._head[:7] != b"HTTP/1."[: len(self._head)]:
                self._check_status()
            else:
                return

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._transport = None
        if not self._is_done:
            detail = f": {exc}" if exc is not None else ""
            self._fail(f"closed the connection before it answered CONNECT {self._authority}{detail}", cause=exc)

    def _check_status(self) -> None:
        match = _STATUS_LINE.match(self._head)
        if match is None:
            line = ascii(bytes(self._head[:100]).partition(b"\r\n")[0])[1:]
            self._fail(f"answered CONNECT {self._authority} with something other than an HTTP/1 status line: {line}")
        elif match[1][:1] != b"2":
            reason = ascii((match[2] or b"").decode("latin-1")[:100])[1:-1]
            text = f"{match[1].decode()} {reason}".rstrip()
            self._fail(f"answered CONNECT {self._authority} with {text}", status=int(match[1]))
        else:
            self._finish()

    def _fail(self, what: str, status: Optional[int] = None, cause: Optional[BaseException] = None) -> None:
        self._error = proxy_error(f"{self._proxy} {what}", status)
        self._error.__cause__ = cause
        self._finish()

    def _finish(self) -> None:
        self._is_done = True
        self._head = bytearray()
        if self._transport is not None:
            self._transport.pause_reading()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _TooEarlyProtocol(asyncio.Protocol):
    """Stands in for the real protocol until the TLS handshake is complete; a target that speaks by then is at fault."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.is_lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data[: MAX_HEAD_SIZE - len(self.data)]

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self.is_lost = True


async def hand_over(
    loop: asyncio.AbstractEventLoop,
    transport: asyncio.Transport,
    protocol: asyncio.BaseProtocol,
    *,
    ssl_context: Optional[ssl.SSLContext] = None,
    server_hostname: Optional[str] = None,
    use_aiofastnet: bool = False,
    **ssl_options: Any,
) -> asyncio.Transport:
    """Give a transport of `connect_via_proxy` to the protocol that is to use it, with TLS to the target if wanted.

    Args:
        loop: the running loop.
        transport: closed by us on failure and on cancellation.
        protocol: its `connection_made` is called before we return.
        ssl_context: for wss; None is no TLS.
        server_hostname: the name that the target's certificate must have.
        use_aiofastnet: as for `connect_via_proxy`.
        ssl_options: `ssl_handshake_timeout` and the like.

    Returns:
        The transport that `protocol` was given: a new one with TLS, else the same.

    Raises:
        ssl.SSLError: the TLS handshake with the target failed.
        WSHandshakeError: the target hung up, or spoke before it was asked.
        python_socks.ProxyError: the proxy has closed the connection in the meantime.
    """
    outer = transport
    try:
        if transport.is_closing():
            raise proxy_error("the proxy closed the connection after it had answered CONNECT")
        if ssl_context is not None:
            transport = await _start_tls(loop, transport, ssl_context, server_hostname, use_aiofastnet, ssl_options)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if not transport.is_closing():
            transport.resume_reading()
    except BaseException:
        transport.abort()
        outer.abort()
        raise
    return transport


async def _start_tls(
    loop: asyncio.AbstractEventLoop,
    transport: asyncio.Transport,
    ssl_context: ssl.SSLContext,
    server_hostname: Optional[str],
    use_aiofastnet: bool,
    ssl_options: dict[str, Any],
) -> asyncio.Transport:
    stand_in = _TooEarlyProtocol()
    start_tls = _function(loop, "start_tls", use_aiofastnet)
    try:
        inner = await start_tls(transport, stand_in, ssl_context, server_hostname=server_hostname, **ssl_options)
    except TypeError as exc:
        # Inside another TLS, asyncio before 3.11.8 and 3.12.2 trips over its handling of TLS errors (gh-113214).
        if isinstance(exc.__context__, ssl.SSLError):
            raise exc.__context__ from None
        raise
    try:
        if stand_in.data:
            raise WSHandshakeError("the server sent data before the request", raw_body=bytes(stand_in.data))
        if stand_in.is_lost or inner.is_closing():
            raise WSHandshakeEOFError("the server closed the connection before the request")
    except BaseException:
        inner.abort()
        raise
    return cast("asyncio.Transport", inner)
