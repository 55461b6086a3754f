"""The client's half of the opening handshake: its request, a 101, and every way to be refused."""

from __future__ import annotations

import base64

import pytest

from picows.errors import (
    WSHandshakeEOFError,
    WSHandshakeError,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
)
from picows.handshake import (
    MAX_INTERIM_RESPONSES,
    ClientHandshake,
    accept_key,
    basic_auth,
)
from picows.http import MAX_REFUSAL_BODY, parse_request, parse_response
from picows.url import WSParsedURL, parse_url

ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def client(extra=None, url="ws://example.com/chat"):
    handshake = ClientHandshake(parse_url(url), extra)
    return handshake, accept_key(handshake.request.headers["Sec-WebSocket-Key"])


def response_head(accept, changes=None, extra=(), start="HTTP/1.1 101 Switching Protocols"):
    fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept, **(changes or {})}
    lines = [start, *(f"{n}: {v}" for n, v in [*fields.items(), *extra] if v is not None), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def pieces(data):
    return [data[i : i + 1] for i in range(len(data))]


# The client's request


def test_request_on_the_wire():
    handshake, _ = client([("X-A", "1"), ("x-a", "\xfc"), ("Sec-WebSocket-Protocol", "chat")], "ws://example.com/a b?c")
    key = handshake.request.headers["Sec-WebSocket-Key"]
    assert len(base64.b64decode(key, validate=True)) == 16
    assert (
        handshake.data_to_send()
        == (
            "GET /a%20b?c HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            "X-A: 1\r\nx-a: \xfc\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
        ).encode()
    )
    request = handshake.request
    assert (request.method, request.path, request.version) == (b"GET", b"/a%20b?c", b"HTTP/1.1")
    assert (handshake.response, handshake.remainder) == (None, b"")
    assert parse_request(handshake.data_to_send()).path == b"/a%20b?c"


def test_keys_differ():
    assert len({client()[1] for _ in range(100)}) == 100


HOSTS = {
    "default port": ("wss://example.com:443", None, ["example.com"]),
    "port": ("ws://example.com:81", None, ["example.com:81"]),
    "W9 credentials": ("ws://user:sesame@example.com", None, ["example.com"]),
    "W9 IDNA": ("ws://b\xfccher.example", None, ["xn--bcher-kva.example"]),
    "IPv6": ("ws://[fe80::1%25eth0]:81", None, ["[fe80::1]:81"]),
    "replaced": ("ws://example.com", {"host": "other:99"}, ["other:99"]),
}


@pytest.mark.parametrize(("url", "extra", "hosts"), HOSTS.values(), ids=HOSTS.keys())
def test_host(url, extra, hosts):
    handshake, _ = client(extra, url)
    assert handshake.request.headers.getall("Host") == hosts
    assert next(iter(handshake.request.headers)) == "Host"


AUTHORIZATIONS = {
    "none": ("ws://h", None, []),
    "from the URL": ("ws://user:a%3Ab@h", None, [basic_auth("user", "a:b")]),
    "user only": ("ws://user@h", None, [basic_auth("user", "")]),
    "header wins": ("ws://user:a@h", {"authorization": "Bearer b"}, ["Bearer b"]),
}


@pytest.mark.parametrize(("url", "extra", "values"), AUTHORIZATIONS.values(), ids=AUTHORIZATIONS.keys())
def test_W9_url_credentials_become_authorization(url, extra, values):
    handshake, _ = client(extra, url)
    assert handshake.request.headers.getall("Authorization", []) == values


WRONG_ARGUMENTS = {
    "url is a str": (lambda: ClientHandshake("ws://h"), TypeError),
    "bytes value": (lambda: client({"A": b"b"}), TypeError),
    "bytes name": (lambda: client([(b"A", "b")]), TypeError),
    "headers is a str": (lambda: client("A: b"), TypeError),
    "W8 CR LF in value": (lambda: client({"A": "b\r\nC: d"}), ValueError),
    "W8 NUL in value": (lambda: client({"A": "\0"}), ValueError),
    "W8 CR LF in Host": (lambda: client({"Host": "a\r\nB: c"}), ValueError),
    "W8 LF in name": (lambda: client({"A\nB": "c"}), ValueError),
    "two Hosts": (lambda: client([("Host", "a"), ("host", "b")]), ValueError),
    "colon in user name": (lambda: client(url="ws://a%3Ab:c@h"), ValueError),
    "malformed extensions": (lambda: client({"Sec-WebSocket-Extensions": "a b"}), ValueError),
    "W8 target": (
        lambda: ClientHandshake(WSParsedURL("ws://h", "ws", False, "h", "h", 80, "/ HTTP/1.1\r\nA: b", "")),
        ValueError,
    ),
    "space in target": (
        lambda: ClientHandshake(WSParsedURL("ws://h", "ws", False, "h", "h", 80, "/", "a b")),
        ValueError,
    ),
}


@pytest.mark.parametrize(("call", "error"), WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS.keys())
def test_W6_wrong_arguments(call, error):
    with pytest.raises(error):
        call()


# The client and a 101


def test_every_split_of_a_101():
    for cut in range(len(response_head(ACCEPT)) + 4):
        handshake, accept = client()
        data = response_head(accept) + b"\x81\x01a"
        done = handshake.receive_data(data[:cut])
        assert done is (cut >= len(data) - 3)
        assert (handshake.response is None) is not done
        assert handshake.receive_data(data[cut:]) is True
        assert handshake.remainder == b"\x81\x01a"
        assert handshake.response.status == 101


def test_frames_after_the_101_are_added_to_the_remainder():
    handshake, accept = client()
    assert [handshake.receive_data(piece) for piece in pieces(response_head(accept))[:-1]].count(True) == 0
    assert handshake.receive_data(b"\n") is True
    assert handshake.receive_data(b"ab") is True
    assert handshake.receive_data(b"c") is True
    assert handshake.remainder == b"abc"


ACCEPTED = {
    "minimal": ({}, (), None),
    "W7 token list": ({"Connection": "keep-alive, Upgrade"}, (), None),
    "W7 case": ({"Connection": "UPGRADE", "Upgrade": "WebSocket"}, (), None),
    "W7 repeated": ({"Connection": "keep-alive"}, [("connection", "upgrade")], None),
    "content length 0": ({"Content-Length": "0"}, (), None),
    "subprotocol": (
        {},
        [("Sec-WebSocket-Protocol", "b")],
        [("sec-websocket-protocol", "a, b"), ("Sec-WebSocket-Protocol", "c")],
    ),
    "offered, not chosen": ({}, (), {"Sec-WebSocket-Protocol": "a", "Sec-WebSocket-Extensions": "x"}),
    "extension": (
        {},
        [("Sec-WebSocket-Extensions", "x; a=1, y")],
        [("Sec-WebSocket-Extensions", 'y; b="c"'), ("Sec-WebSocket-Extensions", "x")],
    ),
    "empty extension header": ({}, [("Sec-WebSocket-Extensions", " , ")], None),
}


@pytest.mark.parametrize(("changes", "extra", "offer"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_101_accepted(changes, extra, offer):
    handshake, accept = client(offer)
    assert handshake.receive_data(response_head(accept, changes, extra)) is True


PROTOCOL = "Sec-WebSocket-Protocol"
EXTENSIONS = "Sec-WebSocket-Extensions"
REFUSED_101 = {
    "transfer encoding": ({"Transfer-Encoding": "chunked"}, (), None, WSInvalidHeaderError, "Transfer-Encoding"),
    "content length 5": ({"Content-Length": "5"}, (), None, WSInvalidHeaderError, "Content-Length"),
    "content length +0": ({"Content-Length": "+0"}, (), None, WSInvalidHeaderError, "Content-Length"),
    "no upgrade": ({"Upgrade": None}, (), None, WSInvalidUpgradeError, "Upgrade"),
    "other upgrade": ({"Upgrade": "h2c"}, (), None, WSInvalidUpgradeError, "Upgrade"),
    "two upgrades": ({"Upgrade": "websocket, h2c"}, (), None, WSInvalidUpgradeError, "Upgrade"),
    "no connection": ({"Connection": None}, (), None, WSInvalidUpgradeError, "Connection"),
    "other connection": ({"Connection": "close"}, (), None, WSInvalidUpgradeError, "Connection"),
    "I2 no accept": ({"Sec-WebSocket-Accept": None}, (), None, WSInvalidHeaderError, "Sec-WebSocket-Accept"),
    "I2 wrong accept": ({"Sec-WebSocket-Accept": ACCEPT}, (), None, WSInvalidHeaderError, "Sec-WebSocket-Accept"),
    "I2 subprotocol not offered": ({}, [(PROTOCOL, "a")], None, WSInvalidHeaderError, PROTOCOL),
    "I2 other subprotocol": ({}, [(PROTOCOL, "c")], {PROTOCOL: "a, b"}, WSInvalidHeaderError, PROTOCOL),
    "I2 subprotocol in other case": ({}, [(PROTOCOL, "A")], {PROTOCOL: "a"}, WSInvalidHeaderError, PROTOCOL),
    "I2 two subprotocols": ({}, [(PROTOCOL, "a"), (PROTOCOL, "b")], {PROTOCOL: "a, b"}, WSInvalidHeaderError, PROTOCOL),
    "I2 two in one header": ({}, [(PROTOCOL, "a, b")], {PROTOCOL: "a, b"}, WSInvalidHeaderError, PROTOCOL),
    "I2 extension not offered": ({}, [(EXTENSIONS, "x")], None, WSInvalidHeaderError, EXTENSIONS),
    "I2 other extension": ({}, [(EXTENSIONS, "x, y; a=b")], {EXTENSIONS: "x"}, WSInvalidHeaderError, EXTENSIONS),
    "malformed extension": ({}, [(EXTENSIONS, "x y")], {EXTENSIONS: "x"}, WSInvalidHeaderError, EXTENSIONS),
}


@pytest.mark.parametrize("feed_bytes", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(("changes", "extra", "offer", "kind", "name"), REFUSED_101.values(), ids=REFUSED_101.keys())
def test_101_refused(changes, extra, offer, kind, name, feed_bytes):
    handshake, accept = client(offer)
    head = response_head(accept, changes, extra)
    with pytest.raises(WSInvalidHeaderError) as caught:
        for piece in pieces(head) if feed_bytes else [head + b"rest"]:
            handshake.receive_data(piece)
    error = caught.value
    assert type(error) is kind
    assert error.name == name
    assert error.value == (", ".join(parse_response(head).headers.getall(name, [])) or None)
    assert (error.raw_header, error.raw_body) == (head, b"" if feed_bytes else b"rest")
    assert error.response is handshake.response
    assert error.response.status == 101
    assert handshake.receive_data(b"more") is False
    assert handshake.remainder == b""


def test_I2_two_equal_accepts():
    handshake, accept = client()
    with pytest.raises(WSInvalidHeaderError, match="Sec-WebSocket-Accept"):
        handshake.receive_data(response_head(accept, {}, [("sec-websocket-accept", accept)]))


ORDER = {
    "message before status": ("HTTP/1.1 403 x\r\nA b: c\r\n\r\n", WSInvalidMessageError),
    "status before headers": ("HTTP/1.1 204 x\r\nContent-Length: 5\r\nUpgrade: a\r\n\r\n", WSInvalidStatusError),
    "body before upgrade": ("HTTP/1.1 101 x\r\nContent-Length: 5\r\nUpgrade: a\r\n\r\n", WSInvalidHeaderError),
    "upgrade before accept": ("HTTP/1.1 101 x\r\nUpgrade: a\r\n\r\n", WSInvalidUpgradeError),
}


@pytest.mark.parametrize(("head", "kind"), ORDER.values(), ids=ORDER.keys())
def test_order_of_checks(head, kind):
    with pytest.raises(WSHandshakeError) as caught:
        client()[0].receive_data(head.encode())
    assert type(caught.value) is kind


def test_message_error_has_what_was_received():
    handshake, _ = client()
    with pytest.raises(WSInvalidMessageError) as caught:
        handshake.receive_data(b"HTTP/1.1 600 x\r\n\r\nbody")
    assert (caught.value.raw_header, caught.value.raw_body) == (b"HTTP/1.1 600 x\r\n\r\n", b"body")
    assert caught.value.response is None
    assert handshake.receive_data(b"more") is False
    handshake, _ = client()
    with pytest.raises(WSInvalidMessageError) as caught:
        handshake.receive_data(b"SSH-2.0")
    assert (caught.value.raw_header, caught.value.raw_body) == (b"SSH-2.0", None)


# Interim responses


@pytest.mark.parametrize("feed_bytes", [False, True], ids=["whole", "byte by byte"])
def test_interim_responses_are_skipped(feed_bytes):
    handshake, accept = client()
    data = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + b"HTTP/1.1 100 Continue\r\n\r\n" * 7 + response_head(accept)
    results = [handshake.receive_data(piece) for piece in (pieces(data) if feed_bytes else [data])]
    assert results[-1] is True
    assert results.count(True) == 1
    assert "Link" not in handshake.response.headers


@pytest.mark.parametrize("feed_bytes", [False, True], ids=["whole", "byte by byte"])
def test_I1_endless_interim_responses(feed_bytes):
    handshake, _ = client()
    data = b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM_RESPONSES + 1)
    with pytest.raises(WSInvalidMessageError, match="more than 8 interim"):
        for piece in pieces(data) if feed_bytes else [data]:
            assert handshake.receive_data(piece) is False
    assert handshake.response is None


# Refusals, seen by the client


CHUNKED = b"Transfer-Encoding: chunked\r\n"
BODIES = {
    "length": (b"403 x", b"Content-Length: 5\r\n", b"hello", b"hello"),
    "length 0": (b"403 x", b"Content-Length: 0\r\n", b"", b""),
    "equal lengths": (b"403 x", b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello", b"hello"),
    "no content": (b"204 x", b"", b"", b""),
    "not modified": (b"304 x", b"Content-Length: 5\r\n", b"", b""),
    "chunked": (b"503 x", CHUNKED, b"5\r\nhello\r\n0\r\n", b"hello"),
    "chunks": (b"503 x", CHUNKED, b"02;a=b\r\nhe\r\nA\r\n0123456789\r\n00\r\n", b"he0123456789"),
    "chunked, length": (b"503 x", CHUNKED + b"Content-Length: 2\r\n", b"5\r\nhello\r\n0\r\n", b"hello"),
    "empty chunked": (b"503 x", b"Transfer-Encoding: gzip, Chunked\r\n", b"0\r\n", b""),
    "length up to the limit": (b"403 x", b"Content-Length: 65536\r\n", b"a" * 65536, b"a" * 65536),
    "length above the limit": (b"403 x", b"Content-Length: 99999999999\r\n", b"a" * 65536, b"a" * 65536),
    "no length": (b"403 x", b"", b"a" * 65536, b"a" * 65536),
    "bad length": (b"403 x", b"Content-Length: +5\r\n", b"a" * 65536, b"a" * 65536),
    "long length": (b"403 x", b"Content-Length: " + b"9" * 5000 + b"\r\n", b"a" * 65536, b"a" * 65536),
    "two lengths": (b"403 x", b"Content-Length: 5\r\nContent-Length: 6\r\n", b"a" * 65536, b"a" * 65536),
    "other coding": (b"403 x", b"Transfer-Encoding: gzip\r\nContent-Length: 5\r\n", b"a" * 65536, b"a" * 65536),
    "endless chunk": (b"403 x", CHUNKED, b"ffffffff\r\n" + b"a" * 65526, b"a" * 65526),
    "chunk head of 257": (b"403 x", CHUNKED, b"1\r\na\r\n1;" + b"b" * 253, b"a"),
    "redirect with length": (b"302 x", b"Location: /\r\nContent-Length: 5\r\n", b"hello", b"hello"),
    "redirect without location": (b"302 x", CHUNKED, b"1\r\na\r\n0\r\n", b"a"),
}


@pytest.mark.parametrize("step", [1, 1000, 1_000_000])
@pytest.mark.parametrize(("line", "headers", "raw", "body"), BODIES.values(), ids=BODIES.keys())
def test_P8_refusal_with_its_body(line, headers, raw, body, step):
    handshake, _ = client()
    head = b"HTTP/1.1 " + line + b"\r\n" + headers + b"\r\n"
    with pytest.raises(WSInvalidStatusError, match=f"status {line[:3].decode()}, not 101") as caught:
        for start in range(0, len(head + raw), step):
            assert handshake.receive_data((head + raw)[start : start + step]) is False
    error = caught.value
    assert start + step >= len(head + raw)
    assert error.response is handshake.response
    assert error.response.status == int(line[:3])
    assert error.response.body == body
    assert (error.raw_header, error.raw_body) == (head, raw)
    assert handshake.receive_data(b"more") is False


def test_P8_no_more_than_the_body_is_kept():
    handshake, _ = client()
    with pytest.raises(WSInvalidStatusError) as caught:
        handshake.receive_data(b"HTTP/1.1 403 x\r\nContent-Length: 5\r\n\r\nhello, and more")
    assert caught.value.raw_body == caught.value.response.body == b"hello"
    handshake, _ = client()
    with pytest.raises(WSInvalidStatusError) as caught:
        handshake.receive_data(b"HTTP/1.1 403 x\r\n\r\n" + b"a" * 1_000_000)
    assert len(caught.value.response.body) == MAX_REFUSAL_BODY == 65536


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("headers", "rest"), [(b"", b""), (b"", b"some"), (CHUNKED, b"5\r\nhel")], ids=["nothing", "something", "chunked"]
)
def test_redirects_do_not_wait_for_a_body_without_length(status, headers, rest):
    """What happened to arrive with the head is not shown: it would depend on where reads were cut."""
    handshake, _ = client()
    with pytest.raises(WSInvalidStatusError) as caught:
        handshake.receive_data(b"HTTP/1.1 %d x\r\nLocation: /\r\n" % status + headers + b"\r\n" + rest)
    assert (caught.value.response.body, caught.value.raw_body) == (b"", b"")
    assert caught.value.response.headers["location"] == "/"


CUT_BODIES = {
    "length": (b"Content-Length: 5\r\n", b"hel", b"hel"),
    "no length": (b"", b"hel", b"hel"),
    "nothing": (b"", b"", b""),
    "chunked": (CHUNKED, b"2\r\nhe\r\n5\r\nll", b"hell"),
    "chunk head": (CHUNKED, b"2\r\nhe\r\n5", b"he"),
    "no chunk": (CHUNKED, b"hello\r\n", b""),
}


@pytest.mark.parametrize(("headers", "raw", "body"), CUT_BODIES.values(), ids=CUT_BODIES.keys())
def test_P8_eof_ends_the_body(headers, raw, body):
    handshake, _ = client()
    assert handshake.receive_data(b"HTTP/1.1 403 x\r\n" + headers + b"\r\n" + raw) is False
    assert handshake.response.status == 403
    with pytest.raises(WSInvalidStatusError) as caught:
        handshake.receive_eof()
    assert (caught.value.response.body, caught.value.raw_body) == (body, raw)


@pytest.mark.parametrize("data", [b"", b"H", b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n"])
def test_W4_eof_before_the_response_is_complete(data):
    handshake, _ = client()
    assert handshake.receive_data(data) is False
    with pytest.raises(WSHandshakeEOFError, match=f"after {len(data)} bytes") as caught:
        handshake.receive_eof()
    assert isinstance(caught.value, WSHandshakeError)
    assert caught.value.raw_header == data
    assert handshake.receive_data(b"more") is False
