"""The server: `serve`, the server that it returns, and its connections."""

from __future__ import annotations

import asyncio
import logging
import re
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from types import TracebackType
from typing import Any, Self

from picows._engine import engine
from picows.deadlines import Deadlines
from picows.transports import listen, resolve_aiofastnet

from ..extensions.base import ServerExtensionFactory
from ..extensions.permessage_deflate import enable_server_permessage_deflate
from ..frames import CloseCode
from ..headers import validate_subprotocols
from ..http11 import SERVER, Request, Response
from ..protocol import CLOSED, CONNECTING, OPEN
from ..server import ServerProtocol
from ..typing import LoggerLike, Origin, PathLike, StatusLike, Subprotocol
from ..utils import get_socket_name
from .accepting import Hooks, ServerOpening
from .auth import basic_auth as basic_auth
from .auth import is_credentials as is_credentials
from .broadcast import broadcast as broadcast
from .connection import Connection
from .limits import check_options
from .opening import engine_options
from .ordinary import OrdinaryRequests

__all__ = ["broadcast", "serve", "unix_serve", "ServerConnection", "Server", "basic_auth"]


class ServerConnection(Connection):
    """A server's side of a connection; handlers get it.

    Args:
        protocol: a ServerProtocol.
        server: the Server that accepted it.
        ping_interval: as for Connection, like all others.
        ping_timeout: see Connection.
        close_timeout: see Connection.
        max_queue: see Connection.
        write_limit: see Connection.

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
        protocol: ServerProtocol,
        server: Server,
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
        self.server = server

    def respond(self, status: StatusLike, text: str) -> Response:
        """A plain text response, for `process_request` and `process_response` to return.

        Args:
            status: the HTTP status.
            text: the body.
        """
        return self.protocol.reject(status, text)

    def on_ws_disconnected(self, transport: Any) -> None:
        """The TCP connection has ended."""
        super().on_ws_disconnected(transport)
        server = self.server
        server._connections.discard(self)
        task = server._handlers.get(self)
        if task is not None and task.done():  # cancelled before it began
            del server._handlers[self]
        if self.protocol._logger.isEnabledFor(logging.INFO):
            self.logger.info("connection closed")


class Server:
    """A listening server; `serve` returns it.

    Args:
        create_server: a coroutine function that makes the asyncio server.
        handler: called for each connection.
        logger: `logging.getLogger("websockets.server")` by default.

    Attributes:
        server: the asyncio server, once it was started.
        handler: as given.
        logger: as given.
    """

    server: asyncio.Server

    def __init__(
        self,
        create_server: Callable[[], Coroutine[Any, Any, asyncio.Server]],
        handler: Callable[[ServerConnection], Coroutine[Any, Any, None]],
        logger: LoggerLike | None = None,
    ) -> None:
        self.create_server = create_server
        self.handler = handler
        self.logger: LoggerLike = logging.getLogger("websockets.server") if logger is None else logger
        #: Those that are open or closing.
        self._connections: set[ServerConnection] = set()
        #: Handshakes in progress, and those that have failed but not yet ended.
        self._openings: Deadlines[ServerOpening]
        self._leaving: set[ServerOpening] = set()
        #: Of each connection, until it is closed and its handler has ended.
        self._handlers: dict[ServerConnection, asyncio.Task[None]] = {}
        self._closed: asyncio.Future[None] | None = None
        self._close_task: asyncio.Task[None] | None = None
        self._is_closing = False

    @property
    def connections(self) -> set[ServerConnection]:
        """The open connections."""
        return {connection for connection in self._connections if connection.protocol.state is OPEN}

    def _start_handler(self, connection: ServerConnection, loop: asyncio.AbstractEventLoop) -> None:
        self._connections.add(connection)
        self._handlers[connection] = loop.create_task(self._handle(connection))

    async def _handle(self, connection: ServerConnection) -> None:
        # Nothing here costs a turn of the loop, and no callback of the task does: most connections are short.
        try:
            code = CloseCode.INTERNAL_ERROR
            try:
                await self.handler(connection)
                code = CloseCode.NORMAL_CLOSURE
            finally:
                if connection.protocol.state is not CLOSED or type(connection).close is not Connection.close:
                    await connection.close(code)
        except Exception:
            connection.logger.error("connection handler failed", exc_info=True)
        finally:
            del self._handlers[connection]

    def close(
        self, close_connections: bool = True, code: CloseCode | int = CloseCode.GOING_AWAY, reason: str = ""
    ) -> None:
        """Stop listening, refuse handshakes in progress with HTTP 503, and close the connections. Idempotent.

        Hooks that look at a request go on before it is refused.

        Args:
            close_connections: False leaves the connections alone; `wait_closed` waits for their handlers.
            code: what connections are closed with.
            reason: the same.
        """
        if self._close_task is None:
            self._is_closing = True
            self._close_task = self.get_loop().create_task(self._close(close_connections, code, reason))

    async def _close(
        self, close_connections: bool = True, code: CloseCode | int = CloseCode.GOING_AWAY, reason: str = ""
    ) -> None:
        self.logger.info("server closing")
        self.server.close()
        await asyncio.sleep(0)  # what was accepted before gets its connection_made
        for opening in list(self._openings):
            opening.turn_away()
        for opening in self._leaving:
            opening.hurry()
        if close_connections:
            closing = [asyncio.ensure_future(connection.close(code, reason)) for connection in self.connections]
            if closing:
                await asyncio.wait(closing)
        if self._handlers:
            await asyncio.wait(list(self._handlers.values()))
        for opening in [*self._openings, *self._leaving]:
            await opening.wait_lost()
        for connection in list(self._connections):
            await connection.wait_closed()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        self.logger.info("server closed")

    async def wait_closed(self) -> None:
        """Wait until the server is closed and its handlers have ended, whoever calls `close`."""
        if self._closed is None:
            raise RuntimeError("the server was not started")
        await asyncio.shield(self._closed)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the server."""
        return self.server.get_loop()

    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self.server.is_serving()

    async def start_serving(self) -> None:
        """Accept connections, where `serve` was called with `start_serving=False`."""
        await self.server.start_serving()

    async def serve_forever(self) -> None:
        """Accept connections until the server is closed or this is cancelled, which closes it."""
        try:
            await self.start_serving()
            await self.wait_closed()
        except asyncio.CancelledError:
            self.close()
            await self.wait_closed()
            raise

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets; none once it is closed."""
        return tuple(self.server.sockets)

    async def _await(self) -> Self:
        if self._closed is None:
            self.server = await self.create_server()
            self._closed = self.get_loop().create_future()
            for sock in self.server.sockets if self.server.is_serving() else ():
                self.logger.info("server listening on %s", get_socket_name(sock))
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._await().__await__()

    async def __aenter__(self) -> Self:
        return await self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        await self.wait_closed()


def serve(
    handler: Callable[[ServerConnection], Awaitable[None]],
    host: str | None = None,
    port: int | None = None,
    *,
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
    write_limit: int | tuple[int, int | None] = 2**15,
    logger: LoggerLike | None = None,
    create_connection: type[ServerConnection] | None = None,
    **kwargs: Any,
) -> Server:
    """Serve connections: `server = await serve(...)`, or `async with serve(...) as server`, which closes it.

    Args:
        handler: called with each connection, which is closed when it returns.
        host: as for the event loop's `create_server`.
        port: the same.
        origins: which Origin headers are accepted: strings, patterns, None for requests without; all by default.
        extensions: to negotiate, in order of preference.
        subprotocols: to negotiate, in order of preference; clients that offer none of them are refused.
        select_subprotocol: chooses among a client's offers instead.
        compression: "deflate" adds permessage-deflate to the extensions; None does not.
        process_request: called with connection and request; may return a response to send instead of accepting, and
            may be a coroutine function.
        process_response: called with connection, request and response; may change the response or return another, and
            may be a coroutine function.
        server_header: of the response; None for none.
        open_timeout: seconds that a client may take for the handshake; None for ever.
        ping_interval: seconds between keepalive pings; None for none.
        ping_timeout: seconds to wait for a pong; None for ever.
        close_timeout: seconds that closing may take; None for ever.
        max_size: bytes that a message may have, or (message, fragment); None for no limit.
        max_queue: frames that wait for `recv` before reading pauses, or (high, low); None never pauses.
        write_limit: bytes in the write buffer above which `send` waits, or (high, low).
        logger: `logging.getLogger("websockets.server")` by default.
        create_connection: a subclass of ServerConnection, or a function that makes one.
        kwargs: for the event loop's `create_server`: `ssl`, `sock`, `reuse_port`, `start_serving` and others.
    """
    check_options(max_size, max_queue, write_limit)
    if subprotocols is not None:
        validate_subprotocols(subprotocols)
    if compression == "deflate":
        extensions = enable_server_permessage_deflate(extensions)
    elif compression is not None:
        raise ValueError(f"unsupported compression: {compression}")
    log: LoggerLike = logging.getLogger("websockets.server") if logger is None else logger
    make_connection = ServerConnection if create_connection is None else create_connection
    decisive = process_request, process_response, origins, subprotocols or None, select_subprotocol
    hooks = Hooks(
        process_request, process_response, server_header, OrdinaryRequests.of(extensions, server_header, *decisive)
    )
    # By `protocol.debug`: the level of a logger may change between two connections.
    options = engine_options(False, max_size, False), engine_options(False, max_size, True)
    # Without TLS the loop's own transports are as fast, and need a third of the memory.
    context = kwargs.get("ssl")
    is_plain = context is None
    uses_aiofastnet = not is_plain and resolve_aiofastnet(None, (context,))

    def factory() -> Any:
        choose = None if select_subprotocol is None else _Selector(select_subprotocol)
        protocol = ServerProtocol(
            origins=origins,
            extensions=extensions,
            subprotocols=subprotocols,
            select_subprotocol=choose,
            state=CONNECTING,
            max_size=max_size,
            logger=log,
        )
        connection = make_connection(
            protocol,
            server,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_queue=max_queue,
            write_limit=write_limit,
        )
        if choose is not None:
            choose.connection = weakref.ref(connection)
        loop = server._openings.loop
        opening = ServerOpening(connection, server, hooks, loop)
        return engine.make_protocol(loop, options[protocol.debug], opening, None, is_plain)

    async def create_server() -> asyncio.Server:
        loop = asyncio.get_running_loop()
        server._openings = Deadlines(loop, open_timeout, ServerOpening._on_timeout)
        if kwargs.pop("unix", False):
            return await listen(loop, "create_unix_server", uses_aiofastnet, factory, **kwargs)  # type: ignore[no-any-return]
        return await listen(loop, "create_server", uses_aiofastnet, factory, host, port, **kwargs)  # type: ignore[no-any-return]

    server = Server(create_server, handler, log)  # type: ignore[arg-type]  # a handler is a coroutine function
    return server


def unix_serve(
    handler: Callable[[ServerConnection], Awaitable[None]], path: PathLike | None = None, **kwargs: Any
) -> Server:
    """Serve connections on a Unix socket.

    Args:
        handler: as for `serve`.
        path: of the socket.
        kwargs: as for `serve`.
    """
    return serve(handler, unix=True, path=path, **kwargs)


class _Selector:
    """The user's `select_subprotocol`, which wants the connection."""

    __slots__ = ("_select", "connection")

    def __init__(self, select: Callable[[ServerConnection, Sequence[Subprotocol]], Subprotocol | None]) -> None:
        self._select = select
        self.connection: Callable[[], ServerConnection | None] = lambda: None

    def __call__(self, protocol: ServerProtocol, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        connection = self.connection()
        if connection is None:
            raise RuntimeError("the connection is gone")
        return self._select(connection, subprotocols)
