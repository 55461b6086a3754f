"""A live demo: an echo server and a client over loopback, with round-trip times as they happen. Ctrl-C ends it.

Server and client share one process, one thread and one event loop: each round trip on the screen has paid for four
passes through the library (two sends, two receives) and for the kernel's loopback. One message is in flight at a time.
Nothing is measured while a line is printed: a window ends, its numbers are shown, the next one begins.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import platform
import signal
import sys
import time
from collections import Counter
from importlib.metadata import version
from typing import Any, Callable, Coroutine, Dict, List, Optional, Tuple

import picows
from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_connect,
    ws_create_server,
)

PERCENTILES = (50.0, 99.0, 99.9)
WINDOW_S = 1.0
MAX_SIZE = 10 * 1024 * 1024  # what `max_frame_size` is by default
TICKS_PER_US = 10  # the summary keeps round-trip times in tenths of a microsecond


class EchoListener(WSListener):
    """Server side: sends back what it gets."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview(), fin=bool(frame.fin))


class PingPongListener(WSListener):
    """Client side: sends the next message as soon as the echo of the last one is there, until the window is over."""

    def __init__(self) -> None:
        self.transport: Optional[WSTransport] = None
        self._payload = b""
        self._sent_at = 0.0
        self._round_trips_s: List[float] = []
        self._ends_at = 0.0
        self._done: Optional[asyncio.Future[Tuple[List[float], bytes]]] = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    async def run(self, payload: bytes, seconds: float) -> Tuple[List[float], bytes]:
        """Exchange `payload` for `seconds`, at least once. Returns round-trip times in seconds, and the last echo."""
        self._done = asyncio.get_running_loop().create_future()
        self._payload = payload
        self._round_trips_s = []
        self._ends_at = time.perf_counter() + seconds
        self._send()
        return await self._done

    def _send(self) -> None:
        assert self.transport is not None  # run() is called after ws_connect returned
        self._sent_at = time.perf_counter()
        self.transport.send(WSMsgType.BINARY, self._payload)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        now = time.perf_counter()
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
            return
        self._round_trips_s.append(now - self._sent_at)
        if now < self._ends_at:
            self._send()
        elif self._done is not None and not self._done.done():
            self._done.set_result((self._round_trips_s, frame.get_payload_as_bytes()))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError("the server hung up"))


class Summary:
    """Round-trip times of all windows, in a histogram, so that the demo may run for days."""

    def __init__(self) -> None:
        self.histogram: Counter[int] = Counter()
        self.count = 0
        self.seconds = 0.0

    def add(self, round_trips_s: List[float]) -> None:
        self.histogram.update(int(s * 1e6 * TICKS_PER_US) for s in round_trips_s)
        self.count += len(round_trips_s)
        self.seconds += sum(round_trips_s)

    def percentiles_us(self) -> List[float]:
        wanted = [self.count * p / 100 for p in PERCENTILES]
        found: List[float] = []
        seen = 0
        for ticks, n in sorted(self.histogram.items()):
            seen += n
            while len(found) < len(wanted) and seen >= wanted[len(found)]:
                found.append(ticks / TICKS_PER_US)
        return found


def row(label: str, count: int, seconds: float, percentiles_us: List[float]) -> str:
    times = "".join(f"{us:>12.1f}" for us in percentiles_us)
    return f"{label:>8}{count / seconds:>14,.0f}{times}"


def clip(data: bytes) -> str:
    return repr(data if len(data) <= 40 else data[:40] + b"...")


async def introduce(client: PingPongListener) -> None:
    """Show the first messages one by one."""
    for number in range(1, 4):
        payload = f"message {number} of the demo".encode()
        (took,), echo = await client.run(payload, 0)
        print(f"  client sends {clip(payload)}, the server echoes {clip(echo)} after {took * 1e6:.0f} us")


