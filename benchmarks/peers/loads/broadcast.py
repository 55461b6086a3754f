"""Many silent connections; one asks for broadcasts, all are drained, and when everything has arrived it asks again."""

from __future__ import annotations

import select
import socket
import time
from typing import Dict

from spec import Spec

from . import wire
from .clock import cpu_clock_of


def run(spec: Spec) -> Dict[str, float]:
    """Returns: operations (frames delivered), cpu_s of the server, wall_s."""
    sockets = {sock.fileno(): sock for sock in (wire.connect(spec.port) for _ in range(spec.connections))}
    poll = select.epoll()
    for fd in sockets:
        poll.register(fd, select.EPOLLIN)
    clock = cpu_clock_of(spec.pid)
    go = wire.build_frame(b"go", masked=True)
    expected = spec.connections * spec.repeat * wire.echoed_size(spec.size)
    _rounds(poll, sockets, go, expected, spec.warm_s)
    cpu, start, load_cpu = clock(), time.perf_counter(), time.process_time()
    rounds = _rounds(poll, sockets, go, expected, spec.seconds)
    return {
        "operations": rounds * spec.connections * spec.repeat,
        "cpu_s": clock() - cpu,
        "wall_s": time.perf_counter() - start,
        "load_cpu_s": time.process_time() - load_cpu,
    }


def _rounds(poll: select.epoll, sockets: Dict[int, socket.socket], go: bytes, expected: int, seconds: float) -> int:
    end, rounds = time.perf_counter() + seconds, 0
    buffer = bytearray(262144)
    asking = next(iter(sockets.values()))
    while time.perf_counter() < end:
        asking.send(go)
        missing = expected
        while missing > 0:
            for fd, _ in poll.poll():
                size = sockets[fd].recv_into(buffer)
                if not size:
                    raise ConnectionError("the server under test hung up")
                missing -= size
        if missing:
            raise ConnectionError(f"the server under test sent {-missing} bytes more than {expected}")
        rounds += 1
    return rounds
