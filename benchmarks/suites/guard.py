"""What a change elsewhere would take away without anybody noticing: short ways of a server.

A message wakes the coroutine that waits for it in `recv` while it is read, not in the loop's next turn; and a plain
connection is accepted without a task. The peer is a raw socket in another thread: CPU of the server's thread alone.
`instructions` counts both without sockets.
"""

from __future__ import annotations

import time
from typing import Any

from .serving import start
from .setting import ENGINES, LAYERS, LINKS, LOOPS, Timed, contexts, new_loop


class _Served(Timed):
    timer = time.thread_time

    def _start(self, engine: str, layer: str, loop: str, link: str) -> None:
        self.server_tls, self.client_tls = contexts() if link == "tls" else (None, None)
        self.loop = new_loop(loop)
        self.server = self.loop.run_until_complete(start(layer, engine, self.server_tls))
        self.port = self.server.sockets[0].getsockname()[1]

    def _meanwhile(self, work: Any) -> Any:
        """Serve while a thread does it."""
        return self.loop.run_until_complete(self.loop.run_in_executor(None, work))

    def _connect(self) -> Any:
        from loads import wire

        return wire.connect(self.port, context=self.client_tls)

    def teardown(self, *params: Any) -> None:
        if hasattr(self, "server"):
            self.loop.run_until_complete(self._stop())
            self.loop.close()

    async def _stop(self) -> None:
        self.server.close()
        await self.server.wait_closed()
        await self.loop.shutdown_default_executor()


class Wake(_Served):
    """64 messages, one at a time, each sent back by the coroutine that waited for it."""

    params = (ENGINES, LAYERS[1:], LOOPS, LINKS, [256, 8192])
    param_names = ("engine", "layer", "loop", "link", "size")

    def setup(self, engine: str, layer: str, loop: str, link: str, size: int) -> None:
        from loads import wire

        self._start(engine, layer, loop, link)
        self.message = wire.build_frame(bytes(size), masked=True)
        self.read_frame = wire.read_frame
        self.peer = self._meanwhile(self._connect)

    def teardown(self, *params: Any) -> None:
        if hasattr(self, "peer"):
            self.peer.close()
        super().teardown(*params)

    def time_64_answers(self, engine: str, layer: str, loop: str, link: str, size: int) -> None:
        self._meanwhile(self._ask)

    def _ask(self) -> None:
        for _ in range(64):
            self.peer.sendall(self.message)
            self.read_frame(self.peer)


class Accept(_Served):
    """16 connections, one after the other: connect, upgrade, CLOSE, the server's CLOSE, end of stream."""

    params = (ENGINES, LAYERS, LOOPS, LINKS)
    param_names = ("engine", "layer", "loop", "link")

    def setup(self, engine: str, layer: str, loop: str, link: str) -> None:
        self._start(engine, layer, loop, link)

    def time_16_connections(self, engine: str, layer: str, loop: str, link: str) -> None:
        self._meanwhile(self._come_and_go)

    def _come_and_go(self) -> None:
        from loads import wire

        for _ in range(16):
            with self._connect() as sock:
                sock.sendall(wire.CLOSE_1000)
                while sock.recv(4096):
                    pass
