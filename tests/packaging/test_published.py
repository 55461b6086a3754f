"""What README shows of the benchmarks is what is kept in the repository, and says how it was measured."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

ROOT = Path(__file__).parents[2]
KEPT = sorted((ROOT / "benchmarks/results/peers").glob("*.json"))

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
def shown() -> str:
    text = (ROOT / "README.md").read_text("utf-8")
    (block,) = re.findall(r"<!-- benchmarks: written .*?-->\n(.*?)<!-- benchmarks: end -->", text, re.DOTALL)
    return str(block)


def test_the_readme_shows_what_is_kept(peers: Any, shown: str) -> None:
    published, results = peers("published"), peers("results")
    written = []
    for path in KEPT:
        data = results.read(path)
        written.append(
            "\n\n".join((published.PICTURE, *map("\n".join, (published.table(data), published.conditions(data)))))
        )
    assert shown.strip() in written, "./dev bench --redraw writes README.md anew from what is kept"


def test_every_picture_is_there(shown: str) -> None:
    pictures = {ROOT / name for name in re.findall(r'(?:src|srcset)="([^"]+)"', shown)}
    assert pictures
    for path in pictures:
        drawn = path.read_text("utf-8")
        assert "picows-core" in drawn  # text is text: it can be searched, and read aloud
        assert path.with_suffix(".png").exists()


@pytest.mark.parametrize("path", KEPT, ids=[path.stem for path in KEPT])
def test_what_is_kept(peers: Any, path: Path) -> None:
    published = peers("published")
    data: Dict[str, Any] = json.loads(path.read_text("utf-8"))
    assert data["machine"]["name"] == path.stem
    assert str(ROOT) not in path.read_text("utf-8")
    figures = {panel.title: published.figures(data, panel) for panel in published.PANELS}
    assert [title for title, found in figures.items() if len(found) < 2] == []
    said = " ".join(published.conditions(data))
    for what in (data["date"][:10], data["commit"], data["machine"]["cpu"], "max_queue", "bits of window", "uvloop"):
        assert what in said


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
