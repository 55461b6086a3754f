"""The part of a page that a program writes, between two lines of comment."""

from __future__ import annotations

import re
from pathlib import Path


def rewrite(page: Path, begin: str, end: str, text: str) -> None:
    """Put a text between the marks of a page.

    Args:
        page: a file in UTF-8.
        begin: the line before the text.
        end: the line behind it.
        text: what shall stand there.

    Raises:
        ValueError: the page has no such lines.
    """
    old = page.read_text("utf-8")
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    if not re.search(pattern, old, re.DOTALL):
        raise ValueError(f"{page} has no lines {begin} and {end}")
    page.write_text(re.sub(pattern, lambda _: f"{begin}\n\n{text}\n\n{end}", old, flags=re.DOTALL), "utf-8")
