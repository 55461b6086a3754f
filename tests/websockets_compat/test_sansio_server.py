"""The opening handshakes of our ServerProtocol and of that of websockets 17.4, byte for byte.

Where ours does something else, the case says why and what.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
theirs = pytest.importorskip("websockets", reason="websockets is not installed: nothing to compare with")
if theirs.__version__ != "17.4":
    pytest.skip(f"websockets 17.4 is emulated, {theirs.__version__} is installed", allow_module_level=True)

from fixtures.sansio import EOF, Library, accept, cut, frame, show_exception, total  # noqa: E402
from fixtures.sansio_http import (  # noqa: E402
    EXTENSIONS,
    MASKED,
    PROTOCOLS,
    REQUEST,
    UNMASKED,
    Custom,
    request,
    serve,
    server_deflate,
)

OURS, THEIRS = Library("picows.websockets"), Library("websockets")


def select(answer: Any) -> Callable[[Library], Callable[[Any, Any], Any]]:
    def make(library: Library) -> Callable[[Any, Any], Any]:
        def choose(protocol: Any, subprotocols: Any) -> Any:
            assert type(protocol) is library.server.ServerProtocol
            result = answer(library, subprotocols)
            if isinstance(result, Exception):
                raise result
            return result

        return choose

    return make


def explained(library: Library, subprotocols: Any) -> Exception:
    error = library.exceptions.NegotiationError("a")
    error.__cause__ = ValueError("b")
    error.__cause__.__cause__ = KeyError("c")
    return error


ORIGIN = {"Origin": "http://a"}

#: Requests, and arguments of ServerProtocol.
REQUESTS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "good": (request(), {}),
    "with frames": (request() + MASKED + frame(1, b"y", masked=True), {}),
    "with a bad frame": (request() + UNMASKED, {}),
    "with a close frame": (request() + frame(8, b"\x03\xe8", masked=True), {}),
    **{f"without {name}": (request(**{name: None}), {}) for name in REQUEST},
    **{f"{name} twice": (request(f"{name}: {value}"), {}) for name, value in REQUEST.items()},
    **{
        f"Upgrade: {v}": (request(Upgrade=v), {}) for v in ("x", "websocket, x", "WebSocket", "h2c, websocket", "", "@")
    },
    "Upgrade with a version": (request(Upgrade="websocket/13"), {}),
    **{
        f"Connection: {value}": (request(Connection=value), {})
        for value in ("keep-alive", "keep-alive, Upgrade", "UPGRADE", "close", "", "@", "a b", ",,upgrade")
    },
    **{
        f"key: {value}": (request(Sec_WebSocket_Key=value), {})
        for value in ("abc", "A" * 22 + "==", "A" * 21 + "==", "A" * 22 + "==x", "é", "dGhl IHNhbXBsZSBub25jZQ==", "")
    },
    **{f"version: {value}": (request(Sec_WebSocket_Version=value), {}) for value in ("12", "013", "", "13, 8")},
    "wrong in all ways": (request(line="POST / HTTP/1.0", Upgrade=None, Connection=None), {}),
    "key and version": (request(Sec_WebSocket_Key="x", Sec_WebSocket_Version="12"), {}),
    "connection and upgrade": (request(Upgrade="x", Connection="x"), {}),
    "version and origin": (request(Sec_WebSocket_Version="12", **ORIGIN), {"origins": ["y"]}),
    "origin and extensions": (request(EXTENSIONS + "@", **ORIGIN), {"origins": ["y"], "extensions": server_deflate()}),
    "extensions and subprotocols": (request(EXTENSIONS + "@", PROTOCOLS + "@"), {"extensions": server_deflate()}),
    "origin": (request(**ORIGIN), {}),
    "origin allowed": (request(**ORIGIN), {"origins": ["http://b", "http://a"]}),
    "origin not allowed": (request(**ORIGIN), {"origins": ["http://b"]}),
    "no origin allowed": (request(**ORIGIN), {"origins": []}),
    "origin missing": (request(), {"origins": ["http://a"]}),
    "origin may be missing": (request(), {"origins": ["http://a", None]}),
    "origin matches": (request(**ORIGIN), {"origins": [re.compile("http://.")]}),
    "origin matches in part": (request(**ORIGIN), {"origins": [re.compile("http:")]}),
    "origin missing, pattern": (request(), {"origins": [re.compile(".*")]}),
    "origin empty": (request(Origin=""), {"origins": [re.compile("x"), None]}),
    "origin twice": (request("Origin: http://a", "Origin: http://a"), {"origins": ["http://a"]}),
    "subprotocol of the server's choice": (request(PROTOCOLS + "a, b"), {"subprotocols": ["b", "a"]}),
    "subprotocols in two lines": (request(PROTOCOLS + "z", PROTOCOLS + "a"), {"subprotocols": ["a", "z"]}),
    "no common subprotocol": (request(PROTOCOLS + "c"), {"subprotocols": ["b", "a"]}),
    "no subprotocol": (request(), {"subprotocols": ["b", "a"]}),
    "empty list of subprotocols": (request(PROTOCOLS + "a"), {"subprotocols": []}),
    "subprotocol nobody asked for": (request(PROTOCOLS + "a"), {}),
    "subprotocols malformed": (request(PROTOCOLS + "@"), {"subprotocols": ["a"]}),
    "subprotocols malformed, not used": (request(PROTOCOLS + "a b"), {}),
    "subprotocols empty": (request(PROTOCOLS), {"subprotocols": ["a"]}),
    "select_subprotocol": (request(PROTOCOLS + "a, b"), {"select_subprotocol": select(lambda lib, found: found[1])}),
    "select none": (request(PROTOCOLS + "a"), {"select_subprotocol": select(lambda lib, found: None)}),
    "select from nothing": (request(), {"select_subprotocol": select(lambda lib, found: None)}),
    "select another": (request(PROTOCOLS + "a"), {"select_subprotocol": select(lambda lib, found: "z")}),
    "select before subprotocols": (
        request(PROTOCOLS + "a, b"),
        {"select_subprotocol": select(lambda lib, found: "b"), "subprotocols": ["a"]},
    ),
    "select declines": (request(), {"select_subprotocol": select(explained)}),
    "select fails": (request(), {"select_subprotocol": select(lambda lib, found: ZeroDivisionError("boo"))}),
    **{
        f"line: {line}": (request(line=line), {})
        for line in (
            *("POST /x HTTP/1.1", "HEAD /x HTTP/1.1", "get /x HTTP/1.1", "GET /x HTTP/1.0", "OPTIONS * HTTP/1.0"),
            *("GET /x HTTP/2.0", "GET /x HTTP/1.10", "GET /x http/1.1", "GET /x", "", "GET", "GET  /x HTTP/1.1"),
            *(" GET /x HTTP/1.1", "GET /x HTTP/1.1 ", "PRI * HTTP/2.0", "GET http://h/x HTTP/1.1", "GET * HTTP/1.1"),
            *("GET /x#y HTTP/1.1", "GET /%C3%A9 HTTP/1.1", "\x16\x03\x01"),
        )
    },
    "line too long": (request(line=f"GET /{'x' * 8190} HTTP/1.1"), {}),
    "line as long as allowed": (request(line=f"GET /{'x' * (8192 - 16)} HTTP/1.1"), {}),
    "line too long, not ended": (b"G" * 8193, {}),
    **{
        f"header: {line!r:.40}": (request(line), {})
        for line in (
            *("A: " + "x" * 8187, "A: " + "x" * 8188, "A : x", "A", "A:x", "A:  x\t ", "A:", ":x", "A: \x01", "A: \0"),
            *("A: \x7f", "A: \xe9", "\xe9: x", " folded", "\tfolded", "A: x\ry", "A: x\ny", "A\x01B: x", "A: x\r"),
            *("Content-Length: 0", "Content-Length: 5", "Content-Length: x", "Content-Length: 00", "a;b: x", "A: b: c"),
            *("Content-Length: 0\r\nContent-Length: 0", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        )
    },
    "128 headers": (request(*["A: b"] * 123), {}),
    "129 headers": (request(*["A: b"] * 124), {}),
    "line feeds": (request(end="\n"), {}),
    "carriage returns": (request(end="\r"), {}),
    "extension": (request(EXTENSIONS + "permessage-deflate"), {"extensions": server_deflate()}),
    "unknown extension": (request(EXTENSIONS + "y; z=1"), {"extensions": server_deflate()}),
    "extension nobody has": (request(EXTENSIONS + "permessage-deflate"), {}),
    "extensions malformed": (request(EXTENSIONS + "permessage-deflate; a b"), {"extensions": server_deflate()}),
    "extensions malformed, not used": (request(EXTENSIONS + "@"), {"extensions": []}),
    "extensions empty": (request(EXTENSIONS), {"extensions": server_deflate()}),
    "second offer fits": (
        request(EXTENSIONS + "permessage-deflate; a, permessage-deflate; server_max_window_bits=9"),
        {"extensions": server_deflate()},
    ),
    "extension offered twice": (
        request(EXTENSIONS + "permessage-deflate, permessage-deflate"),
        {"extensions": server_deflate()},
    ),
    "extensions in two lines": (
        request(EXTENSIONS + "y", EXTENSIONS + "permessage-deflate"),
        {"extensions": server_deflate()},
    ),
    "second factory fits": (
        request(EXTENSIONS + "permessage-deflate"),
        {
            "extensions": lambda library: [
                *server_deflate(client_max_window_bits=9, require_client_max_window_bits=True)(library),
                *server_deflate(server_max_window_bits=10)(library),
            ]
        },
    ),
    "own extension": (request(EXTENSIONS + "x; q=1; r"), {"extensions": lambda library: [Custom(library)]}),
    "own extension fails": (
        request(EXTENSIONS + "x"),
        {"extensions": lambda library: [Custom(library, ZeroDivisionError("z"))]},
    ),
    "own extension refuses": (
        request(EXTENSIONS + "x"),
        {"extensions": lambda library: [Custom(library, library.exceptions.InvalidHandshake("z"))]},
    ),
}


@pytest.mark.parametrize("debug", [True, False], ids=["debug", "quiet"])
@pytest.mark.parametrize("name", REQUESTS)
def test_server(name: str, debug: bool) -> None:
    data, arguments = REQUESTS[name]
    steps = [("receive_data", data), accept, ("receive_data", MASKED), EOF]
    assert serve(OURS, steps, debug, **arguments) == serve(THEIRS, steps, debug, **arguments)


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("name", [name for name in REQUESTS if len(REQUESTS[name][0]) < 2000])
def test_server_in_pieces(name: str, size: int) -> None:
    data, arguments = REQUESTS[name]
    steps = [*cut(data, size), accept, ("receive_data", MASKED), EOF]
    ours, other = (total(serve(library, steps, **arguments)) for library in (OURS, THEIRS))
    assert ours == other


def test_server_end_of_the_stream_at_each_byte() -> None:
    data = request() + MASKED
    for at in range(len(data) + 1):
        steps = [("receive_data", data[:at]), EOF]
        assert serve(OURS, steps) == serve(THEIRS, steps), at


#: What the library's parser of HTTP refuses on purpose and websockets accepts, or says in other words.
STRICTER = ["G@T /x HTTP/1.1", "GET /x\ty HTTP/1.1", "GET /\xe9 HTTP/1.1"]


@pytest.mark.parametrize("line", STRICTER)
def test_server_is_stricter_about_the_request_line(line: str) -> None:
    (entry,) = serve(OURS, [("receive_data", request(line=line))])
    cause = f"ValueError: invalid HTTP request line: {line}".replace("\xe9", "\\xe9")
    assert entry["handshake_exc"] == f"InvalidMessage: did not receive a valid HTTP request <- {cause}"
    assert serve(THEIRS, [("receive_data", request(line=line))]) != [entry]


def test_server_answers_no_ping_before_the_handshake() -> None:
    """On purpose: websockets writes the PONG before the response, and the client takes it for HTTP."""
    ours, other = (serve(lib, [("receive_data", request() + frame(9, b"p", masked=True))]) for lib in (OURS, THEIRS))
    assert ours[0]["writes"] == []
    assert other[0]["writes"] == [b"\x8a\x01p"]
    assert ours[0]["events"] == other[0]["events"]


def reject(status: int, words: str) -> Callable[[Library, Any, list[Any]], Any]:
    def step(library: Library, protocol: Any, received: list[Any]) -> Any:
        made = protocol.reject(status, words)
        protocol.send_response(made)
        return made

    return step


def send(status: int) -> Callable[[Library, Any, list[Any]], Any]:
    def step(library: Library, protocol: Any, received: list[Any]) -> Any:
        headers = library.datastructures.Headers(A="b")
        protocol.send_response(library.http11.Response(status, "Words", headers, b"body"))

    return step


def only_accept(library: Library, protocol: Any, received: list[Any]) -> Any:
    return protocol.accept(next(event for event in received if hasattr(event, "method")))


ANSWERS: dict[str, list[Any]] = {
    **{f"reject {status}": [reject(status, "nô")] for status in (101, 200, 302, 404, 503, 600)},
    **{f"send {status}": [send(status)] for status in (99, 101, 200, 404, 600)},
    "accept twice": [only_accept, only_accept],
    "accept, then reject": [only_accept, reject(403, "no")],
    "accept, not sent": [only_accept, ("receive_data", MASKED)],
    "reject after 101": [accept, reject(403, "no")],
    "frames before the response": [("send_text", b"x"), ("send_ping", b"x"), ("send_pong", b"x"), ("send_close",)],
    "fail before the response": [("fail", 1000), ("receive_data", MASKED)],
}


@pytest.mark.parametrize("name", ANSWERS)
def test_server_answers(name: str) -> None:
    steps = [("receive_data", request()), *ANSWERS[name], ("receive_data", MASKED), EOF]
    assert serve(OURS, steps) == serve(THEIRS, steps)


def test_server_steps_alone() -> None:
    def run(library: Library) -> list[Any]:
        protocol = library.server.ServerProtocol(subprotocols=["b", "c"], extensions=server_deflate()(library))
        headers = library.datastructures.Headers
        good = headers([*REQUEST.items(), *ORIGIN.items(), (PROTOCOLS[:-2], "c"), (EXTENSIONS[:-2], "y")])
        calls: list[Callable[[], Any]] = [
            lambda: protocol.process_request(library.http11.Request("/", good)),
            lambda: (protocol.origin, protocol.subprotocol, protocol.extensions),
            lambda: protocol.process_request(library.http11.Request("/", headers())),
            lambda: protocol.process_origin(headers(Origin="q")),
            lambda: protocol.process_extensions(headers({EXTENSIONS[:-2]: "permessage-deflate"})),
            lambda: protocol.process_subprotocol(headers({PROTOCOLS[:-2]: "a, b"})),
            lambda: protocol.select_subprotocol(["c"]),
            lambda: protocol.select_subprotocol(["a"]),
            lambda: protocol.select_subprotocol([]),
        ]
        results = []
        for call in calls:
            try:
                results.append(repr(call()))
            except Exception as exc:
                results.append(show_exception(exc) or "")
        return results

    assert run(OURS) == run(THEIRS)


STEPS: dict[str, Callable[[Library, Any, Any], object]] = {
    "accept": lambda library, protocol, request: protocol.send_response(protocol.accept(request)),
    "reject": lambda library, protocol, request: protocol.send_response(protocol.reject(403, "no")),
    "eof": lambda library, protocol, request: protocol.receive_eof(),
    "fail": lambda library, protocol, request: protocol.fail(1011, "x"),
}


@pytest.mark.parametrize(
    "steps",
    ["eof accept", "eof reject", "accept accept", "reject reject", "accept eof accept", "eof fail", "accept eof fail"],
)
def test_what_comes_too_late(steps: str) -> None:
    """A response to a client that has left, or a second one, is refused, and opens nothing; fail() does nothing."""

    def show(library: Library) -> Any:
        protocol = library.server.ServerProtocol()
        protocol.receive_data(request())
        (event,) = protocol.events_received()
        seen: list[Any] = []
        for step in steps.split():
            try:
                STEPS[step](library, protocol, event)
            except AssertionError:  # InvalidState is one
                seen.append(f"{step} raises")
        return seen, protocol.state.name, protocol.close_code, protocol.eof_sent

    assert show(OURS) == show(THEIRS)
