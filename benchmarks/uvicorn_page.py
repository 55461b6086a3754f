"""What docs/howto/uvicorn.md shows of uvicorn_peers.py: a run kept by machine, its table and its conditions.

A run is plain data: schema, date, commit, command, machine (as in peers/results.py), settings (rounds, seconds, app),
versions (by distribution), results (row, loop, contender, cpu_us: the median; ratio to the first contender: low, median
and high of the rounds).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Dict, List

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks/peers"
if str(PEERS) not in sys.path:
    sys.path.insert(0, str(PEERS))

import machine  # noqa: E402
import machine_name  # noqa: E402
import marked  # noqa: E402
import published  # noqa: E402
import results  # noqa: E402

PAGE = ROOT / "docs/howto/uvicorn.md"
HOME = ROOT / "benchmarks/results/uvicorn"
BEGIN = "<!-- uvicorn: written by ./dev uvicorn-bench --publish -->"
END = "<!-- uvicorn: end -->"
ROUNDS, SECONDS = 5, 0.5
TITLES = {
    "echo": "one connection, one message under way",
    "echo100": "100 connections, one message under way on each",
    "flood": "one connection, 64 messages under way",
}
APPS = {"asgi": "a bare ASGI application", "starlette": "Starlette's WebSocket"}


def kept_at(name: str = "") -> Path:
    """Args: name: of a machine, empty for this one. Returns: where its results are kept."""
    return HOME / f"{name or machine_name.name()}.json"


def describe(cpus: List[int]) -> Dict[str, Any]:
    """Args: cpus: that the run may use. Returns: the fields of a run that are known before it."""
    about = machine.describe(cpus)
    head = {"schema": results.SCHEMA, "date": about.pop("time"), "commit": about["revision"], "command": sys.argv[1:]}
    return {**head, "machine": {"name": machine_name.name(), **about, "doubts": machine.doubts(about)}}


def objections(run: Dict[str, Any]) -> List[str]:
    """Returns: why this run should not be published."""
    return machine.objections(run["machine"])


def publish(run: Dict[str, Any]) -> None:
    """Keeps a run and writes the page anew."""
    results.write(kept_at(), run)
    marked.rewrite(PAGE, BEGIN, END, block(results.read(kept_at())))


def block(run: Dict[str, Any]) -> str:
    """Returns: what is between the marks of the page."""
    return "\n\n".join(("\n".join(table(run["results"])), "\n".join(conditions(run))))


def table(measured: List[Dict[str, Any]]) -> List[str]:
    """Returns: lines of Markdown: a row per workload and loop, a column per contender."""
    names = list(dict.fromkeys(each["contender"] for each in measured))
    cells = {(each["row"], each["loop"], each["contender"]): each for each in measured}
    lines = [f"| | {' | '.join(names)} |", "|---|" + "--:|" * len(names)]
    for row, loop in dict.fromkeys((each["row"], each["loop"]) for each in measured):
        shown = (_cell(cells[row, loop, name], names[0]) for name in names)
        lines.append(f"| {TITLES[row]}, {loop} | {' | '.join(shown)} |")
    return lines


def _cell(found: Dict[str, Any], base: str) -> str:
    figure = published.number(found["cpu_us"])
    return figure if found["contender"] == base else f"{figure} ({found['median']:.2f})"


def conditions(run: Dict[str, Any]) -> List[str]:
    """Returns: sentences about the unit, machine, versions and settings."""
    about, settings, versions = run["machine"], run["settings"], dict(run["versions"])
    commit, dirty, _ = run["commit"].partition("-dirty")
    changed = " with changes that were not committed" if dirty else ""
    virtual = ", a virtual machine" if about["hypervisor"] else ""
    python = versions.pop("python")
    base = run["results"][0]["contender"]
    least = min(each["low"] for each in run["results"] if each["contender"] != base)
    most = max(each["high"] for each in run["results"] if each["contender"] != base)
    return [
        f"Microseconds of CPU of the server per message of 256 bytes, through {APPS[settings['app']]}; in brackets, "
        f"how many times that of {base}.",
        f"Medians of {settings['rounds']} rounds of {settings['seconds']:g} s, all in turn; a ratio is one within a "
        f"round, and all of them lie between {least:.2f} and {most:.2f}.",
        f"{run['date'][:10]}, commit {commit}{changed}. {about['cpu']}, {len(about['cpus'])} CPUs{virtual}, "
        f"Linux {about['kernel'].partition('-')[0]}.",
        *published.doubts(about),
        f"No compression, no pings. Python {python}, "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}.",
    ]
