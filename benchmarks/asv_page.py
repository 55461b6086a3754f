"""Instructions and memory that docs/internals/performance.md shows: what asv has kept of the one commit in results/asv.

usage: python benchmarks/asv_page.py       writes the page anew
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks/peers"
if str(PEERS) not in sys.path:
    sys.path.insert(0, str(PEERS))

import marked  # noqa: E402

PAGE = ROOT / "docs/internals/performance.md"
HOME = ROOT / "benchmarks/results/asv"
BEGIN = "<!-- instructions: written by benchmarks/asv_page.py -->"
END = "<!-- instructions: end -->"

Counts = Dict[Tuple[str, ...], float]
#: What a row says, the suite, and its parameters; "" is where the engine or the set of kernels stands.
ENGINES = ("pure", "core")
WORK = (
    ("parse a frame of 64 B, client", "Frame", ("", "parse", "client", "64")),
    ("parse a frame of 64 B, server (it is masked)", "Frame", ("", "parse", "server", "64")),
    ("parse a frame of 4 KiB, server", "Frame", ("", "parse", "server", "4096")),
    ("send a frame of 64 B, client", "Frame", ("", "send", "client", "64")),
    ("send a frame of 4 KiB, client", "Frame", ("", "send", "client", "4096")),
    ("wake the coroutine that waits for 64 B, and send them back", "Server", ("", "messages", "wake 64")),
    ("the same through picows-websockets", "Server", ("", "drop-in", "wake 64")),
    ("a connection: accept, upgrade, CLOSE", "Server", ("", "listener", "accept")),
    ("the same through picows-websockets", "Server", ("", "drop-in", "accept")),
)
KERNELS = {"generic": "generic", "sse2": "SSE2", "avx2": "AVX2", "neon": "NEON"}
CALLS = (
    ("mask 4 KiB", "Kernel", ("mask", "", "4096")),
    ("validate 4 KiB of UTF-8", "Kernel", ("utf8", "", "4096")),
)


def kept() -> List[Path]:
    """Returns: the results of every machine and commit."""
    return sorted(path for path in HOME.glob("*/*.json") if path.name != "machine.json")


def figures(run: Dict[str, Any], benchmark: str) -> Counts:
    """Returns: what a benchmark found, by parameters."""
    values, params = run["results"][benchmark][:2]
    keys = itertools.product(*([name.strip("'") for name in axis] for axis in params))
    return {key: value for key, value in zip(keys, values) if value is not None and not math.isnan(value)}


def block(run: Dict[str, Any]) -> str:
    """Returns: what is between the marks of the page."""
    of = "instructions.{}Instructions.track_instructions"
    found = {suite: figures(run, of.format(suite)) for suite in ("Frame", "Server", "Kernel")}
    there = [level for level in KERNELS if any(level in key for key in found["Kernel"])]
    about, day = run["params"], time.strftime("%Y-%m-%d", time.gmtime(run["date"] / 1000))
    where = f"{about['cpu']}, {about['arch'].partition(' ')[0]}"
    kept = "as `benchmarks/results/asv` keeps them"
    lines = [f"At commit {run['commit_hash'][:8]} of {day}, on {where}, with CPython {run['python']}, {kept}:", ""]
    lines += _table(found, "instructions", {name: name for name in ENGINES}, WORK)
    lines += ["", *_table(found, "instructions, called from Python", {name: KERNELS[name] for name in there}, CALLS)]
    return "\n".join([*lines, "", *_memory(figures(run, "connections.Memory.track_kib_per_connection"))])


def _memory(found: Counts) -> List[str]:
    """How much a connection takes that had one echo of 256 B, from the least to the most of engines and loops."""
    spans = []
    for link in ("tcp", "tls"):
        for transports in ("own", "aiofastnet"):
            kib = [value for key, value in found.items() if key[2:] == (transports, link, "256")]
            spans.append(f"{min(kib):.3g} to {max(kib):.3g}")
    return [
        "The memory of a connection is measured on either kind of transports, for most of it is theirs, and of TLS:",
        f"{spans[0]} KiB on the event loops' own and {spans[1]} KiB on those of aiofastnet, which picows-core takes by",
        f"default; encrypted {spans[2]} KiB and {spans[3]} KiB. Each is the span over both engines and both loops.",
    ]


def _table(found: Dict[str, Counts], head: str, columns: Dict[str, str], rows: Any) -> List[str]:
    lines = [f"| {head} | {' | '.join(columns.values())} |", "|---|" + "--:|" * len(columns)]
    for title, suite, key in rows:
        values = [found[suite].get(tuple(part or column for part in key)) for column in columns]
        lines.append(f"| {title} | {' | '.join('' if value is None else f'{value:,.0f}' for value in values)} |")
    return lines


def main() -> None:
    """Writes the page anew, from the newest commit's results."""
    runs = [json.loads(path.read_text("utf-8")) for path in kept()]
    newest = max(runs, key=lambda run: int(run["date"]))
    marked.rewrite(PAGE, BEGIN, END, block(newest))


if __name__ == "__main__":
    main()
