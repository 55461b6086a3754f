"""A server and its clients on one loop in this process."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, List, Optional

from .setting import contexts, new_loop, use

LIMIT = 16 * 1024 * 1024


class Session:
    """Sockets of one engine on one loop.

    Args:
        engine: one of ENGINES or ENGINES_BY_LEVEL.
        loop: one of LOOPS.
        link: one of LINKS.
        use_aiofastnet: the server's transports: aiofastnet's, or the loop's own; None for what users get by default.
    """

    def __init__(self, engine: str, loop: str, link: str = "tcp", use_aiofastnet: Optional[bool] = None) -> None:
        self.use_aiofastnet = use_aiofastnet
        self.engine = use(engine)
        self.server_tls, self.client_tls = contexts() if link == "tls" else (None, None)
        self.scheme = "ws" if self.client_tls is None else "wss"
        self.loop = new_loop(loop)
        self.transports: List[Any] = []
        self.server: Any = None
        self.port = 0

    def run(self, work: Awaitable[Any]) -> Any:
        """Run the loop until it is done."""
        return self.loop.run_until_complete(work)

    def serve(self, factory: Callable[[], Any]) -> None:
        """Start the server."""
        from picows import ws_create_server

        self.server = self.run(
            ws_create_server(
                lambda request: factory(),
                "127.0.0.1",
                0,
                ssl=self.server_tls,
                backlog=1024,
                engine=self.engine,
                max_frame_size=LIMIT,
                use_aiofastnet=self.use_aiofastnet,
            )
        )
        self.port = self.server.sockets[0].getsockname()[1]

    async def open(self, factory: Callable[[], Any]) -> Any:
        """Connect. Returns: transport and listener."""
        from picows import ws_connect

        return await ws_connect(
            factory,
            f"{self.scheme}://127.0.0.1:{self.port}",
            ssl_context=self.client_tls,
            engine=self.engine,
            max_frame_size=LIMIT,
        )

    def connect(self, factory: Callable[[], Any]) -> Any:
        """Connect until `close`. Returns: the listener."""
        transport, listener = self.run(self.open(factory))
        self.transports.append(transport)
        return listener

    def close(self) -> None:
        """End connections, server and loop."""
        for transport in self.transports:
            transport.disconnect(False)
            self.run(transport.wait_disconnected())
        if self.server is not None:
            self.server.close()
            self.run(self.server.wait_closed())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()


def echo_listener(engine: Any) -> Callable[[], Any]:
    """A listener that sends payloads back."""
    from picows import WSMsgType

    class Echo(engine.WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == WSMsgType.BINARY:
                transport.send(WSMsgType.BINARY, frame.get_payload_as_bytes())

    return Echo


def counting_listener(engine: Any) -> Callable[[], Any]:
    """A listener that waits for a number of messages.

    Its `answer` is sent for each but the last `depth` of them, so that `depth` are under way at any time.
    """
    from picows import WSMsgType

    class Counting(engine.WSListener):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = self.depth = 0
            self.answer: Any = None
            self.done: Any = None
            self.transport: Any = None

        def on_ws_connected(self, transport: Any) -> None:
            self.transport = transport

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type != WSMsgType.BINARY:
                return
            frame.get_payload_as_bytes()
            self.left -= 1
            if self.answer is not None and self.left >= self.depth:
                transport.send(WSMsgType.BINARY, self.answer)
            if not self.left and not self.done.done():
                self.done.set_result(None)

        def expect(self, loop: asyncio.AbstractEventLoop, count: int) -> Any:
            """A future that is done after so many messages."""
            self.left, self.done = count, loop.create_future()
            return self.done

        def round_trips(self, loop: asyncio.AbstractEventLoop, count: int, payload: bytes, depth: int) -> Any:
            """A future that is done after so many answers to the payload, `depth` of them under way."""
            done = self.expect(loop, count)
            self.answer, self.depth = payload, depth
            for _ in range(depth):
                self.transport.send(WSMsgType.BINARY, payload)
            return done

    return Counting
