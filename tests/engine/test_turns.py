"""F3 of the catalogue: one read may bring more frames than one turn of the loop handles, or than the listener wants."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, List

import pytest
from fixtures.messages import closed, recv
from fixtures.wire import BINARY, CLOSE, CONT, PING, TEXT, Received, close_payload

from picows.enums import WSMsgType
from picows.options import FRAMES_PER_TURN

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
READING = pytest.mark.parametrize("reading", ["buffered", "stream"])
#: One frame more may be delivered than a turn has: its header was looked at before.
MARGIN = 1


def numbered(connection: Any, count: int, first: int = 0) -> bytes:
    return b"".join(connection.frame(TEXT, b"%d" % (first + number)) for number in range(count))


def numbers(connection: Any) -> List[int]:
    return [int(message.payload) for message in connection.messages]


@READING
@SIDES
def test_the_rest_of_a_read_waits_for_other_turns(connect: Any, client: bool, reading: str) -> None:
    connection = connect(client=client, reading=reading)
    connection.feed(numbered(connection, 3 * FRAMES_PER_TURN))
    turns = 1
    while not connection.wire.is_reading():
        turns += 1
        before = len(connection.listener.frames)
        assert before <= (turns - 1) * (FRAMES_PER_TURN + MARGIN)
        connection.loop.call_soon(connection.loop.stop)
        connection.loop.run_forever()
        assert len(connection.listener.frames) - before <= FRAMES_PER_TURN + MARGIN
    assert numbers(connection) == list(range(3 * FRAMES_PER_TURN))
    assert turns == 3
    assert connection.wire.calls == ["pause_reading", "resume_reading"] * 2


@READING
def test_what_arrives_meanwhile_comes_behind_it(connect: Any, reading: str) -> None:
    """Transports that decrypt may deliver although reading is paused."""
    connection = connect(reading=reading)
    connection.feed(numbered(connection, 2 * FRAMES_PER_TURN))
    more = numbered(connection, 10, 2 * FRAMES_PER_TURN)
    connection.feed(more[:7], more[7:])
    connection.loop.settle()
    assert numbers(connection) == list(range(2 * FRAMES_PER_TURN + 10))
    assert connection.wire.is_reading()


@pytest.mark.parametrize("strict", [False, True])
def test_an_incomplete_frame_at_the_end(connect: Any, strict: bool) -> None:
    connection = connect(strict=strict)
    large = connection.frame(BINARY, bytes(20_000))
    connection.feed(numbered(connection, FRAMES_PER_TURN + 5) + large[:100])
    connection.loop.settle()
    connection.feed(large[100:])
    payloads = [message.payload for message in connection.messages]
    assert payloads[-1] == bytes(20_000)
    assert len(payloads) == FRAMES_PER_TURN + 6


def test_a_transport_that_the_listener_has_paused_is_left_paused(connect: Any) -> None:
    def pause(transport: Any, frame: Any) -> None:
        transport.underlying_transport.pause_reading()

    connection = connect(handlers={"on_ws_frame": pause})
    connection.feed(numbered(connection, 2 * FRAMES_PER_TURN))
    connection.loop.settle()
    assert len(connection.messages) == 2 * FRAMES_PER_TURN
    assert not connection.wire.is_reading()


@pytest.mark.parametrize("end", ["eof", "lose"])
def test_nothing_is_lost_at_the_end(connect: Any, end: str) -> None:
    connection = connect()
    connection.feed(numbered(connection, 3 * FRAMES_PER_TURN))
    getattr(connection, end)()
    assert numbers(connection) == list(range(3 * FRAMES_PER_TURN))
    connection.loop.settle()
    assert connection.events[-1] == "disconnected"


def test_answers_after_the_loss_go_nowhere(connect: Any) -> None:
    def echo(transport: Any, frame: Any) -> None:
        transport.send(TEXT, frame.get_payload_as_bytes())

    connection = connect(handlers={"on_ws_frame": echo})
    connection.feed(numbered(connection, 2 * FRAMES_PER_TURN))
    connection.written()
    connection.lose()
    assert connection.written() == b""
    assert len(connection.messages) == 2 * FRAMES_PER_TURN


@pytest.mark.parametrize("end", ["disconnect", "close"])
def test_nothing_is_delivered_after_the_end(connect: Any, end: str) -> None:
    connection = connect()
    tail = connection.frame(CLOSE, close_payload(1000)) if end == "close" else b""
    connection.feed(numbered(connection, FRAMES_PER_TURN + 1) + tail + numbered(connection, FRAMES_PER_TURN))
    if end == "disconnect":
        connection.transport.disconnect()
    connection.loop.settle()
    kinds = [message.msg_type for message in connection.messages]
    assert len(kinds) <= FRAMES_PER_TURN + 2
    assert kinds.count(CLOSE) == (end == "close")


def test_a_violation_in_a_later_turn(connect: Any) -> None:
    connection = connect()
    connection.feed(numbered(connection, FRAMES_PER_TURN + 10) + connection.frame(3))
    assert connection.plain() == []
    connection.loop.settle()
    assert len(connection.messages) == FRAMES_PER_TURN + 10
    ((opcode, payload),) = connection.plain()
    assert (opcode, payload[:2]) == (CLOSE, close_payload(1002))


def test_pings_count(connect: Any) -> None:
    connection = connect()
    connection.feed(connection.frame(PING, b"x") * (2 * FRAMES_PER_TURN))
    assert len(connection.plain()) <= FRAMES_PER_TURN + MARGIN
    connection.loop.settle()
    assert connection.wire.is_reading()


def test_the_message_layer_stops_within_a_read(talk: Any) -> None:
    """`max_queue` bounds what is kept of one read, not only how many reads there are."""
    connection = talk(max_queue=16)
    listener = connection.listener
    connection.feed(numbered(connection, 1000))
    assert connection.wire.calls == ["pause_reading"]
    received = []
    for _ in range(1000):
        received.append(int(connection.run(listener.recv())))
    assert received == list(range(1000))
    connection.loop.settle()
    assert connection.wire.is_reading()


def test_a_message_of_many_fragments_in_one_read(talk: Any) -> None:
    connection = talk(max_queue=4)
    count = 3000
    connection.feed(
        connection.frame(TEXT, "a", fin=False)
        + connection.frame(CONT, "b", fin=False) * (count - 2)
        + connection.frame(CONT, "c")
        + connection.frame(TEXT, "next")
    )
    assert connection.run(connection.listener.recv()) == "a" + "b" * (count - 2) + "c"
    assert connection.run(connection.listener.recv()) == "next"
    assert connection.wire.is_reading()


def test_close_with_a_full_queue(talk: Any) -> None:
    """The peer's CLOSE is behind what waits."""
    connection = talk(max_queue=4)
    connection.feed(numbered(connection, 100) + connection.frame(CLOSE, close_payload(1000)))
    connection.run(connection.listener.close())
    assert connection.transport.is_disconnected


