"""What issues 2, 3 and 4 promise is held to by `./dev bench --check`: each promise has a cell, each line a promise."""

from __future__ import annotations

import fnmatch
import importlib
import re
import shlex
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="benchmarks/peers needs Python 3.11")


@pytest.fixture(scope="module")
def peers() -> Iterator[Any]:
    """Imports a module of benchmarks/peers; those are forgotten at the end."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks/peers"))
        yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "benchmarks")):
            del sys.modules[name]


def all_cells(peers: Any) -> list[Any]:
    rows = peers("rows")
    return list(rows.cells(list(rows.ROWS), ["asyncio", "uvloop"], ["tcp", "tls"], []))


def test_every_target_has_a_cell_in_which_both_are_measured(peers: Any) -> None:
    known = peers("contenders").CONTENDERS
    cells = all_cells(peers)
    for target in peers("targets").TARGETS:
        held = [cell for cell in cells if fnmatch.fnmatchcase(cell.key, target.pattern)]
        measured = [
            cell
            for cell in held
            if target.metric in cell.row.metrics
            and all(known[name].takes_part(cell) for name in (target.ours, target.peer) if name)
        ]
        assert measured, target


#: The lines of the issues' tables: whose promise, against whom, on which cells, what, at most.
LINES = [
    ("3 echo 256 B", "core", "picows", "echo/256/asyncio/*", "cpu_us", 0.95),
    ("3 echo 256 B, uvloop", "core", "picows", "echo/256/uvloop/*", "cpu_us", 0.97),
    ("3 echo 8 KiB", "core", "picows", "echo/8192/*", "cpu_us", 1.0),
    ("3 echo 100 KB", "core", "picows", "echo/102400/*", "cpu_us", 1.0),
    ("3 echo 1 MiB", "core", "picows", "echo/1048576/*", "cpu_us", 0.9),
    ("3 slow consumer", "core", "picows", "slow/*", "cpu_us", 0.85),
    ("3 slow consumer, memory", "core", "", "slow/*", "peak_kib", 512),
    ("3 flood", "core", "picows", "flood/*", "cpu_us", 0.8),
    ("3 in flight", "core", "picows", "inflight/*", "cpu_us", 0.12),
    ("3 ping-pong", "core", "picows", "pingpong/*", "cpu_us", 0.92),
    ("3 handshakes", "core", "picows", "handshakes/*", "wall_us", 1 / 1.25),
    ("3 memory", "core-native", "", "memory/*", "kib", 3.3),
    ("3 memory after 10 MiB", "core-native", "", "memory/*", "kib_after_big", 3.3),
    ("3 memory, aiofastnet", "core", "", "memory/*", "kib", 8),
    ("3 memory, aiofastnet, after 10 MiB", "core", "", "memory/*", "kib_after_big", 8),
    ("3 broadcast", "core", "picows", "broadcast/*", "cpu_us", 0.92),
    ("3 200 broadcasts", "core", "picows", "broadcast200/*", "cpu_us", 0.15),
    ("3 masking, memcpy", "kernel-avx2", "memcpy", "masking/4096", "ns", 1.1),
    ("3 masking, order", "kernel-avx512", "kernel-avx2", "masking/4096", "ns", 1.0),
    ("3 Cython listener", "core-cython", "core", "cython-listener/*", "cpu_us", 0.35),
    ("4 echo 256 B", "dropin-core", "websockets", "echo/256/asyncio/tcp", "cpu_us", 0.3),
    ("4 echo 256 B, uvloop", "dropin-core", "websockets", "echo/256/uvloop/tcp", "cpu_us", 0.45),
    ("4 echo 256 B, upstream", "dropin-core", "picows.websockets", "echo/256/*/tcp", "cpu_us", 0.95),
    ("4 echo 100 KB", "dropin-core", "websockets", "echo/102400/asyncio/tcp", "cpu_us", 0.35),
    ("4 echo 100 KB, uvloop", "dropin-core", "websockets", "echo/102400/uvloop/tcp", "cpu_us", 0.55),
    ("4 echo 100 KB, upstream", "dropin-core", "picows.websockets", "echo/102400/*/tcp", "cpu_us", 1.0),
    ("4 flood", "dropin-core", "websockets", "flood/*", "cpu_us", 0.1),
    ("4 flood, upstream", "dropin-core", "picows.websockets", "flood/*", "cpu_us", 0.8),
    ("4 in flight", "dropin-core", "websockets", "inflight/*", "cpu_us", 0.15),
    ("4 in flight, upstream", "dropin-core", "picows.websockets", "inflight/*", "cpu_us", 0.35),
    ("4 JSON", "dropin-core", "websockets", "json/*", "cpu_us", 0.6),
    ("4 JSON, upstream", "dropin-core", "picows.websockets", "json/*", "cpu_us", 0.9),
    ("4 memory", "dropin-core", "websockets", "memory/*", "kib", 0.6),
    ("4 memory, compression", "dropin-core", "websockets", "memory-deflate/*", "kib", 0.5),
    ("4 memory, upstream", "dropin-core", "picows.websockets", "memory/*", "kib", 0.25),
    ("4 memory, compression, upstream", "dropin-core", "picows.websockets", "memory-deflate/*", "kib", 0.25),
    ("4 broadcast", "dropin-core", "websockets", "broadcast/*", "cpu_us", 0.7),
    ("4 broadcast, upstream", "dropin-core", "picows.websockets", "broadcast/*", "cpu_us", 0.9),
    ("4 handshakes", "dropin-core", "websockets", "handshakes/*", "wall_us", 1 / 2.5),
    ("4 handshakes, upstream", "dropin-core", "picows.websockets", "handshakes/*", "wall_us", 1 / 1.5),
    *(
        (f"4 on picows-pure, {row}, {loop}", "dropin-pure", "websockets", f"{row}/{loop}/*", "cpu_us", at_most)
        for row in ("echo/256", "echo/8192", "flood/256", "inflight/256", "pingpong/256", "broadcast/256")
        for loop, at_most in (("asyncio", 0.8), ("uvloop", 1.0))
    ),
]  # fmt: skip


@pytest.mark.parametrize("line", LINES, ids=[line[0] for line in LINES])
def test_every_line_of_the_issues_is_a_target(peers: Any, line: Any) -> None:
    _, ours, peer, pattern, metric, at_most = line
    targets = peers("targets")
    cells = [cell.key for cell in all_cells(peers) if fnmatch.fnmatchcase(cell.key, pattern)]
    assert cells
    for key in cells:
        if peer:
            found = [targets.matching(key, ours, peer, metric)]
        else:
            found = [target for target in targets.limits(key) if (target.ours, target.metric) == (ours, metric)]
        assert [target and target.at_most for target in found] == [pytest.approx(at_most)], key


@pytest.mark.parametrize("issue", [3, 4])
def test_contributings_command_measures_every_target_of_an_issue(peers: Any, issue: int) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (command,) = re.findall(rf"^    \./dev bench (.*) +# issue {issue}$", text, re.MULTILINE)
    options = peers("run").arguments(shlex.split(command))
    assert options.check
    measured = list(peers("rows").cells(options.rows, options.loops, options.transports, options.sizes))
    there = {each.name: each for each in (*options.subjects, *options.peers)}
    for target in peers("targets").TARGETS:
        if target.issue != issue:
            continue
        held = [cell for cell in measured if fnmatch.fnmatchcase(cell.key, target.pattern)]
        for name in filter(None, (target.ours, target.peer)):
            assert any(name in there and there[name].takes_part(cell) for cell in held), (target, name)
