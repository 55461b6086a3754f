"""What layers above the message layer override, and the gathering of what a receiver sends: see `picows.websockets`."""

from __future__ import annotations

from typing import Any, List, Optional

import pytest
from fixtures.messages import recv, send, sent_fragments, start
from fixtures.wire import BINARY, CLOSE, CONT, PONG, TEXT

from picows.errors import WSProtocolError


def layer(engine: Any) -> Any:
    """A listener with words of its own."""

    class Layer(engine.WSMessageListener):  # type: ignore[misc]
        _has_exclusive_streams = True

        def __init__(self) -> None:
            super().__init__()
            self.pongs: List[bytes] = []
            self.other: List[Any] = []

        def _closed_error(self) -> Exception:
            return EOFError("closed")

        def _concurrency_error(self, method: str) -> Exception:
            return BlockingIOError(method)

        def _ends_iteration(self, exc: BaseException) -> bool:
            return isinstance(exc, EOFError)

        def _on_violation(self, exc: WSProtocolError) -> WSProtocolError:
            return WSProtocolError(1008, "other words")

        def _on_pong(self, payload: bytes) -> None:
            self.pongs.append(payload)

        async def _on_undecodable(self, exc: UnicodeDecodeError) -> Exception:
            return LookupError(exc.start)

        async def _send_other(self, message: Any, text: Optional[bool]) -> None:
            self.other.append((message, text))

        async def _refuse_send(self) -> None:
            raise EOFError("refused")

    return Layer


@pytest.fixture
def connection(connect: Any, engine: Any) -> Any:
    return connect(listener=layer(engine)())


def test_pongs(connection: Any) -> None:
    connection.feed(connection.frame(PONG, b"a") + connection.frame(PONG))
    assert connection.listener.pongs == [b"a", b""]


def test_words_about_violations_of_frames(connection: Any) -> None:
    connection.feed(connection.frame(CONT, b"without a message"))
    assert [sent.plain for sent in connection.sent()] == [(CLOSE, b"\x03\xf0other words")]


def test_words_about_violations_of_messages(connect: Any, engine: Any) -> None:
    class Limited(layer(engine)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            engine.WSMessageListener.__init__(self, max_fragments=1)

    connection = connect(listener=Limited())
    connection.feed(connection.frame(TEXT, b"a", fin=False) + connection.frame(CONT, b"b"))
    assert [sent.plain for sent in connection.sent()] == [(CLOSE, b"\x03\xf0other words")]


def test_text_that_was_asked_for_and_is_none(connection: Any) -> None:
    connection.feed(connection.frame(BINARY, b"a\xff") + connection.frame(BINARY, b"b\xff"))
    with pytest.raises(LookupError, match="1"):
        recv(connection, True)
    with pytest.raises(LookupError, match="1"):
        connection.run(connection.listener.recv_streaming(True).__anext__())


def test_a_second_receiver(connection: Any) -> None:
    waiting = start(connection, connection.listener.recv())
    with pytest.raises(BlockingIOError, match="recv"):
        recv(connection)
    with pytest.raises(BlockingIOError, match="recv_streaming"):
        connection.run(connection.listener.recv_streaming().__anext__())
    connection.feed(connection.frame(TEXT, b"x"))
    connection.loop.settle()
    assert waiting.result() == "x"


def test_streams_are_exclusive_until_their_last_fragment(connection: Any) -> None:
    connection.feed(
        connection.frame(TEXT, b"a", fin=False) + connection.frame(CONT, b"b") + connection.frame(TEXT, b"c")
    )
    stream = connection.listener.recv_streaming()
    assert connection.run(stream.__anext__()) == "a"
    with pytest.raises(BlockingIOError, match="recv"):
        recv(connection)
    assert connection.run(stream.__anext__()) == "b"
    assert recv(connection) == "c"


def test_other_things_to_send(connection: Any) -> None:
    for message in (None, ["a"], {}, object):
        send(connection, message, True)
    assert connection.listener.other == [(None, True), (["a"], True), ({}, True), (object, True)]
    assert not connection.sent()


def test_the_end(connection: Any) -> None:
    connection.feed(connection.frame(TEXT, b"last"))
    iterator = connection.listener.__aiter__()
    assert connection.run(iterator.__anext__()) == "last"
    connection.lose()
    with pytest.raises(EOFError, match="closed"):
        recv(connection)
    with pytest.raises(EOFError, match="refused"):
        send(connection, "x")
    with pytest.raises(StopAsyncIteration):
        connection.run(iterator.__anext__())


def test_fragments_put_by_hand(connection: Any) -> None:
    connection.listener._put(b"a", True, True, False)
    connection.listener._put(b"b", True, False, True)
    connection.listener._put(b"c", False, True, True)
    assert [recv(connection), recv(connection)] == ["ab", b"c"]


# --- gathering ---


def test_answers_to_a_queue_of_messages_leave_together(connect: Any, engine: Any) -> None:
    connection = connect(listener=engine.WSMessageListener())
    connection.feed(b"".join(connection.frame(TEXT, f"{number}".encode()) for number in range(5)))

    async def answer() -> None:
        async for message in connection.listener:
            await connection.listener.send(message)

    task = start(connection, answer())
    assert sent_fragments(connection) == [(TEXT, f"{number}".encode(), True) for number in range(5)]
    task.cancel()
    connection.loop.settle()


def test_a_receiver_that_waits_for_something_else_holds_nothing_back(connect: Any, engine: Any) -> None:
    connection = connect(listener=engine.WSMessageListener())
    connection.feed(connection.frame(TEXT, b"a") + connection.frame(TEXT, b"b"))
    never = connection.loop.create_future()

    async def answer() -> None:
        await connection.listener.recv()
        for text in ("x", "y", "z"):
            await connection.listener.send(text)
        await never

    task = start(connection, answer())
    assert sent_fragments(connection) == [(TEXT, text.encode(), True) for text in "xyz"]
    task.cancel()
    connection.loop.settle()


def test_nothing_is_gathered_where_that_is_off(connect: Any, engine: Any) -> None:
    connection = connect(listener=engine.WSMessageListener(), write_coalescing=False)
    connection.feed(connection.frame(TEXT, b"a") + connection.frame(TEXT, b"b"))

    async def answer() -> None:
        await connection.listener.recv()
        for text in ("x", "y"):
            await connection.listener.send(text)
            assert sent_fragments(connection) == [(TEXT, text.encode(), True)]

    connection.run(answer())
