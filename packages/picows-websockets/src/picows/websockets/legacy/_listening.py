"""The server that `serve` returns."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..frames import CloseCode
from ..protocol import OPEN
from ..typing import LoggerLike
from ..utils import get_socket_name

if TYPE_CHECKING:
    from .server import WebSocketServerProtocol


class WebSocketServer:
    """A listening server; `serve` returns it.

    Args:
        logger: `logging.getLogger("websockets.server")` by default.

    Attributes:
        logger: as given.
        server: the asyncio server, once it was started.
        websockets: the connections, from the TCP connection on.
    """

    server: asyncio.base_events.Server

    def __init__(self, logger: LoggerLike | None = None) -> None:
        self.logger: LoggerLike = logging.getLogger("websockets.server") if logger is None else logger
        self.websockets: set[WebSocketServerProtocol] = set()
        self.close_task: asyncio.Task[None] | None = None
        self.closed_waiter: asyncio.Future[None]

    def wrap(self, server: asyncio.base_events.Server) -> None:
        """Take an asyncio server that is listening."""
        self.server = server
        for sock in server.sockets:
            self.logger.info("server listening on %s", get_socket_name(sock))
        self.closed_waiter = server.get_loop().create_future()

    def register(self, protocol: WebSocketServerProtocol) -> None:
        """A client has connected."""
        self.websockets.add(protocol)

    def unregister(self, protocol: WebSocketServerProtocol) -> None:
        """A connection has ended, and so has its handler."""
        self.websockets.discard(protocol)

    def close(self, close_connections: bool = True) -> None:
        """Stop listening, refuse handshakes in progress with HTTP 503, and close the connections. Idempotent.

        Args:
            close_connections: False leaves the connections alone; `wait_closed` waits for their handlers.
        """
        if self.close_task is None:
            self.close_task = self.get_loop().create_task(self._close(close_connections))

    async def _close(self, close_connections: bool) -> None:
        self.logger.info("server closing")
        self.server.close()
        await asyncio.sleep(0)  # what was accepted before gets its connection_made
        if close_connections:
            closing = [
                asyncio.create_task(websocket.close(CloseCode.GOING_AWAY))
                for websocket in self.websockets
                if websocket.state is OPEN
            ]
            if closing:
                await asyncio.wait(closing)
        handlers = [websocket.handler_task for websocket in self.websockets]
        if handlers:
            await asyncio.wait(handlers)
        if not self.closed_waiter.done():
            self.closed_waiter.set_result(None)
        self.logger.info("server closed")

    async def wait_closed(self) -> None:
        """Wait until the server is closed and its handlers have ended, whoever calls `close`."""
        await asyncio.shield(self.closed_waiter)

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
        """Accept connections until this is cancelled, or the server is closed."""
        await self.server.serve_forever()

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets; none once it is closed."""
        return tuple(self.server.sockets)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        await self.wait_closed()
