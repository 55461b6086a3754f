"""No line of the tables is lost: how many there are, that they differ, and that each is tried in every way."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fixtures.conformance_frames import BFINAL, DEFLATE, DEFLATED, PLAIN, answer_of, encode
from fixtures.conformance_handshakes import COMPAT_RESPONSES, REQUESTS, RESPONSES
from fixtures.wire import FEEDINGS

FEEDING_COUNT, ROLES = 3, 2
#: For each engine: test -> how many lines of the tables, times how often each.
PER_ENGINE = {
    "test_frames.py::test_messages": (42 + 6 + 5) * ROLES * FEEDING_COUNT,
    "test_frames.py::test_frames": 42 * 2 * ROLES * FEEDING_COUNT,
    "test_frames_sockets.py::test_server": 42 + 6 + 5,
    "test_frames_sockets.py::test_client": 42 + 6 + 5,
    "test_handshakes.py::test_server": 45 * FEEDING_COUNT,
    "test_handshakes.py::test_client": 45 * FEEDING_COUNT,
    "test_handshakes_sockets.py::test_server": 45,
    "test_handshakes_sockets.py::test_client": 45,
}


def test_sizes_of_the_tables() -> None:
    assert (len(PLAIN), len(DEFLATE), len(BFINAL)) == (42, 6, 5)
    assert (len(REQUESTS), len(RESPONSES)) == (45, 45)


@pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
def test_no_two_lines_are_alike(client: bool) -> None:
    frames = [encode(case, client) for case in {**PLAIN, **DEFLATED}.values()]
    assert len(set(frames)) == len(PLAIN) + len(DEFLATED)
    assert len({line.data for line in REQUESTS.values()}) == len(REQUESTS)
    assert len({line.data for line in RESPONSES.values()}) == len(RESPONSES)


def test_answers() -> None:
    """How often each code is the answer of the message layer, as the table has it."""
    codes = Counter(answer_of(case, "messages").code for case in [*PLAIN.values(), *DEFLATE.values()])
    assert codes == {1002: 26, 1009: 7, 1007: 6, None: 3, 0: 1, 1000: 1, 1012: 1, 1014: 1, 3000: 1, 4999: 1}
    statuses = Counter(line.status for line in REQUESTS.values())
    assert statuses == {101: 9, 400: 23, 405: 1, 414: 2, 426: 4, 431: 4, 505: 2}


def test_what_the_drop_in_does_otherwise() -> None:
    """The rows of the table where picows.websockets differs from us, because websockets does."""
    assert [name for name, case in PLAIN.items() if case.compat] == ["close within a message"]
    differing = Counter(line.compat for line in REQUESTS.values() if line.compat not in (None, line.status))
    assert differing == {0: 14, 101: 4, 400: 2}
    assert set(COMPAT_RESPONSES) < set(RESPONSES)
    ours = {name for name, line in RESPONSES.items() if line.error}
    assert ours - set(COMPAT_RESPONSES) == {"Content-Length: 5", "Content-Length: +0", "two Content-Lengths", "chunked"}
    assert set(COMPAT_RESPONSES) - ours == {"interim response"}


def test_every_line_is_tried(request: pytest.FixtureRequest) -> None:
    """Counts what pytest has collected, where it was asked for all of this directory."""
    folder = Path(__file__).parent
    collected = Counter(
        (f"{item.path.name}::{item.originalname}", item.callspec.params["engine"])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.path.parent == folder
        and hasattr(item, "callspec")
        and "engine" in item.callspec.params
    )
    engines = {engine for _, engine in collected}
    files = {name.partition("::")[0] for name, _ in collected}
    is_whole = {name.partition("::")[0] for name in PER_ENGINE} <= files and not request.config.getoption("keyword")
    if not is_whole:
        pytest.skip("only a part of tests/conformance is run")
    assert len(FEEDINGS) == FEEDING_COUNT
    for engine in engines:
        counts = {name: collected[name, engine] for name in PER_ENGINE}
        assert counts == PER_ENGINE
    assert sum(PER_ENGINE.values()) > 1000
