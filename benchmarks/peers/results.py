"""What a run leaves behind: one JSON file, and where it is kept by machine.

Schema 1, all of it plain data:

    schema, date, commit, command
    machine       name (machine_name.py), cpu, cpus, kernel, hypervisor, governor, load_average, doubts
    settings      rounds, seconds (of one measurement), took_s
    contenders    by name: kind (ours, peer, reference), note, and what it found itself to be: versions, loop, limits
    rows          key, title, operation, metrics (unit by name; the first is the row's), also, spec (what differs from
                  the defaults of spec.py), samples (by contender and metric: a figure per round, null if it failed),
                  failures and lacking (why, by contender)
    targets       ratios ours/peer that something was promised about (targets.py), and whether they hold

A contender's figures are on one line, so that a change of the file can be read.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Dict, List, Optional

import machine_name
from environments import ROOT
from report import Result
from rows import Cell
from spec import Spec

SCHEMA = 1
HOME = ROOT / "benchmarks/results/peers"
DIGITS = 5
"""Significant digits of a figure that are kept."""
NOT_KEPT = ("file",)
"""Facts that name places of one machine."""


def kept_at(name: str = "") -> Path:
    """Args: name: of a machine, empty for this one. Returns: where its results are kept."""
    return HOME / f"{name or machine_name.name()}.json"


def row(result: Result) -> Dict[str, Any]:
    """Returns: one cell of the table as plain data."""
    about = result.cell.row
    units = {**about.metrics, **about.also}
    samples = {name: {metric: _column(rounds, metric) for metric in units} for name, rounds in result.samples.items()}
    return {
        "key": result.cell.key,
        "title": about.title,
        "operation": about.operation,
        "metrics": about.metrics,
        "also": about.also,
        "spec": _changed(result.cell),
        "samples": samples,
        "failures": result.failures,
        "lacking": result.lacking,
    }


def write(path: Path, data: Dict[str, Any]) -> None:
    """Writes a run; a contender's figures on one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(_lines("", data, 0)) + "\n", "utf-8")


def read(path: Path) -> Dict[str, Any]:
    """Returns: a run that was kept. Raises: ValueError if it has another schema."""
    data: Dict[str, Any] = json.loads(path.read_text("utf-8"))
    if data.get("schema") != SCHEMA:
        raise ValueError(f"{path} has schema {data.get('schema')!r}, this reads {SCHEMA}")
    return data


def facts(found: Dict[str, Any]) -> Dict[str, Any]:
    """Returns: what a contender found itself to be, without what is of no use elsewhere."""
    return {key: value for key, value in found.items() if key not in NOT_KEPT}


def _column(rounds: List[Optional[Dict[str, float]]], metric: str) -> List[Optional[float]]:
    return [float(f"{sample[metric]:.{DIGITS}g}") if sample and metric in sample else None for sample in rounds]


def _changed(cell: Cell) -> Dict[str, Any]:
    default, used = dataclasses.asdict(Spec("")), dataclasses.asdict(cell.spec)
    return {name: value for name, value in used.items() if value != default[name] and name != "row"}


def _lines(head: str, value: Any, depth: int) -> List[str]:
    """JSON of which the third level of objects, and every list of plain values, is on one line."""
    indent = " " * depth
    nested = isinstance(value, dict) and any(isinstance(each, (dict, list)) for each in value.values())
    rows = isinstance(value, list) and any(isinstance(each, dict) for each in value)
    if not (nested or rows) or depth > 3:
        return [indent + head + json.dumps(value)]
    items = value.items() if nested else ((None, each) for each in value)
    inner: List[str] = []
    for key, each in items:
        lines = _lines("" if key is None else f"{json.dumps(key)}: ", each, depth + 1)
        inner += [*lines[:-1], lines[-1] + ","]
    inner[-1] = inner[-1][:-1]
    opening, closing = "{}" if nested else "[]"
    return [indent + head + opening, *inner, indent + closing]
