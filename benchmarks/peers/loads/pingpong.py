"""Many connections, each with one frame under way: the next goes out when the answer is complete (epoll)."""

from __future__ import annotations

import os
import select
import socket
import time
from typing import Dict, List

from spec import Spec

from . import wire
from .clock import cpu_clock_of


def run(spec: Spec) -> Dict[str, float]:
    """Returns: operations, cpu_s of the server, wall_s."""
    frame = wire.build_frame(os.urandom(spec.size), masked=True)
    answer = wire.echoed_size(spec.size)
    sockets = {sock.fileno(): sock for sock in (wire.connect(spec.port) for _ in range(spec.connections))}
    poll = select.epoll()
    for fd in sockets:
        poll.register(fd, select.EPOLLIN)
    missing = dict.fromkeys(sockets, answer)
    for sock in sockets.values():
        sock.send(frame)
    clock = cpu_clock_of(spec.pid)
    _exchange(poll, sockets, missing, frame, answer, spec.warm_s)
    cpu, start, load_cpu = clock(), time.perf_counter(), time.process_time()
    operations = _exchange(poll, sockets, missing, frame, answer, spec.seconds)
    return {
        "operations": operations,
        "cpu_s": clock() - cpu,
        "wall_s": time.perf_counter() - start,
        "load_cpu_s": time.process_time() - load_cpu,
    }


def _exchange(
    poll: select.epoll,
    sockets: Dict[int, socket.socket],
    missing: Dict[int, int],
    frame: bytes,
    answer: int,
    seconds: float,
) -> int:
    end, operations = time.perf_counter() + seconds, 0
    events: List[tuple[int, int]]
    while time.perf_counter() < end:
        events = poll.poll()
        for fd, _ in events:
            size = len(sockets[fd].recv(65536))
            if not size:
                raise ConnectionError("the server under test hung up")
            missing[fd] -= size
            if missing[fd] <= 0:
                missing[fd] += answer
                operations += 1
                sockets[fd].send(frame)
    return operations
