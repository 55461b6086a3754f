"""Auto-ping on a connection, with a clock of the test's own. (Its policy: tests/unit/test_keepalive.py.)"""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fixtures.wire import CLOSE, PING, PONG, TEXT, close_payload

from picows.enums import WSAutoPingStrategy
from picows.keepalive import AutoPingPolicy

IDLE, PERIODIC = WSAutoPingStrategy.PING_WHEN_IDLE, WSAutoPingStrategy.PING_PERIODICALLY
SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
READING = pytest.mark.parametrize("reading", ["buffered", "stream"])
BOTH = pytest.mark.parametrize("strategy", [IDLE, PERIODIC], ids=["idle", "periodic"])


def policy(strategy: WSAutoPingStrategy, idle: float = 10, reply: float = 4) -> AutoPingPolicy:
    return AutoPingPolicy(strategy, idle, reply)


def pings_in(connection: Any, seconds: int) -> list[int]:
    """Let time pass, answer the pings, and tell when they were sent, in seconds from now."""
    times, start = [], connection.loop.time()
    for _ in range(8 * seconds):
        connection.loop.advance(0.125)
        for frame in connection.sent():
            assert frame.opcode == PING
            times.append(round(connection.loop.time() - start))
            connection.feed_frame(PONG, frame.payload)
    return times


@READING
@SIDES
def test_P7_periodically(connect: Any, client: bool, reading: str) -> None:
    """The period is the idle timeout, whatever is received; pongs are not delivered."""
    connection = connect(client=client, reading=reading, auto_ping=policy(PERIODIC))
    assert pings_in(connection, 45) == [10, 20, 30, 40]
    for _ in range(4):
        connection.feed_frame(TEXT, b"x")
        assert pings_in(connection, 3) in ([], [2])
    assert pings_in(connection, 30) == [3, 13, 23]
    assert [message.payload for message in connection.messages] == [b"x"] * 4


@READING
@SIDES
def test_when_idle(connect: Any, client: bool, reading: str) -> None:
    connection = connect(client=client, reading=reading, auto_ping=policy(IDLE))
    for _ in range(5):
        assert pings_in(connection, 8) == []
        connection.feed_frame(TEXT, b"x")
    assert pings_in(connection, 35) == [10, 20, 30]
    assert len(connection.messages) == 5


def test_when_idle_part_of_a_frame_is_data(connect: Any) -> None:
    connection = connect(auto_ping=policy(IDLE))
    data = connection.frame(TEXT, bytes(10_000))
    for at in range(0, 5000, 1000):
        assert pings_in(connection, 8) == []
        connection.feed(data[at : at + 1000])


@BOTH
@SIDES
def test_a_missing_pong(connect: Any, client: bool, strategy: WSAutoPingStrategy, caplog: Any) -> None:
    """INFO, CLOSE 1001 with a reason, abort 10 ms later; wait_disconnected does not raise."""
    caplog.set_level(logging.INFO, "picows")
    connection = connect(client=client, auto_ping=policy(strategy))
    connection.loop.advance(10.05)
    assert connection.plain() == [(PING, b"")]
    connection.feed_frame(TEXT, b"data is no pong")
    connection.loop.advance(3.9)
    assert connection.written() == b""
    caplog.clear()
    connection.loop.advance(0.055)
    ((opcode, payload),) = connection.plain()
    assert (opcode, payload[:2]) == (CLOSE, close_payload(1001))
    assert b"4 second" in payload
    assert connection.wire.calls == []
    assert [record.levelno for record in caplog.records] == [logging.INFO]
    connection.loop.advance(0.011)
    assert connection.wire.calls == ["abort"]
    assert connection.ending() is None
    assert connection.events[-1] == "disconnected"
    connection.loop.advance(100)
    assert connection.written() == b""


@BOTH
@pytest.mark.parametrize("end", ["send_close", "disconnect", "abort", "lose", "violation"])
def test_the_end_stops_it(connect: Any, strategy: WSAutoPingStrategy, end: str) -> None:
    connection = connect(auto_ping=policy(strategy), close_timeout=None)
    connection.loop.advance(10.1)
    if end == "lose":
        connection.lose()
    elif end == "violation":
        connection.feed_frame(3)
    elif end == "abort":
        connection.transport.disconnect(False)
    else:
        getattr(connection.transport, end)()
    connection.written()
    connection.loop.advance(100)
    assert connection.written() == b""


def test_it_begins_after_on_ws_connected(connect: Any) -> None:
    connection = connect(auto_ping=policy(PERIODIC), opens=False)
    connection.loop.advance(50)
    connection.opening.open()
    assert pings_in(connection, 11) == [10]


