"""T19: a server says goodbye to all of its connections, and nobody who answers sees a reset."""

from __future__ import annotations

import resource
import selectors
import socket
from typing import List, Tuple

from rig import CLOSE, KEY, Report, Server, arguments, build, close_payload, engines, upgrade


def answer_all(socks: List[socket.socket]) -> Tuple[int, int]:
    """Answer each CLOSE 1001 and wait for the end: how many got one, and how many a reset."""
    goodbye = build(CLOSE, close_payload(1001))
    answered = resets = 0
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(30):
                sock = key.fileobj  # type: ignore[assignment]
                try:
                    data = sock.recv(4096)
                    if data[:4] == goodbye:
                        answered += 1
                        sock.send(build(CLOSE, close_payload(1001), key=KEY))
                except OSError:
                    resets += 1
                    data = b""
                if not data:
                    selector.unregister(sock)
                    sock.close()
    return answered, resets


def main() -> None:
    """Connect, close the server, answer."""
    options = arguments(__doc__, count=1000)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = Report()
    for engine in engines(options):
        with Server(engine, options) as server:
            socks = [upgrade(server.port, number) for number in range(options.count)]
            server.start("close")
            answered, resets = answer_all(socks)
            seconds = server._read()["seconds"]
            report.row(f"{engine}: {options.count} connections closed in", seconds, 10, "s")
            report.row(f"{engine}: without CLOSE 1001", options.count - answered, 0)
            report.row(f"{engine}: resets", resets, 0)
    report.exit()


if __name__ == "__main__":
    main()
