"""T15, O3: the k-th read or write fails, for k = 1 to 200 and every errno: the connection ends once, whoever waits is
told, nothing is torn, and nothing reaches the loop's exception handler.

Above k = 20 each place gets two of the twelve errnos; with PICOWS_TEST_EVERY_ERRNO=1 all of them, in half a minute for
each engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from typing import Any, Awaitable, Callable, Dict, List, Tuple

import pytest
from fixtures.broken_io import ERRNOS, FAILING_SIZE, FailingSocket, error, fail_write, with_failing_sends
from fixtures.drop_in import load_drop_in, silent
from fixtures.messages import SIDES, Talk, start
from fixtures.sockets import Net, port_of
from fixtures.wire import TEXT

from picows import ws_connect, ws_create_server
from picows.errors import WSConnectionClosed, WSHandshakeError

LAST = 200
IS_FULL = bool(os.environ.get("PICOWS_TEST_EVERY_ERRNO"))
EVERY_ERRNO = pytest.mark.parametrize("number", ERRNOS, ids=lambda number: errno.errorcode[number])
Outcome = List[Any]


def cut_off(data: bytes) -> Tuple[int, int]:
    """How many whole frames were written, and how many bytes of one more."""
    count = at = 0
    while at + 2 <= len(data):
        size = data[at + 1] & 0x7F
        head = 2 + (4 if data[at + 1] & 0x80 else 0) + (2 if size == 126 else 0)
        if size == 126:
            size = int.from_bytes(data[at + 2 : at + 4], "big")
        if at + head + size > len(data):
            break
        count, at = count + 1, at + head + size
    return count, len(data) - at


def counting(engine: Any) -> Any:
    """A WSMessageListener that counts its ends."""

    class Counting(engine.WSMessageListener):  # type: ignore[misc]
        ends = 0

        def on_ws_disconnected(self, transport: Any) -> None:
            super().on_ws_disconnected(transport)
            self.ends += 1

    return Counting


def places(number: int) -> List[int]:
    """Which k for this errno: the first 20, and then so that each is there for two of the errnos, or all."""
    return [k for k in range(1, LAST + 1) if IS_FULL or k <= 20 or k % 6 == ERRNOS.index(number) % 6]


class Waiters:
    """Everybody who can wait on a connection of the test's clock."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.reports: List[Any] = []
        connection.loop.set_exception_handler(lambda _, context: self.reports.append(context))
        self.receiving = start(connection, self._receive())
        self.ended = start(connection, connection.transport.wait_disconnected())

    async def _receive(self) -> Outcome:
        received: Outcome = []
        while True:
            try:
                received.append(await self.connection.listener.recv())
            except WSConnectionClosed as exc:
                return [*received, exc.code]

    def check(self, received: Outcome) -> None:
        """All have been told, once."""
        connection = self.connection
        connection.loop.settle()
        assert connection.listener.ends == 1
        assert self.receiving.result() == [*received, 1006]
        assert self.ended.exception() is None
        for call in (connection.listener.recv, lambda: connection.listener.send("x")):
            with pytest.raises(WSConnectionClosed):
                connection.run(call())
        with pytest.raises(ConnectionError):
            connection.run(connection.transport.measure_roundtrip_time(1))
        connection.run(connection.listener.close())
        assert connection.transport.is_disconnected
        assert self.reports == []
        assert not asyncio.all_tasks(connection.loop)
        connection.shut()


