"""F2: what is written while a read is being processed. F4: one message to many."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from fixtures.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, Connection, close_payload, take_apart

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
READING = pytest.mark.parametrize("reading", ["buffered", "stream"])
BIG = 40_000  # above what is joined with its header


def writes(connection: Any) -> list[bytes]:
    """What reached the asyncio transport, call by call."""
    return [bytes(chunk) for chunk in connection.wire.chunks]


def count_of_frames(connection: Any) -> list[int]:
    return [len(take_apart(chunk)) for chunk in writes(connection)]


@READING
@SIDES
def test_F2_first_at_once_the_rest_at_the_end_of_the_batch(connect: Any, client: bool, reading: str) -> None:
    during: list[list[int]] = []

    def echo_twice(transport: Any, frame: Any) -> None:
        for _ in range(2):
            transport.send(TEXT, frame.get_payload_as_bytes())
            during.append(count_of_frames(connection))

    connection = connect(client=client, reading=reading, handlers={"on_ws_frame": echo_twice})
    connection.feed(b"".join(connection.frame(TEXT, payload) for payload in (b"a", b"b", b"c")))
    assert during == [[1]] * 6
    assert count_of_frames(connection) == [1, 5]
    assert [payload for _, payload in connection.plain()] == [b"a", b"a", b"b", b"b", b"c", b"c"]
    assert connection.transport.write_buffer_size == 0


@SIDES
def test_F2_each_read_is_a_batch_of_its_own(connect: Any, client: bool) -> None:
    def echo_twice(transport: Any, frame: Any) -> None:
        transport.send(TEXT, b"1")
        transport.send(TEXT, b"2")

    connection = connect(client=client, handlers={"on_ws_frame": echo_twice})
    for _ in range(3):
        connection.feed_frame(TEXT)
        assert count_of_frames(connection) == [1, 1]
        assert connection.plain() == [(TEXT, b"1"), (TEXT, b"2")]


@SIDES
def test_F2_outside_of_a_batch_everything_goes_at_once(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    for _ in range(3):
        connection.transport.send(TEXT, b"x")
    assert count_of_frames(connection) == [1, 1, 1]


@SIDES
def test_F2_at_64_KiB(connect: Any, client: bool) -> None:
    """Counted with headers; what is above leaves together, and gathering begins anew."""
    during: list[int] = []

    def send_much(transport: Any, frame: Any) -> None:
        for _ in range(12):
            transport.send(BINARY, bytes(16_000))
            during.append(len(connection.wire.chunks))

    connection = connect(client=client, handlers={"on_ws_frame": send_much})
    connection.feed_frame(TEXT)
    assert during == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3]
    assert count_of_frames(connection) == [1, 5, 5, 1]


def test_F2_at_exactly_64_KiB(connect: Any) -> None:
    during: list[int] = []

    def send_much(transport: Any, frame: Any) -> None:
        for _ in range(6):
            transport.send(BINARY, bytes(16_380))  # 16 KiB with its header
            during.append(len(connection.wire.chunks))

    connection = connect(handlers={"on_ws_frame": send_much})
    connection.feed_frame(TEXT)
    assert during == [1, 1, 1, 1, 2, 2]


@SIDES
def test_F2_gathered_bytes_are_in_the_write_buffer_size(connect: Any, client: bool) -> None:
    sizes: list[int] = []

    def send(transport: Any, frame: Any) -> None:
        for _ in range(3):
            transport.send(BINARY, bytes(100))
            sizes.append(transport.write_buffer_size)

    connection = connect(client=client, handlers={"on_ws_frame": send})
    connection.feed_frame(TEXT)
    size = 102 + (4 if client else 0)
    assert sizes == [0, size, 2 * size]
    assert connection.transport.write_buffer_size == 0


@SIDES
def test_F2_large_frames_keep_the_order(connect: Any, client: bool) -> None:
    def send(transport: Any, frame: Any) -> None:
        for size in (1, 2, BIG, 3, 4, BIG + 1, BIG + 2, 5):
            transport.send(BINARY, bytes(size))

    connection = connect(client=client, handlers={"on_ws_frame": send})
    connection.feed_frame(TEXT)
    assert [len(payload) for _, payload in connection.plain()] == [1, 2, BIG, 3, 4, BIG + 1, BIG + 2, 5]


@SIDES
def test_F2_every_kind_of_write_keeps_the_order(connect: Any, engine: Any, client: bool) -> None:
    def send(transport: Any, frame: Any) -> None:
        transport.send(TEXT, b"1", fin=False)
        transport.send_ping(b"2")
        transport.send_reuse_external_bytearray(CONT, bytearray(14) + b"3", 14)
        engine.ws_broadcast([transport], TEXT, b"4")
        engine.ws_broadcast([transport], BINARY, bytes(BIG))
        transport.send_pong(b"5")
        transport.send_close(1000)

    connection = connect(client=client, handlers={"on_ws_frame": send})
    connection.feed_frame(TEXT)
    expected = [(TEXT, b"1"), (PING, b"2"), (CONT, b"3"), (TEXT, b"4"), (BINARY, bytes(BIG)), (PONG, b"5")]
    assert connection.plain() == [*expected, (CLOSE, close_payload(1000))]


@SIDES
def test_F2_pongs_are_gathered_too(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    connection.feed(b"".join(connection.frame(PING, bytes([number])) for number in range(50)))
    assert count_of_frames(connection) == [1, 49]
    assert connection.plain() == [(PONG, bytes([number])) for number in range(50)]


@SIDES
def test_F2_write_coalescing_off(connect: Any, client: bool) -> None:
    def send(transport: Any, frame: Any) -> None:
        for payload in (b"1", b"2", b"3"):
            transport.send(TEXT, payload)

    connection = connect(client=client, write_coalescing=False, handlers={"on_ws_frame": send})
    connection.feed_frame(TEXT)
    assert count_of_frames(connection) == [1, 1, 1]
    assert connection.plain() == [(TEXT, b"1"), (TEXT, b"2"), (TEXT, b"3")]


@SIDES
def test_F2_flush(connect: Any, client: bool) -> None:
    during: list[list[int]] = []

    def send(transport: Any, frame: Any) -> None:
        for _ in range(2):
            transport.send(TEXT, b"x")
            transport.send(TEXT, b"x")
            transport.flush()
            transport.flush()
            during.append(count_of_frames(connection))

    connection = connect(client=client, handlers={"on_ws_frame": send})
    connection.transport.flush()
    connection.feed_frame(TEXT)
    assert during == [[1, 1], [1, 1, 2]]
    assert count_of_frames(connection) == [1, 1, 2]


@READING
@pytest.mark.parametrize("coalesce", [True, False], ids=["both gather", "target does not"])
def test_F2_writes_to_other_connections(connect: Any, reading: str, coalesce: bool) -> None:
    during: list[tuple[int, int]] = []

    def relay(transport: Any, frame: Any) -> None:
        for connection in (source, target):
            connection.transport.send(TEXT, frame.get_payload_as_bytes())
        during.append((len(source.wire.chunks), len(target.wire.chunks)))

    source = connect(reading=reading, handlers={"on_ws_frame": relay})
    target = connect(client=True, reading=reading, loop=source.loop, write_coalescing=coalesce)
    source.feed(source.frame(TEXT, b"a") * 3)
    assert during == [(1, 1 if coalesce else count) for count in (1, 2, 3)]
    assert count_of_frames(source) == [1, 2]
    assert count_of_frames(target) == ([1, 2] if coalesce else [1, 1, 1])
    assert source.plain() == target.plain() == [(TEXT, b"a")] * 3


def test_F2_a_connection_that_ends_in_the_batch_of_another(connect: Any) -> None:
    def relay(transport: Any, frame: Any) -> None:
        for target in targets:
            target.transport.send(TEXT, b"1")
            target.transport.send(TEXT, b"2")
        targets[0].transport.disconnect()
        targets[1].transport.disconnect(graceful=False)
        targets[2].lose()
        source.transport.send(TEXT, b"done")

    source = connect(handlers={"on_ws_frame": relay})
    targets = [connect(loop=source.loop) for _ in range(3)]
    source.feed_frame(TEXT)
    assert [target.plain() for target in targets] == [
        [(TEXT, b"1"), (TEXT, b"2")],
        [(TEXT, b"1")],
        [(TEXT, b"1")],
    ]
    assert source.plain() == [(TEXT, b"done")]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_F2_the_batch_ends_where_a_callback_raises(connect: Any, error: type[BaseException]) -> None:
    def fail(transport: Any, frame: Any) -> None:
        transport.send(TEXT, b"1")
        transport.send(TEXT, b"2")
        raise error

    connection = connect(disconnect_on_exception=False, handlers={"on_ws_frame": fail})
    if issubclass(error, Exception):
        connection.feed_frame(TEXT)
    else:
        with pytest.raises(error):
            connection.feed_frame(TEXT)
    assert count_of_frames(connection) == [1, 1]
    connection.transport.send(TEXT, b"3")
    assert count_of_frames(connection) == [1, 1, 1]


@SIDES
def test_F2_in_on_ws_connected(connect: Any, client: bool) -> None:
    """Bytes that came with the handshake are a batch."""

    def greet(transport: Any, *frame: Any) -> None:
        transport.send(TEXT, b"1")
        transport.send(TEXT, b"2")

    connection = connect(client=client, opens=False, handlers={"on_ws_connected": greet, "on_ws_frame": greet})
    connection.opening._remainder = connection.frame(TEXT, b"x") * 2
    connection.opening.open()
    assert connection.plain() == [(TEXT, b"1"), (TEXT, b"2")] * 3
    assert len(connection.messages) == 2


def test_F2_the_batch_of_one_thread_is_not_that_of_another(connect: Any, engine: Any) -> None:
    """A loop in another thread does not know when ours has processed its read."""
    counts: list[list[int]] = []

    def work() -> None:
        connection = Connection(engine)
        for _ in range(3):
            connection.transport.send(TEXT, b"x")
        counts.append(count_of_frames(connection))
        connection.shut()

    def wait_for_thread(transport: Any, frame: Any) -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    connect(handlers={"on_ws_frame": wait_for_thread}).feed(connect().frame(TEXT) * 2)
    assert counts == [[1, 1, 1]] * 2


def test_F2_a_read_within_a_read_belongs_to_its_batch(connect: Any) -> None:
    """A callback may open or feed another connection, as a tunnel does."""

    def echo_twice(transport: Any, frame: Any) -> None:
        for _ in range(2):
            transport.send(TEXT, b"x")

    def pass_on(transport: Any, frame: Any) -> None:
        inner.feed_frame(TEXT)
        inner.feed_frame(TEXT)
        seen.extend(count_of_frames(inner))

    seen: list[int] = []
    outer = connect(handlers={"on_ws_frame": pass_on})
    inner = connect(loop=outer.loop, handlers={"on_ws_frame": echo_twice})
    outer.feed_frame(TEXT)
    assert seen == [1]
    assert count_of_frames(inner) == [1, 3]


# --- broadcast ---


@pytest.mark.parametrize("size", [0, 5, 125, 126, 32_768, 32_769, 65_535, 65_536, 100_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_F4_broadcast(connect: Any, engine: Any, size: int, kind: Any) -> None:
    first = connect()
    connections = [first, connect(loop=first.loop), connect(client=True, loop=first.loop, write_coalescing=False)]
    message = kind(bytes(size))
    engine.ws_broadcast((connection.transport for connection in connections), BINARY, message)
    if kind is bytearray:
        message[:] = b"\xff" * size
    assert [connection.plain() for connection in connections] == [[(BINARY, bytes(size))]] * 3


@pytest.mark.parametrize("opcode", [CONT, TEXT, BINARY, PING, PONG])
@pytest.mark.parametrize("message", ["käse", None])
def test_F4_broadcast_types(connect: Any, engine: Any, opcode: int, message: Any) -> None:
    connection = connect()
    engine.ws_broadcast([connection.transport], opcode, message)
    assert connection.plain() == [(opcode, (message or "").encode())]


def test_F4_broadcast_passes_over_those_that_end(connect: Any, engine: Any) -> None:
    first = connect()
    connections = [first] + [connect(client=index > 3, loop=first.loop) for index in range(6)]
    connections[1].transport.send_close()
    connections[2].transport.disconnect()
    connections[3].lose()
    connections[4].transport.send_close()
    for connection in connections:
        connection.written()
    engine.ws_broadcast([connection.transport for connection in connections], TEXT, "x")
    assert [len(connection.sent()) for connection in connections] == [1, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("error", "opcode", "message"),
    [
        (ValueError, CLOSE, b""),
        (ValueError, 16, b""),
        (ValueError, -1, b""),
        (ValueError, PING, bytes(126)),
        (TypeError, TEXT, 5),
        (BufferError, BINARY, memoryview(b"abcd")[::2]),
    ],
)
def test_F4_refused_arguments(connect: Any, engine: Any, error: type[Exception], opcode: int, message: Any) -> None:
    connection = connect()
    with pytest.raises(error):
        engine.ws_broadcast([connection.transport], opcode, message)
    assert connection.written() == b""


def test_F4_broadcast_in_a_batch_is_gathered(connect: Any, engine: Any) -> None:
    def spread(transport: Any, frame: Any) -> None:
        engine.ws_broadcast([connection.transport for connection in connections], TEXT, frame.get_payload_as_bytes())

    source = connect(handlers={"on_ws_frame": spread})
    connections = [source, connect(loop=source.loop), connect(client=True, loop=source.loop)]
    source.feed(b"".join(source.frame(TEXT, payload) for payload in (b"1", b"2", b"3")))
    for connection in connections:
        assert count_of_frames(connection) == [1, 2]
        assert connection.plain() == [(TEXT, b"1"), (TEXT, b"2"), (TEXT, b"3")]
