"""`close` of the message layer: waiting, cutting off, and what arrives meanwhile."""

from __future__ import annotations

import asyncio
import threading
from typing import List

import pytest
from fixtures.messages import SIDES, Talk, send, sent_fragments, start
from fixtures.wire import BINARY, CLOSE, CONT, TEXT, close_payload

from picows.enums import WSCloseCode
from picows.errors import WSConnectionClosed


@SIDES
def test_close(talk: Talk, client: bool) -> None:
    connection = talk(client=client)
    task = start(connection, connection.listener.close(4000, "bye"))
    assert connection.plain() == [(CLOSE, close_payload(4000, b"bye"))]
    assert not task.done()
    connection.feed_frame(CLOSE, close_payload(4000))
    assert connection.wire.calls == ([] if client else ["close"])  # RFC 6455 7.1.1: the server hangs up first
    connection.eof()
    connection.run(task)
    assert connection.plain() == []
    with pytest.raises(WSConnectionClosed) as caught:
        connection.run(connection.listener.recv())
    assert caught.value.code == 4000


def test_close_is_idempotent(talk: Talk) -> None:
    connection = talk()
    tasks = [start(connection, connection.listener.close()) for _ in range(3)]
    assert connection.plain() == [(CLOSE, close_payload(1000))]
    connection.feed_frame(CLOSE, close_payload(1000))
    connection.run(asyncio.gather(*tasks))
    connection.run(connection.listener.close())
    assert connection.plain() == []


@pytest.mark.parametrize(("code", "reason"), [(1005, ""), (999, ""), (5000, ""), (1000, "x" * 124)], ids=str)
def test_a_close_that_is_refused_changes_nothing(talk: Talk, code: int, reason: str) -> None:
    connection = talk(max_queue=1)
    connection.feed(connection.frame(TEXT, "a") * 2)
    with pytest.raises(ValueError):
        connection.run(connection.listener.close(code, reason))
    assert connection.wire.calls == ["pause_reading"]
    send(connection, "x")
    assert sent_fragments(connection) == [(TEXT, b"x", True)]


def test_a_peer_that_does_not_answer_is_cut_off(talk: Talk) -> None:
    connection = talk(close_timeout=7)
    before = connection.loop.time()
    connection.run(connection.listener.close())
    assert connection.loop.time() - before == pytest.approx(7)
    assert connection.wire.calls == ["abort"]


def test_a_peer_that_does_not_read_is_cut_off(talk: Talk) -> None:
    """N6."""
    connection = talk(close_timeout=7)
    connection.wire.stalled = True
    connection.transport.send(BINARY, b"x" * 100_000)
    connection.protocol.pause_writing()
    connection.feed_frame(CLOSE, close_payload(1000))
    before = connection.loop.time()
    connection.run(connection.listener.close())
    assert connection.loop.time() - before <= 2 * 7
    assert connection.wire.calls[-1] == "abort"


def test_close_while_reading_is_paused(talk: Talk) -> None:
    """N6: the peer's answer comes behind what waits to be read."""
    connection = talk(max_queue=2)
    connection.feed(connection.frame(TEXT, "a") * 3)
    task = start(connection, connection.listener.close())
    assert connection.wire.calls == ["pause_reading", "resume_reading"]
    connection.feed(connection.frame(TEXT, "b") * 5 + connection.frame(CLOSE, close_payload(1000)))
    connection.run(task)
    assert connection.wire.calls == ["pause_reading", "resume_reading", "close"]
    assert [connection.run(connection.listener.recv()) for _ in range(3)] == ["a"] * 3
    with pytest.raises(WSConnectionClosed) as caught:
        connection.run(connection.listener.recv())
    assert caught.value.code == WSCloseCode.OK


def test_messages_that_arrive_while_closing(talk: Talk) -> None:
    """As many as fit into the queue; what was dropped leaves no hole in a message."""
    connection = talk(max_queue=3)
    start(connection, connection.listener.close())
    connection.feed_frame(TEXT, "a")
    connection.feed(connection.frame(TEXT, "b", fin=False) + connection.frame(CONT, "c", fin=False))
    connection.feed_frame(CONT, "d", fin=False)
    assert connection.run(connection.listener.recv()) == "a"
    connection.feed(connection.frame(CONT, "e") + connection.frame(TEXT, "f"))
    connection.feed_frame(CLOSE, close_payload(1000))
    with pytest.raises(WSConnectionClosed):
        connection.run(connection.listener.recv())


def test_closing_ignores_what_the_connection_failed_with(talk: Talk) -> None:
    for client in (False, True):
        connection = talk(client=client)
        connection.feed_frame(CONT, b"nothing to continue")
        connection.run(connection.listener.close())


def test_close_may_be_cancelled(talk: Talk) -> None:
    connection = talk()
    task = start(connection, connection.listener.close())
    task.cancel()
    connection.loop.settle()
    assert task.cancelled()
    connection.feed_frame(CLOSE, close_payload(1000))
    connection.run(connection.listener.close())


def test_close_after_a_disconnect_while_reading_is_paused(talk: Talk) -> None:
    connection = talk(max_queue=1)
    connection.feed(connection.frame(TEXT, "a") * 2)
    connection.transport.disconnect()
    connection.run(connection.listener.close())
    assert connection.wire.calls == ["pause_reading", "close"]


def test_close_from_another_thread(talk: Talk) -> None:
    connection = talk()
    caught: List[BaseException] = []

    def close() -> None:
        try:
            connection.listener.close().send(None)
        except BaseException as exc:
            caught.append(exc)

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert isinstance(caught[0], RuntimeError)
    assert connection.written() == b""
