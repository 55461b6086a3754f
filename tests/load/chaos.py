"""Runs the ledger of `tests/reliability/test_nothing_lost.py` through as many faults as are wanted.

    hatch run chaos [--faults 10000] [--seed 1] [--engine core|pure] [--layer messages|drop-in] [--loop asyncio|uvloop]
        [--tls]

Every engine and layer by default, the faults divided among them. Faults are connections that are cut, reset, half
closed, stalled or silent, and restarts of the proxy; bytes that are split, delayed, joined or slowed down are none, and
counted apart. Prints both by kind, messages, gaps and errors; the exit status is 1 if there was any error. The same
seed makes the same plan for each connection again.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import logging
import sys
import time
from pathlib import Path
from typing import Counter, List

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fixtures.certificates import make_certificates
from fixtures.ledger_run import LAYERS, Report, run_ledger

from picows import _engine


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--faults", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=_engine.NAMES, action="append")
    parser.add_argument("--layer", choices=LAYERS, action="append")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--sessions", type=int, default=16, help="how many run at the same time")
    parser.add_argument("--tls", action="store_true", help="below WebSocket, through the same proxy")
    parser.add_argument("--log", type=Path, help="where to write the plan of each connection")
    arguments = parser.parse_args()
    pairs = [(engine, layer) for engine in arguments.engine or _engine.NAMES for layer in arguments.layer or LAYERS]
    errors: List[str] = []
    total: Counter[str] = collections.Counter()
    shapes: Counter[str] = collections.Counter()
    started = time.monotonic()
    for engine, layer in pairs:
        name = f"{engine} {layer} {arguments.loop}{' TLS' * arguments.tls}"
        report, noise = _run(engine, layer, -(-arguments.faults // len(pairs)), arguments)
        print(f"{name}: {_describe(report)}", flush=True)
        total += report.faults
        shapes += report.shapes
        errors += [f"{name}: {error}" for error in [*report.errors, *noise]]
        if arguments.log:
            with arguments.log.open("a") as file:
                file.writelines(f"{name}: {line}\n" for line in report.log)
    for error in errors[:50]:
        print(f"ERROR {error}")
    seconds = time.monotonic() - started
    print(
        f"seed {arguments.seed}: {sum(total.values())} faults ({_kinds(total)}), and {sum(shapes.values())} connections"
        f" changed in shape, in {seconds:.0f} s, {len(errors)} errors"
    )
    return 1 if errors else 0


def _run(engine: str, layer: str, faults: int, arguments: argparse.Namespace) -> tuple[Report, List[str]]:
    """A report, and what reached the loop's exception handler."""
    noise: List[str] = []
    if arguments.loop == "uvloop":
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: noise.append(f"reported to the loop: {context}"))
    certificates = make_certificates() if arguments.tls else None
    if arguments.tls:
        for name in ("asyncio", "aiofastnet"):  # they log what resets do to TLS
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        run = run_ledger(_engine.load(engine), layer, arguments.seed, faults, arguments.sessions, certificates)
        report = loop.run_until_complete(run)
        left = asyncio.all_tasks(loop)
        noise = [line for line in noise if not (arguments.tls and "SSL handshake failed" in line)]
        noise += [f"a task is left: {task}" for task in left]
        return report, noise
    finally:
        loop.close()


def _kinds(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counts.most_common())


def _describe(report: Report) -> str:
    return (
        f"{sum(report.faults.values())} faults ({_kinds(report.faults)}); {report.connections} connections"
        f" ({_kinds(report.shapes)}), {report.failed_openings} lost while opening, {report.retries} tried again;"
        f" {report.messages} messages received, {report.unknown} reported as unknown, {report.gaps} of them lost and"
        f" sent again; {len(report.errors)} errors"
    )


if __name__ == "__main__":
    sys.exit(main())