@pytest.mark.parametrize("number", [1, FRAMES_PER_TURN], ids=["in the middle", "at the end"])
def test_the_loss_within_a_callback_of_a_turn(connect: Any, number: int) -> None:
    """As where a callback runs the loop: nothing is left that could wait for another turn."""
    count = itertools.count(1)

    def lose(transport: Any, frame: Any) -> None:
        if next(count) == number:
            connection.lose()

    connection = connect(handlers={"on_ws_frame": lose})
    connection.feed(connection.frame(TEXT) * (2 * FRAMES_PER_TURN))
    connection.loop.settle()
    assert len(connection.messages) == number
    assert connection.events[-1] == "disconnected"
    assert connection.ending() is None


# --- callbacks that raise what is no Exception ---


def raising_at(number: int) -> Any:
    """A callback that raises CancelledError, as `future.result()` does, at a frame."""
    count = itertools.count(1)

    def fail(transport: Any, frame: Any) -> None:
        if next(count) == number:
            raise asyncio.CancelledError

    return fail


@pytest.mark.parametrize("number", [1, FRAMES_PER_TURN], ids=["in the middle", "at the end"])
def test_an_error_that_nobody_handles(connect: Any, number: int) -> None:
    """asyncio does not end a connection for a KeyboardInterrupt, which may have torn it in the middle of a frame."""
    connection = connect(handlers={"on_ws_frame": raising_at(number)})
    with pytest.raises(asyncio.CancelledError):
        connection.feed((connection.frame(TEXT) * (2 * FRAMES_PER_TURN))[:-1])
    connection.feed(connection.frame(TEXT)[-1:])
    connection.loop.settle()
    assert connection.events[-1] == "disconnected"
    assert connection.wire.calls == ["abort"]
    assert len(connection.messages) == number


def test_an_error_that_nobody_handles_with_nothing_behind_it(connect: Any) -> None:
    connection = connect(handlers={"on_ws_frame": raising_at(2)})
    with pytest.raises(asyncio.CancelledError):
        connection.feed(connection.frame(TEXT) * 2)
    connection.feed(connection.frame(TEXT, b"goes on"))
    assert connection.messages[2:] == [Received(WSMsgType.TEXT, b"goes on")]


@pytest.mark.parametrize("number", [FRAMES_PER_TURN + 5, 2 * FRAMES_PER_TURN + 2], ids=["in the middle", "at the end"])
def test_an_error_that_nobody_handles_in_a_later_turn(connect: Any, number: int, asyncio_errors: List[str]) -> None:
    """The loop ignores it, or ends; of the connection nothing may be lost without a word."""
    connection = connect(handlers={"on_ws_frame": raising_at(number)})
    connection.feed(connection.frame(TEXT) * (3 * FRAMES_PER_TURN))
    connection.loop.settle()
    assert "CancelledError" in asyncio_errors.pop()
    assert connection.events[-1] == "disconnected"
    assert connection.wire.calls[-1] == "abort"
    assert len(connection.messages) == number


def test_an_error_that_nobody_handles_after_the_loss(connect: Any) -> None:
    """Whoever waits for the end learns of it."""
    connection = connect(handlers={"on_ws_frame": raising_at(FRAMES_PER_TURN + 5)}, registry=set())
    waiting = connection.loop.create_task(connection.transport.wait_disconnected())
    connection.feed(connection.frame(TEXT) * (2 * FRAMES_PER_TURN))
    with pytest.raises(asyncio.CancelledError):
        connection.lose()
    assert connection.events[-1] == "disconnected"
    connection.loop.settle()
    assert waiting.done()


# --- a listener that has enough when the connection is lost ---


def test_a_full_queue_after_the_loss(talk: Any) -> None:
    """The transport has ended: one of aiofastnet's cannot even be asked whether it reads."""
    connection = talk(max_queue=1)
    connection.feed(numbered(connection, 10))
    for number in "012":
        with pytest.raises(StopIteration, match=number):  # the loop has no other turn before the end
            connection.listener.recv().send(None)
    connection.lose()
    assert [recv(connection) for _ in range(7)] == list("3456789")
    assert closed(connection).__cause__ is None
