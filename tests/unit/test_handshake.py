"""The opening handshake: the server's half, and both halves together. Fed whole, byte by byte and at every split."""

from __future__ import annotations

import base64
import contextlib
import gc
import sys
import time
import weakref
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from picows.errors import (
    WSHandshakeEOFError,
    WSHandshakeError,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
)
from picows.handshake import (
    GUID,
    ClientHandshake,
    ServerHandshake,
    accept_key,
    basic_auth,
    check_upgrade_request,
    refusal,
)
from picows.http import WSUpgradeRequest, WSUpgradeResponse, parse_response
from picows.url import parse_url

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE = [
    ("Host", "example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
]


def request_head(changes=None, extra=(), start="GET /chat HTTP/1.1"):
    """A valid request; `changes` maps a name to another value or to None, which removes it."""
    changes = changes or {}
    fields = [(name, changes.get(name, value)) for name, value in UPGRADE]
    lines = [start, *(f"{name}: {value}" for name, value in [*fields, *extra] if value is not None), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def client(extra=None, url="ws://example.com/chat"):
    handshake = ClientHandshake(parse_url(url), extra)
    return handshake, accept_key(handshake.request.headers["Sec-WebSocket-Key"])


def served(data):
    handshake = ServerHandshake()
    assert handshake.receive_data(data) is True
    return handshake


#: The two ways to accept without fields of one's own.
ACCEPTING = {
    "respond": lambda handshake: handshake.respond(WSUpgradeResponse.create_101_response()),
    "accept": ServerHandshake.accept,
}


@pytest.fixture(params=ACCEPTING.values(), ids=ACCEPTING.keys())
def accept(request):
    return request.param


def pieces(data):
    return [data[i : i + 1] for i in range(len(data))]


# The key


def test_the_example_of_rfc_6455():
    assert accept_key(KEY) == accept_key(KEY.encode()) == ACCEPT
    assert GUID == b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def test_basic_auth():
    assert basic_auth("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert basic_auth("", "a:b") == "Basic " + base64.b64encode(b":a:b").decode()
    assert basic_auth("\xfc", "") == "Basic " + base64.b64encode("\xfc:".encode()).decode()
    with pytest.raises(ValueError, match="colon"):
        basic_auth("a:b", "c")


# The server and a good request


@pytest.mark.parametrize("cut", range(0, len(request_head()) + 1, 1))
def test_every_split_of_a_request(cut, accept):
    data = request_head() + b"\x81\x80abcd"
    handshake = ServerHandshake()
    first = handshake.receive_data(data[:cut])
    assert first is (cut == len(request_head()))
    assert (handshake.request is None) is not first
    assert handshake.receive_data(data[cut:]) is True
    assert handshake.remainder == b"\x81\x80abcd"
    assert handshake.request.path == b"/chat"
    assert list(handshake.request.headers.items()) == UPGRADE
    sent, accepted = accept(handshake)
    assert accepted is True
    assert sent == (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n\r\n"
    )
    assert handshake.error is None
    response = handshake.response
    assert (response.version, response.status, response.body) == (b"HTTP/1.1", 101, None)
    assert response.status is HTTPStatus.SWITCHING_PROTOCOLS
    assert list(response.headers.items()) == [
        ("Connection", "upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Accept", ACCEPT),
    ]
    assert response.to_bytes() == sent


def test_J4_frames_that_arrive_before_the_answer_are_kept():
    handshake = served(request_head() + b"a")
    assert handshake.receive_data(b"b") is True
    handshake.respond(WSUpgradeResponse.create_101_response())
    assert handshake.receive_data(b"c") is True
    assert handshake.remainder == b"abc"


@given(st.data())
def test_any_cut_of_both_heads_gives_the_same_result(data):
    handshake, _ = client({"A": "b"})
    server = ServerHandshake()
    for receiver, stream in ((server, handshake.data_to_send()), (handshake, None)):
        if stream is None:
            stream, accepted = server.respond(WSUpgradeResponse.create_101_response())
            assert accepted
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream) - 1), max_size=6)))
        for start, end in zip([0, *cuts], cuts):
            assert receiver.receive_data(stream[start:end]) is False
        assert receiver.receive_data(stream[cuts[-1] if cuts else 0 :] + b"rest") is True
        assert receiver.remainder == b"rest"
    assert server.request.headers == handshake.request.headers
    assert handshake.response.headers == server.response.headers


