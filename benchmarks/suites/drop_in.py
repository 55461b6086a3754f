"""picows.websockets: round trips of client and server on one loop, plain, encrypted and compressed."""

from __future__ import annotations

import importlib
import json
import time
from typing import Any, Optional

from .setting import ENGINES, LINKS, LOOPS, Timed, contexts, new_loop, use_for_all

LIMIT = 16 * 1024 * 1024


def json_text(size: int) -> str:
    """A text of about that many bytes, as feeds send them."""
    line = [
        {"symbol": f"S{number:04}", "bid": 100 + number / 8, "ask": 101 + number / 8} for number in range(size // 50)
    ]
    return json.dumps(line or size)


class _DropIn(Timed):
    timer = time.thread_time
    compression: Optional[str] = None

    def _set_up(self, engine: str, loop: str, link: str, message: Any) -> None:
        use_for_all(engine)
        try:
            module = importlib.import_module("picows.websockets.asyncio.client")
            server_module = importlib.import_module("picows.websockets.asyncio.server")
        except ModuleNotFoundError as exc:
            raise NotImplementedError(f"picows-websockets is not installed: {exc}") from exc
        self.server_tls, self.client_tls = contexts() if link == "tls" else (None, None)
        self.loop = new_loop(loop)
        self.message = message
        self.options = {"compression": self.compression, "max_size": LIMIT, "ping_interval": None}
        self.loop.run_until_complete(self._open(module.connect, server_module.serve))

    async def _open(self, connect: Any, serve: Any) -> None:
        async def echo(connection: Any) -> None:
            async for message in connection:
                await connection.send(message)

        self.server = await serve(echo, "127.0.0.1", 0, ssl=self.server_tls, **self.options)
        port = self.server.sockets[0].getsockname()[1]
        if self.client_tls is None:
            self.client = await connect(f"ws://127.0.0.1:{port}", proxy=None, **self.options)
        else:
            self.client = await connect(f"wss://127.0.0.1:{port}", proxy=None, ssl=self.client_tls, **self.options)

    def teardown(self, *params: Any) -> None:
        if hasattr(self, "client"):
            self.loop.run_until_complete(self._close())
            self.loop.close()

    async def _close(self) -> None:
        await self.client.close()
        self.server.close()
        await self.server.wait_closed()

    async def _round_trips(self, count: int) -> None:
        for _ in range(count):
            await self.client.send(self.message)
            await self.client.recv()


class DropIn(_DropIn):
    """16 round trips of bytes through `picows.websockets`, one after the other."""

    params = (ENGINES, LOOPS, LINKS, [256, 8192, 1 << 20])
    param_names = ("engine", "loop", "link", "size")

    def setup(self, engine: str, loop: str, link: str, size: int) -> None:
        self._set_up(engine, loop, link, bytes(size))

    def time_16_round_trips(self, engine: str, loop: str, link: str, size: int) -> None:
        self.loop.run_until_complete(self._round_trips(16))


class Deflate(_DropIn):
    """16 round trips of JSON text with permessage-deflate, one after the other."""

    compression = "deflate"
    params = (ENGINES, LOOPS, LINKS, [1024, 65536])
    param_names = ("engine", "loop", "link", "size")

    def setup(self, engine: str, loop: str, link: str, size: int) -> None:
        self._set_up(engine, loop, link, json_text(size))

    def time_16_round_trips(self, engine: str, loop: str, link: str, size: int) -> None:
        self.loop.run_until_complete(self._round_trips(16))
