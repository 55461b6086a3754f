"""What README and documentation show: a set of rows that is measured in some minutes, its chart, and its table.

`run.py --publish` measures it, keeps the results by machine, draws, and writes what is between two marks of README.md.
"""

from __future__ import annotations

import dataclasses
import re
import statistics
from typing import Any, Dict, List, Optional, Tuple

import machine
import marked
from environments import ROOT

README = ROOT / "README.md"
IMAGES = ROOT / "docs/images"
BEGIN = "<!-- benchmarks: written by ./dev bench --publish -->"
END = "<!-- benchmarks: end -->"

LOOP = "uvloop"
ROUNDS, SECONDS = 5, 0.3
ROWS = "echo,flood,slow,inflight,pingpong,handshakes,broadcast200,deflate,memory"
SIZES = "256"
OURS = "core,pure,dropin-core"
PEERS = "picows,picows.websockets,websockets,aiohttp,ws,uws,c-epoll"
LABELS = {
    "core": "picows-core",
    "dropin-core": "picows-websockets",
    "pure": "picows-pure",
    "ws": "ws (Node)",
    "uws": "uWebSockets",
    "c-epoll": "C, epoll",
}
"""Of those whose library does not say it; for others the name and version that was found. Ours come in this order."""


@dataclasses.dataclass(frozen=True)
class Panel:
    """One figure of one row."""

    key: str
    metric: str
    title: str
    """What is measured, in the words of the chart."""
    unit: str
    short: str = ""
    """The same in those of the table."""


def _panel(row: str, short: str, title: str, unit: str, metric: str = "cpu_us") -> Panel:
    return Panel(f"{row}/{LOOP}/tcp", metric, title, unit, short)


PANELS: Tuple[Panel, ...] = (
    _panel("echo/256", "echo", "Echo of 256 B, client and server", "µs CPU per round trip"),
    _panel("flood/256", "flood", "Client receives a flood of 256 B", "µs CPU per frame"),
    _panel("slow/65536", "slow", "Client slower than a flood of 64 KiB", "µs CPU per message"),
    _panel("slow/65536", "slow, KiB", "The same: memory it takes", "KiB at the peak", "peak_kib"),
    _panel("inflight/256", "64 in flight", "Server, 64 frames of 256 B in flight", "µs CPU per frame"),
    _panel("pingpong/256", "ping-pong", "Server, 500 connections in ping-pong", "µs CPU per frame"),
    _panel("broadcast200/256", "broadcast", "Server, 200 broadcasts to 500", "µs CPU per frame"),
    _panel("handshakes/256", "handshake", "Server, opening and closing handshakes", "µs CPU per connection"),
    _panel("deflate/1024", "JSON deflated", "Server, JSON of 1 KiB, compressed", "µs CPU per message"),
    _panel("memory/256", "idle, KiB", "Server, memory of an idle connection", "KiB", "kib"),
)


def label(name: str, contenders: Dict[str, Any]) -> str:
    """Returns: what a contender is called for readers; its own name if others have the same library."""
    library = str(contenders[name].get("library", name))
    is_alone = sum(str(facts.get("library")) == library for facts in contenders.values()) <= 1
    return LABELS.get(name) or (library if is_alone else name)


def figures(data: Dict[str, Any], panel: Panel) -> Dict[str, List[float]]:
    """Returns: by contender, what was measured in each round that did not fail."""
    rows = [row for row in data["rows"] if row["key"] == panel.key]
    found: Dict[str, List[float]] = {}
    for name, columns in (rows[0]["samples"] if rows else {}).items():
        values = [value for value in columns[panel.metric] if value is not None]
        if values:
            found[name] = values
    ahead = [name for name in LABELS if name in found and data["contenders"][name]["kind"] == "ours"]
    return {name: found[name] for name in (*ahead, *(each for each in found if each not in ahead))}


def conditions(data: Dict[str, Any]) -> List[str]:
    """Returns: sentences about machine, versions and settings, out of what was found while measuring."""
    about, settings, who = data["machine"], data["settings"], data["contenders"]
    python = next((facts for facts in who.values() if "loop" in facts and "python_build" in facts), None)
    virtual = ", a virtual machine" if about["hypervisor"] else ""
    where = f"{about['cpu']}, {len(about['cpus'])} CPUs{virtual}, Linux {about['kernel'].partition('-')[0]}."
    how = (
        f"Median, least and most of {settings['rounds']} rounds of {settings['seconds']:g} s, all in turn, on one CPU."
    )
    links = {row["key"].rpartition("/")[2].upper() for row in data["rows"]} & {"TCP", "TLS"}
    over = " and ".join(sorted(links))
    one = f"{_loop(python)}, {python['python']} ({python['python_build']}), {over}." if python else ""
    same = "No keepalive, messages up to 16 MiB, payloads taken as bytes, websockets with max_queue=None."
    aiofastnet = {facts["aiofastnet"] for facts in who.values() if facts.get("aiofastnet")}
    commit, dirty, _ = data["commit"].partition("-dirty")
    changed = " with changes that were not committed" if dirty else ""
    found = [
        f"{data['date'][:10]}, commit {commit}{changed}. {where}",
        *doubts(about),
        f"{how} {one}".rstrip(),
        same if python else "",
        _runs_on(who),
        _compression(who),
        _aiofastnet(who, aiofastnet),
        _others(who),
    ]
    return [line for line in found if line]


