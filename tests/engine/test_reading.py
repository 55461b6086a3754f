"""Frames in: every form of header, every size, cut anywhere, on both sides and in every way of reading."""

from __future__ import annotations

from typing import Any

import pytest
from fixtures.clock import LOOPS
from fixtures.wire import BINARY, CONT, KEY, PING, PONG, TEXT, Received, header, xor

from picows.enums import WSMsgType
from picows.options import FRAMES_PER_TURN

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
READING = pytest.mark.parametrize("reading", list(LOOPS))
SOME_SIZES = [0, 1, 4, 5, 124, 125, 126, 127, 128, 300]
LARGE_SIZES = [*range(65530, 65541), 4095, 4096, 4097, 4100, 100_000, 200_001]


def payload_of(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def three_frames(connection: Any, size: int) -> tuple[bytes, list[Received]]:
    payload = payload_of(size)
    data = (
        connection.frame(BINARY, payload, fin=False)
        + connection.frame(PONG, b"pong")
        + connection.frame(CONT, payload[::-1], rsv=5)
    )
    expected = [
        Received(WSMsgType.BINARY, payload, 0),
        Received(WSMsgType.PONG, b"pong"),
        Received(WSMsgType.CONTINUATION, payload[::-1], 1, 1, 0, 1),
    ]
    return data, expected


def check(connection: Any, pieces: list[bytes], expected: list[Received]) -> None:
    connection.events.clear()
    connection.listener.frames.clear()
    connection.feed(*pieces)
    assert connection.events == expected


@READING
@SIDES
def test_sizes_whole_and_byte_by_byte(connect: Any, client: bool, reading: str) -> None:
    connection = connect(client=client, reading=reading)
    for size in range(301):
        data, expected = three_frames(connection, size)
        check(connection, [data], expected)
        if reading != "own-buffer" or size in SOME_SIZES:
            check(connection, [data[at : at + 1] for at in range(len(data))], expected)


@READING
@SIDES
@pytest.mark.parametrize("size", SOME_SIZES)
def test_every_split(connect: Any, client: bool, reading: str, size: int) -> None:
    connection = connect(client=client, reading=reading)
    data, expected = three_frames(connection, size)
    for at in range(1, len(data)):
        check(connection, [data[:at], data[at:]], expected)


@READING
@SIDES
@pytest.mark.parametrize("size", LARGE_SIZES)
def test_large_sizes_split_at_the_edges(connect: Any, client: bool, reading: str, size: int) -> None:
    connection = connect(client=client, reading=reading)
    data, expected = three_frames(connection, size)
    check(connection, [data], expected)
    second = len(data) - size - 14
    for start in (0, second - 20):
        for at in range(max(start, 1), start + 40):
            check(connection, [data[:at], data[at:]], expected)
    thirds = [data[: len(data) // 3], data[len(data) // 3 : -3], data[-3:-1], data[-1:]]
    check(connection, thirds, expected)


@SIDES
@pytest.mark.parametrize("reading", ["buffered", "stream"])
@pytest.mark.parametrize("size", [4096, 65536])
def test_large_frame_byte_by_byte(connect: Any, client: bool, reading: str, size: int) -> None:
    connection = connect(client=client, reading=reading)
    data = connection.frame(BINARY, payload_of(size)) + connection.frame(TEXT, b"next")
    expected = [Received(WSMsgType.BINARY, payload_of(size)), Received(WSMsgType.TEXT, b"next")]
    check(connection, [data[at : at + 1] for at in range(len(data))], expected)


@SIDES
@pytest.mark.parametrize(("size", "form"), [(5, 16), (5, 64), (0, 16), (0, 64), (125, 64), (126, 64), (65535, 64)])
def test_A8_long_form_of_a_short_length_is_accepted(connect: Any, client: bool, size: int, form: int) -> None:
    connection = connect(client=client)
    data = connection.frame(BINARY, payload_of(size), form=form) + connection.frame(TEXT, b"next")
    expected = [Received(WSMsgType.BINARY, payload_of(size)), Received(WSMsgType.TEXT, b"next")]
    check(connection, [data], expected)
    for at in range(1, 20):
        check(connection, [data[:at], data[at:]], expected)


@SIDES
@pytest.mark.parametrize("rsv", range(8))
@pytest.mark.parametrize("fin", [False, True])
@pytest.mark.parametrize("opcode", [CONT, TEXT, BINARY])
def test_first_byte(connect: Any, client: bool, opcode: int, fin: bool, rsv: int) -> None:
    connection = connect(client=client)
    connection.feed_frame(opcode, b"x", fin=fin, rsv=rsv)
    frame = connection.listener.frames[0]
    bits = (frame.fin, frame.rsv1, frame.rsv2, frame.rsv3)
    assert bits == (int(fin), rsv >> 2, rsv >> 1 & 1, rsv & 1)
    assert frame.msg_type == opcode
    assert frame.get_payload_as_bytes() == b"x"


@READING
@SIDES
@pytest.mark.parametrize("sizes", [[5], [5, 0, 7], [130, 3]], ids=["one", "three", "16-bit"])
def test_last_in_buffer_and_tail_size(connect: Any, client: bool, reading: str, sizes: list[int]) -> None:
    connection = connect(client=client, reading=reading)
    pieces = [connection.frame(TEXT, bytes(size)) for size in sizes]
    data = b"".join(pieces)
    expected = [len(b"".join(pieces[index + 1 :])) for index in range(len(pieces))]
    partial = connection.frame(TEXT, b"abc")[:-1]
    for rest in (b"", partial[:1], partial):
        connection.listener.frames.clear()
        connection.feed(data + rest)
        assert [frame.tail_size for frame in connection.listener.frames] == [tail + len(rest) for tail in expected]
        flags = [frame.last_in_buffer for frame in connection.listener.frames]
        assert flags == [0] * (len(sizes) - 1) + [1]
        if rest:
            connection.feed(connection.frame(TEXT, b"abc")[len(rest) :])


@SIDES
def test_masking_key_of_zeros(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    key = None if client else bytes(4)
    for size in (0, 5, 200, 2000, 70_000):
        connection.feed_frame(BINARY, payload_of(size), key=key)
        assert connection.events.pop().payload == payload_of(size)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 125, 1000, 1025, 5000, 70_001])
def test_keys_differ_from_frame_to_frame(connect: Any, size: int) -> None:
    connection = connect()
    keys = [b"\x01\x02\x03\x04", b"\xff\xee\xdd\xcc", b"\x00\x00\x00\x80"]
    connection.feed(b"".join(connection.frame(BINARY, payload_of(size), key=key) for key in keys))
    assert [frame.payload for frame in connection.messages] == [payload_of(size)] * 3


@READING
@SIDES
@pytest.mark.parametrize("cut", [0, 1, 2, 5, 6])
def test_bytes_that_came_with_the_handshake(connect: Any, client: bool, reading: str, cut: int) -> None:
    key = None if client else KEY
    data = header(TEXT, 5, key=key) + (b"hello" if client else xor(b"hello", KEY))
    connection = connect(client=client, reading=reading, remainder=data + data[:cut])
    assert connection.events == ["connected", Received(WSMsgType.TEXT, b"hello")]
    connection.feed(data[cut:])
    assert connection.messages == [Received(WSMsgType.TEXT, b"hello")] * 2


@READING
@SIDES
def test_large_frame_that_began_with_the_handshake(connect: Any, client: bool, reading: str) -> None:
    key = None if client else KEY
    payload = payload_of(9000)
    data = header(BINARY, 9000, key=key) + (payload if client else xor(payload, KEY))
    connection = connect(client=client, reading=reading, remainder=data[:500])
    connection.feed(data[500:])
    assert connection.messages == [Received(WSMsgType.BINARY, payload)]


@READING
def test_two_connections_interleave(connect: Any, reading: str) -> None:
    """They share a read buffer; what one leaves incomplete must not depend on what the other reads."""
    first = connect(reading=reading)
    second = connect(reading=reading, loop=first.loop)
    for size in (3, 200, 5000, 70_000):
        data, expected = three_frames(first, size)
        first.events.clear()
        second.events.clear()
        step = len(data) // 5 + 1
        for at in range(0, len(data), step):
            first.feed(data[at : at + step])
            second.feed(data[at : at + step])
        assert first.events == second.events == expected


@READING
def test_nothing_is_read_before_the_handshake_is_complete(connect: Any, reading: str) -> None:
    connection = connect(reading=reading, opens=False)
    connection.feed(b"GET / HTTP/1.1\r\n", b"\r\n")
    assert connection.opening.calls == ["connection_made", b"GET / HTTP/1.1\r\n", b"\r\n"]
    connection.opening.open()
    connection.feed_frame(PING, b"x")
    assert connection.events == ["connected"]
    assert connection.plain() == [(PONG, b"x")]
    assert connection.transport.request is connection.opening.request
    assert connection.transport.response is connection.opening.response


def test_memory_of_an_incomplete_frame_is_its_size(connect: Any) -> None:
    """F1: the loop reads into a buffer of exactly what is left of the frame, so that nothing is copied or grown."""
    connection = connect()
    data = connection.frame(BINARY, payload_of(300_000))
    connection.feed(data[:1000])
    room = memoryview(connection.protocol.get_buffer(-1))
    assert len(room) == len(data) - 1000
    room[:] = data[1000:]
    connection.protocol.buffer_updated(len(room))
    assert connection.messages == [Received(WSMsgType.BINARY, payload_of(300_000))]


def test_F1_idle_connections_share_one_read_buffer(connect: Any) -> None:
    first = connect()
    second = connect(loop=first.loop)
    first.feed_frame(TEXT, b"warm")
    second.feed_frame(TEXT, b"warm")
    memoryview(first.protocol.get_buffer(-1))[:4] = b"same"
    assert bytes(memoryview(second.protocol.get_buffer(-1))[:4]) == b"same"


def test_a_loop_that_keeps_its_buffer_gets_one_for_each_connection(connect: Any) -> None:
    first = connect(reading="own-buffer", read_buffer_init_size=5000)
    second = connect(reading="own-buffer", loop=first.loop, read_buffer_init_size=5000)
    buffer = memoryview(first.protocol.get_buffer(-1))
    assert len(buffer) >= 5000
    buffer[:4] = b"mine"
    memoryview(second.protocol.get_buffer(-1))[:4] = b"else"
    assert bytes(buffer[:4]) == b"mine"


def test_a_loop_that_a_callback_runs(connect: Any) -> None:
    """As nest_asyncio lets it: what another connection reads there is not read over what this one has not yet seen."""

    def run_the_loop(transport: Any, frame: Any) -> None:
        inner.feed_frame(TEXT, b"i" * 1000)
        inner.feed_frame(TEXT, b"j" * 1000)

    outer = connect(handlers={"on_ws_frame": run_the_loop})
    inner = connect(loop=outer.loop)
    payloads = [bytes([number]) * 100 for number in range(3)]
    outer.feed(b"".join(outer.frame(TEXT, payload) for payload in payloads))
    assert [message.payload for message in outer.messages] == payloads
    assert [message.payload for message in inner.messages] == [b"i" * 1000, b"j" * 1000] * 3


def test_another_turn_in_a_loop_that_a_callback_runs(connect: Any) -> None:
    def run_the_loop(transport: Any, frame: Any) -> None:
        inner.loop.settle()
        inner.feed_frame(TEXT, b"i" * 1000)

    inner = connect()
    inner.feed(inner.frame(TEXT) * (FRAMES_PER_TURN + 1))
    outer = connect(handlers={"on_ws_frame": run_the_loop})  # asyncio's loops cannot be run twice: it has another
    payloads = [bytes([number]) * 100 for number in range(3)]
    outer.feed(b"".join(outer.frame(TEXT, payload) for payload in payloads))
    assert [message.payload for message in outer.messages] == payloads
