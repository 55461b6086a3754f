"""The opening handshake on an asyncio transport: bytes to the Sans-I/O protocol, and the connection to the engine.

An Opening (`picows.abc.Opening`) is what the engine's protocol feeds until the handshake is over. It gives every byte
to a ClientProtocol or ServerProtocol that leaves frames alone, writes what that has to say, and calls `open` of the
engine's protocol with what followed the handshake.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Any

from picows.options import ConnectionOptions
from picows.transports import hang_up

from .._opening import OpeningProtocol
from ..http11 import Request, Response
from ..protocol import OPEN
from .connection import Connection

if TYPE_CHECKING:
    from ..client import ClientProtocol


class _InternalErrors(logging.Handler):
    """The engine's log is not this API's: of it only exceptions out of callbacks are heard, which are our faults."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on what has a traceback."""
        if record.exc_info:
            logging.getLogger("websockets").error("unexpected internal error", exc_info=record.exc_info)


_engine_logger = logging.Logger("picows.websockets", logging.ERROR)
_engine_logger.addHandler(_InternalErrors())

#: More than any frame.
_NO_LIMIT = 1 << 62


def engine_options(
    is_client_side: bool,
    max_size: int | None | tuple[int | None, int | None],
    is_debug: bool,
) -> ConnectionOptions:
    """The engine's options for connections of this API.

    Args:
        is_client_side: the side.
        max_size: as for `connect` and `serve`.
        is_debug: the `debug` of the connection's protocol: its Tap answers PINGs then, to log them in order.
    """
    limit = max_size
    if limit is not None and not isinstance(limit, int):
        limit = min((each for each in limit if each is not None), default=None)
    return _engine_options(is_client_side, _NO_LIMIT if limit is None else max(1, limit), is_debug)


# Nearly all programs have one or two of them, and every `connect()` asks for both.
@functools.lru_cache(maxsize=16, typed=True)
def _engine_options(is_client_side: bool, max_frame_size: int, is_debug: bool) -> ConnectionOptions:
    return ConnectionOptions(
        is_client_side=is_client_side,
        logger=_engine_logger,
        max_frame_size=max_frame_size,
        close_timeout=None,  # connections have a timer of their own
        enable_auto_pong=not is_debug,
    )


class Opening:
    """What both sides share.

    Args:
        connection: whose handshake it is; its `protocol` reads it.
    """

    __slots__ = ("connection", "engine_protocol", "transport", "_protocol", "_is_over")

    _protocol: OpeningProtocol

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._protocol = connection.protocol  # type: ignore[assignment]  # a ClientProtocol or ServerProtocol
        self.engine_protocol: Any = None
        self.transport: Any = None
        self._is_over = False
        self._protocol._leave_frames()

    # The engine calls these.

    def connection_made(self, engine_protocol: Any) -> None:
        """The transport is there."""
        self.engine_protocol = engine_protocol
        self.transport = engine_protocol.transport.underlying_transport
        self.connection._on_made(self.transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of the handshake, and perhaps of frames behind it."""
        if not self._is_over:
            self._protocol.receive_data(data)
            self.advance()

    def eof_received(self) -> None:
        """The peer has hung up."""
        if not self._is_over:
            self._protocol.receive_eof()
            self.advance()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone, or `connection_made` failed with `exc`."""
        self.eof_received()
        self.connection._on_never_opened()

    # A side implements this.

    def advance(self) -> None:
        """Look at what the protocol has received."""

    # Both sides use these.

    def flush(self) -> None:
        """Write what the protocol has to say."""
        for data in self._protocol.data_to_send():
            if data:
                self.transport.write(data)
            else:
                try:
                    hang_up(self.transport)
                except RuntimeError:  # closed already
                    self.transport.abort()

    def open(self) -> None:
        """The handshake has succeeded: the engine takes over."""
        self._is_over = True
        connection, protocol = self.connection, self.engine_protocol
        connection._prepare()
        remainder = self._protocol._take_remainder()
        protocol.open(connection, connection.request, connection.response, remainder)


class ClientOpening(Opening):
    """The client's side.

    Attributes:
        done: gets None when the connection is open, or why it is not.
    """

    __slots__ = ("done",)

    _protocol: ClientProtocol

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(connection)
        self.done: asyncio.Future[None] = loop.create_future()

    def send_request(self, request: Request) -> None:
        """Begin."""
        self._protocol.send_request(request)
        self.flush()

    def abandon(self) -> None:
        """Nobody waits for `done` any more: it shall not complain that nobody has looked at its exception."""
        if not self.done.cancel() and not self.done.cancelled():
            self.done.exception()

    def advance(self) -> None:
        """Open the connection, or say why not."""
        protocol = self._protocol
        for event in protocol.events_received():
            if isinstance(event, Response):
                self.connection.response = event
        exc = protocol.handshake_exc
        if exc is None and protocol.state is OPEN:
            try:
                self.open()
            finally:
                _set(self.done, None)  # the connection says by itself what has become of it
        elif exc is not None:
            self._is_over = True
            self.flush()
            _set(self.done, exc)

    def connection_lost(self, exc: BaseException | None) -> None:
        """As for Opening; an error of the network is what the caller gets."""
        if isinstance(exc, Exception) and not self._is_over:
            self._is_over = True
            _set(self.done, exc)
        super().connection_lost(exc)


def _set(waiter: asyncio.Future[None], exc: BaseException | None) -> None:
    if not waiter.done():
        if exc is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(exc)
