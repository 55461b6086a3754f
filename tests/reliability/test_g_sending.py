"""G: sending and backpressure. What is accepted arrives whole or is reported; what piles up is bounded and visible."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import socket
import sys
from typing import Any, AsyncIterator, List

import pytest
from fixtures.messages import closed, start
from fixtures.peers import RawPeer
from fixtures.places import SMALL, Place, rss_bytes, shrink_send_buffer
from fixtures.sockets import settle, until
from fixtures.wire import BINARY, CLOSE, CONT, PING, TEXT, close_payload

from picows.errors import WSConnectionClosed

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
CHUNK = bytes(64 * 1024)
#: The high watermark of asyncio's transports.
HIGH_WATER = 64 * 1024


async def served_and_deaf(place: Place, **options: Any) -> Any:
    """The listener of a server's connection, whose peer reads nothing, and the peer."""
    listeners: List[Any] = []

    async def handler(listener: Any) -> None:
        shrink_send_buffer(listener.transport)
        listeners.append(listener)

    server = await place.serve_messages(handler, **options)
    peer = await place.deaf_client(server)
    await until(lambda: listeners)
    return listeners[0], peer


async def send_until_it_waits(listener: Any) -> Any:
    """A task that waits in `send`, and how many messages of 64 KiB were accepted before."""
    accepted: List[int] = []

    async def send() -> None:
        while True:
            await listener.send(CHUNK)
            accepted.append(1)

    task = asyncio.ensure_future(send())
    count = -1
    while len(accepted) != count:
        count = len(accepted)
        await settle(20)
    return task, count


async def test_g1_send_waits_for_a_slow_reader(place: Place) -> None:
    """Beside what the kernel holds, the write buffer has at most the high watermark and one message."""
    before = rss_bytes()
    listener, _ = await served_and_deaf(place)
    task, accepted = await send_until_it_waits(listener)
    assert not task.done()
    assert accepted * len(CHUNK) < 4 * 2**20
    assert 0 < listener.transport.write_buffer_size <= HIGH_WATER + len(CHUNK) + 10
    if before is not None:
        assert (rss_bytes() or 0) - before <= 2**20 + 4 * 2**20  # the sockets of both sides are ours, and the imports
    listener.transport.disconnect(graceful=False)
    with pytest.raises(WSConnectionClosed):
        await task


async def test_g1_broadcast_drops_the_slow_and_reports_it(place: Place, caplog: Any) -> None:
    limit = 256 * 1024
    listeners: List[Any] = []

    async def handler(listener: Any) -> None:
        listeners.append(listener)
        if len(listeners) == 1:
            shrink_send_buffer(listener.transport)

    server = await place.serve_messages(handler, max_write_buffer_size=limit, close_timeout=0.1)
    await place.deaf_client(server)
    clients = [await place.message_client(server) for _ in range(3)]
    await until(lambda: len(listeners) == 4)
    slow, *fast = [listener.transport for listener in listeners]
    for number in range(40):
        place.engine.ws_broadcast([slow, *fast], BINARY, number.to_bytes(4, "big") + CHUNK)
        for client in clients:
            assert (await client.recv())[:4] == number.to_bytes(4, "big")
        assert slow.write_buffer_size <= limit + len(CHUNK) + 1024
    assert slow.close_handshake.sent.code == 1008
    assert not any(transport.is_close_frame_sent for transport in fast)
    assert f"{limit} are allowed" in caplog.text
    await until(lambda: len(server.connections) == 3)


@SIDES
def test_g2_the_write_buffer_is_visible(connect: Any, client: bool) -> None:
    """It grows with every byte that is accepted, and is 0 when all of them have left."""
    connection = connect(client=client)
    connection.wire.stalled = True
    sizes = [connection.transport.write_buffer_size]
    for size in (0, 1, 125, 126, 40_000, 70_000):
        connection.transport.send(BINARY, bytes(size))
        sizes.append(connection.transport.write_buffer_size)
    assert sizes == sorted(set(sizes))
    assert sizes[0] == 0
    assert sizes[-1] == len(connection.written())
    connection.wire.drain()
    assert connection.transport.write_buffer_size == 0


