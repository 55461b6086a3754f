"""Messages that wait to be received: the queue, receivers that are cancelled, and the end."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from typing import Any, List

import pytest
from fixtures.messages import SIDES, Talk, closed, fragments, recv
from fixtures.wire import BINARY, CLOSE, CONT, TEXT, close_payload

from picows.enums import WSCloseCode
from picows.errors import WSConnectionClosed, WSProtocolError

# --- the queue ---


@pytest.mark.parametrize(
    ("max_queue", "high", "low"),
    [(16, 16, 4), (1, 1, 0), ((5, 5), 5, 5), ((10, 0), 10, 0)],
    ids=["16", "1", "(5, 5)", "(10, 0)"],
)
@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one read"])
def test_the_queue_pauses_reading(talk: Talk, max_queue: Any, high: int, low: int, together: bool) -> None:
    connection = talk(max_queue=max_queue)
    messages = [connection.frame(TEXT, str(number)) for number in range(high + 1)]
    connection.feed(*messages[:-1])
    assert connection.wire.calls == []
    connection.feed(*([messages[-1] + connection.frame(TEXT, "more")] if together else [messages[-1]]))
    assert connection.wire.calls == ["pause_reading"]
    queued = high + 1 + together
    while queued > low + 1:
        recv(connection)
        queued -= 1
        assert connection.wire.calls == ["pause_reading"]
    recv(connection)
    assert connection.wire.calls == ["pause_reading", "resume_reading"]


def test_a_queue_without_limit(talk: Talk) -> None:
    connection = talk(max_queue=None)
    connection.feed(connection.frame(TEXT, "x") * 2000)
    assert connection.wire.calls == []


def test_a_long_queue_that_nobody_receives_is_freed(talk: Talk) -> None:
    """Without a recursion from message to message, which would overflow the stack."""
    connection = talk(max_queue=None)
    connection.feed(connection.frame(TEXT) * 100_000)
    connection.lose()
    connection.loop.settle()
    listener = weakref.ref(connection.listener)
    connection.listener = connection.opening = None
    gc.collect()
    assert listener() is None


@pytest.mark.parametrize("count", [17, 64, 65, 66, 200])
def test_reading_goes_on_after_a_message_of_many_fragments(talk: Talk, count: int) -> None:
    """All of them came in one read, and those beyond the first few were joined as they arrived."""
    connection = talk()
    connection.feed(fragments(connection, TEXT, *"x" * count))
    assert connection.wire.calls == ["pause_reading"]
    assert recv(connection) == "x" * count
    assert connection.wire.is_reading()
    calls = list(connection.wire.calls)
    connection.feed(connection.frame(TEXT, "y") * 16)
    assert connection.wire.calls == calls


def test_a_message_longer_than_the_queue(talk: Talk) -> None:
    """Its beginning must not keep its end from being read."""
    connection = talk(max_queue=4)
    connection.feed(connection.frame(TEXT, "a", fin=False) + connection.frame(CONT, "b", fin=False) * 9)
    assert connection.wire.calls == ["pause_reading"]
    task = connection.loop.create_task(connection.listener.recv())
    connection.loop.settle()
    assert connection.wire.calls == ["pause_reading", "resume_reading"]
    connection.feed_frame(CONT, "c")
    assert connection.run(task) == "a" + "b" * 9 + "c"


def test_reading_is_not_resumed_after_the_end(talk: Talk) -> None:
    connection = talk(max_queue=1)
    connection.feed(connection.frame(TEXT, "a") * 3)
    connection.transport.disconnect(graceful=False)
    assert [recv(connection) for _ in range(3)] == ["a"] * 3
    assert "resume_reading" not in connection.wire.calls


# --- one receiver, and none that was cancelled ---


def test_only_one_may_wait(talk: Talk) -> None:
    """N7."""
    connection = talk()
    task = connection.loop.create_task(connection.listener.recv())
    connection.loop.settle()
    with pytest.raises(RuntimeError, match="another recv is waiting"):
        recv(connection)
    with pytest.raises(RuntimeError, match="another recv is waiting"):
        connection.run(connection.listener.recv_streaming().__anext__())
    connection.feed_frame(TEXT, "x")
    with pytest.raises(RuntimeError):  # it was woken, but has not run yet
        connection.loop.call_soon(connection.loop.stop)
        connection.listener.recv().send(None)
    assert connection.run(task) == "x"


@pytest.mark.parametrize("seed", range(4))
def test_cancelled_receivers_lose_nothing(talk: Talk, seed: int) -> None:
    """N1: messages and fragments arrive, and receivers are cancelled, in any order and in the same turn of the loop."""
    choose = random.Random(seed)
    connection = talk(max_queue=None)
    sent = [f"{number} ".ljust(choose.randrange(8, 30), ".") for number in range(1500)]
    pieces: List[bytes] = []
    for text in sent:
        parts = [text[at : at + 10] for at in range(0, len(text), 10)] if choose.random() < 0.4 else [text]
        pieces += [
            connection.frame(TEXT if at == 0 else CONT, part, fin=part is parts[-1]) for at, part in enumerate(parts)
        ]
    received: List[Any] = []
    cancelled = 0
    while len(received) < len(sent):
        task = connection.loop.create_task(connection.listener.recv())
        for _ in range(choose.randrange(4)):
            action = choose.randrange(3)
            if action == 0 and pieces:
                connection.feed(pieces.pop(0))
            elif action == 1:
                connection.loop.settle()
            elif pieces:
                connection.feed(b"".join(pieces[:3]))
                del pieces[:3]
        if choose.random() < 0.6 or not pieces:
            task.cancel()
        connection.loop.settle()
        if not task.done():
            task.cancel()
            connection.loop.settle()
        if task.cancelled():
            cancelled += 1
        else:
            received.append(task.result())
        if not pieces and len(received) < len(sent):
            received.append(recv(connection))
    assert received == sent
    assert cancelled > 300


def test_a_timeout_loses_nothing(talk: Talk) -> None:
    connection = talk()

    async def receive(timeout: float) -> Any:
        return await asyncio.wait_for(connection.listener.recv(), timeout)

    connection.feed_frame(TEXT, "a", fin=False)
    for timeout in (1e-9, 0.5, 1):  # with 0 Python 3.11 does not even start it
        with pytest.raises(asyncio.TimeoutError):
            connection.run(receive(timeout))
    connection.feed_frame(CONT, "b")
    assert connection.run(receive(1)) == "ab"


def test_receiving_before_the_connection_is_open(talk: Talk) -> None:
    connection = talk(opens=False)
    task = connection.loop.create_task(connection.listener.recv())
    connection.loop.settle()
    connection.opening.open()
    connection.feed_frame(TEXT, "a")
    assert connection.run(task) == "a"


# --- the end ---


@SIDES
def test_what_was_received_is_delivered_after_the_end(talk: Talk, client: bool) -> None:
    """N2: also after a reset."""
    connection = talk(client=client, max_queue=None)
    connection.feed(*(connection.frame(TEXT, str(number)) for number in range(100)))
    connection.feed_frame(CLOSE, close_payload(1000, b"bye"))
    connection.lose(ConnectionResetError("reset"))
    assert [recv(connection) for _ in range(100)] == [str(number) for number in range(100)]
    for _ in range(2):
        error = closed(connection)
        assert (error.code, error.reason, error.__cause__) == (1000, "bye", None)


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        (close_payload(1000, b"bye"), WSCloseCode.OK, "bye"),
        (close_payload(4999), 4999, ""),
        (close_payload(1011, "\xe9".encode()), WSCloseCode.INTERNAL_ERROR, "\xe9"),
        (b"", WSCloseCode.NO_INFO, ""),
        (None, WSCloseCode.ABNORMAL_CLOSURE, ""),
    ],
    ids=["1000", "4999", "not ASCII", "no code", "no CLOSE"],
)
@SIDES
def test_code_and_reason(talk: Talk, client: bool, payload: Any, code: int, reason: str) -> None:
    connection = talk(client=client)
    task = connection.loop.create_task(connection.listener.recv())
    connection.loop.settle()
    if payload is not None:
        connection.feed_frame(CLOSE, payload)
        assert connection.plain() == [(CLOSE, payload)]
    connection.eof()
    with pytest.raises(WSConnectionClosed) as caught:
        connection.run(task)
    assert (caught.value.code, caught.value.reason) == (code, reason)


def test_the_cause_is_what_we_failed_with(talk: Talk) -> None:
    connection = talk()
    connection.feed_frame(CONT, b"nothing to continue")
    cause = closed(connection).__cause__
    assert isinstance(cause, WSProtocolError)
    assert cause.code == WSCloseCode.PROTOCOL_ERROR


def test_half_a_message_is_not_delivered(talk: Talk) -> None:
    connection = talk()
    connection.feed(connection.frame(TEXT, "whole") + connection.frame(TEXT, "half", fin=False))
    connection.eof()
    assert recv(connection) == "whole"
    closed(connection)


def test_the_server_hangs_up_after_its_answer_and_the_client_waits(talk: Talk) -> None:
    """O6, RFC 6455 7.1.1."""
    server, client = talk(), talk(client=True)
    for connection in (server, client):
        connection.feed_frame(CLOSE, close_payload(1001))
        assert connection.plain() == [(CLOSE, close_payload(1001))]
    assert server.wire.calls == ["close"]
    assert client.wire.calls == []
    client.loop.advance(10)
    assert client.wire.calls == ["abort"]


def test_close_within_a_message_is_answered(talk: Talk) -> None:
    """E7."""
    connection = talk()
    connection.feed(connection.frame(TEXT, "half", fin=False) + connection.frame(CLOSE, close_payload(1000)))
    assert connection.plain() == [(CLOSE, close_payload(1000))]
    assert closed(connection).code == WSCloseCode.OK


def test_nothing_after_close_is_delivered(talk: Talk) -> None:
    """E8, F6."""
    connection = talk()
    close = connection.frame(CLOSE, close_payload(1000))
    connection.feed(connection.frame(TEXT, "a") + close * 1000 + connection.frame(TEXT, "b") + b"\xff\xff")
    assert connection.plain() == [(CLOSE, close_payload(1000))]
    assert recv(connection) == "a"
    assert closed(connection).code == WSCloseCode.OK


@pytest.mark.parametrize("payload", [close_payload(1000), close_payload(1001), b""], ids=["1000", "1001", "no code"])
def test_iteration_ends(talk: Talk, payload: bytes) -> None:
    connection = talk()
    connection.feed(connection.frame(TEXT, "a") + connection.frame(BINARY, b"b") + connection.frame(CLOSE, payload))

    async def iterate() -> List[Any]:
        return [message async for message in connection.listener]

    assert connection.run(iterate()) == ["a", b"b"]


@pytest.mark.parametrize("payload", [None, close_payload(1011)], ids=["no CLOSE", "1011"])
def test_iteration_raises_what_is_no_proper_end(talk: Talk, payload: Any) -> None:
    connection = talk()
    connection.feed_frame(TEXT, "a")
    if payload is not None:
        connection.feed_frame(CLOSE, payload)
    connection.eof()
    found: List[Any] = []

    async def iterate() -> None:
        async for message in connection.listener:
            found.append(message)

    with pytest.raises(WSConnectionClosed):
        connection.run(iterate())
    assert found == ["a"]
