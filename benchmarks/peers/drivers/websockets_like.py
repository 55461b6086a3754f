"""Driver for the API of websockets: the library itself, and the drop-ins that take its place (`spec.module`).

Settings for all of them: compression off unless the row is about it, `max_queue=None` (the library never pauses its
reading), no keepalive pings, so that no library pays for what another does not do.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, Dict

from spec import BACKLOG, MESSAGE_LIMIT, Spec

from .common import Marks, RoundTrips, client_tls, payload, server_tls, url


class Driver:
    """Coroutines of a websockets user around the five workloads."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        if not spec.speedups:
            sys.modules[f"{spec.module}.speedups"] = None  # type: ignore[assignment]
        self.client = importlib.import_module(f"{spec.module}.asyncio.client")
        self.server = importlib.import_module(f"{spec.module}.asyncio.server")
        self.options: Dict[str, Any] = {
            "compression": "deflate" if spec.deflate else None,
            "max_queue": None,
            "max_size": MESSAGE_LIMIT,
            "ping_interval": None,
        }
        self.facts: Dict[str, Any] = {"library": self._library(), "file": self.client.__file__, **self.options}
        self.facts["implementation"] = self._implementation()
        self.facts["broadcast"] = "broadcast()"

    def _library(self) -> str:
        owner = importlib.import_module(self.spec.module.partition(".")[0])
        version = getattr(owner, "__version__", None) or importlib.import_module(owner.__name__ + ".version").version
        return f"{self.spec.module} {version}"

    def _implementation(self) -> str:
        """Names the masking function in use; fails if it is not the one that was asked for."""
        if self.spec.module != "websockets":
            found = str(getattr(importlib.import_module("picows"), "__impl__", "upstream"))
            wanted = os.environ.get("PICOWS_IMPL", "upstream")
            if found != wanted:
                raise RuntimeError(f"{self.client.__file__} runs {found!r}, wanted {wanted!r}")
            return found
        used = importlib.import_module("websockets.frames").apply_mask
        owner = "websockets.speedups" if self.spec.speedups else "websockets.utils"
        # The function's own __module__ is no evidence: 17.4 spells the name of its C module differently.
        if used is not importlib.import_module(owner).apply_mask:
            raise RuntimeError(f"apply_mask in use is {used!r}, wanted that of {owner}")
        return f"apply_mask of {owner} ({type(used).__name__})"

    async def serve(self) -> int:
        """Returns: the port of an echo or broadcast server."""
        handler = self._broadcast if self.spec.server == "broadcast" else self._echo
        self.connections: set[Any] = set()
        self.message = payload(self.spec)
        server = await self.server.serve(
            handler, "127.0.0.1", 0, ssl=server_tls(self.spec), backlog=BACKLOG, **self.options
        )
        self._server = server
        return int(server.sockets[0].getsockname()[1])

    async def _echo(self, connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def _broadcast(self, connection: Any) -> None:
        self.connections.add(connection)
        async for _ in connection:
            for _ in range(self.spec.repeat):
                self.server.broadcast(self.connections, self.message)

    async def _connect(self, port: int) -> Any:
        options = {**self.options, "ssl": client_tls(self.spec), "proxy": None}
        connection = self._connection = await self.client.connect(url(self.spec, port), **options)
        used = type(getattr(connection, "transport", None))  # upstream's replacement does not show its transport
        self.facts["transport"] = "not shown" if used is type(None) else f"{used.__module__}.{used.__qualname__}"
        negotiated = connection.response.headers.get("Sec-WebSocket-Extensions")
        self.facts["negotiated"] = negotiated
        if self.spec.deflate and not negotiated:
            raise RuntimeError("permessage-deflate was asked for and not negotiated")
        return connection

    async def connect_echo(self, port: int) -> RoundTrips:
        """Returns: a function that makes round trips on one new connection."""
        connection = await self._connect(port)
        send, recv, message = connection.send, connection.recv, payload(self.spec)

        async def round_trips(count: int) -> None:
            for _ in range(count):
                await send(message)
                await recv()

        return round_trips

    async def receive(self, port: int, marks: Marks) -> None:
        """Takes messages as bytes until `marks.done`."""
        connection = await self._connect(port)
        marks.connected()
        if marks.consume_s:
            async for message in connection:
                if message:
                    marks.consume()
                    continue
                marks.mark()
                if marks.done.done():
                    return
        async for message in connection:
            if not message:
                marks.mark()
                if marks.done.done():
                    return
