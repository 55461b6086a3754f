"""A server of each API (`setting.LAYERS`): on sockets, and without, where everything that happens is counted.

Without sockets the event loop is that of the tests, and what its `create_server` is given makes connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from typing import Any, Callable, Optional

from .session import LIMIT
from .setting import use, use_for_all

BINARY, CLOSE = 2, 8


async def start(layer: str, engine: str, tls: Any = None, use_aiofastnet: Optional[bool] = None) -> Any:
    """Listen; bytes are sent back.

    Args:
        layer: one of LAYERS.
        engine: one of ENGINES.
        tls: an SSLContext, or None.
        use_aiofastnet: whose transports, except for the drop-in, which decides by itself; None for the default.

    Returns:
        The server.
    """
    if layer == "drop-in":
        return await _start_drop_in(engine, tls)
    from picows import ws_create_server

    chosen = use(engine)
    make = _answering_callback(chosen) if layer == "listener" else _answering_coroutine(chosen)
    options = {"ssl": tls, "backlog": 1024, "max_frame_size": LIMIT, "use_aiofastnet": use_aiofastnet}
    return await ws_create_server(lambda request: make(), "127.0.0.1", 0, engine=chosen, **options)


async def _start_drop_in(engine: str, tls: Any) -> Any:
    use_for_all(engine)
    try:
        server = importlib.import_module("picows.websockets.asyncio.server")
        ended = importlib.import_module("picows.websockets.exceptions").ConnectionClosed
    except ModuleNotFoundError as exc:
        raise NotImplementedError(f"picows-websockets is not installed: {exc}") from exc
    options = {"compression": None, "max_size": LIMIT, "ping_interval": None, "backlog": 1024}
    return await server.serve(lambda connection: _answer(connection, ended), "127.0.0.1", 0, ssl=tls, **options)


async def _answer(connection: Any, ended: Any) -> None:
    """Send back until the connection ends: what waits in `recv` is what each message has to wake."""
    with contextlib.suppress(ended):
        while True:
            await connection.send(await connection.recv())


def _answering_callback(engine: Any) -> Callable[[], Any]:
    class Answering(engine.WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == BINARY:
                transport.send(BINARY, frame.get_payload_as_bytes())
            elif frame.msg_type == CLOSE:
                transport.send_close(frame.get_close_code())
                transport.disconnect()

    return Answering


def _answering_coroutine(engine: Any) -> Callable[[], Any]:
    from picows import WSConnectionClosed

    class Answering(engine.WSMessageListener):  # type: ignore[misc]
        def on_ws_connected(self, transport: Any) -> None:
            super().on_ws_connected(transport)
            self.task = asyncio.get_running_loop().create_task(_answer(self, WSConnectionClosed))

    return Answering


def without_sockets(layer: str, engine: str) -> Callable[[], Any]:
    """Start a server that nobody can reach.

    Returns:
        What makes a connection to it, within a callback of the loop: a `fixtures.wire.Connection` whose peer has not
        sent anything.
    """
    from fixtures.clock import ClockLoop
    from fixtures.wire import Connection, FakeTransport

    class Unbound:
        sockets = ()

        def is_serving(self) -> bool:
            return True

        async def start_serving(self) -> None:
            pass

        def get_loop(self) -> Any:
            return loop

    class Loop(ClockLoop):
        async def create_server(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
            self.make_protocol = protocol_factory
            return Unbound()

    class Wire(FakeTransport):
        def set_write_buffer_limits(self, high: Optional[int] = None, low: Optional[int] = None) -> None:
            """Nothing waits here."""

    class Accepted(Connection):
        def __init__(self) -> None:  # as an event loop does it, instead of on an engine by itself
            self.is_client, self.loop = False, loop
            self.protocol = loop.make_protocol()
            self.wire = Wire(loop, None, False)
            self.wire.protocol = self.protocol
            self.protocol.connection_made(self.wire)

    loop: Any = Loop()
    Accepted.loop = loop
    Accepted.server = loop.run_until_complete(start(layer, engine, use_aiofastnet=False))  # type: ignore[attr-defined]
    return Accepted


def accept(make: Any) -> Any:
    """A connection comes and asks for the upgrade. Returns: it, open."""
    from loads import wire

    made = []

    def come() -> None:
        made.append(make())
        made[0].feed(wire.upgrade_request(80))

    make.loop.call_soon(come)
    make.loop.settle()
    wire.check_response(bytes(made[0].wire.chunks.pop()))
    return made[0]


def leave(connection: Any) -> None:
    """Its peer closes it. Raises RuntimeError if it is not gone then."""
    from loads import wire

    connection.loop.call_soon(connection.feed, wire.CLOSE_1000)
    connection.loop.settle()
    if connection.wire.protocol is not None:
        raise RuntimeError("the connection has not ended")


def answers(connection: Any, frame: bytes, count: int) -> int:
    """The frame arrives so often, once in each turn of the loop. Returns: how many answers were written."""
    loop, left = connection.loop, count

    def arrive() -> None:
        nonlocal left
        left -= 1
        loop.call_soon(arrive if left else loop.stop)
        connection.feed(frame)

    loop.call_soon(arrive)
    loop.run_forever()
    written = len(connection.wire.chunks)
    connection.wire.chunks.clear()
    return written