GOOD_REQUESTS = {
    "W7 Firefox": ({"Connection": "keep-alive, Upgrade"}, ()),
    "W7 repeated": ({"Connection": "keep-alive"}, [("connection", "Upgrade")]),
    "W7 case": ({"Connection": "uPGRADE", "Upgrade": "WebSocket"}, ()),
    "W7 blanks": ({"Connection": "\t,, a ,\tupgrade ,"}, ()),
    "upgrade list": ({"Upgrade": "h2c, websocket"}, ()),
    "J1 content length 0": ({}, [("Content-Length", "0")]),
    "host with port": ({"Host": "example.com:8080"}, ()),
    "host with empty port": ({"Host": "example.com:"}, ()),
    "host is IPv6": ({"Host": "[::1]:80"}, ()),
    "host of 255": ({"Host": "a" * 255}, ()),
    "H9 odd subprotocols": ({}, [("Sec-WebSocket-Protocol", "a" + " " * 7000 + "b")]),
    "H9 odd extensions": ({}, [("Sec-WebSocket-Extensions", 'a; b="' + "\\c" * 3500)]),
    "H10 repeated headers": ({}, [("Connection", "a,b" * 10)] * 100),
}


@pytest.mark.parametrize(("changes", "extra"), GOOD_REQUESTS.values(), ids=GOOD_REQUESTS.keys())
def test_upgrade_accepted(changes, extra, accept):
    handshake = served(request_head(changes, extra))
    start = time.process_time()
    sent, accepted = accept(handshake)
    assert accepted is True
    assert sent.startswith(b"HTTP/1.1 101 ")
    assert time.process_time() - start < 0.5


def test_headers_of_the_application():
    response = WSUpgradeResponse.create_101_response([("Set-Cookie", "a"), ("Set-Cookie", "b"), ("X-A", "\xfc")])
    response.headers["Content-Length"] = "0"
    response.headers["Sec-WebSocket-Accept"] = "wrong"
    before = list(response.headers.items())
    sent, accepted = served(request_head()).respond(response)
    assert accepted
    assert (
        sent
        == (
            "HTTP/1.1 101 Switching Protocols\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX-A: \xfc\r\n"
            f"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
        ).encode()
    )
    assert list(response.headers.items()) == before


@pytest.mark.parametrize(
    "response",
    [
        WSUpgradeResponse.create_101_response({"A": "b"}),
        WSUpgradeResponse.create_error_response(404, b"no", {"A": "b"}),
    ],
    ids=["101", "404"],
)
def test_one_response_for_many_connections(response):
    before = (list(response.headers.items()), response.body)
    handshakes = [served(request_head()) for _ in range(2)]
    assert handshakes[0].respond(response) == handshakes[1].respond(response)
    assert (list(response.headers.items()), response.body) == before
    assert handshakes[0].response is not response


# The server and a request that it does not show to the application


