"""The opening handshakes of our ClientProtocol and of that of websockets 17.4, byte for byte.

Where ours does something else, the case says why and what.
"""

from __future__ import annotations

import itertools
import random
import socket
import ssl
import sys
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
theirs = pytest.importorskip("websockets", reason="websockets is not installed: nothing to compare with")
if theirs.__version__ != "17.4":
    pytest.skip(f"websockets 17.4 is emulated, {theirs.__version__} is installed", allow_module_level=True)

from fixtures.sansio import ACCEPT, EOF, KEY, Library, cut, frame, show_exception, total  # noqa: E402
from fixtures.sansio_http import (  # noqa: E402
    EXTENSIONS,
    MASKED,
    PROTOCOLS,
    RESPONSE,
    UNMASKED,
    Custom,
    client_deflate,
    dial,
    response,
)

OURS, THEIRS = Library("picows.websockets"), Library("websockets")

#: Responses, and arguments of ClientProtocol.
RESPONSES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "good": (response(), {}),
    "with frames": (response() + UNMASKED + frame(8), {}),
    "with a bad frame": (response() + MASKED, {}),
    **{f"without {name}": (response(**{name: None}), {}) for name in RESPONSE},
    **{f"{name} twice": (response(f"{name}: {value}"), {}) for name, value in RESPONSE.items()},
    **{f"Upgrade: {value}": (response(Upgrade=value), {}) for value in ("x", "websocket, x", "WebSocket", "", "@")},
    **{f"Connection: {value}": (response(Connection=value), {}) for value in ("close", "x, upgrade", "", "@")},
    **{f"accept: {value}": (response(Sec_WebSocket_Accept=value), {}) for value in ("x", "", ACCEPT.lower())},
    "wrong in all ways": (response(Upgrade="x", Connection="x", Sec_WebSocket_Accept="x"), {}),
    **{
        f"line: {line}": (response(line=line), {})
        for line in (
            *("HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found", "HTTP/1.1 302 Found", "HTTP/1.1 500 ", "HTTP/1.1 500"),
            *("HTTP/1.0 101 Switching", "HTTP/1.0 200 OK", "HTTP/2 101 x", "HTTP/1.1 99 x", "HTTP/1.1 600 x"),
            *("HTTP/1.1 1000 x", "HTTP/1.1 abc x", "HTTP/1.1 +10 x", "HTTP/1.1  101 x", "", "garbage"),
            *("HTTP/1.1 101 \x01", "HTTP/1.1 101 \xe9", "HTTP/1.1 101 ", "HTTP/1.1 100 Continue"),
            *("HTTP/1.1 204 None", "HTTP/1.1 304 None", "SSH-2.0-x"),
        )
    },
    "line too long": (response(line="HTTP/1.1 " + "x" * 8200), {}),
    "header too long": (response("A: " + "x" * 8188), {}),
    "129 headers": (response(*["A: b"] * 126), {}),
    **{f"header: {line!r}": (response(line), {}) for line in ("A : x", "A", " x", "A\x01B: x", "A: \xe9", "A: \x01")},
    "line feeds": (response(end="\n"), {}),
    **{
        f"refusal with {fields} {body!r}": (response(*fields, line="HTTP/1.1 404 No") + body, {})
        for fields, body in (
            (["Content-Length: 5"], b"hello and more"),
            (["Content-Length: 5"], b"hel"),
            (["Content-Length: 0"], b""),
            (["Content-Length: 1048577"], b"hel"),
            (["Content-Length: -1"], b"hel"),
            (["Content-Length: 5", "Content-Length: 5"], b"hello"),
            ([], b"hello"),
            (["Transfer-Encoding: chunked"], b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n"),
            (["Transfer-Encoding: chunked"], b"5\r\nhello\r\n"),
            (["Transfer-Encoding: chunked"], b"zz\r\nhello\r\n"),
            (["Transfer-Encoding: gzip"], b"x"),
        )
    },
    "refusal with a large body": (response(line="HTTP/1.1 404 No") + b"x" * 1048577, {}),
    "redirect": (response("Location: /x", "Content-Length: 0", line="HTTP/1.1 302 Found"), {}),
    "subprotocol": (response(PROTOCOLS + "a"), {"subprotocols": ["a", "b"]}),
    "no subprotocol": (response(), {"subprotocols": ["a", "b"]}),
    "wrong subprotocol": (response(PROTOCOLS + "c"), {"subprotocols": ["a", "b"]}),
    "subprotocol nobody asked for": (response(PROTOCOLS + "c"), {}),
    "two subprotocols": (response(PROTOCOLS + "a, b"), {"subprotocols": ["a", "b"]}),
    "subprotocol twice": (response(PROTOCOLS + "a", PROTOCOLS + "a"), {"subprotocols": ["a", "b"]}),
    "subprotocol malformed": (response(PROTOCOLS + "@"), {"subprotocols": ["a", "b"]}),
    "extension": (response(EXTENSIONS + "permessage-deflate"), {"extensions": client_deflate()}),
    "no extension": (response(), {"extensions": client_deflate()}),
    "extension nobody asked for": (response(EXTENSIONS + "permessage-deflate"), {}),
    "extensions empty, nobody asked": (response(EXTENSIONS), {}),
    "wrong extension": (response(EXTENSIONS + "y"), {"extensions": client_deflate()}),
    "extension twice": (
        response(EXTENSIONS + "permessage-deflate, permessage-deflate"),
        {"extensions": client_deflate()},
    ),
    "wrong parameters": (response(EXTENSIONS + "permessage-deflate; foo=1; bar"), {"extensions": client_deflate()}),
    "extensions malformed": (response(EXTENSIONS + "permessage-deflate; a b"), {"extensions": client_deflate()}),
    "extensions empty": (response(EXTENSIONS), {"extensions": client_deflate()}),
    "extensions and subprotocol": (response(EXTENSIONS + "@", PROTOCOLS + "@"), {"extensions": client_deflate()}),
    "own extension": (response(EXTENSIONS + "x; a"), {"extensions": lambda library: [Custom(library)]}),
    "own extension refuses": (
        response(EXTENSIONS + "x"),
        {"extensions": lambda library: [Custom(library, library.exceptions.InvalidHandshake("q"))]},
    ),
}


