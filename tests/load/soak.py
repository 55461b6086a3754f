"""T6: an hour of everything at once: text, binary, deflate, fragments, pings, TLS, reconnects. Nothing is lost, nothing
is left, and the memory of neither side grows.

Each worker opens a connection, sends messages of all sizes with some of them in flight, compares what comes back, ends
the connection in one of four ways, and begins again. The slope of the memory is that of a straight line through the
samples after the warm-up: twenty minutes, of a shorter run the first half.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import os
import random
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any, Counter, Deque, Iterator, List, Tuple

import drop_in
from rig import Report, Server, arguments, engines
from server import EXTENSIONS, rss_bytes

from picows import WSConnectionClosed, _engine, ws_connect
from picows.deflate import DeflateCodec, DeflateOptions, accept_response, offer

IN_FLIGHT = 16
MOST_MESSAGES = 200
LARGEST = 18  # as a power of two
TIMEOUT_S = 60
WARM_UP_S = 1200
#: MiB for each hour, and what is noise of allocators in all, however short the run.
SLOPE, NOISE_MIB = 1.0, 1.0
ENDS = ("CLOSE", "disconnect", "CLOSE by surprise", "abort")
_POOL = random.Random(0).randbytes(1 << LARGEST)
_TEXT = "".join(random.Random(0).choices("0123456789 abcdef\u20ac\u00fc", k=1 << LARGEST))


class Ledger:
    """What became of every message.

    Attributes:
        counts: of everything by name; `sent` == `received` + `abandoned` + lost.
        errors: what must not be.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = collections.Counter()
        self.errors: List[str] = []

    @property
    def lost(self) -> int:
        """How many messages have not come back from connections that were closed in order."""
        return self.counts["sent"] - self.counts["received"] - self.counts["abandoned"]


class Connection:
    """One connection from its opening to its end."""

    def __init__(self, listener: Any, ledger: Ledger, rng: random.Random) -> None:
        self._listener = listener
        self._ledger = ledger
        self._rng = rng
        self._expected: Deque[Any] = collections.deque()
        self._free = asyncio.Semaphore(IN_FLIGHT)
        self._is_ending = False

    async def run(self) -> None:
        """Send, compare, end."""
        reader = asyncio.ensure_future(self._read())
        try:
            for _ in range(self._rng.randint(1, MOST_MESSAGES)):
                await self._free.acquire()
                await self._send()
            await self._end(self._rng.choice(ENDS))
        finally:
            await self._listener.transport.wait_disconnected()
            await reader
        self._ledger.counts["abandoned"] += len(self._expected)

    async def _send(self) -> None:
        rng = self._rng
        size = int(2 ** rng.uniform(0, LARGEST)) - 1
        at = rng.randrange((1 << LARGEST) - size)
        source: Any = _TEXT if rng.random() < 0.5 else _POOL
        message = source[at : at + size]
        self._expected.append(message)
        self._ledger.counts["sent"] += 1
        self._ledger.counts["bytes"] += size
        if rng.random() < 0.3:
            cuts = sorted(rng.randrange(size + 1) for _ in range(rng.randint(1, 5)))
            bounds = zip([0, *cuts], [*cuts, size])
            await self._listener.send_fragments([message[start:end] for start, end in bounds])
            self._ledger.counts["in fragments"] += 1
        else:
            await self._listener.send(message)
        if rng.random() < 0.02:
            await self._listener.transport.measure_roundtrip_time(1, timeout=TIMEOUT_S)
            self._ledger.counts["pings"] += 1

    async def _read(self) -> None:
        try:
            async for message in self._listener:
                if message != self._expected.popleft():
                    self._ledger.errors.append(f"a message of {len(message)} came back as another one")
                self._ledger.counts["received"] += 1
                self._free.release()
        except (WSConnectionClosed, ConnectionError) as exc:
            if not self._is_ending:
                self._ledger.errors.append(f"ended unasked: {exc}")
        if not self._is_ending:
            self._listener.transport.disconnect(graceful=False)

    async def _end(self, how: str) -> None:
        """In order with everything received, or with messages in flight, which are then abandoned."""
        self._ledger.counts[how] += 1
        if how in ("CLOSE", "disconnect"):
            for _ in range(IN_FLIGHT):
                await asyncio.wait_for(self._free.acquire(), TIMEOUT_S)
        self._is_ending = True
        if how.startswith("CLOSE"):
            await self._listener.close()
        else:
            self._listener.transport.disconnect(graceful=how == "disconnect")


