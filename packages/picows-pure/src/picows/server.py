"""ws_create_server: a listening socket, and the opening handshake of each connection that it accepts."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from http import HTTPStatus
from typing import Any, Awaitable, Callable, Dict, Generator, Optional, Set, Union

from ._engine import pick
from .abc import Engine, EngineListener
from .closing import close_payload
from .deadlines import Deadlines
from .enums import WSAutoPingStrategy, WSCloseCode
from .errors import WSHandshakeError
from .handshake import ServerHandshake, refusal
from .http import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener, hide_credentials
from .options import (
    DEFAULT_HANDSHAKE_TIMEOUT,
    NOT_GIVEN,
    WSLoggerLike,
    check_callable,
    check_timeout,
    handshake_timeout,
    make_options,
)
from .transports import hang_up, listen, loop_method, resolve_aiofastnet

_Answer = Union[EngineListener, WSUpgradeResponseWithListener, None]
WSServerListenerFactory = Callable[[WSUpgradeRequest], Union[_Answer, Awaitable[_Answer]]]

#: How long a refused client may take to read the answer and to hang up, before we do.
LINGER_S = 1.0
#: Bytes that a client may send ahead while a coroutine decides about its request.
MAX_SENT_AHEAD = 64 * 1024


class _ServerSettings:
    """What all openings of a server share."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        engine: Engine,
        factory: WSServerListenerFactory,
        handshake_timeout_s: Optional[float],
    ) -> None:
        self.loop = loop
        self.listener_class: type[Any] = engine.WSListener
        self.scan_upgrade = engine.scan_upgrade
        self.factory = factory
        #: The handshakes in progress.
        self.openings: Deadlines[ServerOpening] = Deadlines(loop, handshake_timeout_s, ServerOpening._on_timeout)
        #: Refused connections that have not ended yet: when they have, the future is done.
        self.lingering: Dict[ServerOpening, asyncio.Future[None]] = {}


