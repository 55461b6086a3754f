"""T14: every coroutine of the core API, cancelled at every point where it waits: nothing lost, nothing torn, nothing
hung, no task left. Servers are in test_cancellation_servers.py, `picows.websockets` is in
test_cancellation_drop_in.py, and test_cancellation_names.py knows them all.

The message layer runs on the test's clock, which raises where a loop would wait for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Callable, Coroutine, Iterator, List, Tuple

import pytest
from fixtures.cancelling import AT_ONCE, WHEN_ANSWERED, Point, cancel_everywhere, points, run_cancelled
from fixtures.messages import SIDES, Talk, fragments
from fixtures.sockets import Echo, Net, count_sockets, settle, until
from fixtures.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, Sent, close_payload, take_apart

from picows import ws_connect, ws_create_server
from picows.errors import WSConnectionClosed

#: At least so many points in each test of one engine; the sum is T14's promise.
LEAST = {
    "recv": 220,
    "iterating": 32,
    "recv_streaming": 150,
    "send": 80,
    "send_fragments": 80,
    "send_fragments, async": 160,
    "close": 4,
    "wait_disconnected": 4,
    "measure_roundtrip_time": 24,
    "ws_connect": 6,
    "ws_create_server": 4,
    "server.close": 6,
}


def test_t14_500_points() -> None:
    assert sum(LEAST.values()) >= 500


class Scene:
    """A connection of messages on the test's clock, of which one coroutine is cancelled."""

    def __init__(self, talk: Talk, client: bool, **arguments: Any) -> None:
        self.connection = talk(client=client, **arguments)
        self.listener = self.connection.listener
        self.loop = self.connection.loop

    def later(self, seconds: float, action: Callable[..., Any], *args: Any) -> None:
        """The peer does something."""
        self.loop.call_later(seconds, action, *args)

    def pause(self, at: float, seconds: float) -> None:
        """The peer does not read for a while."""
        self.later(at, self.connection.protocol.pause_writing)
        self.later(at + seconds, self.connection.protocol.resume_writing)

    def cancel(self, coroutine: Coroutine[Any, Any, Any], point: Point) -> Tuple[bool, Any]:
        """Run it; then only tasks that end by themselves may be left."""
        result: Tuple[bool, Any] = self.loop.run_until_complete(run_cancelled(coroutine, point))
        return result

    def frames(self) -> List[Sent]:
        """All that was written so far, which must be whole frames."""
        written: List[Sent] = take_apart(b"".join(bytes(chunk) for chunk in self.connection.wire.chunks))
        return written

    def check_alive(self) -> None:
        """A message in, a message out, and the end."""
        assert not self.connection.transport.is_close_frame_sent
        self.connection.feed_frame(TEXT, "alive")
        assert self.connection.run(self.listener.recv()) == "alive"
        self.connection.run(self.listener.send("alive"))
        assert self.frames()[-1][:2] == (TEXT, b"alive")
        self.check_end()

    def check_end(self, codes: Tuple[int, ...] = (1006,)) -> None:
        """Lose the connection: everybody is told, and no task is left."""
        self.connection.lose()
        self.loop.settle()
        for call in (self.listener.recv, lambda: self.listener.send("x")):
            with pytest.raises(WSConnectionClosed) as caught:
                self.connection.run(call())
            assert caught.value.code in codes
        assert not asyncio.all_tasks(self.loop)
        self.connection.shut()


def everywhere(attempt: Callable[[Point], bool]) -> int:
    """`fixtures.cancelling.cancel_everywhere` for the test's clock."""
    count = 0
    for how in (AT_ONCE, WHEN_ANSWERED):
        for point in points(how):
            if not attempt(point):
                break
            count += 1
    return count


# --- receiving ---


