"""Opening handshakes: each line of `fixtures.conformance_handshakes`, whole, byte by byte and cut everywhere."""

from __future__ import annotations

from typing import Any, Iterator

import pytest
from fixtures.clock import ClockLoop
from fixtures.conformance_handshakes import HALF, REQUESTS, RESPONSES, Request, Response
from fixtures.openings import dialing, serving
from fixtures.peers import accept_value, header_of
from fixtures.sansio import KEY
from fixtures.wire import FEEDINGS, Connection, Received

from picows.enums import WSMsgType
from picows.errors import WSHandshakeEOFError

FEEDING = pytest.mark.parametrize("feeding", FEEDINGS)


@pytest.fixture
def loop() -> Iterator[ClockLoop]:
    """One for all connections of a test."""
    loop = ClockLoop()
    yield loop
    loop.close()


def without_first_bytes(text: str) -> str:
    """Another protocol is noticed at its first bytes, of which the text then shows as many as there were."""
    before, found, _ = text.partition("expected an HTTP/1.1 ")
    return before + found


def check_accepted(connection: Connection, data: bytes) -> None:
    """The connection is open, and what followed the head was taken for frames."""
    frames = data.partition(b"\r\n\r\n")[2]
    expected = [Received(WSMsgType.TEXT, b"x")] if frames and b"HTTP" not in frames else []
    assert connection.events == ["connected", *expected]
    assert connection.wire.calls == []


def check_refusal(connection: Connection, answer: bytes, line: Request) -> None:
    """A whole answer, then the end; what still comes is discarded (J2)."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert header_of(head, "Connection") == "close"
    assert header_of(head, "Content-Length") == str(len(body))
    assert header_of(head, "Sec-WebSocket-Version") == ("13" if line.status == 426 else None)
    assert line.words in body.decode("ascii")
    assert connection.wire.calls == ["write_eof"]
    connection.wire.answers_eof = False
    connection.feed(REQUESTS["good"].data)
    connection.loop.advance(2)
    assert connection.written() == b""
    assert connection.wire.calls == ["write_eof", "abort"]
    assert connection.events == []


@FEEDING
@pytest.mark.parametrize("line", REQUESTS.values(), ids=REQUESTS)
def test_server(engine: Any, loop: ClockLoop, line: Request, feeding: str) -> None:
    seen = set()
    for pieces in FEEDINGS[feeding](line.data):
        connection = serving(engine, loop)
        connection.feed(*pieces)
        answer = connection.written()
        assert answer.startswith(f"HTTP/1.1 {line.status} ".encode()), pieces
        if line.status == 101:
            assert header_of(answer, "Sec-WebSocket-Accept") == accept_value(KEY)
            assert header_of(answer, "Sec-WebSocket-Extensions") is None
            check_accepted(connection, line.data)
            connection.lose()
        else:
            check_refusal(connection, answer, line)
        seen.add(without_first_bytes(answer.partition(b"\r\n\r\n")[2].decode()))
    assert len(seen) == 1  # whatever the cut


@FEEDING
@pytest.mark.parametrize("line", RESPONSES.values(), ids=RESPONSES)
def test_client(engine: Any, loop: ClockLoop, line: Response, feeding: str) -> None:
    seen = set()
    for pieces in FEEDINGS[feeding](line.data):
        connection, accept = dialing(engine, loop)
        stream = line.answer_to(accept)
        connection.feed(*cut_like(stream, pieces))
        error = connection.opening.done.exception()
        assert type(error) is (line.error or type(None)), pieces
        if error is None:
            check_accepted(connection, stream)
            assert connection.opening.done.result() == (connection.transport, connection.listener)
            connection.lose()
        else:
            assert line.words in str(error)
            assert connection.wire.calls == ["close"]
            loop.settle()
            assert connection.events == []
        assert connection.written() == b""
        seen.add(without_first_bytes(str(error).replace(accept, "")))
    assert len(seen) == 1


def cut_like(stream: bytes, pieces: list[bytes]) -> Iterator[bytes]:
    """Another stream of the same length, cut at the same places."""
    at = 0
    for piece in pieces:
        yield stream[at : at + len(piece)]
        at += len(piece)


@FEEDING
def test_half_a_request(engine: Any, loop: ClockLoop, feeding: str) -> None:
    """EOF after `open_timeout`, whenever its last byte came."""
    for pieces in FEEDINGS[feeding](HALF["server"]):
        connection = serving(engine, loop)
        begun = loop.time()
        for piece in pieces:
            connection.feed(piece)
            loop.advance(0.1)
        assert connection.wire.calls == []
        loop.advance(9.99 - (loop.time() - begun))
        assert connection.wire.calls == []
        loop.advance(0.02)
        assert connection.wire.calls == ["close"]
        assert connection.written() == b""
        assert connection.events == []


@FEEDING
def test_half_a_response(engine: Any, loop: ClockLoop, feeding: str) -> None:
    for pieces in FEEDINGS[feeding](HALF["client"]):
        connection, _ = dialing(engine, loop)
        connection.feed(*pieces)
        assert not connection.opening.done.done()
        connection.eof()
        error = connection.opening.done.exception()
        assert type(error) is WSHandshakeEOFError
        assert error.raw_header == HALF["client"]
        loop.settle()
        assert connection.events == []
