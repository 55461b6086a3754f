"""T14 for the trio API of `picows.websockets`: connections and servers, cancelled at every point where they wait."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
trio = pytest.importorskip("trio", reason="trio is not installed: pip install trio")

from fixtures.cancelling import Point, cancel_everywhere, refuse_every_second  # noqa: E402
from fixtures.cancelling_trio import run_cancelled  # noqa: E402
from fixtures.certificates import make_certificates  # noqa: E402
from fixtures.drop_in import silent  # noqa: E402
from fixtures.proxies import make_proxy  # noqa: E402
from fixtures.sockets import count_sockets, have  # noqa: E402
from fixtures.sync_api import OURS  # noqa: E402
from fixtures.trio_api import connect, echo, library, run, serving, where  # noqa: E402

LIB = library(OURS)
EXCEPTIONS = LIB.exceptions
#: How many points there are at least.
LEAST = {
    "session": 20,
    "tls": 30,
    "proxy": 15,
    "async for": 40,
    "recv": 80,
    "iterating": 12,
    "recv_streaming": 80,
    "send": 40,
    "iterable": 40,
    "async iterable": 80,
    "ping": 20,
    "pong": 2,
    "broadcast": 4,
    "aclose": 2,
    "wait_closed": 2,
    "serve": 4,
    "server.aclose": 2,
    "hook": 6,
}


async def until(condition: Any) -> None:
    """Wait for a condition; the limit is that of `run`."""
    while not condition():
        await trio.sleep(0.001)


class Stage:
    """A server, what its handler got from each connection, and connections to it."""

    def __init__(self, server: Any) -> None:
        self.server = server.server
        self.uri = server.uri
        self.sockets = count_sockets()
        #: Path -> what came, and the code of the end.
        self.ends: dict[str, tuple[list[Any], Any]] = {}

    def connect(self, point: Point, **kwargs: Any) -> Any:
        """A connection of its own for this point."""
        path = f"{point.number}/{point.how.replace(' ', '-')}"
        return connect(LIB, self.uri + path, ping_interval=None, **kwargs)

    async def nothing_left(self) -> None:
        """Neither connections nor sockets are left."""
        await until(lambda: not self.server.connections and count_sockets() <= self.sockets)

    async def record(self, connection: Any) -> None:
        """A handler."""
        messages: list[Any] = []
        try:
            while True:
                messages.append(await connection.recv())
        except EXCEPTIONS.ConnectionClosed:
            failure = connection.protocol.parser_exc
            end = connection.close_code if failure is None or isinstance(failure, EOFError) else str(failure)
            self.ends[connection.request.path] = messages, end

    async def end(self, connection: Any) -> tuple[list[Any], Any]:
        """What the server got from a connection, and with which code it ended."""
        await until(lambda: connection.request.path in self.ends)
        return self.ends[connection.request.path]


def staged(scenario: Any, handler: Any = None, **kwargs: Any) -> int:
    """Run a scenario with a stage whose handler this is; by default it records."""

    async def main() -> int:
        stages: list[Stage] = []

        async def handle(connection: Any) -> None:
            await (stages[0].record if handler is None else handler)(connection)

        async with serving(LIB, handle, compression=None, close_timeout=1, logger=silent(), **kwargs) as server:
            stages.append(Stage(server))
            count: int = await scenario(stages[0])
        return count

    return run(main)  # type: ignore[no-any-return]


async def check_alive(connection: Any) -> None:
    """A message there, and the end."""
    await connection.send("alive")
    await connection.aclose()
    assert connection.state.name == "CLOSED"


# --- connecting ---


async def talk(connection: Any) -> None:
    """Three messages, there and back."""
    for number in range(3):
        await connection.send(f"{number}")
        assert await connection.recv() == f"{number}"


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "tls"])
def test_t14_trio_session(is_secure: bool) -> None:
    """The block closes the connection whatever happens: of its tasks and sockets nothing is left."""
    certificates = make_certificates()

    async def scenario(stage: Stage) -> int:
        async def attempt(point: Point) -> bool:
            async def session() -> None:
                async with stage.connect(point, ssl=certificates.client if is_secure else None) as connection:
                    await talk(connection)

            was_reached, _ = await run_cancelled(session(), point)
            await stage.nothing_left()
            return was_reached

        return await cancel_everywhere(attempt)

    count = staged(scenario, echo, ssl=certificates.server if is_secure else None)
    assert count >= LEAST["tls" if is_secure else "session"]


def test_t14_trio_connecting_again() -> None:
    """`async for`, where every second attempt is refused and waits for the next."""

    async def scenario(stage: Stage) -> int:
        async def attempt(point: Point) -> bool:
            received: list[str] = []

            async def session() -> None:
                delays = lambda: itertools.repeat(0)  # noqa: E731
                connections = stage.connect(point, reconnect_delays=delays, logger=silent())
                async with contextlib.aclosing(connections.__aiter__()) as them:
                    async for connection in them:
                        await connection.send("x")
                        received.append(await connection.recv())
                        if len(received) == 2:
                            return

            was_reached, is_complete = await run_cancelled(session(), point)
            assert not is_complete or received == ["x", "x"]
            await stage.nothing_left()
            return was_reached

        return await cancel_everywhere(attempt)

    assert staged(scenario, echo, process_request=refuse_every_second()) >= LEAST["async for"]


@contextlib.contextmanager
def proxy_in_a_thread(scheme: str) -> Iterator[str]:
    """The URL of a proxy on a loop of its own."""
    urls: list[str] = []
    is_open = threading.Event()

    async def main() -> None:
        done = asyncio.Event()
        async with make_proxy(scheme, None) as proxy:  # type: ignore[arg-type]
            urls.append(proxy.url())
            stop.append(functools.partial(asyncio.get_running_loop().call_soon_threadsafe, done.set))
            is_open.set()
            await done.wait()

    stop: list[Any] = []
    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert is_open.wait(10)
    try:
        yield urls[0]
    finally:
        stop[0]()
        thread.join()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_t14_trio_connect_through_a_proxy(scheme: str) -> None:
    """The socket to the proxy is closed, and so is the tunnel's."""
    if scheme == "socks5" and not have("python_socks"):
        pytest.skip("python-socks is not installed: pip install python-socks[trio]")

    async def scenario(stage: Stage) -> int:
        async def attempt(point: Point) -> bool:
            async def session() -> None:
                async with stage.connect(point, proxy=proxy) as connection:
                    await talk(connection)

            was_reached, _ = await run_cancelled(session(), point)
            await stage.nothing_left()
            return was_reached

        return await cancel_everywhere(attempt)

    with proxy_in_a_thread(scheme) as proxy:
        assert staged(scenario, echo) >= LEAST["proxy"]


