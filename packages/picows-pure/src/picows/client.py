"""ws_connect: from a URL to an open connection, or to an exception with everything closed."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import sys
from typing import Any, Callable, Optional, Tuple, Union

from ._engine import pick
from .abc import Engine, EngineListener, EngineTransport
from .enums import WSAutoPingStrategy
from .errors import WSHandshakeError, WSInvalidStatusError
from .handshake import ClientHandshake
from .http import WSHeadersLike, WSUpgradeRequest, WSUpgradeResponse, drop_credentials, header_pairs, hide_credentials
from .options import (
    DEFAULT_HANDSHAKE_TIMEOUT,
    NOT_GIVEN,
    ConnectionOptions,
    WSLoggerLike,
    check_callable,
    check_count,
    handshake_timeout,
    make_options,
)
from .proxy import (
    WSSocketFactory,
    check_proxy,
    check_tls_in_tls,
    connect_via_proxy,
    hand_over,
    open_socket,
    socket_from_factory,
)
from .transports import ADDRESS_OPTIONS, loop_method, resolve_aiofastnet
from .url import WSParsedURL, is_same_origin, parse_url, resolve_redirect

if sys.version_info >= (3, 11):
    from asyncio import timeout as timeout_after
else:
    from async_timeout import timeout as timeout_after

WSListenerFactory = Union[Callable[[], EngineListener], Callable[[WSUpgradeRequest, WSUpgradeResponse], EngineListener]]
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
#: What the URL says, or what ws_connect needs to decide itself.
_FORBIDDEN_KWARGS = ("ssl", "sock", "host", "port", "protocol_factory", "all_errors")


class ClientOpening:
    """The opening handshake of one connection; `done` gets its outcome (see `picows.abc.Opening`)."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, engine: Engine, handshake: ClientHandshake, factory: WSListenerFactory
    ) -> None:
        self.done: asyncio.Future[Tuple[Any, Any]] = loop.create_future()
        self._engine = engine
        self._handshake = handshake
        self._factory = factory
        self._protocol: Any = None

    def connection_made(self, protocol: Any) -> None:
        """Send the request."""
        self._protocol = protocol
        request = self._handshake.data_to_send()
        if protocol._is_debug:
            protocol.transport._log_bytes("sending request", hide_credentials(request))
        protocol.transport.underlying_transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Read the response; make the listener once it is valid."""
        handshake, protocol = self._handshake, self._protocol
        if self.done.done():
            return
        try:
            if not handshake.receive_data(data):
                return
            listener = _make_listener(self._engine, self._factory, handshake.request, handshake.response)
        except Exception as exc:
            self._fail(exc)
            return
        if self.done.done():  # the factory has cancelled us
            return
        self.done.set_result((protocol.transport, listener))
        protocol.open(listener, handshake.request, handshake.response, handshake.remainder)

    def eof_received(self) -> None:
        """The server hung up too early."""
        if not self.done.done():
            try:
                self._handshake.receive_eof()
            except WSHandshakeError as exc:
                self._fail(exc)

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        """The connection broke, or could not be set up."""
        if exc is None:
            self.eof_received()
        elif not self.done.done():
            self._fail(exc)

    def abandon(self) -> Optional[WSInvalidStatusError]:
        """Nobody waits any more: close. Returns a refusal of which only the end of the body is missing."""
        refusal = None
        # Cancelling the task that waits for it cancels `done` as well.
        if (self.done.cancelled() or not self.done.done()) and self._handshake.response is not None:
            try:
                self._handshake.receive_eof()
            except WSInvalidStatusError as exc:
                refusal = exc
            except WSHandshakeError:
                refusal = None
        if not self.done.cancel() and not self.done.cancelled():
            self.done.exception()  # it may be an exception that nobody has looked at
        if self._protocol is not None:
            self._protocol.abandon()
        return refusal

    def _fail(self, exc: BaseException) -> None:
        if isinstance(exc, StopIteration):  # futures refuse it, and coroutines make the same of it
            failure = RuntimeError("the listener factory raised StopIteration")
            failure.__cause__ = exc
            exc = failure
        self.done.set_exception(exc)
        if self._protocol is not None:
            self._protocol.transport.underlying_transport.close()


def _make_listener(engine: Engine, factory: Any, request: Any, response: Any) -> Any:
    """Call the factory with request and response, or without arguments if it takes none."""
    try:
        listener = factory(request, response)
    except TypeError as first:
        try:
            listener = factory()
        except TypeError:
            raise first from None
    if not isinstance(listener, engine.WSListener):
        raise TypeError(f"the listener factory must return a WSListener, got {type(listener).__name__}")
    return listener


class _Connector:
    """What stays the same over the redirects of one ws_connect call."""

    def __init__(self, engine: Engine, factory: WSListenerFactory, options: ConnectionOptions) -> None:
        self.loop = asyncio.get_running_loop()
        self.engine = engine
        self.factory = factory
        self.options = options
        self.ssl_context: Optional[ssl.SSLContext] = None
        self.proxy: Optional[WSParsedURL] = None
        self.proxy_ssl_context: Optional[ssl.SSLContext] = None
        self.socket_factory: Optional[WSSocketFactory] = None
        self.path: Optional[str] = None
        self.use_aiofastnet = False
        #: The server has refused, but the end of its answer did not come.
        self.refusal: Optional[WSInvalidStatusError] = None
        self.kwargs: dict[str, Any] = {}

    async def connect(
        self, url: WSParsedURL, headers: list[tuple[str, str]], max_redirects: int
    ) -> Tuple[EngineTransport, EngineListener]:
        """Connect, following redirects (RFC 6455 4.1 leaves that to us)."""
        while True:
            handshake = ClientHandshake(url, headers)
            try:
                return await self._connect_once(url, handshake)
            except WSInvalidStatusError as exc:
                response = exc.response
                if response is None or response.status not in _REDIRECTS or max_redirects <= 0:
                    raise
                location = response.headers.get("Location")
                if location is None:
                    raise WSHandshakeError(
                        f"redirect with status {int(response.status)} but without Location",
                        exc.raw_header,
                        exc.raw_body,
                        response,
                    ) from None
            target = resolve_redirect(url, location)
            if not is_same_origin(url, target):
                if self.path is not None:  # it leads to one server, whatever the URL says
                    raise WSHandshakeError(
                        f"redirect from {url.safe_url} to {target.safe_url}: path names a Unix socket, which allows "
                        "only redirects within an origin",
                        response=response,
                    )
                headers = drop_credentials(headers)
            self.options.logger.log(logging.INFO, "redirected to %s", target.safe_url)
            url, max_redirects = target, max_redirects - 1

    async def _connect_once(self, url: WSParsedURL, handshake: ClientHandshake) -> Tuple[Any, Any]:
        opening = ClientOpening(self.loop, self.engine, handshake, self.factory)

        is_plain = not self.use_aiofastnet and not url.is_secure

        def make_protocol() -> Any:
            return self.engine.make_protocol(self.loop, self.options, opening, is_plain=is_plain)

        try:
            await self._open(url, make_protocol)
            return await opening.done
        except BaseException:
            self.refusal = opening.abandon()
            raise

    async def _open(self, url: WSParsedURL, make_protocol: Callable[[], Any]) -> None:
        """Create the transport for the protocol."""
        kwargs = dict(self.kwargs)
        context = (self.ssl_context or ssl.create_default_context()) if url.is_secure else None
        if context is not None:
            kwargs["ssl"] = context
            if kwargs.get("server_hostname") is None:
                kwargs["server_hostname"] = url.tls_name
        create_connection = loop_method(self.loop, "create_connection", self.use_aiofastnet)
        if self.path is not None:
            create = loop_method(self.loop, "create_unix_connection", self.use_aiofastnet)
            await create(make_protocol, self.path, **_without_address(kwargs))
            return
        sock: Optional[socket.socket] = None
        if self.proxy is not None:
            tunnel = await connect_via_proxy(
                self.loop,
                self.proxy,
                url,
                proxy_ssl_context=self.proxy_ssl_context,
                socket_factory=self.socket_factory,
                create_connection_kwargs=self.kwargs,
                use_aiofastnet=self.use_aiofastnet,
            )
            if not isinstance(tunnel, socket.socket):
                await self._hand_over(tunnel, make_protocol, context, kwargs)
                return
            sock = tunnel
        elif self.socket_factory is not None:
            sock = await socket_from_factory(self.socket_factory, url, self.loop)
        if sock is None and self.use_aiofastnet and context is not None and "happy_eyeballs_delay" not in kwargs:
            sock = await open_socket(self.loop, url, kwargs)
        if sock is None:
            await create_connection(make_protocol, url.host, url.port, **kwargs)
        else:
            await self._use_socket(sock, make_protocol, _without_address(kwargs))

    async def _hand_over(
        self,
        tunnel: asyncio.Transport,
        make_protocol: Callable[[], Any],
        context: Optional[ssl.SSLContext],
        kwargs: dict[str, Any],
    ) -> None:
        try:
            protocol = make_protocol()
        except BaseException:
            tunnel.abort()
            raise
        options = {name: value for name, value in kwargs.items() if name.startswith("ssl_")}
        await hand_over(
            self.loop,
            tunnel,
            protocol,
            ssl_context=context,
            server_hostname=kwargs.get("server_hostname"),
            use_aiofastnet=self.use_aiofastnet,
            **options,
        )

    async def _use_socket(self, sock: socket.socket, make_protocol: Callable[[], Any], kwargs: dict[str, Any]) -> None:
        is_unix = hasattr(socket, "AF_UNIX") and sock.family == socket.AF_UNIX
        name = "create_unix_connection" if is_unix else "create_connection"
        is_handed_over = False

        def make_protocol_once() -> Any:
            nonlocal is_handed_over
            is_handed_over = True
            return make_protocol()

        try:
            await loop_method(self.loop, name, self.use_aiofastnet)(make_protocol_once, sock=sock, **kwargs)
        except BaseException:
            # From then on it belongs to a transport, which may still have it in the selector.
            if not is_handed_over:
                sock.close()
            raise


def _without_address(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments for a socket that is there already."""
    return {name: value for name, value in kwargs.items() if name not in ADDRESS_OPTIONS}


