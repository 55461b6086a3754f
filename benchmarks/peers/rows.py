"""The rows of the table: workloads, and how each unfolds into cells (size x loop x transport).

A new workload is an entry here, a generator in `loads/` or a method of the drivers if it needs one, and nothing else.
"""

from __future__ import annotations

import dataclasses
from typing import Dict, Iterator, Sequence, Tuple

from spec import Spec

KIB, MIB = 1024, 1024 * 1024
CPU: Dict[str, str] = {"cpu_us": "us"}
MEMORY: Dict[str, str] = {"kib": "KiB", "kib_after_big": "KiB after 10 MiB"}
RESIDENT: Dict[str, str] = {"left_kib": "KiB in all left by the 10 MiB", "rss_mib": "MiB resident in all"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One workload."""

    name: str
    title: str
    operation: str
    """What one operation is."""
    spec: Spec
    sizes: Tuple[int, ...] = (256,)
    transports: Tuple[str, ...] = ("tcp",)
    metrics: Dict[str, str] = dataclasses.field(default_factory=lambda: CPU)
    """Unit per metric; the first is the one of the row, and less is better for all."""
    also: Dict[str, str] = dataclasses.field(default_factory=dict)
    """Unit per figure that is shown beside the metrics and not compared."""
    only: Tuple[str, ...] = ("*",)
    """Names or globs of the contenders that have a part in this row."""
    on_loop: bool = True
    """Whether the row has an event loop and a transport; what has none is measured once, and its key is row/size."""
    rounds: int = 1000
    """At most so many rounds, for figures that hardly vary."""
    two_cpus: bool = True
    """Whether the ends are pinned to different CPUs; ping-pong ends share one."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A row at one size, on one loop, over one transport: what is measured in turn for every contender."""

    key: str
    row: Row
    spec: Spec


def _row(name: str, title: str, operation: str, role: str, load: str = "", **more: object) -> Row:
    fields = {field.name for field in dataclasses.fields(Row)}
    of_row = {key: value for key, value in more.items() if key in fields}
    of_spec = {key: value for key, value in more.items() if key not in fields}
    return Row(name, title, operation, Spec(name, role, load, **of_spec), **of_row)  # type: ignore[arg-type]


ROWS: Dict[str, Row] = {
    row.name: row
    for row in (
        _row("echo", "echo, client and server in one process on one loop", "round trip", "echo",
             sizes=(256, 8 * KIB, 100 * KIB, MIB), transports=("tcp", "tls"), two_cpus=False),
        _row("echo2", "echo, client and server in two processes, both counted", "round trip", "client",
             two_cpus=False),
        _row("flood", "client receives a flood, takes each payload as bytes", "frame", "receive", "flood"),
        _row("cython-listener", "client receives a flood, with a listener in Python or in Cython", "frame", "receive",
             "flood", only=("core", "core-cython", "picows", "picows-cython", "c-epoll")),
        _row("slow", "client busy for 400 us (not counted) with each message of a flood", "message", "receive",
             "flood", sizes=(64 * KIB,), consume_us=400.0, metrics={"cpu_us": "us", "peak_kib": "KiB peak"}),
        _row("inflight", "server, 1 connection, 64 frames in flight", "frame", "server", "inflight", in_flight=64,
             also={"answers_per_read": "answers per read of the generator"}),
        _row("pingpong", "server, 500 connections in ping-pong", "frame", "server", "pingpong", connections=500),
        _row("handshakes", "server, connect + upgrade + closing handshake, 16 under way", "connection", "server",
             "handshakes", connections=16, metrics={"wall_us": "us wall", "cpu_us": "us"}),
        _row("broadcast", "server broadcasts to 500 connections", "frame", "server", "broadcast", server="broadcast",
             connections=500),
        _row("broadcast200", "server makes 200 broadcasts to 500 connections in one callback", "frame", "server",
             "broadcast", server="broadcast", connections=500, repeat=200),
        _row("memory", "server, 4,000 connections idle after one echo; then one echo of 10 MiB", "connection",
             "server", "idle", connections=4000, big=10 * MIB,
             metrics=MEMORY, also=RESIDENT, rounds=2),
        _row("masking", "copy and mask, buffers in the cache where they fit; then in place", "payload", "kernel",
             sizes=(64, 4 * KIB, MIB), on_loop=False, only=("kernel-*", "memcpy"),
             metrics={"ns": "ns", "in_place_ns": "ns in place"}, also={"gb_per_s": "GB/s",
             "in_place_gb_per_s": "GB/s in place"}),
        _row("json", "echo of JSON text with permessage-deflate (defaults)", "round trip", "echo", sizes=(KIB,),
             text=True, deflate=True, two_cpus=False),
        _row("deflate", "server, 1 connection, 16 JSON texts with permessage-deflate in flight", "message", "server",
             "deflated", sizes=(KIB,), text=True, deflate=True, in_flight=16),
        _row("memory-deflate", "as memory, with permessage-deflate (defaults)", "connection", "server", "idle",
             connections=4000, big=10 * MIB, deflate=True,
             metrics=MEMORY, also=RESIDENT, rounds=2),
    )
}  # fmt: skip

QUICK_ECHO_SIZES = (256, 100 * KIB)


def cells(
    names: Sequence[str], loops: Sequence[str], transports: Sequence[str], sizes: Sequence[int]
) -> Iterator[Cell]:
    """Unfolds rows into cells.

    Args: sizes: payload sizes in bytes to keep in rows that have several; empty keeps all.
    Yields: cells whose key is `row/size/loop/transport`, or `row/size`.
    """
    for name in names:
        row = ROWS[name]
        if not row.on_loop:
            yield from (Cell(f"{name}/{size}", row, row.spec.but(size=size)) for size in row.sizes)
            continue
        kept = [size for size in row.sizes if not sizes or len(row.sizes) == 1 or size in sizes]
        for size in kept:
            for loop in loops:
                for transport in row.transports:
                    if transport in transports:
                        spec = row.spec.but(size=size, loop=loop, tls=transport == "tls")
                        yield Cell(f"{name}/{size}/{loop}/{transport}", row, spec)
