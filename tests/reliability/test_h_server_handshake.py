"""H: the opening handshake on a server. What is wrong is refused with a status that says so, at once, and cheaply."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from typing import Any, Dict, List, Tuple

import pytest
from fixtures.clock import ClockLoop
from fixtures.feeding import retained
from fixtures.peers import header_of, request_head
from fixtures.places import Place, ask
from fixtures.requests import ENDLESS, KEYS, LENIENT, MALFORMED, MANY_HEADERS, OTHERS, WRONG, raw, request
from fixtures.sockets import count_sockets, settle, until
from fixtures.wire import FakeTransport

from picows import WSUpgradeResponse, WSUpgradeResponseWithListener
from picows import server as server_module
from picows.handshake import ClientHandshake
from picows.head import MAX_LINE_LENGTH
from picows.options import ConnectionOptions
from picows.url import parse_url

KIB = 1024


async def statuses(place: Place, requests: Dict[str, Tuple[bytes, int]], cut: int = 0) -> Dict[str, int]:
    """The status of the answer to each, 0 for none. They are sent in pieces of `cut` bytes, or whole."""
    asked: List[bytes] = []

    def factory(request: Any) -> Any:
        asked.append(request.path)
        return place.engine.WSListener()

    server = await place.serve(factory)
    found = {}
    for name, (data, expected) in requests.items():
        pieces = [data[at : at + cut] for at in range(0, len(data), cut)] if cut else [data]
        if expected == 101:
            peer = await place.raw_client(server)
            for piece in pieces:
                peer.write(piece)
                await peer.writer.drain()
            answer = await peer.read_head()
            await peer.aclose()
        else:
            answer = await ask(place, server, *pieces)
            assert header_of(answer.split(b"\r\n\r\n")[0], "Connection") == "close", name
        found[name] = int(answer[9:12] or 0)
    await until(lambda: not server.connections)
    return found


async def check(place: Place, requests: Dict[str, Tuple[bytes, int]], caplog: Any, cut: int = 0) -> None:
    """All of them get the status of the table, and nothing is logged above INFO."""
    assert await statuses(place, requests, cut) == {name: status for name, (_, status) in requests.items()}
    ours = [record for record in caplog.records if record.name != "asyncio"]  # whose debug mode times the machine
    assert [record.getMessage() for record in ours if record.levelno > logging.INFO] == []


@pytest.mark.parametrize("cut", [0, 100], ids=["whole", "pieces of 100"])
async def test_h1_h2_limits(place: Place, cut: int, caplog: Any) -> None:
    """By line, not by read: what the limits refuse does not depend on how the bytes come."""
    requests = {name: row for name, row in ENDLESS.items() if not cut or len(row[0]) < 2**20}
    await check(place, requests, caplog, cut)


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: "], ids=["line", "header"])
def test_h1_an_endless_line_is_refused_after_8193_bytes(engine: Any, start: bytes) -> None:
    line, more = start.rsplit(b"\n")[-1], b"a" * 2**20
    handshake = Handshake(engine)
    handshake.feed(start + b"a" * (MAX_LINE_LENGTH - len(line)))
    assert handshake.wire.chunks == []
    handshake.feed(b"a")
    assert re.match(rb"HTTP/1.1 4(14|31) ", b"".join(handshake.wire.chunks))
    handshake.feed(more)
    assert len(handshake.wire.chunks) == 1
    other = Handshake(engine, handshake.loop)  # the engine's read buffer has grown already, and is shared
    kept, _ = retained(lambda: other.feed(start + more))
    other.wire._lose(None)
    handshake.end()
    assert kept < 64 * KIB


class Handshake:
    """A server's handshake on a clock of the test's own."""

    def __init__(self, engine: Any, loop: Any = None, timeout: float = 10, settings: Any = None) -> None:
        self.loop = loop or ClockLoop()
        self.settings = settings or server_module._ServerSettings(
            self.loop, engine, lambda request: engine.WSListener(), timeout
        )
        options = ConnectionOptions(False, logging.getLogger("picows.test"))
        self.protocol = engine.make_protocol(self.loop, options, server_module.ServerOpening(self.settings))
        self.wire = Silent(self.loop, None, False)
        self.wire.protocol = self.protocol
        self.protocol.connection_made(self.wire)

    def feed(self, data: bytes) -> None:
        """Bytes arrive."""
        while data and self.wire.protocol is not None:
            buffer = memoryview(self.protocol.get_buffer(-1))
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            del buffer
            self.protocol.buffer_updated(count)
            data = data[count:]

    def end(self) -> None:
        """Lose the connection, and close the loop."""
        self.wire._lose(None)
        self.loop.settle()
        self.loop.close()


class Silent(FakeTransport):
    """A transport without half-close."""

    def can_write_eof(self) -> bool:
        return False


@pytest.mark.parametrize("drip", [False, True], ids=["silence", "1 byte per second"])
def test_h3_slowloris(engine: Any, drip: bool) -> None:
    """Half a request is closed at open_timeout, whatever still comes."""
    handshake = Handshake(engine, timeout=10)
    began = handshake.loop.time()
    handshake.feed(request()[:50])
    while not handshake.wire.is_closing():
        assert handshake.loop.time() - began <= 11
        handshake.loop.advance(0.25)
        if drip and handshake.loop.time() % 1 == 0:
            handshake.feed(b"a")
    assert 9 <= handshake.loop.time() - began <= 11
    assert handshake.wire.chunks == []
    handshake.end()


def test_h3_stalled_handshakes_cost_the_loop_nothing(engine: Any) -> None:
    """5,000 of them share one timer; each costs little, and they all end at their time."""
    first = Handshake(engine, timeout=10)
    stalled = [Handshake(engine, first.loop, settings=first.settings) for _ in range(5000)]
    for handshake in stalled:
        handshake.feed(b"GET / HTTP/1.1\r\nX: ")
    assert len(first.loop._scheduled) == 1  # type: ignore[attr-defined]
    first.feed(request())
    assert b"".join(first.wire.chunks).startswith(b"HTTP/1.1 101 ")
    first.loop.advance(10.5)
    assert all(handshake.wire.is_closing() for handshake in stalled)
    assert not first.wire.is_closing()
    first.end()


async def test_h4_many_headers_with_upgrade_last(place: Place, caplog: Any) -> None:
    await check(place, MANY_HEADERS, caplog)


def test_h4_headers_beyond_the_limit_are_not_kept(engine: Any) -> None:
    for count in (129, 10_000):
        data = MANY_HEADERS[f"{count} headers"][0]
        loop = ClockLoop()
        handshakes = [Handshake(engine, loop) for _ in range(2)]  # the first makes the engine's read buffer
        kept = [retained(lambda one=one, data=data: one.feed(data))[0] for one in handshakes]  # type: ignore[misc]
        answers = [b"".join(one.wire.chunks)[:13] for one in handshakes]
        handshakes[0].wire._lose(None)
        handshakes[1].end()
        assert answers == [b"HTTP/1.1 431 "] * 2
        assert kept[1] < 64 * KIB


async def test_h5_malformed_host_and_target(place: Place, caplog: Any) -> None:
    await check(place, MALFORMED, caplog)


async def test_h6_keys(place: Place, caplog: Any) -> None:
    await check(place, KEYS, caplog)


async def test_h7_wrong_method_version_or_upgrade(place: Place, caplog: Any) -> None:
    await check(place, WRONG, caplog)
    server = await place.serve(lambda request: place.engine.WSListener())
    for name in ("no Upgrade", "version 12"):
        head = (await ask(place, server, WRONG[name][0])).partition(b"\r\n\r\n")[0]
        assert header_of(head, "Upgrade") == "websocket"
        assert header_of(head, "Sec-WebSocket-Version") == "13"


async def test_h8_nothing_lenient(place: Place, caplog: Any) -> None:
    await check(place, LENIENT, caplog)


async def test_h8_next_line_is_no_line(place: Place) -> None:
    """str.splitlines would take 0x85 for the end of a line: here it is a byte of the value."""
    seen: List[Any] = []

    def factory(request: Any) -> Any:
        seen.append(request.headers)
        return place.engine.WSListener()

    server = await place.serve(factory)
    peer = await place.raw_client(server)
    peer.write(raw("X: a\x85Content-Length: 5")[0])
    assert (await peer.read_head()).startswith(b"HTTP/1.1 101 ")
    assert "Content-Length" not in seen[0]


BACKTRACKING = {
    "protocol": request("Sec-WebSocket-Protocol: a" + " " * 8000 + "b"),
    "extension": request('Sec-WebSocket-Extensions: a; b="' + "\\c" * 4000),
    "extensions": request("Sec-WebSocket-Extensions: " + "a," * 4000),
    "repeated": request(*["Sec-WebSocket-Protocol: a, b, c"] * 120),
    "connection": request("Connection: " + "a, " * 2600),
}


@pytest.mark.parametrize("data", BACKTRACKING.values(), ids=BACKTRACKING)
def test_h9_h10_work_is_linear(engine: Any, data: bytes) -> None:
    """Counted in lines of Python: a loop over loops would need millions, and a regex that backtracks would not end."""
    lines = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += 1
        return trace

    handshake = Handshake(engine)
    old = sys.gettrace()
    sys.settrace(trace)
    try:
        handshake.feed(data)
    finally:
        sys.settrace(old)
    assert b"".join(handshake.wire.chunks)[:12] in (b"HTTP/1.1 101", b"HTTP/1.1 400")
    assert lines < 5 * len(data)
    handshake.end()


async def test_h11_the_application_refuses(place: Place) -> None:
    """It returns a response, raises, is cancelled by a timeout, or the client leaves: one status each, and no leak."""

    async def factory(request: Any) -> Any:
        running.append(request.path)
        if request.path == b"/403":
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(403, b"no"), None)
        if request.path == b"/500":
            raise KeyError("mine")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(request.path)

    running: List[bytes] = []
    ended: List[bytes] = []
    server = await place.serve(factory, open_timeout=0.3)
    before = count_sockets()
    for path, status in (("/403", b"403"), ("/500", b"500")):
        answer = await ask(place, server, request_head(target=path))
        assert answer[9:12] == status
    leaving = await place.raw_client(server)
    leaving.write(request_head(target="/leaves"))
    await until(lambda: b"/leaves" in running)
    leaving.reset()
    await leaving.aclose()
    await until(lambda: ended == [b"/leaves"])
    assert await ask(place, server, request_head(target="/slow")) == b""
    await until(lambda: ended == [b"/leaves", b"/slow"])
    await settle()
    assert not server.connections
    await until(lambda: count_sockets() == before)


INJECTED = ["\r", "\n", "\r\nX: y", "\0", "\x01", "\x1f", "\x7f"]


@pytest.mark.parametrize("bad", INJECTED, ids=[ascii(bad)[1:-1].replace("\\", "") for bad in INJECTED])
def test_h12_no_injection(bad: str) -> None:
    """Nothing that a caller supplies can end a line, or be written at all if it has a control character."""
    url = parse_url("ws://a/")
    text = f"a{bad}b"
    for use in (
        lambda: ClientHandshake(url, {"X": text}),
        lambda: ClientHandshake(url, {text: "x"}),
        lambda: ClientHandshake(url, {"User-Agent": text}),
        lambda: ClientHandshake(url, {"Origin": text}),
        lambda: ClientHandshake(url, {"Sec-WebSocket-Protocol": text}),
        lambda: ClientHandshake(url, {"Sec-WebSocket-Extensions": text}),
        lambda: WSUpgradeResponse.create_101_response({"X": text}).to_bytes(),
        lambda: WSUpgradeResponse.create_101_response({text: "x"}).to_bytes(),
        lambda: WSUpgradeResponse.create_error_response(400, b"", {"X": text}).to_bytes(),
        lambda: WSUpgradeResponse.create_redirect_response(302, f"/{text}").to_bytes(),
        lambda: parse_url(f"ws://a/{text}"),
        lambda: parse_url(f"ws://a/?{text}"),
        lambda: parse_url(f"ws://{text}@a/"),
        lambda: parse_url(f"ws://{text}/"),
    ):
        with pytest.raises(ValueError):
            use()


async def test_h13_other_protocols(place: Place, caplog: Any) -> None:
    await check(place, OTHERS, caplog)
    await check(place, {"healthy": (request(), 101)}, caplog)