def doubts(about: Dict[str, Any]) -> List[str]:
    """Returns: sentences about what disturbed the figures; that a machine is virtual is said with its name."""
    return [f"{doubt[:1].upper()}{doubt[1:]}." for doubt in about["doubts"] if doubt != machine.VIRTUAL]


def _loop(facts: Dict[str, Any]) -> str:
    loop = facts["loop"]
    return str(loop[0] if isinstance(loop, list) else loop).replace(".Loop", "")


def _runs_on(who: Dict[str, Any]) -> str:
    return "picows-websockets runs on picows-core." if "dropin-core" in who else ""


def _compression(who: Dict[str, Any]) -> str:
    """By window, who was found to have negotiated it; the level is zlib's default where a driver says nothing else."""
    windows: Dict[str, List[str]] = {}
    for name, facts in who.items():
        agreed = " ".join(str(each) for each in facts.get("negotiated") or [] if each)
        if "permessage-deflate" in agreed:
            bits = re.search(r"server_max_window_bits=(\d+)", agreed)
            level = f" ({facts['level']})" if "level" in facts else ""
            windows.setdefault(bits[1] if bits else "15", []).append(label(name, who) + level)
    found = [f"{', '.join(names)}: {bits} bits of window" for bits, names in sorted(windows.items())]
    return f"Compression: {'; '.join(found)}." if found else ""


def _aiofastnet(who: Dict[str, Any], versions: set[str]) -> str:
    if not versions:
        return ""
    names = [label(name, who) for name, facts in who.items() if facts.get("aiofastnet")]
    return f"{' and '.join(names)} on aiofastnet {', '.join(sorted(versions))}."


def _others(who: Dict[str, Any]) -> str:
    found = []
    if "core" in who:
        found.append(f"Kernels of picows-core: {who['core']['simd']}.")
    if "ws" in who:
        found.append(f"{who['ws']['library']}, Node {who['ws']['node'].lstrip('v')}, {who['ws']['implementation']}.")
    if "uws" in who:
        found.append(f"{who['uws']['library']}: callbacks in Python.")
    return " ".join(found)


def table(data: Dict[str, Any]) -> List[str]:
    """Returns: lines of Markdown: a row per contender, a column per panel."""
    found = {panel: figures(data, panel) for panel in PANELS}
    widest: Dict[str, List[float]] = max(found.values(), key=len)
    names = list(widest)
    names += [name for each in found.values() for name in each if name not in names]
    lines = [f"| | {' | '.join(panel.short for panel in PANELS)} |", "|---|" + "--:|" * len(PANELS)]
    for name in names:
        cells = (_cell(values.get(name)) for values in found.values())
        lines.append(f"| {label(name, data['contenders'])} | {' | '.join(cells)} |")
    return lines


def _cell(values: Optional[List[float]]) -> str:
    return "" if values is None else number(statistics.median(values))


def slow_consumer(data: Dict[str, Any], ours: str = "core", peer: str = "picows") -> str:
    """Returns: a sentence on what a client that is slower than its peer costs ours and upstream, as it was measured."""
    about = {panel.metric: figures(data, panel) for panel in PANELS if panel.key.startswith("slow/")}
    if not all({ours, peer} <= found.keys() for found in about.values()):
        return ""
    cpu, peak = about["cpu_us"], about["peak_kib"]
    middle = {name: statistics.median(peak[name]) for name in (ours, peer)}
    who = {name: label(name, data["contenders"]) for name in (ours, peer)}
    factor = middle[peer] / middle[ours]
    memory = (
        f"{who[peer]} takes {number(factor)} times the memory of {who[ours]}"
        if factor >= 1
        else f"{who[ours]} takes {number(1 / factor)} times the memory of {who[peer]}"
    )
    return f"Slower than a flood, {memory}, and {_compared(cpu, ours, peer, who)}."


def _compared(found: Dict[str, List[float]], ours: str, peer: str, who: Dict[str, str]) -> str:
    """Who takes less CPU, where the rounds agree on it."""
    ratios = [one / other for one, other in zip(found[ours], found[peer])]
    middle = statistics.median(ratios)
    spread = f"({middle:.2f}, rounds from {min(ratios):.2f} to {max(ratios):.2f})"
    if min(ratios) <= 1 <= max(ratios):
        return f"neither clearly more CPU: {who[ours]} over {who[peer]} {spread}"
    more, less = (ours, peer) if middle > 1 else (peer, ours)
    return f"{who[more]} more CPU than {who[less]}: {who[ours]} over {who[peer]} {spread}"


def number(value: float) -> str:
    """Returns: three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


PICTURE = """<picture>
  <source media="(prefers-color-scheme: dark)" srcset="docs/images/benchmarks-dark.svg">
  <img alt="Bar charts, with the figures of the table below" src="docs/images/benchmarks-light.svg">
</picture>"""


def block(data: Dict[str, Any]) -> str:
    """Returns: what is between the marks of README.md: picture, table, what the table does not say, conditions."""
    parts = (PICTURE, "\n".join(table(data)), slow_consumer(data), "\n".join(conditions(data)))
    return "\n\n".join(part for part in parts if part)


def write_readme(data: Dict[str, Any]) -> None:
    """Puts picture, table and conditions between the marks of README.md. Raises: ValueError if they are not there."""
    marked.rewrite(README, BEGIN, END, block(data))
