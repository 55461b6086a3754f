"""SECURITY.md: the tests that it names exist, and the defaults that it lists are those of the code."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from picows import _engine, ws_connect, ws_create_server
from picows.deflate import MAX_STREAMS
from picows.handshake import MAX_INTERIM_RESPONSES
from picows.head import MAX_HEAD_SIZE, MAX_HEADERS, MAX_LINE_LENGTH, MAX_REFUSAL_BODY

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(test_\w+)`", PAGE)))
DEFINED = {
    name
    for folder in ("reliability", "conformance")
    for file in (ROOT / "tests" / folder).glob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
}
LIMITS = {
    "a line of an HTTP head": MAX_LINE_LENGTH,
    "header fields of a head": MAX_HEADERS,
    "an HTTP head": MAX_HEAD_SIZE,
    "1xx answers before the final one": MAX_INTERIM_RESPONSES,
    "the body of a refusal that is kept": MAX_REFUSAL_BODY,
    "final DEFLATE blocks in one message": MAX_STREAMS,
}


def cell(first: str, column: int) -> str:
    """A cell of the row that begins with `first`."""
    (row,) = re.findall(rf"^\| {re.escape(first)} \|.*$", PAGE, re.MULTILINE)
    found: str = row.strip("|").split("|")[column].strip()
    return found


def written(value: Any) -> str:
    """As the page writes a default."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:,.0f}"


def threats() -> list[list[str]]:
    """The lines of the threat model: asset, attacker, what we do, test."""
    table = PAGE.split("## Threat model")[1].split("###")[0]
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    return [[text.strip() for text in line] for line in lines][1:]  # without the head


def test_every_threat_has_its_tests() -> None:
    """Four cells each, the last of which names tests, or a directory of them."""
    attackers = ("peer", "page", "network", "server", "caller", "target of a proxied connection")
    assert len(threats()) > 30
    for asset, attacker, defence, tests in threats():
        assert asset
        assert attacker.startswith(attackers)
        assert defence
        named = re.findall(r"`((?:tests/|test_)[\w/.]+)`", tests)
        assert named
        assert all((ROOT / name).exists() for name in named if name.startswith("tests/"))


#: A line of the threat model is about each of these groups of the catalogue, except for twins and what is asyncio's.
GROUPS = sorted(set("abcdefghijklmno"))


@pytest.mark.parametrize("group", GROUPS)
def test_the_threat_model_is_about_every_group_of_the_catalogue(group: str) -> None:
    assert re.search(rf"`test_{group}\d", PAGE)


def default(function: Any, name: str) -> str:
    return written(inspect.signature(function).parameters[name].default)


@pytest.mark.parametrize("name", NAMED)
def test_named_tests_exist(name: str) -> None:
    assert name in DEFINED


@pytest.mark.parametrize(
    "names",
    [
        ["max_frame_size"],
        ["websocket_handshake_timeout"],
        ["close_timeout"],
        ["max_write_buffer_size"],
        ["enable_auto_ping"],
        ["auto_ping_idle_timeout", "auto_ping_reply_timeout"],
        ["enable_auto_pong"],
        ["enable_auto_close", "strict"],
        ["disconnect_on_exception"],
        ["write_coalescing"],
        ["read_buffer_init_size"],
    ],
    ids=lambda names: names[0],
)
def test_defaults(names: list[str]) -> None:
    first = ", ".join(f"`{name}`" for name in names)
    if names == ["websocket_handshake_timeout"]:
        first += ", or `open_timeout`"
    for column, function in enumerate((ws_connect, ws_create_server), 1):
        allowed = {", ".join(default(function, name) for name in names), default(function, names[0])}
        assert cell(first, column) in allowed


def test_defaults_of_messages() -> None:
    listener = _engine.load("pure").WSMessageListener  # compiled classes have no signature
    assert cell("`max_message_size` (after inflating too)", 1) == default(listener, "max_message_size")
    assert cell("`max_queue` (frames)", 1) == default(listener, "max_queue")
    assert cell("`max_fragments`, `max_fragment_size`", 1) == default(listener, "max_fragments")


def test_defaults_of_one_side() -> None:
    assert cell("`max_redirects`", 1) == default(ws_connect, "max_redirects")
    assert default(ws_connect, "ssl_context") == "none"  # which stands for the standard library's: see L6


@pytest.mark.skipif(sys.version_info < (3, 11), reason="picows.websockets needs Python 3.11")
def test_defaults_of_the_drop_in() -> None:
    module = pytest.importorskip("picows.websockets.asyncio.server", reason="picows-websockets is not installed")
    for names in (
        ["max_size"],
        ["max_queue"],
        ["open_timeout", "close_timeout"],
        ["ping_interval", "ping_timeout"],
    ):
        first = ", ".join(f"`{name}`" for name in names)
        assert cell(first, 1) == ", ".join(default(module.serve, name) for name in names)
    assert cell("`write_limit` (asyncio)", 1) == default(module.serve, "write_limit")
    compression = inspect.signature(module.serve).parameters["compression"].default
    assert cell("`compression`", 1).startswith(f'`"{compression}"`')
    fragments = importlib.import_module("picows.websockets.asyncio.messages").MAX_FRAGMENTS
    assert cell("fragments of a message, `WEBSOCKETS_MAX_FRAGMENTS`", 1) == written(fragments)
    redirects = importlib.import_module("picows.websockets.asyncio.client").MAX_REDIRECTS
    assert cell("redirects", 1) == written(redirects)


@pytest.mark.parametrize("first", list(LIMITS))
def test_limits(first: str) -> None:
    assert cell(first, 1) == written(LIMITS[first])
