"""Driver for the API of picows: the upstream library and ours, told apart only by the environment they run in.

Both ends take each payload as `bytes`, as the other libraries' users do; echo servers send those bytes back. No
auto-ping, no per-connection logging beyond the defaults.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import os
from typing import Any, Callable, Dict, List

from spec import BACKLOG, MESSAGE_LIMIT, Spec

from .common import Marks, RoundTrips, client_tls, payload, server_tls, url


class Driver:
    """Listeners of picows around the five workloads."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.lib = lib = importlib.import_module(spec.module)
        self.broadcast = getattr(lib, "ws_broadcast", None)
        self.facts: Dict[str, Any] = {
            "library": f"{spec.module} {lib.__version__}",
            "file": lib.__file__,
            "implementation": getattr(lib, "__impl__", "upstream"),
            "use_aiofastnet": spec.use_aiofastnet,
            "max_frame_size": MESSAGE_LIMIT,
            "enable_auto_ping": False,
            "broadcast": "ws_broadcast" if self.broadcast else "send on each",
        }
        if spec.use_aiofastnet:
            self.facts["aiofastnet"] = importlib.metadata.version("aiofastnet")
        wanted = os.environ.get("PICOWS_IMPL", "upstream")
        if self.facts["implementation"] != wanted:
            raise RuntimeError(f"{lib.__file__} runs {self.facts['implementation']!r}, wanted {wanted!r}")
        if wanted == "core":
            self.facts["simd"] = importlib.import_module(spec.module + ".core").simd()
        self.options: Dict[str, Any] = {"max_frame_size": MESSAGE_LIMIT, "use_aiofastnet": spec.use_aiofastnet}

    async def serve(self) -> int:
        """Returns: the port of an echo or broadcast server."""
        new = broadcast_listener(self) if self.spec.server == "broadcast" else echo_listener(self.lib)
        server = await self.lib.ws_create_server(
            lambda request: new(), "127.0.0.1", 0, ssl=server_tls(self.spec), backlog=BACKLOG, **self.options
        )
        self._server = server
        return int(server.sockets[0].getsockname()[1])

    async def connect_echo(self, port: int) -> RoundTrips:
        """Returns: a function that makes round trips on one new connection."""
        listener = await self._connect(ping_pong_listener(self.lib, payload(self.spec)), port)
        return listener.round_trips  # type: ignore[no-any-return]

    async def receive(self, port: int, marks: Marks) -> None:
        """Takes messages as bytes until `marks.done`."""
        new = slow_listener if marks.consume_s else flood_listener
        await self._connect(new(self.lib, marks), port)
        marks.connected()
        await marks.done

    async def _connect(self, new: Callable[[], Any], port: int) -> Any:
        transport, listener = await self.lib.ws_connect(
            new, url(self.spec, port), ssl_context=client_tls(self.spec), **self.options
        )
        used = type(transport.underlying_transport)
        self.facts["transport"] = f"{used.__module__}.{used.__qualname__}"
        self._transport = transport
        return listener


def echo_listener(lib: Any) -> Callable[[], Any]:
    """Returns: a factory of listeners that send every message back and answer CLOSE."""
    close = lib.WSMsgType.CLOSE

    class Echo(lib.WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            kind = frame.msg_type
            if kind == close:
                transport.send_close(frame.get_close_code())
                transport.disconnect()
            else:
                transport.send(kind, frame.get_payload_as_bytes())

    return Echo


def broadcast_listener(driver: Driver) -> Callable[[], Any]:
    """Returns: a factory of listeners that answer any message with `repeat` broadcasts to all connections."""
    lib: Any = driver.lib
    repeat = driver.spec.repeat
    broadcast, binary, message = driver.broadcast, lib.WSMsgType.BINARY, payload(driver.spec)
    transports: List[Any] = []

    class Broadcast(lib.WSListener):  # type: ignore[misc]
        def on_ws_connected(self, transport: Any) -> None:
            transports.append(transport)

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            for _ in range(repeat):
                if broadcast is not None:
                    broadcast(transports, binary, message)
                else:
                    for each in transports:
                        each.send(binary, message)

    return Broadcast


def ping_pong_listener(lib: Any, message: Any) -> Callable[[], Any]:
    """Returns: a factory of clients that send the next message from the callback of the last answer."""
    kind = lib.WSMsgType.TEXT if isinstance(message, str) else lib.WSMsgType.BINARY

    class PingPong(lib.WSListener):  # type: ignore[misc]
        def on_ws_connected(self, transport: Any) -> None:
            self.transport = transport

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            frame.get_payload_as_bytes()
            self.left -= 1
            if self.left:
                transport.send(kind, message)
            else:
                self.done.set_result(None)

        async def round_trips(self, count: int) -> None:
            self.left = count
            self.done = asyncio.get_running_loop().create_future()
            self.transport.send(kind, message)
            await self.done

    return PingPong


def flood_listener(lib: Any, marks: Marks) -> Callable[[], Any]:
    """Returns: a factory of clients that take each payload as bytes, and nothing else."""

    class Flood(lib.WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if not frame.get_payload_as_bytes():
                marks.mark()

    return Flood


def slow_listener(lib: Any, marks: Marks) -> Callable[[], Any]:
    """Returns: a factory of clients that are busy with each payload for a while."""

    class Slow(lib.WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.get_payload_as_bytes():
                marks.consume()
            else:
                marks.mark()

    return Slow
