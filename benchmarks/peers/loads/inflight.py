"""One connection that keeps N prebuilt masked frames in flight: as many go out as answers came in."""

from __future__ import annotations

import os
import time
from typing import Dict

from spec import Spec

from . import wire
from .clock import cpu_clock_of


def run(spec: Spec) -> Dict[str, float]:
    """Returns: operations, cpu_s of the server, wall_s."""
    frame = wire.build_frame(os.urandom(spec.size), masked=True)
    answer = wire.echoed_size(spec.size)
    frames = memoryview(frame * spec.in_flight)
    sock = wire.connect(spec.port)
    clock = cpu_clock_of(spec.pid)
    buffer = bytearray(65536)
    sock.sendall(frames)
    received = partial = reads = 0
    cpu = start = load_cpu = 0.0
    end = time.perf_counter() + spec.warm_s
    for measured in (False, True):
        if measured:
            received = reads = 0
            cpu, start, load_cpu = clock(), time.perf_counter(), time.process_time()
            end = start + spec.seconds
        while time.perf_counter() < end:
            size = sock.recv_into(buffer)
            if not size:
                raise ConnectionError("the server under test hung up")
            answers, partial = divmod(partial + size, answer)
            received += answers
            reads += 1
            sock.sendall(frames[: answers * len(frame)])
    return {
        "operations": received,
        "cpu_s": clock() - cpu,
        "wall_s": time.perf_counter() - start,
        "load_cpu_s": time.process_time() - load_cpu,
        "answers_per_read": received / max(1, reads),
    }
