"""F8, T13: peers that are stopped, killed or silent. The server notices, by its pings or at once, and forgets them."""

from __future__ import annotations

import os
import signal
import time

from rig import Report, Server, arguments, engines, upgrade


def client(port: int) -> int:
    """A process that is connected and answers nothing. Returns its pid."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        sock = upgrade(port)
        os.write(writable, b"x")
        time.sleep(600)
        sock.close()
        os._exit(0)
    os.read(readable, 1)
    os.close(readable)
    os.close(writable)
    return child


def main() -> None:
    """Stop one, kill one, and watch the server's connections."""
    options = arguments(__doc__, ping=1.0)
    report = Report()
    for engine in engines(options):
        for how in (signal.SIGSTOP, signal.SIGKILL):
            with Server(engine, options, ping=options.ping) as server:
                child = client(server.port)
                began = time.monotonic()
                os.kill(child, how)
                server.settled()
                seconds = time.monotonic() - began
                target = 2 * options.ping + 1 if how == signal.SIGSTOP else 1
                report.row(f"{engine}: {how.name}: noticed after", seconds, target, "s")
                if how == signal.SIGSTOP:
                    report.row(f"{engine}: {how.name}: too early by", 2 * options.ping - seconds, 1, "s")
                    os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
    report.exit()


if __name__ == "__main__":
    main()
