"""permessage-deflate: negotiation of both roles. The codec has its tests in tests/engine."""

from __future__ import annotations

import time
from typing import Any, Optional

import pytest
from fixtures.deflate_strategies import OPTIONS
from hypothesis import given
from hypothesis import strategies as st

from picows.deflate import (
    SERVER_DEFLATE,
    DeflateOptions,
    DeflateParameters,
    accept_response,
    negotiate,
    offer,
)
from picows.errors import WSInvalidHeaderError
from picows.extensions import build_extension, parse_extensions

TAIL = b"\x00\x00\xff\xff"
NAME = "permessage-deflate"


# -- The header -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("foo", [("foo", [])], id="name"),
        pytest.param("a, b", [("a", []), ("b", [])], id="two"),
        pytest.param("a;x=1; y , b", [("a", [("x", "1"), ("y", None)]), ("b", [])], id="parameters"),
        pytest.param(' a \t;\tx = "1" ', [("a", [("x", "1")])], id="white space"),
        pytest.param(r'a; x="\1\2"', [("a", [("x", "12")])], id="escapes"),
        pytest.param('a; x=""', [("a", [("x", "")])], id="empty quoted value"),
        pytest.param(", ,a,,b ,", [("a", []), ("b", [])], id="empty elements"),
        pytest.param("a; x=1; x=2", [("a", [("x", "1"), ("x", "2")])], id="repeated parameter"),
    ],
)
def test_parse_extensions(value: str, expected: Any) -> None:
    assert parse_extensions(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "", " ", ",", " , ,", "a b", "a;", "a; =1", "a; x=", "a; x= ", 'a; x="1', 'a; x="1"2', 'a; x="1 2"', 'a; x="\\',
        "a x=1", "é", "a; x=é", "a\n", "a; x=1\r\n", "=", ";", 'a; "x"', "a/b", "a; x==1",
    ],
)  # fmt: skip
def test_parse_extensions_refuses(value: str) -> None:
    with pytest.raises(WSInvalidHeaderError) as caught:
        parse_extensions(value)
    assert caught.value.name == "Sec-WebSocket-Extensions"
    assert caught.value.value == value


@pytest.mark.parametrize(
    "value",
    [
        "a" + " " * 50_000 + "b",
        'a; b="' + "\\c" * 25_000,
        "a; b=" + " " * 50_000 + ";",
        "a" + ";" + " " * 50_000,
        "a; " + "b" * 50_000 + "=" + "\t" * 50_000,
        "," * 50_000,
    ],
    ids=["spaces", "escapes", "spaces after =", "spaces after ;", "tabs", "commas"],
)
def test_H9_header_is_parsed_in_linear_time(value: str) -> None:
    started = time.process_time()
    with pytest.raises(WSInvalidHeaderError) as caught:
        parse_extensions(value)
    assert time.process_time() - started < 0.5
    assert len(str(caught.value)) < 200


def test_build_extension() -> None:
    assert build_extension("a") == "a"
    assert build_extension("a", [("x", None), ("y", "1")]) == "a; x; y=1"


@pytest.mark.parametrize(
    ("name", "parameters"), [("", []), ("a b", []), ("a", [("x", "")]), ("a", [("x\r\n", None)]), ("a", [("x", "1\n")])]
)
def test_H12_build_extension_refuses_what_is_not_a_token(name: str, parameters: Any) -> None:
    with pytest.raises(ValueError, match="not a token"):
        build_extension(name, parameters)


@given(
    st.lists(
        st.tuples(
            st.text("abc-!9", min_size=1),
            st.lists(st.tuples(st.text("xyz", min_size=1), st.none() | st.text("0129._", min_size=1))),
        ),
        min_size=1,
    )
)
def test_what_is_built_is_parsed(extensions: Any) -> None:
    assert parse_extensions(", ".join(build_extension(*extension) for extension in extensions)) == extensions


