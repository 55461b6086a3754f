"""Rows of F, G, I, N and O for connections of `picows.websockets`, on real sockets: each engine, asyncio and uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import random
import socket
import tracemalloc
import weakref
from typing import Any, AsyncIterator, Dict, List

import pytest
from fixtures.drop_in import DropIn, load_drop_in, silent
from fixtures.peers import RawPeer, close_frame
from fixtures.places import SMALL, Place
from fixtures.sockets import port_of, settle, until
from fixtures.wire import BINARY, CLOSE, KEY, PING, TEXT, build, close_payload, header

MIB = 2**20
OPTIONS: Dict[str, Any] = {"compression": None, "ping_interval": None}


@pytest.fixture
def library(place: Place) -> DropIn:
    """The drop-in on the engine of the place."""
    return load_drop_in(place.engine)


def serve(library: DropIn, handler: Any, **options: Any) -> Any:
    """A server, for `async with`."""
    return library.serve(handler, "127.0.0.1", 0, **{**OPTIONS, "logger": silent(), "close_timeout": 2, **options})


def connect(library: DropIn, server: Any, **options: Any) -> Any:
    """A connection to it, or to a raw server, for `async with`."""
    options = {**OPTIONS, "proxy": None, "close_timeout": 2, **options}
    return library.connect(f"ws://127.0.0.1:{port_of(server)}/", **options)


class Ends:
    """A handler that keeps what it received, and how that ended."""

    def __init__(self) -> None:
        self.received: List[Any] = []
        self.errors: List[Any] = []

    async def __call__(self, connection: Any) -> None:
        try:
            while True:
                self.received.append(await connection.recv())
        except Exception as exc:
            exc.__traceback__ = None
            self.errors.append(exc)


# --- F ---


async def test_f6_drop_in_close_flood(place: Place, library: DropIn) -> None:
    """10,000 in one segment: one answer, one end."""
    ends = Ends()
    async with serve(library, ends) as server:
        peer = await place.raw_client(server)
        await peer.upgrade(then=build(CLOSE, close_payload(3000), key=KEY) * 10_000)
        assert await peer.read_rest() == build(CLOSE, close_payload(3000))
        await until(lambda: ends.errors)
        ((error),) = ends.errors
        assert (error.rcvd.code, error.sent.code, error.rcvd_then_sent) == (3000, 3000, True)
        assert ends.received == []


@pytest.mark.parametrize("payload", [b"", b"x"], ids=["empty", "1 byte"])
async def test_f7_drop_in_flood_of_messages_that_nobody_receives(place: Place, library: DropIn, payload: bytes) -> None:
    """Reading pauses: what is kept is a read, the peer's kernel has the rest; and all of it is received in the end."""
    go_on = asyncio.Event()
    received: List[Any] = []

    async def handler(connection: Any) -> None:
        await go_on.wait()
        received.extend([message async for message in connection])

    frame = build(TEXT, payload, key=KEY)
    chunk = frame * 4096
    async with serve(library, handler) as server:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port_of(server)))
        peer = RawPeer(*await asyncio.open_connection(sock=sock))
        peer.is_client = True
        await peer.upgrade()
        raw = sock.dup()  # asyncio does not let us write beside it
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            sent, refused = 0, 0
            while refused < 50:  # the kernel takes nothing any more
                try:
                    sent += raw.send(chunk[sent % len(frame) :])
                    refused = 0
                except BlockingIOError:
                    refused += 1
                await settle()
            kept = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
            raw.close()
        assert sent > 10 * len(frame)
        assert kept <= 512 * 1024
        (connection,) = server.connections
        assert not connection.transport.is_reading()
        go_on.set()
        peer.write(frame[sent % len(frame) :] + close_frame(1000, mask=KEY))
        assert await peer.read_rest() == close_frame(1000)
        await peer.aclose()
    assert len(received) == sent // len(frame) + 1
    assert set(received) == {payload.decode()}


@pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
async def test_f8_drop_in_a_peer_that_is_gone_is_noticed_and_cut_off(
    place: Place, library: DropIn, client: bool
) -> None:
    """1011 after ping_interval and ping_timeout; the socket is closed after close_timeout, whatever he does."""
    ends, seen = Ends(), []
    options = {"ping_interval": 0.05, "ping_timeout": 0.05, "close_timeout": 0.1}

    async def gone(peer: RawPeer) -> None:
        """Reads, and answers nothing."""
        first, frame = await peer.read_frame(), await peer.read_frame()
        seen.append((first.opcode, frame.opcode, frame.payload[:2]))
        with contextlib.suppress(ConnectionResetError):
            assert await peer.read_rest() == b""

    if client:

        async def accept(peer: RawPeer) -> None:
            await peer.accept()
            await gone(peer)

        server = await place.raw_server(accept)
        async with connect(library, server, **options) as connection:
            await ends(connection)
    else:
        async with serve(library, ends, **options) as serving:
            peer = await place.raw_client(serving)
            await peer.upgrade()
            await gone(peer)
            await until(lambda: ends.errors)
    await until(lambda: seen)
    assert seen == [(PING, CLOSE, close_payload(1011))]
    (error,) = ends.errors
    assert (error.rcvd, error.sent.code, error.sent.reason) == (None, 1011, "keepalive ping timeout")


