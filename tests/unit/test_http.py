"""HTTP heads from the wire: the parsers, and the limits while bytes arrive."""

from __future__ import annotations

import time
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from picows.errors import WSHandshakeError, WSInvalidMessageError
from picows.http import (
    MAX_HEAD_SIZE,
    MAX_HEADERS,
    MAX_LINE_LENGTH,
    MAX_REFUSAL_BODY,
    HeadReader,
    encode_head,
    header_tokens,
    hide_credentials,
    parse_request,
    parse_response,
)

REQUEST = b"GET /chat?a=b HTTP/1.1\r\nHost: example.com\r\nX-A: 1\r\nx-a:2 \t\r\nX-Empty:\r\n\r\n"
RESPONSE = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def refused(head: bytes, is_request: bool = True) -> WSHandshakeError:
    """The error for a head that is fed whole; it must be the same byte by byte and for the parser alone."""
    errors = []
    for step in (len(head), 1, 7):
        with pytest.raises(WSInvalidMessageError) as caught:
            feed(head, step, is_request)
        errors.append(caught.value)
    assert len({error.status for error in errors}) == 1
    assert all(str(error).isprintable() and str(error).isascii() and len(str(error)) < 400 for error in errors)
    assert all(error.raw_header is not None and head.startswith(error.raw_header) for error in errors)
    return errors[0]


def feed(data: bytes, step: int, is_request: bool = True):
    reader = HeadReader(is_request)
    for start in range(0, len(data), step):
        found = reader.feed(data[start : start + step])
        if found is not None:
            rest = found[1] + data[start + step :]
            return (parse_request if is_request else parse_response)(found[0]), rest
    raise AssertionError("the head is not complete")


def test_limits_are_those_documented():
    assert (MAX_HEAD_SIZE, MAX_LINE_LENGTH, MAX_HEADERS, MAX_REFUSAL_BODY) == (16384, 8192, 128, 65536)


def test_parse_request():
    request = parse_request(REQUEST)
    assert (request.method, request.path, request.version) == (b"GET", b"/chat?a=b", b"HTTP/1.1")
    assert list(request.headers.items()) == [("Host", "example.com"), ("X-A", "1"), ("x-a", "2"), ("X-Empty", "")]
    assert request.headers.getall("X-a") == ["1", "2"]


def test_headers_are_made_once_and_may_be_changed():
    for parsed in (parse_request(REQUEST), parse_response(RESPONSE)):
        headers = parsed.headers
        assert parsed.headers is headers
        headers["X-A"] = "3"
        assert parsed.headers.getall("x-a") == ["3"]
        parsed.headers = CIMultiDict(a="b")
        assert list(parsed.headers.items()) == [("a", "b")]


def test_F1_a_parsed_message_keeps_little_more_than_its_head():
    """An idle connection keeps its request and its response."""
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy has no tracemalloc")
    head = REQUEST[:-2] + b"X-Long: " + b"x" * 1000 + b"\r\n\r\n"
    parse_request(head)
    tracemalloc.start()
    try:
        kept = [parse_request(bytes([*head])) for _ in range(100)]
        assert tracemalloc.get_traced_memory()[0] / len(kept) < len(head) + 300
    finally:
        tracemalloc.stop()


def test_broken_escapes_where_they_are_allowed():
    head = b"GET /50%?%zz HTTP/1.1\r\n\r\n"
    assert parse_request(head, allow_broken_escapes=True).path == b"/50%?%zz"
    with pytest.raises(WSInvalidMessageError, match="neither a path"):
        parse_request(head.replace(b"/", b"%", 1), allow_broken_escapes=True)


def test_parse_request_without_headers():
    assert len(parse_request(b"GET / HTTP/1.1\r\n\r\n").headers) == 0


@pytest.mark.parametrize("cut", range(len(REQUEST) + 1))
def test_every_split_of_a_request(cut):
    reader = HeadReader(is_request=True)
    data = REQUEST + b"\x81\x80rest"
    first = reader.feed(data[:cut])
    if cut == len(REQUEST):
        assert first == (REQUEST, b"")
        return
    assert first is None
    assert reader.received == data[:cut]
    assert reader.feed(data[cut:]) == (REQUEST, b"\x81\x80rest")


