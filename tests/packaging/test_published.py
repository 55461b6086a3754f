"""What README shows of the benchmarks is what is kept in the repository, and says how it was measured."""

from __future__ import annotations

import html
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

ROOT = Path(__file__).parents[2]
KEPT = sorted((ROOT / "benchmarks/results/peers").glob("*.json"))
PICTURES = sorted((ROOT / "docs/images").glob("benchmarks-*.svg"))

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="benchmarks/peers needs Python 3.11")


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a module of benchmarks/peers; those are forgotten at the end."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks/peers"))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "benchmarks")):
            del sys.modules[name]


@pytest.fixture
def uvicorn_page(peers: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of benchmarks/."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return peers("uvicorn_page")


@pytest.fixture
def shown() -> str:
    text = (ROOT / "README.md").read_text("utf-8")
    (block,) = re.findall(r"<!-- benchmarks: written .*?-->\n(.*?)<!-- benchmarks: end -->", text, re.DOTALL)
    return str(block)


def test_the_readme_shows_what_is_kept(peers: Any, shown: str) -> None:
    published, results = peers("published"), peers("results")
    written = [published.block(results.read(path)) for path in KEPT]
    assert shown.strip() in written, "./dev bench --redraw writes README.md anew from what is kept"


def test_every_picture_is_there(shown: str) -> None:
    pictures = {ROOT / name for name in re.findall(r'(?:src|srcset)="([^"]+)"', shown)}
    assert pictures
    assert pictures <= set(PICTURES)
    assert all(path.with_suffix(".png").exists() for path in pictures)


@pytest.mark.parametrize("path", PICTURES, ids=[path.stem for path in PICTURES])
def test_every_picture_says_how_it_was_measured(peers: Any, path: Path) -> None:
    # text is text: it can be searched, and read aloud
    texts = re.findall(r"<text[^>]*>([^<]*)", path.read_text("utf-8"))
    drawn = " ".join(html.unescape(" ".join(texts)).split())
    assert "picows-core" in drawn
    kept = [" ".join(peers("published").conditions(peers("results").read(path))) for path in KEPT]
    assert any(said in drawn for said in kept), "./dev bench --redraw draws anew from what is kept"


@pytest.mark.parametrize("path", KEPT, ids=[path.stem for path in KEPT])
def test_what_is_kept(peers: Any, path: Path) -> None:
    published = peers("published")
    data: Dict[str, Any] = json.loads(path.read_text("utf-8"))
    assert data["machine"]["name"] == path.stem
    assert str(ROOT) not in path.read_text("utf-8")
    figures = {panel.title: published.figures(data, panel) for panel in published.PANELS}
    assert [title for title, found in figures.items() if len(found) < 2] == []
    said = " ".join(published.conditions(data))
    commit = data["commit"].replace("-dirty", " with changes that were not committed")
    for what in (data["date"][:10], commit, data["machine"]["cpu"], "max_queue", "bits of window", "uvloop"):
        assert what in said
    assert ("oad average" in said) == (data["machine"]["load_average"] > 0.5)


def test_another_schema_is_refused(peers: Any, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"schema": 0}')
    with pytest.raises(ValueError, match="has schema 0, this reads 1"):
        peers("results").read(tmp_path / "old.json")


ROUNDS = [
    ("all", [{"cpu_us": 1.0}, {"cpu_us": 3.0}, {"cpu_us": 2.0}], [1.0, 3.0, 2.0], "2.00"),
    ("one failed", [{"cpu_us": 1.0}, None, {"cpu_us": 12.0}], [1.0, None, 12.0], "6.50"),
    ("rounded", [{"cpu_us": 123.456789}], [123.46], "123"),
]


@pytest.mark.parametrize(("rounds", "column", "cell"), [case[1:] for case in ROUNDS], ids=[case[0] for case in ROUNDS])
def test_rounds_become_a_cell(peers: Any, tmp_path: Path, rounds: List[Any], column: List[Any], cell: str) -> None:
    published, results, report, rows = map(peers, ("published", "results", "report", "rows"))
    (where,) = rows.cells(["echo"], ["uvloop"], ["tcp"], [256])
    row = results.row(report.Result(where, {"core": rounds}, {}))
    assert row["samples"] == {"core": {"cpu_us": column}}
    data = {"schema": 1, "contenders": {"core": {"kind": "ours"}}, "rows": [row]}
    results.write(tmp_path / "kept.json", data)
    assert results.read(tmp_path / "kept.json") == data
    assert f"| picows-core | {cell} |" in "\n".join(published.table(data))


BUSY = {"load_average": 1.5, "revision": "abc1234"}
CHANGED = {"load_average": 0.1, "revision": "abc1234-dirty"}
CALM = {"load_average": 1.0, "revision": "abc1234"}


@pytest.mark.parametrize(
    ("machine", "why"), [(BUSY, "load average is 1.5"), (CHANGED, "not committed")], ids=["busy", "changed"]
)
def test_what_is_not_published(
    peers: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, machine: Dict[str, Any], why: str
) -> None:
    run, about = peers("run"), peers("machine")
    (objection,) = about.objections(machine)
    assert why in objection
    assert about.objections(CALM) == []
    full = {**about.describe([0, 1]), **machine}
    monkeypatch.setattr(about, "describe", lambda cpus: full)
    monkeypatch.setattr(sys, "argv", ["run.py", "--publish"])
    monkeypatch.setattr(run.Run, "prepare", lambda self: pytest.fail("it measures"))
    assert run.main() == 1
    assert why in capsys.readouterr().err


#: Our and upstream's CPU in three rounds; what is said of them.
SLOW = [
    (
        "less",
        [1.0, 1.0, 2.0],
        [2.0, 3.0, 3.0],
        "other more CPU than picows-core: picows-core over other (0.50, rounds ",
    ),
    (
        "more",
        [2.0, 3.0, 3.0],
        [1.0, 1.0, 2.0],
        "picows-core more CPU than other: picows-core over other (2.00, rounds ",
    ),
    ("both", [1.0, 3.0, 2.0], [2.0, 2.0, 2.0], "neither clearly more CPU: picows-core over other (1.00, rounds "),
]


@pytest.mark.parametrize(("ours", "theirs", "said"), [case[1:] for case in SLOW], ids=[case[0] for case in SLOW])
def test_a_slow_consumer_is_described_as_measured(
    peers: Any, ours: List[float], theirs: List[float], said: str
) -> None:
    published = peers("published")
    (key,) = {panel.key for panel in published.PANELS if panel.key.startswith("slow/")}
    samples = {
        "core": {"cpu_us": ours, "peak_kib": [100.0] * 3},
        "picows": {"cpu_us": theirs, "peak_kib": [1000.0] * 3},
    }
    who = {"core": {"kind": "ours"}, "picows": {"kind": "peer", "library": "other"}}
    told = published.slow_consumer({"contenders": who, "rows": [{"key": key, "samples": samples}]})
    assert "other takes 10.0 times the memory of picows-core" in told
    assert said in told


def test_the_page_of_uvicorn_shows_what_is_kept(uvicorn_page: Any) -> None:
    text = uvicorn_page.PAGE.read_text("utf-8")
    (between,) = re.findall(f"{re.escape(uvicorn_page.BEGIN)}(.*?){re.escape(uvicorn_page.END)}", text, re.DOTALL)
    kept = [uvicorn_page.results.read(path) for path in sorted(uvicorn_page.HOME.glob("*.json"))]
    assert between.strip() in map(uvicorn_page.block, kept), "./dev uvicorn-bench --publish writes both"
    for run in kept:
        assert (uvicorn_page.kept_at(run["machine"]["name"])).exists()
        assert {each["loop"] for each in run["results"]} == {"asyncio", "uvloop"}
        assert {each["row"] for each in run["results"]} == set(uvicorn_page.TITLES)
        assert str(ROOT) not in json.dumps(run)


def test_the_table_of_uvicorn(uvicorn_page: Any) -> None:
    cell = {"row": "echo", "loop": "asyncio", "low": 0.9, "median": 1.0, "high": 1.1}
    other = {**cell, "contender": "wsproto", "cpu_us": 123.4, "median": 2.468}
    lines = uvicorn_page.table([{**cell, "contender": "picows-core", "cpu_us": 50.04}, other])
    assert lines == [
        "| | picows-core | wsproto |",
        "|---|--:|--:|",
        "| one connection, one message under way, asyncio | 50.0 | 123 (2.47) |",
    ]


def test_the_performance_page_shows_the_instructions_that_are_kept(peers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    page = peers("asv_page")
    text = page.PAGE.read_text("utf-8")
    (between,) = re.findall(f"{re.escape(page.BEGIN)}(.*?){re.escape(page.END)}", text, re.DOTALL)
    kept = [page.block(json.loads(path.read_text("utf-8"))) for path in page.kept()]
    assert between.strip() in kept, "python benchmarks/asv_page.py writes the page anew from what is kept"
    assert "| | |" not in between
