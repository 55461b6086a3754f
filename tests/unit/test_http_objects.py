"""Requests, responses and headers as users build them: what is sent, and what is refused before it is sent."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from picows.http import (
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    add_extra_headers,
    drop_credentials,
    parse_response,
)


def test_request_object():
    request = WSUpgradeRequest()
    assert (request.method, request.path, request.version, len(request.headers)) == (b"GET", b"/", b"HTTP/1.1", 0)
    headers = CIMultiDict([("a", "b")])
    request = WSUpgradeRequest(method=b"POST", path=b"/x", version=b"HTTP/1.0", headers=headers)
    assert request.headers is headers
    assert repr(request) == "WSUpgradeRequest(method=b'POST', path=b'/x', headers=[('a', 'b')])"
    with pytest.raises(AttributeError):
        request.other = 1


SECRETS = [("AUTHORIZATION", "Basic sesame"), ("Cookie", "sesame"), ("Proxy-Authorization", "sesame"), ("X-Y", "shown")]


def test_W9_repr_hides_credentials():
    request = WSUpgradeRequest(headers=CIMultiDict(SECRETS))
    response = WSUpgradeResponse.create_ok_response(b"12345", [*SECRETS, ("Set-Cookie", "sesame")])
    for shown in (repr(request), repr(response)):
        assert "sesame" not in shown
        assert "'AUTHORIZATION', '***'" in shown
        assert "'X-Y', 'shown'" in shown
    assert repr(response).startswith("WSUpgradeResponse(status=200, ")
    assert "body=<5 bytes>" in repr(response)
    assert "body=None" in repr(WSUpgradeResponse.create_101_response())


def test_W9_credentials_do_not_follow_to_another_origin():
    assert drop_credentials(CIMultiDict([("HOST", "first.test"), *SECRETS])) == [("X-Y", "shown")]
    assert drop_credentials(None) == []


def test_response_constructor_leaves_attributes_unset():
    response = WSUpgradeResponse()
    for name in ("version", "status", "headers", "body"):
        assert not hasattr(response, name)
    assert repr(response) == "<empty WSUpgradeResponse>"
    response.version, response.status, response.headers, response.body = b"HTTP/1.1", 404, CIMultiDict(A="b"), b"x"
    assert response.to_bytes() == (
        b"HTTP/1.1 404 Not Found\r\nA: b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 1\r\n\r\nx"
    )
    assert list(response.headers.items()) == [("A", "b")]


def test_response_constructors():
    ok = WSUpgradeResponse.create_ok_response()
    assert (ok.status, ok.body, ok.version) == (HTTPStatus.OK, None, b"HTTP/1.1")
    assert ok.to_bytes() == b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    html = WSUpgradeResponse.create_ok_response(bytearray(b"<p>"), {"content-type": "text/html"})
    assert html.to_bytes() == b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nContent-Length: 3\r\n\r\n<p>"
    error = WSUpgradeResponse.create_error_response(403, None, {"A": "\xfc"})
    assert (error.status, error.body) == (HTTPStatus.FORBIDDEN, None)
    assert error.to_bytes() == b"HTTP/1.1 403 Forbidden\r\nA: \xc3\xbc\r\n\r\n"
    redirect = WSUpgradeResponse.create_redirect_response(HTTPStatus.FOUND, "/b", {"Location": "/a"})
    assert redirect.to_bytes() == b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n"
    switching = WSUpgradeResponse.create_101_response([("A", "b"), ("A", "c")])
    assert switching.status is HTTPStatus.SWITCHING_PROTOCOLS
    assert list(switching.headers.items()) == [
        ("A", "b"),
        ("A", "c"),
        ("Connection", "upgrade"),
        ("Upgrade", "websocket"),
    ]


def test_unknown_status_is_sent_without_a_reason():
    response = parse_response(b"HTTP/1.1 599 x\r\n\r\n")
    assert response.to_bytes() == b"HTTP/1.1 599 \r\n\r\n"


WRONG_RESPONSES = {
    "error 200": lambda: WSUpgradeResponse.create_error_response(200),
    "error 399": lambda: WSUpgradeResponse.create_error_response(399),
    "error unknown": lambda: WSUpgradeResponse.create_error_response(499),
    "redirect 299": lambda: WSUpgradeResponse.create_redirect_response(299, "/"),
    "redirect 400": lambda: WSUpgradeResponse.create_redirect_response(400, "/"),
    "redirect unknown": lambda: WSUpgradeResponse.create_redirect_response(399, "/"),
    "W8 location": lambda: WSUpgradeResponse.create_redirect_response(302, "/\r\nA: b"),
    "101 without listener": lambda: WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(), None),
    "404 with listener": lambda: WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(404), object()),
}


@pytest.mark.parametrize("call", WRONG_RESPONSES.values(), ids=WRONG_RESPONSES.keys())
def test_wrong_responses(call):
    with pytest.raises(ValueError):
        call()


@pytest.mark.parametrize("body", ["text", 5, ["x"]])
def test_W6_body_must_be_bytes(body):
    with pytest.raises(TypeError, match="body must be bytes or None"):
        WSUpgradeResponse.create_ok_response(body)


def test_response_with_listener():
    listener = object()
    accepted = WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(), listener)
    assert accepted.listener is listener
    assert accepted.response.status == 101
    assert WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(404), None).listener is None
    assert WSUpgradeResponseWithListener(WSUpgradeResponse.create_ok_response(), listener).listener is listener
    with pytest.raises(TypeError):
        WSUpgradeResponseWithListener(b"HTTP/1.1 101", listener)


GOOD_EXTRA = {
    "None": (None, []),
    "dict": ({"A": "b"}, [("A", "b")]),
    "pairs": ([("A", "b"), ["A", "c"]], [("A", "b"), ("A", "c")]),
    "generator": ((pair for pair in [("A", "b")]), [("A", "b")]),
    "multidict with repeats": (CIMultiDict([("A", "b"), ("a", "c")]), [("A", "b"), ("a", "c")]),
    "proxy with repeats": (CIMultiDictProxy(CIMultiDict([("A", "b"), ("A", "c")])), [("A", "b"), ("A", "c")]),
    "allowed characters": (
        {"!#$%&'*+-.^_`|~09azAZ": "\t \xfc\U0001f600\udc80"},
        [("!#$%&'*+-.^_`|~09azAZ", "\t \xfc\U0001f600\udc80")],
    ),
    "empty value": ({"A": ""}, [("A", "")]),
}


@pytest.mark.parametrize(("extra", "expected"), GOOD_EXTRA.values(), ids=GOOD_EXTRA.keys())
def test_extra_headers(extra, expected):
    headers = CIMultiDict([("A", "z")])
    add_extra_headers(headers, extra)
    assert list(headers.items()) == [("A", "z"), *expected]


BAD_EXTRA = {
    "bytes value": ([("A", b"b")], TypeError),
    "bytes name": ([(b"A", "b")], TypeError),
    "int value": ({"A": 1}, TypeError),
    "None value": ({"A": None}, TypeError),
    "str": ("ab", TypeError),
    "bytes": (b"ab", TypeError),
    "int": (5, TypeError),
    "list of str": (["ab"], TypeError),
    "triples": ([("A", "b", "c")], TypeError),
    "empty name": ({"": "b"}, ValueError),
    "name with space": ({"A b": "c"}, ValueError),
    "name with colon": ({"A:": "c"}, ValueError),
    "name with newline": ({"A\n": "c"}, ValueError),
    "non-ASCII name": ({"\xc4": "c"}, ValueError),
    "lone surrogate": ({"A": "\ud800"}, ValueError),
}


@pytest.mark.parametrize(("extra", "error"), BAD_EXTRA.values(), ids=BAD_EXTRA.keys())
def test_W6_wrong_extra_headers_change_nothing(extra, error):
    headers = CIMultiDict()
    if isinstance(extra, list):
        extra = [("First", "x"), *extra]
    with pytest.raises(error):
        add_extra_headers(headers, extra)
    assert len(headers) == 0


@pytest.mark.parametrize("code", [*range(0x09), *range(0x0A, 0x20), 0x7F])
def test_W8_control_characters_in_headers(code):
    for extra in ({"A": f"b{chr(code)}sesame"}, {f"A{chr(code)}": "b"}, {"A": chr(code)}):
        with pytest.raises(ValueError) as caught:
            add_extra_headers(CIMultiDict(), extra)
        assert "sesame" not in str(caught.value)


def test_W8_what_users_put_into_the_objects_is_checked_when_sent():
    response = WSUpgradeResponse.create_ok_response()
    response.headers["A"] = "b\r\nC: d"
    with pytest.raises(ValueError):
        response.to_bytes()
    response = WSUpgradeResponse.create_ok_response()
    response.version = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
    with pytest.raises(ValueError, match="start line"):
        response.to_bytes()
    response = WSUpgradeResponse.create_ok_response()
    response.headers["A"] = 5
    with pytest.raises(TypeError):
        response.to_bytes()