def _check_kwargs(kwargs: dict[str, Any], url: WSParsedURL) -> dict[str, Any]:
    for name in _FORBIDDEN_KWARGS:
        if name in kwargs:
            raise TypeError(f"ws_connect takes no argument {name!r}: see url, ssl_context and socket_factory")
    for name, value in kwargs.items():
        if value is not None and not url.is_secure and (name == "server_hostname" or name.startswith("ssl_")):
            raise ValueError(f"{name} is about TLS: it needs a wss URL, got {url.safe_url!r}")
    kwargs.pop("zero_copy_unsafe_ssl_write", None)  # deprecated upstream since 1.16
    return kwargs


async def ws_connect(
    ws_listener_factory: WSListenerFactory,
    url: str,
    *,
    ssl_context: Optional[ssl.SSLContext] = None,
    disconnect_on_exception: bool = True,
    websocket_handshake_timeout: Optional[float] = DEFAULT_HANDSHAKE_TIMEOUT,
    logger_name: WSLoggerLike = None,
    enable_auto_ping: bool = False,
    auto_ping_idle_timeout: float = 10,
    auto_ping_reply_timeout: float = 10,
    auto_ping_strategy: WSAutoPingStrategy = WSAutoPingStrategy.PING_WHEN_IDLE,
    enable_auto_pong: bool = True,
    max_frame_size: int = 10 * 1024 * 1024,
    extra_headers: Optional[WSHeadersLike] = None,
    max_redirects: int = 5,
    proxy: Optional[str] = None,
    proxy_ssl_context: Optional[ssl.SSLContext] = None,
    read_buffer_init_size: int = 16 * 1024,
    socket_factory: Optional[WSSocketFactory] = None,
    use_aiofastnet: Optional[bool] = None,
    open_timeout: Any = NOT_GIVEN,
    close_timeout: Optional[float] = 10,
    enable_auto_close: bool = False,
    strict: bool = False,
    write_coalescing: bool = True,
    max_write_buffer_size: Optional[int] = None,
    path: Optional[str] = None,
    engine: Optional[Engine] = None,
    **kwargs: Any,
) -> Tuple[Any, Any]:
    """Open a WebSocket connection (RFC 6455 4.1).

    Args:
        ws_listener_factory: called as `factory(request, response)` or `factory()` once the server has accepted;
            returns the listener.
        url: `ws://` or `wss://`. Credentials in it become `Authorization: Basic`.
        ssl_context: for wss; `ssl.create_default_context()` if None.
        disconnect_on_exception: close with 1011 when `on_ws_frame` raises; False only logs it.
        websocket_handshake_timeout: seconds for everything until the connection is open (name resolution, TCP,
            proxy, TLS, redirects, upgrade); None is no limit. `open_timeout` is its second name.
        logger_name: a Logger or LoggerAdapter, or the NAME in `picows.NAME`; `picows.client` if None.
        enable_auto_ping: ping the server by the following rules, and disconnect when it does not answer.
        auto_ping_idle_timeout: seconds without data before a ping, or between pings (see the strategy).
        auto_ping_reply_timeout: seconds to wait for the pong, at most the idle timeout.
        auto_ping_strategy: when to ping.
        enable_auto_pong: answer the server's pings; they are then not delivered.
        max_frame_size: close with 1009 when a data frame announces more bytes than this.
        extra_headers: further request headers; a `Host` among them replaces ours.
        max_redirects: how many redirects to follow. Credentials and a `Host` of yours are not sent to another origin.
        proxy: `http://`, `https://`, `socks4://`, `socks4a://`, `socks5://` or `socks5h://` URL.
        proxy_ssl_context: for an https proxy.
        read_buffer_init_size: bytes; has an effect only on loops that need a buffer for each connection (proactor).
        socket_factory: called with the URL (the proxy's, if there is one); returns a socket, or None for the usual way.
        use_aiofastnet: True uses aiofastnet's transports, False the loop's own, None aiofastnet's where it is
            installed, and can do the TLS: it has no `sni_callback` and no `keylog_filename` (SSLKEYLOGFILE).
        open_timeout: see `websocket_handshake_timeout`.
        close_timeout: seconds that the server has to answer our CLOSE and to hang up; None is no limit.
        enable_auto_close: answer a CLOSE that the listener leaves unanswered.
        strict: fail on what RFC 6455 forbids beyond single frames: reserved bits, order of fragments, text that is
            not UTF-8.
        write_coalescing: gather writes made while one read is processed (see `WSTransport.flush`).
        max_write_buffer_size: close with 1008 when more bytes than this wait to be sent; None is no limit.
        path: connect to this Unix socket; the URL then only says what is asked for. A redirect to another origin is a
            WSHandshakeError.
        engine: the implementation; for tests.
        kwargs: passed to `loop.create_connection`: family, local_addr, happy_eyeballs_delay; and for wss
            server_hostname (instead of the host's name, also after a redirect), ssl_handshake_timeout.

    Returns:
        The transport, and the listener that the factory returned. Frames may have been delivered before.

    Raises:
        WSInvalidURL, ValueError, TypeError: a bad argument; nothing was opened.
        WSHandshakeError: the server did not accept; see `picows.errors`.
        asyncio.TimeoutError: not open in time.
        OSError, ssl.SSLError: from the network.
        python_socks.ProxyError: the proxy refused.
        Exception: whatever the listener factory raised.
    """
    parsed = parse_url(url)
    headers = header_pairs(extra_headers)
    options = make_options(
        True,
        logger_name,
        enable_auto_ping=enable_auto_ping,
        auto_ping_strategy=auto_ping_strategy,
        auto_ping_idle_timeout=auto_ping_idle_timeout,
        auto_ping_reply_timeout=auto_ping_reply_timeout,
        disconnect_on_exception=disconnect_on_exception,
        enable_auto_pong=enable_auto_pong,
        enable_auto_close=enable_auto_close,
        strict=strict,
        max_frame_size=max_frame_size,
        close_timeout=close_timeout,
        write_coalescing=write_coalescing,
        max_write_buffer_size=max_write_buffer_size,
        read_buffer_init_size=read_buffer_init_size,
    )
    timeout_s = handshake_timeout(websocket_handshake_timeout, open_timeout)
    check_count("max_redirects", max_redirects)
    check_callable("ws_listener_factory", ws_listener_factory)
    check_callable("socket_factory", socket_factory, is_optional=True)
    if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
        raise TypeError(f"ssl_context must be an SSLContext or None, got {type(ssl_context).__name__}")
    connector = _Connector(pick(engine), ws_listener_factory, options)
    connector.ssl_context = ssl_context
    connector.proxy = check_proxy(proxy, proxy_ssl_context)
    connector.proxy_ssl_context = proxy_ssl_context
    connector.socket_factory = socket_factory
    connector.path = _check_path(path, proxy, socket_factory)
    connector.use_aiofastnet = resolve_aiofastnet(use_aiofastnet, (ssl_context, proxy_ssl_context))
    connector.kwargs = _check_kwargs(kwargs, parsed)
    if connector.proxy is not None:
        check_tls_in_tls(connector.loop, connector.proxy, parsed, connector.use_aiofastnet)
    clock = timeout_after(timeout_s)
    try:
        async with clock:
            return await connector.connect(parsed, headers, max_redirects)
    except asyncio.TimeoutError:
        if connector.refusal is not None:
            raise connector.refusal from None
        if _has_expired(clock):  # else it is the operating system's (ETIMEDOUT), or the factory's
            options.logger.log(logging.INFO, "%s was not open within %s s", parsed.safe_url, timeout_s)
        raise
    finally:
        del clock  # it has the task, and the traceback this frame: a cycle


def _has_expired(clock: Any) -> bool:
    expired = clock.expired  # a method of asyncio's, a property of async_timeout's
    return bool(expired() if callable(expired) else expired)


def _check_path(path: Any, proxy: Any, socket_factory: Any) -> Optional[str]:
    if path is None:
        return None
    if proxy is not None or socket_factory is not None:
        raise ValueError("path names a Unix socket: it excludes proxy and socket_factory")
    return str(os.fspath(path))
