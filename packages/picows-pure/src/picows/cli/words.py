"""What came from the peer, made fit for a terminal: no control characters, JSON indented.

A peer chooses what is printed, and must not choose what the terminal does.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Iterator, Optional, Union

#: Line and paragraph separators, and lone surrogates, which cannot be printed.
_CATEGORIES = frozenset(("Cc", "Cs", "Zl", "Zp"))
#: They reorder what follows.
_DIRECTIONS = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')
LONGEST_PRETTY = 1_000_000
SHOWN_BYTES = 64


def escaped(text: str, keep: str = "") -> str:
    """Text with each control character as Python would write it, those of `keep` aside."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if character in keep else _visible(character) for character in text)


def _visible(character: str) -> str:
    if unicodedata.category(character) in _CATEGORIES or unicodedata.bidirectional(character) in _DIRECTIONS:
        return character.encode("unicode_escape").decode("ascii")
    return character


def pretty_json(text: str) -> Optional[str]:
    """Objects and arrays indented; None where the text is something else.

    Only the white space changes: numbers, escapes and repeated keys are shown as they came.
    """
    if len(text) > LONGEST_PRETTY or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return None
    return escaped("".join(_indented(text)), keep="\n")


def _indented(text: str) -> Iterator[str]:
    """The tokens of a JSON text with white space between them."""
    depth = 0
    before = ""
    for token in _JSON_TOKEN.findall(text):
        if token in "]}":
            depth -= 1
        if before and before in "[{,":
            is_empty = before != "," and token in "]}"
            yield "" if is_empty else "\n" + "  " * depth
        elif token in "]}":
            yield "\n" + "  " * depth
        yield ": " if token == ":" else token
        if token in "[{":
            depth += 1
        before = token


def described(message: Union[str, bytes]) -> str:
    """A message as one line: text escaped, of binary its size and its beginning in hexadecimal."""
    if isinstance(message, str):
        return escaped(message)
    more = "..." if len(message) > SHOWN_BYTES else ""
    return f"(binary, {len(message)} bytes) {message[:SHOWN_BYTES].hex(' ')}{more}"
