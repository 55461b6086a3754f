"""The programs that the Autobahn suite examines: what echoes every message, as a server or as a client, by each API.

    python peers.py API server          prints the port that it listens on, and serves until it is terminated
    python peers.py API client URL      goes through all cases of the suite's server, then asks it for its reports

API is `messages`, the message layer of picows, or `websockets`, the drop-in's asyncio API. PICOWS_IMPL chooses the
engine. permessage-deflate is offered and accepted by both, the size of a message is limited to what the suite sends, a
handshake may take longer (the suite prepares its next message meanwhile), and everything else is at its default.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, Awaitable, Callable, Optional

from picows import (
    WSMessageListener,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_connect,
    ws_create_server,
)
from picows.deflate import CLIENT_DEFLATE, SERVER_DEFLATE, DeflateCodec, accept_response, negotiate, offer
from picows.errors import WSConnectionClosed

AGENT = "picows"
EXTENSIONS = "Sec-WebSocket-Extensions"
#: 9.1.6 and 9.2.6 send 16 MiB.
LARGEST = 16 * 1024 * 1024
OPEN_TIMEOUT_S = 60


async def echo_messages(listener: WSMessageListener, received: Optional[list[Any]] = None) -> None:
    """Send back what comes, until the connection ends."""
    try:
        async for message in listener:
            if received is not None:
                received[:] = [message]
            await listener.send(message)
    except WSConnectionClosed:
        pass  # the suite breaks rules


class Served(WSMessageListener):
    """A connection of the server, with a task that echoes."""

    def on_ws_connected(self, transport: Any) -> None:
        """Begin to echo."""
        super().on_ws_connected(transport)
        self.task = asyncio.ensure_future(echo_messages(self))


def accept(request: WSUpgradeRequest) -> Any:
    """The listener factory of the server."""
    agreed = negotiate(SERVER_DEFLATE, request.headers.getall(EXTENSIONS, []))
    if agreed is None:
        return Served(max_message_size=LARGEST)
    value, parameters = agreed
    listener = Served(max_message_size=LARGEST, codec=DeflateCodec(parameters, False, SERVER_DEFLATE))
    return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response({EXTENSIONS: value}), listener)


async def serve_messages() -> None:
    """The server of the message layer."""
    server = await ws_create_server(accept, "127.0.0.1", 0, max_frame_size=LARGEST)
    announce(server.sockets)
    await asyncio.Event().wait()


async def visit_messages(url: str, received: list[Any]) -> None:
    """One connection of the message layer's client, to its end: echo, and keep the last message."""

    def converse(request: WSUpgradeRequest, response: WSUpgradeResponse) -> WSMessageListener:
        agreed = accept_response(CLIENT_DEFLATE, response.headers.get(EXTENSIONS))
        codec = None if agreed is None else DeflateCodec(agreed, True)
        return WSMessageListener(max_message_size=LARGEST, codec=codec)

    _, listener = await ws_connect(
        converse,
        url,
        extra_headers={EXTENSIONS: offer(CLIENT_DEFLATE)},
        max_frame_size=LARGEST,
        websocket_handshake_timeout=OPEN_TIMEOUT_S,
    )
    await echo_messages(listener, received)


async def serve_websockets() -> None:
    """The server of the drop-in."""
    from picows.websockets.asyncio.server import serve

    async with serve(echo, "127.0.0.1", 0, max_size=LARGEST, open_timeout=OPEN_TIMEOUT_S) as server:
        announce(server.sockets)
        await asyncio.Event().wait()


async def visit_websockets(url: str, received: list[Any]) -> None:
    """One connection of the drop-in's client, to its end: echo, and keep the last message."""
    from picows.websockets.asyncio.client import connect

    async with connect(url, max_size=LARGEST, proxy=None, open_timeout=OPEN_TIMEOUT_S) as connection:
        await echo(connection, received)


async def echo(connection: Any, received: Optional[list[Any]] = None) -> None:
    """Send back what comes, until the connection ends."""
    from picows.websockets.exceptions import ConnectionClosed

    try:
        async for message in connection:
            if received is not None:
                received[:] = [message]
            await connection.send(message)
    except ConnectionClosed:
        pass  # the suite breaks rules


def announce(sockets: Any) -> None:
    """Tell who has started us where we listen."""
    print(next(iter(sockets)).getsockname()[1], flush=True)


async def visit_all(url: str, visit: Callable[[str, list[Any]], Awaitable[None]]) -> None:
    """Go through the cases, as the suite's server wants it."""
    received: list[Any] = []
    await visit(f"{url}/getCaseCount", received)
    for case in range(1, int(received[0]) + 1):
        await visit(f"{url}/runCase?case={case}&agent={AGENT}", received)
    await visit(f"{url}/updateReports?agent={AGENT}", received)


def main(api: str, role: str, url: str = "") -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    serve, visit = {
        "messages": (serve_messages, visit_messages),
        "websockets": (serve_websockets, visit_websockets),
    }[api]
    asyncio.run(serve() if role == "server" else visit_all(url, visit))


if __name__ == "__main__":
    main(*sys.argv[1:])
