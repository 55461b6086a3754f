"""`.ci/links.py` finds links that lead nowhere, and there are none in the Markdown of the repository.

The pages of the documentation are checked where they are built: `./dev docs`.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci/links.py"


@pytest.fixture(scope="module")
def links() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("links", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["links"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["links"]


def test_the_markdown_of_the_repository(links: Any, tmp_path: Path) -> None:
    site = links.Site(ROOT, tmp_path)
    assert {"README.md", "CONTRIBUTING.md", "SECURITY.md"} <= {link.source.name for link in site.links}
    assert site.broken() == []


MARKDOWN = [
    ("a file", "[a](other.md)", []),
    ("a heading", "[a](other.md#two-words)", []),
    ("a heading that is repeated", "[a](other.md#two-words-1)", []),
    ("a heading here", "# Here\n[a](#here)", []),
    ("code", "`[a](missing.md)`\n```\n[a](missing.md)\n```\n", []),
    ("elsewhere", "[a](https://example.org/missing)", []),
    ("no file", "[a](missing.md)", ["page.md: missing.md is not there"]),
    ("no heading", "[a](other.md#three)", ["page.md: other.md#three has no anchor three"]),
    ("a heading in code", "[a](other.md#in-code)", ["page.md: other.md#in-code has no anchor in-code"]),
    ("a reference", "[a][b]\n\n[b]: missing.md\n", ["page.md: missing.md is not there"]),
    ("a picture", '<picture><source srcset="missing.svg"></picture>', ["page.md: missing.svg is not there"]),
    ("what is built", "[a](build/made.md)", ["page.md: build/made.md is not in the repository"]),
]


@pytest.mark.parametrize(("text", "broken"), [case[1:] for case in MARKDOWN], ids=[case[0] for case in MARKDOWN])
def test_markdown(links: Any, tmp_path: Path, text: str, broken: list[str]) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build/made.md").write_text("")
    (tmp_path / "page.md").write_text(text)
    (tmp_path / "other.md").write_text(
        "# Two words!\n## [Two](x) words\n```\n# In code\n```\n[a]: page.md\n\n[x](page.md)"
    )
    broken_here = [line for line in links.Site(tmp_path, tmp_path / "html").broken() if line.startswith("page.md")]
    assert broken_here == broken


HTML = [
    ("a page", '<a href="sub/other.html">', []),
    ("a folder", '<a href="sub/">', []),
    ("an anchor", '<a href="sub/other.html#there">', []),
    ("an anchor here", '<p id="here"><a href="#here">', []),
    ("elsewhere", '<a href="//example.org/x">', []),
    ("no page", '<a href="missing.html">', ["missing.html is not there"]),
    ("no anchor", '<a href="sub/other.html#gone">', ["sub/other.html#gone has no anchor gone"]),
    ("no picture", '<img src="missing.png">', ["missing.png is not there"]),
    ("no source of a picture", '<source srcset="missing.svg 2x">', ["missing.svg is not there"]),
]


@pytest.mark.parametrize(("text", "broken"), [case[1:] for case in HTML], ids=[case[0] for case in HTML])
def test_html(links: Any, tmp_path: Path, text: str, broken: list[str]) -> None:
    (tmp_path / "html/sub").mkdir(parents=True)
    (tmp_path / "html/index.html").write_text(text)
    (tmp_path / "html/sub/index.html").write_text("")
    (tmp_path / "html/sub/other.html").write_text('<p id="there">')
    site = links.Site(tmp_path, tmp_path / "html")
    assert site.broken() == [f"html/index.html: {line}" for line in broken]


def test_other_addresses_are_listed(links: Any, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("[a](https://example.org/a) <https://example.org/b>")
    assert links.Site(tmp_path, tmp_path).external() == {
        "https://example.org/a": ["page.md"],
        "https://example.org/b": ["page.md"],
    }
