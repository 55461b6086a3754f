"""T5, K4, N4, N5: connections come, echo and go, without the garbage collector, and neither side keeps any of them.

A server of ours with raw clients that end by CLOSE, FIN, RST and rubbish. Then our own clients, in a process of their
own: each way to end, by them and by the server. What is left in either process counts. (Before Python 3.12 each
transport of asyncio is part of a cycle, 1 KiB: there the memory tells something on uvloop.)
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any, Callable, Dict

from process import ENDS, RUBBISH
from rig import Client, Report, Server, arguments, echo, engines, mib, say_goodbye, upgrade

#: For what is made once, and of uvloop and the allocator: some thousands of closing connections wait at a time.
WARM_UP = 5000
KEPT = ("objects", "fds", "tasks", "loggers")


def reset(sock: socket.socket) -> None:
    """End with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def rubbish(sock: socket.socket) -> None:
    """End with a violation."""
    with contextlib.suppress(OSError):
        sock.sendall(RUBBISH)
        while sock.recv(4096):
            pass
    sock.close()


RAW_ENDS: Dict[str, Callable[[socket.socket], Any]] = dict(
    zip(ENDS, (say_goodbye, socket.socket.close, reset, rubbish))
)


def show(report: Report, name: str, before: Any, after: Any) -> None:
    """The rows of one process."""
    report.row(f"{name}: memory", mib((before, after)), 2, "MiB")
    for what in KEPT:
        report.row(f"{name}: {what} left", after[what] - before[what], 0)
    report.row(f"{name}: connections left", after["connections"], 0)
    report.row(f"{name}: errors", len(after["reports"]), 0)


def server_side(report: Report, engine: str, options: Any) -> None:
    """Raw clients."""
    for name, end in ((name, end) for name, end in RAW_ENDS.items() if options.how in name):
        with Server(engine, options) as server:

            def some(count: int, server: Server = server, end: Callable[[socket.socket], Any] = end) -> Any:
                for _ in range(count):
                    sock = upgrade(server.port)
                    echo(sock)
                    end(sock)
                return server.settled()

            some(min(WARM_UP, options.count))
            server.ask("nogc")
            before = server.settled()
            show(report, f"{engine}: {name}", before, some(options.count))


def client_side(report: Report, engine: str, options: Any) -> None:
    """Our clients."""
    for name in (name for name in ENDS if options.how in name):
        for who in ("client", "server"):
            with Server(engine, options) as server, Client(engine, options) as client:
                client.ask(f"churn {server.port} {min(WARM_UP, options.count)} {who} {name}")
                server.settled()
                for each in (client, server):
                    each.ask("nogc")
                before = client.ask(), server.settled()
                client.ask(f"churn {server.port} {options.count} {who} {name}")
                after = client.settled(), server.settled()
                show(report, f"{engine}: {name} by the {who}: client", before[0], after[0])
                show(report, f"{engine}: {name} by the {who}: server", before[1], after[1])


def main() -> None:
    """Each way to end in turn."""
    options = arguments(__doc__, count=2000, side="both", how="")
    if options.side not in ("both", "server", "client"):
        raise SystemExit(f"--side is both, server or client, got {options.side}")
    report = Report()
    for engine in engines(options):
        if options.side in ("both", "server"):
            server_side(report, engine, options)
        if options.side in ("both", "client"):
            client_side(report, engine, options)
    report.exit()


if __name__ == "__main__":
    main()
