"""Driver for aiohttp's WebSocket client and server: compression off unless the row is about it, no heartbeat."""

from __future__ import annotations

import importlib
from typing import Any, Dict, List

from spec import BACKLOG, MESSAGE_LIMIT, Spec

from .common import Marks, RoundTrips, client_tls, payload, server_tls, url


class Driver:
    """Coroutines of an aiohttp user around the five workloads."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.lib = importlib.import_module(spec.module)
        self.web = importlib.import_module(spec.module + ".web")
        self.facts: Dict[str, Any] = {
            "library": f"{spec.module} {self.lib.__version__}",
            "file": self.lib.__file__,
            "implementation": "C extensions" if self._has_c() else "pure Python",
            "compress": 15 if spec.deflate else 0,
            "heartbeat": None,
            "max_msg_size": MESSAGE_LIMIT,
            "broadcast": "send_bytes on each",
        }
        if spec.deflate:
            self.facts["level"] = "zlib's fastest level, which it does not let users choose"

    def _has_c(self) -> bool:
        try:
            importlib.import_module(self.spec.module + "._websocket.reader_c")
        except ImportError:
            return False
        return True

    async def serve(self) -> int:
        """Returns: the port of an echo or broadcast server."""
        self.sockets: List[Any] = []
        self.message = payload(self.spec)
        app = self.web.Application()
        app.router.add_get("/", self._broadcast if self.spec.server == "broadcast" else self._echo)
        self._runner = runner = self.web.AppRunner(app, access_log=None)
        await runner.setup()
        site = self.web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_tls(self.spec), backlog=BACKLOG)
        await site.start()
        return int(runner.addresses[0][1])

    async def _accept(self, request: Any) -> Any:
        socket = self.web.WebSocketResponse(compress=self.spec.deflate, max_msg_size=MESSAGE_LIMIT)
        await socket.prepare(request)
        return socket

    async def _echo(self, request: Any) -> Any:
        socket = await self._accept(request)
        text = self.lib.WSMsgType.TEXT
        async for message in socket:
            if message.type is text:
                await socket.send_str(message.data)
            else:
                await socket.send_bytes(message.data)
        return socket

    async def _broadcast(self, request: Any) -> Any:
        socket = await self._accept(request)
        self.sockets.append(socket)
        async for _ in socket:
            for _ in range(self.spec.repeat):
                for each in self.sockets:
                    await each.send_bytes(self.message)
        return socket

    async def _connect(self, port: int) -> Any:
        self._session = session = self.lib.ClientSession()
        socket = await session.ws_connect(
            url(self.spec, port),
            compress=15 if self.spec.deflate else 0,
            max_msg_size=MESSAGE_LIMIT,
            ssl=client_tls(self.spec) or True,
        )
        self.facts["transport"] = "the loop's own"
        self.facts["negotiated"] = socket.compress
        if self.spec.deflate and not socket.compress:
            raise RuntimeError("permessage-deflate was asked for and not negotiated")
        return socket

    async def connect_echo(self, port: int) -> RoundTrips:
        """Returns: a function that makes round trips on one new connection."""
        socket, message = await self._connect(port), payload(self.spec)
        send, receive = (socket.send_str if self.spec.text else socket.send_bytes), socket.receive

        async def round_trips(count: int) -> None:
            for _ in range(count):
                await send(message)
                await receive()

        return round_trips

    async def receive(self, port: int, marks: Marks) -> None:
        """Takes messages as bytes until `marks.done`."""
        socket = await self._connect(port)
        marks.connected()
        if marks.consume_s:
            async for message in socket:
                if message.data:
                    marks.consume()
                    continue
                marks.mark()
                if marks.done.done():
                    return
        async for message in socket:
            if not message.data:
                marks.mark()
                if marks.done.done():
                    return
