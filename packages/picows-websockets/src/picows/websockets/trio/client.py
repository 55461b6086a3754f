"""The client: `connect`, and what it returns."""

from __future__ import annotations

import ssl as ssl_module
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from types import TracebackType
from typing import Any, Literal

import trio

from picows.url import tls_name

from .._connector import BaseConnector, local_uri, prepare_request
from .._redirects import MAX_REDIRECTS as MAX_REDIRECTS
from .._redirects import follow_redirect
from ..client import ClientProtocol, backoff, process_exception
from ..datastructures import HeadersLike
from ..extensions.base import ClientExtensionFactory
from ..http11 import USER_AGENT, Response
from ..protocol import Event
from ..typing import LoggerLike, Origin, PathLike, Subprotocol
from .connection import Connection
from .hosting import Host
from .network import ProxyOptions, enable_tls, open_stream

__all__ = ["connect", "unix_connect", "ClientConnection"]


class ClientConnection(Connection):
    """A client's side of a connection; `connect` gives it.

    Args:
        nursery: for the tasks of the connection.
        stream: connected; closed at the end.
        protocol: a ClientProtocol.
        ping_interval: as for Connection, like all others.
        ping_timeout: see Connection.
        close_timeout: see Connection.
        max_queue: see Connection.
    """

    protocol: ClientProtocol

    def __init__(
        self,
        nursery: trio.Nursery,
        stream: trio.abc.Stream,
        protocol: ClientProtocol,
        *,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        max_queue: int | None | tuple[int | None, int | None] = 16,
    ) -> None:
        super().__init__(
            nursery,
            stream,
            protocol,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_queue=max_queue,
        )

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
        protocol = self.protocol
        request = self.request = prepare_request(protocol, additional_headers, user_agent_header)
        protocol.send_request(request)
        self._writer.queue += protocol.data_to_send()
        await self._writer.flush()  # should that fail, reading tells
        early: list[Event] = []
        while self.response is None and protocol.handshake_exc is None:
            early = await self._receive_handshake()
            for event in early[:1]:
                if isinstance(event, Response):
                    self.response = event
                    del early[0]
        if protocol.handshake_exc is not None:
            raise protocol.handshake_exc
        self._start(early)


