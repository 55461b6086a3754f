"""Draws results: one panel per row, one bar per contender, medians with the range of the rounds, settings below.

usage: chart.py RESULTS.json CHART.svg|CHART.png     every row that was measured
       chart.py RESULTS.json DIRECTORY               what README and documentation show: light and dark, wide and narrow
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, List, Sequence

import matplotlib
import published
import results
from published import Panel

matplotlib.use("Agg")  # before pyplot is imported, which would look for a display
from matplotlib import pyplot, transforms
from matplotlib.patches import Patch

FONT = {"font.family": "sans-serif", "svg.fonttype": "none", "svg.hashsalt": "picows", "font.size": 9}
"""Text stays text, and a picture of the same figures is the same file."""
MEANING = {"ours": "picows, this repository", "peer": "other libraries in Python", "reference": "other languages"}
WIDTH, LABELS, HEAD, BAR = 4.1, 1.55, 0.62, 0.21
"""Inches: of a panel, of the names in it, of what is above its bars, of one bar."""
CHARACTERS = 68
"""Of the settings, in a line under one panel."""


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours; each picture has its own background, so that it can be read on any page."""

    background: str
    text: str
    faint: str
    bars: Dict[str, str]


LIGHT = Theme("#ffffff", "#1f2328", "#59636e", {"ours": "#0969da", "peer": "#9aa4b2", "reference": "#d4a72c"})
DARK = Theme("#131416", "#e6edf3", "#9aa4b2", {"ours": "#4493f8", "peer": "#7d8590", "reference": "#bb8009"})


def panel(axes: Any, data: Dict[str, Any], what: Panel, theme: Theme, places: int) -> None:
    """Draws one row: horizontal bars, less is better. Args: places: for so many bars there is room."""
    who, found = data["contenders"], published.figures(data, what)
    middles = [statistics.median(values) for values in found.values()]
    reach = [
        [middle - min(values) for middle, values in zip(middles, found.values())],
        [max(values) - middle for middle, values in zip(middles, found.values())],
    ]
    colours = [theme.bars[who[name]["kind"]] for name in found]
    whisker = {"elinewidth": 1, "ecolor": theme.text, "capsize": 1.5}
    bars = axes.barh(range(len(found)), middles, xerr=reach, height=0.72, color=colours, error_kw=whisker)
    axes.bar_label(bars, [published.number(each) for each in middles], padding=4, fontsize=8, color=theme.text)
    axes.set_yticks(range(len(found)), [published.label(name, who) for name in found])
    axes.set_ylim(places - 0.4, -0.6)
    axes.set_xlim(0, 1.25 * max(max(values) for values in found.values()))
    axes.set_xticks([])
    axes.tick_params(length=0, colors=theme.text, labelsize=8.5)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set_color(theme.faint)
    for text, above, style in (
        (what.title, 0.24, {"fontsize": 10, "fontweight": "bold", "color": theme.text}),
        (what.unit, 0.06, {"fontsize": 8.5, "color": theme.faint}),
    ):
        shifted = axes.transAxes + transforms.ScaledTranslation(-LABELS, above, axes.figure.dpi_scale_trans)
        axes.text(0, 1, text, transform=shifted, **style)


def draw(data: Dict[str, Any], panels: Sequence[Panel], columns: int, theme: Theme, files: Sequence[Path]) -> None:
    """Draws panels into one picture, and saves it under several names."""
    panels = [each for each in panels if published.figures(data, each)]
    columns = min(columns, len(panels))
    lines = [panels[at : at + columns] for at in range(0, len(panels), columns)]
    places = [max(len(published.figures(data, each)) for each in line) for line in lines]
    heights = [HEAD + BAR * most for most in places]
    notes = textwrap.wrap(" ".join(published.conditions(data)), CHARACTERS * columns)
    kinds = [kind for kind in MEANING if any(facts["kind"] == kind for facts in data["contenders"].values())]
    top = 0.48 if columns > 1 else 0.25 + 0.2 * len(kinds)
    width, height = WIDTH * columns, top + sum(heights) + 0.25 + 0.16 * len(notes)
    with pyplot.rc_context(FONT):
        figure = pyplot.figure(figsize=(width, height), facecolor=theme.background)
        below = height - top
        for line, most, tall in zip(lines, places, heights):
            for at, what in enumerate(line):
                left, bars = at * WIDTH + LABELS + 0.15, BAR * most
                box = (left / width, (below - tall) / height, (WIDTH - LABELS - 0.3) / width, bars / height)
                axes = figure.add_axes(box, facecolor=theme.background)
                panel(axes, data, what, theme, most)
            below -= tall
        legend = figure.legend(
            handles=[Patch(color=theme.bars[kind], label=MEANING[kind]) for kind in kinds],
            loc="upper left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=len(kinds) if columns > 1 else 1,
            frameon=False,
            labelcolor=theme.text,
            title="Less is better.",
            alignment="left",
        )
        legend.get_title().set_color(theme.text)
        at = {"x": 0.15 / width, "y": 0.12 / height, "va": "bottom"}
        figure.text(s="\n".join(notes), fontsize=7.5, color=theme.faint, linespacing=1.35, **at)
        for file in files:
            metadata: Dict[str, Any] = {"Date": None} if file.suffix == ".svg" else {"Software": None}
            figure.savefig(file, dpi=120, facecolor=theme.background, metadata=metadata)
        pyplot.close(figure)


def all_panels(data: Dict[str, Any]) -> List[Panel]:
    """Returns: a panel for the first metric of every row."""
    found = []
    for row in data["rows"]:
        metric, unit = next(iter(row["metrics"].items()))
        found.append(Panel(row["key"], metric, row["key"], f"{unit} per {row['operation']}"))
    return found


def main() -> None:
    """Reads the results, writes the pictures."""
    data, target = results.read(Path(sys.argv[1])), Path(sys.argv[2])
    if target.suffix:
        panels = all_panels(data)
        draw(data, panels, min(3, len(panels)), LIGHT, [target])
        return
    target.mkdir(parents=True, exist_ok=True)
    for name, theme in (("light", LIGHT), ("dark", DARK)):
        wide = [target / f"benchmarks-{name}{suffix}" for suffix in (".svg", ".png")]
        draw(data, published.PANELS, 2, theme, wide)
        draw(data, published.PANELS, 1, theme, [target / f"benchmarks-narrow-{name}.svg"])


if __name__ == "__main__":
    main()
