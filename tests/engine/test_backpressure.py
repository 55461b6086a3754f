"""A peer that reads slower than we write: watermarks, bounded pongs, the limit of the write buffer."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fixtures.wire import BINARY, CLOSE, PING, PONG, TEXT, close_payload

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


@SIDES
def test_watermarks_reach_the_listener(connect: Any, engine: Any, client: bool, caplog: Any) -> None:
    class Listener(engine.WSListener):  # type: ignore[misc]
        def __init__(self) -> None:
            self.events: list[str] = []

        def pause_writing(self) -> None:
            self.events.append("pause")

        def resume_writing(self) -> None:
            self.events.append("resume")

    connection = connect(client=client, listener=Listener())
    connection.protocol.pause_writing()
    connection.protocol.resume_writing()
    assert connection.events == ["pause", "resume"]
    assert caplog.records == []


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_watermark_callbacks_may_be_attributes_of_the_object(connect: Any, engine: Any, method: str) -> None:
    class Listener(engine.WSListener):  # type: ignore[misc]
        pass

    listener, calls = Listener(), []
    setattr(listener, method, lambda: calls.append(method))
    connection = connect(listener=listener)
    getattr(connection.protocol, method)()
    assert calls == [method]


def test_watermarks_are_logged_where_nobody_listens(connect: Any, caplog: Any) -> None:
    connection = connect()
    connection.protocol.pause_writing()
    connection.protocol.resume_writing()
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_watermarks_before_the_handshake_and_after_the_end(connect: Any, caplog: Any) -> None:
    connection = connect(opens=False)
    connection.protocol.pause_writing()
    connection.protocol.resume_writing()
    connection.opening.open()
    connection.lose()
    connection.protocol.resume_writing()
    assert caplog.records == []


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_errors_of_watermark_callbacks_reach_the_loop(connect: Any, engine: Any, method: str) -> None:
    class Listener(engine.WSListener):  # type: ignore[misc]
        pass

    def fail() -> None:
        raise ValueError("mine")

    listener = Listener()
    setattr(listener, method, fail)
    connection = connect(listener=listener)
    with pytest.raises(ValueError, match="mine"):
        getattr(connection.protocol, method)()


# --- pings ---


@SIDES
def test_auto_pong(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    for size in (0, 1, 125):
        connection.feed_frame(PING, bytes(size))
        assert connection.plain() == [(PONG, bytes(size))]
    assert connection.messages == []


@SIDES
def test_auto_pong_off(connect: Any, client: bool) -> None:
    connection = connect(client=client, enable_auto_pong=False)
    connection.feed_frame(PING, b"x")
    assert connection.written() == b""
    assert [message.payload for message in connection.messages] == [b"x"]


@SIDES
def test_F1_flood_only_the_newest_ping_is_answered_while_paused(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    connection.protocol.pause_writing()
    for number in range(1000):
        connection.feed_frame(PING, str(number))
    assert connection.written() == b""
    connection.protocol.resume_writing()
    assert connection.plain() == [(PONG, b"999")]
    connection.protocol.pause_writing()
    connection.protocol.resume_writing()
    assert connection.written() == b""
    connection.feed_frame(PING, b"next")
    assert connection.plain() == [(PONG, b"next")]


@pytest.mark.parametrize("end", ["send_close", "disconnect", "lose"])
def test_a_pong_that_waits_is_not_sent_after_the_end(connect: Any, end: str) -> None:
    connection = connect()
    connection.wire.stalled = True
    connection.protocol.pause_writing()
    connection.feed_frame(PING, b"x")
    if end == "lose":
        connection.lose()
    else:
        getattr(connection.transport, end)()
    connection.written()
    connection.protocol.resume_writing()
    assert connection.written() == b""


def test_pings_are_not_answered_after_our_close(connect: Any) -> None:
    connection = connect()
    connection.transport.send_close()
    connection.written()
    connection.feed_frame(PING, b"x")
    assert connection.written() == b""


# --- F7 ---


@SIDES
def test_F7_write_buffer_size(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    connection.wire.stalled = True
    sizes = []
    for _ in range(3):
        connection.transport.send(BINARY, bytes(1000))
        sizes.append(connection.transport.write_buffer_size)
    one = 1004 + (4 if client else 0)
    assert sizes == [one, 2 * one, 3 * one]
    connection.wire.drain()
    assert connection.transport.write_buffer_size == 0
    connection.lose()
    assert connection.transport.write_buffer_size == 0


@SIDES
@pytest.mark.parametrize("how", ["send", "in place", "ping", "broadcast", "large broadcast", "pong"])
def test_F7_a_consumer_that_falls_behind_is_closed(
    connect: Any, engine: Any, client: bool, how: str, caplog: Any
) -> None:
    connection = connect(client=client, max_write_buffer_size=10_000)
    transport = connection.transport
    connection.wire.stalled = True
    sends = {
        "send": lambda: transport.send(BINARY, bytes(100)),
        "in place": lambda: transport.send_reuse_external_bytearray(BINARY, bytearray(114), 14),
        "ping": lambda: transport.send_ping(bytes(100)),
        "broadcast": lambda: engine.ws_broadcast([transport], BINARY, bytes(100)),
        "large broadcast": lambda: engine.ws_broadcast([transport], BINARY, bytes(40_000)),
        "pong": lambda: connection.feed_frame(PING, bytes(100)),
    }
    for _ in range(200):
        sends[how]()
    sent = connection.sent()
    assert transport.is_close_frame_sent
    assert (sent[-1].opcode, sent[-1].payload[:2]) == (CLOSE, close_payload(1008))
    assert b"10000" in sent[-1].payload
    assert [frame.opcode for frame in sent].count(CLOSE) == 1
    total = sum(len(frame.payload) + (6 if client else 2) for frame in sent[:-1])
    assert total > 10_000
    assert total < 10_200 or (how == "large broadcast" and len(sent) == 2)
    (warning,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert "10000" in warning.getMessage()
    connection.feed_frame(TEXT, b"too late")
    assert connection.messages == []
    connection.loop.advance(1)
    assert connection.wire.calls == ["write_eof", "close"]
    connection.loop.advance(10)
    assert connection.wire.calls == ["write_eof", "close", "abort"]


@SIDES
def test_F7_gathered_bytes_count(connect: Any, client: bool) -> None:
    def send(transport: Any, frame: Any) -> None:
        for _ in range(20):
            transport.send(BINARY, bytes(1000))

    connection = connect(client=client, max_write_buffer_size=5000, handlers={"on_ws_frame": send})
    connection.wire.stalled = True
    connection.feed_frame(TEXT)
    sent = connection.sent()
    assert sent[-1].payload[:2] == close_payload(1008)
    assert len(sent) == 6


@SIDES
def test_F7_our_close_is_sent_above_the_limit(connect: Any, client: bool) -> None:
    connection = connect(client=client, max_write_buffer_size=100)
    connection.wire.stalled = True
    connection.transport.send(BINARY, bytes(90))
    connection.transport.send_close(1000, b"x" * 100)
    assert [frame.opcode for frame in connection.sent()] == [BINARY, CLOSE]


@SIDES
def test_F7_below_the_limit_nothing_happens(connect: Any, client: bool) -> None:
    connection = connect(client=client, max_write_buffer_size=1000)
    connection.wire.stalled = True
    connection.transport.send(BINARY, bytes(900))
    connection.wire.drain()
    for _ in range(50):
        connection.transport.send(BINARY, bytes(900))
    assert not connection.transport.is_close_frame_sent


def test_F7_a_limit_above_what_can_be_counted(connect: Any) -> None:
    connection = connect(max_write_buffer_size=1 << 63)
    connection.wire.stalled = True
    connection.transport.send(BINARY, bytes(100_000))
    assert connection.plain() == [(BINARY, bytes(100_000))]
    assert not connection.transport.is_close_frame_sent


def test_F7_no_limit_by_default(connect: Any) -> None:
    connection = connect()
    connection.wire.stalled = True
    for _ in range(100):
        connection.transport.send(BINARY, bytes(100_000))
    assert not connection.transport.is_close_frame_sent
    assert connection.transport.write_buffer_size > 10_000_000