REFUSED_EARLY = {
    "H7 POST": (request_head(start="POST / HTTP/1.1"), 405),
    "H7 HTTP/1.0": (request_head(start="GET / HTTP/1.0"), 505),
    "H7 HTTP/2.0": (request_head(start="GET / HTTP/2.0"), 505),
    "H1 long request line": (b"GET /" + b"a" * 9000, 414),
    "H1 long header": (request_head({}, [("A", "a" * 9000)]), 431),
    "H4 129 headers": (request_head({}, [("A", "a")] * 124), 431),
    "H8 bare LF": (request_head().replace(b"\r\n", b"\n"), 400),
    "H13 HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "no Host": (request_head({"Host": None}), 400),
    "two Hosts": (request_head({}, [("host", "example.com")]), 400),
    "H5 Host is empty": (request_head({"Host": ""}), 400),
    "H5 Host is a colon": (request_head({"Host": ":"}), 400),
    "H5 Host is an open bracket": (request_head({"Host": "[::1"}), 400),
    "H5 Host has a space": (request_head({"Host": "a b"}), 400),
    "H5 Host of 5,000": (request_head({"Host": "a" * 5000}), 400),
    "H5 Host has a slash": (request_head({"Host": "a/b"}), 400),
    "H5 Host has a user": (request_head({"Host": "a@b"}), 400),
    "H5 Host is not ASCII": (request_head({"Host": "\xfc"}), 400),
    "H5 port of letters": (request_head({"Host": "a:b"}), 400),
    "J1 content length 5": (request_head({}, [("Content-Length", "5")]) + b"hello", 400),
    "J1 content length +0": (request_head({}, [("Content-Length", "+0")]), 400),
    "J1 content length 0_0": (request_head({}, [("Content-Length", "0_0")]), 400),
    "J1 content length 0x0": (request_head({}, [("Content-Length", "0x0")]), 400),
    "J1 content length empty": (request_head({}, [("Content-Length", "")]), 400),
    "J1 content length 0, 0": (request_head({}, [("Content-Length", "0, 0")]), 400),
    "J1 content length in Arabic": (request_head({}, [("Content-Length", "\u0660")]), 400),
    "J1 content length with no-break spaces": (request_head({}, [("Content-Length", "\xa00\xa0")]), 400),
    "J1 two content lengths": (request_head({}, [("Content-Length", "0"), ("content-length", "5")]), 400),
    "J1 two content lengths 0": (request_head({}, [("Content-Length", "0"), ("content-length", "0")]), 400),
    "J1 chunked": (request_head({}, [("Transfer-Encoding", "chunked")]), 400),
    "J1 identity": (request_head({}, [("transfer-encoding", "")]), 400),
}


