"""ws_create_server: a listening socket, and the opening handshake of each connection that it accepts."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from http import HTTPStatus
from typing import Any, Awaitable, Callable, Dict, Optional, Set, Union

from ._engine import pick
from .abc import Engine, EngineListener
from .deadlines import Deadlines
from .enums import WSAutoPingStrategy
from .errors import WSHandshakeError
from .handshake import ServerHandshake, refusal
from .http import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener, hide_credentials
from .options import (
    DEFAULT_HANDSHAKE_TIMEOUT,
    NOT_GIVEN,
    WSLoggerLike,
    check_callable,
    handshake_timeout,
    make_options,
)
from .resuming import resume_reading
from .serving import WSServer as WSServer
from .transports import LINGER_S as LINGER_S
from .transports import Lingering, hang_up, listen, resolve_aiofastnet

_Answer = Union[EngineListener, WSUpgradeResponseWithListener, None]
WSServerListenerFactory = Callable[[WSUpgradeRequest], Union[_Answer, Awaitable[_Answer]]]

#: Bytes that a client may send ahead while a coroutine decides about its request.
MAX_SENT_AHEAD = 64 * 1024
#: An answer of so many bytes is in the system's buffer at once, also below TLS, where that cannot be asked.
SMALL_ANSWER = 16 * 1024
#: What a user's function may raise that is not about its client: the event loop ends with it, or a coroutine is closed.
LEAVES_THE_LOOP = (SystemExit, KeyboardInterrupt, GeneratorExit)


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
        #: Everybody was said goodbye to: who comes now has connected before, and was still in a TLS handshake, say.
        self.is_over = False


class ServerOpening:
    """The opening handshake of one accepted connection (see `picows.abc.Opening`)."""

    __slots__ = ("_settings", "_handshake", "_protocol", "_linger", "_task", "_sent_ahead", "_is_over")

    def __init__(self, settings: _ServerSettings) -> None:
        self._settings = settings
        self._handshake = ServerHandshake(settings.scan_upgrade)
        self._protocol: Any = None
        self._linger: Optional[Lingering] = None
        self._task: Optional[asyncio.Task[None]] = None
        self._sent_ahead: Optional[bytearray] = None
        #: Nothing that the peer sends matters any more.
        self._is_over = False

    def connection_made(self, protocol: Any) -> None:
        """Start the clock."""
        self._protocol = protocol
        self._settings.openings.add(self)
        if self._settings.is_over:
            self.turn_away()

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
        except LEAVES_THE_LOOP:
            raise
        except BaseException as exc:  # of a future that was cancelled, say: the loop would cut the client off
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
        except LEAVES_THE_LOOP:
            raise
        except BaseException as exc:  # pytest.fail's, say: nobody else will answer
            self._on_factory_error(exc)
            return
        finally:
            self._task = None
        if not self._is_over:
            self._answer(answer)

    def _on_factory_error(self, exc: BaseException) -> None:
        if not self._is_over:
            self._log(logging.ERROR, "the listener factory raised", exc_info=exc)
            self._send(WSUpgradeResponse.create_error_response(HTTPStatus.INTERNAL_SERVER_ERROR))

    def _answer(self, answer: Any) -> None:
        """Turn what the factory returned into a response."""
        if isinstance(answer, self._settings.listener_class):
            self._write(*self._handshake.accept(), answer)
        elif answer is None:
            self._send(WSUpgradeResponse.create_error_response(HTTPStatus.NOT_FOUND, b"404 Not Found"))
        elif not isinstance(answer, WSUpgradeResponseWithListener):
            self._on_wrong_listener(answer)
        elif answer.response.status == 101 and not isinstance(answer.listener, self._settings.listener_class):
            self._on_wrong_listener(answer.listener)
        else:
            self._send(answer.response, answer.listener)

    def _on_wrong_listener(self, answer: Any) -> None:
        self._log(logging.ERROR, "the listener factory returned %s, not a WSListener", type(answer).__name__)
        self._send(WSUpgradeResponse.create_error_response(HTTPStatus.INTERNAL_SERVER_ERROR))

    def _send(self, response: WSUpgradeResponse, listener: Any = None) -> None:
        """Send a response of the application's or of ours."""
        handshake = self._handshake
        try:
            data, is_accepted = handshake.respond(response)
        except Exception as exc:  # AttributeError, say: users may have put anything into it, or nothing
            self._log(logging.ERROR, "the response cannot be sent", exc_info=exc)
            data, is_accepted = handshake.respond(
                WSUpgradeResponse.create_error_response(HTTPStatus.INTERNAL_SERVER_ERROR)
            )
        self._write(data, is_accepted, listener)

    def _write(self, data: bytes, is_accepted: bool, listener: Any) -> None:
        """Write the response; open the connection if it is a 101 to a valid request, else close it."""
        handshake, protocol = self._handshake, self._protocol
        transport = protocol.transport.underlying_transport
        self._is_over = True
        self._end()
        if protocol._is_debug:
            protocol.transport._log_bytes("sending response", hide_credentials(data))
        if self._sent_ahead is not None and len(self._sent_ahead) > MAX_SENT_AHEAD:
            resume_reading(transport, self._settings.loop)
        transport.write(data)
        if is_accepted:
            remainder = handshake.remainder
            if self._sent_ahead is not None:
                remainder += self._sent_ahead
            protocol.open(listener, handshake.request, handshake.response, remainder)
            return
        if handshake.error is not None:
            self._log(logging.INFO, "refused the request: %s", handshake.error)
        if hang_up(transport) or len(data) <= SMALL_ANSWER:
            self._wait_for_the_end()

    def _wait_for_the_end(self) -> None:
        """The transport was told to end: some peers do not let it, and the end of TLS waits for them half a minute."""
        settings = self._settings
        self._linger = Lingering(settings.loop, self._protocol.transport.underlying_transport, LINGER_S)
        settings.lingering[self] = settings.loop.create_future()

    def cut_off(self) -> None:
        """The answer was sent: do not wait for the peer any longer."""
        self._protocol.transport.underlying_transport.abort()

    def _on_timeout(self) -> None:
        self._log(logging.INFO, "no complete request within %s s", self._settings.openings.timeout_s)
        self._is_over = True
        self._end()
        self._protocol.transport.underlying_transport.close()
        self._wait_for_the_end()

    def _end(self) -> None:
        self._settings.openings.discard(self)
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
            self._settings.lingering.pop(self).set_result(None)
        if self._task is not None:
            task, self._task = self._task, None
            if task is not asyncio.current_task(self._settings.loop):
                # After its first step: it has a coroutine of the user's, which nobody would have awaited.
                self._settings.loop.call_soon(task.cancel)

    def _log(self, level: int, message: str, *args: object, exc_info: Any = None) -> None:
        self._protocol.transport._log(level, message, *args, exc_info=exc_info)


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

    context = kwargs.get("ssl")
    use_it = resolve_aiofastnet(use_aiofastnet, () if context is None else (context,))
    is_plain = not use_it and context is None

    def make_protocol() -> Any:
        return picked.make_protocol(loop, options, ServerOpening(settings), connections, is_plain)

    if unix_path is None:
        server = await listen(loop, "create_server", use_it, make_protocol, host, port, **kwargs)
    else:
        server = await listen(loop, "create_unix_server", use_it, make_protocol, unix_path, **kwargs)
    return WSServer(server, connections, settings, close_timeout)


def _check_path(path: Any, host: Any, port: Any) -> Optional[str]:
    if path is None:
        return None
    if host is not None or port is not None:
        raise ValueError("path names a Unix socket: it excludes host and port")
    return str(os.fspath(path))