# -- Options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kwargs"),
    [
        (TypeError, {"server_no_context_takeover": 1}),
        (TypeError, {"client_no_context_takeover": None}),
        (TypeError, {"require_client_max_window_bits": "yes"}),
        (ValueError, {"server_max_window_bits": 8}),
        (ValueError, {"server_max_window_bits": 16}),
        (TypeError, {"server_max_window_bits": True}),
        (TypeError, {"server_max_window_bits": "12"}),
        (ValueError, {"client_max_window_bits": 8}),
        (TypeError, {"client_max_window_bits": False}),
        (ValueError, {"level": 10}),
        (ValueError, {"level": -2}),
        (TypeError, {"level": 1.0}),
        (ValueError, {"mem_level": 0}),
        (ValueError, {"mem_level": 10}),
        (ValueError, {"threshold": -1}),
        (ValueError, {"require_client_max_window_bits": True}),
        (ValueError, {"require_client_max_window_bits": True, "client_max_window_bits": None}),
    ],
    ids=str,
)
def test_options_are_validated(error: type[Exception], kwargs: Any) -> None:
    with pytest.raises(error, match=next(iter(kwargs))):
        DeflateOptions(**kwargs)


# -- Negotiation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({}, f"{NAME}; client_max_window_bits"),
        ({"client_max_window_bits": None}, NAME),
        ({"client_max_window_bits": 10, "server_max_window_bits": 11},
         f"{NAME}; server_max_window_bits=11; client_max_window_bits=10"),
        ({"client_max_window_bits": None, "server_no_context_takeover": True, "client_no_context_takeover": True},
         f"{NAME}; server_no_context_takeover; client_no_context_takeover"),
    ],
    ids=["default", "bare", "bits", "context"],
)  # fmt: skip
def test_offer(kwargs: Any, expected: str) -> None:
    assert offer(DeflateOptions(**kwargs)) == expected


@pytest.mark.parametrize(
    ("kwargs", "response", "expected"),
    [
        ({}, NAME, DeflateParameters()),
        ({}, f"{NAME}; client_max_window_bits=10", DeflateParameters(client_max_window_bits=10)),
        ({}, f'{NAME}; server_max_window_bits="9"', DeflateParameters(server_max_window_bits=9)),
        ({}, f"{NAME}; server_no_context_takeover; client_no_context_takeover",
         DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)),
        ({"client_max_window_bits": 10}, NAME, DeflateParameters(client_max_window_bits=10)),
        ({"client_max_window_bits": 10}, f"{NAME}; client_max_window_bits=9",
         DeflateParameters(client_max_window_bits=9)),
        ({"client_no_context_takeover": True}, NAME, DeflateParameters(client_no_context_takeover=True)),
        ({"server_max_window_bits": 12}, f"{NAME}; server_max_window_bits=11",
         DeflateParameters(server_max_window_bits=11)),
        ({"server_no_context_takeover": True}, f"{NAME}; server_no_context_takeover",
         DeflateParameters(server_no_context_takeover=True)),
        ({}, None, None),
    ],
)  # fmt: skip
def test_accept_response(kwargs: Any, response: Optional[str], expected: Optional[DeflateParameters]) -> None:
    assert accept_response(DeflateOptions(**kwargs), response) == expected


BAD_BITS = ["7", "8", "16", "99", '""', "+9", "09", "x", "1_0", "9.0", "015", "-9", "0x9"]
BAD_PARAMETERS = [
    *[f"server_max_window_bits={bits}" for bits in BAD_BITS],
    *[f"client_max_window_bits={bits}" for bits in BAD_BITS],
    "server_max_window_bits",
    "server_max_window_bits=9; server_max_window_bits=9",
    "server_max_window_bits=٩",
    "server_no_context_takeover=1",
    "client_no_context_takeover; client_no_context_takeover",
    "constructor",
    "x" * 10_000,
    "Server_no_context_takeover",
]


@pytest.mark.parametrize(
    "response",
    [
        *[f"{NAME}; {parameters}" for parameters in BAD_PARAMETERS],
        f"{NAME}; server_max_window_bits=",
        f"{NAME}; client_max_window_bits",
        "",
        "x-unknown",
        f"{NAME}, x-unknown",
        f"{NAME}, {NAME}",
        "x-webkit-deflate-frame",
    ],
    ids=lambda text: text[:60],
)
def test_C6_client_refuses_an_invalid_response(response: str) -> None:
    with pytest.raises(WSInvalidHeaderError) as caught:
        accept_response(DeflateOptions(), response)
    assert caught.value.value == response
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("kwargs", "response"),
    [
        ({"server_no_context_takeover": True}, NAME),
        ({"server_max_window_bits": 12}, NAME),
        ({"server_max_window_bits": 12}, f"{NAME}; server_max_window_bits=13"),
        ({"client_max_window_bits": None}, f"{NAME}; client_max_window_bits=15"),
        ({"client_max_window_bits": 10}, f"{NAME}; client_max_window_bits=11"),
    ],
)
def test_C6_client_refuses_a_response_that_does_not_fit_the_offer(kwargs: Any, response: str) -> None:
    with pytest.raises(WSInvalidHeaderError, match=r"context_takeover|window_bits"):
        accept_response(DeflateOptions(**kwargs), response)