@SIDES
def test_t14_recv(talk: Talk, client: bool) -> None:
    """N1: nothing is lost, nothing comes twice, and the order is kept."""
    count = 45

    def attempt(point: Point) -> bool:
        scene = Scene(talk, client)
        taken: List[Any] = []
        expected = [f"m{number}" if number % 2 else f"m{number}".encode() for number in range(count)]
        for number in range(count):
            opcode, text = (TEXT if number % 2 else BINARY), f"m{number}"
            for at, piece in enumerate(fragments_of(scene, opcode, text, number)):
                scene.later(number + at / 8, scene.connection.feed, piece)

        async def receive(wanted: int) -> None:
            while len(taken) < wanted:
                taken.append(await scene.listener.recv())

        was_reached, _ = scene.cancel(receive(count), point)
        scene.connection.run(receive(count))
        assert taken == expected
        scene.check_alive()
        return was_reached

    assert everywhere(attempt) >= LEAST["recv"] // 2


@SIDES
def test_t14_iterating(talk: Talk, client: bool) -> None:
    """As `recv`; who was cancelled may iterate again."""
    expected = [f"m{number}" for number in range(9)]

    def attempt(point: Point) -> bool:
        scene = Scene(talk, client)
        taken: List[Any] = []
        for number, message in enumerate(expected):
            scene.later(number, scene.connection.feed, fragments(scene.connection, TEXT, message[:1], message[1:]))

        async def iterate() -> None:
            async for message in scene.listener:
                taken.append(message)
                if len(taken) == len(expected):
                    break

        was_reached, result = scene.cancel(iterate(), point)
        if result is not None:
            scene.connection.run(iterate())
        assert taken == expected
        scene.check_alive()
        return was_reached

    assert everywhere(attempt) >= LEAST["iterating"] // 2


def fragments_of(scene: Scene, opcode: int, text: str, number: int) -> List[bytes]:
    """The reads that bring a message: whole, in fragments, cut within a header."""
    connection = scene.connection
    if number % 3 == 0:
        return [connection.frame(opcode, text)]
    if number % 3 == 1:
        return [connection.frame(opcode, text[:1], fin=False), connection.frame(CONT, text[1:])]
    data = fragments(connection, opcode, text, "")
    return [data[:1], data[1:4], data[4:]]


@SIDES
def test_t14_recv_streaming(talk: Talk, client: bool) -> None:
    """Before its first fragment a message is kept; later its rest is dropped, and never that of another one."""
    count = 30

    def attempt(point: Point) -> bool:
        scene = Scene(talk, client)
        taken: List[Tuple[int, str]] = []
        for number in range(count):
            for at, piece in enumerate(fragments_of(scene, TEXT, f"m{number}", number)):
                scene.later(number + at / 8, scene.connection.feed, piece)

        async def receive(first: int) -> None:
            for number in range(first, count):
                async for part in scene.listener.recv_streaming():
                    taken.append((number, part))

        was_reached, _ = scene.cancel(receive(0), point)
        cancelled = list(taken)
        begun = {number for number, _ in cancelled}
        whole = [number for number in begun if text_of(cancelled, number) == f"m{number}"]
        scene.connection.run(receive(len(begun)))
        for number in range(count):
            text = text_of(taken, number)
            assert text == f"m{number}" or (number == max(begun) and f"m{number}".startswith(text)), (point, number)
        assert len(begun) - len(whole) <= 1
        scene.check_alive()
        return was_reached

    assert everywhere(attempt) >= LEAST["recv_streaming"] // 2


def text_of(taken: List[Tuple[int, str]], number: int) -> str:
    return "".join(part for at, part in taken if at == number)


# --- sending ---


@SIDES
def test_t14_send(talk: Talk, client: bool) -> None:
    """G3: a message is sent as a whole, also where waiting for the write buffer was cancelled."""
    messages = [f"message {number}" for number in range(20)]

    def attempt(point: Point) -> bool:
        scene = Scene(talk, client)
        started: List[str] = []

        async def send() -> None:
            for message in messages:
                scene.connection.protocol.pause_writing()
                scene.later(1, scene.connection.protocol.resume_writing)
                started.append(message)
                await scene.listener.send(message)

        was_reached, _ = scene.cancel(send(), point)
        assert [frame.payload.decode() for frame in scene.frames()] == started
        scene.loop.advance(2)
        scene.check_alive()
        return was_reached

    assert everywhere(attempt) >= LEAST["send"] // 2


