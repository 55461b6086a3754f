"""What uvicorn calls: one object for each request that asks for WebSocket, from the request to the end.

    uvicorn's HTTP protocol -> connection_made, data_received(the request) -> the application's task
        websocket.accept                -> 101; the engine's protocol takes the transport over
        websocket.close                 -> 403
        websocket.http.response.start   -> what the application answers
        an error, or no answer          -> 500

What the application does wrong is a RuntimeError, ValueError or TypeError for it; what it sends to a peer that has
gone is uvicorn's ClientDisconnected, an OSError, as ASGI asks for.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import Any
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.logging import TRACE_LOG_LEVEL
from uvicorn.protocols.utils import (
    ClientDisconnected,
    get_client_addr,
    get_local_addr,
    get_path_with_query_string,
    get_remote_addr,
    is_ssl,
)
from uvicorn.server import ServerState

from picows._engine import engine
from picows.deflate import SERVER_DEFLATE, DeflateParameters, negotiate
from picows.errors import WSHandshakeError
from picows.extensions import HEADER_NAME as EXTENSIONS
from picows.handshake import ServerHandshake, check_upgrade_request, refusal
from picows.http import WSUpgradeRequest, WSUpgradeResponse
from picows.options import ConnectionOptions, resolve_logger
from picows.server import LINGER_S, MAX_SENT_AHEAD
from picows.transports import Lingering, hang_up

from .connection import Connection
from .refusal import Denial, forbidden, header_pairs, server_error

__all__ = ["WebSocketProtocol"]

#: RFC 6455 7.4.1 and the registry after it: "Service Restart".
RESTART = 1012
SPEC_VERSION = "2.4"

_GONE = {"type": "websocket.disconnect", "code": 1006, "reason": ""}


class WebSocketProtocol(asyncio.Protocol):
    """A WebSocket implementation for uvicorn's `ws` option.

    Args:
        config: uvicorn's.
        server_state: what the connections of a server have in common.
        app_state: the lifespan's state; the scope gets a copy.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._config = config
        self._server = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._logger = logging.getLogger("uvicorn.error")
        self._transport: Any = None
        self._handshake = _Handshake(engine.scan_upgrade)
        self._scope: Any = None
        self._is_announced = False
        #: The request is answered, or nobody waits for an answer any more.
        self._is_settled = asyncio.Event()
        self._connection: Connection | None = None
        self._is_closed_by_app = False
        self._denial: Denial | None = None
        self._is_lost = False
        self._is_reading_paused = False
        self._is_writable = asyncio.Event()
        self._is_writable.set()
        self._linger: Lingering | None = None

    # --- uvicorn and the event loop, until the connection is accepted ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The HTTP protocol hands its connection over."""
        self._transport = transport
        self._server.connections.add(self)  # type: ignore[arg-type]  # uvicorn's union names its own classes only
        self._trace("made")

    def data_received(self, data: bytes) -> None:
        """Read the request, start the application; keep what a client sends ahead."""
        handshake = self._handshake
        if self._scope is not None:
            handshake.receive_data(data)
            if len(handshake.remainder) > MAX_SENT_AHEAD and not self._is_reading_paused:
                self._is_reading_paused = True
                self._transport.pause_reading()
            return
        try:
            if not handshake.receive_data(data) or handshake.request is None:
                return
            check_upgrade_request(handshake.request)
        except WSHandshakeError as exc:
            self._logger.info("%s - refused the WebSocket request: %s", get_remote_addr(self._transport), exc)
            self._refuse(refusal(exc))
            return
        self._scope = self._make_scope(handshake.request)
        if self._loop.get_task_factory() is None:
            self._start()
        else:  # an eager task would accept before uvicorn has made us the transport's protocol
            self._loop.call_soon(self._start)

    def eof_received(self) -> None:
        """The client hung up: `connection_lost` follows."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The client hung up before it was accepted."""
        self._on_lost()

    def pause_writing(self) -> None:
        """The write buffer is full."""
        self._is_writable.clear()

    def resume_writing(self) -> None:
        """The write buffer has room again."""
        self._is_writable.set()

    def shutdown(self) -> None:
        """The server shuts down: 1012 for an open connection, 500 for a request without an answer."""
        connection = self._connection
        if self._is_lost:
            return
        if connection is None:
            if self._is_settled.is_set() or self._denial is not None:
                self._transport.close()
            else:
                self._refuse(server_error(self._server.default_headers))
        elif connection.is_over:
            connection.transport.disconnect()
        else:
            self._run(connection.say_goodbye(RESTART, ""))

    # --- the application ---

    def _make_scope(self, request: WSUpgradeRequest) -> dict[str, Any]:
        config, transport = self._config, self._transport
        raw_path, _, query = request.path.partition(b"?")
        headers = [(name.lower(), value) for name, value in request.headers.items()]
        protocols = ",".join(value for name, value in headers if name == "sec-websocket-protocol")
        return {
            "type": "websocket",
            "asgi": {"version": config.asgi_version, "spec_version": SPEC_VERSION},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(transport) else "ws",
            "server": get_local_addr(transport),
            "client": get_remote_addr(transport),
            "root_path": config.root_path,
            "path": config.root_path + unquote(raw_path.decode("ascii")),
            "raw_path": config.root_path.encode("ascii") + raw_path,
            "query_string": query,
            "headers": [(name.encode("ascii"), value.encode("ascii", "surrogateescape")) for name, value in headers],
            "subprotocols": [name.strip(" \t") for name in protocols.split(",") if name.strip(" \t")],
            "state": self._app_state.copy(),
            "extensions": {"websocket.http.response": {}},
        }

    def _start(self) -> None:
        self._run(self._run_app())

    def _run(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    async def _run_app(self) -> None:
        try:
            result = await self._config.loaded_app(self._scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # SystemExit, too: one application must not end the server
            if isinstance(exc, asyncio.CancelledError) and _is_cancelled():
                raise
            self._logger.exception("Exception in ASGI application\n")
        else:
            if not self._is_settled.is_set():
                self._logger.error("the ASGI application returned without answering the request")
            elif result is not None:
                self._logger.error("the ASGI application should return None, but returned %r", result)
        finally:
            self._end()

    def _end(self) -> None:
        """The application has nothing more to say. A connection that it has not closed is cut off, as by uvicorn."""
        if self._connection is not None:
            self._connection.cut_off()
        elif self._denial is not None and self._denial.is_begun:
            self._hang_up()
        elif not self._is_settled.is_set():
            self._refuse(server_error(self._server.default_headers))

    async def receive(self) -> Any:
        """ASGI's `receive`."""
        if not self._is_announced:  # the first event, also where it was accepted without that
            self._is_announced = True
            return {"type": "websocket.connect"}
        if self._connection is None:
            await self._is_settled.wait()
        if self._connection is not None:
            return await self._connection.receive()
        return dict(_GONE)

    async def send(self, event: Any) -> None:
        """ASGI's `send`."""
        kind = event["type"]
        connection = self._connection
        if connection is None:
            await self._answer(kind, event)
        elif self._is_closed_by_app:
            if self._is_lost:
                raise ClientDisconnected
            raise RuntimeError(f"{kind!r} was sent after 'websocket.close'")
        elif kind == "websocket.send":
            await connection.send_event(event)
        elif kind == "websocket.close":
            if self._is_lost:
                raise ClientDisconnected
            await connection.say_goodbye(event.get("code", 1000), event.get("reason") or "")
            self._is_closed_by_app = True
        else:
            raise RuntimeError(f"expected 'websocket.send' or 'websocket.close', got {kind!r}")

    # --- the answer to the request ---

    async def _answer(self, kind: str, event: Any) -> None:
        if self._denial is not None:
            await self._send_body(self._denial, kind, event)
        elif self._is_closed_by_app:
            raise RuntimeError(f"{kind!r} was sent after 'websocket.close'")
        elif self._is_settled.is_set():  # lost, or refused by a shutdown
            raise ClientDisconnected
        elif kind == "websocket.accept":
            self._accept(event)
        elif kind == "websocket.close":
            self._is_closed_by_app = True
            self._log_access("403")
            self._refuse(forbidden(self._server.default_headers))
        elif kind == "websocket.http.response.start":
            self._denial = Denial(event, self._server.default_headers)
            self._log_access(str(event["status"]))
        else:
            allowed = "'websocket.accept', 'websocket.close' or 'websocket.http.response.start'"
            raise RuntimeError(f"expected {allowed}, got {kind!r}")

    async def _send_body(self, denial: Denial, kind: str, event: Any) -> None:
        if kind != "websocket.http.response.body" or denial.is_complete:
            allowed = "nothing after the last part" if denial.is_complete else "'websocket.http.response.body'"
            raise RuntimeError(f"expected {allowed} of a response, got {kind!r}")
        await self._is_writable.wait()
        if self._is_lost or self._transport.is_closing():
            raise ClientDisconnected
        self._transport.write(denial.encode(event))
        if denial.is_complete:
            self._is_settled.set()
            self._hang_up()

    def _accept(self, event: Any) -> None:
        if self._transport.is_closing():
            raise ClientDisconnected
        pairs = header_pairs(self._server.default_headers, event.get("headers") or ())
        if event.get("subprotocol"):
            pairs.append(("Sec-WebSocket-Protocol", event["subprotocol"]))
        agreed = self._negotiate()
        if agreed is not None:
            pairs.append((EXTENSIONS, agreed[0]))
        connection = Connection(self._config, None if agreed is None else agreed[1], self._on_lost)
        data, _ = self._handshake.respond(WSUpgradeResponse.create_101_response(pairs))
        self._log_access("[accepted]")
        self._connection = connection
        self._is_settled.set()
        self._hand_over(connection, data)

    def _negotiate(self) -> tuple[str, DeflateParameters] | None:
        request = self._handshake.request
        if request is None or not self._config.ws_per_message_deflate:
            return None
        return negotiate(SERVER_DEFLATE, request.headers.getall(EXTENSIONS, []))

    def _hand_over(self, connection: Connection, data: bytes) -> None:
        """Write the 101; from then on the transport belongs to the engine."""
        transport, handshake = self._transport, self._handshake
        options = _options(self._config.ws_max_size)
        taking_over = _TakingOver()
        protocol = engine.make_protocol(self._loop, options, taking_over, None, not is_ssl(transport))
        transport.write(data)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if taking_over.error is not None:  # such as a socket option that cannot be set once the peer has reset
            self._connection = None
            self._on_lost()
            raise ClientDisconnected from taking_over.error
        if self._is_reading_paused:  # before `open`: from then on the engine pauses where too much waits to be received
            transport.resume_reading()
        protocol.open(connection, handshake.request, handshake.response, handshake.remainder)
        if not self._is_writable.is_set() or transport.get_write_buffer_size() > transport.get_write_buffer_limits()[1]:
            protocol.pause_writing()  # the transport has told somebody else, and will tell the engine when it is over

    def _refuse(self, response: WSUpgradeResponse) -> None:
        self._is_settled.set()
        if not self._is_lost and not self._transport.is_closing():
            self._transport.write(self._handshake.respond(response)[0])
            self._hang_up()

    def _hang_up(self) -> None:
        """Close so that the answer arrives."""
        transport = self._transport
        if not self._is_lost and not transport.is_closing() and self._linger is None and hang_up(transport):
            self._linger = Lingering(self._loop, transport, LINGER_S)

    # --- the end ---

    def _on_lost(self) -> None:
        self._is_lost = True
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        self._is_settled.set()
        self._is_writable.set()
        self._server.connections.discard(self)
        self._trace("lost")

    def _log_access(self, outcome: str) -> None:
        where = get_client_addr(self._scope), get_path_with_query_string(self._scope)
        self._logger.info('%s - "WebSocket %s" %s', *where, outcome)

    def _trace(self, what: str) -> None:
        if self._logger.isEnabledFor(TRACE_LOG_LEVEL):
            client = get_remote_addr(self._transport)
            prefix = f"{client[0]}:{client[1]} - " if client else ""
            self._logger.log(TRACE_LOG_LEVEL, "%sWebSocket connection %s", prefix, what)


def _is_cancelled() -> bool:
    """Whether somebody has cancelled this task, as the server does when its patience is over."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Handshake(ServerHandshake):
    """What follows "%" in a target is for the application, as with uvicorn's own implementations."""

    __slots__ = ()
    _allow_broken_escapes = True


class _TakingOver:
    """The engine's opening handshake (see `picows.abc.Opening`), which is over before it begins."""

    error: BaseException | None = None

    def connection_made(self, protocol: Any) -> None:
        """`open` follows at once."""

    def data_received(self, data: bytes) -> None:
        """Nothing arrives in between."""

    def eof_received(self) -> None:
        """Nothing arrives in between."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection could not be set up."""
        self.error = exc


@functools.lru_cache(maxsize=8)
def _options(max_size: int | None) -> ConnectionOptions:
    """A frame may be as large as a message."""
    return ConnectionOptions(False, resolve_logger("uvicorn", "server"), max_frame_size=max_size or 1 << 62)