# --- G ---


async def pieces(name: str) -> AsyncIterator[str]:
    for piece in (name, "a", "b", "c"):
        yield piece
        if len(name) % 2:
            await asyncio.sleep(0)


async def test_g4_drop_in_fragments_of_two_senders_do_not_mix(place: Place, library: DropIn) -> None:
    """30 tasks, whole messages and fragmented ones, with pings between them."""
    ends = Ends()
    async with serve(library, ends) as server:
        async with connect(library, server) as connection:

            async def send(task: int) -> None:
                for number in range(10):
                    name = f"{task}:{number}:"
                    if number % 5 == 0:
                        await connection.ping(name)
                    await connection.send(pieces(name) if task % 5 else f"{name}abc")

            await asyncio.gather(*map(send, range(30)))
    assert sorted(ends.received) == sorted(f"{task}:{number}:abc" for task in range(30) for number in range(10))
    assert [error.rcvd.code for error in ends.errors] == [1000]


@pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
async def test_g5_drop_in_a_message_may_be_changed_as_soon_as_send_returns(
    place: Place, library: DropIn, client: bool
) -> None:
    """300 sizes through a small SO_SNDBUF, the buffer overwritten at once: the peer's hashes are the same."""
    rng = random.Random(5)
    sizes = [rng.randrange(3000 if number % 25 else 70_000) for number in range(300)]
    expected, received = hashlib.sha256(), hashlib.sha256()

    async def send(connection: Any) -> None:
        sock = connection.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        for size in sizes:
            message = bytearray(rng.getrandbits(8) for _ in range(16)) * (size // 16 + 1)
            del message[size:]
            expected.update(message)
            await connection.send(message)
            message[:] = b"\xff" * size

    async def receive(connection: Any) -> None:
        for size in sizes:
            message = await connection.recv()
            assert len(message) == size
            received.update(message)
        done.set()

    done = asyncio.Event()
    async with serve(library, receive if client else send) as server:
        async with connect(library, server) as connection:
            await (send if client else receive)(connection)
            await done.wait()
    assert received.digest() == expected.digest()


@pytest.mark.parametrize("kind", [bytearray, memoryview])
async def test_g5_drop_in_what_waits_to_be_written_does_not_change(place: Place, library: DropIn, kind: Any) -> None:
    """A server's frame, which nobody masks into another buffer, and of which the kernel took only a part."""
    message = bytearray(random.Random(5).getrandbits(8) for _ in range(65_000))
    expected = bytes(message)

    async def handler(connection: Any) -> None:
        sock = connection.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        await connection.send(kind(message))
        message[:] = b"\xff" * len(message)
        waiting.append(connection.transport.get_write_buffer_size())
        await connection.wait_closed()

    waiting: List[int] = []
    async with serve(library, handler, write_limit=MIB) as server:
        peer = await place.deaf_client(server)
        await until(lambda: waiting)
        assert 0 < waiting[0] < len(message)
        peer.writer.transport.resume_reading()
        assert (await peer.read_frame()).payload == expected
        await peer.aclose()


# --- I, N ---


async def test_i4_drop_in_frames_right_behind_the_101(place: Place, library: DropIn) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.accept(then=build(TEXT, b"early") + close_frame(1000))
        assert (await peer.read_frame()).opcode == CLOSE

    server = await place.raw_server(handler)
    async with connect(library, server) as connection:
        assert [message async for message in connection] == ["early"]
        assert connection.close_code == 1000


@pytest.mark.parametrize(("ending", "code"), [("close", 1000), ("eof", 1006), ("reset", 1006)])
async def test_n2_drop_in_what_came_before_the_end_is_received(
    place: Place, library: DropIn, ending: str, code: int
) -> None:
    """All hundred, although the queue holds 16; of a reset, what the kernel still gave us."""

    async def handler(peer: RawPeer) -> None:
        await peer.accept(then=b"".join(build(TEXT, b"%d" % number) for number in range(100)))
        if ending == "close":
            peer.write(close_frame(1000))
        await peer.writer.drain()
        await arrived.wait()
        peer.reset() if ending == "reset" else peer.hang_up()

    arrived, ends = asyncio.Event(), Ends()
    server = await place.raw_server(handler)
    async with connect(library, server) as connection:
        ends.received.append(await connection.recv())
        arrived.set()
        await ends(connection)
        assert connection.close_code == code
    assert ends.received == [str(number) for number in range(len(ends.received))]
    assert ending == "reset" or len(ends.received) == 100
    assert type(ends.errors[0]).__name__ == ("ConnectionClosedOK" if ending == "close" else "ConnectionClosedError")


@pytest.mark.parametrize("how", ["close", "fin", "reset"])
async def test_n4_drop_in_closed_connections_need_no_garbage_collector(place: Place, library: DropIn, how: str) -> None:
    """30 of each kind; `hatch run churn --layer drop-in` does it with as many as you like."""
    refs: List[Any] = []

    async def handler(connection: Any) -> None:
        refs.append(weakref.ref(connection))
        with contextlib.suppress(library.ConnectionClosed):
            await connection.send(await connection.recv())
            await connection.recv()

    async with serve(library, handler, ping_interval=20) as server:
        gc.collect()
        gc.disable()
        try:
            for _ in range(30):
                await place.come_and_go(server, how)
            await until(lambda: not server.connections)
            await settle(20)
            assert len(refs) == 30
            assert [ref() for ref in refs if ref() is not None] == []
        finally:
            gc.enable()


@pytest.mark.parametrize("is_full", [False, True], ids=["", "the queue is full"])
async def test_n6_drop_in_close_ends(place: Place, library: DropIn, is_full: bool) -> None:
    """By close_timeout, where the peer reads nothing and answers nothing, and nobody has received what it sent."""
    begun = asyncio.Event()

    async def handler(peer: RawPeer) -> None:
        await peer.accept(then=build(BINARY, bytes(100)) * (1000 if is_full else 0))
        peer.writer.transport.pause_reading()
        begun.set()
        await asyncio.Event().wait()

    server = await place.raw_server(handler)
    connection = await connect(library, server, close_timeout=0.1)
    await begun.wait()
    if is_full:
        await until(lambda: not connection.transport.is_reading())
    await asyncio.wait_for(connection.close(), 5)
    await asyncio.wait_for(connection.wait_closed(), 5)
    assert connection.close_code == 1006


# --- O ---


@pytest.mark.parametrize("more", [pytest.param(0, id="nothing more"), pytest.param(10 * MIB, id="10 MB more")])
async def test_o1_drop_in_our_close_is_not_overtaken_by_a_reset(place: Place, library: DropIn, more: int) -> None:
    """The peer reads 1009 and the end of the stream, however much it goes on sending."""

    async def write(peer: RawPeer) -> None:
        peer.write(header(BINARY, 10 * MIB, key=KEY) + bytes(more))
        with contextlib.suppress(OSError):
            await peer.writer.drain()

    async with serve(library, Ends()) as server:
        peer = await place.raw_client(server)
        await peer.upgrade()
        writing = asyncio.ensure_future(write(peer))
        answer = await peer.read_rest()
        writing.cancel()
        await peer.aclose()
    assert answer[:1] == b"\x88"
    assert answer[2:4] == close_payload(1009)


@pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
async def test_o2_drop_in_an_end_without_close(place: Place, library: DropIn, client: bool) -> None:
    """1006, and the words of websockets."""
    ends = Ends()
    if client:

        async def leave(peer: RawPeer) -> None:
            await peer.accept()
            peer.hang_up()

        async with connect(library, await place.raw_server(leave)) as connection:
            await ends(connection)
    else:
        async with serve(library, ends) as server:
            peer = await place.raw_client(server)
            await peer.upgrade()
            peer.hang_up()
            await until(lambda: ends.errors)
    assert [str(error) for error in ends.errors] == ["no close frame received or sent"]
    assert isinstance(ends.errors[0], library.ConnectionClosed)


async def test_o5_drop_in_both_close_at_once(place: Place, library: DropIn) -> None:
    """Some turns of the loop apart: each side gets the code that the other has sent, and nobody waits."""

    def codes_of(connection: Any) -> Any:
        return connection.protocol.close_rcvd.code, connection.protocol.close_sent.code

    seen = set()
    for turns in range(12):
        served: List[Any] = []

        async def handler(connection: Any, turns: int = turns, served: Any = served) -> None:
            await connection.recv()
            await settle(turns)
            await connection.close(4001)
            served.append(codes_of(connection))

        async with serve(library, handler) as server:
            async with connect(library, server) as connection:
                await connection.send("both")
                await settle(6)
                await connection.close(4002)
                ours = codes_of(connection)
            await until(lambda served=served: served)
        assert served == [ours[::-1]]
        seen.add(ours)
    assert seen <= {(4001, 4001), (4002, 4002), (4001, 4002)}