class ServerOpening:
    """The opening handshake of one accepted connection (see `picows.abc.Opening`)."""

    __slots__ = ("_settings", "_handshake", "_protocol", "_linger", "_task", "_sent_ahead", "_is_over")

    def __init__(self, settings: _ServerSettings) -> None:
        self._settings = settings
        self._handshake = ServerHandshake(settings.scan_upgrade)
        self._protocol: Any = None
        self._linger: Optional[asyncio.TimerHandle] = None
        self._task: Optional[asyncio.Task[None]] = None
        self._sent_ahead: Optional[bytearray] = None
        #: Nothing that the peer sends matters any more.
        self._is_over = False

    def connection_made(self, protocol: Any) -> None:
        """Start the clock."""
        self._protocol = protocol
        self._settings.openings.add(self)

    def data_received(self, data: bytes) -> None:
        """Read the request; ask the factory once it is complete."""
        if self._is_over:
            return
        if self._task is not None:
            self._keep(data)
            return
        try:
            if self._handshake.receive_data(data):
                self._call_factory()
        except WSHandshakeError as exc:
            self._log(logging.INFO, "refused the request: %s", exc)
            self._send(refusal(exc))

    def eof_received(self) -> None:
        """The client hung up: `connection_lost` follows."""

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        """The connection broke, or could not be set up."""
        self._end()
        if self._protocol is None:
            logging.getLogger("picows.server").error("the connection could not be set up", exc_info=exc)
        elif not self._is_over:
            self._log(logging.INFO, "the client hung up during the handshake")
        self._is_over = True

    def _keep(self, data: bytes) -> None:
        """The client sends ahead while the factory is awaited. Reading goes on, to notice when it hangs up."""
        if self._sent_ahead is None:
            self._sent_ahead = bytearray()
        self._sent_ahead += data
        if len(self._sent_ahead) > MAX_SENT_AHEAD:
            self._protocol.transport.underlying_transport.pause_reading()

    def turn_away(self) -> None:
        """The server closes: refuse the request, whatever has arrived of it."""
        if not self._is_over:
            self._send(WSUpgradeResponse.create_error_response(HTTPStatus.SERVICE_UNAVAILABLE))

    def _call_factory(self) -> None:
        settings = self._settings
        try:
            answer = settings.factory(self._handshake.request)  # type: ignore[arg-type]
            if not isinstance(answer, settings.listener_class) and inspect.isawaitable(answer):
                self._task = settings.loop.create_task(self._await_answer(answer))
                return
        except Exception as exc:
            self._on_factory_error(exc)
            return
        self._answer(answer)

    async def _await_answer(self, awaitable: Awaitable[_Answer]) -> None:
        try:
            answer = await awaitable
        except asyncio.CancelledError:
            if not self._is_over:  # not by us: nobody else will answer
                self._log(logging.INFO, "the listener factory was cancelled")
                self._send(WSUpgradeResponse.create_error_response(HTTPStatus.INTERNAL_SERVER_ERROR))
            raise
        except Exception as exc:
            self._on_factory_error(exc)
            return
        finally:
            self._task = None
        if not self._is_over:
            if self._sent_ahead is not None and len(self._sent_ahead) > MAX_SENT_AHEAD:
                self._protocol.transport.underlying_transport.resume_reading()
            self._answer(answer)

    def _on_factory_error(self, exc: Exception) -> None:
        if not self._is_over:
            self._log(logging.ERROR, "the listener factory raised", exc_info=exc)
            self._send(WSUpgradeResponse.create_error_response(HTTPStatus.INTERNAL_SERVER_ERROR))

    def _answer(self, answer: Any) -> None:
        """Turn what the factory returned into a response."""
        if isinstance(answer, self._settings.listener_class):
            self._write(*self._handshake.accept(), answer)
        elif isinstance(answer, WSUpgradeResponseWithListener):
            self._send(answer.response, answer.listener)
        elif answer is None:
            self._send(WSUpgradeResponse.create_error_response(HTTPStatus.NOT_FOUND, b"404 Not Found"))
        else:
            self._log(logging.ERROR, "the listener factory returned %s, not a WSListener", type(answer).__name__)
            self._send(WSUpgradeResponse.create_error_response(HTTPStatus.INTERNAL_SERVER_ERROR))

    def _send(self, response: WSUpgradeResponse, listener: Any = None) -> None:
        """Send a response of the application's or of ours."""
        handshake = self._handshake
        try:
            data, is_accepted = handshake.respond(response)
        except (TypeError, ValueError) as exc:
            self._log(logging.ERROR, "the response cannot be sent", exc_info=exc)
            data, is_accepted = handshake.respond(
                WSUpgradeResponse.create_error_response(HTTPStatus.INTERNAL_SERVER_ERROR)
            )
        self._write(data, is_accepted, listener)

    def _write(self, data: bytes, is_accepted: bool, listener: Any) -> None:
        """Write the response; open the connection if it is a 101 to a valid request, else close it."""
        handshake, protocol = self._handshake, self._protocol
        self._is_over = True
        self._end()
        if protocol._is_debug:
            protocol.transport._log_bytes("sending response", hide_credentials(data))
        protocol.transport.underlying_transport.write(data)
        if is_accepted:
            remainder = handshake.remainder
            if self._sent_ahead is not None:
                remainder += self._sent_ahead
            protocol.open(listener, handshake.request, handshake.response, remainder)
            return
        if handshake.error is not None:
            self._log(logging.INFO, "refused the request: %s", handshake.error)
        self._hang_up()

    def _hang_up(self) -> None:
        """Close so that the answer arrives."""
        transport = self._protocol.transport.underlying_transport
        if not hang_up(transport):
            return
        settings = self._settings
        self._linger = settings.loop.call_later(LINGER_S, transport.abort)
        settings.lingering[self] = settings.loop.create_future()

    def _on_timeout(self) -> None:
        self._log(logging.INFO, "no complete request within %s s", self._settings.openings.timeout_s)
        self._is_over = True
        self._end()
        self._protocol.transport.underlying_transport.close()

    def _end(self) -> None:
        self._settings.openings.discard(self)
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
            self._settings.lingering.pop(self).set_result(None)
        if self._task is not None:
            task, self._task = self._task, None
            if task is not asyncio.current_task(self._settings.loop):
                task.cancel()

    def _log(self, level: int, message: str, *args: object, exc_info: Any = None) -> None:
        self._protocol.transport._log(level, message, *args, exc_info=exc_info)


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
        self._openings = settings.openings
        self._lingering = settings.lingering
        self._connections = connections
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
        """Accept connections, where the server was created with `start_serving=False`."""
        await self._server.start_serving()

    async def serve_forever(self) -> None:
        """Serve until cancelled or closed; on cancellation the connections are closed with 1001 first."""
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
        self._server.close()
        if self._forever is not None and not self._forever.done():
            self._forever.set_result(None)
        timeout = self._close_timeout if close_timeout is None else close_timeout
        return _Goodbye(lambda: self._say_goodbye(code, reason, timeout))

    async def _say_goodbye(self, code: int, reason: str, timeout: Optional[float]) -> None:
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
            await asyncio.wait(list(self._lingering.values()))
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


