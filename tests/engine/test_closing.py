"""The closing handshake, disconnect and abort, and the time that each may take."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any, Optional

import pytest
from fixtures.wire import CLOSE, PING, PONG, TEXT, Connection, Received, close_payload

from picows.enums import WSCloseCode, WSMsgType

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


def info(record: Any) -> Optional[tuple[int, Optional[str]]]:
    return None if record is None else (record.code, record.reason)


@SIDES
def test_P4_close_is_not_answered_by_default(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    connection.feed_frame(CLOSE, close_payload(1001, b"bye"))
    assert connection.written() == b""
    assert connection.wire.calls == []
    assert connection.messages == [Received(WSMsgType.CLOSE, close_payload(1001, b"bye"))]
    record = connection.transport.close_handshake
    assert info(record.recv) == (1001, "bye")
    assert record.sent is None
    assert record.recv_then_sent
    assert isinstance(record.recv.code, WSCloseCode)


@SIDES
@pytest.mark.parametrize(
    "payload",
    [b"", close_payload(1000), close_payload(1001, "grüße".encode()), close_payload(4999, b"x" * 123)],
    ids=["empty", "1000", "1001", "4999"],
)
def test_P1_P4_auto_close_echoes(connect: Any, client: bool, payload: bytes) -> None:
    """An empty CLOSE is answered with an empty one. The server hangs up first (RFC 6455 7.1.1)."""
    connection = connect(client=client, enable_auto_close=True)
    connection.feed_frame(CLOSE, payload)
    assert connection.plain() == [(CLOSE, payload)]
    assert connection.messages == [Received(WSMsgType.CLOSE, payload)]
    record = connection.transport.close_handshake
    assert record.recv_then_sent
    assert record.sent.code == record.recv.code
    assert connection.transport.is_close_frame_sent
    assert connection.wire.calls == ([] if client else ["close"])
    assert connection.transport.is_disconnected is not client


@SIDES
def test_P4_auto_close_leaves_the_listeners_answer_alone(connect: Any, client: bool) -> None:
    connection = connect(
        client=client,
        enable_auto_close=True,
        handlers={"on_ws_frame": lambda transport, frame: transport.send_close(4000, "mine")},
    )
    connection.feed_frame(CLOSE, close_payload(1000))
    assert connection.plain() == [(CLOSE, close_payload(4000, b"mine"))]
    assert connection.transport.close_handshake.recv_then_sent
    assert connection.wire.calls == ([] if client else ["close"])


@SIDES
def test_we_close_first(connect: Any, client: bool) -> None:
    """Until the peer's CLOSE comes its frames are delivered."""
    connection = connect(client=client)
    transport = connection.transport
    assert transport.close_handshake is None
    transport.send_close(1000, "done")
    assert transport.is_close_frame_sent
    assert not transport.is_disconnected
    connection.feed_frame(TEXT, b"late")
    connection.feed_frame(PING, b"late")
    connection.feed_frame(CLOSE, close_payload(1000))
    assert connection.plain() == [(CLOSE, close_payload(1000, b"done"))]
    assert [message.msg_type for message in connection.messages] == [WSMsgType.TEXT, WSMsgType.CLOSE]
    record: Any = transport.close_handshake
    assert (info(record.sent), info(record.recv), record.recv_then_sent) == ((1000, "done"), (1000, ""), False)
    assert "sent" in repr(record)
    assert "done" in repr(record)


@SIDES
def test_F6_E8_nothing_counts_after_the_peers_close(connect: Any, client: bool) -> None:
    """P3: neither in the same read nor later; not even a protocol violation or a ping."""
    connection = connect(client=client)
    close = connection.frame(CLOSE, close_payload(1000))
    connection.feed(close * 100 + connection.frame(PING, b"x") + connection.frame(TEXT, b"x"))
    connection.feed(connection.frame(3), connection.frame(PING, b"y"), bytes(100))
    assert connection.messages == [Received(WSMsgType.CLOSE, close_payload(1000))]
    assert connection.written() == b""
    connection.transport.send(TEXT, "we may still speak")
    connection.transport.send_close(1000)
    assert connection.plain() == [(TEXT, b"we may still speak"), (CLOSE, close_payload(1000))]


