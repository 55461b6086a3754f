"""A task that waits in `recv` goes on as soon as the read is processed, in the loop's callback that has read."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from typing import Any, Callable, List

import pytest
from fixtures.messages import Talk, recv, start
from fixtures.wire import BINARY, PING, PONG, TEXT

name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="of nobody")


def read(connection: Any, *pieces: bytes, then: Callable[[], Any] = lambda: None) -> None:
    """The pieces arrive, one read each, in one callback of the loop; `then` runs at its end."""

    def arrive() -> None:
        connection.feed(*pieces)
        then()

    connection.loop.call_soon(arrive)
    connection.loop.settle()


def collect(connection: Any, into: List[Any]) -> Any:
    async def receive() -> None:
        while True:
            into.append(await connection.listener.recv())

    return start(connection, receive())


def end(task: asyncio.Task[Any], connection: Any) -> None:
    task.cancel()
    connection.loop.settle()


@pytest.mark.parametrize("reading", ["buffered", "stream", "own-buffer"])
def test_a_receiver_goes_on_within_the_read(talk: Talk, reading: str) -> None:
    connection = talk(reading=reading)
    got: List[Any] = []
    seen: List[Any] = []
    task = collect(connection, got)
    frames = connection.frame(TEXT, "a"), connection.frame(TEXT, "b") + connection.frame(BINARY, "c")
    read(connection, *frames, then=lambda: seen.extend(got))
    assert seen == got == ["a", "b", b"c"]
    end(task, connection)


def test_a_receiver_goes_on_after_the_whole_read(talk: Talk) -> None:
    """Callbacks of the same read come first: its pings are answered before what the receiver sends."""
    connection = talk()

    async def answer() -> None:
        await connection.listener.send(await connection.listener.recv())

    start(connection, answer())
    read(connection, connection.frame(TEXT, "a") + connection.frame(PING, "p"))
    assert [frame.payload for frame in connection.sent()] == [b"p", b"a"]


def test_what_a_receiver_sends_leaves_within_the_read(talk: Talk) -> None:
    connection = talk()
    sent: List[Any] = []

    async def answer() -> None:
        await connection.listener.send(await connection.listener.recv())

    start(connection, answer())
    read(connection, connection.frame(TEXT, "a"), then=lambda: sent.extend(connection.sent()))
    assert [frame.payload for frame in sent] == [b"a"]


def test_no_task_runs_within_another(talk: Talk) -> None:
    """A read in the middle of a task (of a test, say) wakes the receiver in the next cycle."""
    connection = talk()
    got: List[Any] = []
    task = collect(connection, got)

    async def feed() -> List[Any]:
        connection.feed_frame(TEXT, "a")
        before = list(got)
        await asyncio.sleep(0)
        return before

    assert connection.run(feed()) == []
    assert got == ["a"]
    end(task, connection)


def test_no_task_runs_while_the_loop_does_not(talk: Talk) -> None:
    connection = talk()
    got: List[Any] = []
    task = collect(connection, got)
    connection.feed_frame(TEXT, "a")
    assert got == []
    connection.loop.settle()
    assert got == ["a"]
    end(task, connection)


def test_a_receiver_keeps_its_context(talk: Talk) -> None:
    connection = talk()

    async def receive() -> str:
        name.set("of the task")
        await connection.listener.recv()
        return name.get()

    task = start(connection, receive())
    names: List[str] = []
    read(connection, connection.frame(TEXT, "a"), then=lambda: names.append(name.get()))
    assert task.result() == "of the task"
    assert names == ["of nobody"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="create_task takes a context from Python 3.11 on")
def test_a_context_that_is_in_use_delays(talk: Talk) -> None:
    """The reader runs in the context of the very task that it would wake."""
    connection = talk()
    context = contextvars.copy_context()
    task = connection.loop.create_task(connection.listener.recv(), context=context)
    connection.loop.settle()
    seen: List[bool] = []

    def arrive() -> None:
        connection.feed_frame(TEXT, "a")
        seen.append(task.done())

    connection.loop.call_soon(arrive, context=context)
    connection.loop.settle()
    assert seen == [False]
    assert task.result() == "a"


def test_what_ends_a_loop_ends_it(talk: Talk) -> None:
    connection = talk()

    async def receive() -> None:
        await connection.listener.recv()
        raise KeyboardInterrupt

    task = start(connection, receive())
    connection.loop.call_soon(connection.feed, connection.frame(TEXT, "a"))
    with pytest.raises(KeyboardInterrupt):
        connection.loop.settle()
    assert isinstance(task.exception(), KeyboardInterrupt)
    assert connection.transport.is_disconnected is False


def test_a_receiver_that_fails_is_not_the_connections_fault(talk: Talk) -> None:
    connection = talk()

    async def receive() -> None:
        await connection.listener.recv()
        raise ZeroDivisionError

    task = start(connection, receive())
    read(connection, connection.frame(TEXT, "a"))
    assert isinstance(task.exception(), ZeroDivisionError)
    assert connection.sent() == []


@pytest.mark.parametrize("message", [None, "enough"])
def test_cancelling_a_receiver(talk: Talk, message: Any) -> None:
    connection = talk()
    task = start(connection, connection.listener.recv())
    assert task.cancel(*([] if message is None else [message]))
    with pytest.raises(asyncio.CancelledError) as caught:
        connection.loop.run_until_complete(task)
    assert task.cancelled()
    # Before Python 3.11 the text does not come out of the task.
    assert caught.value.args == (() if message is None or sys.version_info < (3, 11) else (message,))
    connection.feed_frame(TEXT, "a")
    assert recv(connection) == "a"


def test_cancelling_between_a_message_and_its_receiver(talk: Talk) -> None:
    """The message waits for the next one who asks."""
    connection = talk()
    task = start(connection, connection.listener.recv())
    connection.feed_frame(TEXT, "a")
    task.cancel()
    connection.loop.settle()
    assert task.cancelled()
    assert recv(connection) == "a"


def test_a_read_within_a_read(engine: Any, talk: Talk) -> None:
    """A callback of one connection's read feeds another: one task goes on at its end, the other in the next cycle."""

    class Feeding(engine.WSMessageListener):  # type: ignore[misc]
        def _on_pong(self, payload: bytes) -> None:
            two.feed_frame(TEXT, "b")

    one = talk(Feeding)
    two = talk(loop=one.loop)
    got: List[Any] = []
    seen: List[Any] = []
    tasks = [collect(one, got), collect(two, got)]
    read(one, one.frame(TEXT, "a") + one.frame(PONG), then=lambda: seen.extend(got))
    assert seen == ["a"]
    assert got == ["a", "b"]
    for task in tasks:
        end(task, one)


