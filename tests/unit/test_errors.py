"""The tree of errors: as its docstring draws it, with the data that handlers need, and able to cross processes."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any, Dict, List, Tuple

import pytest

from picows import errors
from picows.enums import WSCloseCode
from picows.errors import (
    WSConnectionClosed,
    WSError,
    WSHandshakeEOFError,
    WSHandshakeError,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
    WSInvalidURL,
    WSMessageTooBigError,
    WSProtocolError,
)
from picows.http import WSUpgradeResponse


def drawn_tree() -> Dict[str, Tuple[str, ...]]:
    """Class -> bases, as the docstring draws them."""
    tree: Dict[str, Tuple[str, ...]] = {}
    parents: List[Tuple[int, str]] = [(-1, "Exception")]
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"([ |]*)\+- (\w+)(?: \(and (\w+)\))?", line)
        if found is None:
            continue
        depth, name, other = len(found[1]), found[2], found[3]
        while parents[-1][0] >= depth:
            parents.pop()
        tree[name] = (parents[-1][1],) if other is None else (parents[-1][1], other)
        parents.append((depth, name))
    return tree


def test_the_docstring_draws_the_tree() -> None:
    real = {
        name: tuple(base.__name__ for base in value.__bases__)
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert drawn_tree() == real
    assert len(real) == 11


def response() -> WSUpgradeResponse:
    return WSUpgradeResponse.create_error_response(403, b"no")


EXAMPLES: List[Tuple[Any, str, Dict[str, Any]]] = [
    (WSError("text"), "text", {}),
    *(
        (
            error("text", b"head", b"body"),
            "text",
            {"raw_header": b"head", "raw_body": b"body", "response": None, "status": 400},
        )
        for error in (WSHandshakeError, WSHandshakeEOFError, WSInvalidMessageError, WSInvalidStatusError)
    ),
    *(
        (
            error("text", "Upgrade", "h2c", b"head"),
            "text",
            {"name": "Upgrade", "value": "h2c", "raw_header": b"head", "raw_body": None},
        )
        for error in (WSInvalidHeaderError, WSInvalidUpgradeError)
    ),
    (WSProtocolError(1002, "text"), "text", {"code": 1002, "args": (1002, "text")}),
    (
        WSProtocolError(WSCloseCode.INVALID_TEXT, "text"),
        "text",
        {"code": WSCloseCode.INVALID_TEXT, "args": (WSCloseCode.INVALID_TEXT, "text")},
    ),
    (WSMessageTooBigError("text", 11, 10), "text", {"code": 1009, "args": (1009, "text"), "size": 11, "limit": 10}),
    (
        WSConnectionClosed(WSCloseCode.OK, "bye"),
        "connection closed, code 1000: bye",
        {"code": WSCloseCode.OK, "reason": "bye"},
    ),
    (WSConnectionClosed(3000, ""), "connection closed, code 3000", {"code": 3000, "reason": ""}),
    (
        WSInvalidURL("http://x", "no scheme"),
        "http://x is not a valid URL: no scheme",
        {"url": "http://x", "msg": "no scheme"},
    ),
]
EVERY = pytest.mark.parametrize(
    ("error", "text", "attributes"), EXAMPLES, ids=[type(example[0]).__name__ for example in EXAMPLES]
)


@EVERY
def test_text_and_attributes(error: Any, text: str, attributes: Dict[str, Any]) -> None:
    assert str(error) == text
    assert {name: getattr(error, name) for name in attributes} == attributes
    assert isinstance(error, WSError)


@EVERY
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_can_be_pickled(error: Any, text: str, attributes: Dict[str, Any], protocol: int) -> None:
    twin = pickle.loads(pickle.dumps(error, protocol))
    assert type(twin) is type(error)
    assert twin.args == error.args
    assert str(twin) == text
    assert {name: getattr(twin, name) for name in attributes} == attributes


@EVERY
def test_errors_can_be_copied(error: Any, text: str, attributes: Dict[str, Any]) -> None:
    twin = copy.copy(error)
    assert (type(twin), str(twin), vars(twin)) == (type(error), text, vars(error))


def test_every_class_has_an_example() -> None:
    assert {type(example[0]).__name__ for example in EXAMPLES} == set(drawn_tree())


def test_the_response_is_attached() -> None:
    refused = response()
    for error in (
        WSInvalidStatusError("text", b"head", b"body", refused),
        WSInvalidHeaderError("text", "Upgrade", None, b"head", b"body", refused),
    ):
        twin = pickle.loads(pickle.dumps(error))
        assert error.response is refused
        assert (twin.response.status, twin.response.body) == (403, b"no")
        assert (twin.raw_header, twin.raw_body) == (b"head", b"body")


def test_a_handshake_error_needs_its_text_only() -> None:
    error = WSHandshakeError("text")
    assert (error.raw_header, error.raw_body, error.response) == (None, None, None)
    missing = WSInvalidHeaderError("text", "Upgrade")
    assert (missing.name, missing.value) == ("Upgrade", None)


def test_an_invalid_url_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="is not a valid URL"):
        raise WSInvalidURL("x", "y")
