"""Appends to a page the tables of all names of a library: one for each module, and in it a word for each name.

Names come from lists that are kept, words and reasons from where the tests have them: tests/fixtures/names_verdicts.py.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Iterator

from fixtures import name_lists, names_explained, names_verdicts
from fixtures.name_lists import Name
from fixtures.names_verdicts import BETTER, DIFFERENT, SAME, Verdict, verdict

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PAGES = {"reference/names-websockets": "websockets", "reference/names-picows": "picows"}
WORDS = (SAME, BETTER, DIFFERENT)
_SHOWN = {SAME: SAME, BETTER: f"**{BETTER}**", DIFFERENT: f"*{DIFFERENT}*"}


def modules(library: str) -> Iterator[tuple[str, list[Name]]]:
    """Each module with its names, "" for the library itself."""
    for module, names in groupby(name_lists.read(library), key=lambda name: name.module):
        yield module, list(names)


def title_of(library: str, module: str) -> str:
    return f"{library}.{module}" if module else library


def summary(library: str) -> Iterator[str]:
    """How many names of each module are what, with the way to its table."""
    yield f"| module | {' | '.join(WORDS)} |"
    yield "|---|" + "--:|" * len(WORDS)
    total: Counter[str] = Counter()
    for module, names in modules(library):
        count = Counter(verdict(library, name).word for name in names)
        total += count
        title = title_of(library, module)
        anchor = title.replace(".", "").lower()
        yield f"| [`{title}`](#{anchor}) | {' | '.join(str(count[word] or '') for word in WORDS)} |"
    yield f"| all | {' | '.join(str(total[word]) for word in WORDS)} |"


def tables(library: str) -> Iterator[str]:
    """All of them, as Markdown."""
    yield from summary(library)
    for module, names in modules(library):
        yield from ("", f"## `{title_of(library, module)}`", "", "```{table}", ":class: names", "")
        yield from ("| names | here | why |", "|---|---|---|", *rows(library, names), "```")


def rows(library: str, names: list[Name]) -> Iterator[str]:
    """A row for each reason, the same ones last: a row for each name would be forty screens long."""
    groups: dict[Verdict, list[str]] = {}
    for name in names:
        groups.setdefault(verdict(library, name), []).append(f"`{name.name}`")
    for found, group in sorted(groups.items(), key=lambda each: WORDS.index(each[0].word), reverse=True):
        yield f"| {', '.join(group)} | {_SHOWN[found.word]} | {found.reason} |"


def append_tables(app: Sphinx, docname: str, source: list[str]) -> None:
    library = PAGES.get(docname)
    if library is None:
        return
    sources = (str(module.__file__) for module in (names_explained, names_verdicts))
    files = [__file__, str(name_lists.path_of(library)), *sources]
    for path in files:
        app.env.note_dependency(path)
    source[0] += "\n" + "\n".join(tables(library)) + "\n"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", append_tables)
    return {"parallel_read_safe": True}
