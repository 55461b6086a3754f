"""HTTP CONNECT (RFC 9110 9.3.6), with the responses and exceptions of this API."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

from picows.transports import loop_method

from ..exceptions import InvalidProxyMessage, InvalidProxyStatus, ProxyError
from ..http11 import Response
from ..proxy import Proxy, prepare_connect_request
from ..streams import StreamReader
from ..uri import WebSocketURI


async def open_http_tunnel(
    loop: asyncio.AbstractEventLoop,
    proxy: Proxy,
    uri: WebSocketURI,
    user_agent: str | None,
    kwargs: dict[str, Any],
    uses_aiofastnet: bool,
) -> asyncio.Transport:
    """Connect to an HTTP proxy and have it connect to a server.

    Args:
        loop: the running loop.
        proxy: where the proxy is, and the credentials for it.
        uri: where the server is.
        user_agent: User-Agent header of the request, or None.
        kwargs: for `create_connection`: TLS of the proxy, for example.
        uses_aiofastnet: the transport is made by aiofastnet.

    Returns:
        A transport for `picows.http_tunnel.hand_over`; reading is paused.

    Raises:
        InvalidProxyStatus: the proxy refuses.
        InvalidProxyMessage: it answers with something else than HTTP.
    """
    create_connection = loop_method(loop, "create_connection", uses_aiofastnet)
    transport, protocol = await create_connection(lambda: _Tunnel(loop), proxy.host, proxy.port, **kwargs)
    try:
        transport.write(prepare_connect_request(proxy, uri, user_agent))
        await protocol.answered
    except BaseException:
        transport.abort()
        raise
    return transport  # type: ignore[no-any-return]


class _Tunnel(asyncio.Protocol):
    """Waits for the answer to CONNECT, and pauses reading after it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answered: asyncio.Future[None] = loop.create_future()
        # Nobody may be waiting for it: who connects can be cancelled in the moment in which the connection is there
        self.answered.add_done_callback(lambda answered: answered.cancelled() or answered.exception())
        self._reader = StreamReader()
        self._parser: Generator[None, None, Response] = Response.parse(
            self._reader.read_line, self._reader.read_exact, self._reader.read_to_eof, proxy=True
        )
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self.answered.done():
            self._reader.feed_data(data)
            self._advance()

    def eof_received(self) -> None:
        if not self.answered.done():
            self._reader.feed_eof()
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answered.done():
            if exc is not None:
                self.answered.set_exception(exc)
            else:
                self.eof_received()
        self._transport = None

    def _advance(self) -> None:
        try:
            next(self._parser)
        except StopIteration as stop:
            response: Response = stop.value
            if 200 <= response.status_code < 300:
                self._transport.pause_reading()
                self.answered.set_result(None)
            else:
                self.answered.set_exception(InvalidProxyStatus(response))
        except Exception as exc:
            error: ProxyError = InvalidProxyMessage("did not receive a valid HTTP response from proxy")
            error.__cause__ = exc
            self.answered.set_exception(error)