@pytest.mark.parametrize("parameters", [*BAD_PARAMETERS, "server_max_window_bits="], ids=lambda text: text[:60])
def test_C6_server_declines_an_invalid_offer(parameters: str) -> None:
    assert negotiate(SERVER_DEFLATE, [f"{NAME}; {parameters}"]) is None
    agreed = negotiate(SERVER_DEFLATE, [f"{NAME}; {parameters}", NAME])
    assert agreed == (f"{NAME}; server_max_window_bits=12", DeflateParameters(server_max_window_bits=12))


@pytest.mark.parametrize(
    ("kwargs", "offers", "response", "expected"),
    [
        ({}, [NAME], NAME, DeflateParameters()),
        ({}, [f"{NAME}; client_max_window_bits"], NAME, DeflateParameters()),
        ({}, [f"{NAME}; client_max_window_bits=11"], f"{NAME}; client_max_window_bits=11",
         DeflateParameters(client_max_window_bits=11)),
        ({"client_max_window_bits": 12}, [f"{NAME}; client_max_window_bits=11"], f"{NAME}; client_max_window_bits=11",
         DeflateParameters(client_max_window_bits=11)),
        ({"client_max_window_bits": 10}, [f"{NAME}; client_max_window_bits"], f"{NAME}; client_max_window_bits=10",
         DeflateParameters(client_max_window_bits=10)),
        ({"client_max_window_bits": 10}, [NAME], NAME, DeflateParameters()),
        ({"server_max_window_bits": 12}, [f"{NAME}; server_max_window_bits=14"], f"{NAME}; server_max_window_bits=12",
         DeflateParameters(server_max_window_bits=12)),
        ({"server_max_window_bits": 12}, [f"{NAME}; server_max_window_bits=10"], f"{NAME}; server_max_window_bits=10",
         DeflateParameters(server_max_window_bits=10)),
        ({}, [f"{NAME}; server_no_context_takeover; client_no_context_takeover"],
         f"{NAME}; server_no_context_takeover; client_no_context_takeover",
         DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)),
        ({"server_no_context_takeover": True, "client_no_context_takeover": True}, [NAME],
         f"{NAME}; server_no_context_takeover; client_no_context_takeover",
         DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)),
        ({}, ["x-other; a=b", f"x, {NAME}; server_max_window_bits=99, {NAME}; server_max_window_bits=9, {NAME}"],
         f"{NAME}; server_max_window_bits=9", DeflateParameters(server_max_window_bits=9)),
    ],
)  # fmt: skip
def test_negotiate(kwargs: Any, offers: list[str], response: str, expected: DeflateParameters) -> None:
    options = DeflateOptions(**kwargs)
    assert negotiate(options, offers) == (response, expected)


@pytest.mark.parametrize("offers", [[], ["x-other"], ["a b"], [""]], ids=["none", "other", "malformed", "empty"])
def test_server_finds_nothing_to_accept(offers: list[str]) -> None:
    assert negotiate(SERVER_DEFLATE, offers) is None


def test_server_can_require_a_limited_client_window() -> None:
    options = DeflateOptions(client_max_window_bits=9, require_client_max_window_bits=True)
    assert negotiate(options, [NAME]) is None
    agreed = negotiate(options, [f"{NAME}, {NAME}; client_max_window_bits=15"])
    assert agreed == (f"{NAME}; client_max_window_bits=9", DeflateParameters(client_max_window_bits=9))


@given(client=OPTIONS, server=OPTIONS)
def test_both_roles_agree_on_every_combination_of_options(client: DeflateOptions, server: DeflateOptions) -> None:
    agreed = negotiate(server, [offer(client)])
    assert agreed is not None
    response, parameters = agreed
    at_client = accept_response(client, response)
    assert at_client == parameters
    for bits, limits in (
        (parameters.server_max_window_bits, (client.server_max_window_bits, server.server_max_window_bits)),
        (parameters.client_max_window_bits, (client.client_max_window_bits,)),
    ):
        assert all(limit is None or limit is True or bits <= limit for limit in limits)
