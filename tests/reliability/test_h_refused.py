"""H: how a server ends the connections that it does not accept, on a clock of the test's own."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Iterator, Type

import pytest
from fixtures.clock import ClockLoop
from fixtures.peers import request_head
from fixtures.wire import FakeTransport

from picows import WSServer, WSUpgradeResponse, WSUpgradeResponseWithListener
from picows import server as server_module
from picows.options import ConnectionOptions

LARGE = 1_000_000


class TlsLike(FakeTransport):
    """A transport without half-close."""

    def can_write_eof(self) -> bool:
        return False


class Room:
    """A server without sockets: it answers with as many bytes as the target of the request says."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.loop = ClockLoop()
        self.settings = server_module._ServerSettings(self.loop, engine, self._answer, 10)
        self.server = WSServer(Listening(), set(), self.settings, 10)

    def _answer(self, request: Any) -> Any:
        if request.path == b"/":
            return self.engine.WSListener()
        response = WSUpgradeResponse.create_ok_response(b"x" * int(request.path[1:]))
        return WSUpgradeResponseWithListener(response, None)

    def connect(self, kind: Type[FakeTransport] = FakeTransport, data: bytes = b"") -> FakeTransport:
        """A client connects, sends this and reads nothing."""
        options = ConnectionOptions(False, logging.getLogger("picows.test"))
        opening = server_module.ServerOpening(self.settings)
        wire = kind(self.loop, None, False)
        wire.stalled = True
        wire.answers_eof = False
        wire.protocol = self.engine.make_protocol(self.loop, options, opening)
        wire.protocol.connection_made(wire)
        if data:
            buffer = memoryview(wire.protocol.get_buffer(-1))
            buffer[: len(data)] = data
            del buffer
            wire.protocol.buffer_updated(len(data))
        return wire

    def close(self, close_timeout: float) -> None:
        """Say goodbye to everybody."""

        async def close() -> None:
            await self.server.close(close_timeout=close_timeout)

        self.loop.run_until_complete(close())


class Listening:
    """What WSServer needs of the event loop's server."""

    def close(self) -> None:
        pass

    async def wait_closed(self) -> None:
        pass


@pytest.fixture
def room(engine: Any) -> Iterator[Room]:
    """A room; every connection must have ended."""
    room = Room(engine)
    yield room
    room.loop.settle()
    assert not room.settings.lingering
    assert not list(room.settings.openings)
    room.loop.close()


def size_asked(size: int) -> bytes:
    """A request for an answer of so many bytes."""
    return request_head(target=f"/{size}")


def test_a_large_answer_takes_as_long_as_the_client_needs(room: Room) -> None:
    wire = room.connect(data=size_asked(LARGE))
    for _ in range(20):
        wire._buffered -= 1000
        room.loop.advance(1)
        assert "abort" not in wire.calls
    room.loop.advance(2)
    assert "abort" in wire.calls


@pytest.mark.parametrize("kind", [FakeTransport, TlsLike], ids=["tcp", "tls"])
def test_a_client_that_does_not_hang_up_after_a_small_answer(room: Room, kind: Any) -> None:
    wire = room.connect(kind, size_asked(10))
    room.loop.advance(0.5)
    assert "abort" not in wire.calls
    room.loop.advance(1)
    assert "abort" in wire.calls


def test_a_large_answer_is_left_to_tls(room: Room) -> None:
    """What is below TLS cannot be asked how much it has sent."""
    wire = room.connect(TlsLike, size_asked(LARGE))
    room.loop.advance(20)
    assert wire.calls == ["close"]
    wire.abort()


def test_a_client_that_stays_after_the_handshake_timeout(room: Room) -> None:
    wire = room.connect(TlsLike, b"GET / HT")
    room.loop.advance(10.5)
    assert wire.calls == ["close"]
    room.loop.advance(1.5)
    assert "abort" in wire.calls


def test_a_closing_server_waits_no_longer_than_close_timeout(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "LINGER_S", 100)
    wire = room.connect(data=size_asked(LARGE))
    began = room.loop.time()
    room.close(close_timeout=3)
    assert "abort" in wire.calls
    assert room.loop.time() - began < 4


def test_who_connects_after_the_goodbye_is_turned_away(room: Room) -> None:
    """The TLS handshake of a connection may go on while the server closes."""
    room.close(close_timeout=3)
    wire = room.connect(data=request_head())
    assert b"".join(wire.chunks).startswith(b"HTTP/1.1 503 ")
    assert not room.server.connections
    room.loop.advance(2)


def test_a_coroutine_that_was_never_needed_is_awaited_all_the_same(room: Room, engine: Any) -> None:
    """Request and goodbye come in one turn of the loop."""
    was_entered = False

    async def factory(request: Any) -> Any:
        nonlocal was_entered
        was_entered = True
        await asyncio.sleep(100)

    room.settings.factory = factory
    wire = room.connect(data=request_head())
    room.server.close_clients()
    assert b"".join(wire.chunks).startswith(b"HTTP/1.1 503 ")
    room.loop.settle()
    assert was_entered  # else Python warns of a coroutine that was never awaited
    room.loop.advance(2)
    assert not asyncio.all_tasks(room.loop)