@pytest.mark.parametrize("debug", [True, False], ids=["debug", "quiet"])
@pytest.mark.parametrize("name", RESPONSES)
def test_client(name: str, debug: bool) -> None:
    data, arguments = RESPONSES[name]
    steps = [("receive_data", data), ("receive_data", UNMASKED), EOF]
    assert dial(OURS, steps, debug, **arguments) == dial(THEIRS, steps, debug, **arguments)


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("name", [name for name in RESPONSES if len(RESPONSES[name][0]) < 2000])
def test_client_in_pieces(name: str, size: int) -> None:
    data, arguments = RESPONSES[name]
    steps = [*cut(data, size), ("receive_data", UNMASKED), EOF]
    ours, other = (total(dial(library, steps, **arguments)) for library in (OURS, THEIRS))
    assert ours == other


def test_client_end_of_the_stream_at_each_byte() -> None:
    for data in (response() + UNMASKED, response("Content-Length: 5", line="HTTP/1.1 404 No") + b"hello"):
        for at in range(len(data) + 1):
            steps = [("receive_data", data[:at]), EOF]
            assert dial(OURS, steps) == dial(THEIRS, steps), at


@pytest.mark.parametrize(
    ("uri", "arguments"),
    [
        *((uri, {}) for uri in ("ws://h/x?y", "wss://h", "ws://h:80/", "ws://h:8080/", "wss://h:443", "wss://h:80")),
        *((uri, {}) for uri in ("ws://u:p%20q@h/", "ws://[::1]:99/", "ws://\xfc.de/\xe9?\xe8", "ws://h?a=b")),
        ("ws://u:p@h", {"origin": "http://o", "subprotocols": ["a", "b"], "extensions": client_deflate()}),
        ("ws://h", {"subprotocols": [], "extensions": []}),
        ("ws://h", {"extensions": lambda library: [Custom(library), *client_deflate(True, True, 10, 11)(library)]}),
    ],
)
def test_client_request(uri: str, arguments: dict[str, Any]) -> None:
    assert dial(OURS, [], uri=uri, **arguments) == dial(THEIRS, [], uri=uri, **arguments)


