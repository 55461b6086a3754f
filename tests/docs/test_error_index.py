"""The error index has every exception of ours."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import picows.errors

PAGE = (Path(__file__).parents[2] / "docs/reference/error-index.md").read_text("utf-8")
OURS = sorted(name for name, value in vars(picows.errors).items() if isinstance(value, type) and name.startswith("WS"))


@pytest.mark.parametrize("name", OURS)
def test_errors_of_picows(name: str) -> None:
    assert f"| {{py:class}}`~picows.{name}` |" in PAGE


def test_errors_of_the_drop_in() -> None:
    if sys.version_info < (3, 11):
        pytest.skip("picows.websockets needs Python 3.11")
    pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
    exceptions = importlib.import_module("picows.websockets.exceptions")
    names = {
        name
        for name, value in vars(exceptions).items()
        if isinstance(value, type) and issubclass(value, exceptions.WebSocketException)
    }
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []
