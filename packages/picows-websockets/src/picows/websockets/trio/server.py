"""The server: `serve`, the server that it gives, and its connections, each of which has a task for its handler."""

from __future__ import annotations

import logging
import re
import socket
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self, cast

import trio

from .._payloads import check_goodbye
from ..asyncio.auth import basic_auth as basic_auth
from ..extensions.base import ServerExtensionFactory
from ..extensions.permessage_deflate import enable_server_permessage_deflate
from ..frames import CloseCode
from ..headers import validate_subprotocols
from ..http11 import SERVER, Request, Response
from ..protocol import OPEN
from ..server import ServerProtocol
from ..typing import LoggerLike, Origin, StatusLike, Subprotocol
from ..utils import get_socket_name
from .accepting import accept
from .broadcast import broadcast as broadcast
from .connection import Connection
from .serving import Acceptance, Registry

__all__ = ["broadcast", "serve", "ServerConnection", "Server", "basic_auth"]


class ServerConnection(Connection):
    """A server's side of a connection; handlers get it.

    Args:
        nursery: for the tasks of the connection.
        stream: connected; closed at the end.
        protocol: a ServerProtocol.
        server: the Server that accepted it.
        ping_interval: as for Connection, like all others.
        ping_timeout: see Connection.
        close_timeout: see Connection.
        max_queue: see Connection.

    Attributes:
        username: who `basic_auth` let in.
        handler: what `route` has found for the URL.
        handler_kwargs: with the parameters in the URL.
    """

    protocol: ServerProtocol
    username: str
    handler: Callable[..., Any]
    handler_kwargs: Any

    def __init__(
        self,
        nursery: trio.Nursery,
        stream: trio.abc.Stream,
        protocol: ServerProtocol,
        server: Server,
        *,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        max_queue: int | None | tuple[int | None, int | None] = 16,
    ) -> None:
        self.server = server
        self._awaiting_request = trio.CancelScope()
        super().__init__(
            nursery,
            stream,
            protocol,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_queue=max_queue,
        )

    def respond(self, status: StatusLike, text: str) -> Response:
        """A plain text response, for `process_request` and `process_response` to return.

        Args:
            status: the HTTP status.
            text: the body.
        """
        return self.protocol.reject(status, text)

    async def handshake(
        self,
        process_request: Callable[[ServerConnection, Request], Awaitable[Response | None] | Response | None]
        | None = None,
        process_response: Callable[[ServerConnection, Request, Response], Awaitable[Response | None] | Response | None]
        | None = None,
        server_header: str | None = SERVER,
    ) -> None:
        """Wait for the request and send the response. `serve` does that; afterwards look at `state`.

        Args:
            process_request: as for `serve`, like all others.
            process_response: see `serve`.
            server_header: see `serve`.
        """
        early = await accept(self, process_request, process_response, server_header)
        if self.protocol.state is OPEN:
            self._start(early)


class Server(trio.abc.AsyncResource):
    """A listening server; `serve` gives it to `nursery.start`.

    Args:
        listeners: closed by `aclose`.
        handler: called in a task with each stream that was accepted.
        logger: `logging.getLogger("websockets.server")` by default.

    Attributes:
        listeners: as given.
        handler: as given.
        logger: as given.
    """

    def __init__(
        self,
        listeners: list[trio.SocketListener],
        handler: Callable[[trio.abc.Stream], Coroutine[Any, Any, None]],
        logger: LoggerLike | None = None,
    ) -> None:
        self.listeners = listeners
        self.handler = handler
        self.logger: LoggerLike = logging.getLogger("websockets.server") if logger is None else logger
        self._registry = Registry()
        self._is_closing = False
        self._accepting = trio.CancelScope()
        self._serving = trio.CancelScope()

    @property
    def connections(self) -> set[ServerConnection]:
        """The open connections."""
        return {connection for connection in self._registry.connections if connection.protocol.state is OPEN}

    async def serve_forever(self, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept connections until `aclose` is called, or this is cancelled, which cancels handlers.

        Args:
            task_status: for `nursery.start`; it gets the server once that accepts connections.
        """
        with self._serving:
            await self._serve(task_status)

    async def _serve(self, task_status: trio.TaskStatus[Server]) -> None:
        async with trio.open_nursery() as handlers:
            for listener in self.listeners:
                self.logger.info("server listening on %s", get_socket_name(cast(socket.socket, listener.socket)))
            task_status.started(self)
            with self._accepting:
                await trio.serve_listeners(self._handle, self.listeners, handler_nursery=handlers)

    async def _handle(self, stream: trio.abc.Stream) -> None:
        with self._registry.running():
            await self.handler(stream)

    async def aclose(
        self, close_connections: bool = True, code: CloseCode | int = CloseCode.GOING_AWAY, reason: str = ""
    ) -> None:
        """Stop listening, refuse handshakes in progress with HTTP 503, close connections, and wait for their handlers.

        Idempotent. It may be called from a handler, whose end it does not wait for. Cancelling it cancels the handlers.

        Args:
            close_connections: False leaves the connections alone; their handlers are waited for.
            code: what connections are closed with.
            reason: the same.

        Raises:
            ProtocolError: the code may not be sent, or the reason is too long; the server goes on.
        """
        if close_connections:
            check_goodbye(code, reason)
        was_closing, self._is_closing = self._is_closing, True
        if not was_closing:
            self.logger.info("server closing")
            self._accepting.cancel()
            self._registry.stop_openings()
        with trio.CancelScope(shield=True):  # which does not wait for anybody
            for listener in self.listeners:
                await listener.aclose()
        if close_connections:
            self._registry.goodbye = code, reason
        try:
            async with trio.open_nursery() as nursery:
                for connection in self.connections if close_connections else ():
                    nursery.start_soon(connection.aclose, code, reason)
            await self._registry.wait()
        except trio.Cancelled:
            self._serving.cancel()
            raise
        if not was_closing:
            self.logger.info("server closed")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


async def serve(
    handler: Callable[[ServerConnection], Awaitable[None]],
    port: int | None = None,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    listeners: list[trio.SocketListener] | None = None,
    ssl: ssl_module.SSLContext | None = None,
    origins: Sequence[Origin | re.Pattern[str] | None] | None = None,
    extensions: Sequence[ServerExtensionFactory] | None = None,
    subprotocols: Sequence[Subprotocol] | None = None,
    select_subprotocol: Callable[[ServerConnection, Sequence[Subprotocol]], Subprotocol | None] | None = None,
    compression: str | None = "deflate",
    process_request: Callable[[ServerConnection, Request], Awaitable[Response | None] | Response | None] | None = None,
    process_response: Callable[[ServerConnection, Request, Response], Awaitable[Response | None] | Response | None]
    | None = None,
    server_header: str | None = SERVER,
    open_timeout: float | None = 10,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float | None = 10,
    max_size: int | None | tuple[int | None, int | None] = 2**20,
    max_queue: int | None | tuple[int | None, int | None] = 16,
    logger: LoggerLike | None = None,
    create_connection: type[ServerConnection] | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve connections: `server = await nursery.start(serve, handler, port)`, then `async with server: ...`.

    Args:
        handler: called with each connection, in a task; the connection is closed when it returns.
        port: where to listen.
        host: the same; by default all interfaces.
        backlog: connections that wait to be accepted.
        listeners: instead of these three.
        ssl: the settings for TLS.
        origins: which Origin headers are accepted: strings, patterns, None for requests without; all by default.
        extensions: to negotiate, in order of preference.
        subprotocols: to negotiate, in order of preference; clients that offer none of them are refused.
        select_subprotocol: chooses among a client's offers instead.
        compression: "deflate" adds permessage-deflate to the extensions; None does not.
        process_request: called with connection and request; may return a response to send instead of accepting. May be
            a coroutine function.
        process_response: called with connection, request and response; may change the response or return another. May
            be a coroutine function.
        server_header: of the response; None for none.
        open_timeout: seconds that a client may take for the handshake; None for ever.
        ping_interval: seconds between keepalive pings; None for none.
        ping_timeout: seconds to wait for a pong; None for ever.
        close_timeout: seconds that closing may take; None for ever.
        max_size: bytes that a message may have, or (message, fragment); None for no limit.
        max_queue: frames that wait for `recv` before reading pauses, or (high, low); None never pauses.
        logger: `logging.getLogger("websockets.server")` by default.
        create_connection: a subclass of ServerConnection, or a function that makes one.
        task_status: for `nursery.start`; it gets the Server once that accepts connections.

    Raises:
        ValueError, TypeError: arguments do not fit together.
    """
    if subprotocols is not None:
        validate_subprotocols(subprotocols)
    if compression == "deflate":
        extensions = enable_server_permessage_deflate(extensions)
    elif compression is not None:
        raise ValueError(f"unsupported compression: {compression}")
    log: LoggerLike = logging.getLogger("websockets.server") if logger is None else logger
    listeners = await _listen(port, host, backlog, listeners)
    acceptance = Acceptance(
        handler,
        ssl=ssl,
        open_timeout=open_timeout,
        hooks=(process_request, process_response, server_header),
        select_subprotocol=select_subprotocol,
        make_connection=ServerConnection if create_connection is None else create_connection,
        protocol_kwargs={
            "origins": origins,
            "extensions": extensions,
            "subprotocols": subprotocols,
            "max_size": max_size,
        },
        connection_kwargs={
            "ping_interval": ping_interval,
            "ping_timeout": ping_timeout,
            "close_timeout": close_timeout,
            "max_queue": max_queue,
        },
        logger=log,
    )
    acceptance.server = Server(listeners, acceptance.serve, log)
    await acceptance.server.serve_forever(task_status)


async def _listen(
    port: int | None, host: str | bytes | None, backlog: int | None, listeners: list[trio.SocketListener] | None
) -> list[trio.SocketListener]:
    if listeners is None:
        if port is None:
            raise ValueError("port is required when listeners is not provided")
        return await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    for name, value in (("port", port), ("host", host), ("backlog", backlog)):
        if value is not None:
            raise ValueError(f"{name} is incompatible with listeners")
    return listeners
