"""The client: `connect` and `reconnect`, and what they return."""

from __future__ import annotations

import socket
import ssl as ssl_module
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Self

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
from .network import ProxyOptions, enable_tls, open_socket
from .utils import Deadline

__all__ = ["connect", "unix_connect", "reconnect", "unix_reconnect", "ClientConnection"]

_USE_WITH = (
    "connect() must be used as a context manager: with connect(...) as websocket: ...; alternatively, "
    "use websocket = connect(..., legacy=True) to connect directly"
)


class ClientConnection(Connection):
    """A client's side of a connection; `connect` returns it.

    Args:
        sock: connected; closed at the end.
        protocol: a ClientProtocol.
        ping_interval: as for Connection, like all others.
        ping_timeout: see Connection.
        close_timeout: see Connection.
        max_queue: see Connection.
    """

    protocol: ClientProtocol

    def __init__(
        self,
        sock: socket.socket,
        protocol: ClientProtocol,
        *,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        max_queue: int | None | tuple[int | None, int | None] = 16,
    ) -> None:
        #: Whether using it outside of `with` is to be complained about, once.
        self.pending_legacy_warning = False
        super().__init__(
            sock,
            protocol,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_queue=max_queue,
        )

    def __enter__(self) -> Self:
        self.pending_legacy_warning = False
        return self

    def maybe_raise_legacy_warning(self) -> None:
        """Warn, once, who uses `connect` without `with`."""
        if self.pending_legacy_warning:
            self.pending_legacy_warning = False
            warnings.warn(_USE_WITH, DeprecationWarning, stacklevel=3)

    def handshake(
        self,
        additional_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        timeout: float | None = None,
    ) -> None:
        """Send the request and wait for the response. `connect` does that.

        Args:
            additional_headers: added to the request.
            user_agent_header: of the request, unless `additional_headers` have one; None for none.
            timeout: seconds; None for ever.

        Raises:
            InvalidHandshake: the server refused, or answered with something else.
            TimeoutError: it took too long.
        """
        deadline = Deadline(timeout)
        protocol = self.protocol
        request = self.request = prepare_request(protocol, additional_headers, user_agent_header)
        protocol.send_request(request)
        self._writes += protocol.data_to_send()
        if not self._flush(timeout) and isinstance(self.connection_exc, OSError):
            raise self.connection_exc
        early: list[Event] = []
        while self.response is None and protocol.handshake_exc is None:
            try:
                early = self._receive_handshake(deadline)
            except TimeoutError:
                raise TimeoutError("timed out while waiting for handshake response") from None
            for event in early[:1]:
                if isinstance(event, Response):
                    self.response = event
                    del early[0]
        if protocol.handshake_exc is not None:
            raise protocol.handshake_exc
        self._start(early)