@given(st.data())
def test_any_cut_of_a_head_gives_the_same_result(data):
    names = st.text(st.sampled_from("aZ-_0"), min_size=1, max_size=8)
    values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)
    fields = data.draw(st.lists(st.tuples(names, values), max_size=6))
    is_request = data.draw(st.booleans())
    start = "GET /a HTTP/1.1" if is_request else "HTTP/1.1 404 Not"
    head = "\r\n".join([start, *(f"{name}: {value}" for name, value in fields), "", ""]).encode("latin-1")
    stream = head + data.draw(st.binary(max_size=10))
    cuts = data.draw(st.lists(st.integers(0, len(head) - 1), max_size=8))
    reader = HeadReader(is_request)
    position = 0
    for cut in sorted(cuts):
        assert reader.feed(stream[position:cut]) is None
        position = cut
    assert reader.feed(stream[position:]) == (head, stream[len(head) :])
    parsed = (parse_request if is_request else parse_response)(head)
    expected = [
        (name, value.encode("latin-1").decode("ascii", "surrogateescape").strip(" \t")) for name, value in fields
    ]
    assert list(parsed.headers.items()) == expected


TARGETS = {
    "root": b"/",
    "query": b"/?a",
    "escape": b"/%2f%41",
    "double slash with a name": b"//a",
    "bytes above 127": b"/\xc3\xbc",
    "absolute": b"http://example.com/a",
    "absolute, no path": b"WSS://[::1]:80",
    "absolute, query": b"http://example.com?a",
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_request_targets(target):
    assert parse_request(b"GET " + target + b" HTTP/1.1\r\n\r\n").path == target


BAD_REQUESTS = {
    # Request line
    "H5 target //": (b"GET // HTTP/1.1\r\n\r\n", 400),
    "H5 target ///": (b"GET ///a HTTP/1.1\r\n\r\n", 400),
    "H5 target //?": (b"GET //?a HTTP/1.1\r\n\r\n", 400),
    "H5 target http://[": (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
    "target with user": (b"GET http://a@b/ HTTP/1.1\r\n\r\n", 400),
    "H5 target %zz": (b"GET /%zz HTTP/1.1\r\n\r\n", 400),
    "H5 target %": (b"GET /a% HTTP/1.1\r\n\r\n", 400),
    "H5 target NUL": (b"GET /\0 HTTP/1.1\r\n\r\n", 400),
    "target with tab": (b"GET /a\tb HTTP/1.1\r\n\r\n", 400),
    "target with fragment": (b"GET /a#b HTTP/1.1\r\n\r\n", 400),
    "target *": (b"GET * HTTP/1.1\r\n\r\n", 400),
    "target without slash": (b"GET a HTTP/1.1\r\n\r\n", 400),
    "target of another scheme": (b"GET ftp://a/ HTTP/1.1\r\n\r\n", 400),
    "no target": (b"GET  HTTP/1.1\r\n\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "space in target": (b"GET /a b HTTP/1.1\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\n\r\n", 400),
    "trailing space": (b"GET / HTTP/1.1 \r\n\r\n", 400),
    "not HTTP": (b"GET / HTTQ/1.1\r\n\r\n", 400),
    "lower case version": (b"GET / http/1.1\r\n\r\n", 400),
    "version of three digits": (b"GET / HTTP/1.10\r\n\r\n", 400),
    "version of Arabic digits": ("GET / HTTP/\u0661.1\r\n\r\n".encode(), 400),
    "H7 POST": (b"POST / HTTP/1.1\r\n\r\n", 405),
    "H7 lower case method": (b"get / HTTP/1.1\r\n\r\n", 405),
    "H7 HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", 505),
    "H7 HTTP/2.0": (b"GET / HTTP/2.0\r\n\r\n", 505),
    "H7 POST, HTTP/1.0": (b"POST / HTTP/1.0\r\n\r\n", 505),
    # Framing
    "H8 leading empty line": (b"\r\nGET / HTTP/1.1\r\n\r\n", 400),
    "H8 bare LF": (b"GET / HTTP/1.1\nHost: a\n\n\r\n\r\n", 400),
    "H8 bare LF in headers": (b"GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n", 400),
    "H8 bare CR": (b"GET / HTTP/1.1\r\nHost: a\rB: c\r\n\r\n", 400),
    "H8 bare CR and bare LF": (b"GET / HTTP/1.1\r\nA: b\rC: d\nE: f\r\n\r\n", 400),
    "H8 CR CR LF": (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
    "H8 NUL": (b"GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", 400),
    "H8 vertical tab": (b"GET / HTTP/1.1\r\nHost: a\x0bB: c\r\n\r\n", 400),
    "H8 file separator": (b"GET / HTTP/1.1\r\nHost: a\x1cB: c\r\n\r\n", 400),
    "H8 DEL": (b"GET / HTTP/1.1\r\nHost: \x7f\r\n\r\n", 400),
    # Fields
    "H8 obsolete folding": (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
    "H8 obsolete folding, tab": (b"GET / HTTP/1.1\r\nHost: a\r\n\tb: c\r\n\r\n", 400),
    "H8 space before the first name": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    "H8 space before colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "H8 space in name": (b"GET / HTTP/1.1\r\nA: b\r\nBad Name: a\r\n\r\n", 400),
    "H8 NEL in name": (b"GET / HTTP/1.1\r\nA\x85: a\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost\r\n\r\n", 400),
    "no name": (b"GET / HTTP/1.1\r\n: a\r\n\r\n", 400),
    "name in parentheses": (b"GET / HTTP/1.1\r\n(a): a\r\n\r\n", 400),
    # Limits
    "H1 request line of 8193": (b"GET /" + b"a" * (8193 - 14) + b" HTTP/1.1\r\n\r\n", 414),
    "H1 header line of 8193": (b"GET / HTTP/1.1\r\nA: " + b"a" * 8190 + b"\r\n\r\n", 431),
    "H1 129 headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 129 + b"\r\n", 431),
    "H4 10,000 headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000 + b"\r\n", 431),
    "H1 head of 16385": (
        b"GET / HTTP/1.1\r\nA: " + b"a" * 8184 + b"\r\nB: " + b"b" * (16385 - 8212) + b"\r\n\r\n",
        431,
    ),
    "H1 1 MiB without a line end": (b"GET /" + b"a" * 2**18, 414),
    "H1 1 MiB header": (b"GET / HTTP/1.1\r\nA: " + b"a" * 2**18, 431),
    "H9 blanks": (b"GET / HTTP/1.1\r\nA: a" + b" " * 50_000 + b"b\r\n\r\n", 431),
    # The first violation counts, wherever the bytes are cut.
    "NUL, then too long": (b"GET / HTTP/1.1\r\nA: \0" + b"a" * 9000 + b"\r\n\r\n", 400),
    "too long, then NUL": (b"GET / HTTP/1.1\r\nA: " + b"a" * 9000 + b"\0\r\n\r\n", 431),
    "too many, then NUL": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 129 + b"\0\r\n\r\n", 431),
    # Other protocols
    "H13 TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), 400),
    "H13 HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "H13 random": (bytes((i * 167 + 13) % 256 for i in range(512)), 400),
    "H13 SSH": (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", 400),
    "H13 method without end": (b"A" * 33, 400),
    "H13 method with a colon": (b"Host: example.com\r\n\r\n", 400),
}


@pytest.mark.parametrize(("head", "status"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_P8_bad_requests(head, status):
    assert refused(head).status == status


WHOLE_REQUESTS = {name: case for name, case in BAD_REQUESTS.items() if case[0].endswith(b"\r\n\r\n")}


@pytest.mark.parametrize(("head", "status"), WHOLE_REQUESTS.values(), ids=WHOLE_REQUESTS.keys())
def test_the_parser_alone_is_as_strict(head, status):
    with pytest.raises(WSInvalidMessageError) as caught:
        parse_request(head)
    assert caught.value.status == status


EARLY = {
    "TLS": (b"\x16", True),
    "HTTP/2": (b"PRI ", True),
    "empty line": (b"\r", True),
    "NUL": (b"GET /\0", True),
    "bare LF": (b"GET / HTTP/1.1\n", True),
    "bare CR": (b"GET / HTTP/1.1\rA", True),
    "request line too long": (b"GET /" + b"a" * (MAX_LINE_LENGTH - 4), True),
    "header line too long": (b"GET / HTTP/1.1\r\n" + b"a" * (MAX_LINE_LENGTH + 1), True),
    "too many headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (MAX_HEADERS + 1), True),
    "not a response": (b"HTTQ", False),
    "TLS alert": (b"\x15", False),
}


@pytest.mark.parametrize(("data", "is_request"), EARLY.values(), ids=EARLY.keys())
def test_refused_at_the_first_wrong_byte(data, is_request):
    reader = HeadReader(is_request)
    assert reader.feed(data[:-1]) is None
    with pytest.raises(WSInvalidMessageError):
        reader.feed(data[-1:])


def test_refused_at_the_first_byte_beyond_the_size():
    reader = HeadReader(is_request=True)
    data = b"GET / HTTP/1.1\r\n" + b"A: " + b"a" * 8000 + b"\r\n" + b"B: " + b"a" * 8187 + b"\r\n"
    data += b"C: " + b"c" * (MAX_HEAD_SIZE - len(data) - 3)
    assert len(data) == MAX_HEAD_SIZE
    assert reader.feed(data) is None
    with pytest.raises(WSInvalidMessageError, match="max_size") as caught:
        reader.feed(b"c")
    assert (caught.value.status, caught.value.raw_header) == (431, data)


AT_THE_LIMIT = {
    "request line of 8192": b"GET /" + b"a" * (8192 - 14) + b" HTTP/1.1\r\n\r\n",
    "header line of 8192": b"GET / HTTP/1.1\r\nA: " + b"a" * 8189 + b"\r\n\r\n",
    "H4 127 headers": b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 127 + b"\r\n",
    "H4 128 headers": b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 128 + b"\r\n",
    "128 long headers": b"GET / HTTP/1.1\r\n" + (b"A: " + b"b" * 100 + b"\r\n") * 128 + b"\r\n",
    "head of 16384": b"GET / HTTP/1.1\r\nA: " + b"a" * 8184 + b"\r\nB: " + b"b" * (16384 - 8212) + b"\r\n\r\n",
    "method of 3": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("step", [1, 100, 1_000_000])
@pytest.mark.parametrize("head", AT_THE_LIMIT.values(), ids=AT_THE_LIMIT.keys())
def test_at_the_limit(head, step):
    request, rest = feed(head + b"rest", step)
    assert len(request.headers) == head.count(b"\r\n") - 2
    assert rest == b"rest"


def test_B6_time_is_linear_byte_by_byte():
    def seconds(size: int) -> float:
        head = b"GET / HTTP/1.1\r\n" + b"A: " + b"a" * size + b"\r\n\r\n"
        best = 1.0
        for _ in range(5):
            start = time.process_time()
            feed(head, 1)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(8000) / seconds(1000) < 8 * 4


def test_H1_an_endless_line_costs_no_memory():
    reader = HeadReader(is_request=True)
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy has no tracemalloc")
    tracemalloc.start()
    try:
        with pytest.raises(WSInvalidMessageError):
            for _ in range(1000):
                reader.feed(b"a" if not reader.received else b" " * 1000)
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\n", REQUEST + b"a", REQUEST + REQUEST, REQUEST[:-2]])
def test_parser_takes_exactly_one_head(head):
    with pytest.raises(WSInvalidMessageError):
        parse_request(head)


STATUS_LINES = {
    "known": (b"HTTP/1.1 404 Not Found", HTTPStatus.NOT_FOUND),
    "empty reason": (b"HTTP/1.1 101 ", HTTPStatus.SWITCHING_PROTOCOLS),
    "lower case": (b"http/1.1 200 OK", HTTPStatus.OK),
    "any reason": (b"HTTP/1.1 200 \xff \t 7", HTTPStatus.OK),
    "unknown 499": (b"HTTP/1.1 499 Client closed", 499),
    "unknown 599": (b"HTTP/1.1 599 x", 599),
    "unknown 199": (b"HTTP/1.1 199 x", 199),
}


@pytest.mark.parametrize(("line", "status"), STATUS_LINES.values(), ids=STATUS_LINES.keys())
def test_parse_response(line, status):
    response, rest = feed(line + b"\r\nA: b\r\n\r\nbody", 1, is_request=False)
    assert response.status == status
    assert type(response.status) is type(status)
    assert (response.version, response.body, rest) == (b"HTTP/1.1", None, b"body")
    assert list(response.headers.items()) == [("A", "b")]


BAD_RESPONSES = {
    "no second space": b"HTTP/1.1 101\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 101 x\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 101 x\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 101 x\r\n\r\n",
    "status 099": b"HTTP/1.1 099 x\r\n\r\n",
    "status 600": b"HTTP/1.1 600 x\r\n\r\n",
    "status 1010": b"HTTP/1.1 1010 x\r\n\r\n",
    "status +10": b"HTTP/1.1 +10 x\r\n\r\n",
    "status 1_1": b"HTTP/1.1 1_1 x\r\n\r\n",
    "status of Arabic digits": "HTTP/1.1 \u0661\u0660\u0661 x\r\n\r\n".encode(),
    "two spaces": b"HTTP/1.1  101 x\r\n\r\n",
    "tab": b"HTTP/1.1\t101 x\r\n\r\n",
    "leading empty line": b"\r\nHTTP/1.1 101 x\r\n\r\n",
    "garbage": b"garbage\r\n\r\n",
    "status line too long": b"HTTP/1.1 101 " + b"x" * 8192 + b"\r\n\r\n",
    "bare LF": b"HTTP/1.1 101 x\nA: b\r\n\r\n",
    "folding": b"HTTP/1.1 101 x\r\nA: b\r\n c\r\n\r\n",
    "I1 129 headers": b"HTTP/1.1 101 x\r\n" + b"A: b\r\n" * 129 + b"\r\n",
}


@pytest.mark.parametrize("head", BAD_RESPONSES.values(), ids=BAD_RESPONSES.keys())
def test_I1_bad_responses(head):
    refused(head, is_request=False)


def test_another_protocol_is_shown_as_far_as_it_is_short():
    with pytest.raises(WSInvalidMessageError) as raised:
        parse_response(b"220 smtp.test ESMTP\r\n\r\n")
    assert str(raised.value).startswith("expected an HTTP/1.1 response, received '220 smtp.test ESMTP")


def test_http_1_0_from_a_proxy():
    assert parse_response(b"HTTP/1.0 200 OK\r\n\r\n", allow_http_1_0=True).version == b"HTTP/1.0"
    assert parse_response(b"HTTP/1.1 200 OK\r\n\r\n", allow_http_1_0=True).version == b"HTTP/1.1"


def test_values_are_trimmed_and_bytes_survive():
    response = parse_response(b"HTTP/1.1 200 \r\nA: \t a\t b \t\r\nB:\xff\xa0\r\nC: \t \r\n\r\n")
    assert list(response.headers.items()) == [("A", "a\t b"), ("B", "\udcff\udca0"), ("C", "")]
    assert encode_head("x", response.headers) == b"x\r\nA: a\t b\r\nB: \xff\xa0\r\nC: \r\n\r\n"


def test_header_tokens():
    headers = CIMultiDict([("Connection", "Keep-Alive,\tUPGRADE ,,"), ("connection", "x"), ("Connection", "")])
    assert header_tokens(headers, "Connection") == ["keep-alive", "upgrade", "x"]
    assert header_tokens(headers, "Upgrade") == []


def test_K3_credentials_are_hidden_in_logged_heads():
    head = b"GET / HTTP/1.1\r\nHost: h\r\nauthorization: Basic c2VjcmV0\r\nCookie: a=b\r\nX-Cookie: kept\r\n\r\n"
    shown = hide_credentials(head)
    assert shown == b"GET / HTTP/1.1\r\nHost: h\r\nauthorization: ...\r\nCookie: ...\r\nX-Cookie: kept\r\n\r\n"


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("wss://user:secret@host/x@y?z=//a@b", "wss://...@host/x@y?z=//a@b"),
        ("WSS://user:sec@ret@host", "WSS://...@host"),
        ("//user:secret@host/", "//...@host/"),
        ("https://host/a@b", "https://host/a@b"),
        ("https://host?a@b", "https://host?a@b"),
        ("/path", "/path"),
        ("", ""),
    ],
)
def test_K3_credentials_are_hidden_in_a_logged_location(location, shown):
    head = "HTTP/1.1 302 Found\r\nlocation: {}\r\nX-Location: ws://a:b@c\r\n\r\n"
    assert hide_credentials(head.format(location).encode()) == head.format(shown).encode()


def test_K3_credentials_are_hidden_where_a_read_ends_within_them():
    head = b"HTTP/1.1 302 Found\r\nLocation: wss://user:sec"
    assert hide_credentials(head) == b"HTTP/1.1 302 Found\r\nLocation: wss://...@"
