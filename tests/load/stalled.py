"""T8: a broadcast to many, one of whom reads nothing. The others get all of it as fast as without him, and he costs his
write buffer, until he is closed for it.

With the frame API and the message layer `max_write_buffer_size` closes him. A broadcast of the drop-in has no such
limit, as in websockets: there he is closed when a keepalive ping has no answer, and costs what was sent until then.

Then one who sends and reads nothing of the echo: with `send` that waits he costs what is in one queue and one buffer.
"""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import struct
import time
from typing import Any, Dict, List, Tuple

from rig import BINARY, KEY, PING, PONG, Report, Server, arguments, build, engines, mib, percentile, upgrade

#: Slack of the comparison: one turn of a scheduler that has other things to do.
SLACK_MS = 5.0
#: Of the drop-in: from ping to ping, and from a ping to its pong.
PING_S = 1.0
#: What no connection takes from somebody who does not read: kernels buffer some MiB.
ENDLESS = 64 * 2**20


def header_size(size: int) -> int:
    """Of a frame that a server sends."""
    return 2 if size < 126 else 4 if size < 65_536 else 10


def answer_pings(sock: socket.socket, data: bytearray) -> None:
    """Take the pings at the beginning of what has come."""
    while len(data) > 1 and data[0] == 0x80 | PING and len(data) >= 2 + data[1]:
        sock.send(build(PONG, bytes(data[2 : 2 + data[1]]), key=KEY))
        del data[: 2 + data[1]]


def receive(server: Server, socks: List[socket.socket], size: int) -> Tuple[List[float], List[int], Any]:
    """Read until the server has told the end of its broadcast and no more comes.

    Returns:
        The seconds that each message was on its way, how many each connection got, and what the server said.
    """
    whole = header_size(size) + size
    pending: Dict[socket.socket, bytearray] = {sock: bytearray() for sock in socks}
    counts: Dict[socket.socket, int] = dict.fromkeys(socks, 0)
    times: List[float] = []
    answer: Any = None
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ)
        assert server.process.stdout is not None
        selector.register(server.process.stdout, selectors.EVENT_READ)
        while answer is None or min(counts.values()) < answer["sent"]:
            ready = selector.select(2)
            if not ready and answer is not None:
                break
            for key, _ in ready:
                if key.fileobj is server.process.stdout:
                    answer = server._read()
                    selector.unregister(key.fileobj)
                    continue
                sock: Any = key.fileobj
                data = pending[sock]
                piece = sock.recv(1 << 18)
                if not piece:
                    raise SystemExit("one of the others was closed")
                now = time.monotonic()
                data += piece
                answer_pings(sock, data)
                while len(data) >= whole:
                    times.append(now - struct.unpack_from("<d", data, whole - size)[0])
                    counts[sock] += 1
                    del data[:whole]
                    answer_pings(sock, data)
    return times, list(counts.values()), answer


def fill(sock: socket.socket, size: int) -> int:
    """Send messages until nobody takes them any more. Returns how many bytes that were."""
    message = build(BINARY, bytes(size), key=KEY)
    sock.settimeout(1)
    sent = 0
    with contextlib.suppress(socket.timeout):
        while sent < ENDLESS:
            sent += sock.send(message[sent % len(message) :])
    return sent


def show_slow_reader(report: Report, engine: str, options: Any) -> None:
    """The rows of one who sends and does not read."""
    with Server(engine, options) as server:
        with upgrade(server.port) as first:
            fill(first, options.size)
        server.settled()
        before = server.ask("collect")
        with upgrade(server.port, receive_buffer=4096) as sock:
            sent = fill(sock, options.size)
            allowed = options.limit / 2**20 + 1
            report.row(f"{engine}: memory of a slow reader", mib((before, server.ask("collect"))), allowed, "MiB")
            report.row(f"{engine}: taken from him", sent / 2**20, ENDLESS / 2**21, "MiB")


def main() -> None:
    """Broadcast without and with the one, and compare."""
    options = arguments(__doc__, layer="frames", count=1000, seconds=10.0, interval=0.1, size=4096, limit=64 * 1024)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = Report()
    for engine in engines(options):
        compare(report, engine, options)
        if options.layer != "frames":  # where nobody waits for what was sent
            show_slow_reader(report, engine, options)
    report.exit()


def compare(report: Report, engine: str, options: Any) -> None:
    """Broadcasts without and with the one who is stalled."""
    order = f"broadcast {options.seconds} {options.interval} {options.size}"
    kernel = 16 * options.size  # what the kernel keeps would hide for long that somebody reads nothing
    more: Dict[str, Any] = {"write_limit": options.limit, "kernel_buffer": kernel, "close_timeout": 1}
    limit = options.limit
    if options.layer == "drop-in":
        more = {"ping": PING_S, "kernel_buffer": kernel, "close_timeout": 1}
        limit = int((2 * PING_S + 1 + PING_S) / options.interval) * options.size
    with Server(engine, options, **more) as server:
        socks = [upgrade(server.port, number) for number in range(options.count)]
        server.start(order)
        alone, _, first = receive(server, socks, options.size)
        before = server.ask("collect")
        slow = upgrade(server.port, receive_buffer=4096)
        server.start(order)
        times, counts, second = receive(server, socks, options.size)
        missing = sum(second["sent"] - count for count in counts)
        lost = 100 * (1 - second["sent"] / first["sent"])
        without = percentile(alone, 99) * 1000
        print(f"{engine}: {second['sent']} broadcasts to {options.count}, p99 {without:.2f} ms without a stalled one")
        report.row(f"{engine}: p99 of others", percentile(times, 99) * 1000, 2 * without + SLACK_MS, "ms")
        report.row(f"{engine}: rate that others lose", lost, 5, "%")
        report.row(f"{engine}: messages missing of others", missing, 0)
        most = limit + options.size + 16
        report.row(f"{engine}: write buffer of the stalled one", second["buffered"] / 1024, most / 1024, "KiB")
        report.row(f"{engine}: memory", mib((before, second)), limit / 2**20 + 1, "MiB")
        if second["sent"] * options.size > 4 * kernel + limit:
            left = server.settled(options.count)["connections"] - options.count
            report.row(f"{engine}: stalled one still there", left, 0)
        for sock in [slow, *socks]:
            with contextlib.suppress(OSError):
                sock.close()


if __name__ == "__main__":
    main()
