"""J: smuggling around the upgrade. What a proxy in front could understand differently is refused, and ends the
connection; nothing behind it has any effect."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Dict, List

import pytest
from fixtures.peers import header_of, request_head
from fixtures.places import Place, ask
from fixtures.wire import CLOSE, KEY, TEXT, build, close_payload

from picows import WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.enums import WSCloseCode

SECOND = request_head(target="/second")
FRAME = build(TEXT, b"smuggled", key=KEY)

BODIES: Dict[str, List[str]] = {
    "length 5": ["Content-Length: 5"],
    "two lengths": ["Content-Length: 0", "Content-Length: 5"],
    "list of lengths": ["Content-Length: 0, 5"],
    "+0": ["Content-Length: +0"],
    "0x0": ["Content-Length: 0x0"],
    "-0": ["Content-Length: -0"],
    "blanks inside": ["Content-Length: 0 0"],
    "empty": ["Content-Length:"],
    "chunked": ["Transfer-Encoding: chunked"],
    "identity": ["Transfer-Encoding: identity"],
    "chunked of another case": ["transfer-encoding: CHUNKED"],
    "both": ["Content-Length: 0", "Transfer-Encoding: chunked"],
}


class Application:
    """A listener factory, and all that reached it."""

    def __init__(self, place: Place) -> None:
        self.paths: List[bytes] = []
        self.listeners: List[Any] = []
        self.place = place

    def __call__(self, request: Any) -> Any:
        self.paths.append(request.path)
        self.listeners.append(self.place.engine.WSMessageListener())
        return self.listeners[-1]


@pytest.mark.parametrize(
    "body", [b"hello", FRAME, SECOND, b"0\r\n\r\n" + SECOND], ids=["text", "frame", "request", "chunk"]
)
async def test_j1_requests_with_a_body(place: Place, body: bytes) -> None:
    """400, once, and the connection ends: the body is neither frames nor another request."""
    application = Application(place)
    server = await place.serve(application)
    for name, lines in BODIES.items():
        answer = await ask(place, server, request_head(*lines) + body)
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 "), name
        assert header_of(head, "Connection") == "close"
        assert len(rest) == int(header_of(head, "Content-Length") or -1), name
    assert application.paths == []


async def test_j1_a_length_of_0_is_no_body(place: Place) -> None:
    """Blanks around a value are no part of it (RFC 9110 5.5)."""
    application = Application(place)
    server = await place.serve(application)
    for line in ("Content-Length: 0", "Content-Length:  0 "):
        peer = await place.raw_client(server)
        await peer.upgrade(line)


REFUSALS = {
    "404": lambda: None,
    "403": lambda: WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(403, b"no"), None),
    "200": lambda: WSUpgradeResponseWithListener(WSUpgradeResponse.create_ok_response(b"hello"), None),
    "302": lambda: WSUpgradeResponseWithListener(WSUpgradeResponse.create_redirect_response(302, "/x"), None),
    "keep-alive": lambda: WSUpgradeResponseWithListener(
        WSUpgradeResponse.create_error_response(503, b"no", {"Connection": "keep-alive"}), None
    ),
}


@pytest.mark.parametrize("behind", [FRAME, SECOND], ids=["frame", "request"])
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_j2_every_other_answer_ends_the_connection(place: Place, refusal: Any, behind: bytes) -> None:
    asked: List[bytes] = []

    def factory(request: Any) -> Any:
        asked.append(request.path)
        return refusal()

    server = await place.serve(factory)
    answer = await ask(place, server, request_head() + behind, behind)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert header_of(answer.partition(b"\r\n\r\n")[0], "Connection") == "close"
    assert asked == [b"/"]
    assert not server.connections


@pytest.mark.parametrize("line", ["Upgrade: h2c", "Upgrade: websocket2", "X: y", "Sec-WebSocket-Version: 99"])
async def test_j3_no_101_without_a_valid_handshake(place: Place, line: str) -> None:
    """And never a byte before the status line."""
    server = await place.serve(Application(place))
    data = request_head().replace(b"Upgrade: websocket", line.encode())
    if line.startswith("Sec"):
        data = request_head().replace(b"Sec-WebSocket-Version: 13", line.encode())
    answer = await ask(place, server, data + FRAME)
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert b" 101 " not in answer


async def test_j4_frames_in_the_segment_of_the_request(place: Place) -> None:
    """They are processed after the 101, in order, and fill the queue like any others."""
    gate = asyncio.Event()
    received: List[Any] = []

    async def handler(listener: Any) -> None:
        await gate.wait()
        async for message in listener:
            received.append(message)

    server = await place.serve_messages(handler, max_queue=4)
    count = 50
    frames = b"".join(build(TEXT, b"%d" % number, key=KEY) for number in range(count))
    peer = await place.raw_client(server)
    await peer.upgrade(then=frames + build(CLOSE, close_payload(WSCloseCode.OK), key=KEY))
    gate.set()
    assert (await peer.read_frame()).payload == close_payload(1000)
    assert await peer.read_rest() == b""
    assert received == [str(number) for number in range(count)]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="picows.websockets needs Python 3.11")
@pytest.mark.parametrize("lines", BODIES.values(), ids=BODIES)
def test_j1_the_drop_in(lines: List[str]) -> None:
    """As websockets, which hangs up without an answer: no 101, no handler."""
    from fixtures import compat

    async def scenario(library: Any) -> Any:
        handled: List[Any] = []

        async def handler(connection: Any) -> None:
            handled.append(connection)

        async with library.serve(handler, logger=compat.silent(), open_timeout=0.3) as server:
            answer = await compat.ask(server, request_head(*lines) + FRAME)
            return answer.count(b" 101 "), len(handled)

    compat.skip_unless_comparable()
    assert compat.assert_same(scenario) == (0, 0)
