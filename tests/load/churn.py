"""T5, K4, N4, N5: connections come, echo and go, by CLOSE, FIN, RST and rubbish, without the garbage collector."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any, Callable, Dict

from rig import Report, Server, arguments, echo, engines, mib, say_goodbye, upgrade


def reset(sock: socket.socket) -> None:
    """End with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def rubbish(sock: socket.socket) -> None:
    """End with a violation."""
    with contextlib.suppress(OSError):
        sock.sendall(b"\xff" * 50)
        while sock.recv(4096):
            pass
    sock.close()


ENDS: Dict[str, Callable[[socket.socket], Any]] = {
    "CLOSE": say_goodbye,
    "FIN": socket.socket.close,
    "RST": reset,
    "violation": rubbish,
}


def main() -> None:
    """Each way to end in turn; 500 first, for what is made once."""
    options = arguments(__doc__, count=2000)
    report = Report()
    for engine in engines(options):
        for name, end in ENDS.items():
            with Server(engine, options) as server:

                def some(count: int, server: Server = server, end: Callable[[socket.socket], Any] = end) -> Any:
                    for _ in range(count):
                        sock = upgrade(server.port)
                        echo(sock)
                        end(sock)
                    return server.settled()

                some(min(500, options.count))
                server.ask("nogc")
                before = server.settled()
                after = some(options.count)
                report.row(f"{engine}: {name}: memory", mib((before, after)), 2, "MiB")
                for what in ("objects", "fds", "tasks", "loggers"):
                    report.row(f"{engine}: {name}: {what} left", after[what] - before[what], 0)
                report.row(f"{engine}: {name}: connections left", after["connections"], 0)
    report.exit()


if __name__ == "__main__":
    main()
