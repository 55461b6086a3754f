"""Where messages and remarks go: a terminal, in colours if rich is there, or a pipe.

A pipe gets messages as they came, one per line, on stdout, and nothing else; remarks go to stderr. A terminal gets
nothing that could control it (see `picows.cli.words`).
"""

from __future__ import annotations

import importlib
import io
import sys
from typing import Any, Union

from .faults import Failure, need
from .words import described, escaped, pretty_json


class Screen:
    """Output for a pipe, or for a terminal without rich.

    Args:
        is_raw: JSON is printed as it came.
    """

    def __init__(self, is_raw: bool) -> None:
        self._is_raw = is_raw
        self._is_terminal = sys.stdout.isatty()
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")

    def message(self, message: Union[str, bytes]) -> None:
        """Print what was received."""
        if isinstance(message, str) and not self._is_terminal:
            text = message
        else:
            text = self._pretty(message) or described(message)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def remark(self, text: str) -> None:
        """Print something about the connection; it may hold what the peer said."""
        print(escaped(text), file=sys.stderr, flush=True)

    def _pretty(self, message: Union[str, bytes]) -> Any:
        return pretty_json(message) if isinstance(message, str) and not self._is_raw else None


#: Characters beyond which colours would hold up the connection: rich takes 4 us for each.
_LONGEST_COLOURED = 50_000


class ColourScreen(Screen):
    """Output for a terminal, with rich.

    Raises:
        Failure: rich is not installed.
    """

    def __init__(self, is_raw: bool, what: str) -> None:
        super().__init__(is_raw)
        need("rich", what)
        self._text: Any = importlib.import_module("rich.text").Text
        self._json: Any = importlib.import_module("rich.highlighter").JSONHighlighter()
        # Without a file: it looks sys.stdout up for each line, which a prompt replaces.
        self._console: Any = importlib.import_module("rich.console").Console(highlight=False, soft_wrap=True)

    def message(self, message: Union[str, bytes]) -> None:
        """Print what was received, with an arrow."""
        pretty = self._pretty(message)
        if pretty is not None:
            if len(pretty) > _LONGEST_COLOURED:
                sys.stdout.write(f"< {pretty}\n")
                sys.stdout.flush()
                return
            body = self._text(pretty)
            self._json.highlight(body)
        else:
            body = self._text(described(message), style="" if isinstance(message, str) else "magenta")
        self._console.print(self._text("< ", style="bold green") + body)

    def remark(self, text: str) -> None:
        """Print something about the connection, dim."""
        self._console.print(self._text(escaped(text), style="dim"))


def make_screen(is_raw: bool) -> Screen:
    """The best there is for stdout, without a prompt."""
    if sys.stdout.isatty():
        try:
            return ColourScreen(is_raw, "colour")
        except Failure:
            return Screen(is_raw)
    return Screen(is_raw)
