"""B7 to B9: control frames within a message, fragments out of order, frames cut anywhere."""

from __future__ import annotations

from typing import Any, List

import pytest
from fixtures.feeding import close_code, drop_in, drop_in_server, ways
from fixtures.messages import SIDES, Talk, recv
from fixtures.wire import BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, Received, build, close_payload

from picows.deflate import DeflateCodec, DeflateParameters
from picows.enums import WSMsgType

KIB, MIB = 1024, 1024 * 1024
RSV1 = 4

# --- B7, B8 ---


def with_controls(first: bytes, second: bytes, rsv: int, key: Any) -> bytes:
    """PING, a fragmented text with PING and PONG in it."""
    return (
        build(PING, b"0", key=key)
        + build(TEXT, first, fin=False, rsv=rsv, key=key)
        + build(PING, b"1", key=key)
        + build(PONG, b"unasked", key=key)
        + build(CONT, second, key=key)
    )


def hello(client: bool, is_compressed: bool) -> bytes:
    """What the peer sends, in one message."""
    text = b"Hello, Hello"
    return DeflateCodec(DeflateParameters(), not client).compress(text) if is_compressed else text


@SIDES
@pytest.mark.parametrize("is_compressed", [False, True], ids=["plain", "deflate"])
def test_b7_control_frames_within_a_message(talk: Talk, client: bool, is_compressed: bool) -> None:
    """One message, and the pongs are written before its last byte comes."""
    payload = (
        DeflateCodec(DeflateParameters(), not client).compress(b"Hello, Hello") if is_compressed else b"Hello, Hello"
    )
    data = with_controls(payload[:4], payload[4:], RSV1 if is_compressed else 0, None if client else KEY)
    for pieces in ways(data):
        codec = DeflateCodec(DeflateParameters(), client) if is_compressed else None
        connection = talk(client=client, codec=codec)
        last = pieces.pop()
        connection.feed(*pieces, last[:-1])
        assert connection.plain() == [(PONG, b"0"), (PONG, b"1")]
        connection.feed(last[-1:])
        assert recv(connection) == "Hello, Hello"
        assert connection.written() == b""
        connection.shut()


@SIDES
@pytest.mark.parametrize("is_compressed", [False, True], ids=["plain", "deflate"])
def test_b7_drop_in(client: bool, is_compressed: bool) -> None:
    payload = (
        DeflateCodec(DeflateParameters(), not client).compress(b"Hello, Hello") if is_compressed else b"Hello, Hello"
    )
    deflate = (False, False, 15, 15) if is_compressed else None
    data = with_controls(payload[:4], payload[4:], RSV1 if is_compressed else 0, None if client else KEY)
    for pieces in ways(data):
        outcome = drop_in(pieces, client, deflate)
        assert b"".join(outcome.received) == b"Hello, Hello"
        assert [frame.plain for frame in outcome.sent] == [(PONG, b"0"), (PONG, b"1")]
    if not client:
        end = build(CLOSE, close_payload(1000), key=KEY)
        on_sockets = drop_in_server(data + end, "permessage-deflate" if is_compressed else "")
        assert on_sockets.received == ["Hello, Hello"]
        assert on_sockets.opcodes == [PONG, PONG, CLOSE]


OUT_OF_ORDER = {
    "CONT without start": [(CONT, True)],
    "CONT after a message": [(TEXT, True), (CONT, True)],
    "TEXT within a message": [(TEXT, False), (TEXT, True)],
    "BINARY within a message": [(TEXT, False), (CONT, False), (BINARY, False)],
}


@SIDES
@pytest.mark.parametrize("frames", OUT_OF_ORDER.values(), ids=OUT_OF_ORDER)
def test_b8_fragments_out_of_order(connect: Any, talk: Talk, client: bool, frames: Any) -> None:
    """1002, for messages and for strict frames. The bare frame layer leaves the order to its user."""
    key = None if client else KEY
    good = [build(opcode, b"x", fin=fin, key=key) for opcode, fin in frames[:-1]]
    bad = build(frames[-1][0], b"x", fin=frames[-1][1], key=key)
    for pieces in ways(b"".join([*good, bad])):
        for connection in (talk(client=client), connect(client=client, strict=True)):
            connection.feed(*pieces)
            assert close_code(connection) == 1002
            connection.shut()
        assert drop_in(pieces, client).code == 1002
    bare = connect(client=client)
    bare.feed(*good, bad)
    assert [(message.msg_type, bool(message.fin)) for message in bare.messages] == frames
    if not client:
        assert drop_in_server(b"".join([*good, bad])).code == 1002


# --- B9 ---

SIZES = [*range(301), *range(65_530, 65_541)]


def three(connection: Any, size: int) -> List[bytes]:
    """Two frames of a size with a PONG between them, of keys that differ."""
    keys = [None] * 3 if connection.is_client else [b"\x01\x23\x45\x67", b"\xfe\xdc\xba\x98", b"\x80\x00\x7f\xff"]
    payload = (bytes(range(251)) * (size // 251 + 1))[:size]
    return [
        build(BINARY, payload, fin=False, key=keys[0]),
        build(PONG, b"pong", key=keys[1]),
        build(CONT, payload[::-1], key=keys[2]),
    ]


@SIDES
def test_b9_every_split(connect: Any, client: bool) -> None:
    """Sizes 0 to 300 and around 64 KiB: at each split, or, where these are many, where a header begins or ends."""
    connection = connect(client=client)
    events, frames = connection.events, connection.listener.frames
    for size in SIZES:
        parts = three(connection, size)
        data = b"".join(parts)
        payload = (bytes(range(251)) * (size // 251 + 1))[:size]
        expected = [
            Received(WSMsgType.BINARY, payload, 0),
            Received(WSMsgType.PONG, b"pong"),
            Received(WSMsgType.CONTINUATION, payload[::-1]),
        ]
        splits: Any = range(1, len(data))
        # A server's frames have no mask to lose; and beyond 140 nothing changes from size to size.
        if size > 300 or (size % 8 and (client or size > 140)):
            edges = (0, len(parts[0]), len(data) - len(parts[2]), len(data))
            splits = sorted({at for edge in edges for at in range(edge - 8, edge + 16) if 0 < at < len(data)})
        for at in splits:
            events.clear()
            frames.clear()
            connection.feed(data[:at], data[at:])
            assert events == expected, (size, at)
    assert connection.written() == b""


@SIDES
@pytest.mark.parametrize("size", [0, 1, 5, 125, 126, 300])
def test_b9_messages_and_the_drop_in(talk: Talk, client: bool, size: int) -> None:
    connection = talk(client=client)
    payload = (bytes(range(251)) * (size // 251 + 1))[:size]
    for pieces in ways(b"".join(three(connection, size))):
        connection.feed(*pieces)
        assert recv(connection) == payload + payload[::-1]
        assert drop_in(pieces, client).received == [payload, payload[::-1]]
