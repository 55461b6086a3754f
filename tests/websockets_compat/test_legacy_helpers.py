"""Functions and exceptions of the API before websockets 14 that do without a connection, on both libraries."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fixtures.compat import OURS, THEIRS, Library, assert_same, attempt, skip_unless_comparable

skip_unless_comparable()

from fixtures.legacy_api import legacy  # noqa: E402


def compare(function: Callable[[Library], Any]) -> Any:
    """What both libraries return or raise."""

    async def scenario(library: Library) -> Any:
        async def call() -> Any:
            result = function(library)
            return await result if isinstance(result, Awaitable) else result

        return await attempt(call())

    return assert_same(scenario)


def reader(data: bytes) -> asyncio.StreamReader:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return stream


def plain(value: Any) -> Any:
    """Without our own class of headers."""
    return tuple(list(each.raw_items()) if hasattr(each, "raw_items") else each for each in value)


REQUESTS = [
    b"GET /a HTTP/1.1\r\nA: b\r\nA:\tc \t\r\n\r\nrest",
    b"GET /a HTTP/1.1\r\n\r\n",
    b"POST /a HTTP/1.1\r\n\r\n",
    b"get /a HTTP/1.1\r\n\r\n",
    b"GET /a HTTP/1.0\r\n\r\n",
    b"GET /a b HTTP/1.1\r\n\r\n",
    b"GET /a\r\n\r\n",
    b"GET /\xe9 HTTP/1.1\r\nA: \xe9\r\n\r\n",
    b"",
    b"GET /a HTTP/1.1\n\n",
    b"GET /a HTTP/1.1\r\nA: b",
    b"GET /a HTTP/1.1\r\nA: b\r\n",
    b"GET /a HTTP/1.1\r\nA b\r\n\r\n",
    b"GET /a HTTP/1.1\r\nA b: c\r\n\r\n",
    b"GET /a HTTP/1.1\r\n: b\r\n\r\n",
    b"GET /a HTTP/1.1\r\nA: \x01\r\n\r\n",
    b"GET /a HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    b"GET /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /a HTTP/1.1\r\n" + b"A: b\r\n" * 128 + b"\r\n",
    b"GET /a HTTP/1.1\r\n" + b"A: b\r\n" * 129 + b"\r\n",
    b"GET /a HTTP/1.1\r\nA: " + b"x" * 8187 + b"\r\n\r\n",
    b"GET /a HTTP/1.1\r\nA: " + b"x" * 8188 + b"\r\n\r\n",
    b"GET /" + b"b" * 9000 + b" HTTP/1.1\r\n\r\n",
]
RESPONSES = [
    b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
    b"HTTP/1.1 200 \r\n\r\n",
    b"HTTP/1.1 200\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n",
    b"HTTP/1.1 20x OK\r\n\r\n",
    b"HTTP/1.1  200 OK\r\n\r\n",
    b"HTTP/1.1 -20 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/1.1 999 OK\r\n\r\n",
    b"HTTP/1.1 1000 OK\r\n\r\n",
    b"HTTP/1.1 200 O\x01K\r\n\r\n",
    b"HTTP/1.1 200 O\xe9K\r\n\r\n",
    b"HTTP\r\n\r\n",
    b"",
    b"HTTP/1.1 200 OK\r\n\r",
]


@pytest.mark.parametrize("data", REQUESTS, ids=range(len(REQUESTS)))
def test_read_request(data: bytes) -> None:
    async def read(library: Library) -> Any:
        return plain(await legacy(library).http.read_request(reader(data)))

    compare(read)


@pytest.mark.parametrize("data", RESPONSES, ids=range(len(RESPONSES)))
def test_read_response(data: bytes) -> None:
    async def read(library: Library) -> Any:
        return plain(await legacy(library).http.read_response(reader(data)))

    compare(read)


KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
REQUEST = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Version": "13"
}  # fmt: skip
RESPONSE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Accept": "ICX+Yqv66kxgM0FcWaLWlFLwTAI="}
#: Headers, each with the values that it has instead.
REQUEST_CHANGES: list[tuple[str, list[str]]] = [
    ("X", []),
    *(("Connection", values) for values in ([], ["close"], ["close, UPGRADE"], ["a", "upgrade"], ["a", "b"], [","])),
    *(("Upgrade", values) for values in ([], ["x"], ["WebSocket"], ["websocket", "x"], ["a, b"], ["a b"])),
    *(("Sec-WebSocket-Key", values) for values in ([], ["x"], ["AAAA"], ["a", "b"], ["\xe9"], [KEY + "\xe9"])),
    *(("Sec-WebSocket-Version", values) for values in ([], ["12"], ["13", "13"])),
]
RESPONSE_CHANGES: list[tuple[str, list[str]]] = [
    ("X", []),
    *(("Connection", values) for values in ([], ["close"])),
    *(("Upgrade", values) for values in ([], ["x"])),
    *(("Sec-WebSocket-Accept", values) for values in ([], ["x"], ["a", "b"])),
]


def headers(library: Library, fields: dict[str, str], change: tuple[str, list[str]]) -> Any:
    name, values = change
    made = library.module("datastructures").Headers({each: value for each, value in fields.items() if each != name})
    for value in values:
        made[name] = value
    return made


@pytest.mark.parametrize("change", REQUEST_CHANGES, ids=str)
def test_check_request(change: tuple[str, list[str]]) -> None:
    compare(lambda library: legacy(library).handshake.check_request(headers(library, REQUEST, change)))


@pytest.mark.parametrize("change", RESPONSE_CHANGES, ids=str)
def test_check_response(change: tuple[str, list[str]]) -> None:
    compare(lambda library: legacy(library).handshake.check_response(headers(library, RESPONSE, change), KEY))


def test_building_requests_and_responses() -> None:
    def build(library: Library) -> Any:
        request, response = (library.module("datastructures").Headers({"Upgrade": "old"}) for _ in range(2))
        key = legacy(library).handshake.build_request(request)
        assert request["Sec-WebSocket-Key"] == key
        assert legacy(library).handshake.build_response(response, KEY) is None
        return len(key), [name for name, _ in request.raw_items()], list(response.raw_items())

    compare(build)


DATA = ["\xe9", b"a", bytearray(b"a"), memoryview(b"a"), memoryview(b"abcd")[::2], 3, None, ["a"]]


@pytest.mark.parametrize("function", ["prepare_data", "prepare_ctrl", "encode_data"])
@pytest.mark.parametrize("data", DATA, ids=lambda data: type(data).__name__)
def test_preparing_data(function: str, data: Any) -> None:
    compare(lambda library: getattr(legacy(library).framing, function)(data))


@pytest.mark.parametrize("data", [b"", b"\x03", b"\x03\xe8", b"\x03\xe8abc", b"\x00\x01", b"\x03\xe8\xff"])
def test_parse_close(data: bytes) -> None:
    compare(lambda library: legacy(library).framing.parse_close(data))


@pytest.mark.parametrize("code", [1000, 1005, 999, 4999, 5000])
def test_serialize_close(code: int) -> None:
    compare(lambda library: legacy(library).framing.serialize_close(code, "\xe9"))


#: Arguments of Frame, whose opcode is one of the library.
FRAMES: list[tuple[bool, int, bytes, dict[str, bool]]] = [
    (True, 1, b"abc", {}),
    (False, 2, b"\x00" * 200, {}),
    (True, 0, b"", {}),
    (True, 8, b"\x03\xe8", {}),
    (False, 9, b"", {}),
    (True, 10, b"x" * 126, {}),
    (True, 1, b"x", {"rsv1": True}),
    (True, 2, b"x" * 70_000, {}),
]


@pytest.mark.parametrize("case", FRAMES, ids=range(len(FRAMES)))
@pytest.mark.parametrize("mask", [False, True], ids=["server", "client"])
def test_frames(case: tuple[bool, int, bytes, dict[str, bool]], mask: bool) -> None:
    """Text, check, bytes, and back again."""
    fin, opcode, data, bits = case

    async def both_ways(library: Library) -> Any:
        frame = legacy(library).framing.Frame(fin, library.module("frames").Opcode(opcode), data, **bits)
        written: list[bytes] = []
        seen = [str(frame), repr(frame), frame.fin, frame._replace(fin=True).fin, type(frame.new_frame).__name__]
        frame.write(written.append, mask=mask)
        read = await legacy(library).framing.Frame.read(reader(b"".join(written)).readexactly, mask=mask)
        return [*seen, len(written), len(written[0]), read == frame, type(read.opcode).__name__]

    compare(both_ways)


WIRE: list[tuple[bytes, dict[str, Any]]] = [
    (b"\x81\x03abc", {"mask": True}),
    (b"\x81\x83\0\0\0\0abc", {"mask": False}),
    (b"\x83\x03abc", {"mask": False}),
    (b"\x81\x03abc", {"mask": False, "max_size": 2}),
    (b"\x81\x03ab", {"mask": False}),
    (b"\xc1\x03abc", {"mask": False}),
    (b"\x09\x03abc", {"mask": False}),
    (b"\x82\x7e\x00\x03abc", {"mask": False}),
    (b"\x82\x7f\0\0\0\0\0\0\0\x03abc", {"mask": False}),
]


@pytest.mark.parametrize("case", WIRE, ids=range(len(WIRE)))
def test_reading_frames(case: tuple[bytes, dict[str, Any]]) -> None:
    data, options = case

    async def read(library: Library) -> Any:
        return repr(await legacy(library).framing.Frame.read(reader(data).readexactly, **options))

    compare(read)


def test_frames_with_an_extension() -> None:
    async def read(library: Library) -> Any:
        deflate = library.module("extensions.permessage_deflate").PerMessageDeflate
        frame = legacy(library).framing.Frame(True, library.module("frames").Opcode.TEXT, b"a" * 1000)
        written: list[bytes] = []
        frame.write(written.append, mask=False, extensions=[deflate(False, False, 15, 15)])
        stream = reader(written[0])
        again = await legacy(library).framing.Frame.read(
            stream.readexactly, mask=False, extensions=[deflate(False, False, 15, 15)]
        )
        return len(written[0]) < 100, bytes(again.data) == frame.data, again.rsv1

    assert compare(read)[:2] == (True, True)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("AbortHandshake", (503, {"a": "b"}, b"body")),
        ("AbortHandshake", (99, {})),
        ("InvalidStatusCode", (403, {})),
        ("RedirectHandshake", ("ws://a/",)),
    ],
)
def test_exceptions(name: str, args: tuple[Any, ...]) -> None:
    def make(library: Library) -> Any:
        exc = getattr(legacy(library).exceptions, name)(*args)
        assert isinstance(exc, library.exceptions.InvalidHandshake)
        return str(exc), sorted(vars(exc)), exc.args

    compare(make)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"credentials": 3},
        {"credentials": [3]},
        {"credentials": ("a", "b"), "check_credentials": print},
        {"credentials": ("a", "b"), "realm": "r"},
    ],
    ids=["nothing", "no pair", "no pairs", "both", "right"],
)
def test_basic_auth_protocol_factory(options: dict[str, Any]) -> None:
    compare(lambda library: sorted(legacy(library).auth.basic_auth_protocol_factory(**options).keywords))


@pytest.mark.parametrize("value", [("a", "b"), ["a", "b"], ("a",), ("a", 1), None, "ab"], ids=str)
def test_is_credentials(value: Any) -> None:
    compare(lambda library: legacy(library).auth.is_credentials(value))


PROGRAM = """
import importlib, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for module in sys.argv[2:]:
        importlib.import_module(f"{sys.argv[1]}.{module}")
for each in caught:
    print(each.category.__name__, each.message)
"""


@pytest.mark.parametrize("modules", [["legacy.client", "legacy.server"], ["auth"], ["legacy", "auth"]], ids=str)
def test_importing_warns(modules: list[str]) -> None:
    """In a process of its own: a module is imported once."""
    seen = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, library.root, *modules],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        for library in (THEIRS, OURS)
    ]
    assert seen[0] == seen[1]
    assert "is deprecated; see https://" in seen[1]


@pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")
def test_the_old_module_of_authentication() -> None:
    for library in (THEIRS, OURS):
        auth = importlib.import_module(f"{library.root}.auth")
        assert auth.BasicAuthWebSocketServerProtocol is legacy(library).auth.BasicAuthWebSocketServerProtocol
