"""What `serve` does with each socket that was accepted: TLS, the opening handshake, the user's handler."""

from __future__ import annotations

import contextlib
import socket
import ssl as ssl_module
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..frames import CloseCode
from ..protocol import CONNECTING, OPEN
from ..server import ServerProtocol
from ..typing import LoggerLike, Subprotocol
from .accepting import ProcessRequest, ProcessResponse, hang_up
from .utils import Deadline

if TYPE_CHECKING:
    from .server import Server, ServerConnection


class Registry:
    """What a server must end when it shuts down.

    Attributes:
        is_closing: set once; what is added afterwards is ended at once.
    """

    def __init__(self) -> None:
        self.is_closing = False
        self._goodbye: tuple[CloseCode | int, str] | None = None
        self._lock = threading.RLock()  # a signal handler that shuts down may interrupt a method
        #: Of connections whose handshake is not over.
        self._openings: set[socket.socket] = set()
        self._connections: set[ServerConnection] = set()
        self._threads: set[threading.Thread] = set()

    def close(self, goodbye: tuple[CloseCode | int, str] | None) -> bool:
        """End handshakes whose request did not come yet.

        Args:
            goodbye: what connections that open just now are closed with; None leaves them alone.

        Returns:
            Whether this was done before.
        """
        with self._lock:
            if not self.is_closing:
                self._goodbye = goodbye
            was_closing, self.is_closing = self.is_closing, True
            for sock in self._openings:
                _stop_reading(sock)
        return was_closing

    def start(self, run: Callable[..., None], *args: Any) -> None:
        """Start a thread. Raises RuntimeError if there are too many."""

        def target() -> None:
            try:
                run(*args)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        # A daemon, so that handlers that never end do not keep the program running.
        thread = threading.Thread(target=target, name="websocket-handler", daemon=True)
        with self._lock:
            thread.start()
            self._threads.add(thread)

    def join(self) -> None:
        """Wait for the threads, except for the caller's own."""
        with self._lock:
            threads = [thread for thread in self._threads if thread is not threading.current_thread()]
        for thread in threads:
            thread.join()

    def wait_for(self, sock: socket.socket) -> None:
        """A request is expected from this socket; `close` ends that."""
        with self._lock:
            self._openings.add(sock)
            if self.is_closing:
                _stop_reading(sock)

    def has_come(self, sock: socket.socket) -> None:
        """The request is there, or never will be."""
        with self._lock:
            self._openings.discard(sock)

    def add(self, connection: ServerConnection) -> tuple[CloseCode | int, str] | None:
        """A connection is open. If the server closes its connections already: returns what to close it with."""
        with self._lock:
            self._connections.add(connection)
            return self._goodbye

    def discard(self, connection: ServerConnection) -> None:
        """A connection is closed."""
        with self._lock:
            self._connections.discard(connection)

    def open_connections(self) -> set[ServerConnection]:
        """Those that are open."""
        with self._lock:
            return {connection for connection in self._connections if connection.protocol.state is OPEN}


class Acceptance:
    """The `handler` of a Server that `serve` makes.

    Args:
        handler: the user's.
        ssl: the settings for TLS, or None.
        open_timeout: seconds for TLS and the opening handshake; None for ever.
        hooks: the user's `process_request` and `process_response`, and the Server header.
        select_subprotocol: the user's.
        make_connection: as `create_connection` of `serve`.
        protocol_kwargs: for ServerProtocol.
        connection_kwargs: for `make_connection`.
        logger: of the server.

    Attributes:
        server: to be set.
    """

    server: Server

    def __init__(
        self,
        handler: Callable[[ServerConnection], None],
        *,
        ssl: ssl_module.SSLContext | None,
        open_timeout: float | None,
        hooks: tuple[ProcessRequest | None, ProcessResponse | None, str | None],
        select_subprotocol: Callable[[ServerConnection, Sequence[Subprotocol]], Subprotocol | None] | None,
        make_connection: Callable[..., ServerConnection],
        protocol_kwargs: dict[str, Any],
        connection_kwargs: dict[str, Any],
        logger: LoggerLike,
    ) -> None:
        self._handler = handler
        self._ssl = ssl
        self._open_timeout = open_timeout
        self._hooks = hooks
        self._select_subprotocol = select_subprotocol
        self._make_connection = make_connection
        self._protocol_kwargs = protocol_kwargs
        self._connection_kwargs = connection_kwargs
        self._logger = logger

    def __call__(self, sock: socket.socket, address: Any) -> None:
        """Serve one connection."""
        deadline = Deadline(self._open_timeout)
        try:
            if sock.family != getattr(socket, "AF_UNIX", None):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            if self._ssl is not None:
                sock = self._ssl.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self.server._registry.wait_for(sock)
            try:
                connection = self._open(sock, deadline)
            finally:
                self.server._registry.has_come(sock)
        except OSError as exc:  # TLS and TimeoutError among them
            self._logger.debug("! connection was not opened", exc_info=exc)
            sock.close()
            return
        except BaseException:
            sock.close()
            raise
        if connection is not None:
            self._run(connection)

    def _open(self, sock: socket.socket, deadline: Deadline) -> ServerConnection | None:
        """TLS and the opening handshake. Returns None if the client is refused."""
        if isinstance(sock, ssl_module.SSLSocket):
            sock.settimeout(deadline.timeout())
            sock.do_handshake()
        connection = self._create(sock)
        try:
            connection.handshake(*self._hooks, deadline.timeout())
        except OSError as exc:
            connection.set_connection_exc(exc)
        except Exception:
            connection.logger.error("opening handshake failed", exc_info=True)
        if connection.recv_events_thread is not None:
            return connection
        hang_up(connection)
        return None

    def _create(self, sock: socket.socket) -> ServerConnection:
        select = self._select_subprotocol

        def select_for_connection(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
            return select(connection, offered) if select is not None else None

        protocol = ServerProtocol(
            select_subprotocol=None if select is None else select_for_connection,
            state=CONNECTING,
            logger=self._logger,
            **self._protocol_kwargs,
        )
        connection = self._make_connection(sock, protocol, self.server, **self._connection_kwargs)
        return connection

    def _run(self, connection: ServerConnection) -> None:
        registry = self.server._registry
        goodbye = registry.add(connection)
        try:
            if goodbye is not None:
                connection.close(*goodbye)
            with connection:
                self._handler(connection)
        except Exception:
            connection.logger.error("connection handler failed", exc_info=True)
        finally:
            registry.discard(connection)


def _stop_reading(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RD)
