"""Messages out: what is one, what happens after the end, backpressure, fragments."""

from __future__ import annotations

import array
import asyncio
import ctypes
import random
import threading
from typing import Any, AsyncIterator, Iterator, List

import pytest
from fixtures.messages import SIDES, Talk, send, sent_fragments, start
from fixtures.wire import BINARY, CLOSE, CONT, PONG, TEXT, close_payload

from picows.deflate_options import DeflateOptions, DeflateParameters
from picows.errors import WSConnectionClosed, WSProtocolError

# --- send ---


@SIDES
@pytest.mark.parametrize(
    ("message", "text", "opcode", "payload"),
    [
        ("Caf\xe9", None, TEXT, b"Caf\xc3\xa9"),
        ("Caf\xe9", True, TEXT, b"Caf\xc3\xa9"),
        ("Caf\xe9", False, BINARY, b"Caf\xc3\xa9"),
        ("", None, TEXT, b""),
        (b"\xff\x00", None, BINARY, b"\xff\x00"),
        (b"abc", True, TEXT, b"abc"),
        (b"", False, BINARY, b""),
        (bytearray(b"abc"), None, BINARY, b"abc"),
        (memoryview(b"abcdef")[1:3], None, BINARY, b"bc"),
        (array.array("H", [0x4141, 0x4242]), None, BINARY, b"AABB"),
        (b"x" * 70_000, None, BINARY, b"x" * 70_000),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, memoryview) else repr(value)[:20],
)
def test_kinds_of_messages(talk: Talk, client: bool, message: Any, text: Any, opcode: int, payload: bytes) -> None:
    connection = talk(client=client)
    send(connection, message, text)
    assert sent_fragments(connection) == [(opcode, payload, True)]


@pytest.mark.parametrize("message", [None, 1, 1.5, ["a"], object()], ids=lambda value: type(value).__name__)
def test_what_is_no_message(talk: Talk, message: Any) -> None:
    """E6: nothing is written and the connection goes on."""
    connection = talk()
    with pytest.raises(TypeError):
        send(connection, message)
    with pytest.raises(TypeError):
        connection.run(connection.listener.send_fragments([message]))
    assert connection.written() == b""
    send(connection, "x")
    assert sent_fragments(connection) == [(TEXT, b"x", True)]


def test_an_array_of_numpy_that_is_not_contiguous(talk: Talk) -> None:
    """It refuses a plain view with an error of its own."""
    numpy = pytest.importorskip("numpy", reason="needs numpy's own buffers")
    connection = talk()
    array_of_bytes = numpy.zeros((4, 4), "u1")
    with pytest.raises(BufferError, match="C-contiguous"):
        send(connection, array_of_bytes[:, :2])
    with pytest.raises(BufferError, match="C-contiguous"):
        connection.transport.send(BINARY, array_of_bytes.T[:2])
    send(connection, array_of_bytes)
    assert sent_fragments(connection) == [(BINARY, bytes(16), True)]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)], ids=str)
def test_an_empty_buffer_of_some_dimensions(talk: Talk, shape: Any) -> None:
    connection = talk()
    kind: Any = ctypes.c_char
    for size in reversed(shape):
        kind = kind * size
    connection.transport.send(BINARY, kind())
    send(connection, kind())
    assert sent_fragments(connection) == [(BINARY, b"", True)] * 2


@pytest.mark.parametrize("size", [300, 30_000])
@pytest.mark.parametrize("kind", ["own", "another"])
def test_what_is_refused_is_not_compressed(engine: Any, talk: Talk, kind: str, size: int) -> None:
    """It would be in the context of what is sent next, which the peer could not decompress."""

    class Another(engine.DeflateCodec):  # type: ignore[misc]
        def should_compress(self, size: int) -> bool:
            return True

    parameters, options = DeflateParameters(False, False, 15, 15), DeflateOptions(threshold=0)
    codec = (engine.DeflateCodec if kind == "own" else Another)(parameters, False, options)
    connection = talk(codec=codec)
    message = random.Random(1).randbytes(size)
    errors: List[BaseException] = []

    def misuse() -> None:
        try:
            connection.listener.send(message).send(None)
        except RuntimeError as exc:
            errors.append(exc)

    thread = threading.Thread(target=misuse)
    thread.start()
    thread.join()
    assert "wrong thread" in str(errors[0])
    for bad in (object(), memoryview(b"abcdef")[::2]):
        with pytest.raises((TypeError, BufferError)):
            send(connection, bad)
    assert connection.written() == b""
    send(connection, message)
    (frame,) = connection.sent()
    assert frame.rsv == 4
    assert engine.DeflateCodec(parameters, True, options).decompress(frame.payload, True) == message


