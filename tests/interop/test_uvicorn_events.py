"""Events that an application sends and receives out of the ordinary order: the same under picows.websockets.uvicorn as
under uvicorn's own implementations, but for what each scenario says. And what is not compared: pressure, violations and
the clock of keepalive.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, List, Tuple

import pytest
from fixtures.asgi import App, Scenarios, Session, Side
from fixtures.peers import request_head
from fixtures.sockets import until
from fixtures.wire import BINARY, CLOSE, KEY, PING, PONG, TEXT, build

pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install uvicorn")
pytest.importorskip("wsproto", reason="wsproto is not installed: pip install wsproto")
theirs = pytest.importorskip("websockets.asyncio.client", reason="websockets is not installed: pip install websockets")
ours = pytest.importorskip("picows.websockets.asyncio.client", reason="picows-websockets is not installed")
keepalive = pytest.importorskip("picows.websockets.uvicorn.keepalive", reason="picows-websockets is not installed")

scenarios = Scenarios({"our client": ours.connect, "their client": theirs.connect})
seen = scenarios.seen


async def notes_on_hello(side: Side, script: Any) -> Any:
    """What an application notes whose client says hello and waits for the end."""
    app = App(script)
    async with side.serve(app) as served, side.connect(served.url()) as client:
        await client.send("hello")
        await client.wait_closed()
    return app.notes


# --- receiving ---


@seen([("connect",), ("receive", "hello")])
async def accepted_before_connect_was_received(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.send("accept")
        await session.receive()
        await session.receive()

    return await notes_on_hello(side, script)


@seen(["c", "d"])
async def two_tasks_receive(side: Side) -> Any:
    """Each gets a message; a third one is cancelled while it waits for its turn."""

    async def script(session: Session) -> None:
        await session.accept()
        tasks = [asyncio.ensure_future(session.receive_event()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks.pop(1).cancel()
        await session.send("send", text="go")
        session.app.notes += sorted([(await task)["text"] for task in tasks])

    app = App(script)
    async with side.serve(app) as served, side.connect(served.url()) as client:
        assert await client.recv() == "go"
        await client.send("c")
        await client.send("d")
        await client.wait_closed()
    return app.notes


@seen([("receive", "hello")])
async def receive_at_once_after_a_cancelled_one(side: Side) -> Any:
    """The task that was cancelled has not run yet."""

    async def script(session: Session) -> None:
        await session.accept()
        receiving = asyncio.ensure_future(session.receive())
        await asyncio.sleep(0)
        receiving.cancel()
        await session.receive()

    return await notes_on_hello(side, script)


# Theirs say another code when the connection is lost.
_THEIRS = [("receive", "early"), ("disconnect", 4000), ("disconnect", 1005)]


@seen([*_THEIRS[:2], ("disconnect", 4000)], sansio=_THEIRS, wsproto=_THEIRS)
async def nothing_is_received_after_the_disconnect(side: Side) -> Any:
    """Not even what the client sent before it had read the CLOSE."""
    go_on = asyncio.Event()

    async def script(session: Session) -> None:
        await session.accept()
        await session.send("send", text="go")
        await go_on.wait()
        await session.send("close", code=4000)
        go_on.clear()
        await go_on.wait()
        for _ in range(3):
            await session.receive()

    app = App(script)
    async with side.serve(app) as served, served.raw_client() as peer:
        await peer.upgrade()
        assert (await peer.read_frame()).payload == b"go"
        peer.send(TEXT, b"early")
        peer.send(PING)
        assert (await peer.read_frame()).opcode == PONG
        go_on.set()
        assert (await peer.read_frame()).opcode == CLOSE
        peer.send(TEXT, b"late")
        peer.send(BINARY, b"late")
        peer.send_close(4000)
        assert await peer.read_rest() == b""
        go_on.set()
        await app.has_ended.wait()
        return app.notes


# --- sending ---


@seen([TypeError], wsproto=[])
async def bytes_that_are_text(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.accept()
        with contextlib.suppress(TypeError):
            await session.send("send", bytes="text")
        await session.send("send", text="the end")

    app = App(script)
    async with side.serve(app) as served, side.connect(served.url()) as client:
        while await client.recv() != "the end":
            pass
        return app.notes


# --- the end ---


class End(BaseException):
    """Of the kind of SystemExit, which pytest takes for itself."""


@pytest.mark.parametrize("kind", [End, SystemExit, asyncio.CancelledError])
async def test_an_application_does_not_end_the_server(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def script(session: Session) -> None:
        raise kind

    async with Side("ours", ours.connect).serve(App(script)) as served:
        for _ in range(2):
            async with served.raw_client() as peer:
                peer.write(request_head())
                assert (await peer.read_head()).startswith(b"HTTP/1.1 500 ")
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [kind, kind]


class ResetSocket:
    """One whose peer has gone: its options cannot be set any more, on some systems."""

    family = socket.AF_INET

    def setsockopt(self, *args: Any) -> None:
        raise OSError(22, "Invalid argument")

    def fileno(self) -> int:
        return -1


async def test_the_engine_cannot_take_over() -> None:
    async def script(session: Session) -> None:
        await session.receive_event()
        (connection,) = served.server.server_state.connections
        connection._transport._extra["socket"] = ResetSocket()
        for kind in ("accept", "send"):
            with contextlib.suppress(OSError):
                await session.send(kind)
            await session.receive()

    app = App(script)
    async with Side("ours", ours.connect).serve(app) as served, served.raw_client() as peer:
        peer.write(request_head())
        await asyncio.wait_for(app.has_ended.wait(), 5)
        await until(lambda: not served.server.server_state.tasks)
    assert app.notes == [OSError, ("disconnect", 1006)] * 2


@pytest.mark.parametrize("ends", ["close", "return"])
async def test_a_violation_is_told_before_the_end_of_the_application(ends: str) -> None:
    """A message, and behind it in the same read something that is none: the application answers the message by an end,
    which the client learns of with the code of its violation; and the connection does not wait for its CLOSE."""

    async def script(session: Session) -> None:
        await session.accept()
        await session.receive()
        if ends == "close":
            await session.send("close", code=4000)
            await session.drain()

    app = App(script)
    async with Side("ours", ours.connect).serve(app) as served, served.raw_client() as peer:
        await peer.upgrade()
        peer.write(build(TEXT, b"a message", key=KEY) + build(TEXT, b"\xff", key=KEY))
        frame = await peer.read_frame()
        assert (frame.opcode, int.from_bytes(frame.payload[:2], "big")) == (CLOSE, 1007)
        assert await asyncio.wait_for(peer.read_rest(), 5) == b""
        await app.has_ended.wait()
    assert [note[:2] for note in app.notes] == [("receive", "a message"), ("disconnect", 1007)][: 1 + (ends == "close")]


# --- pressure ---


async def test_reading_pauses_after_much_was_sent_ahead() -> None:
    """More than is read before the answer, in more frames than the queue takes."""
    go_on = asyncio.Event()

    async def script(session: Session) -> None:
        await session.receive_event()
        await go_on.wait()
        await session.send("accept")
        await session.send("send", text="accepted")
        go_on.clear()
        await go_on.wait()

    app = App(script)
    async with Side("ours", ours.connect).serve(app, ws_max_queue=4) as served, served.raw_client() as peer:
        peer.write(request_head())
        await until(lambda: served.server.server_state.tasks)
        (connection,) = served.server.server_state.connections
        for _ in range(100):
            peer.write(build(BINARY, bytes(1000), key=KEY))
        await until(lambda: connection._is_reading_paused)
        go_on.set()
        await peer.read_head()
        await peer.read_frame()
        assert not connection._transport.is_reading()
        go_on.set()
        await app.has_ended.wait()


# --- the clock of keepalive ---


class Clock:
    """A loop's time and timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: List[Tuple[float, Any]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Any) -> Any:
        timer = when, callback
        self.timers.append(timer)
        clock = self

        class Handle:
            def cancel(self) -> None:
                clock.timers.remove(timer)

        return Handle()

    def call_soon(self, callback: Any) -> None:
        self.call_at(self.now, callback)

    def jump_to(self, now: float) -> None:
        """The loop was blocked until then: what is due is called once, in its order."""
        self.now = now
        due = sorted((timer for timer in self.timers if timer[0] <= now), key=lambda timer: timer[0])
        for timer in due:
            if timer in self.timers:
                self.timers.remove(timer)
                timer[1]()


