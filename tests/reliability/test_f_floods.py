"""F: control floods and fairness. What one peer sends in masses costs the others nothing, and costs us little."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from typing import Any, Callable, List

import pytest
from fixtures.clock import ClockLoop
from fixtures.messages import closed
from fixtures.places import SMALL, Place, echo, rss_bytes, shrink_send_buffer
from fixtures.sockets import until
from fixtures.wire import BINARY, CLOSE, KEY, PING, PONG, TEXT, build, close_payload

from picows.enums import WSAutoPingStrategy
from picows.errors import WSConnectionClosed
from picows.keepalive import AutoPingPolicy

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
#: One read of a flood.
READ = 256 * 1024
#: What asyncio's transports hold before they say that writing is paused, and what is gathered in a batch.
HIGH_WATER, GATHERED = 64 * 1024, 64 * 1024
#: Frames of a flood that may be handled before anybody else has a turn.
FRAMES_PER_TURN = 4096


def growth(use: Callable[[], Any]) -> int:
    """Bytes that Python's allocators hold after a call more than before it."""
    tracemalloc.start()
    try:
        use()
        before = tracemalloc.get_traced_memory()[0]
        use()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 125])
async def test_f1_ping_flood_of_a_peer_that_does_not_read(place: Place, size: int) -> None:
    """Pongs fill the write buffer up to its high watermark, and from then on only the newest ping will be answered."""
    transports: List[Any] = []

    async def handler(listener: Any) -> None:
        transports.append(listener.transport)
        shrink_send_buffer(listener.transport)
        listener.transport.underlying_transport.set_write_buffer_limits(high)
        async for message in listener:
            assert message == "end"
            done.set()

    high = HIGH_WATER if size else 4096  # with the smallest frames it takes long to fill
    done = asyncio.Event()
    server = await place.serve_messages(handler)
    peer = await place.deaf_client(server)
    count = (high + GATHERED + 16 * SMALL) // (size + 2)
    flood = build(PING, bytes(size), key=KEY) * 1000
    largest = 0
    for _ in range(count // 1000 + 1):
        peer.write(flood)
        await peer.writer.drain()
        largest = max([largest, *(transport.write_buffer_size for transport in transports)])
    peer.write(build(TEXT, b"end", key=KEY))
    await done.wait()
    assert 0 < max(largest, transports[0].write_buffer_size) <= high + GATHERED + 2 + size
    peer.writer.transport.resume_reading()
    answered = 0
    peer.send(CLOSE, close_payload(1000))
    while (await peer.read_frame()).opcode == PONG:
        answered += 1
    assert answered < count


@SIDES
def test_f1_while_writing_is_paused_one_pong_is_kept(talk: Any, client: bool) -> None:
    connection = talk(client=client)
    connection.protocol.pause_writing()
    pings = connection.frame(PING, bytes(125)) * 2000
    assert growth(lambda: connection.feed(pings)) < 4096
    connection.feed_frame(PING, b"newest")
    assert connection.written() == b""
    connection.protocol.resume_writing()
    assert connection.plain() == [(PONG, b"newest")]


@SIDES
def test_f2_a_ping_that_cannot_be_answered_is_no_work(talk: Any, client: bool, monkeypatch: Any) -> None:
    """In two seconds the loop finds nothing to do."""
    connection = talk(client=client)
    connection.wire.stalled = True
    connection.protocol.pause_writing()
    connection.feed_frame(PING, b"x")
    turns: List[Any] = []
    select = ClockLoop.select
    monkeypatch.setattr(ClockLoop, "select", lambda self, timeout: turns.append(timeout) or select(self, timeout))
    connection.loop.advance(2.0)
    assert len(turns) <= 2
    assert connection.written() == b""


async def test_f2_others_are_served_meanwhile(place: Place) -> None:
    async def handler(listener: Any) -> None:
        shrink_send_buffer(listener.transport)
        await echo(listener)

    server = await place.serve_messages(handler)
    deaf = await place.deaf_client(server)
    deaf.write(build(PING, bytes(125), key=KEY) * 4000)
    other = await place.message_client(server)
    for number in range(50):
        await other.send(str(number))
        assert await other.recv() == str(number)


@SIDES
@pytest.mark.parametrize(
    ("opcode", "reading"),
    [(PING, "buffered"), (PONG, "stream"), (TEXT, "buffered"), (TEXT, "stream")],
    ids=["ping", "pong", "text", "text-stream"],
)
def test_f3_one_read_full_of_frames_does_not_hold_the_loop(
    connect: Any, client: bool, opcode: int, reading: str
) -> None:
    """Between the smallest frames of one read others have their turns, and nothing is lost or reordered."""

    def turn() -> None:
        turns.append(len(connection.events))
        if not connection.loop.is_closed() and len(turns) < 1000:
            connection.loop.call_soon(turn)

    connection = connect(client=client, reading=reading, enable_auto_pong=False)
    frame = connection.frame(opcode)
    count = READ // len(frame)
    turns: List[int] = []
    connection.feed(frame * count + connection.frame(BINARY, b"last")[: READ - count * len(frame)])
    turn()
    for _ in range(200):
        connection.loop.settle()
    assert len(connection.messages) == count
    steps = [turns[0] - 1, *(after - before for before, after in zip(turns, turns[1:]))]
    assert max(steps) <= FRAMES_PER_TURN


@pytest.mark.parametrize("size", [0, 4, 125])
def test_f4_unsolicited_pongs_are_dropped(talk: Any, engine: Any, size: int) -> None:
    """A million for picows.core; 4,000 for picows.pure, to which they are hundreds of times as much work."""
    connection = talk()
    pongs = connection.frame(PONG, b"\x5a" * size) * 2000
    assert growth(lambda: connection.feed(pongs)) < 4096
    if engine.name == "core":
        before = rss_bytes()
        for _ in range(500):  # without tracemalloc, which makes it ten times as long
            connection.feed(pongs)
        assert before is None or rss_bytes() - before < 1024 * 1024
    assert connection.written() == b""
    connection.feed_frame(TEXT, b"alive")
    assert connection.run(connection.listener.recv()) == "alive"


@SIDES
def test_f4_a_pong_for_a_ping_that_nobody_awaits_any_more(talk: Any, client: bool) -> None:
    connection = talk(client=client)
    measuring = connection.loop.create_task(connection.transport.measure_roundtrip_time(1))
    connection.loop.settle()
    ((opcode, payload),) = connection.plain()
    assert opcode == PING
    measuring.cancel()
    connection.loop.settle()
    connection.feed_frame(PONG, payload)
    connection.feed_frame(TEXT, b"alive")
    assert connection.run(connection.listener.recv()) == "alive"
    assert measuring.cancelled()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="picows.websockets needs Python 3.11")
