"""Headless Chromium as a client of our servers, on both engines: it runs browser/page.html once for each server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fixtures.browser import SERVERS, SUBPROTOCOL, Visit, visit_with_chromium
from fixtures.drop_in import load_drop_in

SIZES = 9
#: Scenario -> what the page reports.
EXPECTED: dict[str, Any] = {
    "text echo": [True] * SIZES,
    "binary echo": [True] * SIZES,
    "unicode echo": [True] * 2,
    "frame echo": [True] * 2 * SIZES,
    "twenty at once": 20,
    "thousand without waiting": 1000,
    "a blob": "from a blob",
    "text in fragments": "one two three",
    "binary in fragments": "one two three",
    "one character in fragments": True,
    "ping": "pong are you there",
    "extensions": "permessage-deflate",
    "subprotocol": SUBPROTOCOL,
    "no subprotocol in common": [1006, "", False],
    "refused": [1006, "", False],
    "nobody there": [1006, "", False],
    "our close": [[4001, "bye \u20ac", True], [4001, "bye \u20ac"]],
    "the server's closes": [
        [code, "because \u20ac", True] for code in (1000, 1001, 1003, 1007, 1008, 1011, 3000, 4999)
    ],
    "the longest reason": 123,
    "the server's abort": [1006, False],
    "at the limit": [True, True],
    "too big, compressed": 1009,
    "too big, noise": 1009,
}


@pytest.fixture(scope="module", params=SERVERS)
def visit(request: pytest.FixtureRequest, engine: Any) -> Visit:
    """What came of the page."""
    if request.param == "drop-in":
        load_drop_in(engine)
    return asyncio.run(visit_with_chromium(request.param, engine))


@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize("scenario", EXPECTED)
def test_scenario(scenario: str, visit: Visit) -> None:
    assert visit.results[scenario] == EXPECTED[scenario]


@pytest.mark.xdist_group("browser")
def test_a_close_without_a_code(visit: Visit) -> None:
    """The core API calls that NO_INFO, which is 0."""
    expected = [0, ""] if visit.api == "core-api" else [1005, ""]
    assert visit.results["our close without a code"] == [[1005, "", True], expected]


@pytest.mark.xdist_group("browser")
def test_deflate_is_left_out_where_the_listener_has_none(visit: Visit) -> None:
    """/frames of the core API is a WSListener; the drop-in compresses everywhere."""
    expected = "" if visit.api == "core-api" else EXPECTED["extensions"]
    assert visit.results["no extensions"].split(";")[0] == expected


@pytest.mark.xdist_group("browser")
def test_the_page_told_where_it_comes_from(visit: Visit) -> None:
    assert len(visit.origins) > 40
    assert all(visit.origins)
    assert "Chrom" in visit.results["user agent"]
