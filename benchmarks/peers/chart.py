"""Draws what `run.py --json` wrote: one panel per cell, one bar per contender, medians with the range of the rounds.

usage: chart.py RESULTS.json CHART.svg|CHART.png
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any, Dict, List

import matplotlib

matplotlib.use("Agg")  # before pyplot is imported, which would look for a display
from matplotlib import pyplot

COLUMNS = 3
COLOURS = {"ours": "#1f6feb", "peer": "#9aa4b2", "reference": "#d9b44a"}


def panel(axes: Any, cell: Dict[str, Any], kinds: Dict[str, str]) -> None:
    """Draws one cell: horizontal bars, the first metric of the row, less is better."""
    metric, unit = next(iter(cell["metrics"].items()))
    names: List[str] = []
    middles: List[float] = []
    reach: List[List[float]] = [[], []]
    for name, samples in cell["samples"].items():
        values = [sample[metric] for sample in samples if sample]
        if values:
            middle = statistics.median(values)
            names.append(name)
            middles.append(middle)
            reach[0].append(middle - min(values))
            reach[1].append(max(values) - middle)
    colours = [COLOURS[kinds[name]] for name in names]
    axes.barh(names, middles, xerr=reach, color=colours, error_kw={"elinewidth": 1, "ecolor": "#444"})
    axes.bar_label(
        axes.containers[1],
        [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in middles],
        padding=4,
        fontsize=8,
    )
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_title(f"{cell['key']}\n{unit} per {cell['operation']}", fontsize=9)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def main() -> None:
    """Reads the results, writes the picture."""
    data = json.loads(Path(sys.argv[1]).read_text())
    cells = [cell for cell in data["cells"] if any(any(samples) for samples in cell["samples"].values())]
    lines = math.ceil(len(cells) / COLUMNS)
    width = min(COLUMNS, len(cells))
    figure, grid = pyplot.subplots(lines, width, figsize=(4.6 * width, 2.5 * lines + 0.6), squeeze=False)
    for axes, cell in zip(grid.flat, cells):
        panel(axes, cell, data["kinds"])
    for axes in list(grid.flat)[len(cells) :]:
        axes.remove()
    about = data["machine"]
    figure.suptitle(
        f"Less is better; yellow: no Python. {about['cpu']}, Linux {about['kernel']}, {about['time'][:10]}", fontsize=10
    )
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    figure.savefig(sys.argv[2], dpi=150)


if __name__ == "__main__":
    main()
