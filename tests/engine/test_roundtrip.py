"""P7: measuring round trips, and the pongs of an application's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fixtures.wire import BINARY, CLOSE, PING, PONG, TEXT, close_payload

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


def measure(connection: Any, *args: Any, **kwargs: Any) -> asyncio.Task[list[float]]:
    task: asyncio.Task[list[float]] = connection.loop.create_task(
        connection.transport.measure_roundtrip_time(*args, **kwargs)
    )
    connection.loop.settle()
    return task


def pong(connection: Any, payload: bytes = b"") -> None:
    connection.feed_frame(PONG, payload)
    connection.loop.settle()


@SIDES
@pytest.mark.parametrize("rounds", [1, 3])
def test_rounds(connect: Any, client: bool, rounds: int) -> None:
    """One ping after the other's pong, which the listener does not see."""
    connection = connect(client=client)
    task = measure(connection, rounds)
    for _ in range(rounds):
        assert not task.done()
        assert connection.plain() == [(PING, b"")]
        pong(connection)
    times = task.result()
    assert len(times) == rounds
    assert all(isinstance(seconds, float) and 0 < seconds < 10 for seconds in times)
    assert connection.messages == []
    pong(connection)
    assert len(connection.messages) == 1


def test_no_rounds(connect: Any) -> None:
    connection = connect()
    assert connection.run(connection.transport.measure_roundtrip_time(0)) == []
    assert connection.written() == b""


def test_P7_concurrent_measurements_take_turns(connect: Any) -> None:
    connection = connect()
    tasks = [measure(connection, 2) for _ in range(3)]
    for _ in range(6):
        assert connection.plain() == [(PING, b"")]
        pong(connection)
    assert [len(task.result()) for task in tasks] == [2, 2, 2]
    assert connection.written() == b""


def test_other_frames_do_not_end_the_wait(connect: Any) -> None:
    connection = connect()
    task = measure(connection, 1)
    connection.written()
    for opcode in (TEXT, BINARY, PING):
        connection.feed_frame(opcode, b"x")
    connection.loop.settle()
    assert not task.done()
    assert len(connection.messages) == 2
    assert connection.plain() == [(PONG, b"x")]
    pong(connection)
    assert len(task.result()) == 1


def test_P7_timeout(connect: Any) -> None:
    connection = connect()
    task = measure(connection, 3, timeout=2)
    pong(connection)
    connection.loop.advance(1.9)
    assert not task.done()
    connection.loop.advance(0.2)
    with pytest.raises(asyncio.TimeoutError):
        task.result()
    assert len(connection.sent()) == 2
    pong(connection, b"late")
    assert [message.payload for message in connection.messages] == [b"late"]
    task = measure(connection, 1, timeout=2)
    pong(connection)
    assert len(task.result()) == 1


def test_P7_timeout_of_one_does_not_disturb_the_next(connect: Any) -> None:
    connection = connect()
    first, second = measure(connection, 1, timeout=1), measure(connection, 1)
    connection.loop.advance(1.1)
    assert first.done()
    with pytest.raises(asyncio.TimeoutError):
        first.result()
    assert len(connection.sent()) == 2
    pong(connection)
    assert len(second.result()) == 1


def test_T14_cancelling(connect: Any) -> None:
    connection = connect()
    first, second, third = (measure(connection, 1) for _ in range(3))
    second.cancel()
    first.cancel()
    connection.loop.settle()
    assert first.cancelled()
    assert second.cancelled()
    assert len(connection.sent()) == 2
    pong(connection)
    assert len(third.result()) == 1


@pytest.mark.parametrize("end", ["send_close", "disconnect", "lost", "before"])
def test_P7_on_a_closed_transport(connect: Any, end: str) -> None:
    connection = connect(opens=end != "before")
    if end == "lost":
        connection.lose()
    elif end != "before":
        getattr(connection.transport, end)()
    with pytest.raises(ConnectionError):
        connection.run(connection.transport.measure_roundtrip_time(1))


