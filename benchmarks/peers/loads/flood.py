"""A server that sends prebuilt frames as fast as the socket takes them, between two markers (empty frames)."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Dict

from spec import Spec

from . import wire

BLOCK = 256 * 1024
SILENCE_S = 0.1
"""Between the upgrade and the first frame, so that the client can note its memory."""
MARKER = wire.build_frame(b"", masked=False)


def run(spec: Spec) -> Dict[str, float]:
    """Serves one client. Returns: operations: how many frames lay between the markers."""
    frame = wire.build_frame(os.urandom(spec.size), masked=False)
    per_block = max(1, BLOCK // len(frame))
    block = frame * per_block
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(json.dumps({"port": listener.getsockname()[1], "pid": os.getpid()}), flush=True)
        sock = wire.accept(listener)
    time.sleep(SILENCE_S)
    _send_for(sock, block, spec.warm_s)
    sock.sendall(MARKER)
    cpu = time.process_time()
    start = time.perf_counter()
    blocks = _send_for(sock, block, spec.seconds)
    sock.sendall(MARKER)
    load_cpu, load_wall = time.process_time() - cpu, time.perf_counter() - start
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass  # the client leaves without ceremony once it has read the second marker
    return {"operations": blocks * per_block, "load_cpu_s": load_cpu, "load_wall_s": load_wall}


def _send_for(sock: socket.socket, block: bytes, seconds: float) -> int:
    end, blocks = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        sock.sendall(block)
        blocks += 1
    return blocks