# --- receiving ---


async def slowly(parts: list[Any]) -> AsyncGenerator[Any]:
    for part in parts:
        await trio.lowlevel.checkpoint()
        yield part


async def talkative(connection: Any) -> None:
    """A handler: 40 messages, whole and in fragments, one after the other."""
    for number in range(40):
        await trio.lowlevel.checkpoint()
        if number % 3:
            await connection.send(f"m{number}")
        else:
            async with contextlib.aclosing(slowly([f"m{number}"[:1], f"m{number}"[1:]])) as parts:
                await connection.send(parts)
    await connection.wait_closed()


@pytest.mark.parametrize("way", ["recv", "iterating"])
def test_t14_trio_recv(way: str) -> None:
    """Whoever goes on after a cancelled recv gets every message, once and in order."""

    async def scenario(stage: Stage) -> int:
        async def attempt(point: Point) -> bool:
            taken: list[str] = []

            async def receive(connection: Any) -> None:
                while way == "recv" and len(taken) < 40:
                    taken.append(await connection.recv())
                if way == "iterating":
                    async for message in connection:
                        taken.append(message)
                        if len(taken) == 40:
                            break

            async with stage.connect(point) as connection:
                was_reached, _ = await run_cancelled(receive(connection), point)
                if len(taken) < 40:
                    await receive(connection)
                assert taken == [f"m{number}" for number in range(40)]
                await check_alive(connection)
            return was_reached

        return await cancel_everywhere(attempt)

    assert staged(scenario, talkative) >= LEAST[way]


