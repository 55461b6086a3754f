"""`picows serve`: an echo server, a broadcast server, or the listener of a module, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import functools
import importlib
import os
import signal
import ssl
import sys
import traceback
from typing import TYPE_CHECKING, Any, Callable, Optional

from .. import _engine
from .._version import __version__
from ..enums import WSMsgType
from ..errors import WSConnectionClosed
from ..server import WSServer, ws_create_server
from .faults import Failure
from .tls import server_context
from .words import escaped

if TYPE_CHECKING:
    from ..pure import WSListener, WSMessageListener
else:
    WSListener = _engine.engine.WSListener
    WSMessageListener = _engine.engine.WSMessageListener

#: A client that does not read is cut off here: a server at the keyboard must not fill the memory.
MAX_WRITE_BUFFER = 64 * 1024 * 1024
_DATA = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION)


class Echo(WSListener):
    """Sends back each frame as it came; the engine answers the others."""

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        """Send it back."""
        if frame.msg_type in _DATA:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview(), bool(frame.fin))


class Broadcast(WSMessageListener):
    """Sends each message to everybody, its sender included. Whole messages: fragments of two must not mix."""

    def __init__(self, request: Any, members: set[Any]) -> None:
        super().__init__(request)
        self._members = members
        self._task: Optional[asyncio.Future[None]] = None

    def on_ws_connected(self, transport: Any) -> None:
        """Join."""
        super().on_ws_connected(transport)
        self._members.add(transport)
        self._task = asyncio.ensure_future(self._pass_on())

    def on_ws_disconnected(self, transport: Any) -> None:
        """Leave."""
        super().on_ws_disconnected(transport)
        self._members.discard(transport)

    async def _pass_on(self) -> None:
        with contextlib.suppress(WSConnectionClosed):
            while True:
                message = await self.recv()
                opcode = WSMsgType.TEXT if isinstance(message, str) else WSMsgType.BINARY
                _engine.engine.ws_broadcast(list(self._members), opcode, message)


async def serve(options: argparse.Namespace) -> int:
    """Run the verb. Returns the exit code."""
    factory = _factory(options.listener)
    if not options.quiet:
        factory = _reporting(factory)
    context = server_context(options.cert, options.key)
    server = await _listen(options, factory, context)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt
            loop.add_signal_handler(number, stopped.set)
    host = f"[{options.host}]" if ":" in options.host else options.host
    number = server.sockets[0].getsockname()[1]
    scheme = "ws" if context is None else "wss"
    print(f"picows {__version__} ({_engine.engine.name}): {options.listener} on {scheme}://{host}:{number}", flush=True)
    async with server:
        await stopped.wait()
    return 0


async def _listen(options: argparse.Namespace, factory: Any, context: Optional[ssl.SSLContext]) -> WSServer:
    try:
        return await ws_create_server(
            factory,
            options.host,
            options.port,
            ssl=context,
            enable_auto_close=True,
            close_timeout=2,
            max_write_buffer_size=MAX_WRITE_BUFFER,
        )
    except OSError as exc:
        where = f"{options.host}:{options.port}"
        if exc.errno == errno.EADDRINUSE:
            raise Failure(f"{where} is taken by another program: choose another --port, 0 is any free one") from None
        if exc.errno == errno.EACCES:
            raise Failure(f"{where} is not allowed for this user: choose a --port from 1024") from None
        # gaierror has negative numbers; asyncio skips addresses it cannot bind, and raises without one if none is left
        if exc.errno is None or exc.errno < 0 or exc.errno == errno.EADDRNOTAVAIL:
            raise Failure(f"{options.host} is no address of this machine: see --host") from None
        raise
    except UnicodeError:
        raise Failure(f"{escaped(options.host)} is no host name: see --host") from None


def _factory(name: str) -> Callable[[Any], Any]:
    """The factory of listeners for an argument of the command line."""
    if name == "echo":
        return lambda request: Echo()
    if name == "broadcast":
        return functools.partial(Broadcast, members=set())
    module_name, colon, path = name.partition(":")
    if not colon or not module_name or not path:
        raise Failure(f"{name!r} is no listener: write echo, broadcast or MODULE:LISTENER")
    found = _load(module_name, path)
    if not callable(found):
        raise Failure(
            f"{name} is a {type(found).__name__}: it must be a WSListener class, or a function of the request"
        )
    if isinstance(found, type) and not issubclass(found, WSListener):
        raise Failure(f"{name} is no WSListener: derive it from picows.WSListener")
    if isinstance(found, type) and not issubclass(found, WSMessageListener):
        return lambda request: found()
    return found  # type: ignore[no-any-return]


def _load(module_name: str, path: str) -> Any:
    if module_name.endswith(".py") or "/" in module_name or os.sep in module_name or module_name.startswith("."):
        raise Failure(
            f"{module_name} is no name of a module: write MODULE:LISTENER, chat:Chat for the Chat of chat.py,"
            " in the directory of that file"
        )
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise Failure(_cannot_be_imported(module_name, exc)) from None
        raise Failure(f"there is no module {module_name}, here or where Python looks: see PYTHONPATH") from None
    except Exception as exc:
        raise Failure(_cannot_be_imported(module_name, exc)) from None
    for name in path.split("."):
        if not hasattr(found, name):
            raise Failure(f"{module_name} has no {path}: {name} is missing")
        found = getattr(found, name)
    return found


def _cannot_be_imported(module_name: str, exc: Exception) -> str:
    """A line with the place, which is in the user's own code."""
    frames = traceback.extract_tb(exc.__traceback__)
    place = f"{frames[-1].filename}, line {frames[-1].lineno}"
    text = str(exc)
    if isinstance(exc, SyntaxError):  # it has not come as far as a frame of its own
        place, text = f"{exc.filename}, line {exc.lineno}", exc.msg
    return escaped(f"{module_name} cannot be imported: {type(exc).__name__}: {text} ({place})")


def _reporting(factory: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same factory, with a line on stderr for each request."""

    @functools.wraps(factory)
    def report(request: Any) -> Any:
        with contextlib.suppress(OSError):  # whoever read the reports has enough; we serve on
            print(f"GET {request.path.decode('ascii', 'backslashreplace')}", file=sys.stderr, flush=True)
        return factory(request)

    return report
