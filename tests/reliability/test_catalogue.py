"""Every row of the catalogue has tests of its name in the files that README.md gives, and their tests are of a row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator, List, NamedTuple

import pytest

HERE = Path(__file__).parent
#: How many rows each group of the catalogue of issue 5 has.
GROUPS = {
    "A": 9,
    "B": 9,
    "C": 13,
    "D": 6,
    "E": 8,
    "F": 8,
    "G": 8,
    "H": 13,
    "I": 5,
    "J": 4,
    "K": 4,
    "L": 8,
    "M": 6,
    "N": 9,
    "O": 7,
    "P": 4,
}


class Row(NamedTuple):
    """A line of README.md.

    Attributes:
        ids: of the catalogue.
        patterns: what its tests are called.
        files: where they are.
    """

    ids: List[str]
    patterns: List[str]
    files: List[str]


def rows() -> Iterator[Row]:
    """Of README.md; the files are those of the heading above."""
    files: List[str] = []
    for line in (HERE / "README.md").read_text("utf-8").splitlines():
        if line.startswith("## "):
            files = re.findall(r"`(test_\w+\.py)`", line)
        match = re.match(r"\| ([A-P]\d+(?:, [A-P]\d+)*) \| ([^|]+) \|", line)
        if match:
            yield Row(match[1].split(", "), re.findall(r"`(test_\w+?)\*`", match[2]), files)


ROWS = list(rows())


def test_every_row_of_the_catalogue_is_there_once() -> None:
    expected = [f"{group}{number + 1}" for group, count in GROUPS.items() for number in range(count)]
    assert [name for row in ROWS for name in row.ids] == expected


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row.ids))
def test_a_row_has_its_tests(row: Row) -> None:
    text = "".join((HERE / file).read_text("utf-8") for file in row.files)
    assert row.patterns
    for pattern in row.patterns:
        assert re.search(rf"^(?:async )?def {pattern}\w*\(", text, re.MULTILINE), f"{pattern}* is not in {row.files}"


@pytest.mark.parametrize("file", sorted({file for row in ROWS for file in row.files}))
def test_tests_are_of_a_row(file: str) -> None:
    known = tuple(pattern for row in ROWS for pattern in row.patterns if file in row.files)
    for name in re.findall(r"^(?:async )?def (test_[a-p]\d+_\w+)\(", (HERE / file).read_text("utf-8"), re.MULTILINE):
        assert name.startswith(known), f"{name} is of no row of its group"
