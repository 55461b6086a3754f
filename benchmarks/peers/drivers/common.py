"""What all drivers share: the contract, the clocks, the payloads and the TLS contexts.

A driver does only what a user of its library would write for the workload; when to start and stop the clock is
decided here, the same way for every library. CPU is user + system time of the whole process, wall is perf_counter.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import ssl
import time
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, Protocol

from loads.clock import memory_kib
from spec import Spec

CLEAR_REFS, RESET_PEAK = Path("/proc/self/clear_refs"), "5"
"""Writing that to this file sets VmHWM back to VmRSS (proc(5))."""

RoundTrips = Callable[[int], Awaitable[None]]
"""Makes that many round trips, one after the other, on one connection."""

CHUNKS = {256: 200, 1024: 100, 8192: 100, 102400: 20, 1048576: 4}
"""Round trips between two looks at the clock, by payload size."""


class Marks:
    """The clock of a receiver: started by the first empty message, stopped by the second.

    The markers are empty messages in the stream, so that a receiver tells them apart by the truth value of the
    payload that it takes anyway: no counter and no clock is read per message.
    """

    def __init__(self, consume_us: float) -> None:
        self.cpu_s = self.wall_s = 0.0
        self.consume_s = consume_us * 1e-6
        self._consumed_s = 0.0
        self._seen = self._before_kib = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connected(self) -> None:
        """Notes the memory in use before the flood, and starts a new peak here.

        The flood generator is silent for a moment after the upgrade, so that this is not late.
        """
        CLEAR_REFS.write_text(RESET_PEAK)
        self._before_kib = memory_kib("self")["rss"]

    def peak_kib(self) -> int:
        """Returns: how far resident memory rose above what it was before the flood."""
        return memory_kib("self")["peak"] - self._before_kib

    def mark(self) -> None:
        """Starts the clock, or stops it and resolves `done`."""
        cpu, wall = time.process_time() - self._consumed_s, time.perf_counter()
        self._seen += 1
        if self._seen == 1:
            self.cpu_s, self.wall_s = -cpu, -wall
        else:
            self.cpu_s += cpu
            self.wall_s += wall
            self.done.set_result(None)

    def consume(self) -> None:
        """Keeps the CPU busy for `consume_s` on the user's account: this time is not counted."""
        cpu = time.process_time()
        end = time.perf_counter() + self.consume_s
        while time.perf_counter() < end:
            pass
        self._consumed_s += time.process_time() - cpu


class Driver(Protocol):
    """What the process under test needs from a family of libraries."""

    facts: Dict[str, Any]
    """Version, file, implementation and settings, as found at run time."""

    def __init__(self, spec: Spec) -> None: ...

    async def serve(self) -> int:
        """Returns: the port of a running server that does what `spec.server` says."""

    async def connect_echo(self, port: int) -> RoundTrips:
        """Returns: a function that makes round trips on one new connection."""

    async def receive(self, port: int, marks: Marks) -> None:
        """Takes messages as bytes until `marks.done`."""


async def timed(round_trips: RoundTrips, spec: Spec, clock: Callable[[], float]) -> Dict[str, float]:
    """Makes round trips for `spec.seconds` after a warm-up.

    Args: clock: CPU seconds of all processes under test. Returns: operations, cpu_s and wall_s.
    """
    chunk = CHUNKS.get(spec.size, 20)
    end = time.perf_counter() + spec.warm_s
    while time.perf_counter() < end:
        await round_trips(chunk)
    gc.collect()
    operations = 0
    cpu, start = clock(), time.perf_counter()
    while time.perf_counter() - start < spec.seconds:
        await round_trips(chunk)
        operations += chunk
    return {"operations": operations, "cpu_s": clock() - cpu, "wall_s": time.perf_counter() - start}


def payload(spec: Spec) -> Any:
    """Returns: what the echo client sends: random bytes, or JSON text of exactly `spec.size` characters."""
    if not spec.text:
        return os.urandom(spec.size)
    quotes = [{"symbol": f"PAIR{i:03d}", "bid": 1000 + i * 0.25, "ask": 1000.5 + i * 0.25} for i in range(spec.size)]
    text = ""
    for quote in quotes:
        longer = text + ("," if text else "[") + json.dumps(quote)
        if len(longer) > spec.size - 1:
            break
        text = longer
    return text + " " * (spec.size - 1 - len(text)) + "]"


def server_tls(spec: Spec) -> ssl.SSLContext | None:
    """Returns: the server's TLS context, None for plain TCP."""
    if not spec.tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(spec.cert, spec.key)
    return context


def client_tls(spec: Spec) -> ssl.SSLContext | None:
    """Returns: a client's TLS context that trusts only the run's own certificate, None for plain TCP."""
    return ssl.create_default_context(cafile=spec.cert) if spec.tls else None


def url(spec: Spec, port: int) -> str:
    """Returns: the address of the server under test."""
    return f"{'wss' if spec.tls else 'ws'}://127.0.0.1:{port}/"
