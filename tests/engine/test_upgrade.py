"""scan_upgrade: an engine recognises what `picows.handshake` would accept, and gives the same answer."""

from __future__ import annotations

import base64
from typing import Any, Optional

import pytest
from fixtures.twins import Twins
from hypothesis import given
from hypothesis import strategies as st

from picows.errors import WSHandshakeError
from picows.handshake import ServerHandshake, accept_key
from picows.http import WSUpgradeResponse

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
LINE = "GET /chat HTTP/1.1"
FIELDS = {
    "Host": "example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def head(line: str = LINE, extra: str = "", **changes: Optional[str]) -> bytes:
    """An ordinary request; a change is a name with underscores, and a value or None for no such field."""
    fields = {**FIELDS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [line, *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    return ("\r\n".join(lines) + "\r\n" + extra + "\r\n").encode("latin-1")


def close_look(data: bytes) -> Any:
    """What ServerHandshake makes of it without an engine: size, target, accepting response; None if it refuses."""
    handshake = ServerHandshake()
    try:
        is_complete = handshake.receive_data(data)
    except WSHandshakeError:
        return None
    if not is_complete or handshake.request is None:
        return None
    sent, is_accepted = handshake.respond(WSUpgradeResponse.create_101_response())
    return (len(data) - len(handshake.remainder), handshake.request.path, sent) if is_accepted else None


def check(engine: Any, data: bytes) -> bool:
    """Whether it is recognised; if so, the close look must give the same."""
    found = engine.scan_upgrade(data)
    if found is None:
        return False
    size, target, accept = found
    handshake = ServerHandshake(engine.scan_upgrade)
    assert handshake.receive_data(data) is True
    assert handshake.request is not None
    assert (handshake.request.path, handshake.remainder) == (target, data[size:])
    sent, is_accepted = handshake.accept()
    assert is_accepted
    assert b"\r\nSec-WebSocket-Accept: " + accept + b"\r\n" in sent
    assert close_look(data) == (size, target, sent)
    return True


ORDINARY = {
    "RFC 6455": head(),
    "target": head("GET / HTTP/1.1"),
    "query": head("GET /a/b?c=d&e=:@[]\xfc HTTP/1.1"),
    "W7 Firefox": head(Connection="keep-alive, Upgrade"),
    "W7 case": head(Connection="uPGRADE", Upgrade="WebSocket").replace(b"Sec-WebSocket-K", b"sec-websocket-k"),
    "W7 blanks": head(Connection="\t,, a ,\tupgrade ,", Upgrade=" websocket\t", Host="\texample.com "),
    "no blanks": head().replace(b": ", b":"),
    "host with port": head(Host="localhost:8080"),
    "host with empty port": head(Host="127.0.0.1:"),
    "host of 255": head(Host="a" * 255 + ":65535"),
    "other fields": head(extra="Origin: http://a\r\nCookie: a\r\nX: \xfc\t\r\nEmpty:\r\n"),
    "of a length that matters": head(extra="1234: a\r\n1234567: a\r\n1234567890: a\r\n12345678901234: a\r\n"),
    "of a length that matters too": head(extra="12345678901234567: a\r\n123456789012345678901: a\r\n"),
    "extensions": head(extra='Sec-WebSocket-Extensions: permessage-deflate; a="b"\r\n'),
    "128 fields": head(extra="".join(f"A{number}: b\r\n" for number in range(123))),
    "8192 bytes": head(extra="A: " + "b" * (8192 - len(head()) - 5) + "\r\n"),
    "another key": head(Sec_WebSocket_Key=base64.b64encode(bytes(range(240, 256))).decode()),
}


@pytest.mark.parametrize("data", ORDINARY.values(), ids=ORDINARY.keys())
def test_ordinary_requests_are_recognised(engine: Any, data: bytes) -> None:
    assert check(engine, data)
    assert check(engine, data + b"\x81\x80abcd")
    assert check(engine, data + data)


def test_what_is_found(engine: Any) -> None:
    assert engine.scan_upgrade(head() + b"rest") == (len(head()), b"/chat", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")


@pytest.mark.parametrize("name", ["respond", "accept"])
def test_a_recognised_request_is_answered_once(engine: Any, name: str) -> None:
    handshake = ServerHandshake(engine.scan_upgrade)
    handshake.receive_data(head() + b"a")
    assert handshake.receive_data(b"b") is True
    answer = WSUpgradeResponse.create_101_response({"A": "b"})
    sent, is_accepted = handshake.respond(answer)
    assert is_accepted
    assert b"\r\nA: b\r\n" in sent
    assert (b"Accept: " + accept_key(KEY).encode()) in sent
    assert handshake.remainder == b"ab"
    with pytest.raises(RuntimeError, match="before"):
        handshake.respond(answer) if name == "respond" else handshake.accept()


def test_a_recognised_request_may_be_refused(engine: Any) -> None:
    handshake = ServerHandshake(engine.scan_upgrade)
    handshake.receive_data(head() + b"a")
    sent, is_accepted = handshake.respond(WSUpgradeResponse.create_error_response(404))
    assert sent.startswith(b"HTTP/1.1 404 ")
    assert not is_accepted
    assert handshake.receive_data(b"b") is False


#: A close look accepts these; whether an engine recognises them is its business.
UNUSUAL = {
    "escapes": head("GET /%2f HTTP/1.1"),
    "absolute": head("GET http://example.com/ HTTP/1.1"),
    "double slash": head("GET //a HTTP/1.1"),
    "IPv6": head(Host="[::1]:80"),
    "list": head(Upgrade="h2c, websocket"),
    "repeated": head(extra="Cookie: a\r\nCookie: b\r\n"),
    "repeated Connection": head(Connection="keep-alive", extra="Connection: Upgrade\r\n"),
    "no length": head(extra="Content-Length: 0\r\n"),
    "8193 bytes": head(extra="A: " + "b" * (8192 - len(head()) - 4) + "\r\n"),
}


@pytest.mark.parametrize("data", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_unusual_requests(engine: Any, data: bytes) -> None:
    assert close_look(data) is not None
    check(engine, data)
    handshake = ServerHandshake(engine.scan_upgrade)
    assert handshake.receive_data(data)
    assert handshake.accept()[1]


WRONG = {
    "nothing": b"",
    "no upgrade": head(Upgrade=None, Connection=None),
    "no Upgrade": head(Upgrade=None),
    "other Upgrade": head(Upgrade="websocket2"),
    "no Connection": head(Connection=None),
    "other Connection": head(Connection="upgrade2, up grade"),
    "no host": head(Host=None),
    "empty host": head(Host=""),
    "only a port": head(Host=":80"),
    "bad port": head(Host="a:8o"),
    "long port": head(Host="a:123456"),
    "host of 256": head(Host="a" * 256),
    "bad host": head(Host="a b"),
    "two hosts": head(extra="Host: a\r\n"),
    "H6 no key": head(Sec_WebSocket_Key=None),
    "H6 short key": head(Sec_WebSocket_Key=KEY[:-1]),
    "H6 long key": head(Sec_WebSocket_Key="a" + KEY),
    "H6 no padding": head(Sec_WebSocket_Key="a" * 24),
    "H6 half padded": head(Sec_WebSocket_Key="a" * 23 + "="),
    "H6 odd padding": head(Sec_WebSocket_Key="a" * 22 + "=a"),
    "H6 URL-safe": head(Sec_WebSocket_Key="-" + KEY[1:]),
    "H6 two keys": head(extra=f"sec-websocket-key: {KEY}\r\n"),
    "no version": head(Sec_WebSocket_Version=None),
    "version 8": head(Sec_WebSocket_Version="8"),
    "version 113": head(Sec_WebSocket_Version="113"),
    "version 1": head(Sec_WebSocket_Version="1"),
    "two versions": head(extra="Sec-WebSocket-Version: 13\r\n"),
    "J1 length": head(extra="Content-Length: 1\r\n"),
    "J1 encoding": head(extra="Transfer-Encoding: chunked\r\n"),
    "H7 POST": head("POST / HTTP/1.1"),
    "H7 lower case": head("get / HTTP/1.1"),
    "H7 HTTP/1.0": head("GET / HTTP/1.0"),
    "H5 //": head("GET // HTTP/1.1"),
    "H5 bad escape": head("GET /%zz HTTP/1.1"),
    "fragment": head("GET /#a HTTP/1.1"),
    "NUL in target": head("GET /\0 HTTP/1.1"),
    "two spaces": head("GET /  HTTP/1.1"),
    "trailing space": head("GET / HTTP/1.1 "),
    "no target": head("GET HTTP/1.1"),
    "H8 NUL": head(extra="A: \0\r\n"),
    "H8 DEL": head(extra="A: \x7f\r\n"),
    "H8 LF": head(extra="A: b\nC: d\r\n"),
    "H8 CR": head(extra="A: b\rC: d\r\n"),
    "H8 folding": head(extra=" a\r\n"),
    "no colon": head(extra="A\r\n"),
    "no name": head(extra=": a\r\n"),
    "blank before colon": head(extra="A : a\r\n"),
    "129 fields": head(extra="A: b\r\n" * 124),
    "leading line": b"\r\n" + head(),
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG.keys())
def test_wrong_requests_are_not_recognised(engine: Any, data: bytes) -> None:
    assert close_look(data) is None
    assert engine.scan_upgrade(data) is None


def test_nothing_is_recognised_before_it_is_complete(engine: Any) -> None:
    for cut in range(len(head())):
        assert engine.scan_upgrade(head()[:cut]) is None


def test_only_bytes_are_scanned(twins: Twins) -> None:
    with pytest.raises(TypeError):
        twins.core.scan_upgrade(bytearray(head()))


PIECES = [b"\r\n", b"\r", b"\n", b":", b" ", b"\t", b",", b"%41", b"/", b"a", b"=", b"\0", b"\x7f", b"\x80", b"[", b"#"]
PIECES += [line + b"\r\n" for line in head(extra="A: b\r\nContent-Length: 0\r\n").split(b"\r\n")[1:-2]]


@given(st.data())
def test_any_change_of_an_ordinary_request(engine: Any, data: st.DataObject) -> None:
    changed = data.draw(st.sampled_from(list(ORDINARY.values())[:9]))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(changed)))
        size = data.draw(st.sampled_from([0, 0, 1, 2, 10]))
        changed = changed[:start] + data.draw(st.sampled_from(PIECES)) + changed[start + size :]
    check(engine, changed)
    handshake = ServerHandshake(engine.scan_upgrade)
    expected = close_look(changed)
    try:
        is_complete = handshake.receive_data(changed)
    except WSHandshakeError:
        assert expected is None
        return
    is_accepted = is_complete and handshake.accept()[1]
    assert is_accepted is (expected is not None)


@given(st.binary(min_size=16, max_size=16))
def test_any_key(engine: Any, key: bytes) -> None:
    encoded = base64.b64encode(key).decode()
    assert engine.scan_upgrade(head(Sec_WebSocket_Key=encoded))[2].decode() == accept_key(encoded)
