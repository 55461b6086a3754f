"""T1, T2, T3: what a connection costs while nothing happens on it, and how fast the active ones among many are.

With --deflate 1 and --layer drop-in permessage-deflate is negotiated, and each connection has echoed a compressed
message before its memory is looked at: one after the other, so that some hundred at most have contexts at a time. (The
contexts of connections that are all active at once are freed too, but the allocator keeps that memory.)
"""

from __future__ import annotations

import resource
import socket
import time
from typing import List

from rig import (
    KEY,
    RSV1,
    TEXT,
    Report,
    Server,
    arguments,
    build,
    deflated,
    echo,
    engines,
    mib,
    percentile,
    read,
    upgrade,
)

#: KiB for each connection of the frame API, by engine and loop.
KIB = {("core", "asyncio"): 3.0, ("core", "uvloop"): 2.5, ("pure", "asyncio"): 6.0, ("pure", "uvloop"): 6.0}
#: With permessage-deflate, when the contexts have been given back.
DEFLATE_KIB = 12.0
OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
IDLE_S = 1.0
PACE_S = 0.002


def compressed_echo(sock: socket.socket) -> float:
    """A compressed message there and back. Returns how many seconds that took."""
    began = time.perf_counter()
    sock.sendall(build(TEXT, deflated(b"hello " * 100, 12), key=KEY, rsv=RSV1))
    read(sock, read(sock, 2)[1])
    return time.perf_counter() - began


def open_one(port: int, number: int, is_compressed: bool) -> socket.socket:
    """A connection, with deflate one that has used it."""
    sock = upgrade(port, number, header=OFFER if is_compressed else "")
    if is_compressed:
        compressed_echo(sock)
        time.sleep(PACE_S)
    return sock


def main() -> None:
    """Connect, look at the memory, and use one of a hundred."""
    options = arguments(__doc__.split("\n")[0], layer="frames", count=2000, seconds=2.0, deflate=0)
    if options.deflate and options.layer != "drop-in":
        raise SystemExit("--deflate needs --layer drop-in: with DeflateCodec the user gives back its contexts")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = Report()
    for engine in engines(options):
        with Server(engine, options) as server:
            first = [open_one(server.port, 0, options.deflate) for _ in range(200 if options.deflate else 20)]
            before = server.ask("collect")
            socks = [open_one(server.port, number, options.deflate) for number in range(options.count)]
            if options.deflate:
                time.sleep(IDLE_S)
            after = server.ask("collect")
            active = socks[::100] or socks
            times: List[float] = []
            end = time.monotonic() + options.seconds
            while time.monotonic() < end:
                times.extend(compressed_echo(sock) if options.deflate else echo(sock) for sock in active)
            held = server.ask()["connections"]
            report.row(f"{engine}: connections missing", options.count + len(first) - held, 0)
            kib = mib((before, after)) * 1024 / options.count
            if options.deflate:
                report.row(f"{engine}: memory of one with deflate", kib, DEFLATE_KIB, "KiB")
            elif options.layer == "frames":
                report.row(f"{engine}: memory of one", kib, KIB[engine, options.loop], "KiB")
            else:
                print(f"{engine}: {kib:.2f} KiB for one of {options.layer}")  # the target is of the frame API
            report.row(f"{engine}: p99 of the active ones", percentile(times, 99) * 1000, 5, "ms")
            for sock in [*first, *socks]:
                sock.close()
    report.exit()


if __name__ == "__main__":
    main()