async def measure(client: PingPongListener, size: int, seconds: Optional[float], summary: Summary) -> None:
    """Print one line per second until `seconds` are over, or for ever when it is None."""
    payload = bytes(i % 251 for i in range(size))
    heads = "".join(f"{f'p{p:g}, us':>12}" for p in PERCENTILES)
    print(f"\n  {size}-byte messages, one in flight; messages/s counts echoes; p* are round-trip times\n")
    print(f"{'second':>8}{'messages/s':>14}{heads}", flush=True)
    ends_at = None if seconds is None else time.perf_counter() + seconds
    second = 0
    while ends_at is None or time.perf_counter() < ends_at:
        left = WINDOW_S if ends_at is None else min(WINDOW_S, ends_at - time.perf_counter())
        round_trips_s, echo = await client.run(payload, left)
        if echo != payload:
            raise RuntimeError(f"sent {clip(payload)}, received {clip(echo)}")
        window = Summary()
        window.add(round_trips_s)
        summary.add(round_trips_s)
        second += 1
        print(row(str(second), window.count, window.seconds, window.percentiles_us()), flush=True)


async def until_interrupted(work: Coroutine[Any, Any, None]) -> None:
    """Await `work`, or end it quietly at the first SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    for signum in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(signum, task.cancel)
        except NotImplementedError:  # Windows
            signal.signal(signum, lambda *_: loop.call_soon_threadsafe(task.cancel))
    try:
        await task
    except asyncio.CancelledError:
        print()


async def demo(size: int, seconds: Optional[float]) -> None:
    def new_echo_listener(request: WSUpgradeRequest) -> WSListener:
        return EchoListener()

    server = await ws_create_server(new_echo_listener, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    summary = Summary()

    async def work(client: PingPongListener) -> None:
        await introduce(client)
        await measure(client, size, seconds, summary)

    async with server:  # whatever happens, it says goodbye to its connection at the end
        print(f"  ws://{host}:{port}: server and client in one process, one thread, one event loop; Ctrl-C to end\n")
        transport, client = await ws_connect(PingPongListener, f"ws://{host}:{port}/")
        assert isinstance(client, PingPongListener)
        await until_interrupted(work(client))
        transport.send_close(WSCloseCode.OK)
        await transport.wait_disconnected()
    if summary.count:
        print(row("all", summary.count, summary.seconds, summary.percentiles_us()))
        print(f"\n  {summary.count:,} round trips in {summary.seconds:.1f} s, closed with {int(WSCloseCode.OK)}")


def find_loop(wanted: str) -> Tuple[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name and factory of the event loop; `auto` is uvloop where it is installed."""
    if wanted != "asyncio":
        try:
            import uvloop

            return f"uvloop {version('uvloop')}", uvloop.new_event_loop
        except ImportError:
            if wanted == "uvloop":
                sys.exit("demo: uvloop is not installed: pip install uvloop, or --loop asyncio")
    return "asyncio", asyncio.new_event_loop


def run(main: Coroutine[Any, Any, None], new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """asyncio.run on a loop of our choice, which takes no such argument before Python 3.12."""
    loop = new_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(main)
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def parse_arguments(argv: Optional[List[str]]) -> Dict[str, Any]:
    parser = argparse.ArgumentParser(prog="demo", description="An echo server and a client over loopback.")
    parser.add_argument("--seconds", type=float, help="stop after this long (default: at Ctrl-C)")
    parser.add_argument("--size", type=int, default=256, help="bytes per message (default: %(default)s)")
    parser.add_argument("--loop", choices=("auto", "asyncio", "uvloop"), default="auto", help="default: %(default)s")
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.size <= MAX_SIZE:
        parser.error(f"--size is {arguments.size}, it must be 0 to {MAX_SIZE}")
    if arguments.seconds is not None and arguments.seconds <= 0:
        parser.error(f"--seconds is {arguments.seconds}, it must be more than 0")
    return vars(arguments)


def main(argv: Optional[List[str]] = None) -> None:
    arguments = parse_arguments(argv)
    loop_name, new_loop = find_loop(arguments["loop"])
    # A message that is larger than the system's buffers waits in ours: a warning for each would be noise here.
    logging.getLogger("picows").setLevel(logging.ERROR)
    implementation = getattr(picows, "__impl__", "unknown")
    print(
        f"picows {picows.__version__}, implementation {implementation}, on {loop_name}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )
    run(demo(arguments["size"], arguments["seconds"]), new_loop)


if __name__ == "__main__":
    main()