@SIDES
def test_P7_the_connection_is_lost_meanwhile(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    tasks = [measure(connection, 1) for _ in range(3)]
    connection.lose(ConnectionResetError("reset"))
    connection.loop.settle()
    assert [type(task.exception()) for task in tasks] == [ConnectionResetError] * 3


def test_P7_disconnect_meanwhile(connect: Any) -> None:
    connection = connect()
    task = measure(connection, 1)
    connection.transport.disconnect()
    connection.loop.settle()
    assert isinstance(task.exception(), ConnectionError)


def test_cancelled_at_the_moment_of_the_loss(connect: Any) -> None:
    """Nobody asks for the error that the waiter was given; the fixture fails if asyncio complains about that."""
    connection = connect()
    task = measure(connection, 1)
    connection.lose()
    task.cancel()
    connection.loop.settle()
    assert task.done()
    with pytest.raises((asyncio.CancelledError, ConnectionError)):
        task.result()


def test_cancelled_at_the_moment_of_the_pong(connect: Any) -> None:
    connection = connect()
    task = measure(connection, 1)
    connection.feed_frame(PONG)
    task.cancel()
    connection.loop.settle()
    assert task.done()
    task = measure(connection, 1)
    pong(connection)
    assert len(task.result()) == 1


# --- pings of an application's own ---


class Heartbeats:
    """Mixed into a listener: pings are texts, and so are pongs."""

    def send_user_specific_ping(self, transport: Any) -> None:
        transport.send(TEXT, b"ping?")

    def is_user_specific_pong(self, frame: Any) -> bool:
        asked: list[bytes] = self.asked  # type: ignore[attr-defined]
        asked.append(frame.get_payload_as_bytes())
        return bool(frame.get_payload_as_bytes() == b"pong!")


def heartbeats(engine: Any) -> Any:
    class Listener(Heartbeats, engine.WSListener):  # type: ignore[misc]
        def __init__(self) -> None:
            self.asked: list[bytes] = []
            self.events: list[Any] = []

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            self.events.append(frame.get_payload_as_bytes())

    return Listener()


@SIDES
def test_user_specific_pings(connect: Any, engine: Any, client: bool) -> None:
    """The listener is asked about frames only while a pong is awaited; CLOSE included, answered pings not."""
    connection = connect(client=client, listener=heartbeats(engine))
    connection.feed_frame(TEXT, b"pong!")
    task = measure(connection, 1)
    assert connection.plain() == [(TEXT, b"ping?")]
    connection.feed_frame(BINARY, b"data")
    connection.feed_frame(PONG, b"not it")
    connection.feed_frame(PING, b"ping")
    connection.feed(connection.frame(TEXT, b"pong!") + connection.frame(TEXT, b"pong!"))
    connection.loop.settle()
    assert len(task.result()) == 1
    assert connection.listener.asked == [b"data", b"not it", b"pong!"]
    assert connection.events == [b"pong!", b"data", b"not it", b"pong!"]


def test_a_close_may_be_taken_for_a_pong(connect: Any, engine: Any) -> None:
    """Even then it is recorded and nothing follows it."""
    connection = connect(listener=heartbeats(engine), enable_auto_close=True)
    task = measure(connection, 1)
    connection.listener.is_user_specific_pong = lambda frame: True
    connection.written()
    connection.feed_frame(CLOSE, close_payload(1000))
    connection.feed_frame(TEXT, b"x")
    connection.loop.settle()
    assert len(task.result()) == 1
    assert connection.events == []
    assert connection.plain() == [(CLOSE, close_payload(1000))]
    assert connection.transport.close_handshake.recv.code == 1000


def test_notify_user_specific_pong_received(connect: Any, engine: Any) -> None:
    connection = connect(listener=heartbeats(engine))
    connection.transport.notify_user_specific_pong_received()
    task = measure(connection, 1)
    connection.transport.notify_user_specific_pong_received()
    connection.transport.notify_user_specific_pong_received()
    connection.loop.settle()
    assert len(task.result()) == 1
    connection.feed_frame(TEXT, b"x")
    assert connection.listener.asked == []


def test_a_ping_that_raises_is_the_callers_to_handle(connect: Any, engine: Any) -> None:
    def fail(transport: Any) -> None:
        raise ValueError("mine")

    connection = connect(listener=heartbeats(engine))
    ping, connection.listener.send_user_specific_ping = connection.listener.send_user_specific_ping, fail
    with pytest.raises(ValueError, match="mine"):
        connection.run(connection.transport.measure_roundtrip_time(1))
    connection.feed_frame(TEXT, b"pong!")
    assert connection.events == [b"pong!"]
    connection.listener.send_user_specific_ping = ping
    task = measure(connection, 1)
    connection.feed_frame(TEXT, b"pong!")
    connection.loop.settle()
    assert len(task.result()) == 1


def test_a_pong_that_comes_from_within_the_ping(connect: Any, engine: Any) -> None:
    connection = connect(listener=heartbeats(engine))
    connection.listener.send_user_specific_ping = lambda transport: transport.notify_user_specific_pong_received()
    assert len(connection.run(connection.transport.measure_roundtrip_time(2))) == 2
