"""What the scripts of this directory share: a server in a process of its own, raw clients, and a table of figures.

Each script measures one promise of the catalogue, prints every figure beside its target, and exits with 1 if one is
missed. The server is asked for its own memory, objects and descriptors, so that the load generator does not count.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterator, List, Tuple, TypeVar, Union

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from fixtures.deflated import RSV1, deflated  # noqa: E402
from fixtures.peers import request_head  # noqa: E402
from fixtures.wire import BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, build, close_payload  # noqa: E402

__all__ = [
    "BINARY",
    "CONT",
    "PING",
    "PONG",
    "RSV1",
    "deflated",
]  # for the scripts, which must not look for fixtures themselves

TIMEOUT_S = 30
P = TypeVar("P", bound="Process")


#: What the server is made with: the frame API, the message layer, or picows.websockets.asyncio.server.
LAYERS = ("frames", "messages", "drop-in")


def arguments(description: str, layer: str = "messages", **more: Union[float, str]) -> argparse.Namespace:
    """`--engine` (or `--impl`), `--loop`, `--layer`, and an option for each of the others, with its default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--engine", "--impl", default="all", choices=["all", "core", "pure"])
    parser.add_argument("--loop", default="asyncio", choices=["asyncio", "uvloop"])
    parser.add_argument("--layer", default=layer, choices=LAYERS)
    for name, default in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser.parse_args()


def engines(options: argparse.Namespace) -> Iterator[str]:
    """Those that were asked for and are installed."""
    from picows import _engine

    for name in ("core", "pure") if options.engine == "all" else (options.engine,):
        try:
            _engine.load(name)
        except ModuleNotFoundError as exc:
            print(f"{name}: left out, {exc}")
        else:
            yield name


class Process:
    """A script of this directory that answers commands, in a process of its own. Options are those of the script."""

    script = ""

    def __init__(self, engine: str, options: argparse.Namespace, **more: Any) -> None:
        words = [sys.executable, str(HERE / self.script), "--engine", engine, "--loop", options.loop]
        for name, value in {"layer": options.layer, **more}.items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready: Any = self._read()

    def __enter__(self: P) -> P:
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(TIMEOUT_S)

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.script} has ended")
        return json.loads(line)

    def start(self, command: str) -> None:
        """Send a command; `_read` its answer later."""
        assert self.process.stdin is not None
        print(command, file=self.process.stdin, flush=True)

    def ask(self, command: str = "stats") -> Any:
        """What it answers: to `stats`, `collect` (stats after a garbage collection), `nogc` and its own commands."""
        self.start(command)
        return self._read()

    def settled(self, connections: int = 0) -> Any:
        """Its stats once it has no more connections than this; or, at last, those that it has.

        Where none are left their objects go too: of one that was failed a moment later, when the peer has been quiet.
        """
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            stats = self.ask()
            is_settled = stats["connections"] <= connections and (connections > 0 or stats["objects"] <= 0)
            if is_settled or time.monotonic() > deadline:
                return stats
            time.sleep(0.02)


class Client(Process):
    """Our own clients, which connect to a server of the same layer."""

    script = "client.py"


class Server(Process):
    """An echo of messages; the other commands are `reset`, `broadcast` and `close`."""

    script = "server.py"

    def __init__(self, engine: str, options: argparse.Namespace, **more: Any) -> None:
        super().__init__(engine, options, **more)
        self.port: int = self.ready["port"]
        self.tls_port: int = self.ready.get("tls_port", 0)


def connect(port: int, number: int = 0, receive_buffer: int = 0) -> socket.socket:
    """A TCP connection; from another source address for each 8,000, because ports run out."""
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if number >= 8000:
        sock.bind((f"127.0.1.{number // 8000}", 0))
    sock.settimeout(TIMEOUT_S)
    sock.connect(("127.0.0.1", port))
    return sock


def upgrade(port: int, number: int = 0, receive_buffer: int = 0, header: str = "") -> socket.socket:
    """A WebSocket connection; the request may have one more header."""
    sock = connect(port, number, receive_buffer)
    sock.sendall(request_head(header) if header else request_head())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = sock.recv(4096)
        if not data:
            raise SystemExit(f"no upgrade: {head!r}")
        head += data
    return sock


def read(sock: socket.socket, size: int) -> bytes:
    """Exactly so many bytes."""
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError(data)
        data += piece
    return data


HELLO = build(TEXT, b"hello", key=KEY)


def echo(sock: socket.socket) -> float:
    """A message and its echo. Returns how many seconds that took."""
    began = time.perf_counter()
    sock.sendall(HELLO)
    read(sock, 7)
    return time.perf_counter() - began


def say_goodbye(sock: socket.socket) -> None:
    """A closing handshake."""
    sock.sendall(build(CLOSE, close_payload(1000), key=KEY))
    while sock.recv(4096):
        pass
    sock.close()


def percentile(values: List[float], percent: float) -> float:
    """Of an unsorted list."""
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


class Report:
    """The table, and whether every target was met."""

    def __init__(self) -> None:
        self.missed: List[str] = []

    def row(self, what: str, figure: float, target: float, unit: str = "") -> None:
        """One figure that must not be above its target."""
        is_met = figure <= target
        print(f"{what:<48} {figure:>10.2f} {unit:<4} target <= {target:g} {'ok' if is_met else 'MISSED'}", flush=True)
        if not is_met:
            self.missed.append(what)

    def exit(self) -> None:
        """End the process."""
        print(f"missed: {', '.join(self.missed)}" if self.missed else "all targets are met")
        sys.exit(1 if self.missed else 0)


def mib(stats: Tuple[Any, Any]) -> float:
    """By how much the server's memory has grown from one answer to another."""
    before, after = stats
    return float((after["rss"] - before["rss"]) / 2**20)
