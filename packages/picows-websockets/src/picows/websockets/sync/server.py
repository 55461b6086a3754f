"""The server: `serve`, the server that it returns, and its connections, each of which has a thread for its handler."""

from __future__ import annotations

import logging
import os
import re
import selectors
import socket
import ssl as ssl_module
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from .._payloads import check_goodbye
from ..extensions.base import ServerExtensionFactory
from ..extensions.permessage_deflate import enable_server_permessage_deflate
from ..frames import CloseCode
from ..headers import validate_subprotocols
from ..http11 import SERVER, Request, Response
from ..protocol import OPEN
from ..server import ServerProtocol
from ..typing import LoggerLike, Origin, PathLike, StatusLike, Subprotocol
from ..utils import get_socket_name
from .accepting import accept
from .auth import basic_auth as basic_auth
from .auth import is_credentials as is_credentials
from .broadcast import broadcast as broadcast
from .connection import Connection
from .serving import Acceptance, Registry
from .utils import Deadline

__all__ = ["broadcast", "serve", "unix_serve", "ServerConnection", "Server", "basic_auth"]

#: Seconds before accepting again after it failed, because there are no more file descriptors, for example.
_ACCEPT_DELAY_S = 0.1
# Unlike epoll, it wakes when a signal handler has closed the sockets; unlike select(), it takes any file descriptor.
_Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


class ServerConnection(Connection):
    """A server's side of a connection; handlers get it.

    Args:
        sock: connected; closed at the end.
        protocol: a ServerProtocol.
        server: the Server that accepted it.
        ping_interval: as for Connection, like all others.
        ping_timeout: see Connection.
        close_timeout: see Connection.
        max_queue: see Connection.

    Attributes:
        username: who `basic_auth` let in.
        handler: what `route` has found for the URL.
        handler_kwargs: with the parameters in the URL.
    """

    protocol: ServerProtocol
    username: str
    handler: Callable[..., Any]
    handler_kwargs: Any

    def __init__(
        self,
        sock: socket.socket,
        protocol: ServerProtocol,
        server: Server,
        *,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        max_queue: int | None | tuple[int | None, int | None] = 16,
    ) -> None:
        self.server = server
        super().__init__(
            sock,
            protocol,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_queue=max_queue,
        )

    def respond(self, status: StatusLike, text: str) -> Response:
        """A plain text response, for `process_request` and `process_response` to return.

        Args:
            status: the HTTP status.
            text: the body.
        """
        return self.protocol.reject(status, text)

    def handshake(
        self,
        process_request: Callable[[ServerConnection, Request], Response | None] | None = None,
        process_response: Callable[[ServerConnection, Request, Response], Response | None] | None = None,
        server_header: str | None = SERVER,
        timeout: float | None = None,
    ) -> None:
        """Wait for the request and send the response. `serve` does that; afterwards look at `state`.

        Args:
            process_request: as for `serve`, like all others.
            process_response: see `serve`.
            server_header: see `serve`.
            timeout: seconds; None for ever.

        Raises:
            TimeoutError: it took too long.
            OSError: the network failed.
        """
        early = accept(self, process_request, process_response, server_header, Deadline(timeout))
        if self.protocol.state is OPEN:
            self._start(early)


class Server:
    """A listening server; `serve` returns it.

    Args:
        sock: listens; closed by `shutdown`.
        handler: called in a thread with each socket and address that was accepted.
        logger: `logging.getLogger("websockets.server")` by default.

    Attributes:
        socket: as given.
        handler: as given.
        logger: as given.
    """

    SHUTDOWN_POLLING_INTERVAL = 0.1

    def __init__(
        self,
        sock: socket.socket,
        handler: Callable[[socket.socket, Any], None],
        logger: LoggerLike | None = None,
    ) -> None:
        self.socket = sock
        self.handler = handler
        self.logger: LoggerLike = logging.getLogger("websockets.server") if logger is None else logger
        self._registry = Registry()
        self._serving: threading.Thread | None = None
        self._stopped = threading.Event()
        self._stopped.set()
        self._waker, self._woken = socket.socketpair()

    @property
    def connections(self) -> set[ServerConnection]:
        """The open connections."""
        return self._registry.open_connections()

    def serve_forever(self) -> None:
        """Accept connections until `shutdown` is called, from another thread or a signal handler."""
        if self._registry.is_closing:
            return
        self._stopped.clear()
        self._serving = threading.current_thread()
        try:
            self.logger.info("server listening on %s", get_socket_name(self.socket))
            # Who is first accepts, if another process or thread serves the same socket.
            self.socket.setblocking(False)
            with _Selector() as selector:
                for sock in (self.socket, self._woken):
                    selector.register(sock, selectors.EVENT_READ)
                while not self._registry.is_closing:
                    if any(key.fileobj is self.socket for key, _ in selector.select()):
                        self._accept()
        except (OSError, ValueError):
            if not self._registry.is_closing:  # else the socket was closed by a signal handler
                raise
        finally:
            self._serving = None
            self._stopped.set()

    def _accept(self) -> None:
        try:
            sock, address = self.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as exc:
            if not self._registry.is_closing:
                self.logger.error("failed to accept a connection: %s", exc)
                time.sleep(_ACCEPT_DELAY_S)
            return
        try:
            self._registry.start(self.handler, sock, address)
        except RuntimeError as exc:  # there are too many threads: as if there were no more file descriptors
            sock.close()
            self.logger.error("failed to serve a connection: %s", exc)
            time.sleep(_ACCEPT_DELAY_S)

    def shutdown(
        self, close_connections: bool = True, code: CloseCode | int = CloseCode.GOING_AWAY, reason: str = ""
    ) -> None:
        """Stop listening, refuse handshakes in progress with HTTP 503, close connections, and wait for their handlers.

        Clients whose request has not come are cut off instead. Idempotent. It may be called from a handler, whose end
        it does not wait for.

        Args:
            close_connections: False leaves the connections alone; their handlers are waited for.
            code: what connections are closed with.
            reason: the same.

        Raises:
            ProtocolError: the code may not be sent, or the reason is too long; the server goes on.
        """
        registry = self._registry
        if close_connections:
            check_goodbye(code, reason)
        if registry.close((code, reason) if close_connections else None):
            registry.join()
            return
        self.logger.info("server closing")
        self._waker.send(b"\0")
        if self._serving is not threading.current_thread():
            self._stopped.wait()
        for sock in (self.socket, self._waker, self._woken):
            sock.close()
        if close_connections:
            goodbyes = [connection._begin_close(code, reason) for connection in self.connections]
            for wait in goodbyes:
                wait()
        registry.join()
        self.logger.info("server closed")

    def fileno(self) -> int:
        """The file descriptor of the listening socket; -1 once it is closed."""
        return self.socket.fileno()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()


def serve(
    handler: Callable[[ServerConnection], None],
    host: str | None = None,
    port: int | None = None,
    *,
    sock: socket.socket | None = None,
    ssl: ssl_module.SSLContext | None = None,
    origins: Sequence[Origin | re.Pattern[str] | None] | None = None,
    extensions: Sequence[ServerExtensionFactory] | None = None,
    subprotocols: Sequence[Subprotocol] | None = None,
    select_subprotocol: Callable[[ServerConnection, Sequence[Subprotocol]], Subprotocol | None] | None = None,
    compression: str | None = "deflate",
    process_request: Callable[[ServerConnection, Request], Response | None] | None = None,
    process_response: Callable[[ServerConnection, Request, Response], Response | None] | None = None,
    server_header: str | None = SERVER,
    open_timeout: float | None = 10,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float | None = 10,
    max_size: int | None | tuple[int | None, int | None] = 2**20,
    max_queue: int | None | tuple[int | None, int | None] = 16,
    logger: LoggerLike | None = None,
    create_connection: type[ServerConnection] | None = None,
    **kwargs: Any,
) -> Server:
    """Serve connections: `with serve(...) as server: server.serve_forever()`.

    Args:
        handler: called with each connection, in a thread; the connection is closed when it returns.
        host: where to listen.
        port: the same.
        sock: a listening socket, instead.
        ssl: the settings for TLS.
        origins: which Origin headers are accepted: strings, patterns, None for requests without; all by default.
        extensions: to negotiate, in order of preference.
        subprotocols: to negotiate, in order of preference; clients that offer none of them are refused.
        select_subprotocol: chooses among a client's offers instead.
        compression: "deflate" adds permessage-deflate to the extensions; None does not.
        process_request: called with connection and request; may return a response to send instead of accepting.
        process_response: called with connection, request and response; may change the response or return another.
        server_header: of the response; None for none.
        open_timeout: seconds that a client may take for the handshake; None for ever.
        ping_interval: seconds between keepalive pings; None for none.
        ping_timeout: seconds to wait for a pong; None for ever.
        close_timeout: seconds that closing may take; None for ever.
        max_size: bytes that a message may have, or (message, fragment); None for no limit.
        max_queue: frames that wait for `recv` before reading pauses, or (high, low); None never pauses.
        logger: `logging.getLogger("websockets.server")` by default.
        create_connection: a subclass of ServerConnection, or a function that makes one.
        kwargs: for `socket.create_server`.
    """
    if "ssl_context" in kwargs:
        warnings.warn("ssl_context was renamed to ssl", DeprecationWarning, stacklevel=2)
        ssl = kwargs.pop("ssl_context")
    if subprotocols is not None:
        validate_subprotocols(subprotocols)
    if compression == "deflate":
        extensions = enable_server_permessage_deflate(extensions)
    elif compression is not None:
        raise ValueError(f"unsupported compression: {compression}")
    log: LoggerLike = logging.getLogger("websockets.server") if logger is None else logger
    listening = _listen(host, port, sock, kwargs)

    acceptance = Acceptance(
        handler,
        ssl=ssl,
        open_timeout=open_timeout,
        hooks=(process_request, process_response, server_header),
        select_subprotocol=select_subprotocol,
        make_connection=ServerConnection if create_connection is None else create_connection,
        protocol_kwargs={
            "origins": origins,
            "extensions": extensions,
            "subprotocols": subprotocols,
            "max_size": max_size,
        },
        connection_kwargs={
            "ping_interval": ping_interval,
            "ping_timeout": ping_timeout,
            "close_timeout": close_timeout,
            "max_queue": max_queue,
        },
        logger=log,
    )
    acceptance.server = Server(listening, acceptance, log)
    return acceptance.server


def unix_serve(handler: Callable[[ServerConnection], None], path: PathLike | None = None, **kwargs: Any) -> Server:
    """Serve connections on a Unix socket.

    Args:
        handler: as for `serve`.
        path: of the socket.
        kwargs: as for `serve`.
    """
    return serve(handler, unix=True, path=path, **kwargs)


def _listen(host: str | None, port: int | None, sock: socket.socket | None, kwargs: dict[str, Any]) -> socket.socket:
    """The listening socket."""
    if sock is not None:
        if kwargs.get("path") is not None:
            raise ValueError("path is incompatible with sock")
        return sock
    if not kwargs.pop("unix", False):
        return socket.create_server((host, port), **kwargs)
    path = kwargs.pop("path", None)
    if path is None:
        raise ValueError("missing path argument")
    kwargs.setdefault("family", socket.AF_UNIX)
    return socket.create_server(os.fspath(path), **kwargs)
