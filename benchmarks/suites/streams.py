"""Many messages one way: from a raw socket to one client, and from a server to many clients."""

from __future__ import annotations

import queue
import socket
import threading
import time
from typing import Any

from .session import Session, counting_listener
from .setting import ENGINES, ENGINES_BY_LEVEL, LINKS, LOOPS, Timed

BLOCK = 256 * 1024


class Flood(Timed):
    """256 KiB or one message, as fast as the client takes them: CPU of the client's thread alone."""

    timer = time.thread_time
    params = (ENGINES_BY_LEVEL, LOOPS, LINKS, [256, 8192, 1 << 20])
    param_names = ("engine", "loop", "link", "size")

    def setup(self, engine: str, loop: str, link: str, size: int) -> None:
        from loads.wire import build_frame

        self.session = session = Session(engine, loop, link)
        frame = build_frame(bytes(size), masked=False)
        self.count = max(1, BLOCK // len(frame))
        self.orders: Any = queue.SimpleQueue()
        self.listener = socket.create_server(("127.0.0.1", 0))
        session.port = self.listener.getsockname()[1]
        self.sender = threading.Thread(target=self._send, args=(frame * self.count,), daemon=True)
        self.sender.start()
        self.client = session.connect(counting_listener(session.engine))

    def _send(self, block: bytes) -> None:
        """The peer, in a thread of its own: one block for each order, until there is a None."""
        from loads.wire import accept

        context = self.session.server_tls
        server = self.listener if context is None else context.wrap_socket(self.listener, server_side=True)
        with server, accept(server) as sock:
            while self.orders.get():
                sock.sendall(block)

    def teardown(self, engine: str, loop: str, link: str, size: int) -> None:
        if hasattr(self, "orders"):
            self.orders.put(None)
            self.sender.join()
            self.session.close()

    def time_flood(self, engine: str, loop: str, link: str, size: int) -> None:
        done = self.client.expect(self.session.loop, self.count)
        self.orders.put(True)
        self.session.run(done)


class Broadcast(Timed):
    """A message from a server to 100 clients on the same loop: CPU of all."""

    timer = time.thread_time
    clients = 100
    params = (ENGINES, LOOPS, LINKS, [256, 16384])
    param_names = ("engine", "loop", "link", "size")

    def setup(self, engine: str, loop: str, link: str, size: int) -> None:
        self.session = session = Session(engine, loop, link)
        members = self.members = []

        class Member(session.engine.WSListener):  # type: ignore[misc,name-defined]
            def on_ws_connected(self, transport: Any) -> None:
                members.append(transport)

        session.serve(Member)
        new = counting_listener(session.engine)
        self.listeners = [session.connect(new) for _ in range(self.clients)]
        self.payload = bytes(size)

    def teardown(self, engine: str, loop: str, link: str, size: int) -> None:
        if hasattr(self, "session"):
            self.session.close()

    def time_broadcast(self, engine: str, loop: str, link: str, size: int) -> None:
        self.session.run(self._broadcast())

    async def _broadcast(self) -> None:
        done = [listener.expect(self.session.loop, 1) for listener in self.listeners]
        self.session.engine.ws_broadcast(self.members, 2, self.payload)
        for each in done:
            await each
