"""examples/scaleout with real brokers: a message reaches every subscriber on all processes, and what breaks heals."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, Iterator, List

import pytest
from fixtures.daemons import Daemon, own_directory, program, spawn
from fixtures.ports import free_port

from picows import WSConnectionClosed, WSInvalidStatusError, WSMessageListener, ws_connect

if sys.platform == "win32":
    pytest.skip("needs SO_REUSEPORT", allow_module_level=True)

SERVER = Path(__file__).parents[2] / "examples/scaleout/server.py"
TIMEOUT_S = 40
PROCESSES = 2
#: Module of the client, package of the server, its command.
BROKERS = {
    "redis": ("redis", "redis-server", ["--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]),
    "nats": ("nats", "nats-server", ["-p", "{port}", "-a", "127.0.0.1"]),
}


class Broker:
    """A broker that can be stopped and started again on its port."""

    def __init__(self, kind: str, command: List[str], directory: Path, port: int) -> None:
        self.kind = kind
        self.url = f"{kind}://127.0.0.1:{port}"
        self._command = command
        self._directory = directory
        self._port = port
        self.daemon: Any = None

    def start(self) -> None:
        self.daemon = Daemon(self._directory, spawn(self._command, self._directory), self._port, signal.SIGTERM)
        self.daemon.wait_until_listening()

    def stop(self) -> None:
        self.daemon.stop()


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    module, package, arguments = BROKERS[request.param]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install {'nats-py' if module == 'nats' else module}")
    executable, port = program(package, package=package), free_port()
    with own_directory() as directory:
        command = [executable, *(argument.format(port=port) for argument in arguments)]
        broker = Broker(request.param, command, directory, port)
        broker.start()
        try:
            yield broker
        finally:
            broker.stop()


class Server:
    """The supervisor and its processes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = int(self.read(r"listening on \S+ port (\d+)"))
        for _ in range(PROCESSES):
            self.read(r"(serves) on port")

    def read(self, pattern: str) -> str:
        """Read what it logs until this; pytest's timeout is the limit."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            found = re.search(pattern, line)
            if found is not None:
                return found[1]
        raise AssertionError(f"ended with {self.process.wait()} before it logged {pattern!r}")

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[Server]:
    command = [sys.executable, "-u", str(SERVER), "--port", "0", "--processes", str(PROCESSES), *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Server(process)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                finally:
                    process.kill()


class Client:
    """A connection that speaks the example's protocol."""

    def __init__(self, listener: Any, pid: int) -> None:
        self._listener = listener
        self.pid = pid

    async def ask(self, **wish: Any) -> None:
        await self._listener.send(json.dumps(wish))

    async def answer(self) -> Dict[str, Any]:
        found: Dict[str, Any] = json.loads(await self._listener.recv())
        return found

    async def subscribe(self, topic: str) -> None:
        await self.ask(subscribe=topic)
        assert await self.answer() == {"subscribed": topic}

    async def end(self) -> WSConnectionClosed:
        with pytest.raises(WSConnectionClosed) as caught:
            while True:
                await self._listener.recv()
        return caught.value

    async def close(self) -> None:
        await self._listener.close()


async def connect(server: Server) -> Client:
    _, listener = await ws_connect(WSMessageListener, server.url)
    return Client(listener, json.loads(await listener.recv())["welcome"])


@contextlib.asynccontextmanager
async def clients(server: Server, each: int = 1) -> AsyncIterator[Dict[int, List[Client]]]:
    """So many connections to every process, by its pid. The kernel decides who gets a connection."""
    found: Dict[int, List[Client]] = {}
    try:
        while len(found) < PROCESSES or min(map(len, found.values())) < each:
            client = await connect(server)
            found.setdefault(client.pid, []).append(client)
        yield found
    finally:
        for client in (client for some in found.values() for client in some):
            await client.close()


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))  # type: ignore[arg-type]


async def publish_until_accepted(client: Client, topic: str, data: Any) -> None:
    """The broker may just be coming back. The publisher has subscribed, and so gets its own message."""
    while True:
        await client.ask(publish=topic, data=data)
        answer = await client.answer()
        if answer == {"topic": topic, "data": data}:
            return
        # What was published while the connection was being lost may come now, or never.
        assert answer in ({"error": "try again later"}, {"topic": topic, "data": "nobody hears"})


