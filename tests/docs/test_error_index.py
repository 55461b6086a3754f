"""The error index has every exception of ours, and says of each when it comes and what to do."""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path

import pytest

import picows.errors

PAGE = (Path(__file__).parents[2] / "docs/reference/error-index.md").read_text("utf-8")
OURS = sorted(name for name, value in vars(picows.errors).items() if isinstance(value, type) and name.startswith("WS"))


#: Rows of all tables, without the lines below their heads.
ROWS = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith("|---")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_no_cell_is_empty(row: str) -> None:
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) in (2, 3)
    assert all(cells), row


@pytest.mark.parametrize("name", OURS)
def test_errors_of_picows(name: str) -> None:
    assert f"| {{py:class}}`~picows.{name}` |" in PAGE


def test_errors_of_the_drop_in() -> None:
    if sys.version_info < (3, 11):
        pytest.skip("picows.websockets needs Python 3.11")
    pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
    exceptions = importlib.import_module("picows.websockets.exceptions")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the package
        legacy = importlib.import_module("picows.websockets.legacy.exceptions")
    names = {
        value.__name__  # one is there under an old name, too
        for value in (*vars(exceptions).values(), *vars(legacy).values())
        if isinstance(value, type) and issubclass(value, exceptions.WebSocketException)
    }
    assert {"InvalidStatusCode", "AbortHandshake", "RedirectHandshake"} < names
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []
