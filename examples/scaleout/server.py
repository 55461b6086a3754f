"""Rooms over several processes on one port: the kernel spreads connections (SO_REUSEPORT), a broker connects the
processes.

    python examples/scaleout/server.py --processes 4 --backplane redis --broker redis://127.0.0.1:6379
    python examples/scaleout/server.py --processes 4 --backplane nats --broker nats://127.0.0.1:4222

This process only supervises: one that dies is started again, later and later if it does not live. SIGTERM and Ctrl-C
end all of them gracefully, CLOSE 1001 first. What clients say is in hub.py; GET /health answers for the process that
happens to be asked, 503 while that one is cut off from the broker.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from typing import Any, List, Optional

from backplane import make_backplane
from hub import Hub, Member

from picows import (
    WSAutoPingStrategy,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

log = logging.getLogger("scaleout")

#: A process that has lived so long has worked.
WELL_S = 5.0
MAX_PAUSE_S = 10.0
#: How long processes may take to end.
GRACE_S = 15.0


# --- one process ---


async def work(options: argparse.Namespace) -> None:
    """Serve until SIGTERM, or until the supervisor is gone."""
    hub = Hub()
    hub.backplane = make_backplane(options.backplane, options.broker, hub.deliver)

    def listener_for(request: WSUpgradeRequest) -> Any:
        if request.path == b"/health":
            health = hub.health()
            body = json.dumps(health).encode()
            if health["is_connected"]:
                return WSUpgradeResponseWithListener(WSUpgradeResponse.create_ok_response(body), None)
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(503, body), None)
        return Member(hub, options.max_queue, options.slow == "drop")

    relaying = asyncio.create_task(hub.backplane.run())
    server = await ws_create_server(
        listener_for,
        options.host,
        options.port,
        reuse_port=True,
        enable_auto_ping=True,
        auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
    )
    log.info("process %d serves on port %d", os.getpid(), options.port)
    stopping = asyncio.create_task(_wait_for_the_end())
    # A process that is alive and deaf is worse than none.
    await asyncio.wait([relaying, stopping], return_when=asyncio.FIRST_COMPLETED)
    await server.close(code=1001, reason="the server stops")
    failed = relaying.done()
    relaying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await relaying
    if failed:
        raise SystemExit(1)


async def _wait_for_the_end() -> None:
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, end.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C is sent to all: the supervisor decides
    loop.add_reader(0, end.set)  # stdin: the supervisor holds the other end, and writes nothing
    await end.wait()


# --- all of them ---


class Supervisor:
    """Keeps processes running.

    Args:
        options: of the command line, with the port that is reserved.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._is_stopping = asyncio.Event()
        self._running: List[asyncio.subprocess.Process] = []

    async def run(self) -> None:
        """Start all; return when all have ended after SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._is_stopping.set)
        keepers = [asyncio.create_task(self._keep()) for _ in range(self._options.processes)]
        await self._is_stopping.wait()
        for process in self._running:
            process.terminate()
        _, late = await asyncio.wait(keepers, timeout=GRACE_S)
        if late:
            log.warning("%d processes have not ended within %g s", len(late), GRACE_S)
            for process in self._running:
                process.kill()
            await asyncio.wait(late)

    async def _keep(self) -> None:
        """One process after another, until we stop."""
        pause_s = 0.0
        while not self._is_stopping.is_set():
            started = time.monotonic()
            command = [sys.executable, os.path.abspath(__file__), "--worker", *sys.argv[1:]]
            process = await asyncio.create_subprocess_exec(
                *command, "--port", str(self._options.port), stdin=asyncio.subprocess.PIPE
            )
            self._running.append(process)
            if self._is_stopping.is_set():
                process.terminate()
            status = await process.wait()
            self._running.remove(process)
            if self._is_stopping.is_set():
                return
            pause_s = 0.1 if time.monotonic() - started > WELL_S else min(MAX_PAUSE_S, max(0.1, 2 * pause_s))
            log.warning("process %d ended with %d, the next one starts in %.1f s", process.pid, status, pause_s)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._is_stopping.wait(), pause_s)


def reserve(host: str, port: int) -> socket.socket:
    """A socket that keeps the port for us. It does not listen, so that the kernel gives it no connections."""
    reserved = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind((host, port))
    return reserved


def parse(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9001, help="0 for a free one")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--backplane", choices=["none", "redis", "nats"], default="none")
    parser.add_argument("--broker", metavar="URL", help="of Redis or NATS; its usual port on this machine by default")
    parser.add_argument("--slow", choices=["close", "drop"], default="close", help="what happens to slow clients")
    parser.add_argument("--max-queue", type=int, default=1000, help="messages that may wait for one client")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    for name, least in (("processes", 1), ("max-queue", 0)):
        number = getattr(options, name.replace("-", "_"))
        if number < least:
            parser.error(f"--{name} is {number}, it must be {least} or more")
    if options.backplane == "none" and options.processes > 1 and not options.worker:
        log.warning("without a backplane a message reaches only the connections of the process that gets it")
    return options


def main() -> None:
    """Supervise, or be supervised."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("picows").setLevel(logging.WARNING)
    options = parse()
    if options.worker:
        asyncio.run(work(options))
        return
    with reserve(options.host, options.port) as reserved:
        options.port = reserved.getsockname()[1]
        log.info("listening on %s port %d", options.host, options.port)
        asyncio.run(Supervisor(options).run())


if __name__ == "__main__":
    main()
