"""T17: what a connection may cost at most, whatever its peer does: a thousand that hold all that they are allowed to.

Each attacker stops one byte before the server would refuse or deliver what it has: a head, a frame, a message in
fragments, messages that nobody receives (the server waits to send the first one's echo to somebody who does not read).
SECURITY.md has the formula; the memory of the server is compared with it. Kernel buffers are not part of it.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from typing import Any, Callable, Dict

from rig import BINARY, CONT, KEY, Report, Server, arguments, build, connect, engines, mib, upgrade

#: Of SECURITY.md, in bytes.
HEAD, CONNECTION, QUEUED = 16_384, 65_536, 16
WRITE_LIMIT = 65_536


def head(port: int, number: int, size: int) -> socket.socket:
    """As much of a head as is kept, and no end of it."""
    sock = connect(port, number)
    fields = b"".join(b"X-%d: %b\r\n" % (each, b"x" * 7000) for each in range(3))
    sock.sendall((b"GET / HTTP/1.1\r\nHost: a\r\n" + fields)[: HEAD - 64])
    return sock


def frame(port: int, number: int, size: int) -> socket.socket:
    """All of the largest frame but its last byte."""
    sock = upgrade(port, number)
    sock.sendall(build(BINARY, bytes(size), key=KEY)[:-1])
    return sock


def message(port: int, number: int, size: int) -> socket.socket:
    """All of the largest message, in a hundred fragments, but the last byte."""
    sock = upgrade(port, number)
    each = size // 100
    parts = [build(CONT if part else BINARY, bytes(each), fin=False, key=KEY) for part in range(99)]
    last = build(CONT, bytes(size - 99 * each), key=KEY)
    sock.sendall(b"".join(parts) + last[:-1])
    return sock


def messages(port: int, number: int, size: int) -> socket.socket:
    """Messages, and nothing of the echo is read."""
    sock = upgrade(port, number, receive_buffer=4096)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    sock.settimeout(0.02)
    whole = build(BINARY, bytes(size), key=KEY)
    sent = 0
    with contextlib.suppress(socket.timeout):
        while sent < 8 * 2**20:
            sent += sock.send(whole[sent % len(whole) :])
    return sock


#: Attack, and what it may cost: bytes for each connection, of the largest message.
ATTACKS: Dict[str, Callable[[int, int, int], socket.socket]] = {
    "partial head": head,
    "partial frame": frame,
    "partial message": message,
    "messages unread": messages,
}


def ceiling(name: str, size: int) -> int:
    """The formula of SECURITY.md, or the part of it that the attack can reach."""
    if name == "partial head":
        return HEAD + CONNECTION
    if name != "messages unread":
        return size + CONNECTION
    # Queued with the one that was too many, unfinished, in the handler's hands, and beyond the limit of the buffer.
    return (QUEUED + 4) * size + WRITE_LIMIT + CONNECTION


def measure(report: Report, engine: str, options: Any, name: str) -> None:
    """One attack by all."""
    more = {"max_size": options.size, "open_timeout": 600, "kernel_buffer": 16_384}
    with Server(engine, options, **more) as server:
        fds = server.ask()["fds"]
        # What is made once for all: the buffers of the loop, and what the allocator keeps.
        for sock in [ATTACKS[name](server.port, number, options.size) for number in range(5)]:
            sock.close()
        while server.ask()["fds"] > fds:  # handshakes are no connections yet
            time.sleep(0.01)
        before = server.ask("collect")
        socks = [ATTACKS[name](server.port, number, options.size) for number in range(options.count)]
        time.sleep(0.5)  # the last ones are still being read
        after = server.ask("collect")
        held = after["fds"] - before["fds"]
        report.row(f"{engine}: {name}: connections missing", options.count - held, 0)
        allowed = ceiling(name, options.size)
        each = mib((before, after)) * 2**20 / options.count
        report.row(f"{engine}: {name}: memory of one", each / 1024, allowed / 1024, "KiB")
        for sock in socks:
            sock.close()


def main() -> None:
    """Each attack in turn."""
    options = arguments(__doc__.split("\n")[0], count=1000, size=16_384, kind="")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = Report()
    for engine in engines(options):
        for name in ATTACKS:
            # Frames are echoed at once: nobody queues them, and without max_write_buffer_size nobody waits.
            if options.kind in name and not (options.layer == "frames" and "message" in name):
                measure(report, engine, options, name)
    report.exit()


if __name__ == "__main__":
    main()