@SIDES
@EVERY_ERRNO
def test_t15_write_k_fails(talk: Talk, engine: Any, client: bool, number: int) -> None:
    """Writes are whole messages, fragments, pings and pongs; what fails is cut short somewhere."""
    for k in places(number):
        connection = talk(counting(engine), client=client)
        waiters = Waiters(connection)
        fail_write(connection, k, error(number), short=k % 9)

        async def use(connection: Any = connection) -> None:
            for at in range(LAST // 4):
                await connection.listener.send(f"message {at}")
                await connection.listener.send_fragments([b"frag", b"ment"])  # three frames

        measuring = start(connection, connection.transport.measure_roundtrip_time(1))
        with contextlib.suppress(WSConnectionClosed):
            connection.run(use())
        short = k % 9
        # A short write of a short frame may be all of it.
        assert cut_off(connection.written()) in ((k - 1, short), (k, 0), (k, short - len(connection.frame(9))))
        connection.loop.settle()
        assert isinstance(measuring.exception(), ConnectionError)
        waiters.check([])


@SIDES
@EVERY_ERRNO
def test_t15_read_k_fails(talk: Talk, engine: Any, client: bool, number: int) -> None:
    """What came before is delivered; half a message is not."""
    for k in places(number):
        connection = talk(counting(engine), client=client, max_queue=None)
        waiters = Waiters(connection)
        frame = connection.frame(TEXT, "a message")
        for read in range(1, k):
            connection.feed(frame[:5] if read % 2 else frame[5:])
        connection.lose(error(number))
        waiters.check(["a message"] * ((k - 1) // 2))


@SIDES
@EVERY_ERRNO
def test_t15_write_fails_while_it_is_paused(talk: Talk, engine: Any, client: bool, number: int) -> None:
    """G8: who waits for the write buffer is told; so is who streams and who waits for the stream."""
    connection = talk(counting(engine), client=client)
    waiters = Waiters(connection)
    connection.protocol.pause_writing()
    streaming = start(connection, connection.listener.send_fragments([b"a", b"b"]))
    sending = [start(connection, connection.listener.send("x")) for _ in range(3)]
    closing = start(connection, connection.listener.close())
    connection.lose(error(number))
    connection.loop.settle()
    assert closing.exception() is None
    for task in (streaming, *sending):
        assert isinstance(task.exception(), WSConnectionClosed)
    waiters.check([])


# --- on sockets ---


class Pair:
    """A server, and one connection to it: the message layers of both sides."""

    def __init__(self, net: Net, engine: Any) -> None:
        self.net = net
        self.engine = engine
        self.options: Dict[str, Any] = {"engine": engine, "use_aiofastnet": False, "close_timeout": 2}
        self.served: asyncio.Queue[Any] = asyncio.Queue()
        self.client: Any = None
        self.peer: Any = None

    async def __aenter__(self) -> Pair:
        served = self.served

        class Served(self.engine.WSMessageListener):  # type: ignore[misc]
            def on_ws_connected(self, transport: Any) -> None:
                super().on_ws_connected(transport)
                served.put_nowait(self)

        options = {**self.net.server_options(), **self.options}
        self.server = await ws_create_server(lambda request: Served(), "127.0.0.1", 0, **options)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.server.close()
        for side in (self.client, self.peer):
            if side is not None:
                side.transport.disconnect(graceful=False)
                await side.close()

    async def connect(self, sock: Any = None) -> None:
        """Connect, through a socket where one is given."""
        options = {**self.net.client_options(), **self.options}
        if sock is not None:
            sock.connect(self.server.sockets[0].getsockname())
            options["socket_factory"] = lambda url: sock
        _, self.client = await ws_connect(self.engine.WSMessageListener, self.net.url(self.server), **options)
        self.peer = await self.served.get()


async def receive(listener: Any) -> Outcome:
    """All messages, and the code of the end."""
    received: Outcome = []
    while True:
        try:
            received.append(await listener.recv())
        except WSConnectionClosed as exc:
            return [*received, exc.code]


def run_with_failing_sends(fail: Callable[[int], Awaitable[None]]) -> None:
    """Run a coroutine function for each errno; nothing may reach the loop's exception handler, and no task be left."""

    async def main() -> None:
        reports: List[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        for number in ERRNOS:
            await asyncio.wait_for(fail(number), 10)
        assert reports == []
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    with_failing_sends(lambda: asyncio.run(main()))


@SIDES
def test_t15_send_fails_with_every_errno(engine: Any, client: bool) -> None:
    """send(2) itself, called by the engines: every message before has arrived, the connection ends once."""

    async def fail(number: int, k: int) -> None:
        async with Pair(Net("asyncio", False, False), engine) as pair:
            await pair.connect()
            own, peer = (pair.client, pair.peer) if client else (pair.peer, pair.client)
            receiving = [asyncio.ensure_future(receive(side)) for side in (own, peer)]
            for at in range(k):
                await own.send(f"message {at}")
            with contextlib.suppress(WSConnectionClosed):
                await own.send(bytes(FAILING_SIZE + number - (8 if client else 4)))  # less its header
            assert await receiving[0] == [1006]
            assert await receiving[1] == [*(f"message {at}" for at in range(k)), 1006]
            with pytest.raises(WSConnectionClosed):
                await own.send("x")
            await own.close()

    for k in (0, 1, 17):
        run_with_failing_sends(lambda number, k=k: fail(number, k))  # type: ignore[misc]


@SIDES
@pytest.mark.parametrize("k", [0, 1, 2, 17])
def test_t15_send_fails_under_the_drop_in(engine: Any, client: bool, k: int) -> None:
    """As above, for `picows.websockets`: also who waits for a pong is told."""
    library = load_drop_in(engine)

    async def fail(number: int) -> None:
        served: asyncio.Queue[Any] = asyncio.Queue()

        async def handler(connection: Any) -> None:
            served.put_nowait(connection)
            await connection.wait_closed()

        async with library.serve(handler, "127.0.0.1", 0, logger=silent(), compression=None) as server:
            url = f"ws://127.0.0.1:{port_of(server)}"
            connection = await library.connect(url, proxy=None, compression=None)
            own, peer = (connection, await served.get()) if client else (await served.get(), connection)
            for at in range(k):
                await own.send(f"message {at}")
                assert await peer.recv() == f"message {at}"
            receiving = [asyncio.ensure_future(side.recv()) for side in (own, peer)]
            pong = await own.ping("never answered in time")
            with contextlib.suppress(library.ConnectionClosed):
                await own.send(bytes(FAILING_SIZE + number - (8 if client else 4)))  # less its header
            for waiter in (*receiving, pong):
                with pytest.raises(library.ConnectionClosed):
                    await waiter
            for call in (own.recv, lambda: own.send("x"), own.ping, peer.recv):
                with pytest.raises(library.ConnectionClosed):
                    await call()
            await own.close()
            assert own.close_code == peer.close_code == 1006

    run_with_failing_sends(fail)


async def test_t15_recv_k_fails_under_the_drop_in(local: Net, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's k-th read of its socket, in its handshake too: what came before has been received."""
    library = load_drop_in(engine)
    # aiofastnet reads without Python's socket
    monkeypatch.setitem(library.connect.__init__.__globals__, "resolve_aiofastnet", lambda *_: False)

    async def talk(connection: Any) -> None:
        with contextlib.suppress(library.ConnectionClosed):
            for at in range(LAST):
                await connection.send(f"message {at}")
                await connection.recv()  # so that each message is a read

    async def attempt(address: Any, k: int) -> bool:
        """Whether the handshake was over when it failed."""
        sock = FailingSocket()
        sock.fails, sock.at, sock.number = "recv", k, ERRNOS[k % len(ERRNOS)]
        sock.connect(address)
        received: List[str] = []
        try:
            connection = await library.connect("ws://localhost/", sock=sock, proxy=None, close_timeout=2)
        except (OSError, EOFError, library.InvalidHandshake):
            return False
        with pytest.raises(library.ConnectionClosed):
            while True:
                received.append(await connection.recv())
                await connection.send("next")
        assert received == [f"message {at}" for at in range(len(received))]
        assert connection.close_code == 1006
        await connection.close()
        return True

    async with library.serve(talk, "127.0.0.1", 0, logger=silent(), close_timeout=1) as server:
        address = server.sockets[0].getsockname()
        outcomes = [await asyncio.wait_for(attempt(address, k), 10) for k in [*range(1, 21), *range(21, LAST, 20)]]
    assert outcomes == [False] + [True] * (len(outcomes) - 1)


@pytest.mark.parametrize(("fails", "is_secure"), [("recv", False), ("recv", True), ("send", True)])
def test_t15_call_k_of_a_socket_fails(engine: Any, fails: str, is_secure: bool) -> None:
    """The transports' own calls: all reads, and over TLS all writes. (Over TCP it is the engines that write.)"""
    net = Net("asyncio", False, is_secure)
    if is_secure:
        net.load_certificates()
    step = 1 if not is_secure else 4  # handshakes of TLS are slow

    async def attempt(k: int) -> bool:
        """Whether the k-th call was reached."""
        sock = FailingSocket()
        sock.fails, sock.at, sock.number = fails, k, ERRNOS[k // step % len(ERRNOS)]
        async with Pair(net, engine) as pair:
            try:
                await pair.connect(sock)
            except (OSError, WSHandshakeError):
                return True
            receiving = [asyncio.ensure_future(receive(side)) for side in (pair.client, pair.peer)]
            own = pair.client if fails == "send" else pair.peer
            sent: List[str] = []
            for at in range(LAST):
                sent.append(f"message {at}")
                with contextlib.suppress(WSConnectionClosed):
                    await own.send(sent[-1])
                await asyncio.sleep(0)
                if receiving[0].done():
                    break
            await pair.client.close()
            at_client, at_peer = await asyncio.gather(*receiving)
            received = at_peer if fails == "send" else at_client
            assert received[:-1] == sent[: len(received) - 1]
            return bool(at_client[-1] == 1006)

    async def main() -> None:
        net.allowed_reports += ["SSL handshake failed", "SSL error in data received"]
        net.allowed_reports += ["Error on transport creation for incoming connection", "Fatal error on SSL"]
        for k in range(1, LAST + 1, step):
            if not await asyncio.wait_for(attempt(k), 10):
                assert k > 20
                break

    net.run(main)


async def test_t15_short_writes_and_a_reset_at_every_place(local: Net, engine: Any) -> None:
    """A small SO_SNDBUF makes all writes short; the peer resets after k reads: what it got are whole frames."""
    messages = [bytes([at]) * (at * 997 % 40_000) for at in range(60)]

    async def send(peer: Any) -> None:
        for message in messages:
            await peer.send(message)

    for k in range(1, 60, 3):
        async with Pair(local, engine) as pair:
            await pair.connect()
            client, peer = pair.client, pair.peer
            raw = peer.transport.underlying_transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            receiving = asyncio.ensure_future(receive(peer))
            sending = asyncio.ensure_future(send(peer))
            assert [await client.recv() for _ in range(k)] == messages[:k]
            client.transport.disconnect(graceful=False)
            with contextlib.suppress(WSConnectionClosed):
                await sending
            assert await receiving == [1006]
            assert peer.transport.write_buffer_size == 0
