"""Every link and anchor within the built documentation and the Markdown of the repository leads somewhere.

usage: python .ci/links.py [--external]      after `./dev docs`, which runs it as its last step

Nothing is fetched: `--external` lists the links that lead elsewhere, each with the places that have it, for somebody to
look at. Exits with 1 if a link within is broken.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "build/docs/html"
#: Markdown that is read on a forge, where headings are anchors. docs/ is not: it is read as HTML.
MARKDOWN = ("*.md", "packages/*/README.md", "benchmarks/**/*.md", "changes.d/README.md", "examples/**/*.md")
ATTRIBUTES = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "srcset", "iframe": "src"}
#: Sphinx writes them when it is asked to: pages of its own, whose links are made by scripts.
GENERATED = {"search.html", "genindex.html", "py-modindex.html"}


class Link(NamedTuple):
    """Where it is, and where it leads."""

    source: Path
    target: str


class Page(HTMLParser):
    """Anchors and links of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: Set[str] = set()
        self.targets: List[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: List[Tuple[str, Optional[str]]]) -> None:
        found = dict(attrs)
        self.anchors.update(value for value in (found.get("id"), tag == "a" and found.get("name")) if value)
        target = found.get(ATTRIBUTES.get(tag, ""))
        if target:
            self.targets += [part.split()[0] for part in target.split(",")] if tag == "source" else [target]


def heading_anchors(text: str) -> Set[str]:
    """Anchors that a forge gives to headings: lower case, no punctuation, hyphens for spaces, numbered if repeated."""
    seen: Dict[str, int] = {}
    anchors = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))
    for title in re.findall(r"^#{1,6} +(.+?) *#*$", without_code(text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        count = seen[slug] = seen.get(slug, -1) + 1
        anchors.add(f"{slug}-{count}" if count else slug)
    return anchors


def without_code(text: str) -> str:
    """Markdown without blocks of code."""
    return re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)


def markdown_targets(text: str) -> Iterator[str]:
    """What Markdown links to: inline, by reference, and in HTML."""
    plain = re.sub(r"`[^`\n]*`", "`", without_code(text))
    yield from re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", plain)
    yield from re.findall(r"^\[[^\]]+\]: *<?([^\s>]+)>?", plain, re.MULTILINE)
    yield from re.findall(r"<(?:a|img|source)\b[^>]*?(?:href|src|srcset)=\"([^\"]+)\"", plain)
    yield from re.findall(r"<(https?://[^\s>]+)>", plain)


class Site:
    """All pages, by path; anchors are read when they are asked for."""

    def __init__(self, root: Path, html: Path) -> None:
        self._root = root
        self._anchors: Dict[Path, Set[str]] = {}
        self.links: List[Link] = []
        for path in sorted(html.rglob("*.html")):
            page = Page(path.read_text("utf-8"))
            self._anchors[path] = page.anchors
            if path.name not in GENERATED:
                self.links += [Link(path, target) for target in page.targets]
        for path in sorted({path for pattern in MARKDOWN for path in root.glob(pattern)}):
            text = path.read_text("utf-8")
            self._anchors[path] = heading_anchors(text)
            self.links += [Link(path, target) for target in markdown_targets(text)]

    def fault(self, link: Link) -> Optional[str]:
        """What is wrong with a link within; None if it leads somewhere."""
        parts = urlsplit(link.target)
        path = link.source
        if parts.path:
            path = (link.source.parent / unquote(parts.path)).resolve()
            if path.is_dir() and link.source.suffix == ".html":
                path /= "index.html"
        if not path.exists():
            return "is not there"
        if link.source.suffix == ".md" and "build" in path.relative_to(self._root).parts:
            return "is not in the repository"
        anchor = unquote(parts.fragment)
        if anchor and path.suffix in (".html", ".md") and anchor not in self._anchors_of(path):
            return f"has no anchor {anchor}"
        return None

    def broken(self) -> List[str]:
        """A line for each link within that leads nowhere."""
        found = ((link, self.fault(link)) for link in self.links if not is_external(link))
        return [f"{link.source.relative_to(self._root)}: {link.target} {fault}" for link, fault in found if fault]

    def external(self) -> Dict[str, List[str]]:
        """Other addresses, and where they are."""
        found: Dict[str, List[str]] = {}
        for link in self.links:
            if is_external(link):
                found.setdefault(link.target, []).append(str(link.source.relative_to(self._root)))
        return found

    def _anchors_of(self, path: Path) -> Set[str]:
        if path not in self._anchors:
            self._anchors[path] = heading_anchors(path.read_text("utf-8"))
        return self._anchors[path]


def is_external(link: Link) -> bool:
    """It leads out of the repository, or is no address of a page."""
    return bool(urlsplit(link.target).scheme or urlsplit(link.target).netloc)


def main() -> int:
    """Returns the exit status."""
    if not (HTML / "index.html").exists():
        print("the documentation is not built: ./dev docs", file=sys.stderr)
        return 1
    site = Site(ROOT, HTML)
    broken, external = site.broken(), site.external()
    for line in broken:
        print(line, file=sys.stderr)
    if "--external" in sys.argv[1:]:
        for target, places in sorted(external.items()):
            print(target, *sorted(set(places)), sep="\n    ")
    inside = len(site.links) - sum(map(len, external.values()))
    print(f"links: {inside} within, {len(broken)} broken; {len(external)} other addresses, not fetched")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