@SIDES
@pytest.mark.parametrize("is_async", [False, True], ids=["iterable", "async-iterable"])
def test_t14_send_fragments(talk: Talk, client: bool, is_async: bool) -> None:
    """G3: a message that was begun and cannot be completed ends the connection; one that was not leaves no trace."""
    parts = [f"part {number} " for number in range(20)]

    def attempt(point: Point) -> bool:
        scene = Scene(talk, client, close_timeout=5)
        scene.connection.protocol.pause_writing()
        blocked = scene.loop.create_task(scene.listener.send_fragments(["first"]))  # has the lock for a second
        scene.loop.settle()
        scene.later(1, scene.connection.protocol.resume_writing)

        def iterate() -> Iterator[str]:
            for part in parts:
                scene.connection.protocol.pause_writing()
                scene.later(1, scene.connection.protocol.resume_writing)
                yield part

        async def iterate_async() -> AsyncIterator[str]:
            for part in iterate():
                await asyncio.sleep(0)
                yield part

        was_reached, result = scene.cancel(
            scene.listener.send_fragments(iterate_async() if is_async else iterate()), point
        )
        scene.loop.run_until_complete(scene.loop.shutdown_asyncgens())
        scene.loop.run_until_complete(blocked)
        scene.loop.advance(2)
        ours = [frame for frame in scene.frames() if frame.payload not in (b"first", b"") or frame.opcode == CLOSE]
        if not isinstance(result, asyncio.CancelledError):
            assert [frame.payload.decode() for frame in ours] == parts
        elif not ours:
            scene.check_alive()
            return was_reached
        elif scene.frames()[-1].fin and scene.frames()[-1].opcode == CONT:  # it was complete
            assert [frame.payload.decode() for frame in ours] == parts
        else:
            assert ours[-1][:2] == (CLOSE, close_payload(1011, b"error in fragmented message"))
            assert [frame.payload.decode() for frame in ours[:-1]] == parts[: len(ours) - 1]
            before = len(scene.connection.wire.chunks)
            with pytest.raises(WSConnectionClosed):
                scene.connection.run(scene.listener.send("after"))
            assert len(scene.connection.wire.chunks) == before
        scene.check_end()
        return was_reached

    least = LEAST["send_fragments, async" if is_async else "send_fragments"]
    assert everywhere(attempt) >= least // 2


# --- closing, waiting, pings ---


@SIDES
@pytest.mark.parametrize("answers", [True, False], ids=["answered", "not-answered"])
def test_t14_close(talk: Talk, client: bool, answers: bool) -> None:
    """The CLOSE has left: the connection ends without anybody waiting, and who asks again is told."""

    def attempt(point: Point) -> bool:
        scene = Scene(talk, client, close_timeout=5, max_queue=1)
        scene.connection.feed(scene.connection.frame(TEXT, "a") * 2)  # reading is paused
        if answers:
            scene.later(1, scene.connection.feed_frame, CLOSE, close_payload(1000))
            scene.later(2, scene.connection.eof)
        was_reached, _ = scene.cancel(scene.listener.close(), point)
        started = scene.loop.time()
        scene.connection.run(scene.listener.close())
        assert scene.loop.time() - started <= 5
        assert [frame[:2] for frame in scene.frames()] == [(CLOSE, close_payload(1000))]
        assert [scene.connection.run(scene.listener.recv()) for _ in range(2)] == ["a", "a"]
        scene.check_end((1000,) if answers else (1006,))
        return was_reached

    assert everywhere(attempt) >= LEAST["close"] // 2


@SIDES
def test_t14_wait_disconnected(talk: Talk, client: bool) -> None:
    def attempt(point: Point) -> bool:
        scene = Scene(talk, client)
        scene.later(1, scene.connection.lose)
        transport = scene.connection.transport
        others = [scene.loop.create_task(transport.wait_disconnected()) for _ in range(2)]
        was_reached, _ = scene.cancel(transport.wait_disconnected(), point)
        scene.connection.run(asyncio.wait(others))
        assert [other.exception() for other in others] == [None, None]
        scene.check_end()
        return was_reached

    assert everywhere(attempt) >= LEAST["wait_disconnected"] // 2