def test_t14_trio_recv_streaming() -> None:
    """Before its first fragment a message is kept; after one was left in the middle the connection is for closing."""

    async def scenario(stage: Stage) -> int:
        async def attempt(point: Point) -> bool:
            whole: list[str] = []
            parts: list[str] = []

            async def receive(connection: Any) -> None:
                while len(whole) < 40:
                    parts.clear()
                    async with contextlib.aclosing(connection.recv_streaming()) as stream:
                        async for part in stream:
                            parts.append(part)
                    whole.append("".join(parts))
                    parts.clear()

            async with stage.connect(point) as connection:
                was_reached, _ = await run_cancelled(receive(connection), point)
                if not parts:
                    await receive(connection)
                assert whole == [f"m{number}" for number in range(len(whole))]
                assert f"m{len(whole)}".startswith("".join(parts))
                assert parts or len(whole) == 40
            return was_reached

        return await cancel_everywhere(attempt)

    assert staged(scenario, talkative) >= LEAST["recv_streaming"]


# --- sending ---


def test_t14_trio_send() -> None:
    """A message that was begun arrives, and the next ones behind it."""
    messages = [f"message {number}" for number in range(20)]

    async def scenario(stage: Stage) -> int:
        async def attempt(point: Point) -> bool:
            started: list[str] = []

            async def send(connection: Any) -> None:
                for message in messages:
                    started.append(message)
                    await connection.send(message)

            async with stage.connect(point) as connection:
                was_reached, _ = await run_cancelled(send(connection), point)
                await check_alive(connection)
            assert await stage.end(connection) == ([*started, "alive"], 1000)
            return was_reached

        return await cancel_everywhere(attempt)

    assert staged(scenario) >= LEAST["send"]


@pytest.mark.parametrize("kind", ["iterable", "async iterable"])
def test_t14_trio_send_fragments(kind: str) -> None:
    """A message that was begun and cannot be completed ends the connection; nothing is torn."""
    parts = [f"part {number} " for number in range(20)]

    async def scenario(stage: Stage) -> int:
        async def attempt(point: Point) -> bool:
            async with stage.connect(point) as connection:
                await connection.send("before")
                async with contextlib.aclosing(slowly(parts)) as message:
                    send = connection.send(parts if kind == "iterable" else message)
                    was_reached, is_complete = await run_cancelled(send, point)
                if connection.state.name == "OPEN":
                    await check_alive(connection)
                    messages, end = await stage.end(connection)
                    assert messages in (["before", "".join(parts), "alive"], ["before", "alive"])
                    assert not is_complete or len(messages) == 3
                    assert end == 1000
                else:
                    assert not is_complete
                    with pytest.raises(EXCEPTIONS.ConnectionClosed):
                        await connection.send("after")
                    messages, end = await stage.end(connection)
                    assert messages in (["before"], ["before", "".join(parts)])
                    # A CLOSE amid a message is itself an error to the peer, as in websockets.
                    assert end in (1011, "incomplete fragmented message")
            return was_reached

        return await cancel_everywhere(attempt)

    assert staged(scenario) >= LEAST[kind]


@pytest.mark.parametrize("method", ["ping", "pong"])
def test_t14_trio_pings(method: str) -> None:
    """The pongs that nobody waits for any more disturb nobody."""

    async def scenario(stage: Stage) -> int:
        async def attempt(point: Point) -> bool:
            async def ping(connection: Any) -> None:
                for number in range(5):
                    await (await connection.ping(f"{point} {number}")).wait()

            async with stage.connect(point) as connection:
                use = ping(connection) if method == "ping" else connection.pong("unasked")
                was_reached, _ = await run_cancelled(use, point)
                await (await connection.ping("another")).wait()
                await check_alive(connection)
            assert await stage.end(connection) == (["alive"], 1000)
            return was_reached

        return await cancel_everywhere(attempt)

    assert staged(scenario) >= LEAST[method]


def test_t14_trio_broadcast() -> None:
    """A broadcast that was begun reaches all; one that was not, nobody."""

    async def scenario(stage: Stage) -> int:
        async def attempt(point: Point) -> bool:
            other = Point(-1 - point.number, point.how)
            async with stage.connect(point) as one, stage.connect(other) as two:
                was_reached, _ = await run_cancelled(LIB.server.broadcast([one, two], "to all"), point)
                for connection in (one, two):
                    await check_alive(connection)
                    assert await stage.end(connection) == (["to all", "alive"], 1000)
            return was_reached

        return await cancel_everywhere(attempt)

    assert staged(scenario) >= LEAST["broadcast"]


