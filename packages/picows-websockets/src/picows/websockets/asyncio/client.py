"""The client: `connect`, in all the ways in which it can be used, and what it returns."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from types import TracebackType
from typing import Any, Literal

from picows._engine import engine
from picows.transports import resolve_aiofastnet

from .._redirects import MAX_REDIRECTS, follow_redirect
from ..client import ClientProtocol, backoff, process_exception
from ..datastructures import HeadersLike
from ..exceptions import SecurityError
from ..extensions.base import ClientExtensionFactory
from ..extensions.permessage_deflate import enable_client_permessage_deflate
from ..headers import validate_subprotocols
from ..http11 import USER_AGENT
from ..protocol import CONNECTING
from ..typing import LoggerLike, Origin, PathLike, Subprotocol
from ..uri import WebSocketURI, parse_uri
from .connection import Connection
from .limits import check_options
from .network import Route, open_connection
from .opening import ClientOpening, engine_options

__all__ = ["connect", "unix_connect", "ClientConnection"]

_logger = logging.getLogger("websockets.client")


class ClientConnection(Connection):
    """A client's side of a connection; `connect` returns it.

    Args:
        protocol: a ClientProtocol.
        ping_interval: as for Connection, like all others.
        ping_timeout: see Connection.
        close_timeout: see Connection.
        max_queue: see Connection.
        write_limit: see Connection.
    """

    protocol: ClientProtocol

    def __init__(
        self,
        protocol: ClientProtocol,
        *,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        max_queue: int | None | tuple[int | None, int | None] = 16,
        write_limit: int | tuple[int, int | None] = 2**15,
    ) -> None:
        super().__init__(
            protocol,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_queue=max_queue,
            write_limit=write_limit,
        )
        self._opening: ClientOpening | None = None

    async def handshake(
        self, additional_headers: HeadersLike | None = None, user_agent_header: str | None = USER_AGENT
    ) -> None:
        """Send the request and wait for the response. `connect` does that.

        Args:
            additional_headers: added to the request.
            user_agent_header: of the request, unless `additional_headers` have one; None for none.

        Raises:
            InvalidHandshake: the server refused, or answered with something else.
        """
        opening = self._opening
        if opening is None or self.request is not None:
            raise RuntimeError("handshake() is called by connect(), once")
        try:
            request = self.protocol.connect()
            if additional_headers is not None:
                request.headers.update(additional_headers)
            if user_agent_header is not None:
                request.headers.setdefault("User-Agent", user_agent_header)
            self.request = request
            opening.send_request(request)
            await opening.done
        finally:
            self._opening = None
            opening.abandon()


class connect:
    """Connect to a server.

        connection = await connect(uri)
        async with connect(uri) as connection: ...      closes it at the end
        async for connection in connect(uri): ...       connects again when it is lost

    Args:
        uri: ws:// or wss://.
        origin: value of the Origin header.
        extensions: to negotiate, in order of preference.
        subprotocols: to negotiate, in order of preference.
        compression: "deflate" adds permessage-deflate to the extensions; None does not.
        additional_headers: added to the request.
        user_agent_header: of the request; None for none.
        proxy: URL of a proxy; True for the one that the environment or the operating system names; None for none.
        process_exception: decides in `async for` whether a failed attempt is repeated: it returns None to repeat, or
            what to raise.
        open_timeout: seconds that opening may take; None for ever.
        ping_interval: seconds between keepalive pings; None for none.
        ping_timeout: seconds to wait for a pong; None for ever.
        close_timeout: seconds that closing may take; None for ever.
        reconnect_delays: returns a generator of the seconds between attempts in `async for`.
        max_size: bytes that a message may have, or (message, fragment); None for no limit.
        max_queue: frames that wait for `recv` before reading pauses, or (high, low); None never pauses.
        write_limit: bytes in the write buffer above which `send` waits, or (high, low).
        logger: `logging.getLogger("websockets.client")` by default.
        create_connection: a subclass of ClientConnection, or a function that makes one.
        kwargs: for the event loop's `create_connection`: `ssl`, `server_hostname`, `sock`, `host`, `port`,
            `local_addr` and others; those that begin with `proxy_` are meant for an https proxy.

    Raises:
        InvalidURI: the URI.
        InvalidProxy, ProxyError: the proxy.
        OSError: the network.
        InvalidHandshake: the server refused, or answered with something else.
        TimeoutError: opening took too long.
    """

    def __init__(
        self,
        uri: str,
        *,
        origin: Origin | None = None,
        extensions: Sequence[ClientExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        compression: str | None = "deflate",
        additional_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        proxy: str | Literal[True] | None = True,
        process_exception: Callable[[Exception], Exception | None] = process_exception,
        open_timeout: float | None = 10,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        reconnect_delays: Callable[[], Generator[float]] = backoff,
        max_size: int | None | tuple[int | None, int | None] = 2**20,
        max_queue: int | None | tuple[int | None, int | None] = 16,
        write_limit: int | tuple[int, int | None] = 2**15,
        logger: LoggerLike | None = None,
        create_connection: type[ClientConnection] | None = None,
        **kwargs: Any,
    ) -> None:
        check_options(max_size, max_queue, write_limit)
        if subprotocols is not None:
            validate_subprotocols(subprotocols)
        if compression == "deflate":
            extensions = enable_client_permessage_deflate(extensions)
        elif compression is not None:
            raise ValueError(f"unsupported compression: {compression}")
        self.uri = uri
        self.ws_uri = parse_uri(uri)
        if not self.ws_uri.secure and kwargs.get("ssl") is not None:
            raise ValueError("ssl argument is incompatible with a ws:// URI")
        self.additional_headers = additional_headers
        self.user_agent_header = user_agent_header
        self.proxy = proxy
        self.process_exception = process_exception
        self.open_timeout = open_timeout
        self.reconnect_delays = reconnect_delays
        self.logger: LoggerLike = _logger if logger is None else logger
        self.create_connection_kwargs = kwargs
        self.connection: ClientConnection
        make_connection = ClientConnection if create_connection is None else create_connection
        uses_aiofastnet = resolve_aiofastnet(None, (kwargs.get("ssl"), kwargs.get("proxy_ssl")))
        log = self.logger  # `factory` must not know us: we have it
        # By `protocol.debug`: the level of a logger may change between two connections.
        options = engine_options(True, max_size, False), engine_options(True, max_size, True)

        def factory(uri: WebSocketURI, loop: asyncio.AbstractEventLoop) -> tuple[ClientConnection, Any]:
            protocol = ClientProtocol(
                uri,
                origin=origin,
                extensions=extensions,
                subprotocols=subprotocols,
                state=CONNECTING,
                max_size=max_size,
                logger=log,
            )
            connection = make_connection(
                protocol,
                ping_interval=ping_interval,
                ping_timeout=ping_timeout,
                close_timeout=close_timeout,
                max_queue=max_queue,
                write_limit=write_limit,
            )
            connection._opening = ClientOpening(connection, loop)
            is_plain = not uses_aiofastnet and not uri.secure
            chosen = options[protocol.debug]
            return connection, engine.make_protocol(loop, chosen, connection._opening, None, is_plain)

        self.factory = factory
        self._uses_aiofastnet = uses_aiofastnet

    async def open_tcp_connection(self) -> ClientConnection:
        """Open the TCP connection, through a proxy and with TLS where that is wanted."""
        loop = asyncio.get_running_loop()
        connection: list[ClientConnection] = []

        def make_protocol() -> Any:
            made, protocol = self.factory(self.ws_uri, loop)
            connection.append(made)
            return protocol

        route = Route(self.ws_uri, self.proxy, self.user_agent_header, self.create_connection_kwargs)
        try:
            await open_connection(loop, route, make_protocol, self._uses_aiofastnet)
        except BaseException:
            for made in connection:
                if made._opening is not None:  # nobody will call its handshake()
                    made._opening.abandon()
            raise
        return connection[-1]

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Decide whether a failed handshake is a redirect to follow.

        Returns:
            The new URI, or the exception to raise.
        """
        kwargs = self.create_connection_kwargs
        fixed = None
        if kwargs.get("unix"):
            fixed = "a Unix socket"
        elif kwargs.get("host") is not None or kwargs.get("port") is not None:
            fixed = "an explicit host or port"
        return follow_redirect(self, exc, kwargs.get("sock") is not None, fixed)

    async def connect(self) -> ClientConnection:
        """What awaiting does."""
        try:
            async with asyncio.timeout(self.open_timeout):
                for _ in range(MAX_REDIRECTS):
                    connection = await self.open_tcp_connection()
                    try:
                        await connection.handshake(self.additional_headers, self.user_agent_header)
                    except BaseException as exc:
                        connection.transport.abort()
                        if not isinstance(exc, Exception):
                            raise
                        redirect = self.process_redirect(exc)
                        if redirect is exc:
                            raise
                        if isinstance(redirect, Exception):
                            raise redirect from exc
                        self.uri, self.ws_uri = redirect, parse_uri(redirect)
                    else:
                        return connection
                raise SecurityError(f"more than {MAX_REDIRECTS} redirects")
        except TimeoutError as exc:
            raise TimeoutError("timed out during opening handshake") from exc

    def __await__(self) -> Generator[Any, None, ClientConnection]:
        return self.connect().__await__()

    async def __aenter__(self) -> ClientConnection:
        if hasattr(self, "connection"):
            raise RuntimeError("connect() isn't reentrant")
        self.connection = await self
        return await self.connection.__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        connection = self.connection
        del self.connection
        await connection.__aexit__(exc_type, exc_value, traceback)

    async def __aiter__(self) -> AsyncIterator[ClientConnection]:
        delays: Generator[float] | None = None
        while True:
            try:
                await self.__aenter__()
            except Exception as exc:
                self._decide(exc)
                delays = self.reconnect_delays() if delays is None else delays
                delay = next(delays)
                reason = traceback.format_exception_only(exc)[0].strip()
                self.logger.info("connect failed; reconnecting in %.1f seconds: %s", delay, reason)
                await asyncio.sleep(delay)
                continue
            delays = None
            try:
                yield self.connection
            except BaseException as exc:
                await self.__aexit__(type(exc), exc, exc.__traceback__)
                raise
            await self.__aexit__(None, None, None)

    def _decide(self, exc: Exception) -> None:
        """Return if another attempt is to be made."""
        try:
            answer = self.process_exception(exc)
        except Exception as raised:
            if raised is exc:
                raise
            raise raised from exc
        if answer is exc:
            raise exc
        if answer is not None:
            raise answer from exc


def unix_connect(path: PathLike | None = None, uri: str | None = None, **kwargs: Any) -> connect:
    """Connect to a server that listens on a Unix socket.

    Args:
        path: of the socket.
        uri: whose host is what the server is asked for; `ws://localhost/`, or `wss://` where there is `ssl`.
        kwargs: as for `connect`.
    """
    if uri is None:
        uri = "ws://localhost/" if kwargs.get("ssl") is None else "wss://localhost/"
    return connect(uri, unix=True, path=path, **kwargs)