async def test_g2_after_the_peer_has_read_it_is_0(place: Place) -> None:
    listener, peer = await served_and_deaf(place)
    task, _ = await send_until_it_waits(listener)
    task.cancel()
    peer.writer.transport.resume_reading()
    drained = asyncio.ensure_future(peer.read_rest())
    await until(lambda: listener.transport.write_buffer_size == 0)
    drained.cancel()


@SIDES
def test_g3_a_cancelled_send_tears_no_frame(talk: Any, client: bool) -> None:
    """The message is queued as a whole before `send` waits for the first time."""
    connection = talk(client=client)
    connection.wire.stalled = True
    connection.protocol.pause_writing()
    message = random.Random(3).randbytes(8 * 2**20) if hasattr(random, "randbytes") else bytes(8 * 2**20)
    task = start(connection, connection.listener.send(message))
    assert not task.done()
    task.cancel()
    connection.loop.settle()
    assert task.cancelled()
    next_one = start(connection, connection.listener.send("next"))
    connection.wire.drain()
    connection.protocol.resume_writing()
    connection.loop.settle()
    assert next_one.done()
    assert connection.plain() == [(BINARY, message), (TEXT, b"next")]


@SIDES
@pytest.mark.parametrize("sent", [0, 1, 2])
def test_g3_a_fragmented_message_that_is_cancelled_ends_the_connection(talk: Any, client: bool, sent: int) -> None:
    async def fragments() -> AsyncIterator[str]:
        for number in range(sent):
            yield str(number)
        await asyncio.Event().wait()

    connection = talk(client=client)
    task = start(connection, connection.listener.send_fragments(fragments()))
    task.cancel()
    connection.loop.settle()
    frames = connection.sent()
    if not sent:
        assert frames == []
        assert not connection.transport.is_close_frame_sent
    else:
        assert [frame.opcode for frame in frames] == [TEXT, *[CONT] * (sent - 1), CLOSE]
        assert frames[-1].payload[:2] == close_payload(1011)


@SIDES
def test_g4_fragments_of_two_senders_do_not_mix(talk: Any, client: bool) -> None:
    """50 tasks, 100 messages each (masked ones take long to check: 10), with pings between their fragments."""
    connection = talk(client=client)
    count = 10 if client else 100

    async def send(task: int) -> None:
        for number in range(count):
            name = b"%d:%d:" % (task, number)
            if number % 10 == 0:
                connection.transport.send_ping(name)
            if task % 5:
                await connection.listener.send_fragments(pieces(name))
            else:
                await connection.listener.send(name + b"abc")

    async def pieces(name: bytes) -> AsyncIterator[bytes]:
        for piece in (name, b"a", b"b", b"c"):
            yield piece
            if len(name) % 2:
                await asyncio.sleep(0)

    async def send_all() -> None:
        await asyncio.gather(*map(send, range(50)))

    connection.run(send_all())
    messages: List[bytes] = []
    current = None
    for opcode, payload, fin, _, _ in connection.sent():
        if opcode == PING:
            continue
        assert (opcode == CONT) is (current is not None)
        current = (current or b"") + payload
        if fin:
            messages.append(current)
            current = None
    assert current is None
    assert sorted(messages) == sorted(b"%d:%d:abc" % (task, number) for task in range(50) for number in range(count))