def test_a_message_reaches_all(broker: Broker) -> None:
    async def main() -> None:
        async with clients(server, 3) as found:
            everybody = [client for some in found.values() for client in some]
            for client in everybody:
                await client.subscribe("news")
            first, *_ = everybody
            await first.subscribe("other")
            for publisher in (some[0] for some in found.values()):
                for number in range(50):
                    await publisher.ask(publish="news", data=[publisher.pid, number])
            orders = []
            for client in everybody:
                got = [await client.answer() for _ in range(50 * PROCESSES)]
                orders.append([message["data"] for message in got if message["topic"] == "news"])
            assert all(order == orders[0] for order in orders)
            for pid in found:
                assert [number for sender, number in orders[0] if sender == pid] == list(range(50))

    with serving("--backplane", broker.kind, "--broker", broker.url) as server:
        run(main)


def test_a_killed_process_loses_only_its_own(broker: Broker) -> None:
    async def main() -> None:
        async with clients(server) as found:
            (killed, lost), (survivor, kept) = [(pid, some[0]) for pid, some in found.items()]
            await kept.subscribe("news")
            os.kill(killed, signal.SIGKILL)
            assert (await lost.end()).code == 1006
            server.read(r"(serves) on port")
            async with clients(server) as again:
                assert survivor in again
                assert killed not in again
                (newcomer,) = (some[0] for pid, some in again.items() if pid != survivor)
                await newcomer.subscribe("news")
                await newcomer.ask(publish="news", data="back")
                assert await kept.answer() == await newcomer.answer() == {"topic": "news", "data": "back"}

    with serving("--backplane", broker.kind, "--broker", broker.url) as server:
        run(main)


class HeldPubSub:
    """What redis-py's PubSub does with a broker that takes its time to answer the first command."""

    def __init__(self) -> None:
        self.held, self.go_on = asyncio.Event(), asyncio.Event()
        self._events: asyncio.Queue[Dict[str, Any]] = asyncio.Queue()

    async def __aenter__(self) -> HeldPubSub:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def subscribe(self, *channels: str) -> None:
        for channel in channels:
            self._events.put_nowait({"type": "subscribe", "channel": channel.encode()})
        self.held.set()
        await self.go_on.wait()

    async def unsubscribe(self, *channels: str) -> None:
        for channel in channels:
            self._events.put_nowait({"type": "unsubscribe", "channel": channel.encode()})

    async def listen(self) -> AsyncIterator[Dict[str, Any]]:
        while True:
            yield await self._events.get()