class connect(BaseConnector[ClientConnection]):
    """Connect to a server, once or again when the connection is lost.

        async with connect(uri) as connection: ...      connects once
        async for connection in connect(uri): ...       connects again when the body of the loop has ended

    It cannot be awaited: a connection has tasks, which trio wants to belong to a block.

    Args:
        uri: ws:// or wss://.
        stream: connected to the server already; it then is the connection's.
        ssl: the settings for wss://; the standard library's by default.
        server_hostname: the name in the server's certificate; by default the host of the URI.
        origin: value of the Origin header.
        extensions: to negotiate, in order of preference.
        subprotocols: to negotiate, in order of preference.
        compression: "deflate" adds permessage-deflate to the extensions; None does not.
        additional_headers: added to the request.
        user_agent_header: of the request; None for none.
        proxy: URL of a proxy; True for the one that the environment or the operating system names; None for none.
        proxy_ssl: the settings for an https proxy.
        proxy_server_hostname: the name in its certificate; by default its host.
        process_exception: decides whether a failed attempt is repeated: it returns None to repeat, or what to raise.
        open_timeout: seconds that opening may take; None for ever.
        ping_interval: seconds between keepalive pings; None for none.
        ping_timeout: seconds to wait for a pong; None for ever.
        close_timeout: seconds that closing may take; None for ever.
        reconnect_delays: returns a generator of the seconds between attempts.
        max_size: bytes that a message may have, or (message, fragment); None for no limit.
        max_queue: frames that wait for `recv` before reading pauses, or (high, low); None never pauses.
        logger: `logging.getLogger("websockets.client")` by default.
        create_connection: a subclass of ClientConnection, or a function that makes one.
        kwargs: for `trio.open_tcp_stream`: `host` and `port` instead of those in the URI, for example.

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
        stream: trio.abc.Stream | None = None,
        ssl: ssl_module.SSLContext | None = None,
        server_hostname: str | None = None,
        origin: Origin | None = None,
        extensions: Sequence[ClientExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        compression: str | None = "deflate",
        additional_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        proxy: str | Literal[True] | None = True,
        proxy_ssl: ssl_module.SSLContext | None = None,
        proxy_server_hostname: str | None = None,
        process_exception: Callable[[Exception], Exception | None] = process_exception,
        open_timeout: float | None = 10,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        reconnect_delays: Callable[[], Generator[float]] = backoff,
        max_size: int | None | tuple[int | None, int | None] = 2**20,
        max_queue: int | None | tuple[int | None, int | None] = 16,
        logger: LoggerLike | None = None,
        create_connection: type[ClientConnection] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            uri,
            ssl=ssl,
            server_hostname=server_hostname,
            origin=origin,
            extensions=extensions,
            subprotocols=subprotocols,
            compression=compression,
            additional_headers=additional_headers,
            user_agent_header=user_agent_header,
            proxy=proxy,
            proxy_ssl=proxy_ssl,
            proxy_server_hostname=proxy_server_hostname,
            process_exception=process_exception,
            open_timeout=open_timeout,
            reconnect_delays=reconnect_delays,
            max_size=max_size,
            logger=logger,
            create_connection=ClientConnection if create_connection is None else create_connection,
            connection_kwargs={
                "ping_interval": ping_interval,
                "ping_timeout": ping_timeout,
                "close_timeout": close_timeout,
                "max_queue": max_queue,
            },
        )
        self.stream = stream
        self.open_tcp_stream_kwargs = kwargs
        self._block: Any = None

    async def open_tcp_stream(self) -> trio.abc.Stream:
        """Open the TCP connection, through a proxy where that is wanted."""
        if self.stream is not None:
            return self.stream
        options = ProxyOptions(self.proxy, self.proxy_ssl, self.proxy_server_hostname, self.user_agent_header)
        return await open_stream(self.ws_uri, options, self.open_tcp_stream_kwargs)

    async def enable_tls(self, stream: trio.abc.Stream) -> trio.abc.Stream:
        """Add TLS to a TCP connection."""
        return await enable_tls(stream, self._tls_context(), self.server_hostname or tls_name(self.ws_uri.host))

    async def open_connection(self, nursery: trio.Nursery) -> ClientConnection:
        """Connect, without following redirects. The connection's tasks run in the nursery."""
        stream = await self.open_tcp_stream()
        try:
            if self.ws_uri.secure:
                stream = await self.enable_tls(stream)
            connection = self.create_connection(nursery, stream, self._make_protocol(), **self.connection_kwargs)
            await connection.handshake(self.additional_headers, self.user_agent_header)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return connection

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Decide whether a failed handshake is a redirect to follow.

        Returns:
            The new URI, or the exception to raise.
        """
        fixed, kwargs = None, self.open_tcp_stream_kwargs
        if kwargs.get("unix"):
            fixed = "a Unix socket"
        elif kwargs.get("host") is not None or kwargs.get("port") is not None:
            fixed = "an explicit host or port"
        return follow_redirect(self, exc, self.stream is not None, fixed, "stream")

    async def connect(self, nursery: trio.Nursery) -> ClientConnection:
        """Connect once, and follow redirects. The connection's tasks run in the nursery."""
        attempts = 0
        try:
            with trio.fail_after(float("inf") if self.open_timeout is None else self.open_timeout):
                while True:
                    attempts += 1
                    try:
                        return await self.open_connection(nursery)
                    except Exception as exc:
                        self._follow(exc, attempts)
        except trio.TooSlowError as exc:
            raise TimeoutError("timed out during opening handshake") from exc

    async def __aenter__(self) -> ClientConnection:
        self._begin()
        self._block = trio.open_nursery()
        nursery = await self._block.__aenter__()
        try:
            self.connection = await self.connect(nursery)
            return await self.connection.__aenter__()
        except BaseException:
            await self._leave()
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        connection = self.__dict__.pop("connection")
        try:
            await connection.__aexit__(exc_type, exc_value, traceback)
        finally:
            await self._leave()

    async def _leave(self) -> None:
        """Leave the nursery. It is not told of an exception in the block, of which it would make an ExceptionGroup."""
        self.__dict__.pop("connection", None)
        block, self._block = self._block, None
        await block.__aexit__(None, None, None)

    async def __aiter__(self) -> AsyncIterator[ClientConnection]:
        delays: Generator[float] | None = None
        while True:
            self._begin()
            host = Host()
            try:
                try:
                    self.connection = await self.connect(await host.open())
                except Exception as exc:
                    self._decide(exc)
                    host.abandon()
                    delays = self.reconnect_delays() if delays is None else delays
                    delay = next(delays)
                    self._log_retry(exc, delay)
                    await trio.sleep(delay)
                    continue
                delays = None
                try:
                    yield await self.connection.__aenter__()
                except BaseException as exc:
                    await self.connection.__aexit__(type(exc), exc, exc.__traceback__)
                    raise
                await self.connection.__aexit__(None, None, None)
                await host.close()
            finally:
                self.__dict__.pop("connection", None)
                host.abandon()


def unix_connect(path: PathLike | None = None, uri: str | None = None, **kwargs: Any) -> connect:
    """Connect to a server that listens on a Unix socket.

    Args:
        path: of the socket.
        uri: whose host is what the server is asked for; `ws://localhost/`, or `wss://` where there is `ssl`.
        kwargs: as for `connect`.
    """
    return connect(local_uri(uri, kwargs), unix=True, path=path, **kwargs)