class Pinged:
    """What Keepalive knows of a connection."""

    def __init__(self) -> None:
        self.transport = self
        self.pings: List[bytes] = []
        self.has_given_up = False

    def send_ping(self, payload: bytes) -> None:
        self.pings.append(payload)

    def on_pong_missing(self) -> None:
        self.has_given_up = True


@pytest.mark.parametrize("is_answered", [True, False])
@pytest.mark.parametrize("timeout_s", [5, 20, 25])
def test_keepalive_after_the_loop_was_blocked(timeout_s: float, is_answered: bool) -> None:
    """The pong may have arrived: it gets a moment to be read. No ping is made up for."""
    clock, connection = Clock(), Pinged()
    pinging = keepalive.Keepalive(connection, clock, 20, timeout_s)
    clock.jump_to(20)
    assert len(connection.pings) == 1
    clock.jump_to(200)
    assert (connection.has_given_up, len(connection.pings)) == (False, 1)
    if is_answered:
        pinging.on_pong(connection.pings[0])
        assert len(connection.pings) == 2
        clock.jump_to(200 + timeout_s)  # this one has had all of its time
        assert connection.has_given_up
    else:
        clock.jump_to(200.1)
        assert (connection.has_given_up, len(connection.pings)) == (True, 1)
    pinging.stop()
    clock.jump_to(clock.now)
    assert clock.timers == []


# --- all of them ---


@pytest.mark.parametrize(("name", "side"), scenarios.cases())
async def test_the_same(name: str, side: Side) -> None:
    scenario, expected = scenarios.get(name, side)
    assert await scenario(side) == expected