def load(name: str) -> Any:
    """A module of the example."""
    spec = importlib.util.spec_from_file_location(f"scaleout_{name}", SERVER.with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_subscription_while_redis_is_being_connected() -> None:
    pytest.importorskip("redis", reason="redis is not installed: pip install redis")
    module = load("backplane")

    async def main() -> None:
        backplane = module.RedisBackplane(print, "redis://127.0.0.1:1")
        pubsub = HeldPubSub()
        await backplane._redis.aclose()
        backplane._redis.pubsub = lambda: pubsub
        running = asyncio.create_task(backplane.run())
        await pubsub.held.wait()
        subscribing = asyncio.create_task(backplane.subscribe("news"))
        await asyncio.sleep(0)  # it waits for the confirmation now
        pubsub.go_on.set()
        await subscribing
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    run(main)


def test_the_broker_comes_back(broker: Broker) -> None:
    async def main() -> None:
        async with clients(server) as found:
            (publisher, *_), (subscriber, *_) = found.values()
            for client in (publisher, subscriber):
                await client.subscribe("news")
            broker.stop()
            while True:  # each process finds out by itself
                await publisher.ask(publish="news", data="nobody hears")
                try:
                    if await asyncio.wait_for(publisher.answer(), 1) == {"error": "try again later"}:
                        break
                except asyncio.TimeoutError:
                    pass  # it went into a connection that was lost just then
            assert await health_until(server, False)
            await subscriber.ask(subscribe="meanwhile")
            broker.start()
            while (answer := await subscriber.answer()) != {"subscribed": "meanwhile"}:
                assert answer == {"topic": "news", "data": "nobody hears"}
            assert await health_until(server, True)
            await publish_until_accepted(publisher, "news", "back")
            await publisher.ask(publish="meanwhile", data=1)
            while (answer := await subscriber.answer())["data"] == "nobody hears":
                pass
            assert answer in ({"topic": "news", "data": "back"}, {"topic": "meanwhile", "data": 1})

    with serving("--backplane", broker.kind, "--broker", broker.url) as server:
        run(main)


async def health_until(server: Server, is_connected: bool) -> bool:
    """Ask until every process has said so, one after the other without another answer in between."""
    agreeing: set[int] = set()
    while len(agreeing) < PROCESSES:
        status, health = await health_of(server)
        assert (status == 200) == health["is_connected"]
        if health["is_connected"] == is_connected:
            agreeing.add(health["pid"])
        else:
            agreeing.clear()
            await asyncio.sleep(0.05)
    return True


async def health_of(server: Server) -> Any:
    with pytest.raises(WSInvalidStatusError) as caught:
        await ws_connect(WSMessageListener, server.url + "health")
    response = caught.value.response
    assert response is not None
    return int(response.status), json.loads(response.body or b"")


# --- without a broker ---


def test_graceful_shutdown() -> None:
    async def main() -> None:
        async with clients(server) as found:
            server.process.terminate()
            for some in found.values():
                assert (await some[0].end()).code == 1001
            assert await asyncio.to_thread(server.process.wait, 20) == 0

    with serving() as server:
        run(main)


def test_processes_do_not_outlive_the_supervisor() -> None:
    async def main() -> None:
        async with clients(server) as found:
            server.process.kill()
            for some in found.values():
                assert (await some[0].end()).code == 1001

    with serving() as server:
        run(main)


@pytest.mark.parametrize("policy", ["close", "drop"])
def test_slow_client(policy: str) -> None:
    """It does not read: others are not held up; it is closed, or told how much it has missed."""
    size, count = 20_000, 1500

    async def main() -> None:
        async with clients(server, 2) as found:
            slow, fast, *_ = next(iter(found.values()))
            for client in (slow, fast):
                await client.subscribe("flood")
            slow._listener.transport.underlying_transport.pause_reading()
            for number in range(count):
                await fast.ask(publish="flood", data=[number, "x" * size])
                assert (await fast.answer())["data"][0] == number
            slow._listener.transport.underlying_transport.resume_reading()
            if policy == "close":
                assert (await slow.end()).code == 1013
                return
            await fast.ask(publish="flood", data=["end"])
            got: List[Any] = []
            dropped = 0
            while not got or got[-1] != "end":
                answer = await slow.answer()
                if "dropped" in answer:
                    dropped += answer["dropped"]
                else:
                    got.append(answer["data"][0])
            numbers = got[:-1]
            assert dropped > 0
            assert len(numbers) + dropped == count
            assert numbers == sorted(numbers)

    with serving("--slow", policy, "--max-queue", "10") as server:
        run(main)


@pytest.mark.parametrize("max_queue", [0, 1])
def test_what_a_slow_client_loses(max_queue: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a queue too; test_slow_client shows that it is told."""
    monkeypatch.setitem(sys.modules, "backplane", load("backplane"))
    hub = load("hub")

    async def main() -> None:
        member = hub.Member(hub.Hub(), max_queue, True)
        member.is_full = True
        for number in range(3):
            member.send_or_keep(b"%d" % number)
        assert (list(member._queue), member._dropped) == ([b"2"] * max_queue, 3 - max_queue)

    run(main)


@pytest.mark.parametrize("arguments", [["--max-queue", "-1"], ["--processes", "0"]], ids=["max-queue", "processes"])
def test_numbers_that_cannot_be(arguments: List[str]) -> None:
    done = subprocess.run([sys.executable, str(SERVER), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    name, number = arguments
    assert done.stderr.rstrip().endswith(f"{name} is {number}, it must be {int(number) + 1} or more")


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        "{}",
        '{"subscribe": "a.b"}',
        '{"subscribe": 1}',
        '{"publish": "a"}',
        '{"publish": "*", "data": 1}',
        pytest.param("[" * 60_000, id="deep"),
    ],
)
def test_not_understood(text: str) -> None:
    async def main() -> None:
        client = await connect(server)
        await client._listener.send(text)
        assert (await client.answer())["error"].startswith("not understood: ")
        await client.subscribe("still-here")
        await client.close()

    with serving() as server:
        run(main)


def test_too_many_topics() -> None:
    async def main() -> None:
        client = await connect(server)
        for number in range(100):
            await client.subscribe(str(number))
        await client.ask(subscribe="one-more")
        assert "more than 100" in (await client.answer())["error"]
        await client.close()

    with serving() as server:
        run(main)