@SIDES
def test_records_cannot_be_changed(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    connection.transport.send_close(1000)
    record = connection.transport.close_handshake
    for name in ("recv", "sent", "recv_then_sent"):
        with pytest.raises(AttributeError):
            setattr(record, name, None)
    for name in ("code", "reason"):
        with pytest.raises(AttributeError):
            setattr(record.sent, name, None)


# --- disconnect ---


@SIDES
@pytest.mark.parametrize("graceful", [True, False])
def test_disconnect(connect: Any, client: bool, graceful: bool) -> None:
    connection = connect(client=client)
    transport = connection.transport
    transport.send(TEXT, b"before")
    transport.disconnect(graceful)
    assert transport.is_disconnected
    assert not transport.is_close_frame_sent
    assert connection.wire.calls == ["close" if graceful else "abort"]
    assert connection.events == ["connected"]
    transport.send(TEXT, b"after")
    transport.disconnect(graceful)
    connection.feed_frame(TEXT, b"after")
    connection.feed_frame(3)
    connection.loop.settle()
    transport.disconnect(graceful)
    transport.disconnect(False)
    assert connection.wire.calls[:1] == ["close" if graceful else "abort"]
    assert "close" not in connection.wire.calls[1:]
    assert connection.plain() == [(TEXT, b"before")]
    assert connection.events == ["connected", "disconnected"]
    assert connection.ending() is None


def test_an_abort_follows_a_close_that_does_not_get_through(connect: Any) -> None:
    connection = connect()
    connection.wire.stalled = True
    connection.transport.disconnect()
    connection.loop.advance(1)
    assert connection.events == ["connected"]
    connection.transport.disconnect(graceful=False)
    connection.loop.settle()
    assert connection.wire.calls == ["close", "abort"]
    assert connection.events == ["connected", "disconnected"]


def test_disconnect_when_the_asyncio_transport_closes_already(connect: Any) -> None:
    connection = connect()
    connection.wire.close()
    connection.transport.disconnect()
    connection.loop.settle()
    assert connection.wire.calls == ["close"]
    assert connection.events == ["connected", "disconnected"]


@SIDES
@pytest.mark.parametrize("disconnects", [True, False], ids=["disconnect", "nobody"])
def test_eof_of_a_peer_that_does_not_read(connect: Any, client: bool, disconnects: bool) -> None:
    """What waits to be sent keeps the transport, which closes itself, open: no longer than close_timeout."""
    connection = connect(client=client, close_timeout=5)
    connection.wire.stalled = True
    connection.transport.send(TEXT, b"x")
    connection.eof()
    if disconnects:
        connection.transport.disconnect()
    connection.loop.advance(4)
    assert connection.events == ["connected"]
    connection.loop.advance(2)
    assert connection.wire.calls == ["close", "abort"]
    assert connection.events == ["connected", "disconnected"]


@SIDES
@pytest.mark.parametrize("graceful", [True, False])
def test_P3_disconnect_in_a_callback_ends_the_batch(connect: Any, client: bool, graceful: bool) -> None:
    """W15: what was gathered leaves with a graceful one, and is dropped with an abort."""

    def react(transport: Any, frame: Any) -> None:
        transport.send(TEXT, b"one")
        transport.send(TEXT, b"two")
        transport.disconnect(graceful)
        transport.send(TEXT, b"three")

    connection = connect(client=client, handlers={"on_ws_frame": react})
    connection.feed(connection.frame(TEXT, b"a") + connection.frame(PING, b"b") + connection.frame(TEXT, b"c"))
    assert [message.payload for message in connection.messages] == [b"a"]
    assert connection.plain() == [(TEXT, b"one"), (TEXT, b"two")][: 2 if graceful else 1]
    connection.loop.settle()
    assert connection.written() == b""


@SIDES
def test_eof_and_loss(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    connection.feed_frame(TEXT, b"last words")
    connection.feed(connection.frame(TEXT, b"cut short")[:-1])
    connection.eof()
    connection.loop.settle()
    assert connection.messages == [Received(WSMsgType.TEXT, b"last words")]
    assert connection.events[-1] == "disconnected"
    assert connection.transport.is_disconnected
    assert connection.transport.close_handshake is None
    assert connection.ending() is None
    assert connection.transport.write_buffer_size == 0


@SIDES
def test_peer_caused_ends_do_not_raise(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    connection.feed_frame(CLOSE, close_payload(1011, b"their fault"))
    connection.lose(ConnectionResetError("reset"))
    assert connection.events[-1] == "disconnected"
    assert connection.ending() is None


@pytest.mark.parametrize("reading", ["buffered", "stream"])
def test_nothing_happens_after_the_loss(connect: Any, reading: str) -> None:
    """Loops may call once more what they had scheduled before."""
    connection = connect(reading=reading)
    transport = connection.transport
    connection.lose()
    connection.feed_frame(TEXT, b"x")
    connection.protocol.pause_writing()
    connection.protocol.resume_writing()
    connection.protocol.abandon()
    transport.disconnect(graceful=False)
    transport._abort()
    assert connection.events == ["connected", "disconnected"]
    assert connection.wire.calls == []
    assert connection.written() == b""


def test_wait_disconnected_by_many_and_cancelled(connect: Any) -> None:
    connection = connect()
    loop = connection.loop
    tasks = [loop.create_task(connection.transport.wait_disconnected()) for _ in range(3)]
    loop.settle()
    tasks[0].cancel()
    loop.settle()
    assert [task.done() for task in tasks] == [True, False, False]
    seen: list[bool] = []
    connection.listener.handlers["on_ws_disconnected"] = lambda transport: seen.append(tasks[1].done())
    connection.lose()
    loop.settle()
    assert seen == [False]
    assert [task.done() for task in tasks] == [True, True, True]
    assert tasks[0].cancelled()
    assert connection.ending() is None


# --- close_timeout ---


@SIDES
@pytest.mark.parametrize("closes_by", ["send_close", "disconnect", "peer", "violation"])
def test_P4_close_timeout(connect: Any, client: bool, closes_by: str) -> None:
    """A peer that neither answers nor hangs up, or does not take what was sent, is cut off."""
    connection = connect(client=client, close_timeout=3, enable_auto_close=True)
    connection.wire.stalled = True
    if closes_by == "peer":
        connection.feed_frame(CLOSE, close_payload(1000))
    elif closes_by == "violation":
        connection.feed_frame(3)
    else:
        getattr(connection.transport, closes_by)()
    connection.loop.advance(2.9)
    assert "abort" not in connection.wire.calls
    assert connection.events[-1] != "disconnected"
    connection.loop.advance(0.2)
    assert connection.wire.calls[-1] == "abort"
    assert connection.wire.calls.count("abort") == 1
    assert connection.events[-1] == "disconnected"


def test_P4_default_close_timeout_is_10_s(connect: Any) -> None:
    connection = connect()
    connection.transport.send_close()
    connection.loop.advance(9.9)
    assert connection.wire.calls == []
    connection.loop.advance(0.2)
    assert connection.wire.calls == ["abort"]


def test_P4_no_close_timeout(connect: Any) -> None:
    connection = connect(close_timeout=None)
    connection.transport.send_close()
    connection.loop.advance(100_000)
    assert connection.wire.calls == []


def test_P4_the_timer_runs_once_and_ends_with_the_connection(connect: Any) -> None:
    connection = connect(close_timeout=3)
    connection.wire.stalled = True
    connection.transport.send_close()
    connection.loop.advance(2)
    connection.transport.disconnect()
    connection.loop.advance(0.5)
    assert connection.wire.calls == ["close"]
    connection.wire.drain()
    connection.loop.advance(10)
    assert connection.wire.calls == ["close"]
    assert connection.events[-1] == "disconnected"


# --- what the server uses to say goodbye ---


@SIDES
@pytest.mark.parametrize("peer", ["first", "answers", "silent"])
def test_P10_goodbye(connect: Any, client: bool, peer: str) -> None:
    connection = connect(client=client, close_timeout=3)
    if peer == "first":
        connection.feed_frame(CLOSE, close_payload(1000))
    connection.transport._close_and_hang_up(1001, "restart")
    assert connection.plain() == [(CLOSE, close_payload(1001, b"restart"))]
    if peer == "answers":
        assert connection.wire.calls == []
        connection.feed_frame(CLOSE, close_payload(1001))
        assert connection.written() == b""
    if peer == "silent":
        connection.loop.advance(4)
        assert connection.wire.calls == ["abort"]
    elif peer == "first" or not client:
        assert connection.wire.calls == ["close"]
    connection.transport._close_and_hang_up(1001, "again")
    assert connection.written() == b""


def test_registry_holds_open_connections(connect: Any) -> None:
    registry: set[Any] = set()
    connection = connect(registry=registry, opens=False)
    assert registry == set()
    connection.opening.open()
    assert registry == {connection.transport}
    connection.lose()
    assert registry == set()


# --- no connection outlives its end ---


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts on reference counting")
@pytest.mark.parametrize("end", ["close", "fin", "reset", "violation", "measured", "pinged"])
@SIDES
def test_N4_a_closed_connection_is_freed_without_the_collector(engine: Any, client: bool, end: str) -> None:
    connection = Connection(engine, client=client)
    loop = connection.loop
    references = [weakref.ref(thing) for thing in (connection.transport, connection.protocol, connection.listener)]
    gc.collect()
    gc.disable()
    try:
        if end == "close":
            connection.feed_frame(CLOSE, close_payload(1000))
            connection.transport.send_close(1000)
            connection.transport.disconnect()
        elif end == "fin":
            connection.feed(connection.frame(TEXT, b"x"), connection.frame(PONG, b"x")[:1])
            connection.eof()
        elif end == "reset":
            connection.lose(ConnectionResetError("reset"))
        elif end == "violation":
            connection.feed_frame(3)
        elif end == "measured":
            measuring = loop.create_task(connection.transport.measure_roundtrip_time(1))
            loop.settle()
            connection.feed_frame(PONG)
            loop.settle()
            measuring.result()
            del measuring
        else:
            connection.transport.send_ping()
        loop.advance(1)
        connection.lose()
        loop.settle()
        del connection
        assert [reference() for reference in references] == [None, None, None]
    finally:
        gc.enable()
        loop.close()
