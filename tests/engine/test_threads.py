"""A loop that goes on in another thread than the one its connections were made in: they share nothing with that one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

import pytest
from fixtures.clock import LOOPS
from fixtures.messages import Talk
from fixtures.wire import PING, PONG, TEXT

from picows.options import FRAMES_PER_TURN

READING = pytest.mark.parametrize("reading", list(LOOPS))


@pytest.fixture
def elsewhere() -> Iterator[Callable[..., Any]]:
    """Call a function in another thread, always the same, and wait for it."""
    with ThreadPoolExecutor(1) as executor:
        yield lambda function, *args: executor.submit(function, *args).result()


def echo(transport: Any, frame: Any) -> None:
    transport.send(TEXT, frame.get_payload_as_bytes())


def test_loops_of_two_threads_read_into_buffers_of_their_own(connect: Any, elsewhere: Any) -> None:
    """Both loops have asked for a buffer, and have filled it, before either hands it over."""
    here, moved = connect(), connect()
    connections = ((here, lambda function, *args: function(*args), b"here"), (moved, elsewhere, b"moved"))
    for connection, call, payload in connections:
        frame = connection.frame(TEXT, payload)
        memoryview(call(connection.protocol.get_buffer, -1))[: len(frame)] = frame
    for connection, call, payload in connections:
        call(connection.protocol.buffer_updated, len(connection.frame(TEXT, payload)))
        assert [message.payload for message in connection.messages] == [payload]


@READING
def test_callbacks_may_send_there(connect: Any, elsewhere: Any, reading: str) -> None:
    connection = connect(reading=reading, handlers={"on_ws_frame": echo})
    for call in (elsewhere, lambda function, *args: function(*args)):
        call(connection.feed, connection.frame(TEXT, b"a") + connection.frame(TEXT, b"b"))
        assert connection.plain() == [(TEXT, b"a"), (TEXT, b"b")]


def test_what_the_loop_calls_may_send_before_anything_is_read_there(connect: Any, elsewhere: Any) -> None:
    connection = connect()

    async def say() -> None:
        connection.transport.send(TEXT, b"x")

    elsewhere(connection.run, say())
    assert connection.plain() == [(TEXT, b"x")]
    with pytest.raises(RuntimeError, match="wrong thread"):
        connection.transport.send(TEXT, b"y")


def test_timers_fire_there(connect: Any, elsewhere: Any) -> None:
    connection = connect(close_timeout=5)
    connection.transport.send_close(1000)
    elsewhere(connection.loop.advance, 6)
    assert connection.wire.calls == ["abort"]
    assert connection.events == ["connected", "disconnected"]


def test_other_turns_come_there(connect: Any, elsewhere: Any) -> None:
    connection = connect(handlers={"on_ws_frame": echo})
    connection.feed(connection.frame(TEXT, b"x") * (3 * FRAMES_PER_TURN))
    elsewhere(connection.loop.settle)
    assert len(connection.plain()) == len(connection.messages) == 3 * FRAMES_PER_TURN


@pytest.mark.parametrize("end", ["eof", "lose"])
def test_the_end_comes_there(connect: Any, elsewhere: Any, end: str) -> None:
    connection = connect(handlers={"on_ws_frame": echo})
    connection.feed(connection.frame(TEXT, b"x") * (2 * FRAMES_PER_TURN))
    elsewhere(getattr(connection, end))
    assert len(connection.messages) == 2 * FRAMES_PER_TURN


def test_a_pong_that_waited_leaves_there(connect: Any, elsewhere: Any) -> None:
    connection = connect()
    connection.protocol.pause_writing()
    connection.feed_frame(PING, b"x")
    elsewhere(connection.protocol.resume_writing)
    assert connection.plain() == [(PONG, b"x")]


def test_what_was_gathered_before_leaves_first(talk: Talk, elsewhere: Any) -> None:
    """A receiver's batch is not over when its loop stops."""
    connection = talk()
    listener = connection.listener

    async def answer() -> None:
        await listener.recv()
        for payload in "abc":
            await listener.send(payload)
        connection.loop.stop()

    connection.feed(connection.frame(TEXT, b"1") + connection.frame(TEXT, b"2"))
    task = connection.loop.create_task(answer())
    connection.loop.run_forever()
    assert connection.plain() == [(TEXT, b"a")]
    elsewhere(lambda: connection.protocol.resume_writing())
    assert connection.plain() == [(TEXT, b"b"), (TEXT, b"c")]
    elsewhere(connection.run, listener.send("d"))
    assert connection.plain() == [(TEXT, b"d")]
    assert task.done()
