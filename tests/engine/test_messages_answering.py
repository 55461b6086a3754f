"""What came before a violation in the same read is answered before our CLOSE leaves (P3), although the task that
receives runs only after the read."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Awaitable, Callable

import pytest
from fixtures.messages import SIDES, Talk, closed, start
from fixtures.wire import BINARY, CLOSE, CONT, PING, TEXT, Sent

from picows.errors import WSConnectionClosed, WSProtocolError

ECHO = Callable[[Any], Awaitable[None]]
ANSWERED = [(TEXT, b"one"), (TEXT, b"two"), (CLOSE, b"\x03\xea")]


async def iterate(listener: Any) -> None:
    async for message in listener:
        await listener.send(message)


async def receive(listener: Any) -> None:
    while True:
        await listener.send(await listener.recv())


async def receive_in_time(listener: Any) -> None:
    while True:
        await listener.send(await asyncio.wait_for(listener.recv(), 60))


async def stream(listener: Any) -> None:
    while True:
        await listener.send("".join([piece async for piece in listener.recv_streaming()]))


async def until_closed(echo: Awaitable[None]) -> None:
    with contextlib.suppress(WSConnectionClosed):
        await echo


def plain(frame: Sent) -> Any:
    return (frame.opcode, frame.payload[:2] if frame.opcode == CLOSE else frame.payload)


def sent(connection: Any) -> Any:
    """Opcode and payload of what was written since the last call; of a CLOSE the code alone."""
    return [plain(frame) for frame in connection.sent()]


def before_a_violation(connection: Any) -> bytes:
    """Two messages and then a frame with a reserved bit, and then more that must not be looked at."""
    good = connection.frame(TEXT, "one") + connection.frame(TEXT, "two")
    return good + connection.frame(TEXT, "bad", rsv=2) + connection.frame(PING, "late") + connection.frame(TEXT, "late")


@SIDES
@pytest.mark.parametrize("echo", [iterate, receive, receive_in_time, stream])
def test_messages_before_a_violation_are_answered(talk: Talk, client: bool, echo: ECHO) -> None:
    connection = talk(client=client)
    task = start(connection, until_closed(echo(connection.listener)))
    connection.feed(before_a_violation(connection))
    assert connection.wire.chunks == []
    connection.loop.settle()
    connection.loop.settle()
    assert sent(connection) == ANSWERED
    connection.run(task)
    assert isinstance(closed(connection).__cause__, WSProtocolError)
    assert connection.wire.written_late == []


@SIDES
def test_a_message_before_a_violation_of_messages(talk: Talk, client: bool) -> None:
    """One that the parser cannot see."""
    connection = talk(client=client, max_fragments=1)
    start(connection, until_closed(iterate(connection.listener)))
    pieces = connection.frame(BINARY, b"1", fin=False) + connection.frame(CONT, b"2")
    connection.feed(connection.frame(TEXT, "one") + connection.frame(TEXT, "two") + pieces)
    connection.loop.settle()
    assert sent(connection) == [*ANSWERED[:2], (CLOSE, b"\x03\xf1")]


@SIDES
def test_the_close_is_immediate_where_there_is_nothing_to_answer(talk: Talk, client: bool) -> None:
    connection = talk(client=client)
    connection.feed(connection.frame(TEXT, "o", fin=False) + connection.frame(TEXT, "bad", rsv=2))
    assert sent(connection) == ANSWERED[2:]
    other = talk(client=client)
    start(other, until_closed(receive(other.listener)))
    other.feed(other.frame(TEXT, "bad", rsv=2))
    assert sent(other) == ANSWERED[2:]


@SIDES
def test_a_receiver_that_begins_some_turns_later(talk: Talk, client: bool) -> None:
    """As after `ws_connect`, where frames come in the same read as the answer to the opening handshake."""

    async def receive_later() -> None:
        for _ in range(4):
            await asyncio.sleep(0)
        await until_closed(receive(connection.listener))

    connection = talk(client=client)
    task = connection.loop.create_task(receive_later())
    connection.feed(before_a_violation(connection))
    connection.run(task)
    assert sent(connection) == ANSWERED


@SIDES
def test_nobody_receives(talk: Talk, client: bool) -> None:
    connection = talk(client=client)
    before = connection.loop.time()
    connection.feed(before_a_violation(connection))
    for _ in range(2):
        connection.loop.settle()
    assert sent(connection) == ANSWERED[2:]
    assert connection.loop.time() == before


@SIDES
def test_a_receiver_that_does_not_come_back(talk: Talk, client: bool) -> None:
    """Some turns of the loop, no time."""

    async def receive_once() -> None:
        await connection.listener.recv()
        await asyncio.Event().wait()

    connection = talk(client=client)
    start(connection, receive_once())
    before = connection.loop.time()
    connection.feed(before_a_violation(connection))
    for _ in range(4):
        connection.loop.settle()
    assert sent(connection) == ANSWERED[2:]
    assert connection.loop.time() == before


@SIDES
def test_closing_before_the_close_has_left(talk: Talk, client: bool) -> None:
    """The violation was first: its code is sent."""

    async def answer_and_close() -> None:
        await connection.listener.send(await connection.listener.recv())
        await connection.listener.close(4000)

    connection = talk(client=client)
    task = start(connection, answer_and_close())
    connection.feed(before_a_violation(connection))
    connection.run(task)
    assert sent(connection) == [ANSWERED[0], ANSWERED[2]]


@SIDES
@pytest.mark.parametrize("end", ["eof", "lose"])
def test_the_peer_is_gone_in_the_same_turn(talk: Talk, client: bool, end: str) -> None:
    connection = talk(client=client)
    task = start(connection, until_closed(receive(connection.listener)))
    connection.feed(before_a_violation(connection))
    getattr(connection, end)()
    assert sent(connection) == (ANSWERED[2:] if end == "eof" else [])
    connection.run(task)
    assert connection.wire.chunks == []


@SIDES
def test_disconnecting_before_the_close_has_left(talk: Talk, client: bool) -> None:
    async def answer_and_disconnect() -> None:
        await connection.listener.send(await connection.listener.recv())
        connection.transport.disconnect()

    connection = talk(client=client)
    start(connection, answer_and_disconnect())
    connection.feed(before_a_violation(connection))
    for _ in range(4):
        connection.loop.settle()
    assert sent(connection) == ANSWERED[:1]
    assert connection.wire.written_late == []


def test_what_still_arrives_is_dropped(talk: Talk) -> None:
    connection = talk()
    start(connection, until_closed(receive(connection.listener)))
    connection.feed(before_a_violation(connection), before_a_violation(connection))
    connection.loop.settle()
    assert sent(connection) == ANSWERED