def test_f4_pongs_of_the_drop_in() -> None:
    """A pong for a cancelled ping; one that answers earlier pings as well; equal payloads; as websockets does it."""
    from fixtures import compat

    async def pong_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        payloads = []
        while len(payloads) < 4:
            _, payload = await compat.read_frame(reader)
            payloads.append(payload)
        for payload in (b"never sent", payloads[0], payloads[2], payloads[3], payloads[2]):
            writer.write(build(PONG, payload))
        writer.write(build(TEXT, b"end"))
        await compat.read_frames(reader)

    async def scenario(library: Any) -> Any:
        async with compat.raw_server(pong_twice) as port:
            async with library.connect(port, ping_interval=None, close_timeout=0.1) as connection:
                cancelled = await connection.ping(b"1")
                cancelled.cancel()
                waiters = [await connection.ping(data) for data in (b"2", b"3", b"4")]
                message = await connection.recv()
                same = await compat.attempt(connection.ping(b"3"))
                return message, [waiter.done() for waiter in waiters], type(same).__name__

    compat.skip_unless_comparable()
    compat.assert_same(scenario)


BAD_CONTROL = {
    "ping of 126": (PING, {"payload": bytes(126)}),
    "pong of 126": (PONG, {"payload": bytes(126)}),
    "close of 126": (CLOSE, {"payload": close_payload(1000, b"x" * 124)}),
    "ping of 65536": (PING, {"payload": bytes(65536)}),
    "fragmented ping": (PING, {"payload": b"x", "fin": False}),
    "fragmented pong": (PONG, {"fin": False}),
    "fragmented close": (CLOSE, {"payload": close_payload(1000), "fin": False}),
}


