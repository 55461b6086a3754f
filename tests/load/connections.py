"""T1, T3: what a connection costs while nothing happens on it, and how fast the active ones among many are."""

from __future__ import annotations

import resource
import time
from typing import List

from rig import Report, Server, arguments, echo, engines, mib, percentile, upgrade

#: KiB for each connection of the frame API, by engine and loop.
KIB = {("core", "asyncio"): 3.0, ("core", "uvloop"): 2.5, ("pure", "asyncio"): 6.0, ("pure", "uvloop"): 6.0}


def main() -> None:
    """Connect, look at the memory, and use one of a hundred."""
    options = arguments(__doc__, count=2000, seconds=2.0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = Report()
    for engine in engines(options):
        with Server(engine, options, layer="frames") as server:
            first = [upgrade(server.port) for _ in range(20)]
            before = server.ask("collect")
            socks = [upgrade(server.port, number) for number in range(options.count)]
            after = server.ask("collect")
            active = socks[::100] or socks
            times: List[float] = []
            end = time.monotonic() + options.seconds
            while time.monotonic() < end:
                times.extend(echo(sock) for sock in active)
            held = server.ask()["connections"]
            report.row(f"{engine}: connections missing", options.count + len(first) - held, 0)
            kib = mib((before, after)) * 1024 / options.count
            report.row(f"{engine}: memory of one", kib, KIB[engine, options.loop], "KiB")
            report.row(f"{engine}: p99 of the active ones", percentile(times, 99) * 1000, 5, "ms")
            for sock in [*first, *socks]:
                sock.close()
    report.exit()


if __name__ == "__main__":
    main()
