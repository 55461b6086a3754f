"""T7: a peer floods us and never reads. Others keep their round trips, and our memory does not grow.

On a machine that has other work too, round trips tell how that is scheduled; the busiest turn of the loop is by the
clock of its thread, and ours alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import Dict, List

from rig import (
    CLOSE,
    CONT,
    KEY,
    PING,
    PONG,
    TEXT,
    Report,
    Server,
    arguments,
    build,
    close_payload,
    echo,
    engines,
    mib,
    percentile,
    say_goodbye,
    upgrade,
)

FLOODS: Dict[str, bytes] = {
    "empty pings": build(PING, key=KEY),
    "125-byte pings": build(PING, bytes(125), key=KEY),
    "empty pongs": build(PONG, key=KEY),
    "empty text": build(TEXT, key=KEY),
    "1-byte fragments": build(CONT, b"x", fin=False, key=KEY),
    "closes": build(CLOSE, close_payload(1000), key=KEY),
}


def flood(port: int, kind: str) -> None:
    """Send as fast as it is taken, and connect again where the server has closed."""
    many = FLOODS[kind] * (65536 // len(FLOODS[kind]))
    while True:
        with contextlib.suppress(OSError, EOFError):
            sock = upgrade(port, receive_buffer=4096)
            if kind == "1-byte fragments":
                sock.sendall(build(TEXT, b"x", fin=False, key=KEY))
            while True:
                sock.sendall(many)


def measure(port: int, seconds: float) -> List[float]:
    """Round trips of somebody else."""
    times: List[float] = []
    sock = upgrade(port)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        times.append(echo(sock))
        time.sleep(0.001)
    say_goodbye(sock)
    return times


def main() -> None:
    """Flood in a process of its own, and measure beside it."""
    options = arguments(__doc__, seconds=2.0, kind="")
    report = Report()
    for engine in engines(options):
        for kind in (kind for kind in FLOODS if options.kind in kind):
            with Server(engine, options) as server:
                measure(server.port, 0.2)
                before = server.ask("collect")
                if options.loop == "asyncio":
                    server.ask("reset")
                child = os.fork()
                if not child:
                    with contextlib.suppress(BaseException):
                        flood(server.port, kind)
                    os._exit(0)
                try:
                    times = measure(server.port, options.seconds)
                    after = server.ask()
                finally:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                report.row(f"{engine}: {kind}: p99 of others", percentile(times, 99) * 1000, 20, "ms")
                report.row(f"{engine}: {kind}: slowest of others", max(times) * 1000, 50, "ms")
                if options.loop == "asyncio":
                    report.row(f"{engine}: {kind}: busiest turn of the loop", after["turn"] * 1000, 20, "ms")
                report.row(f"{engine}: {kind}: memory", mib((before, after)), 8, "MiB")
    report.exit()


if __name__ == "__main__":
    assert threading.active_count() == 1, "it forks"
    sys.exit(main())
