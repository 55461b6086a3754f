"""Accept TCP and Unix connections without a task for each.

The servers of asyncio and of aiofastnet make a task, and asyncio a future as well, for every connection that they
accept. Plain connections need neither: their transport can be made on the spot. uvloop's server accepts one connection
in a turn of the loop; aiofastnet's is put in its place, with uvloop's transports. Everything else remains the server's:
binding, closing, counting its connections.

What is used here is not public, so it is used only on the very classes that it was written for; all others accept as
they always do.
"""

from __future__ import annotations

import asyncio
import asyncio.trsock
import errno
import socket
import sys
from typing import Any, Callable, Coroutine, Optional

#: Connections that one listening socket accepts in one turn of the loop: others want their turn, too.
MAX_PER_TURN = 32
#: Seconds until accepting is tried again after the system ran out of descriptors or memory.
RETRY_DELAY_S = 1.0

_OUT_OF_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
# Linux reports what happened to the new connection by accept(2), which is then not to blame.
_LOST_MEANWHILE = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED",
        "EPROTO",
        "ENOPROTOOPT",
        "ENETDOWN",
        "ENETUNREACH",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENONET",
        "EPERM",
    )
    if hasattr(errno, name)
)
#: Releases of aiofastnet whose transports and servers are used as below.
_AIOFASTNET = ("1.2.",)
#: Releases of uvloop whose transports are made as below.
_UVLOOP = ("0.19.", "0.20.", "0.21.", "0.22.", "0.23.")

MakeProtocol = Callable[[], Any]
MakeTransport = Callable[[socket.socket, Any, MakeProtocol], None]


def accepts_for_uvloop(loop: Any, method: str, ssl: Any = None, sock: Any = None) -> bool:
    """Whether aiofastnet's server can accept connections for uvloop's transports.

    Args:
        loop: of the server.
        method: of the loop, which would make a server of uvloop.
        ssl: anything but None stays with uvloop.
        sock: that is to be listened on. A socket class of the users' stays with uvloop.
    """
    uvloop = sys.modules.get("uvloop")
    return (
        uvloop is not None
        and type(loop) is uvloop.Loop
        and uvloop.__version__.startswith(_UVLOOP)
        and method not in vars(loop)  # aiofastnet.patch_loop puts its own there
        and ssl is None
        and (sock is None or type(sock) is socket.socket)
        and _have_aiofastnet()
    )


def accept_directly(server: Any, loop: asyncio.AbstractEventLoop, for_uvloop: bool = False) -> None:
    """Let a server that has not begun to serve accept its connections this way, if it can.

    Args:
        server: what `create_server` or `create_unix_server` of the loop or of aiofastnet returned.
        loop: the loop that it belongs to.
        for_uvloop: True if aiofastnet made the server because of `accepts_for_uvloop`.
    """
    if getattr(server, "_ssl_context", True) is None and all(type(sock) is socket.socket for sock in server._sockets):
        make_transport = _uvloops(loop) if for_uvloop else _asyncios(server, loop) or _aiofastnets(server, loop)
        if make_transport is not None:
            # `start_serving` and `serve_forever` call it.
            server._start_serving = _Acceptor(server, loop, make_transport).start


def _have_aiofastnet() -> bool:
    try:
        import aiofastnet
    except ImportError:
        return False
    return aiofastnet.__version__.startswith(_AIOFASTNET)


def _asyncios(server: Any, loop: Any) -> Optional[MakeTransport]:
    if (type(server), type(loop)) != (asyncio.base_events.Server, asyncio.SelectorEventLoop):
        return None

    def make_transport(conn: socket.socket, peername: Any, make_protocol: MakeProtocol) -> None:
        conn.setblocking(False)
        loop._make_socket_transport(conn, make_protocol(), extra={"peername": peername}, server=server)

    return make_transport


def _aiofastnets(server: Any, loop: Any) -> Optional[MakeTransport]:
    if type(server).__module__ != "aiofastnet.api_utils" or not _have_aiofastnet():
        return None
    from aiofastnet.selector_transport import SelectorSocketTransport

    def make_transport(conn: socket.socket, peername: Any, make_protocol: MakeProtocol) -> None:
        server._attach(SelectorSocketTransport(loop, conn, make_protocol(), None, server))

    return make_transport


def _uvloops(loop: Any) -> MakeTransport:
    """A coroutine of the loop makes the transport in its first step, and then waits for the call of connection_made.

    That is scheduled before the last step here, so that the coroutine needs no task to wake it.
    """

    def make_transport(conn: socket.socket, peername: Any, make_protocol: MakeProtocol) -> None:
        coroutine = loop.connect_accepted_socket(make_protocol, conn)
        coroutine.send(None)
        loop.call_soon(_finish, coroutine)

    return make_transport


def _finish(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Let it return: one that is dropped halfway closes its transport."""
    try:
        coroutine.send(None)
    except StopIteration:
        pass


class _Acceptor:
    """The listening sockets of one server, while the loop watches them."""

    def __init__(self, server: Any, loop: asyncio.AbstractEventLoop, make_transport: MakeTransport) -> None:
        self._server = server
        self._loop = loop
        self._make_protocol = server._protocol_factory
        self._make_transport = make_transport

    def start(self) -> None:
        """Begin to serve."""
        server = self._server
        server.__dict__.pop("_start_serving", None)  # a cycle, and of no use any more
        if not server._serving and server._sockets is not None:
            server._serving = True
            for sock in server._sockets:
                sock.listen(server._backlog)
                self._watch(sock)

    def _watch(self, sock: socket.socket) -> None:
        if sock.fileno() != -1:  # the server may be closed by now
            numbers = int(sock.family), int(sock.type), sock.proto
            self._loop.add_reader(sock.fileno(), self._accept, sock, *numbers)

    def _accept(self, sock: Any, family: int, kind: int, proto: int) -> None:
        for _ in range(MAX_PER_TURN):
            try:
                # As sock.accept(), which makes an enum of each number, twice.
                fd, peername = sock._accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                if exc.errno in _LOST_MEANWHILE:
                    continue
                if exc.errno not in _OUT_OF_RESOURCES:
                    raise
                self._pause(sock, exc)
                return
            self._take(socket.socket(family, kind, proto, fd), peername)

    def _take(self, conn: socket.socket, peername: Any) -> None:
        try:
            self._make_transport(conn, peername, self._make_protocol)
        except Exception as exc:
            conn.close()
            self._loop.call_exception_handler(
                {"message": "an accepted connection could not be set up", "exception": exc}
            )

    def _pause(self, sock: socket.socket, exc: OSError) -> None:
        """The socket stays readable: watching it on would be a busy loop."""
        self._loop.remove_reader(sock.fileno())
        self._loop.call_later(RETRY_DELAY_S, self._watch, sock)
        self._loop.call_exception_handler(
            {
                "message": "socket.accept() out of system resource",  # asyncio's words: users may look for them
                "exception": exc,
                "socket": asyncio.trsock.TransportSocket(sock),
            }
        )
