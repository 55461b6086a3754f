"""docs/reference/cli.md and the command line know the same verbs and options."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any, Dict, Set

import pytest

from picows.cli.main import make_parser

PAGE = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text("utf-8")
VERBS = ("connect", "serve", "bench", "doctor")


def parsers() -> Dict[str, argparse.ArgumentParser]:
    """The parser of each verb."""
    (action,) = (action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def options(parser: argparse.ArgumentParser) -> Dict[str, Any]:
    """Its options by name, but for --help."""
    return {
        name: action
        for action in parser._actions
        for name in action.option_strings
        if not isinstance(action, argparse._HelpAction)
    }


def sections() -> Dict[str, str]:
    """The text about each verb; what `connect` and `bench` have in common is in both."""
    ours = PAGE.partition("## python -m picows.websockets")[0]
    parts = re.split(r"^## picows (\w+).*\n", ours, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2]))
    own, mark, common = found["connect"].partition("`connect` and `bench` have in common:")
    assert mark
    found["bench"] += common
    return found


def rows(text: str) -> Dict[str, str]:
    """What the tables say of each option: the whole row, in which its other name and its argument are too."""
    lines = re.findall(r"^\| (`-.*) \|$", text, flags=re.MULTILINE)
    return {name: line for line in lines for name in re.findall(r"`(--?[\w-]+)", line.split(" | ")[0])}


def test_every_verb_has_a_section() -> None:
    assert tuple(parsers()) == tuple(sections()) == VERBS


@pytest.mark.parametrize("verb", ["connect", "serve", "bench"])
def test_the_same_options(verb: str) -> None:
    assert set(rows(sections()[verb])) == set(options(parsers()[verb]))


@pytest.mark.parametrize("verb", ["connect", "serve", "bench"])
def test_options_take_what_the_page_says(verb: str) -> None:
    """Those that have an argument are shown with it, or with their choice; flags without."""
    for name, action in options(parsers()[verb]).items():
        if not name.startswith("--"):
            continue
        row = rows(sections()[verb])[name]
        shown = re.search(rf"`{name}(?: ([^`]+))?`", row)
        assert shown is not None, row
        if action.nargs == 0:
            assert shown.group(1) is None, row
        elif action.choices:
            assert shown.group(1) in action.choices, row
        elif action.metavar:
            assert shown.group(1) == action.metavar, row


@pytest.mark.parametrize("verb", ["connect", "serve", "bench"])
def test_defaults(verb: str) -> None:
    """A number that is the default stands in the row."""
    for name, action in options(parsers()[verb]).items():
        if isinstance(action.default, (int, float)) and not isinstance(action.default, bool):
            row = rows(sections()[verb])[name]
            assert re.search(rf"\b{action.default:g}\b".replace(".", r"\."), row), (name, row)


def test_doctor_is_described_with_its_option() -> None:
    assert "`--json`" in sections()["doctor"]


def test_exit_codes() -> None:
    codes: Set[str] = set(re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE))
    assert codes == {"0", "1", "2", "130"}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="picows.websockets needs Python 3.11, as websockets 17 does")
def test_the_command_of_websockets(capsys: pytest.CaptureFixture[str]) -> None:
    cli = pytest.importorskip("picows.websockets.cli", reason="picows-websockets is not installed")
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    known = set(re.findall(r"--\w+", capsys.readouterr().out)) - {"--help"}
    text = PAGE.partition("## python -m picows.websockets URI\n")[2]
    assert known == set(re.findall(r"--\w+", text))
