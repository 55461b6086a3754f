#!/usr/bin/env python3
"""Measures our implementations against their peers, in turn, and compares CPU per operation.

One command: makes the environments under build/peers on first use, then for each cell of the table runs
A B C A B C ... in fresh processes, prints medians and paired ratios, and says which targets were reached.
`--help` lists the rows and contenders; README.md beside this folder says how to read the figures.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import contenders
import machine
import machine_name
import published
import report
import results
from environments import ROOT, Environments, certificate
from measure import Bench, Failed
from rows import QUICK_ECHO_SIZES, ROWS, Cell, cells

VARYING = ("loop", "transport", "negotiated", "compression", "compress", "numpy")
"""Facts that depend on the cell."""

DEFAULT_PEERS = contenders.PEERS


def arguments(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Returns: the command line, with names checked and lists split."""
    rows = "\n".join(f"  {row.name:<16}{row.title}" for row in ROWS.values())
    who = "\n".join(f"  {each.name:<24}{each.note}" for each in contenders.CONTENDERS.values())
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog=f"rows:\n{rows}\n\ncontenders:\n{who}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", default=",".join(ROWS), help="which rows, comma-separated (default: all)")
    parser.add_argument("--loops", default="asyncio,uvloop", help="event loops (default: asyncio,uvloop)")
    parser.add_argument("--transports", default="tcp,tls", help="tcp, tls or both, where the row has both")
    parser.add_argument("--sizes", default="", help="payload sizes in bytes, for rows that have several (echo)")
    parser.add_argument("--impl", default="", help="subjects, names or globs (default: all of ours that are there)")
    parser.add_argument("--against", default="", help=f"peers, names or globs (default: {','.join(DEFAULT_PEERS)})")
    parser.add_argument("--rounds", type=int, default=5, help="measurements per contender and cell (default: 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement (default: 1)")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.3 s, echo at 256 B and 100 KB only")
    parser.add_argument(
        "--use",
        action="append",
        default=[],
        metavar="ENV=PYTHON",
        help="take this interpreter, as it is, for an environment (ours, core, picows, ...)",
    )
    parser.add_argument("--python", default=base_python(), help="interpreter that the environments are made from")
    parser.add_argument("--json", type=Path, help="write what was measured to this file (its schema: results.py)")
    parser.add_argument("--chart", type=Path, help="draw a chart (.svg or .png; makes an environment with matplotlib)")
    parser.add_argument(
        "--publish",
        action="store_true",
        help="measure what README and docs show, keep it under benchmarks/results/peers, write charts and table anew",
    )
    parser.add_argument(
        "--anyway", action="store_true", help="publish although the machine is busy, or what changed is not committed"
    )
    parser.add_argument(
        "--redraw",
        nargs="?",
        const="",
        metavar="MACHINE",
        help="measure nothing: write charts and table anew from what is kept of a machine (default: this one)",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target was missed or a row failed")
    if "--publish" in (sys.argv[1:] if argv is None else argv):
        parser.set_defaults(
            rows=published.ROWS,
            loops=published.LOOP,
            transports="tcp",
            sizes=published.SIZES,
            impl=published.OURS,
            against=published.PEERS,
            rounds=published.ROUNDS,
            seconds=published.SECONDS,
        )
    options = parser.parse_args(argv)
    try:
        normalise(options)
    except ValueError as error:
        parser.error(str(error))
    return options


def normalise(options: argparse.Namespace) -> None:
    """Splits the lists and applies --quick. Raises: ValueError for a name that is not in the tables."""
    for name, known in (("rows", list(ROWS)), ("loops", ["asyncio", "uvloop"]), ("transports", ["tcp", "tls"])):
        words = [word for word in getattr(options, name).split(",") if word]
        wrong = [word for word in words if word not in known]
        if wrong or not words:
            raise ValueError(f"--{name} {','.join(wrong)}: there are {', '.join(known)}")
        setattr(options, name, words)
    options.sizes = [int(size) for size in options.sizes.split(",") if size]
    if options.rounds < 1 or options.seconds <= 0:
        raise ValueError("--rounds and --seconds must be positive")
    if options.quick:
        options.rounds, options.seconds = min(options.rounds, 3), min(options.seconds, 0.3)
        options.sizes = options.sizes or list(QUICK_ECHO_SIZES)
    options.use = dict(pair.split("=", 1) for pair in options.use)
    options.subjects = contenders.choose(options.impl, contenders.OURS)
    names = {each.name for each in options.subjects}
    options.peers = [each for each in contenders.choose(options.against, DEFAULT_PEERS) if each.name not in names]


def base_python() -> str:
    """Returns: the interpreter under the virtual environment that this runs in: where it runs makes no difference."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


class Run:
    """All cells of one call, and what came out of them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.environments = Environments(options.python, options.use)
        self.cpus = sorted(os.sched_getaffinity(0))
        self.machine = machine.describe(self.cpus)
        self.cells = list(cells(options.rows, options.loops, options.transports, options.sizes))
        self.absent: List[str] = []
        self.subjects = self._those_there(options.subjects)
        self.peers = self._those_there(options.peers)
        self.results: List[report.Result] = []
        self.facts: Dict[str, Dict[str, Any]] = {}

    def _those_there(self, asked: Sequence[contenders.Contender]) -> List[contenders.Contender]:
        """Returns: those that have a part in this run and exist, the others named on stderr."""
        there = []
        for each in asked:
            if any(each.takes_part(cell) for cell in self.cells):
                reason = self.environments.missing(each)
                if reason is None:
                    there.append(each)
                else:
                    print(f"{each.name} is left out: {reason}", file=sys.stderr)
                    self.absent.append(each.name)
        return there

    def prepare(self) -> Bench:
        """Makes every environment first, so that nothing is installed between measurements."""
        self.subjects = [each for each in self.subjects if self._is_ready(each)]
        self.peers = [each for each in self.peers if self._is_ready(each)]
        return Bench(self.environments, self.cpus, certificate())

    def _is_ready(self, contender: contenders.Contender) -> bool:
        try:
            self.environments.prepare(contender)
        except RuntimeError as error:
            print(f"{contender.name} is left out: {error}", file=sys.stderr)
            self.absent.append(contender.name)
            return False
        return True

    def measure(self, bench: Bench) -> None:
        """Measures cell by cell, printing each as it is done."""
        options = self.options
        for cell in self.cells:
            entered = [each for each in self.subjects if each.takes_part(cell)]
            if not entered:
                continue
            entered += [each for each in self.peers if each.takes_part(cell)]
            lacking = {each.name: why for each in entered if (why := each.lack(cell))}
            entered = [each for each in entered if each.name not in lacking]
            result = report.Result(cell, {each.name: [] for each in entered}, {}, lacking)
            self.results.append(result)
            for _ in range(min(options.rounds, cell.row.rounds)):
                for each in entered:
                    self._once(bench, cell, each, result)
            print("\n".join(result.lines()), flush=True)

    def _once(self, bench: Bench, cell: Cell, contender: contenders.Contender, result: report.Result) -> None:
        name = contender.name
        metrics: Optional[Dict[str, float]] = None
        if name not in result.failures:
            try:
                metrics, facts = bench.measure(cell, contender, self.options.seconds)
            except Failed as error:
                result.failures[name] = str(error)
            else:
                self._learn(name, facts)
        result.samples[name].append(metrics)

    def _learn(self, name: str, facts: Dict[str, Any]) -> None:
        """Collects what differs between cells (loop, transport) beside what is the same in all."""
        known = self.facts.setdefault(name, {})
        for key, value in facts.items():
            if key in VARYING:
                seen = known.setdefault(key, [])
                if value not in seen:
                    seen.append(value)
            else:
                known[key] = value

    def ratios(self) -> List[report.Ratio]:
        """Returns: all ratios, in the order of the cells."""
        ours, peers = [each.name for each in self.subjects], [each.name for each in self.peers]
        return [ratio for result in self.results for ratio in result.ratios(ours, peers)]

    def to_json(self, seconds: float) -> Dict[str, Any]:
        """Returns: what results.py describes."""
        about = dict(self.machine)
        date, commit = about.pop("time"), about.pop("revision")
        measured = [each for each in (*self.subjects, *self.peers) if each.name in self.facts]
        return {
            "schema": results.SCHEMA,
            "date": date,
            "commit": commit,
            "command": sys.argv[1:],
            "machine": {"name": machine_name.name(), **about, "doubts": machine.doubts(self.machine)},
            "settings": {"rounds": self.options.rounds, "seconds": self.options.seconds, "took_s": round(seconds)},
            "contenders": {
                each.name: {"kind": each.kind, "note": each.note, **results.facts(self.facts[each.name])}
                for each in measured
            },
            "rows": [results.row(result) for result in self.results],
            "targets": [ratio.to_json() for ratio in self.ratios() if ratio.target is not None],
        }

    def report(self) -> None:
        """Prints who was measured, where, and the ratios."""
        notes = {each.name: each.note for each in (*self.subjects, *self.peers)}
        about = self.machine
        print(f"\n{about['cpu']}, CPUs {about['cpus']}, Linux {about['kernel']}, revision {about['revision']}")
        for doubt in machine.doubts(about):
            print(f"note: {doubt}")
        print("\n".join(report.settings(self.facts, notes)))
        ratios = self.ratios()
        print("\nratios ours/peer, median of the rounds' own ratios, less is better")
        print("\n".join(report.table(ratios)))
        print(report.summary(ratios))


def draw(environments: Environments, data: Path, target: Path) -> None:
    """Draws one chart, or into a folder all of README's, with the interpreter of the chart environment."""
    script = Path(__file__).with_name("chart.py")
    subprocess.run([environments.python_for("chart"), str(script), str(data), str(target)], check=True)


def publish(environments: Environments, data: Path) -> None:
    """Writes README's charts and table anew."""
    draw(environments, data, published.IMAGES)
    published.write_readme(results.read(data))
    shown = [path.relative_to(ROOT) for path in (data, published.README, published.IMAGES)]
    print(f"written: {', '.join(map(str, shown))}/*")


def main() -> int:
    """Returns: the exit status: 0, or with --check 1 if something fell short."""
    options = arguments()
    if options.redraw is not None:
        publish(Environments(options.python, options.use), results.kept_at(options.redraw))
        return 0
    run = Run(options)
    objections = machine.objections(run.machine) if options.publish and not options.anyway else []
    if objections:
        print(f"not published, unless with --anyway: {'; '.join(objections)}", file=sys.stderr)
        return 1
    if not run.subjects:
        print("nothing to measure", file=sys.stderr)
        return 1 if options.check else 0
    bench = run.prepare()
    start = time.perf_counter()
    try:
        run.measure(bench)
    except KeyboardInterrupt:
        print("interrupted: what follows is what was measured until then", file=sys.stderr)
    run.report()
    measured = run.to_json(time.perf_counter() - start)
    data = options.json or (options.chart and options.chart.with_suffix(".json"))
    if data:
        results.write(data, measured)
    if options.chart and not run.facts:
        print("every measurement failed: there is no chart to draw", file=sys.stderr)
    elif options.chart:
        draw(run.environments, data, options.chart)
    if options.publish:
        results.write(results.kept_at(), measured)
        publish(run.environments, results.kept_at())
    missed = any(ratio.reached is False for ratio in run.ratios())
    # One of ours that was asked for by its full name and is not there has not passed either.
    failed = any(result.failures for result in run.results) or bool({*run.absent} & {*options.impl.split(",")})
    return 1 if options.check and (missed or failed) else 0


if __name__ == "__main__":
    sys.exit(main())
