"""Thousands of connections that fall silent after one echo; the server's private pages are counted from outside.

The baseline is taken after a few connections came and went, so that imports and caches of the first use are in it.
Then one connection echoes one large message, and the pages are counted again.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from typing import Dict

from spec import Spec

from . import wire
from .clock import memory_kib

SETTLE_S = 0.3
WARM = 50


def run(spec: Spec) -> Dict[str, float]:
    """Returns: kib and kib_after_big: private KiB per connection, before and after the large message.

    And for the whole server: left_kib: what the large message left behind; rss_mib: resident memory at the end.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    message = os.urandom(spec.size // 2) * 2
    frame = wire.build_deflated(message) if spec.deflate else wire.build_frame(message, masked=True)
    start = time.perf_counter()
    warm = [_open(spec, frame) for _ in range(WARM)]
    for sock in warm:
        sock.sendall(wire.CLOSE_1000)
        while sock.recv(4096):
            pass
        sock.close()
    before = _settled(spec.pid)
    idle = [_open(spec, frame) for _ in range(spec.connections)]
    after = _settled(spec.pid)
    idle[0].sendall(wire.build_frame(bytes(spec.big), masked=True))
    wire.read_frame(idle[0])
    later = _settled(spec.pid)
    return {
        "operations": spec.connections,
        "wall_s": time.perf_counter() - start,
        "kib": (after["private"] - before["private"]) / spec.connections,
        "kib_after_big": (later["private"] - before["private"]) / spec.connections,
        "left_kib": later["private"] - after["private"],
        "rss_mib": later["rss"] / 1024,
        "pss_kib": (after["pss"] - before["pss"]) / spec.connections,
    }


def _open(spec: Spec, frame: bytes) -> socket.socket:
    sock = wire.connect(spec.port, wire.DEFLATE_OFFER if spec.deflate else b"")
    sock.sendall(frame)
    wire.read_frame(sock)
    return sock


def _settled(pid: int) -> Dict[str, int]:
    """Asks the server for a garbage collection and lets it come to rest. Returns: its memory."""
    time.sleep(SETTLE_S)
    os.kill(pid, signal.SIGUSR1)
    time.sleep(SETTLE_S)
    return memory_kib(pid)
