"""What client and server have in common: an asyncio protocol that reads an opening handshake, and then is a connection.

The handshake is read from `reader`, by `legacy.client` and `legacy.server`. From `connection_open` on a Link has the
bytes, and nearly every method here is one of its methods under the conditions that the old API has.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable
from typing import Any, cast

from picows.transports import hang_up

from .._limits import MAX_FRAGMENTS as MAX_FRAGMENTS
from ..asyncio.accepting import LINGER_S
from ..datastructures import Headers
from ..exceptions import ConcurrencyError, ConnectionClosed, ConnectionClosedOK, InvalidState
from ..extensions.base import Extension
from ..frames import OK_CLOSE_CODES as OK_CLOSE_CODES
from ..frames import Close, CloseCode
from ..protocol import CLIENT, CLOSED, CONNECTING, OPEN, SERVER, Protocol, State
from ..typing import Data, DataLike, LoggerLike, Origin, Subprotocol
from ._broadcast import broadcast as broadcast
from ._deprecated import choose_close_timeout, deprecate
from ._link import Link

__all__ = ["WebSocketCommonProtocol"]


class WebSocketCommonProtocol(asyncio.Protocol):
    """A WebSocket connection.

    Args:
        logger: `logging.getLogger("websockets.protocol")` by default.
        ping_interval: seconds between keepalive pings; None for none.
        ping_timeout: seconds to wait for their pongs; None for ever.
        close_timeout: seconds that closing may take; 10 by default.
        max_size: bytes that a message may have; None for no limit.
        max_queue: frames that wait for `recv` before reading pauses; None never pauses.
        read_limit: bytes of the opening handshake that may wait to be read.
        write_limit: bytes in the write buffer above which `send` waits.
        host: deprecated, like all that follow: what `host` says.
        port: what `port` says.
        secure: what `secure` says.
        legacy_recv: `recv` returns None where it would raise ConnectionClosed.
        loop: the event loop.
        timeout: the old name of close_timeout.

    Attributes:
        transport: the asyncio transport, from `connection_made` on.
        path: of the request, with its query, once there is one.
        request_headers: of the request, once there is one.
        response_headers: of the response, once there is one.
        subprotocol: what the opening handshake agreed on.
        extensions: the same.
        origin: value of the request's Origin header.
        reader: the bytes of the opening handshake.
    """

    is_client: bool
    side: str = "undefined"
    transport: asyncio.Transport
    path: str
    request_headers: Headers
    response_headers: Headers
    origin: Origin | None

    def __init__(
        self,
        *,
        logger: LoggerLike | None = None,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = None,
        max_size: int | None = 2**20,
        max_queue: int | None = 2**5,
        read_limit: int = 2**16,
        write_limit: int = 2**16,
        host: str | None = None,
        port: int | None = None,
        secure: bool | None = None,
        legacy_recv: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        timeout: float | None = None,
    ) -> None:
        if legacy_recv:
            deprecate("legacy_recv is deprecated")
        if loop is not None:
            deprecate("remove loop argument")
        self.loop = asyncio.get_event_loop() if loop is None else loop
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.close_timeout = choose_close_timeout(close_timeout, timeout)
        self.max_size = max_size
        self.max_queue = max_queue
        self.read_limit = read_limit
        self.write_limit = write_limit
        self.legacy_recv = legacy_recv
        self._host = host
        self._port = port
        self._secure = secure
        log = logging.getLogger("websockets.protocol") if logger is None else logger
        self._sans_io = Protocol(CLIENT if self._is_client() else SERVER, state=CONNECTING, logger=log)
        self._sans_io._owner = weakref.ref(self)
        self._link: Link | None = None
        self._remainder = b""
        self.extensions: list[Extension] = []
        self.subprotocol: Subprotocol | None = None
        self.reader = asyncio.StreamReader(limit=read_limit // 2, loop=self.loop)
        self.connection_lost_waiter: asyncio.Future[None] = self.loop.create_future()

    def _is_client(self) -> bool:
        return getattr(self, "is_client", False)

    # What it is

    @property
    def id(self) -> uuid.UUID:
        """A UUID, for logs, or what a program has put here."""
        return self._sans_io.id

    @id.setter
    def id(self, value: uuid.UUID) -> None:
        self._sans_io.id = value

    @property
    def logger(self) -> LoggerLike:
        """A LoggerAdapter whose records have the connection as `websocket`."""
        return self._sans_io.logger

    @logger.setter
    def logger(self, logger: LoggerLike) -> None:
        self._sans_io.logger = logger

    @property
    def debug(self) -> bool:
        """Whether frames are logged."""
        return self._sans_io.debug

    @property
    def state(self) -> State:
        """How far the connection is."""
        return self._sans_io.state

    @property
    def open(self) -> bool:
        """Whether messages can be sent. They may be lost all the same: look for ConnectionClosed."""
        return self._sans_io.state is OPEN

    @property
    def closed(self) -> bool:
        """Whether the connection is over. Between `open` and `closed` it is closing."""
        return self._sans_io.state is CLOSED

    @property
    def close_code(self) -> int | None:
        """The code of the peer's CLOSE frame, 1005 if it had none, 1006 without such a frame; None while open."""
        return self._sans_io.close_code

    @property
    def close_reason(self) -> str | None:
        """The reason in the peer's CLOSE frame, or ""; None while the connection is open."""
        return self._sans_io.close_reason

    @property
    def close_rcvd(self) -> Close | None:
        """The peer's CLOSE frame."""
        return self._sans_io.close_rcvd

    @property
    def close_sent(self) -> Close | None:
        """Our CLOSE frame."""
        return self._sans_io.close_sent

    @property
    def close_rcvd_then_sent(self) -> bool | None:
        """Which of the two was first, once there are both."""
        return self._sans_io.close_rcvd_then_sent

    @property
    def latency(self) -> float:
        """Seconds from the last ping to its pong; 0 before the first."""
        return 0 if self._link is None else self._link.latency

    @property
    def local_address(self) -> Any:
        """What `getsockname` says, (host, port) for TCP over IPv4; None before the TCP connection."""
        return self._address("sockname")

    @property
    def remote_address(self) -> Any:
        """What `getpeername` says, (host, port) for TCP over IPv4; None before the TCP connection."""
        return self._address("peername")

    def _address(self, which: str) -> Any:
        transport = getattr(self, "transport", None)
        return None if transport is None else transport.get_extra_info(which)

    @property
    def host(self) -> str | None:
        """Deprecated."""
        deprecate(f"use {'remote' if self.is_client else 'local'}_address[0] instead of host")
        return self._host

    @property
    def port(self) -> int | None:
        """Deprecated."""
        deprecate(f"use {'remote' if self.is_client else 'local'}_address[1] instead of port")
        return self._port

    @property
    def secure(self) -> bool | None:
        """Deprecated."""
        deprecate("don't use secure")
        return self._secure

    # Messages

    async def __aiter__(self) -> AsyncIterator[Data]:
        """Messages until the connection is closed properly; an error of `recv` if it ends otherwise."""
        try:
            while True:
                yield await self.recv()
        except ConnectionClosedOK:
            return

    async def recv(self) -> Data:
        """Receive a message. Cancelling it loses nothing.

        Raises:
            ConnectionClosed: the connection has ended and every message was received.
            RuntimeError: another `recv` is waiting.
        """
        try:
            return await self._get_link().recv()  # type: ignore[no-any-return]
        except ConnectionClosed:
            if self.legacy_recv:
                return cast(Data, None)
            raise

    async def send(self, message: DataLike | Iterable[DataLike] | AsyncIterable[DataLike]) -> None:
        """Send a message; an iterable is sent as one in fragments. Returns when the write buffer has room for more.

        Args:
            message: str is sent as text, bytes-like objects as binary.

        Raises:
            ConnectionClosed: the connection is closed.
            TypeError: the message is something else.
        """
        await self.ensure_open()
        await self._get_link().send(message)

    async def ping(self, data: DataLike | None = None) -> Awaitable[float]:
        """Send a PING.

        Args:
            data: at most 125 bytes; None for random ones.

        Returns:
            What may be awaited for the pong. It returns the latency in seconds.

        Raises:
            ConnectionClosed: the connection is closed.
            RuntimeError: a ping with the same data has no pong yet.
        """
        await self.ensure_open()
        try:
            return await self._get_link().ping(data)
        except ConcurrencyError as exc:
            raise RuntimeError(str(exc)) from None

    async def pong(self, data: DataLike = b"") -> None:
        """Send a PONG that nobody asked for.

        Args:
            data: at most 125 bytes.

        Raises:
            ConnectionClosed: the connection is closed.
        """
        await self.ensure_open()
        await self._get_link().pong(data)

    async def drain(self) -> None:
        """Wait until the write buffer has room."""
        await self._get_link()._wait_for_drain()

    async def ensure_open(self) -> None:
        """Return if messages can be sent.

        Raises:
            ConnectionClosed: the connection is closed; while it is closing, this waits for the end.
            InvalidState: the opening handshake is not over.
        """
        state = self._sans_io.state
        if state is OPEN:
            return
        if state is CONNECTING:
            raise _not_established()
        await self.wait_closed()
        raise self.connection_closed_exc()

    def _get_link(self) -> Link:
        if self._link is None:
            raise _not_established() if self._sans_io.state is CONNECTING else self.connection_closed_exc()
        return self._link

    # Closing

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection and wait until it is closed, at most for `close_timeout`. Idempotent.

        Args:
            code: why.
            reason: the same in words; at most 123 bytes of UTF-8.
        """
        if self._link is not None:
            await self._link.close(code, reason)
        elif self._sans_io.state is not CLOSED:
            raise _not_established()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, whoever closes it."""
        await asyncio.shield(self.connection_lost_waiter)

    def connection_closed_exc(self) -> ConnectionClosed:
        """What `recv` and `send` raise once the connection is closed. Raises InvalidState before."""
        return self._sans_io.close_exc

    def fail_connection(self, code: int = CloseCode.ABNORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection because something is wrong (RFC 6455 7.1.7), without waiting.

        Args:
            code: why; 1006 sends no CLOSE frame.
            reason: the same in words.
        """
        if self._sans_io.state is CLOSED:
            return
        if self._link is not None:
            self._link.fail(code, reason)
        elif hasattr(self, "transport"):
            self.transport.close()

    async def close_connection(self) -> None:
        """End the TCP connection of a handshake that has failed: the peer may read what was written to it."""
        if not self.transport.is_closing() and hang_up(self.transport):
            await asyncio.wait([self.connection_lost_waiter], timeout=LINGER_S)
        await self.close_transport()

    async def close_transport(self) -> None:
        """Close the TCP connection, after `close_timeout` whatever is still to be sent."""
        self.transport.close()
        if not await self.wait_for_connection_lost():
            self.transport.abort()
            await self.wait_closed()

    async def wait_for_connection_lost(self) -> bool:
        """Wait for the end of the TCP connection for `close_timeout`; whether it has come."""
        await asyncio.wait([self.connection_lost_waiter], timeout=self.close_timeout)
        return self.connection_lost_waiter.done()

    def connection_open(self) -> None:
        """The opening handshake was successful: the rest is frames."""
        protocol = self._sans_io
        protocol.max_message_size = self.max_size
        protocol.extensions = self.extensions
        protocol.subprotocol = self.subprotocol
        remainder, self._remainder = self._remainder, b""
        self._link = link = Link(
            protocol,
            ping_interval=self.ping_interval,
            ping_timeout=self.ping_timeout,
            close_timeout=self.close_timeout,
            max_queue=self.max_queue,
        )
        link.take_over(self.loop, self.transport, self._is_client(), remainder)

    def _log_head(self, arrow: str, start_line: str, headers: Headers) -> None:
        if self.debug:
            self.logger.debug("%s %s", arrow, start_line)
            for name, value in headers.raw_items():
                self.logger.debug("%s %s: %s", arrow, name, value)

    async def _end_handshake(self) -> None:
        """Take what was read too much, and open the connection. Raises ConnectionResetError if there is none."""
        if self.closed:
            raise ConnectionResetError("the connection was lost during the opening handshake")
        self.reader.feed_eof()  # so that reading does not wait
        self._remainder = await self.reader.read()
        self.connection_open()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TCP connection exists."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(self.write_limit)
        self.reader.set_transport(transport)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._link is None:
            self.reader.feed_data(data)
        else:
            self._link.data_received(data)

    def eof_received(self) -> None:
        """The peer sends no more; the transport closes itself."""
        if self._link is None:
            self.reader.feed_eof()
        else:
            self._link.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The TCP connection has ended."""
        if self._link is not None:
            self._link.connection_lost(exc)
        elif exc is None:
            self.reader.feed_eof()
        else:
            self.reader.set_exception(exc)
        if self._sans_io.state is not CLOSED:
            self._sans_io.state = CLOSED
        if not self.connection_lost_waiter.done():
            self.connection_lost_waiter.set_result(None)

    def pause_writing(self) -> None:
        """The write buffer is full."""
        if self._link is not None:
            self._link.transport_paused(True)

    def resume_writing(self) -> None:
        """The write buffer has room again."""
        if self._link is not None:
            self._link.transport_paused(False)


def _not_established() -> InvalidState:
    return InvalidState("WebSocket connection isn't established yet")