@pytest.mark.parametrize("feed_bytes", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(("data", "status"), REFUSED_EARLY.values(), ids=REFUSED_EARLY.keys())
def test_P8_refused_before_the_application(data, status, feed_bytes):
    handshake = ServerHandshake()
    with pytest.raises(WSHandshakeError) as caught:
        for piece in pieces(data) if feed_bytes else [data]:
            assert handshake.receive_data(piece) is False
    assert caught.value.status == status
    assert data.startswith(caught.value.raw_header)
    assert (handshake.request, handshake.remainder) == (None, b"")
    with pytest.raises(RuntimeError):
        handshake.respond(WSUpgradeResponse.create_101_response())
    sent, accepted = handshake.respond(refusal(caught.value))
    assert accepted is False
    check_refusal(sent, status)
    assert handshake.receive_data(request_head()) is False
    assert (handshake.request, handshake.remainder) == (None, b"")


def check_refusal(sent, status):
    head, _, body = sent.partition(b"\r\n\r\n")
    response = parse_response(head + b"\r\n\r\n")
    assert response.status == status
    assert response.headers.getall("Connection") == ["close"]
    assert response.headers.getall("Content-Length") == [str(len(body))]
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert body.decode("ascii").isprintable()
    assert 0 < len(body) <= 500
    assert response.headers.get("Allow") == ("GET" if status == 405 else None)
    assert response.headers.get("Upgrade") == ("websocket" if status == 426 else None)
    assert response.headers.get("Sec-WebSocket-Version") == ("13" if status == 426 else None)
    assert "Sec-WebSocket-Accept" not in response.headers
    return body


def test_J1_the_body_is_in_the_error_and_nowhere_else():
    handshake = ServerHandshake()
    head = request_head({}, [("Content-Length", "5")])
    with pytest.raises(WSInvalidHeaderError) as caught:
        handshake.receive_data(head + b"hello" + b"a" * 100_000)
    assert (caught.value.name, caught.value.value) == ("Content-Length", "5")
    assert caught.value.raw_header == head
    assert caught.value.raw_body == (b"hello" + b"a" * 100_000)[:65536]


# The server and an invalid upgrade that the application accepts


VERSION, NONCE = "Sec-WebSocket-Version", "Sec-WebSocket-Key"
REFUSED_UPGRADES = {
    "H7 no Upgrade": ({"Upgrade": None}, (), 426, "Upgrade"),
    "H7 other Upgrade": ({"Upgrade": "h2c"}, (), 426, "Upgrade"),
    "H7 longer Upgrade": ({"Upgrade": "websocket2"}, (), 426, "Upgrade"),
    "H7 no Connection": ({"Connection": None}, (), 426, "Connection"),
    "H7 other Connection": ({"Connection": "keep-alive"}, (), 426, "Connection"),
    "no version": ({VERSION: None}, (), 426, VERSION),
    "version 12": ({VERSION: "12"}, (), 426, VERSION),
    "version 8": ({VERSION: "8"}, (), 426, VERSION),
    "version 013": ({VERSION: "013"}, (), 426, VERSION),
    "two versions": ({}, [(VERSION, "13")], 426, VERSION),
    "H6 no key": ({NONCE: None}, (), 400, NONCE),
    "H6 empty key": ({NONCE: ""}, (), 400, NONCE),
    "H6 8 bytes": ({NONCE: base64.b64encode(b"a" * 8).decode()}, (), 400, NONCE),
    "H6 17 bytes": ({NONCE: base64.b64encode(b"a" * 17).decode()}, (), 400, NONCE),
    "H6 not base64": ({NONCE: "!" + KEY[1:]}, (), 400, NONCE),
    "H6 URL-safe": ({NONCE: "_" + KEY[1:]}, (), 400, NONCE),
    "H6 no padding": ({NONCE: KEY[:-2]}, (), 400, NONCE),
    "H6 blank inside": ({NONCE: KEY[:5] + " " + KEY[5:]}, (), 400, NONCE),
    "H6 5 KB": ({NONCE: "A" * 5000}, (), 400, NONCE),
    "H6 two keys": ({}, [("sec-websocket-key", KEY)], 400, NONCE),
    "not ASCII": ({NONCE: "\udcff<script>"}, (), 400, NONCE),
    "many": ({}, [("sec-websocket-key", KEY)] * 100, 400, NONCE),
}


@pytest.mark.parametrize(("changes", "extra", "status", "name"), REFUSED_UPGRADES.values(), ids=REFUSED_UPGRADES.keys())
def test_P8_invalid_upgrades(changes, extra, status, name):
    head = request_head(changes, extra)
    handshake = served(head + b"frames")
    sent, accepted = handshake.respond(WSUpgradeResponse.create_101_response({"Set-Cookie": "secret"}))
    assert accepted is False
    body = check_refusal(sent, status)
    assert b"secret" not in sent
    assert name.encode() in body
    assert isinstance(handshake.error, WSInvalidUpgradeError) is (name in ("Upgrade", "Connection"))
    assert (handshake.error.status, handshake.error.name, handshake.error.raw_header) == (status, name, head)
    assert handshake.error.__traceback__ is None
    assert handshake.response.status == status
    assert handshake.receive_data(b"more") is False


@pytest.mark.parametrize(("changes", "extra", "status", "name"), REFUSED_UPGRADES.values(), ids=REFUSED_UPGRADES.keys())
def test_P8_invalid_upgrades_cannot_be_accepted(changes, extra, status, name):
    handshake, other = (served(request_head(changes, extra)) for _ in range(2))
    assert handshake.accept() == other.respond(WSUpgradeResponse.create_101_response())
    assert (handshake.error.status, handshake.error.name) == (status, name)


def test_check_upgrade_request_alone():
    assert check_upgrade_request(WSUpgradeRequest(headers=CIMultiDict(UPGRADE))) == ACCEPT
    with pytest.raises(WSInvalidUpgradeError):
        check_upgrade_request(WSUpgradeRequest())


# Answers of the application that are not 101


ANSWERS = {
    "404": (
        WSUpgradeResponse.create_error_response(404, b"none"),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\nnone",
    ),
    "no body": (
        WSUpgradeResponse.create_error_response(404),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ),
    "200 to a plain GET": (
        WSUpgradeResponse.create_ok_response(b"{}", {"Content-Type": "application/json"}),
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    ),
    "J2 Connection is ours": (
        WSUpgradeResponse.create_error_response(
            426,
            b"",
            {"connection": "keep-alive", "Content-Length": "9", "Transfer-Encoding": "chunked", "Upgrade": "x"},
        ),
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: x\r\nContent-Length: 0\r\nConnection: close\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n",
    ),
    "redirect": (
        WSUpgradeResponse.create_redirect_response(307, "/b"),
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ),
    "304 has no body": (
        WSUpgradeResponse.create_redirect_response(304, "/b"),
        b"HTTP/1.1 304 Not Modified\r\nLocation: /b\r\nConnection: close\r\n\r\n",
    ),
}


@pytest.mark.parametrize(("response", "expected"), ANSWERS.values(), ids=ANSWERS.keys())
def test_J2_other_answers_close_the_connection(response, expected):
    handshake = served(request_head({"Upgrade": None, "Connection": None}))
    assert handshake.respond(response) == (expected, False)
    assert handshake.error is None
    assert handshake.receive_data(b"GET / HTTP/1.1\r\n\r\n") is False
    assert handshake.remainder == b""


def test_204_has_no_body_and_no_length():
    response = WSUpgradeResponse.create_ok_response(b"body")
    response.status = 204
    response.headers.clear()
    assert served(request_head()).respond(response) == (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", False)


def test_W6_responses_that_cannot_be_sent():
    handshake = served(request_head())
    interim = WSUpgradeResponse.create_ok_response()
    interim.status = 100
    with_body = WSUpgradeResponse.create_101_response()
    with_body.body = b"frames?"
    injected = WSUpgradeResponse.create_101_response()
    injected.headers["A"] = "b\r\nC: d"
    for wrong, error in (
        (b"HTTP/1.1 200", TypeError),
        (interim, ValueError),
        (with_body, ValueError),
        (injected, ValueError),
    ):
        with pytest.raises(error):
            handshake.respond(wrong)
        assert handshake.response is None
    assert handshake.respond(WSUpgradeResponse.create_error_response(500))[1] is False
    with pytest.raises(RuntimeError, match="before"):
        handshake.respond(WSUpgradeResponse.create_error_response(500))
    with pytest.raises(RuntimeError, match="before"):
        handshake.accept()


def test_no_answer_without_a_request(accept):
    with pytest.raises(RuntimeError, match="no request"):
        accept(ServerHandshake())


def test_accepted_once(accept):
    handshake = served(request_head())
    accept(handshake)
    with pytest.raises(RuntimeError, match="before"):
        accept(handshake)


# Refusals as such


def test_refusal_does_not_send_the_bytes_of_the_peer_back():
    error = WSInvalidMessageError("<b>\r\nSet-Cookie: a\x1b[0m\xfc" + "x" * 1000)
    response = refusal(error)
    assert response.status == 400
    assert len(response.body) == 500
    assert response.body.startswith(b"'<b>\\r\\nSet-Cookie: a\\x1b[0m\\xfc")
    handshake = served(request_head({"Sec-WebSocket-Key": "\udcff\udc80" * 50}))
    body = handshake.respond(WSUpgradeResponse.create_101_response())[0].partition(b"\r\n\r\n")[2]
    assert b"\\udcff" in body
    assert body.isascii()


@pytest.mark.parametrize(("status", "sent"), [(503, 503), (200, 400), (999, 400), (101, 400)])
def test_refusal_with_an_odd_status(status, sent):
    error = WSHandshakeError("x")
    error.status = status
    assert refusal(error).status == sent


# The end of the connection, seen by the server


@pytest.mark.parametrize("data", [b"", b"G", request_head()[:-1]])
def test_W4_eof_before_the_request_is_complete(data):
    handshake = ServerHandshake()
    assert handshake.receive_data(data) is False
    with pytest.raises(WSHandshakeEOFError, match=f"after {len(data)} bytes") as caught:
        handshake.receive_eof()
    assert caught.value.raw_header == data
    assert handshake.receive_data(b"more") is False


def test_W4_eof_while_the_application_thinks():
    handshake = served(request_head())
    with pytest.raises(WSHandshakeEOFError, match="before its request was answered") as caught:
        handshake.receive_eof()
    assert caught.value.raw_header == request_head()


# Memory


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="only CPython frees objects at once")
def test_N4_a_failed_handshake_is_freed_at_once():
    class Server(ServerHandshake):
        pass

    class Client(ClientHandshake):
        pass

    gc.disable()
    try:
        server = Server()
        server.receive_data(request_head({"Upgrade": None}))
        server.respond(WSUpgradeResponse.create_101_response())
        failing = Client(parse_url("ws://h"))
        with contextlib.suppress(WSInvalidStatusError):
            failing.receive_data(b"HTTP/1.1 204 x\r\n\r\n")
        alive = [weakref.ref(server), weakref.ref(failing)]
        del server, failing
        assert [ref() for ref in alive] == [None, None]
    finally:
        gc.enable()
