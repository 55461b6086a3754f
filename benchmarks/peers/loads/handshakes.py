"""Connections that live for one handshake: connect, upgrade, CLOSE, the server's CLOSE and its end of stream.

Several are under way at once, so that the server has always something to do and wall time shows its speed.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Dict

from spec import Spec

from . import wire
from .clock import cpu_clock_of


class Clients:
    """A fixed number of connections, each replaced when it ends."""

    def __init__(self, port: int, count: int) -> None:
        self.address = ("127.0.0.1", port)
        self.request = wire.upgrade_request(port)
        self.poll = select.epoll()
        self.sockets: Dict[int, socket.socket] = {}
        self.heads: Dict[int, bytes] = {}
        for _ in range(count):
            self._open()

    def _open(self) -> None:
        sock = socket.create_connection(self.address)
        sock.send(self.request)
        fd = sock.fileno()
        self.sockets[fd], self.heads[fd] = sock, b""
        self.poll.register(fd, select.EPOLLIN)

    def _read(self, fd: int) -> bool:
        """Returns: whether this connection has come to its end."""
        data = self.sockets[fd].recv(4096)
        head = self.heads[fd] = self.heads[fd] + data
        _, end, frames = head.partition(b"\r\n\r\n")
        if end and not frames and data:
            wire.check_response(head)
            self.sockets[fd].send(wire.CLOSE_1000)
        if data:
            return False
        if not frames.startswith(b"\x88"):
            raise ConnectionError(f"the server under test ended with {frames!r}, wanted a CLOSE")
        self.sockets.pop(fd).close()
        return True

    def run(self, seconds: float) -> int:
        """Returns: how many connections came to their end within that time."""
        end, ended = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            for fd, _ in self.poll.poll():
                if self._read(fd):
                    ended += 1
                    self._open()
        return ended


def run(spec: Spec) -> Dict[str, float]:
    """Returns: operations, cpu_s of the server, wall_s."""
    clients = Clients(spec.port, spec.connections)
    clock = cpu_clock_of(spec.pid)
    clients.run(spec.warm_s)
    cpu, start, load_cpu = clock(), time.perf_counter(), time.process_time()
    operations = clients.run(spec.seconds)
    return {
        "operations": operations,
        "cpu_s": clock() - cpu,
        "wall_s": time.perf_counter() - start,
        "load_cpu_s": time.process_time() - load_cpu,
    }
