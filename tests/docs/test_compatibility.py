"""The list of names that differ from websockets' is the one that the tests of those names use."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures.names_explained import EXPLAINED

PAGE = (Path(__file__).parents[2] / "docs/reference/compatibility.md").read_text("utf-8")


@pytest.mark.parametrize("reason", sorted(set(EXPLAINED.values())))
def test_names_that_differ(reason: str) -> None:
    assert reason in PAGE
    names = {line.split()[0] for line, its_reason in EXPLAINED.items() if its_reason == reason}
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []
