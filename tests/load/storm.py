"""T18, H3: handshakes that stall do not delay good ones, and are gone when their time is over."""

from __future__ import annotations

import resource
import selectors
import socket
import time
from typing import List

from rig import TIMEOUT_S, Report, Server, arguments, connect, engines, percentile, say_goodbye, upgrade


def ends(socks: List[socket.socket], limit_s: float) -> List[float]:
    """When each was closed by the server, on the monotonic clock."""
    times: List[float] = []
    deadline = time.monotonic() + limit_s
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            selector.register(sock, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(0.1):
                selector.unregister(key.fileobj)
                times.append(time.monotonic())
    return times


def main() -> None:
    """Half a request each, then good clients, then wait."""
    options = arguments(__doc__, count=1000, seconds=2.0, open_timeout=6.0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = Report()
    for engine in engines(options):
        with Server(engine, options, open_timeout=options.open_timeout) as server:
            began = time.monotonic()
            stalled = []
            for number in range(options.count):
                stalled.append(connect(server.port, number))
                stalled[-1].sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
            while server.ask()["fds"] < options.count and time.monotonic() < began + TIMEOUT_S:
                time.sleep(0.05)  # what the server has yet to accept stands before the good ones in the kernel's queue
            ready = time.monotonic()
            print(f"{engine}: {options.count} connections accepted after {ready - began:.2f} s")
            times: List[float] = []
            while time.monotonic() < ready + options.seconds:
                at = time.perf_counter()
                sock = upgrade(server.port)
                times.append(time.perf_counter() - at)
                say_goodbye(sock)
                time.sleep(0.01)
            closed = ends(stalled, options.open_timeout + 5)
            for sock in stalled:
                sock.close()
            report.row(f"{engine}: p99 of good handshakes", percentile(times, 99) * 1000, 100, "ms")
            report.row(f"{engine}: stalled for ever", options.count - len(closed), 0)
            if closed:
                report.row(f"{engine}: last one closed after", max(closed) - ready, options.open_timeout + 1, "s")
                early = options.open_timeout - (min(closed) - began)
                report.row(f"{engine}: first one closed too early by", early, 1, "s")
    report.exit()


if __name__ == "__main__":
    main()