class Soak:
    """The load on one server.

    Args:
        engine: of the clients; the server has the same.
        layer: likewise.
        server: the server.
        context: for TLS.
    """

    def __init__(self, engine: Any, layer: str, server: Server, context: ssl.SSLContext) -> None:
        self._engine = engine
        self._layer = layer
        self._server = server
        self._context = context
        self.ledger = Ledger()

    async def _connect(self, rng: random.Random) -> Any:
        is_secure, compress = rng.random() < 0.5, rng.random() < 0.5
        port, scheme = (self._server.tls_port, "wss") if is_secure else (self._server.port, "ws")
        self.ledger.counts["TLS" if is_secure else "TCP"] += 1
        self.ledger.counts["deflate"] += compress
        if self._layer == "drop-in":
            tuning = {"compression": "deflate" if compress else None, "ssl": self._context if is_secure else None}
            url = f"{scheme}://127.0.0.1:{port}/"
            return await drop_in.connect(self._engine, url, open_timeout=TIMEOUT_S, ping_interval=None, **tuning)
        headers = {EXTENSIONS: offer(DeflateOptions())} if compress else {}

        def factory(_: Any, response: Any) -> Any:
            agreed = accept_response(DeflateOptions(), response.headers.get(EXTENSIONS)) if compress else None
            codec = None if agreed is None else DeflateCodec(agreed, is_client_side=True)
            return self._engine.WSMessageListener(codec=codec)

        options = {"engine": self._engine, "use_aiofastnet": False, "extra_headers": headers, "open_timeout": TIMEOUT_S}
        if is_secure:
            options["ssl_context"] = self._context
        _, listener = await ws_connect(factory, f"{scheme}://127.0.0.1:{port}/", **options)
        return listener

    async def work(self, seed: int, end: float) -> None:
        """Connections, one after the other, until it is time."""
        rng = random.Random(seed)
        while time.monotonic() < end:
            try:
                connection = Connection(await self._connect(rng), self.ledger, rng)
                await connection.run()
            except (WSConnectionClosed, OSError, asyncio.TimeoutError) as exc:
                self.ledger.errors.append(f"{type(exc).__name__}: {exc}")
            self.ledger.counts["connections"] += 1

    async def run(self, workers: int, seconds: float) -> List[Tuple[float, float, float]]:
        """All workers. Returns samples after the warm-up: hours, and MiB of server and client."""
        began = time.monotonic()
        tasks = [asyncio.ensure_future(self.work(seed, began + seconds)) for seed in range(workers)]
        samples: List[Tuple[float, float, float]] = []
        pause = max(0.05, min(5.0, seconds / 400))
        while time.monotonic() < began + seconds:
            await asyncio.sleep(pause)
            stats = await asyncio.to_thread(self._server.ask)
            if time.monotonic() > began + min(WARM_UP_S, seconds / 2):
                hours = (time.monotonic() - began) / 3600
                samples.append((hours, stats["rss"] / 2**20, (rss_bytes() or 0) / 2**20))
        await asyncio.gather(*tasks)
        return samples


def slope(points: List[Tuple[float, float]]) -> float:
    """Of the straight line with the least squares."""
    if len(points) < 2:
        return 0.0
    x_mean = sum(x for x, _ in points) / len(points)
    y_mean = sum(y for _, y in points) / len(points)
    square = sum((x - x_mean) ** 2 for x, _ in points)
    return sum((x - x_mean) * (y - y_mean) for x, y in points) / square if square else 0.0


@contextlib.contextmanager
def certificate() -> Iterator[Tuple[str, ssl.SSLContext]]:
    """A file for the server, and what the clients need."""
    from fixtures.certificates import make_certificates

    made = make_certificates()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "server.pem"
        path.touch(0o600)
        path.write_bytes(made.server_pem)
        yield str(path), made.client


def show_growth(report: Report, who: str, points: List[Tuple[float, float]]) -> None:
    """Two rows: the slope, and what it amounts to."""
    each_hour = slope(points)
    hours = points[-1][0] - points[0][0] if points else 0.0
    print(f"{who}: {points[0][1] if points else 0:.1f} MiB, {len(points)} samples, {each_hour:+.2f} MiB/h")
    report.row(f"{who}: memory has grown by", each_hour * hours, max(NOISE_MIB, SLOPE * hours), "MiB")


def main() -> None:
    """Each engine for so many seconds."""
    options = arguments(__doc__.split("\n")[0], seconds=3600.0, workers=16)
    if options.layer == "frames":
        raise SystemExit("--layer is messages or drop-in: frames are sent and compared as messages")
    report = Report()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # as the server's: see there
    with certificate() as (file, context):
        for name in engines(options):
            with Server(name, options, certificate=file) as server:
                _measure(name, server, context, options, report)
    report.exit()


def _measure(name: str, server: Server, context: ssl.SSLContext, options: Any, report: Report) -> None:
    noise: List[str] = []
    if options.loop == "uvloop":
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: noise.append(f"reported to the loop: {context}"))
    soak = Soak(_engine.load(name), options.layer, server, context)
    loop.run_until_complete(soak.run(1, 0.2))  # what is made once
    soak.ledger.counts.clear()
    before, fds = server.settled(), len(os.listdir("/proc/self/fd"))
    samples = loop.run_until_complete(soak.run(options.workers, options.seconds))
    after = server.settled()
    tasks, fds = len(asyncio.all_tasks(loop)), len(os.listdir("/proc/self/fd")) - fds
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()

    ledger = soak.ledger
    print(f"{name}: {', '.join(f'{what} {count}' for what, count in sorted(ledger.counts.items()))}")
    for error in [*ledger.errors, *noise, *after["reports"]][:20]:
        print(f"{name}: ERROR {error}")
    report.row(f"{name}: messages lost", ledger.lost, 0)
    report.row(f"{name}: errors", len(ledger.errors) + len(noise) + len(after["reports"]), 0)
    for what in ("connections", "objects", "fds", "tasks", "loggers"):
        report.row(f"{name}: server: {what} left", after[what] - before[what], 0)
    report.row(f"{name}: client: fds left", fds, 0)
    report.row(f"{name}: client: tasks left", tasks, 0)
    show_growth(report, f"{name}: server", [(hours, server_mib) for hours, server_mib, _ in samples])
    show_growth(report, f"{name}: client", [(hours, client_mib) for hours, _, client_mib in samples])


if __name__ == "__main__":
    main()