@SIDES
@pytest.mark.parametrize("size", [1, None], ids=["byte by byte", "whole"])
@pytest.mark.parametrize(("opcode", "fields"), BAD_CONTROL.values(), ids=BAD_CONTROL)
def test_f5_control_frames_that_rfc_6455_forbids(talk: Any, client: bool, opcode: int, fields: Any, size: Any) -> None:
    connection = talk(client=client)
    data = connection.frame(opcode, **fields)[:600]
    connection.feed(*([data] if size is None else [data[at : at + 1] for at in range(len(data))]))
    ((sent, payload),) = connection.plain()
    assert (sent, payload[:2]) == (CLOSE, close_payload(1002))
    connection.loop.advance(1)
    assert closed(connection).code == 1006


@SIDES
def test_f6_close_flood(connect: Any, client: bool) -> None:
    connection = connect(client=client, enable_auto_close=True)
    connection.feed(connection.frame(CLOSE, close_payload(1000, b"bye")) * 10_000)
    assert connection.plain() == [(CLOSE, close_payload(1000, b"bye"))]
    connection.lose()
    assert connection.events.count("disconnected") == 1
    assert len(connection.messages) == 1


async def test_f6_close_flood_over_tcp(place: Place) -> None:
    ends: List[Any] = []

    async def handler(listener: Any) -> None:
        with pytest.raises(WSConnectionClosed) as caught:
            await listener.recv()
        ends.append((int(caught.value.code), int(listener.transport.close_handshake.recv.code)))

    server = await place.serve_messages(handler)
    peer = await place.raw_client(server)
    await peer.upgrade(then=build(CLOSE, close_payload(3000), key=KEY) * 10_000)
    assert (await peer.read_rest()) == build(CLOSE, close_payload(3000))
    await until(lambda: ends)
    assert ends == [(3000, 3000)]


@pytest.mark.parametrize("payload", [b"", b"x"], ids=["empty", "1 byte"])
def test_f7_flood_of_messages_that_nobody_receives(talk: Any, payload: bytes) -> None:
    """Reading pauses, and the rest of the read costs no more than its bytes: not an object for each frame."""
    connection = talk(max_queue=16)
    frame = connection.frame(TEXT, payload)
    data = frame * (READ // 4 // len(frame))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        connection.feed(data)
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert connection.wire.calls == ["pause_reading"]
    assert kept <= READ // 2

    async def receive() -> List[Any]:
        return [await connection.listener.recv() for _ in range(len(data) // len(frame))]

    assert set(connection.run(receive())) == {payload.decode()}
    connection.loop.settle()
    assert connection.wire.calls.count("resume_reading") >= 1


@SIDES
@pytest.mark.parametrize("strategy", list(WSAutoPingStrategy), ids=["idle", "periodic"])
def test_f8_a_peer_that_is_gone_is_noticed_and_cut_off(talk: Any, client: bool, strategy: Any) -> None:
    """With its socket half-open nothing arrives and nothing leaves: the end comes all the same, by the clock."""
    connection = talk(client=client, auto_ping=AutoPingPolicy(strategy, 20, 20), close_timeout=10)
    connection.wire.stalled = True
    connection.loop.advance(39.9)
    assert not connection.transport.is_close_frame_sent
    connection.loop.advance(0.2)
    assert connection.transport.is_close_frame_sent
    connection.loop.advance(10)
    assert connection.wire.calls[-1] == "abort"
    assert closed(connection).code == 1006
