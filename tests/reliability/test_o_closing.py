"""O: closing, and sockets that are half closed. Every connection ends once, with one code, and without a reset."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import socket
import sys
from typing import Any, List

import pytest
from fixtures.messages import closed, start
from fixtures.peers import RawPeer
from fixtures.places import Place
from fixtures.sockets import port_of, until
from fixtures.wire import BINARY, CLOSE, KEY, TEXT, Connection, build, close_payload, header

from picows.errors import WSConnectionClosed

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
MIB = 2**20


async def send_and_read(peer: RawPeer, data: bytes) -> bytes:
    """Write all of it, as far as the other side takes it, and read to the end: a reset is an exception."""

    async def write() -> None:
        peer.write(data)
        with contextlib.suppress(OSError):
            await peer.writer.drain()

    writing = asyncio.ensure_future(write())
    try:
        return await peer.read_rest()
    finally:
        writing.cancel()


VIOLATIONS = {
    "too big": (header(BINARY, 10 * MIB, key=KEY), 1009),
    "reserved opcode": (build(3, b"", key=KEY), 1002),
    "unmasked": (build(TEXT, b"x"), 1002),
    "bad text": (build(TEXT, b"\xff", key=KEY), 1007),
}


@pytest.mark.parametrize(("violation", "code"), VIOLATIONS.values(), ids=VIOLATIONS)
@pytest.mark.parametrize("more", [pytest.param(0, id="nothing more"), pytest.param(10 * MIB, id="10 MB more")])
async def test_o1_our_close_is_not_overtaken_by_a_reset(place: Place, violation: bytes, code: int, more: int) -> None:
    """The peer reads our CLOSE and then the end of the stream, however much it has sent and goes on sending."""
    server = await place.serve_messages(max_message_size=MIB)
    peer = await place.raw_client(server)
    await peer.upgrade()
    answer = await send_and_read(peer, violation + bytes(more))
    assert answer[:1] == b"\x88"
    assert answer[2:4] == close_payload(code)


async def test_o1_after_an_orderly_close(place: Place) -> None:
    server = await place.serve_messages()
    peer = await place.raw_client(server)
    await peer.upgrade()
    data = build(CLOSE, close_payload(1000), key=KEY) + build(TEXT, b"late", key=KEY) * 100_000
    assert await send_and_read(peer, data) == build(CLOSE, close_payload(1000))


async def test_o1_of_a_client(place: Place) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        with contextlib.suppress(OSError):
            peer.write(header(BINARY, 10 * MIB) + bytes(10 * MIB))
            await peer.writer.drain()
        try:
            ends.append((await peer.read_frame()).payload[:2])
            ends.append(await peer.read_rest())
        except (OSError, asyncio.IncompleteReadError) as exc:
            ends.append(type(exc))

    ends: List[Any] = []
    server = await place.raw_server(handler)
    client = await place.message_client(server, max_message_size=MIB)
    with pytest.raises(WSConnectionClosed):
        await client.recv()
    await until(lambda: ends)
    await until(lambda: len(ends) > 1 or isinstance(ends[0], type))
    assert ends == [close_payload(1009), b""]


@SIDES
@pytest.mark.parametrize("exc", [None, ConnectionResetError()], ids=["FIN", "RST"])
def test_o2_an_end_without_close(talk: Any, client: bool, exc: Any) -> None:
    """1006, within one turn of the loop."""
    connection = talk(client=client)
    receiving = start(connection, connection.listener.recv())
    connection.eof() if exc is None else connection.lose(exc)
    connection.loop.settle()
    assert receiving.done()
    assert receiving.exception().code == 1006
    assert closed(connection).code == 1006
    assert connection.transport.close_handshake is None


async def test_o2_over_tcp(place: Place) -> None:
    ends: List[int] = []

    async def handler(listener: Any) -> None:
        with pytest.raises(WSConnectionClosed) as caught:
            await listener.recv()
        ends.append(int(caught.value.code))

    server = await place.serve_messages(handler)
    peer = await place.raw_client(server)
    await peer.upgrade()
    peer.hang_up()
    await until(lambda: ends)
    assert ends == [1006]


ERRNOS = ["ECONNRESET", "ETIMEDOUT", "EPIPE", "ENETDOWN", "EHOSTUNREACH", "ECONNABORTED", "ENOBUFS"]


@SIDES
@pytest.mark.parametrize("name", ERRNOS)
@pytest.mark.parametrize("doing", ["nothing", "recv", "send", "close", "measure", "handshake"])
def test_o3_errors_of_the_network(connect: Any, engine: Any, client: bool, name: str, doing: str) -> None:
    """Whatever waits ends with one error; nothing else happens. (Each I/O call: see test_nothing_lost.)"""
    exc = OSError(getattr(errno, name), name)
    listener = engine.WSMessageListener()
    connection = connect(client=client, listener=listener, opens=doing != "handshake")
    tasks: List[Any] = []
    if doing == "send":
        connection.protocol.pause_writing()
    waiting = {
        "recv": lambda: listener.recv(),
        "send": lambda: listener.send("x"),
        "close": lambda: listener.close(),
        "measure": lambda: connection.transport.measure_roundtrip_time(1),
    }
    if doing in waiting:
        tasks.append(start(connection, waiting[doing]()))
        assert not tasks[0].done()
    connection.lose(exc)
    connection.loop.settle()
    assert [type(task.exception()) for task in tasks] == {
        "recv": [WSConnectionClosed],
        "send": [WSConnectionClosed],
        "close": [type(None)],
        "measure": [ConnectionResetError],
    }.get(doing, [])
    if doing == "handshake":
        assert connection.opening.calls == ["connection_made", ("connection_lost", exc)]
    else:
        assert closed(connection).code == 1006


async def test_o4_a_peer_that_closes_its_half(place: Place) -> None:
    """WebSocket has no half-open state: the connection is over, and so is the socket. 1006 never goes over the wire
    (RFC 6455 7.4.1)."""
    listeners: List[Any] = []

    async def handler(listener: Any) -> None:
        listeners.append(listener)
        with contextlib.suppress(WSConnectionClosed):
            await listener.recv()

    server = await place.serve_messages(handler, close_timeout=0.3)
    peer = await place.raw_client(server)
    await peer.upgrade()
    await until(lambda: listeners)
    peer.writer.write_eof()
    assert await peer.read_rest() == b""
    await until(lambda: not server.connections)
    with pytest.raises(WSConnectionClosed) as caught:
        await listeners[0].send("x")
    assert caught.value.code == 1006


class Pipe:
    """Two connections of an engine, whose bytes move only when somebody says so."""

    def __init__(self, engine: Any) -> None:
        self.server = Connection(engine, listener=counting(engine)())
        self.client = Connection(engine, client=True, loop=self.server.loop, listener=counting(engine)())
        self.tasks: List[Any] = []
        self.pending = {self.server: b"", self.client: b""}

    def collect(self) -> None:
        """What each has written is on its way to the other."""
        self.pending[self.client] += self.server.written()
        self.pending[self.server] += self.client.written()

    def deliver(self, to: Connection, count: int) -> None:
        """So many bytes arrive; at the end of the stream, its end."""
        self.collect()
        data, self.pending[to] = self.pending[to][:count], self.pending[to][count:]
        other = self.client if to is self.server else self.server
        if data and to.wire.protocol is not None:
            to.feed(data)
        elif not self.pending[to] and other.wire.is_closing() and to.wire.protocol is not None:
            to.eof()

    def finish(self) -> None:
        """Let everything arrive, and all time pass."""
        for _ in range(50):
            for side in (self.server, self.client):
                self.deliver(side, MIB)
            self.server.loop.settle()
        self.server.loop.advance(30)
        for side in (self.server, self.client):
            side.lose()
        self.server.loop.settle()


def counting(engine: Any) -> Any:
    """A message listener that counts its ends."""

    class Counting(engine.WSMessageListener):  # type: ignore[misc, name-defined]
        ends = 0

        def on_ws_disconnected(self, transport: Any) -> None:
            self.ends += 1
            super().on_ws_disconnected(transport)

    return Counting


@pytest.mark.parametrize("seed", range(10))
def test_o5_any_order_of_closing(engine: Any, seed: int) -> None:
    """100 schedules for each seed: one end on each side, and codes that agree with what the other side has sent."""
    rng = random.Random(seed)
    for _ in range(100):
        pipe = Pipe(engine)
        loop = pipe.server.loop
        for _ in range(rng.randrange(2, 12)):
            side = rng.choice([pipe.server, pipe.client])
            action = rng.randrange(8)
            if action < 2:
                pipe.tasks.append(start(side, side.listener.close(rng.choice([1000, 1001, 3000]))))
            elif action < 6:
                pipe.deliver(side, rng.choice([1, 3, MIB]))
            elif action == 6 and not side.transport.is_close_frame_sent:
                side.transport.send(TEXT, b"x")
            elif rng.random() < 0.3:
                side.transport.disconnect(graceful=rng.random() < 0.5)
            loop.settle()
        pipe.finish()
        for side, other in ((pipe.server, pipe.client), (pipe.client, pipe.server)):
            assert side.listener.ends == 1
            ours, theirs = side.transport.close_handshake, other.transport.close_handshake
            if ours is not None and ours.recv is not None:
                assert theirs.sent.code == ours.recv.code
        assert all(task.done() and task.exception() is None for task in pipe.tasks)
        pipe.client.shut()
        pipe.server.shut()


async def test_o6_the_server_closes_tcp_first(place: Place) -> None:
    """So that TIME_WAIT stays with it (RFC 6455 7.1.1)."""
    server = await place.serve_messages()
    peer = await place.raw_client(server)
    await peer.upgrade()
    peer.send_close(1000)
    assert (await peer.read_frame()).payload == close_payload(1000)
    assert await peer.read_rest() == b""


def test_o6_a_client_waits_for_the_server(talk: Any) -> None:
    """Up to close_timeout, and then no longer."""
    connection = talk(client=True, close_timeout=10)
    closing = start(connection, connection.listener.close())
    connection.feed_frame(CLOSE, close_payload(1000))
    connection.loop.advance(9)
    assert connection.wire.calls == []
    assert not closing.done()
    connection.loop.advance(2)
    assert connection.wire.calls == ["abort"]
    assert closing.done()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_NOFILE that counts descriptors")
async def test_o7_no_descriptors_left(place: Place, monkeypatch: Any, asyncio_errors: List[str]) -> None:
    """Those who are connected are served; who waits is accepted when there are descriptors again."""
    import os
    import resource

    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0.05)
    monkeypatch.setattr("picows.accepting.RETRY_DELAY_S", 0.05)
    place.allowed_reports += ["socket.accept() out of system resource", "OSError"]
    server = await place.serve_messages()
    client = await place.message_client(server)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    waiting = [socket.create_connection(("127.0.0.1", port_of(server))) for _ in range(8)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 2, hard))
        for number in range(30):
            await client.send(str(number))
            assert await client.recv() == str(number)
        assert len(server.connections) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for sock in waiting:
        sock.close()
    another = await place.message_client(server)
    await another.send("accepted")
    assert await another.recv() == "accepted"
    asyncio_errors.clear()