# --- the end ---


@pytest.mark.parametrize("method", ["aclose", "wait_closed"])
def test_t14_trio_closing(method: str) -> None:
    """What was sent before has arrived, and the connection is closed, once."""

    async def scenario(stage: Stage) -> int:
        async def attempt(point: Point) -> bool:
            async with stage.connect(point) as connection:
                await connection.send("before")
                async with trio.open_nursery() as nursery:
                    if method == "wait_closed":
                        nursery.start_soon(connection.aclose)
                    was_reached, _ = await run_cancelled(getattr(connection, method)(), point)
                await connection.aclose()
                await connection.wait_closed()
                assert connection.state.name == "CLOSED"
                with pytest.raises(EXCEPTIONS.ConnectionClosed):
                    await connection.recv()
            assert await stage.end(connection) == (["before"], 1000)
            await stage.nothing_left()
            return was_reached

        return await cancel_everywhere(attempt)

    assert staged(scenario) >= LEAST[method]


# --- servers ---


def test_t14_trio_serve() -> None:
    """Whatever it was doing, nothing listens afterwards, and a client that is connected is told."""

    async def main() -> int:
        before = count_sockets()

        async def attempt(point: Point) -> bool:
            codes: list[int] = []

            async def use(server: Any) -> None:
                with contextlib.suppress(OSError, EXCEPTIONS.InvalidHandshake, EXCEPTIONS.ConnectionClosed):
                    async with connect(LIB, where(server).uri) as connection:
                        try:
                            await talk(connection)
                            await server.aclose()
                            await connection.wait_closed()
                        finally:
                            codes.append(connection.close_code)

            async with trio.open_nursery() as nursery:
                started = Started(lambda server: nursery.start_soon(use, server))
                serve = LIB.server.serve(echo, 0, host="127.0.0.1", logger=silent(), task_status=started)
                was_reached, is_complete = await run_cancelled(serve, point)
            assert is_complete is not was_reached or codes == [1001]
            assert set(codes) <= {1001, 1011}
            await until(lambda: count_sockets() <= before)
            return was_reached

        return await cancel_everywhere(attempt)

    assert run(main) >= LEAST["serve"]


class Started:
    """What `nursery.start` would give to `serve`."""

    def __init__(self, tell: Any) -> None:
        self.started = tell


@pytest.mark.parametrize("way", ["aclose", "async with"])
def test_t14_trio_server_closing(way: str) -> None:
    """The second call finds it closed; clients are told, and nothing is left."""

    async def main() -> int:
        before = count_sockets()

        async def attempt(point: Point) -> bool:
            async with trio.open_nursery() as nursery:
                server = await nursery.start(functools.partial(LIB.server.serve, logger=silent()), echo, 0)

                async def leave() -> None:
                    async with server:
                        await trio.lowlevel.checkpoint()

                async with connect(LIB, where(server).uri) as connection:
                    await talk(connection)
                    use = server.aclose() if way == "aclose" else leave()
                    was_reached, _ = await run_cancelled(use, point)
                    await server.aclose()
                    await connection.wait_closed()
                    assert connection.close_code in (1001, 1011)  # 1011: the handler was cancelled
            assert not server.connections
            await until(lambda: count_sockets() <= before)
            return was_reached

        return await cancel_everywhere(attempt)

    assert run(main) >= LEAST["server.aclose"]


@pytest.mark.parametrize("hook", ["process_request", "process_response"])
def test_t14_trio_hooks(hook: str) -> None:
    """Cancelled from within, a hook is as good as one that returned nothing, and its connection opens or ends."""
    attempts: list[Point] = []
    reached: list[bool] = []

    async def steps() -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()

    async def wait(*args: Any) -> None:
        reached.append((await run_cancelled(steps(), attempts[-1]))[0])

    async def scenario(stage: Stage) -> int:
        async def attempt(point: Point) -> bool:
            attempts.append(point)
            async with stage.connect(point) as connection:
                await talk(connection)
            await stage.nothing_left()
            return reached[-1]

        return await cancel_everywhere(attempt)

    assert staged(scenario, echo, **{hook: wait}) == LEAST["hook"]