async def ws_create_server(
    ws_listener_factory: WSServerListenerFactory,
    host: Any = None,
    port: Optional[int] = None,
    *,
    disconnect_on_exception: bool = True,
    websocket_handshake_timeout: Optional[float] = DEFAULT_HANDSHAKE_TIMEOUT,
    logger_name: WSLoggerLike = None,
    enable_auto_ping: bool = False,
    auto_ping_idle_timeout: float = 20,
    auto_ping_reply_timeout: float = 20,
    auto_ping_strategy: WSAutoPingStrategy = WSAutoPingStrategy.PING_WHEN_IDLE,
    enable_auto_pong: bool = True,
    max_frame_size: int = 10 * 1024 * 1024,
    read_buffer_init_size: int = 16 * 1024,
    use_aiofastnet: Optional[bool] = None,
    open_timeout: Any = NOT_GIVEN,
    close_timeout: Optional[float] = 10,
    enable_auto_close: bool = False,
    strict: bool = False,
    write_coalescing: bool = True,
    max_write_buffer_size: Optional[int] = None,
    path: Optional[str] = None,
    engine: Optional[Engine] = None,
    **kwargs: Any,
) -> WSServer:
    """Serve WebSocket connections (RFC 6455 4.2).

    Args:
        ws_listener_factory: called with the request, before its upgrade headers are checked; may be a coroutine
            function. It returns a WSListener to accept, a WSUpgradeResponseWithListener to decide the response (any
            HTTP response may be sent), or None for 404. If it raises or is cancelled, that is logged: a bare 500.
        host: as for `loop.create_server`.
        port: as for `loop.create_server`.
        websocket_handshake_timeout: seconds from accepting a connection to its 101; None is no limit. `open_timeout`
            is its second name.
        path: listen on this Unix socket instead of host and port.
        kwargs: passed to `loop.create_server`: ssl, sock, backlog, reuse_port, start_serving.

    All other arguments are those of `ws_connect`, for the server's side.

    Returns:
        The server. It is serving unless `start_serving=False`.

    Raises:
        ValueError, TypeError: a bad argument; nothing was opened.
        OSError: the address cannot be listened on.
    """
    unix_path = _check_path(path, host, port)
    options = make_options(
        False,
        logger_name,
        enable_auto_ping=enable_auto_ping,
        auto_ping_strategy=auto_ping_strategy,
        auto_ping_idle_timeout=auto_ping_idle_timeout,
        auto_ping_reply_timeout=auto_ping_reply_timeout,
        disconnect_on_exception=disconnect_on_exception,
        enable_auto_pong=enable_auto_pong,
        enable_auto_close=enable_auto_close,
        strict=strict,
        max_frame_size=max_frame_size,
        close_timeout=close_timeout,
        write_coalescing=write_coalescing,
        max_write_buffer_size=max_write_buffer_size,
        read_buffer_init_size=read_buffer_init_size,
    )
    check_callable("ws_listener_factory", ws_listener_factory)
    loop = asyncio.get_running_loop()
    timeout_s = handshake_timeout(websocket_handshake_timeout, open_timeout)
    picked = pick(engine)
    settings = _ServerSettings(loop, picked, ws_listener_factory, timeout_s)
    connections: Set[Any] = set()

    use_it = resolve_aiofastnet(use_aiofastnet)
    is_plain = not use_it and kwargs.get("ssl") is None

    def make_protocol() -> Any:
        return picked.make_protocol(loop, options, ServerOpening(settings), connections, is_plain)

    if unix_path is None:
        server = await listen(loop_method(loop, "create_server", use_it), make_protocol, host, port, **kwargs)
    else:
        server = await listen(loop_method(loop, "create_unix_server", use_it), make_protocol, unix_path, **kwargs)
    return WSServer(server, connections, settings, close_timeout)


def _check_path(path: Any, host: Any, port: Any) -> Optional[str]:
    if path is None:
        return None
    if host is not None or port is not None:
        raise ValueError("path names a Unix socket: it excludes host and port")
    return str(os.fspath(path))