class reconnect(BaseConnector[ClientConnection]):
    """Connect to a server, and again when the connection is lost.

        with reconnect(uri) as connection: ...      connects once
        for connection in reconnect(uri): ...       connects again when the body of the loop has ended

    Args:
        process_exception: decides whether a failed attempt is repeated: it returns None to repeat, or what to raise.
        reconnect_delays: returns a generator of the seconds between attempts.
        uri: as for `connect`, like all others.
        sock: see `connect`.
        ssl: see `connect`.
        server_hostname: see `connect`.
        origin: see `connect`.
        extensions: see `connect`.
        subprotocols: see `connect`.
        compression: see `connect`.
        additional_headers: see `connect`.
        user_agent_header: see `connect`.
        proxy: see `connect`.
        proxy_ssl: see `connect`.
        proxy_server_hostname: see `connect`.
        open_timeout: see `connect`.
        ping_interval: see `connect`.
        ping_timeout: see `connect`.
        close_timeout: see `connect`.
        max_size: see `connect`.
        max_queue: see `connect`.
        logger: see `connect`.
        create_connection: see `connect`.
        kwargs: see `connect`.
    """

    def __init__(
        self,
        uri: str,
        *,
        sock: socket.socket | None = None,
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
        if "ssl_context" in kwargs:
            warnings.warn("ssl_context was renamed to ssl", DeprecationWarning, stacklevel=2)
            ssl = kwargs.pop("ssl_context")
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
        self.sock = sock
        self.open_socket_kwargs = kwargs

    def open_socket(self, deadline: Deadline) -> socket.socket:
        """Open the TCP connection, through a proxy where that is wanted."""
        if self.sock is not None:
            return self.sock
        options = ProxyOptions(self.proxy, self.proxy_ssl, self.proxy_server_hostname, self.user_agent_header)
        return open_socket(self.ws_uri, options, self.open_socket_kwargs, deadline)

    def enable_tls(self, sock: socket.socket, deadline: Deadline) -> socket.socket:
        """Add TLS to a TCP connection."""
        return enable_tls(sock, self._tls_context(), self.server_hostname or tls_name(self.ws_uri.host), deadline)

    def open_connection(self, deadline: Deadline) -> ClientConnection:
        """Connect, without following redirects."""
        sock = self.open_socket(deadline)
        try:
            if sock.family != getattr(socket, "AF_UNIX", None):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            if self.ws_uri.secure:
                sock = self.enable_tls(sock, deadline)
            connection = self.create_connection(sock, self._make_protocol(), **self.connection_kwargs)
            connection.handshake(self.additional_headers, self.user_agent_header, deadline.timeout())
        except BaseException:
            sock.close()
            raise
        return connection

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Decide whether a failed handshake is a redirect to follow.

        Returns:
            The new URI, or the exception to raise.
        """
        fixed = None
        if self.open_socket_kwargs.get("unix"):
            fixed = "a Unix socket"
        elif self.open_socket_kwargs.get("address") is not None:
            fixed = "an explicit host and port"
        return follow_redirect(self, exc, self.sock is not None, fixed)

    def connect(self) -> ClientConnection:
        """Connect once, and follow redirects."""
        deadline = Deadline(self.open_timeout)
        attempts = 0
        while True:
            attempts += 1
            try:
                return self.open_connection(deadline)
            except Exception as exc:
                self._follow(exc, attempts)

    def __enter__(self) -> ClientConnection:
        self._begin()
        self.connection = self.connect()
        return self.connection.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        connection = self.__dict__.pop("connection")
        connection.__exit__(exc_type, exc_value, exc_traceback)

    def __iter__(self) -> Iterator[ClientConnection]:
        delays: Generator[float] | None = None
        while True:
            try:
                self.__enter__()
            except Exception as exc:
                self._decide(exc)
                delays = self.reconnect_delays() if delays is None else delays
                delay = next(delays)
                self._log_retry(exc, delay)
                time.sleep(delay)
                continue
            delays = None
            try:
                yield self.connection
            except BaseException as exc:
                self.__exit__(type(exc), exc, exc.__traceback__)
                raise
            self.__exit__(None, None, None)


def connect(
    uri: str,
    *,
    sock: socket.socket | None = None,
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
    open_timeout: float | None = 10,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float | None = 10,
    max_size: int | None | tuple[int | None, int | None] = 2**20,
    max_queue: int | None | tuple[int | None, int | None] = 16,
    logger: LoggerLike | None = None,
    create_connection: type[ClientConnection] | None = None,
    legacy: bool | None = None,
    **kwargs: Any,
) -> ClientConnection | reconnect:
    """Connect to a server: `with connect(uri) as connection: ...`.

    Args:
        uri: ws:// or wss://.
        sock: connected to the server already; it then is the connection's.
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
        open_timeout: seconds that opening may take; None for ever.
        ping_interval: seconds between keepalive pings; None for none.
        ping_timeout: seconds to wait for a pong; None for ever.
        close_timeout: seconds that closing may take; None for ever.
        max_size: bytes that a message may have, or (message, fragment); None for no limit.
        max_queue: frames that wait for `recv` before reading pauses, or (high, low); None never pauses.
        logger: `logging.getLogger("websockets.client")` by default.
        create_connection: a subclass of ClientConnection, or a function that makes one.
        legacy: True allows use outside of `with`, which is deprecated otherwise; False returns a `reconnect`, which
            connects in `with`.
        kwargs: for `socket.create_connection`: `address`, `source_address`, `timeout`.

    Raises:
        InvalidURI: the URI.
        InvalidProxy, ProxyError: the proxy.
        OSError: the network.
        InvalidHandshake: the server refused, or answered with something else.
        TimeoutError: opening took too long.
    """
    connector = reconnect(
        uri,
        sock=sock,
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
        open_timeout=open_timeout,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
        max_size=max_size,
        max_queue=max_queue,
        logger=logger,
        create_connection=create_connection,
        **kwargs,
    )
    if legacy is False:
        return connector
    connection = connector.connect()
    if legacy is None:
        connection.pending_legacy_warning = True
    return connection


def unix_reconnect(path: PathLike | None = None, uri: str | None = None, **kwargs: Any) -> reconnect:
    """Connect to a server that listens on a Unix socket, and again when the connection is lost.

    Args:
        path: of the socket.
        uri: whose host is what the server is asked for; `ws://localhost/`, or `wss://` where there is `ssl`.
        kwargs: as for `reconnect`.
    """
    return reconnect(local_uri(uri, kwargs), unix=True, path=path, **kwargs)


def unix_connect(
    path: PathLike | None = None, uri: str | None = None, *, legacy: bool | None = None, **kwargs: Any
) -> ClientConnection | reconnect:
    """Connect to a server that listens on a Unix socket.

    Args:
        path: of the socket.
        uri: whose host is what the server is asked for; `ws://localhost/`, or `wss://` where there is `ssl`.
        legacy: as for `connect`.
        kwargs: as for `connect`.
    """
    return connect(local_uri(uri, kwargs), unix=True, path=path, legacy=legacy, **kwargs)