def test_what_is_awaited_is_a_future_to_asyncio(talk: Talk) -> None:
    """Tools that look at tasks find the usual methods."""
    connection = talk()
    coroutine = connection.listener.recv()

    async def look() -> None:
        future = coroutine.send(None)
        assert asyncio.isfuture(future)
        assert future.get_loop() is connection.loop
        assert not future.done()
        assert not future.cancelled()
        assert repr(future) == "<Waiter pending>"
        for method in future.result, future.exception:
            with pytest.raises(asyncio.InvalidStateError):
                method()
        calls: List[Any] = []
        for callback in calls.append, print, calls.append:
            future.add_done_callback(callback)
        assert future.remove_done_callback(print) == 1
        assert future.remove_done_callback(len) == 0
        connection.feed_frame(TEXT, "a")
        assert future.done()
        assert (future.result(), future.exception()) == (None, None)
        assert not future.cancel()
        assert calls == []
        await asyncio.sleep(0)
        assert calls == [future, future]
        future.add_done_callback(calls.append)
        await asyncio.sleep(0)
        assert len(calls) == 3
        assert repr(future) == "<Waiter finished>"
        with pytest.raises(StopIteration) as stopped:
            coroutine.send(None)
        assert stopped.value.value == "a"

    connection.run(look())
