"""What a connection costs: to open it, and while nothing happens on it."""

from __future__ import annotations

import gc
import importlib.util
import os
import ssl
import subprocess
import sys
import time
from typing import Any

from .session import Session, echo_listener
from .setting import BENCHMARKS, ENGINES, LINKS, LOOPS, TRANSPORTS, Timed


class Connect(Timed):
    """A connection is opened and ended, client and server on one loop: CPU of both."""

    timer = time.thread_time
    params = (ENGINES, LOOPS, LINKS)
    param_names = ("engine", "loop", "link")

    def setup(self, engine: str, loop: str, link: str) -> None:
        self.session = Session(engine, loop, link)
        self.session.serve(echo_listener(self.session.engine))

    def teardown(self, engine: str, loop: str, link: str) -> None:
        if hasattr(self, "session"):
            self.session.close()

    def time_connect(self, engine: str, loop: str, link: str) -> None:
        self.session.run(self._connect())

    async def _connect(self) -> None:
        transport, _ = await self.session.open(self.session.engine.WSListener)
        transport.disconnect(False)
        await transport.wait_disconnected()


class Memory:
    """Private pages of a server by connection, which had one echo; the clients are raw sockets of another process.

    A connection is the engine's objects and a transport. aiofastnet's transports take about 5 KiB more than the loop's
    own: hence both, or what the engine takes could not be seen. OpenSSL's objects take most of an encrypted one. The
    larger message is one that nothing may remain of.
    """

    timeout = 120
    warm = 100
    #: As many, that what grows in steps counts little; an encrypted one takes ten times the memory, and time.
    count = {"tcp": 1500, "tls": 200}
    params = (ENGINES, LOOPS, TRANSPORTS, LINKS, [256, 65536])
    param_names = ("engine", "loop", "transports", "link", "size")
    unit = "KiB"

    def setup(self, engine: str, loop: str, transports: str, link: str, size: int) -> None:
        if not os.path.exists("/proc/self/smaps_rollup"):
            raise NotImplementedError("only Linux counts private pages")
        self.connections = self.count[link]
        _allow_files(self.warm + self.connections + 50)
        if transports == "aiofastnet" and importlib.util.find_spec("aiofastnet") is None:
            raise NotImplementedError("aiofastnet is not installed")
        self.session = Session(engine, loop, link, use_aiofastnet=transports == "aiofastnet")
        self.session.serve(echo_listener(self.session.engine))
        words = [link, *map(str, (self.session.port, size, self.warm, self.connections))]
        command = [sys.executable, "-m", "suites.connections", *words]
        self.clients = subprocess.Popen(command, cwd=BENCHMARKS, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def teardown(self, engine: str, loop: str, transports: str, link: str, size: int) -> None:
        if hasattr(self, "clients"):
            self.clients.communicate()
            self.session.close()

    def track_kib_per_connection(self, engine: str, loop: str, transports: str, link: str, size: int) -> float:
        from loads.clock import memory_kib

        self._wait()
        before = memory_kib(os.getpid())["private"]
        self.clients.stdin.write(b"\n")  # type: ignore[union-attr]
        self.clients.stdin.flush()  # type: ignore[union-attr]
        self._wait()
        return (memory_kib(os.getpid())["private"] - before) / self.connections

    def _wait(self) -> None:
        output: Any = self.clients.stdout
        if not self.session.run(self.session.loop.run_in_executor(None, output.readline)):
            raise RuntimeError("the clients gave up")
        gc.collect()


def _allow_files(count: int) -> None:
    """For this process and those that it starts. Raises NotImplementedError where there may not be so many."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise NotImplementedError(f"only Linux with {count} open files: the limit is {hard}")
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


def _clients(link: str, port: int, size: int, *counts: int) -> None:
    """Open connections, one lot after each line of input, and keep them until the end of input."""
    from loads import wire

    context = _trusting() if link == "tls" else None
    message = wire.build_frame(bytes(size), masked=True)
    connections = []
    for count in counts:
        for _ in range(count):
            connections.append(wire.connect(port, context=context))
            connections[-1].sendall(message)
            wire.read_frame(connections[-1])
        print("open", flush=True)
        sys.stdin.readline()


def _trusting() -> ssl.SSLContext:
    """A context of a client to which the server's certificate does not matter: its authority is in another process."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


if __name__ == "__main__":
    _clients(sys.argv[1], *map(int, sys.argv[2:]))
