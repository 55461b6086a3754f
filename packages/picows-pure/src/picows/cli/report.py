"""The result of `picows bench`: as text with a histogram, and as JSON. Latencies in microseconds, sizes in bytes."""

from __future__ import annotations

import json
import platform
from typing import Any, Dict, List, NamedTuple

from .. import _engine
from .._version import __version__
from .latency import PERCENTILES, Latencies
from .load import Settings

_ROWS = 14
_BAR = 40
_QUICK_PERCENTILES = (("median", 50), ("p99", 99))
_EIGHTHS = " ▏▎▍▌▋▊▉"


class Result(NamedTuple):
    """What a run has shown.

    Attributes:
        url: where to, without credentials.
        loop: asyncio or uvloop.
        settings: what was sent.
        seconds: how long it was counted.
        latencies: of the messages.
        opening: of the connections.
        unanswered: messages that had no answer at the end.
    """

    url: str
    loop: str
    settings: Settings
    seconds: float
    latencies: Latencies
    opening: Latencies
    unanswered: int

    @property
    def per_second(self) -> float:
        """Messages per second."""
        return self.latencies.count / self.seconds

    def as_json(self) -> str:
        """One object."""
        found = self.latencies
        latency: Dict[str, float] = {"min": found.least / 1000, "mean": round(found.mean / 1000, 3)}
        latency.update((f"p{percent:g}", found.percentile(percent) / 1000) for percent in PERCENTILES)
        latency["max"] = found.most / 1000
        content: Dict[str, Any] = {
            "url": self.url,
            "picows": __version__,
            "implementation": _engine.engine.name,
            "loop": self.loop,
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "machine": platform.machine(),
            "settings": self.settings._asdict(),
            "seconds": round(self.seconds, 6),
            "messages": found.count,
            "messages_per_s": round(self.per_second, 3),
            "bytes_per_s": round(self.per_second * self.settings.size, 3),
            "latency_us": latency,
            "histogram": [{"from_us": value / 1000, "count": count} for value, count in found.buckets()],
            "opening_ms": {"p50": self.opening.percentile(50) / 1e6, "max": self.opening.most / 1e6},
            "unanswered": self.unanswered,
        }
        return json.dumps(content, indent=2)

    def as_text(self, bar: str = "") -> str:
        """A few lines and the histogram.

        Args:
            bar: what bars are drawn with; blocks of an eighth of a character if empty.
        """
        sent, found = self.settings, self.latencies
        depth = "any depth" if sent.depth is None else f"depth {sent.depth}"
        rate = "" if sent.rate is None else f", {sent.rate:g} messages/s on schedule"
        kind = "text" if sent.is_text else "binary"
        megabytes = self.per_second * sent.size / 1e6
        lines = [
            f"{self.url}, picows {__version__} ({_engine.engine.name}), {self.loop}",
            f"{_several(sent.connections, 'connection')}, {sent.size} bytes {kind}, {depth}{rate}",
            "",
            f"messages  {found.count} in {self.seconds:.2f} s = {self.per_second:.1f}/s, {megabytes:.2f} MB/s each way",
            f"opening   median {self.opening.percentile(50) / 1e6:.2f} ms, max {self.opening.most / 1e6:.2f} ms",
        ]
        if sent.rate is not None:
            lines.append(f"unanswered at the end: {self.unanswered}")
        names = ["min", *(f"p{percent:g}" for percent in PERCENTILES), "max"]
        values = [found.least, *(found.percentile(percent) for percent in PERCENTILES), found.most]
        cells = [f"{value / 1000:.1f}" for value in values]
        widths = [max(len(name), len(cell)) + 2 for name, cell in zip(names, cells)]
        lines.append("latency   " + "".join(name.rjust(width) for name, width in zip(names, widths)))
        lines.append("us        " + "".join(cell.rjust(width) for cell, width in zip(cells, widths)))
        return "\n".join([*lines, "", *_histogram(found, bar)])


def quick_text(alone: Result, many: Result) -> str:
    """The lines of `connect --bench`.

    Args:
        alone: a run with one message in flight.
        many: a run with several.
    """
    one, all_of_them = alone.latencies, many.latencies.count
    opening = min(alone.opening.least, many.opening.least) / 1e6  # the first one has paid for imports
    tail = ", ".join(f"{name} {one.percentile(percent) / 1000:.1f} us" for name, percent in _QUICK_PERCENTILES)
    rate = f"{many.per_second:.1f}/s, {many.per_second * many.settings.size / 1e6:.2f} MB/s each way"
    return "\n".join(
        [
            f"{alone.url}, picows {__version__} ({_engine.engine.name}), {alone.settings.size} bytes",
            f"opening     {opening:.2f} ms",
            f"latency     {tail}, max {one.most / 1000:.1f} us (1 in flight, {one.count} messages)",
            f"throughput  {rate} ({many.settings.depth} in flight, {all_of_them} messages)",
        ]
    )


def _several(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _histogram(latencies: Latencies, bar: str) -> List[str]:
    rows = latencies.rows(_ROWS)
    most = max((count for _, _, count in rows), default=0)
    lines = (
        f"{low / 1000:>10.1f} - {high / 1000:>9.1f} us {100 * count / latencies.count:>6.2f} % "
        + _drawn(count / most * _BAR, bar)
        for low, high, count in rows
    )
    return [line.rstrip() for line in lines]


def _drawn(length: float, bar: str) -> str:
    if bar:
        return bar * round(length)
    eighths = round(length * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()