def refuse(data: Any) -> None:
    raise MemoryError


@pytest.mark.parametrize("size", [300, 100_000])
def test_no_memory_to_send_what_was_compressed(engine: Any, talk: Talk, size: int) -> None:
    """The context has it, and the peer could not decompress what is sent next: the connection ends."""
    codec = engine.DeflateCodec(DeflateParameters(False, False, 15, 15), False, DeflateOptions(threshold=0))
    connection = talk(codec=codec)
    connection.wire.write = refuse
    with pytest.raises(MemoryError):
        send(connection, random.Random(1).randbytes(size))
    assert connection.wire.calls == ["abort"]


def test_no_memory_to_compress(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressor that has taken a part of a message is not used again."""

    class Compressor:
        def __init__(self, real: Any) -> None:
            self.compress = real.compress
            self.real = real

        def flush(self, mode: int) -> bytes:
            if is_poor:
                raise MemoryError
            return bytes(self.real.flush(mode))

    parameters, options = DeflateParameters(False, False, 15, 15), DeflateOptions(threshold=0)
    codec, peer = engine.DeflateCodec(parameters, False, options), engine.DeflateCodec(parameters, True, options)
    real = codec._zlib.compressobj
    monkeypatch.setattr(codec._zlib, "compressobj", lambda *args, **kwargs: Compressor(real(*args, **kwargs)))
    is_poor = False
    assert peer.decompress(codec.compress(b"one " * 100), True) == b"one " * 100
    is_poor = True
    with pytest.raises(MemoryError):
        codec.compress(b"two " * 100)
    is_poor = False
    for message in (b"one two three " * 10, b"three " * 10):
        assert peer.decompress(codec.compress(message), True) == message


def test_a_buffer_that_is_not_contiguous(talk: Talk) -> None:
    connection = talk()
    with pytest.raises(BufferError):
        send(connection, memoryview(b"abcdef")[::2])
    assert connection.written() == b""


def test_a_message_may_be_changed_after_send(talk: Talk) -> None:
    """G5, D6: what is on the wire is what it was; and the message itself is never touched."""
    for client in (False, True):
        connection = talk(client=client)
        connection.wire.stalled = True
        message = bytearray(b"x" * 40_000)
        send(connection, message)
        assert message == b"x" * 40_000
        message[:] = b"y" * 40_000
        assert sent_fragments(connection) == [(BINARY, b"x" * 40_000, True)]


# --- after the end ---


def end_by_close(connection: Any) -> None:
    start(connection, connection.listener.close())


def end_by_peer(connection: Any) -> None:
    connection.feed_frame(CLOSE, close_payload(1001, b"bye"))


def end_by_loss(connection: Any) -> None:
    connection.lose(ConnectionResetError("reset"))


def end_by_failure(connection: Any) -> None:
    connection.feed_frame(CONT, b"nothing to continue")


def end_by_disconnect(connection: Any) -> None:
    connection.transport.disconnect()


@SIDES
@pytest.mark.parametrize(
    ("end", "code"),
    [(end_by_close, 1006), (end_by_peer, 1001), (end_by_loss, 1006), (end_by_failure, 1006), (end_by_disconnect, 1006)],
)
def test_nothing_is_sent_after_the_end(talk: Talk, client: bool, end: Any, code: int) -> None:
    connection = talk(client=client)
    end(connection)
    connection.written()
    for coroutine in (
        connection.listener.send("x"),
        connection.listener.send_fragments(["x"]),
        connection.listener.send_fragments([]),
    ):
        with pytest.raises(WSConnectionClosed) as caught:
            connection.run(coroutine)
        assert caught.value.code == code
    assert connection.written() == b""
    if end is end_by_failure:
        assert isinstance(caught.value.__cause__, WSProtocolError)


# --- backpressure ---


def test_send_waits_for_room(talk: Talk) -> None:
    """G1."""
    connection = talk()
    connection.protocol.pause_writing()
    tasks = [start(connection, connection.listener.send(str(number))) for number in range(3)]
    assert not any(task.done() for task in tasks)
    assert [payload for _, payload, _ in sent_fragments(connection)] == [b"0", b"1", b"2"]  # they are written, in order
    connection.protocol.resume_writing()
    connection.loop.settle()
    assert all(task.done() for task in tasks)
    send(connection, "x")


def test_no_room_again_and_again(talk: Talk) -> None:
    connection = talk()
    for _ in range(3):
        connection.protocol.pause_writing()
        connection.protocol.pause_writing()
        task = start(connection, connection.listener.send("x"))
        assert not task.done()
        connection.protocol.resume_writing()
        connection.protocol.resume_writing()
        connection.run(task)


def test_a_cancelled_send_leaves_a_whole_message(talk: Talk) -> None:
    """G3."""
    connection = talk()
    connection.protocol.pause_writing()
    tasks = [start(connection, connection.listener.send("x" * 100)) for _ in range(2)]
    tasks[0].cancel()
    connection.loop.settle()
    assert tasks[0].cancelled()
    assert not tasks[1].done()
    assert sent_fragments(connection) == [(TEXT, b"x" * 100, True)] * 2
    connection.protocol.resume_writing()
    connection.run(tasks[1])


def test_the_connection_is_lost_while_send_waits(talk: Talk) -> None:
    """G8."""
    connection = talk()
    connection.protocol.pause_writing()
    tasks = [start(connection, connection.listener.send("x")) for _ in range(3)]
    connection.lose(ConnectionResetError("reset"))
    connection.loop.settle()
    assert [type(task.exception()) for task in tasks] == [WSConnectionClosed] * 3


def test_there_is_no_room_and_no_connection(talk: Talk) -> None:
    connection = talk()
    connection.lose()
    connection.listener.pause_writing()
    with pytest.raises(WSConnectionClosed):
        send(connection, "x")


# --- fragments ---


async def asynchronously(items: Any) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


@pytest.mark.parametrize("wrap", [list, iter, asynchronously], ids=["iterable", "iterator", "asynchronous"])
@pytest.mark.parametrize(
    ("fragments", "text", "opcode"),
    [
        (["a", "", "b"], None, TEXT),
        ([b"a", bytearray(), memoryview(b"b")], None, BINARY),
        ([b"a", b"", b"b"], True, TEXT),
        (["a", "", "b"], False, BINARY),
    ],
    ids=["text", "binary", "bytes as text", "text as binary"],
)
def test_fragments(talk: Talk, wrap: Any, fragments: Any, text: Any, opcode: int) -> None:
    connection = talk()
    connection.run(connection.listener.send_fragments(wrap(fragments), text))
    sent = sent_fragments(connection)
    assert sent[0] == (opcode, b"a", False)
    assert sent[1:] == [(CONT, b"", False), (CONT, b"b", False), (CONT, b"", True)]


@pytest.mark.parametrize(("text", "opcode"), [(None, BINARY), (False, BINARY), (True, TEXT)])
def test_no_fragments_are_an_empty_message(talk: Talk, text: Any, opcode: int) -> None:
    connection = talk()
    connection.run(connection.listener.send_fragments([], text))
    assert sent_fragments(connection) == [(opcode, b"", True)]


@pytest.mark.parametrize(
    "fragments", ["abc", b"abc", bytearray(b"abc"), memoryview(b"abc")], ids=lambda value: type(value).__name__
)
def test_a_message_is_no_iterable_of_fragments(talk: Talk, fragments: Any) -> None:
    connection = talk()
    with pytest.raises(TypeError, match="fragments must be an iterable of messages"):
        connection.run(connection.listener.send_fragments(fragments))
    assert connection.written() == b""


def test_messages_wait_for_the_end_of_a_fragmented_one(talk: Talk) -> None:
    """G4; control frames do not wait."""
    connection = talk()
    gate = connection.loop.create_future()

    async def fragments() -> AsyncIterator[str]:
        yield "a"
        await gate
        yield "b"

    tasks = [
        start(connection, connection.listener.send_fragments(fragments())),
        start(connection, connection.listener.send("one")),
        start(connection, connection.listener.send_fragments(["two"])),
        start(connection, connection.listener.send("three")),
    ]
    connection.transport.send_pong(b"!")
    assert sent_fragments(connection) == [(TEXT, b"a", False), (PONG, b"!", True)]
    gate.set_result(None)
    connection.run(asyncio.gather(*tasks))
    sent = sent_fragments(connection)
    assert sent[:2] == [(CONT, b"b", False), (CONT, b"", True)]
    assert sent[2:] == [(TEXT, b"one", True), (TEXT, b"two", False), (CONT, b"", True), (TEXT, b"three", True)]


def test_many_senders_never_mix_their_messages(talk: Talk) -> None:
    """G4."""
    choose = random.Random(7)
    connection = talk()

    async def sender(name: str) -> None:
        for number in range(20):
            parts = [f"{name}.{number}." for _ in range(choose.randrange(5))]
            if choose.random() < 0.5:
                await connection.listener.send_fragments(asynchronously(parts), True)
            else:
                await connection.listener.send("".join(parts))

    async def all_of_them() -> None:
        await asyncio.gather(*(sender(f"s{number}") for number in range(10)))

    connection.run(all_of_them())
    messages: List[bytes] = []
    is_open = False
    for opcode, payload, fin in sent_fragments(connection):
        assert (opcode == CONT) is is_open
        if opcode == CONT:
            messages[-1] += payload
        else:
            messages.append(payload)
        is_open = not fin
    assert len(messages) == 200
    for message in messages:
        name = message.split(b".")[:2]
        assert message == b"".join([b".".join(name) + b"."] * (message.count(b".") // 2))


def raising(after: int) -> Iterator[str]:
    yield from ["x"] * after
    raise ZeroDivisionError


def mixed(after: int) -> Iterator[Any]:
    yield from ["x"] * after
    yield b"y" if after else None


@pytest.mark.parametrize(
    ("fragments", "error"), [(raising, ZeroDivisionError), (mixed, TypeError)], ids=["raises", "kinds"]
)
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_message_that_cannot_be_completed(talk: Talk, fragments: Any, error: Any, after: int) -> None:
    """G3: the connection is closed with 1011, unless nothing of it was sent."""
    connection = talk()
    task = start(connection, connection.listener.send_fragments(fragments(after)))
    with pytest.raises(error):
        connection.run(task)
    sent = connection.plain()
    if after:
        assert sent[after:] == [(CLOSE, close_payload(1011, b"error in fragmented message"))]
        with pytest.raises(WSConnectionClosed):
            send(connection, "x")
    else:
        assert sent == []
        send(connection, "x")


def test_cancelling_in_the_middle_of_a_fragmented_message(talk: Talk) -> None:
    connection = talk()
    connection.protocol.pause_writing()
    task = start(connection, connection.listener.send_fragments(["a", "b"]))
    waiting = start(connection, connection.listener.send("x"))
    assert sent_fragments(connection) == [(TEXT, b"a", False)]
    task.cancel()
    connection.loop.settle()
    assert task.cancelled()
    assert connection.plain() == [(CLOSE, close_payload(1011, b"error in fragmented message"))]
    with pytest.raises(WSConnectionClosed):
        connection.run(waiting)


@pytest.mark.parametrize("wrap", [list, asynchronously], ids=["iterable", "asynchronous"])
def test_fragments_wait_for_room(talk: Talk, wrap: Any) -> None:
    connection = talk()
    connection.protocol.pause_writing()
    task = start(connection, connection.listener.send_fragments(wrap(["a", "b"])))
    assert sent_fragments(connection) == [(TEXT, b"a", False)]
    connection.protocol.resume_writing()
    connection.run(task)
    assert sent_fragments(connection) == [(CONT, b"b", False), (CONT, b"", True)]


def test_the_connection_is_lost_within_a_fragmented_message(talk: Talk) -> None:
    connection = talk()
    connection.protocol.pause_writing()
    task = start(connection, connection.listener.send_fragments(["a", "b"]))
    connection.lose()
    with pytest.raises(WSConnectionClosed):
        connection.run(task)
