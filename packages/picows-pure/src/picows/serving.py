"""WSServer: what `ws_create_server` returns, and how it says goodbye to its connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, Generator, Optional, Set

from .closing import close_payload
from .enums import WSCloseCode
from .options import check_timeout
from .transports import LINGER_S

if TYPE_CHECKING:
    from .server import _ServerSettings


class _Goodbye:
    """What `WSServer.close` returns: awaiting it closes the connections as well."""

    def __init__(self, say_goodbye: Callable[[], Any]) -> None:
        self._say_goodbye = say_goodbye

    def __await__(self) -> Generator[Any, None, None]:
        yield from self._say_goodbye().__await__()


class WSServer(asyncio.AbstractServer):
    """The asyncio Server, with its connections.

    Everything that an asyncio Server has is there: sockets, is_serving(), start_serving(), wait_closed(), `async with`.
    """

    def __init__(
        self, server: Any, connections: Set[Any], settings: _ServerSettings, close_timeout: Optional[float]
    ) -> None:
        self._server = server
        self._close_timeout = close_timeout
        self._settings = settings
        self._openings = settings.openings
        self._lingering = settings.lingering
        self._connections = connections
        self._is_closed = False
        self._forever: Optional[asyncio.Future[None]] = None

    @property
    def connections(self) -> frozenset[Any]:
        """The WSTransport of each open connection."""
        return frozenset(self._connections)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the server belongs to."""
        return self._server.get_loop()  # type: ignore[no-any-return]

    def is_serving(self) -> bool:
        """True while it accepts connections."""
        return bool(self._server.is_serving())

    async def start_serving(self) -> None:
        """Accept connections, where the server was created with `start_serving=False`.

        Raises:
            RuntimeError: the server is closed.
        """
        if self._is_closed:  # asyncio's own would serve on no socket, or fail at their absence
            raise RuntimeError("the server is closed")
        await self._server.start_serving()

    async def serve_forever(self) -> None:
        """Serve until cancelled or closed; on cancellation the connections are closed with 1001 first.

        Raises:
            RuntimeError: the server is closed, or somebody else is in here.
        """
        if self._forever is not None:
            raise RuntimeError("serve_forever() is already being called")
        self._forever = self.get_loop().create_future()  # first: it may be closed while it starts
        try:
            await self.start_serving()
            await self._forever
        except asyncio.CancelledError:
            await self.close()
            raise
        finally:
            self._forever = None

    def close(  # type: ignore[override]  # the base class returns None, ours something that may be awaited
        self, code: int = WSCloseCode.GOING_AWAY, reason: str = "", close_timeout: Optional[float] = None
    ) -> _Goodbye:
        """Stop accepting connections, at once. Established ones go on, unless the result is awaited.

        Args:
            code: close code for `await server.close(...)`, which sends CLOSE to every connection and waits for them.
            reason: its reason.
            close_timeout: seconds after which those that have not hung up are cut off; the server's `close_timeout`
                if None.

        Raises:
            ValueError, TypeError: an argument that cannot be sent; the server goes on.
        """
        check_timeout("close_timeout", close_timeout)
        close_payload(code, reason.encode())
        self._is_closed = True
        self._server.close()
        if self._forever is not None and not self._forever.done():
            self._forever.set_result(None)
        timeout = self._close_timeout if close_timeout is None else close_timeout
        return _Goodbye(lambda: self._say_goodbye(code, reason, timeout))

    async def _say_goodbye(self, code: int, reason: str, timeout: Optional[float]) -> None:
        self._settings.is_over = True
        for opening in list(self._openings):
            opening.turn_away()
        transports = list(self._connections)
        for transport in transports:
            transport._close_and_hang_up(code, reason)
        if transports:
            waiting = [asyncio.ensure_future(transport.wait_disconnected()) for transport in transports]
            try:
                await asyncio.wait(waiting, timeout=timeout)
            finally:
                for transport in transports:
                    transport._abort()
            await asyncio.wait(waiting)
        if self._lingering:
            await asyncio.wait(list(self._lingering.values()), timeout=timeout)
            for opening in list(self._lingering):
                opening.cut_off()
        # Since Python 3.12 it waits for connections too, and for ever where asyncio has lost count of one. Ours have
        # ended by now.
        closed = asyncio.ensure_future(self._server.wait_closed())
        try:
            await asyncio.wait([closed], timeout=2 * LINGER_S)
        finally:
            closed.cancel()

    async def wait_closed(self) -> None:
        """Wait until the listening sockets are closed (and, since Python 3.12, all connections)."""
        await self._server.wait_closed()

    def close_clients(self) -> None:
        """Close every connection without a CLOSE frame, those in their handshake included (asyncio has it since
        3.13)."""
        for transport in list(self._connections):
            transport.disconnect()
        for opening in list(self._openings):
            opening.turn_away()

    def abort_clients(self) -> None:
        """As `close_clients`, dropping what was not sent yet."""
        for transport in list(self._connections):
            transport._abort()
        for opening in list(self._openings):
            opening.turn_away()

    async def __aenter__(self) -> WSServer:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()
