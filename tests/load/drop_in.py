"""picows.websockets.asyncio for the load scripts: its server and its connections under the names of our own API."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, AsyncIterator, Iterator, List, Set

from process import SILENT, load_drop_in


class DropInServer:
    """What `server.py` asks of a server.

    Args:
        server: of picows.websockets.asyncio.server.
        broadcast: its function of that name.
    """

    def __init__(self, server: Any, broadcast: Any) -> None:
        self._server = server
        self._broadcast = broadcast
        self.sockets: Any = server.sockets

    @property
    def connections(self) -> Set[Any]:
        """Those that are open or closing: what the API calls its connections is only the open ones."""
        return self._server._connections  # type: ignore[no-any-return]

    async def close(self, code: int, close_timeout: float) -> None:
        """Say goodbye to all; how long that may take was said before."""
        self._server.close(code=code)
        await self._server.wait_closed()

    def broadcast(self, message: bytes) -> None:
        """To all that are open."""
        self._broadcast(self._server.connections, message)

    def abort_clients(self) -> None:
        """Cut everybody off."""
        for connection in list(self.connections):
            connection.transport.abort()


async def listen(engine: Any, options: Any, handler: Any, ssl: Any = None) -> DropInServer:
    """Serve.

    Args:
        engine: to be used, whatever the one of the process is.
        options: of server.py.
        handler: called with each connection.
        ssl: context, for TLS.
    """
    library = load_drop_in(engine)

    async def handle(connection: Any) -> None:
        with contextlib.suppress(library.ConnectionClosed):
            await handler(connection)

    server = await library.serve(
        handle,
        "127.0.0.1",
        0,
        ssl=ssl,
        backlog=4096,
        open_timeout=options.open_timeout,
        close_timeout=options.close_timeout,
        ping_interval=options.ping or None,
        ping_timeout=options.ping or None,
        logger=SILENT,
        **({"max_size": options.max_size} if options.max_size else {}),
    )
    return DropInServer(server, library.broadcast)


class Listener:
    """A client's connection, as a WSMessageListener. Where that raises WSConnectionClosed this raises ConnectionError.

    Args:
        connection: of picows.websockets.asyncio.client.
        closed: the library's ConnectionClosed.
    """

    def __init__(self, connection: Any, closed: Any) -> None:
        self._connection = connection
        self._closed = closed
        self.underlying_transport: Any = connection.transport

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except self._closed as exc:
            raise ConnectionError(str(exc)) from None

    @property
    def transport(self) -> Listener:
        """Itself: it has what is asked of a WSTransport too."""
        return self

    async def send(self, message: Any) -> None:
        """Send a message."""
        with self._told():
            await self._connection.send(message)

    async def send_fragments(self, fragments: List[Any]) -> None:
        """Send a message in fragments."""
        with self._told():
            await self._connection.send(fragments)

    async def recv(self) -> Any:
        """Receive a message."""
        with self._told():
            return await self._connection.recv()

    async def __aiter__(self) -> AsyncIterator[Any]:
        with self._told():
            async for message in self._connection:
                yield message

    async def close(self) -> None:
        """CLOSE, and the answer."""
        await self._connection.close()

    async def measure_roundtrip_time(self, rounds: int, timeout: float) -> None:
        """Ping, and wait for the pong."""
        for _ in range(rounds):
            with self._told():
                await asyncio.wait_for(await self._connection.ping(), timeout)

    def disconnect(self, graceful: bool = True) -> None:
        """Hang up, or abort."""
        if graceful:
            self.underlying_transport.close()
        else:
            self.underlying_transport.abort()

    async def wait_disconnected(self) -> None:
        """Return when the connection has ended."""
        await self._connection.wait_closed()


async def connect(engine: Any, url: str, **options: Any) -> Listener:
    """Open a connection; options are those of `connect`."""
    library = load_drop_in(engine)
    connection = await library.connect(url, proxy=None, logger=SILENT, **options)
    return Listener(connection, library.ConnectionClosed)
