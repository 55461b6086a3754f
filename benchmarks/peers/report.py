"""Medians, paired ratios, verdicts, and how they look as text.

A ratio is computed per round, between two measurements that lie seconds apart, and the median of these is reported:
a machine that slows down in the middle of a run moves both sides of each pair. Less is better for every metric.
"""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any, Dict, Iterator, List, Optional, Sequence

import targets
from rows import Cell

BUSY = 0.85
"""Share of wall time from which on a process counts as the one that sets the pace."""

Samples = Dict[str, List[Optional[Dict[str, float]]]]
"""Metrics per round and contender; None where a measurement failed."""


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Ours over a peer's in one cell, or ours against an absolute limit (then `peer` is empty)."""

    key: str
    metric: str
    ours: str
    peer: str
    median: float
    low: float
    high: float
    own: float
    """Median of our figure itself, in the metric's unit."""
    target: Optional[targets.Target] = None

    @property
    def reached(self) -> Optional[bool]:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        below = self.target.or_below is not None and self.own <= self.target.or_below
        return below or self.median <= self.target.at_most

    def verdict(self) -> str:
        """Returns: the target and whether it was reached, or nothing."""
        if self.target is None:
            return ""
        or_below = f" or {self.metric} <= {self.target.or_below:.4g}" if self.target.or_below else ""
        outcome = "reached" if self.reached else "MISSED"
        return f"<= {self.target.at_most:.3g}{or_below} (issue {self.target.issue}) {outcome}"

    def to_json(self) -> Dict[str, Any]:
        """Returns: all of it as plain data."""
        figures = {"median": self.median, "low": self.low, "high": self.high, "own": self.own}
        rounded = {name: float(f"{value:.4g}") for name, value in figures.items()}
        promised = {"at_most": self.target.at_most, "or_below": self.target.or_below} if self.target else {}
        who = {"key": self.key, "metric": self.metric, "ours": self.ours, "peer": self.peer}
        return {**who, **rounded, **promised, "reached": self.reached}


@dataclasses.dataclass
class Result:
    """Everything measured in one cell."""

    cell: Cell
    samples: Samples
    failures: Dict[str, str]
    lacking: Dict[str, str] = dataclasses.field(default_factory=dict)
    """Why contenders of this cell have nothing to measure in it."""

    def values(self, name: str, metric: str) -> List[float]:
        """Returns: the figures of one contender, failed rounds left out."""
        return [sample[metric] for sample in self.samples.get(name, ()) if sample is not None and metric in sample]

    def ratios(self, ours: Sequence[str], peers: Sequence[str]) -> Iterator[Ratio]:
        """Yields: the ratio of each of ours to each peer, then of ours to absolute limits."""
        for metric in self.cell.row.metrics:
            for mine in ours:
                for peer in dict.fromkeys((*peers, *targets.compared_with(self.cell.key, mine, metric))):
                    pairs = zip(self.samples.get(mine, ()), self.samples.get(peer, ()))
                    found = [a[metric] / b[metric] for a, b in pairs if a and b and b.get(metric)]
                    if found and mine != peer:
                        target = targets.matching(self.cell.key, mine, peer, metric)
                        yield self._ratio(metric, mine, peer, found, target)
        for target in targets.limits(self.cell.key):
            values = self.values(target.ours, target.metric)
            if values:
                yield self._ratio(target.metric, target.ours, "", values, target)

    def _ratio(self, metric: str, ours: str, peer: str, found: List[float], target: Optional[targets.Target]) -> Ratio:
        own, middle = statistics.median(self.values(ours, metric)), statistics.median(found)
        return Ratio(self.cell.key, metric, ours, peer, middle, min(found), max(found), own, target)

    def lines(self) -> Iterator[str]:
        """Yields: the cell's heading and one line per contender and metric."""
        row = self.cell.row
        yield f"{self.cell.key}: {row.title}; per {row.operation}"
        for name in self.samples:
            shown = []
            for metric, unit in {**row.metrics, **row.also}.items():
                values = self.values(name, metric)
                if values:
                    middle = statistics.median(values)
                    shown.append(f"{middle:9.2f} {unit} ({min(values):.2f} to {max(values):.2f})")
            if shown:
                yield f"    {name:<22}" + "  ".join(shown) + self._saturation(name)
        for name, reason in self.failures.items():
            yield f"    {name:<22}FAILED: {reason}"
        for name, reason in self.lacking.items():
            yield f"    {name:<22}left out: {reason}"

    def _saturation(self, name: str) -> str:
        """Returns: in a row about wall time, who set the pace; the figure is the server's only if the server did."""
        if "wall_us" not in self.cell.row.metrics:
            return ""
        walls = self.values(name, "wall_us")
        server, load = (
            statistics.median(a / b for a, b in zip(self.values(name, metric), walls))
            for metric in ("cpu_us", "load_cpu_us")
        )
        doubt = ", which sets the pace" if load > BUSY else ": something else ran, do not trust it"
        doubt = "" if server > BUSY else doubt
        return f"  [server busy {server:.0%}, load generator {load:.0%}{doubt}]"


def table(ratios: Sequence[Ratio]) -> Iterator[str]:
    """Yields: the lines of the table of ratios."""
    head = ("cell", "metric", "ours", "peer", "ratio", "min to max", "target")
    rows = [head]
    for each in ratios:
        shown = f"{each.median:.3f}"
        spread = f"{each.low:.3f} to {each.high:.3f}"
        rows.append((each.key, each.metric, each.ours, each.peer or "(limit)", shown, spread, each.verdict()))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        yield "  ".join(field.ljust(width) for field, width in zip(row, widths)).rstrip()


def settings(facts: Dict[str, Dict[str, Any]], notes: Dict[str, str]) -> Iterator[str]:
    """Yields: what each contender was, as it found itself to be."""
    for name, found in facts.items():
        shown = ", ".join(f"{key}={value}" for key, value in found.items() if key not in ("library", "file"))
        yield f"{name}: {found['library']}: {notes[name]}"
        yield f"    {shown}"


def summary(ratios: Sequence[Ratio]) -> str:
    """Returns: one sentence about the targets."""
    held = [ratio for ratio in ratios if ratio.target is not None]
    if not held:
        return "no target applies to what was measured"
    return f"{sum(bool(ratio.reached) for ratio in held)} of {len(held)} targets reached"
