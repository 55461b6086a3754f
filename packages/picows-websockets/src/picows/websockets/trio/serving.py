"""What `serve` does with each stream that was accepted: TLS, the opening handshake, the user's handler."""

from __future__ import annotations

import contextlib
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import trio

from ..frames import CloseCode
from ..protocol import CONNECTING
from ..server import ServerProtocol
from ..typing import LoggerLike, Subprotocol
from .accepting import ProcessRequest, ProcessResponse, hang_up
from .link import BROKEN

if TYPE_CHECKING:
    from .server import Server, ServerConnection


class Registry:
    """What a server must end when it closes.

    Attributes:
        connections: those whose handler runs.
        openings: those whose handshake is not over.
        goodbye: what connections that open just now are closed with; None leaves them alone.
    """

    def __init__(self) -> None:
        self.connections: set[ServerConnection] = set()
        self.openings: set[ServerConnection] = set()
        self.goodbye: tuple[CloseCode | int, str] | None = None
        self._tasks: set[trio.lowlevel.Task] = set()
        #: Set when one of them ends.
        self._change = trio.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """A block that `wait` waits for."""
        task = trio.lowlevel.current_task()
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)
            self._change.set()
            self._change = trio.Event()

    async def wait(self) -> None:
        """Wait for the tasks, except for the caller's own."""
        while self._tasks - {trio.lowlevel.current_task()}:
            await self._change.wait()

    def stop_openings(self) -> None:
        """End handshakes whose request did not come yet."""
        for connection in self.openings:
            connection._awaiting_request.cancel()


class Acceptance:
    """Its `serve` is the `handler` of a Server.

    Args:
        handler: the user's.
        ssl: the settings for TLS, or None.
        open_timeout: seconds for TLS and the opening handshake; None for ever.
        hooks: the user's `process_request` and `process_response`, and the Server header.
        select_subprotocol: the user's.
        make_connection: as `create_connection` of `serve`.
        protocol_kwargs: for ServerProtocol.
        connection_kwargs: for `make_connection`.
        logger: of the server.

    Attributes:
        server: to be set.
    """

    server: Server

    def __init__(
        self,
        handler: Callable[[ServerConnection], Awaitable[None]],
        *,
        ssl: ssl_module.SSLContext | None,
        open_timeout: float | None,
        hooks: tuple[ProcessRequest | None, ProcessResponse | None, str | None],
        select_subprotocol: Callable[[ServerConnection, Sequence[Subprotocol]], Subprotocol | None] | None,
        make_connection: Callable[..., ServerConnection],
        protocol_kwargs: dict[str, Any],
        connection_kwargs: dict[str, Any],
        logger: LoggerLike,
    ) -> None:
        self._handler = handler
        self._ssl = ssl
        self._open_timeout = float("inf") if open_timeout is None else open_timeout
        self._hooks = hooks
        self._select_subprotocol = select_subprotocol
        self._make_connection = make_connection
        self._protocol_kwargs = protocol_kwargs
        self._connection_kwargs = connection_kwargs
        self._logger = logger

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection."""
        async with trio.open_nursery() as nursery:
            connection: ServerConnection | None = None
            try:
                with trio.move_on_after(self._open_timeout):
                    connection = await self._open(nursery, stream)
                if connection is not None and connection._has_started:
                    await self._run(connection)
            finally:
                if connection is None or not connection._has_started:  # else its own task closes the stream
                    await trio.aclose_forcefully(stream)

    async def _open(self, nursery: trio.Nursery, stream: trio.abc.Stream) -> ServerConnection | None:
        """TLS and the opening handshake. Returns None if the client is refused."""
        if self._ssl is not None:
            stream = trio.SSLStream(stream, self._ssl, server_side=True)
            try:
                await stream.do_handshake()
            except BROKEN as exc:
                self._logger.debug("! connection was not opened", exc_info=exc)
                return None
        connection = self._create(nursery, stream)
        openings = self.server._registry.openings
        openings.add(connection)
        if self.server._is_closing:
            connection._awaiting_request.cancel()
        try:
            await connection.handshake(*self._hooks)
        except Exception:
            connection.logger.error("opening handshake failed", exc_info=True)
        finally:
            openings.discard(connection)
        if connection._has_started:
            return connection
        await hang_up(connection)
        return None

    def _create(self, nursery: trio.Nursery, stream: trio.abc.Stream) -> ServerConnection:
        select = self._select_subprotocol

        def select_for_connection(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
            return select(connection, offered) if select is not None else None

        protocol = ServerProtocol(
            select_subprotocol=None if select is None else select_for_connection,
            state=CONNECTING,
            logger=self._logger,
            **self._protocol_kwargs,
        )
        connection = self._make_connection(nursery, stream, protocol, self.server, **self._connection_kwargs)
        return connection

    async def _run(self, connection: ServerConnection) -> None:
        registry = self.server._registry
        registry.connections.add(connection)
        try:
            if registry.goodbye is not None:
                await connection.aclose(*registry.goodbye)
            async with connection:
                await self._handler(connection)
        except Exception:
            connection.logger.error("connection handler failed", exc_info=True)
        finally:
            registry.connections.discard(connection)
