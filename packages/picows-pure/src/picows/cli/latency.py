"""Latencies of any number of messages in little memory: counts by value, to 1.6 %.

A value keeps its seven leading bits, so a bucket's width grows with its values. Minimum, maximum and mean are exact.
"""

from __future__ import annotations

from typing import Dict, List, Sequence, Tuple

_LEADING_BITS = 7
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)


class Latencies:
    """A histogram of nanoseconds."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.least = 0
        self.most = 0
        self._counts: Dict[int, int] = {}

    def add(self, value: int) -> None:
        """Count one value, in nanoseconds."""
        if self.count == 0 or value < self.least:
            self.least = value
        if value > self.most:
            self.most = value
        self.count += 1
        self.total += value
        bits = value.bit_length() - _LEADING_BITS
        if bits > 0:
            value = value >> bits << bits
        self._counts[value] = self._counts.get(value, 0) + 1

    @property
    def mean(self) -> float:
        """0 if there is none."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """The value that so many percent do not exceed, 0 if there is none."""
        wanted = self.count * percent / 100
        seen = 0
        for value, count in self.buckets():
            seen += count
            if seen >= wanted:
                return float(min(max(_middle(value), self.least), self.most))
        return 0.0

    def buckets(self) -> List[Tuple[int, int]]:
        """(least value, count), ascending."""
        return sorted(self._counts.items())

    def rows(self, number: int) -> List[Tuple[float, float, int]]:
        """At most so many rows (from, to, count) for a chart: equal factors up to 99.9 %, and one for the rest."""
        if not self.count:
            return []
        low, high = float(max(self.least, 1)), max(self.percentile(99.9), self.least + 1, 2)
        factor = (high / low) ** (1 / (number - 1)) if high > low else 2.0
        bounds = [low * factor**step for step in range(1, number)]
        rows = _tally(self.buckets(), bounds)
        edges = [self.least, *bounds, self.most]
        return [(edges[row], edges[row + 1], count) for row, count in enumerate(rows) if count or row < number - 1]


def _middle(value: int) -> int:
    bits = value.bit_length() - _LEADING_BITS
    return value + (1 << bits >> 1) if bits > 0 else value


def _tally(buckets: Sequence[Tuple[int, int]], bounds: Sequence[float]) -> List[int]:
    counts = [0] * (len(bounds) + 1)
    row = 0
    for value, count in buckets:
        while row < len(bounds) and _middle(value) > bounds[row]:
            row += 1
        counts[row] += count
    return counts