def test_client_before_the_response() -> None:
    steps = [("send_text", b"x"), ("send_ping", b""), ("send_close",), EOF]
    assert dial(OURS, steps) == dial(THEIRS, steps)


def test_client_survives_an_extension_that_raises() -> None:
    """On purpose: websockets raises out of receive_data, and StopIteration ever after."""
    data = response(EXTENSIONS + "x")
    log = dial(OURS, [("receive_data", data), EOF], extensions=lambda lib: [Custom(lib, ZeroDivisionError("z"))])
    assert log[1]["handshake_exc"] == "ZeroDivisionError: z"
    assert log[2]["state"] == "CLOSED"


def test_client_cannot_fail_before_the_response() -> None:
    """On purpose: websockets raises AssertionError without a text, and cannot be used after it."""
    log = dial(OURS, [("fail", 1000), ("receive_data", response())])
    assert log[1]["result"] == "raises InvalidState: connection is connecting"
    assert log[2]["state"] == "OPEN"


def test_process_response() -> None:
    def run(library: Library) -> list[Any]:
        protocol = library.client.ClientProtocol(library.uri.parse_uri("ws://h"), extensions=client_deflate()(library))
        protocol.key = KEY
        good = library.datastructures.Headers([*RESPONSE.items(), (EXTENSIONS[:-2], "permessage-deflate")])
        results: list[Any] = []
        for status, headers in ((404, good), (101, library.datastructures.Headers()), (101, good)):
            try:
                results.append(protocol.process_response(library.http11.Response(status, "Words", headers)))
            except Exception as exc:
                results.append(show_exception(exc))
        return [*results, protocol.subprotocol, repr(protocol.extensions), protocol.state.name]

    assert run(OURS) == run(THEIRS)


@pytest.mark.parametrize("arguments", [(), (1, 2, 10, 3), (5, 100, 90, 2)])
def test_backoff(monkeypatch: pytest.MonkeyPatch, arguments: tuple[float, ...]) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.5)
    ours, other = (list(itertools.islice(lib.client.backoff(*arguments), 15)) for lib in (OURS, THEIRS))
    assert ours == other


@pytest.mark.parametrize("cause", [None, EOFError(), ValueError()])
def test_process_exception_of_messages(cause: Exception | None) -> None:
    for library in (OURS, THEIRS):
        exc = library.exceptions.InvalidMessage("x")
        exc.__cause__ = cause
        assert library.client.process_exception(exc) is (None if isinstance(cause, EOFError) else exc)


@pytest.mark.parametrize(
    "make",
    [
        *(lambda lib, cls=cls: cls() for cls in (OSError, TimeoutError, ConnectionError, EOFError, ssl.SSLError)),
        lambda lib: socket.gaierror(),
        lambda lib: ValueError(),
        lambda lib: lib.exceptions.InvalidURI("a", "b"),
        lambda lib: lib.exceptions.InvalidHandshake("a"),
        lambda lib: lib.exceptions.SecurityError("a"),
        lambda lib: lib.exceptions.ProxyError("a"),
        lambda lib: lib.exceptions.ConnectionClosedError(None, None),
        *(
            lambda lib, status=status: lib.exceptions.InvalidStatus(
                lib.http11.Response(status, "Words", lib.datastructures.Headers())
            )
            for status in (200, 301, 400, 404, 408, 429, 499, 500, 501, 502, 503, 504, 505, 599)
        ),
    ],
)
def test_process_exception(make: Any) -> None:
    results = []
    for library in (OURS, THEIRS):
        exc = make(library)
        result = library.client.process_exception(exc)
        assert result in (None, exc)
        results.append(result is None)
    assert results[0] == results[1]
