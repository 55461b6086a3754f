"""What happens within a write: the event loop's transport calls `pause_writing`, and that sends, closes or fails."""

from __future__ import annotations

import contextlib
from typing import Any, Callable

import pytest
from fixtures.wire import BINARY, CLOSE, PING, TEXT, close_payload

from picows.options import FRAMES_PER_TURN

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
BIG = 40_000  # above what is joined with its header


def within_write(connection: Any, number: int, act: Callable[[], Any]) -> None:
    """Let the transport call `act` at the end of its write of that number, as it calls `pause_writing`."""
    write = connection.wire.write

    def write_and_act(data: Any) -> None:
        write(bytes(data))
        if len(connection.wire.chunks) == number:
            act()

    connection.wire.write = write_and_act


def send_to(*connections: Any) -> Callable[..., None]:
    def send(transport: Any, frame: Any) -> None:
        for number in range(3):
            for connection in connections:
                connection.transport.send(TEXT, str(number))

    return send


@SIDES
def test_F2_a_callback_sends_behind_what_was_gathered_for_another(connect: Any, client: bool) -> None:
    slow = connect(client=client)
    other = connect(client=client, loop=slow.loop)
    slow.listener.handlers["on_ws_frame"] = send_to(slow, other)
    within_write(slow, 2, lambda: other.transport.send(TEXT, "late"))
    slow.feed_frame(TEXT)
    assert other.plain() == [(TEXT, b"0"), (TEXT, b"1"), (TEXT, b"2"), (TEXT, b"late")]


def test_F2_a_callback_sends_more_than_an_outbox_takes(connect: Any) -> None:
    slow, other = connect(), connect()
    slow.listener.handlers["on_ws_frame"] = send_to(slow, other)

    def send_much() -> None:
        for size in range(30_000, 30_009):
            other.transport.send(BINARY, bytes(size))

    within_write(slow, 2, send_much)
    slow.feed_frame(TEXT)
    assert [len(payload) for _, payload in other.plain()] == [1, 1, 1, *range(30_000, 30_009)]
    assert other.transport.write_buffer_size == 0


@SIDES
@pytest.mark.parametrize("secure", [False, True], ids=["TCP", "TLS"])
def test_a_callback_sends_behind_the_payload_of_a_large_frame(connect: Any, client: bool, secure: bool) -> None:
    connection = connect(client=client, secure=secure)
    within_write(connection, 1, lambda: connection.transport.send_ping(b"!"))
    connection.transport.send(BINARY, bytes(BIG))
    assert connection.plain() == [(BINARY, bytes(BIG)), (PING, b"!")]


@SIDES
def test_W13_a_callback_cannot_take_the_buffer_away(connect: Any, client: bool) -> None:
    buffer = bytearray(14) + b"m" * BIG

    def answer(transport: Any, frame: Any) -> None:
        transport.send(TEXT, "1")
        transport.send(TEXT, "gathered")
        transport.send_reuse_external_bytearray(BINARY, buffer, 14)

    def clear() -> None:
        with contextlib.suppress(BufferError):
            buffer.clear()

    connection = connect(client=client, handlers={"on_ws_frame": answer})
    within_write(connection, 2, clear)
    connection.feed_frame(TEXT)
    assert connection.plain() == [(TEXT, b"1"), (TEXT, b"gathered"), (BINARY, b"m" * BIG)]
    buffer.clear()  # it is lent for as long as the call takes


@SIDES
@pytest.mark.parametrize("method", ["send", "send_reuse_external_bytearray"])
def test_W15_the_end_that_a_callback_makes_follows_the_frame_before_it(connect: Any, client: bool, method: str) -> None:
    def answer(transport: Any, frame: Any) -> None:
        transport.send(TEXT, "1")
        transport.send(TEXT, "gathered")
        if method == "send":
            transport.send(BINARY, bytes(BIG))
        else:
            transport.send_reuse_external_bytearray(BINARY, bytearray(14 + BIG), 14)

    connection = connect(client=client, handlers={"on_ws_frame": answer})
    within_write(connection, 2, lambda: connection.transport.send_close(1000))
    connection.feed_frame(TEXT)
    assert connection.plain() == [
        (TEXT, b"1"),
        (TEXT, b"gathered"),
        (BINARY, bytes(BIG)),
        (CLOSE, close_payload(1000)),
    ]
    assert connection.wire.written_late == []


@SIDES
@pytest.mark.parametrize("late", ["flushed", "large"])
@pytest.mark.parametrize("method", ["send", "send_reuse_external_bytearray"])
def test_F2_a_callback_sends_behind_the_large_frame_before_it(
    connect: Any, client: bool, method: str, late: str
) -> None:
    """What was gathered and the large frame go to the transport in one piece: nothing comes between them."""
    connection = connect(client=client)

    def answer(transport: Any, frame: Any) -> None:
        transport.send(TEXT, "1")
        transport.send(TEXT, "gathered")
        if method == "send":
            transport.send(BINARY, b"first".ljust(BIG))
        else:
            transport.send_reuse_external_bytearray(BINARY, bytearray(14) + b"first".ljust(BIG), 14)

    def act() -> None:
        connection.transport.send(TEXT, "late!" if late == "flushed" else "late!".ljust(BIG))
        connection.transport.flush()

    connection.listener.handlers["on_ws_frame"] = answer
    within_write(connection, 2, act)
    connection.feed_frame(TEXT)
    assert [payload[:5] for _, payload in connection.plain()] == [b"1", b"gathe", b"first", b"late!"]