async def test_g5_a_message_may_be_changed_as_soon_as_send_returns(place: Place) -> None:
    """1,000 sizes, forced into partial writes, their buffer overwritten at once: the peer's hashes are the same."""
    rng = random.Random(5)
    sizes = [rng.randrange(3000 if number % 25 else 70_000) for number in range(1000)]
    expected, received = hashlib.sha256(), hashlib.sha256()
    done = asyncio.Event()

    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        for size in sizes:
            frame = await peer.read_frame()
            assert len(frame.payload) == size
            received.update(frame.payload)
        done.set()

    def factory(url: Any) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        return sock

    server = await place.raw_server(handler)
    client = await place.message_client(server, socket_factory=factory)
    for size in sizes:
        message = bytearray(rng.getrandbits(8) for _ in range(16)) * (size // 16 + 1)
        del message[size:]
        expected.update(message)
        await client.send(message)
        message[:] = b"\xff" * size
    await done.wait()
    assert received.digest() == expected.digest()


@pytest.mark.parametrize("kind", [bytearray, memoryview])
async def test_g5_what_waits_to_be_written_does_not_change(place: Place, kind: Any) -> None:
    """A server's frame, which nobody masks into another buffer, and of which the kernel took only a part."""
    listener, peer = await served_and_deaf(place)
    message = bytearray(random.Random(5).getrandbits(8) for _ in range(65_000))
    expected = bytes(message)
    listener.transport.send(BINARY, kind(message))
    message[:] = b"\xff" * len(message)
    assert 0 < listener.transport.write_buffer_size < len(message)
    peer.writer.transport.resume_reading()
    assert (await peer.read_frame()).payload == expected


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_g6_bytes_are_counted_not_objects(place: Place, kind: Any) -> None:
    """Also where the transport keeps the caller's object instead of a copy."""
    listener, _ = await served_and_deaf(place)
    size = 2**20
    for count in range(1, 6):
        listener.transport.send(BINARY, kind(bytes(size)))
        assert count * (size + 10) - 2**19 <= listener.transport.write_buffer_size <= count * (size + 10)


async def test_g7_after_a_reset_there_is_one_end_and_it_is_reported(place: Place) -> None:
    ends: List[Any] = []

    async def handler(listener: Any) -> None:
        with contextlib.suppress(WSConnectionClosed):
            await listener.recv()
        for use in (lambda: listener.send("x"), listener.recv):
            with pytest.raises(WSConnectionClosed) as caught:
                await use()
            ends.append(int(caught.value.code))
        listener.transport.send(TEXT, b"silently ignored")
        done.set()

    done = asyncio.Event()
    server = await place.serve_messages(handler)
    peer = await place.raw_client(server)
    await peer.upgrade()
    peer.reset()
    await done.wait()
    assert ends == [1006, 1006]
    assert not server.connections


@SIDES
@pytest.mark.parametrize("errno", ["EPIPE", "ECONNRESET", "ETIMEDOUT", "ENETDOWN"])
def test_g7_a_failing_write_ends_the_connection_once(connect: Any, client: bool, errno: str) -> None:
    import errno as numbers

    connection = connect(client=client)
    connection.lose(OSError(getattr(numbers, errno), errno))
    connection.transport.send(TEXT, b"x")
    connection.loop.settle()
    assert connection.events == ["connected", "disconnected"]
    assert connection.ending() is None
    assert connection.written() == b""


@SIDES
def test_g8_send_and_close_end_although_nothing_leaves(talk: Any, client: bool) -> None:
    """The network swallows everything: what waits ends by close_timeout, and nothing keeps a lock."""
    connection = talk(client=client, close_timeout=10)
    connection.wire.stalled = True
    connection.protocol.pause_writing()
    began = connection.loop.time()
    sending = start(connection, connection.listener.send(CHUNK))
    fragmented = start(connection, connection.listener.send_fragments([b"a", b"b"]))
    behind = start(connection, connection.listener.send("waits for the fragmented one"))
    closing = start(connection, connection.listener.close())
    connection.run(asyncio.wait([sending, fragmented, behind, closing], timeout=60))
    assert connection.loop.time() - began <= 20
    assert closing.done()
    assert closing.exception() is None
    for task in (sending, fragmented, behind):
        assert isinstance(task.exception(), WSConnectionClosed)
    assert closed(connection).code == 1006


@pytest.mark.skipif(sys.version_info < (3, 11), reason="picows.websockets needs Python 3.11")
def test_g1_g8_the_drop_in_waits_for_a_slow_reader_and_ends() -> None:
    from fixtures import compat

    async def read_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await asyncio.Event().wait()

    async def scenario() -> Any:
        async with compat.raw_server(read_nothing) as port:
            connection = await compat.OURS.connect(port, close_timeout=0.05, ping_interval=None)
            waiting = asyncio.ensure_future(connection.send(CHUNK))
            sent = 0
            while waiting.done():
                sent += len(CHUNK)
                waiting = asyncio.ensure_future(connection.send(CHUNK))
                await settle(3)
            await connection.close()
            return sent < 16 * 2**20, (await compat.attempt(waiting))[0], connection.close_code

    compat.skip_unless_comparable()
    assert compat.run(scenario()) == (True, "ConnectionClosedError", 1006)