@SIDES
def test_t14_measure_roundtrip_time(talk: Talk, client: bool) -> None:
    """Other measurements go on, and no ping stays without its pong."""

    def attempt(point: Point) -> bool:
        scene = Scene(talk, client)
        answered = 0

        def answer() -> None:
            nonlocal answered
            pings = [frame for frame in scene.frames() if frame.opcode == PING]
            for _ in pings[answered:]:
                scene.connection.feed_frame(PONG)
            answered = len(pings)
            if not is_over:
                scene.later(0.1, answer)

        is_over = False
        answer()
        transport = scene.connection.transport
        before = scene.loop.create_task(transport.measure_roundtrip_time(2))
        scene.loop.settle()
        measuring = scene.cancel(transport.measure_roundtrip_time(5, 3), point)
        scene.connection.run(before)
        assert len(before.result()) == 2
        assert len(scene.connection.run(transport.measure_roundtrip_time(3, 3))) == 3
        is_over = True
        scene.check_alive()
        return measuring[0]

    assert everywhere(attempt) >= LEAST["measure_roundtrip_time"] // 2


# --- connecting and serving ---


async def test_t14_ws_connect(net: Net, engine: Any) -> None:
    """W5: the socket is closed and no callback runs afterwards."""
    server = await net.serve(lambda request: engine.WSMessageListener(), engine=engine)
    net.allowed_reports += ["SSL handshake failed", "Error on transport creation for incoming connection"]
    before = count_sockets()

    async def attempt(point: Point) -> bool:
        opened: List[Any] = []

        async def connect() -> None:
            url = net.url(server).replace("127.0.0.1", "localhost")
            opened.append(await ws_connect(engine.WSMessageListener, url, engine=engine, **net.client_options()))

        was_reached, _ = await run_cancelled(connect(), point)
        for transport, _ in opened:
            transport.disconnect(graceful=False)
            await transport.wait_disconnected()
        await settle(10)
        await until(lambda: not server.connections and count_sockets() <= before)
        return was_reached

    assert await cancel_everywhere(attempt) >= LEAST["ws_connect"]


async def test_t14_ws_create_server(tcp: Net, engine: Any) -> None:
    """A server that nobody got hold of does not listen."""
    before = count_sockets()

    async def attempt(point: Point) -> bool:
        servers: List[Any] = []

        async def serve() -> None:
            options = tcp.server_options()
            servers.append(await ws_create_server(lambda request: Echo(), "localhost", 0, engine=engine, **options))

        was_reached, _ = await run_cancelled(serve(), point)
        for server in servers:
            await server.close()
        servers.clear()
        await settle(10)
        await until(lambda: count_sockets() <= before)
        return was_reached

    least = LEAST["ws_create_server"] if tcp.loop_kind == "asyncio" else 1
    assert await asyncio.wait_for(cancel_everywhere(attempt), 20) >= least


async def test_t14_server_close(tcp: Net, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has stopped listening; who closes again waits for the end of every connection."""
    monkeypatch.setattr("picows.server.LINGER_S", 0.05)  # `raw` does not hang up

    async def attempt(point: Point) -> bool:
        options = {**tcp.server_options(), "engine": engine}
        server = await ws_create_server(lambda request: engine.WSMessageListener(), "127.0.0.1", 0, **options)
        clients = []
        for _ in range(3):
            options = {**tcp.client_options(), "engine": engine}
            clients.append(await ws_connect(engine.WSMessageListener, tcp.url(server), **options))
        raw = await tcp.raw_client(server)  # in its handshake
        raw.write(b"GET / HTTP/1.1\r\n")
        await until(lambda: len(server.connections) == 3)

        async def close() -> None:
            await server.close(close_timeout=5)

        was_reached, _ = await run_cancelled(close(), point)
        assert not server.is_serving()
        await server.close(close_timeout=5)
        assert not server.connections
        for transport, _ in clients:
            await transport.wait_disconnected()
        await raw.aclose()
        await settle(10)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in tasks if "wait_closed" in repr(task) or "wait_disconnected" in repr(task)]
        return was_reached

    least = LEAST["server.close"] if tcp.loop_kind == "asyncio" else 2
    assert await cancel_everywhere(attempt) >= least