@SIDES
def test_F2_a_transport_that_was_lent_gets_frames_in_the_order_of_the_calls(connect: Any, client: bool) -> None:
    connection = connect(client=client)

    def answer(transport: Any, frame: Any) -> None:
        transport.send(TEXT, "1")
        transport.send(TEXT, "gathered")
        transport._lend_transport()
        transport.send(TEXT, "2")
        transport.send(TEXT, "3")

    connection.listener.handlers["on_ws_frame"] = answer
    within_write(connection, 2, lambda: connection.transport.send(TEXT, "late"))
    connection.feed_frame(TEXT)
    assert [payload for _, payload in connection.plain()] == [b"1", b"gathered", b"late", b"2", b"3"]


def test_F2_a_batch_that_begins_within_the_end_of_one_lets_nothing_overtake(connect: Any, talk: Any) -> None:
    """`recv` begins it; what another connection has gathered in the last batch has not left yet."""
    messages = talk()
    slow, other = connect(loop=messages.loop), connect(loop=messages.loop)
    slow.listener.handlers["on_ws_frame"] = send_to(slow, other)
    messages.feed(b"".join(messages.frame(TEXT, text) for text in ("a", "b", "c")))

    def receive_and_send() -> None:
        with pytest.raises(StopIteration):
            messages.listener.recv().send(None)
        other.transport.send(TEXT, "late")

    within_write(slow, 2, receive_and_send)
    slow.feed_frame(TEXT)
    slow.loop.settle()
    assert [payload for _, payload in other.plain()] == [b"0", b"1", b"2", b"late"]


def test_F2_a_batch_that_begins_within_the_end_of_one_keeps_its_frames(connect: Any, talk: Any, engine: Any) -> None:
    """`recv` finds more than one message: what is sent until it has to wait is gathered."""
    messages = talk()
    slow = connect(loop=messages.loop)
    slow.listener.handlers["on_ws_frame"] = send_to(slow)
    messages.feed(b"".join(messages.frame(TEXT, text) for text in ("a", "b", "c")))

    def receive_and_send() -> None:
        with pytest.raises(StopIteration):
            messages.listener.recv().send(None)
        for text in ("3", "4", "5"):
            slow.transport.send(TEXT, text)

    within_write(slow, 2, receive_and_send)
    slow.feed_frame(TEXT)
    slow.loop.settle()
    assert [payload for _, payload in slow.plain()] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert slow.transport.write_buffer_size == 0


def test_F2_what_others_have_gathered_leaves_although_one_fails(connect: Any) -> None:
    failing, other, third = connect(), connect(), connect()
    failing.listener.handlers["on_ws_frame"] = send_to(failing, other, third)

    def fail() -> None:
        raise KeyboardInterrupt

    within_write(failing, 2, fail)
    within_write(other, 2, fail)
    with pytest.raises(KeyboardInterrupt):
        failing.feed_frame(TEXT)
    for connection in (failing, other, third):
        assert [payload for _, payload in connection.plain()] == [b"0", b"1", b"2"]
        assert connection.transport.write_buffer_size == 0
    third.listener.handlers["on_ws_frame"] = send_to(third)
    third.feed_frame(TEXT)
    assert [payload for _, payload in third.plain()] == [b"0", b"1", b"2"]


def test_the_frames_that_wait_for_another_turn_get_it_although_the_batch_fails(connect: Any) -> None:
    failing = connect()
    busy = connect(loop=failing.loop, handlers={"on_ws_frame": send_to(failing)})

    def fail() -> None:
        raise KeyboardInterrupt

    within_write(failing, 2, fail)
    with pytest.raises(KeyboardInterrupt):
        busy.feed(busy.frame(TEXT) * (FRAMES_PER_TURN + 5))
    busy.loop.settle()
    assert len(busy.messages) == FRAMES_PER_TURN + 5


@pytest.mark.parametrize("closes", [False, True], ids=["stopped", "closed"])
def test_a_loop_that_stops_within_a_burst_gathers_nothing_of_others(talk: Any, connect: Any, closes: bool) -> None:
    messages = talk()
    loop = messages.loop

    async def receive() -> None:
        await messages.listener.recv()
        loop.stop()
        await messages.listener.recv()

    task = loop.create_task(receive())
    loop.settle()
    messages.feed(b"".join(messages.frame(TEXT, text) for text in ("a", "b", "c")))
    loop.run_forever()
    if closes:
        loop.close()
    other = connect(handlers={"on_ws_frame": lambda transport, frame: transport.send(TEXT, "answer")})
    for _ in range(3):
        other.feed_frame(TEXT)
        assert other.plain() == [(TEXT, b"answer")]
    other.transport.send(TEXT, "1")
    other.transport.send(TEXT, "2")
    assert other.plain() == [(TEXT, b"1"), (TEXT, b"2")]
    assert task.done() is False or task.exception() is None


@SIDES
def test_F7_what_nobody_tried_to_send_does_not_close_the_connection(connect: Any, client: bool) -> None:
    def send(transport: Any, frame: Any) -> None:
        for _ in range(20):
            transport.send(BINARY, bytes(1000))

    connection = connect(client=client, max_write_buffer_size=10_000, handlers={"on_ws_frame": send})
    connection.feed_frame(TEXT)
    assert connection.plain() == [(BINARY, bytes(1000))] * 20