@pytest.mark.parametrize("end", ["raise", "close", "disconnect"])
def test_it_does_not_begin_where_on_ws_connected_ends_the_connection(connect: Any, end: str) -> None:
    def react(transport: Any) -> None:
        if end == "raise":
            raise ValueError("mine")
        (transport.send_close if end == "close" else transport.disconnect)()

    connection = connect(auto_ping=policy(PERIODIC), handlers={"on_ws_connected": react}, close_timeout=None)
    connection.written()
    connection.loop.advance(50)
    assert connection.written() == b""


@BOTH
@SIDES
def test_user_specific_pings(connect: Any, engine: Any, client: bool, strategy: WSAutoPingStrategy) -> None:
    class Listener(engine.WSListener):  # type: ignore[misc]
        def __init__(self) -> None:
            self.events: list[bytes] = []

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            self.events.append(frame.get_payload_as_bytes())

        def send_user_specific_ping(self, transport: Any) -> None:
            transport.send(TEXT, b"ping?")

        def is_user_specific_pong(self, frame: Any) -> bool:
            return bool(frame.get_payload_as_bytes() == b"pong!")

    connection = connect(client=client, listener=Listener(), auto_ping=policy(strategy))
    for _ in range(3):
        connection.loop.advance(10.01)
        assert connection.plain() == [(TEXT, b"ping?")]
        connection.feed_frame(PONG, b"not it")
        connection.feed_frame(TEXT, b"pong!")
    connection.loop.advance(10.01)
    connection.transport.notify_user_specific_pong_received()
    connection.loop.advance(10.01)
    assert connection.plain() == [(TEXT, b"ping?"), (TEXT, b"ping?")]
    assert connection.events == [b"not it"] * 3


@SIDES
@pytest.mark.parametrize("disconnects", [True, False])
def test_a_ping_that_raises(connect: Any, client: bool, disconnects: bool, caplog: Any) -> None:
    """Logged with traceback, CLOSE 1011, disconnect; not raised again."""

    def fail(transport: Any) -> None:
        raise ValueError("mine")

    connection = connect(client=client, auto_ping=policy(PERIODIC), disconnect_on_exception=disconnects)
    connection.listener.send_user_specific_ping = fail
    connection.loop.advance(10.005)
    assert connection.plain() == [(CLOSE, close_payload(1011, b"an exception occurred in auto-ping loop"))]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    connection.loop.settle()
    assert connection.wire.calls == ["write_eof", "close"]
    assert connection.ending() is None


@pytest.mark.parametrize("end", ["send_close", "disconnect"])
def test_a_ping_that_ends_the_connection(connect: Any, end: str) -> None:
    connection = connect(auto_ping=policy(PERIODIC), close_timeout=None)
    connection.listener.send_user_specific_ping = lambda transport: getattr(transport, end)()
    connection.loop.advance(10.1)
    connection.written()
    connection.loop.advance(100)
    assert connection.written() == b""
    assert "abort" not in connection.wire.calls


@BOTH
def test_a_measurement_waits_for_the_pong_of_auto_ping(connect: Any, strategy: WSAutoPingStrategy) -> None:
    connection = connect(auto_ping=policy(strategy))
    connection.loop.advance(10.1)
    assert connection.plain() == [(PING, b"")]
    task = connection.loop.create_task(connection.transport.measure_roundtrip_time(1))
    connection.loop.settle()
    assert connection.written() == b""
    connection.feed_frame(PONG)
    connection.loop.settle()
    assert connection.plain() == [(PING, b"")]
    connection.feed_frame(PONG)
    connection.loop.settle()
    assert len(task.result()) == 1


@BOTH
def test_auto_ping_is_left_out_during_a_measurement(connect: Any, strategy: WSAutoPingStrategy) -> None:
    connection = connect(auto_ping=policy(strategy))
    connection.loop.advance(5)
    task = connection.loop.create_task(connection.transport.measure_roundtrip_time(1))
    connection.loop.advance(20)
    assert connection.plain() == [(PING, b"")]
    assert not task.done()
    connection.feed_frame(PONG)
    connection.loop.settle()
    assert len(task.result()) == 1
    assert pings_in(connection, 12) == [5 if strategy is PERIODIC else 10]


def test_a_measurement_gives_up_before_auto_ping_does(connect: Any) -> None:
    connection = connect(auto_ping=policy(PERIODIC))
    connection.loop.advance(10.1)
    task = connection.loop.create_task(connection.transport.measure_roundtrip_time(1, timeout=1))
    connection.loop.advance(1.1)
    assert type(task.exception()).__name__ == "TimeoutError"
    connection.written()
    connection.feed_frame(PONG)
    assert connection.messages == []
    assert pings_in(connection, 10) == [9]


def test_a_late_pong_is_no_timeout_where_our_loop_was_blocked(connect: Any) -> None:
    connection = connect(auto_ping=policy(PERIODIC))
    connection.loop.advance(10.1)
    connection.written()
    connection.loop.block(30)
    connection.loop.advance(0)
    connection.feed_frame(PONG)
    connection.loop.advance(1)
    assert not connection.transport.is_close_frame_sent
