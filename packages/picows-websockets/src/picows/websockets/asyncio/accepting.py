"""The server's side of the opening handshake: the request, the user's hooks, the response, the handler."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from picows.server import LEAVES_THE_LOOP, MAX_SENT_AHEAD
from picows.transports import Lingering

from .._answering import refuse_while_closing
from ..http11 import Request, Response
from ..protocol import CLOSED, OPEN
from ..server import ServerProtocol
from .opening import Opening
from .ordinary import Answer, OrdinaryRequests

if TYPE_CHECKING:
    from .server import Server, ServerConnection

ProcessRequest = Callable[["ServerConnection", Request], "Awaitable[Response | None] | Response | None"]
ProcessResponse = Callable[["ServerConnection", Request, Response], "Awaitable[Response | None] | Response | None"]

#: Seconds that a refused client may take to hang up, before we do.
LINGER_S = 1.0
_SEE_LOG = "Failed to open a WebSocket connection.\nSee server log for more information.\n"


class Hooks:
    """What `serve` was given for the handshakes of all connections."""

    __slots__ = ("ordinary", "process_request", "process_response", "server_header")

    def __init__(
        self,
        process_request: ProcessRequest | None,
        process_response: ProcessResponse | None,
        server_header: str | None,
        ordinary: OrdinaryRequests | None,
    ) -> None:
        self.process_request = process_request
        self.process_response = process_response
        self.server_header = server_header
        #: What accepts the requests that nobody wants to look at.
        self.ordinary = ordinary


class ServerOpening(Opening):
    """One handshake.

    A client may leave while a hook is awaited. The hook goes on, and so does what follows it, but nothing is sent, no
    connection is opened, and no handler runs. Reading goes on meanwhile, to notice it: up to MAX_SENT_AHEAD bytes.

    Args:
        connection: whose.
        server: learns of the handshake, and of the connection when it is open.
        hooks: the user's.
        loop: the loop of the connection.
    """

    __slots__ = (
        "_server",
        "_hooks",
        "_loop",
        "_timer",
        "_task",
        "_response",
        "_has_bytes",
        "_has_request",
        "_sent_ahead",
        "_is_lost",
        "_lost",
    )

    connection: ServerConnection
    _protocol: ServerProtocol

    def __init__(
        self, connection: ServerConnection, server: Server, hooks: Hooks, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(connection)
        self._server = server
        self._hooks = hooks
        self._loop = loop
        self._timer: Lingering | None = None
        self._task: asyncio.Task[None] | None = None
        self._response: Response | None = None
        self._has_bytes = False
        self._has_request = False
        #: How many bytes came while a hook was awaited.
        self._sent_ahead = 0
        self._is_lost = False
        self._lost: asyncio.Future[None] | None = None

    # The engine calls these.

    def connection_made(self, engine_protocol: Any) -> None:
        """The client has connected."""
        super().connection_made(engine_protocol)
        self._server._openings.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the request, or frames sent ahead while a hook is awaited."""
        ordinary = self._hooks.ordinary
        protocol = self._protocol
        if ordinary is not None and not (
            self._has_bytes or self._is_over or self._server._is_closing or protocol.debug
        ):
            answer = ordinary.accept(protocol, data)
            if answer is not None:
                self._take(answer)
                return
        self._has_bytes = True
        if self._task is not None:
            self._sent_ahead += len(data)
            if self._sent_ahead > MAX_SENT_AHEAD:
                self.transport.pause_reading()
        super().data_received(data)

    def eof_received(self) -> None:
        """The client hung up: `connection_lost` follows."""
        super().eof_received()
        if not self._is_over:  # a hook is awaited
            self._note_loss()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client hung up during the handshake, or after it was refused."""
        self._is_lost = True
        self._note_loss()
        self.connection._on_never_opened()
        if self._task is None or self._task.done():  # an eager task may be
            self._end()

    def _note_loss(self) -> None:
        protocol = self._protocol
        protocol.receive_eof()  # whose last words are for the log
        if protocol.state is not CLOSED:  # there are none where it has left the handshake behind
            protocol.state = CLOSED
            protocol.logger.info("connection closed")

    async def wait_lost(self) -> None:
        """Wait until a client that was refused has gone."""
        if self._is_over and self._is_lost:  # while another one was waited for
            return
        if self._lost is None:
            self._lost = self._loop.create_future()
        await self._lost

    # The steps

    def _take(self, answer: Answer) -> None:
        """An ordinary request was accepted."""
        connection = self.connection
        connection._request, connection._response = answer.head, answer.response
        self.transport.write(answer.response)
        self._is_over = True
        self._server._openings.discard(self)
        if self._protocol.extensions:
            connection._prepare()
        if self._protocol._logger.isEnabledFor(logging.INFO):
            connection.logger.info("connection open")
        self.engine_protocol.open(connection, None, None, answer.remainder)
        self._server._start_handler(connection, self._loop)

    def advance(self) -> None:
        """Act on the request once it is there."""
        if self._has_request:
            return
        protocol = self._protocol
        for event in protocol.events_received():
            if isinstance(event, Request):
                self._has_request = True
                self.connection.request = event
                self._on_request(event)
                return
        if protocol.handshake_exc is not None:  # no request, or one that was refused while it was read
            self.flush()
            self._hang_up()

    def _on_request(self, request: Request) -> None:
        hook = self._hooks.process_request
        answer = self._call("process_request", hook, self.connection, request) if hook is not None else None
        self._then("process_request", answer, self._after_process_request)

    def _after_process_request(self, answer: Response | None) -> None:
        request = self.connection.request
        if answer is None and request is not None:
            answer = self._protocol.accept(request)
        response = self._response = cast(Response, answer)
        if self._hooks.server_header is not None:
            response.headers.setdefault("Server", self._hooks.server_header)
        self.connection.response = response
        hook = self._hooks.process_response
        later = self._call("process_response", hook, self.connection, request, response) if hook is not None else None
        self._then("process_response", later, self._after_process_response)

    def _after_process_response(self, answer: Response | None) -> None:
        self._respond(cast(Response, self._response if answer is None else answer))

    def _call(self, name: str, hook: Callable[..., Any], *args: Any) -> Any:
        try:
            return hook(*args)
        except LEAVES_THE_LOOP:
            raise
        except BaseException as exc:  # of a future that was cancelled, say: the loop would cut the client off
            return _Failed(exc)

    def _then(self, name: str, answer: Any, step: Callable[[Response | None], None]) -> None:
        """Go on with what a hook returned, now or when it is there."""
        if inspect.isawaitable(answer):
            self._task = self._loop.create_task(self._await(name, answer, step))
        else:
            self._go_on(name, answer, step)

    async def _await(self, name: str, awaitable: Awaitable[Any], step: Callable[[Response | None], None]) -> None:
        try:
            answer = await awaitable
        except asyncio.CancelledError:
            self._task = None
            if not self._is_over:  # not by us: nobody else will answer
                self.connection.logger.info("%s was cancelled", name)
                self._read_on()
                self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, _SEE_LOG)
            raise
        except LEAVES_THE_LOOP:
            raise
        except BaseException as exc:
            answer = _Failed(exc)
        self._task = None
        if not self._is_over:
            self._read_on()
            self._go_on(name, answer, step)

    def _go_on(self, name: str, answer: Any, step: Callable[[Response | None], None]) -> None:
        if answer is not None and not isinstance(answer, (Response, _Failed)):
            answer = _Failed(TypeError(f"{name} must return a Response or None, got {type(answer).__name__}"))
        if isinstance(answer, _Failed):
            self.connection.logger.error("%s failed", name, exc_info=answer.exc)
            if name == "process_response":
                self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, _SEE_LOG)
                return
            answer = self._protocol.reject(HTTPStatus.INTERNAL_SERVER_ERROR, _SEE_LOG)
        self._guarded(step, answer)

    def _guarded(self, step: Callable[[Any], None], response: Response | None) -> None:
        """Do a step whose response is the user's: there are some that cannot be sent."""
        try:
            step(response)
        except Exception:
            self.connection.logger.error("unexpected internal error", exc_info=True)
            self._cut_off()

    def _read_on(self) -> None:
        if self._sent_ahead > MAX_SENT_AHEAD and not self._is_lost:
            self.transport.resume_reading()

    # The end

    def turn_away(self) -> None:
        """The server closes: refuse a request before it comes. Hooks that look at one go on, and `_respond` refuses."""
        if not self._is_over and not self._has_request:
            self._guarded(self._respond, refuse_while_closing(self._protocol))

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self._guarded(self._respond, self._protocol.reject(status, text))

    def _respond(self, response: Response) -> None:
        connection, protocol = self.connection, self._protocol
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS and self._server._is_closing:
            response = refuse_while_closing(protocol)
        connection.response = response
        if protocol.state is CLOSED:  # the client left while a hook was awaited
            if self._is_lost:
                self._end()
            return
        protocol.send_response(response)
        self.flush()
        if protocol.state is OPEN:
            self._end()
            self._server._leaving.discard(self)
            self.open()
            self._server._start_handler(connection, self._loop)
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        """Give the client time to read the response."""
        self._end()
        if not self.transport.is_closing():
            self._timer = Lingering(self._loop, self.transport, LINGER_S)
            if self._server._is_closing:
                self.hurry()

    def hurry(self) -> None:
        """The server closes: a refused client that reads slowly is not waited for."""
        if self._timer is not None:
            self._timer.hurry()

    def _cut_off(self) -> None:
        self._end()
        self.transport.abort()

    _on_timeout = _cut_off

    def _end(self) -> None:
        """No time runs any more, and nobody is asked; the connection opens or ends, or has ended."""
        self._is_over = True
        self._server._openings.discard(self)
        if self._is_lost:
            self._server._leaving.discard(self)
            if self._lost is not None and not self._lost.done():
                self._lost.set_result(None)
        else:
            self._server._leaving.add(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task(self._loop):
            task.cancel()


class _Failed:
    """What a hook raised."""

    __slots__ = ("exc",)

    def __init__(self, exc: BaseException) -> None:
        self.exc = exc
