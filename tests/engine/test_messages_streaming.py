"""Messages in, fragment by fragment; and compressed ones."""

from __future__ import annotations

import random
import zlib
from typing import Any, List

import pytest
from fixtures.messages import SIDES, Talk, closed, recv
from fixtures.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_payload, header

from picows.deflate import DeflateCodec, DeflateOptions, DeflateParameters
from picows.errors import WSConnectionClosed, WSMessageTooBigError, WSProtocolError

RSV1 = 4


async def collect(stream: Any) -> List[Any]:
    return [piece async for piece in stream]


async def take(stream: Any, count: int) -> List[Any]:
    """The first fragments; then `break`."""
    pieces: List[Any] = []
    async for piece in stream:
        pieces.append(piece)
        if len(pieces) == count:
            break
    return pieces


# --- streaming ---


@pytest.mark.parametrize(
    ("opcode", "decode", "expected"),
    [
        (TEXT, None, ["a", "\N{EURO SIGN}", ""]),
        (TEXT, False, [b"a\xe2", b"\x82\xac", b""]),
        (BINARY, None, [b"a\xe2", b"\x82\xac", b""]),
        (BINARY, True, ["a", "\N{EURO SIGN}", ""]),
    ],
    ids=["text", "text as bytes", "binary", "binary as text"],
)
def test_fragments_one_by_one(talk: Talk, opcode: int, decode: Any, expected: List[Any]) -> None:
    connection = talk()
    for piece, fields in ((b"a\xe2", {"fin": False}), (b"\x82\xac", {"fin": False}), (b"", {})):
        connection.feed_frame(opcode if piece[:1] == b"a" else CONT, piece, **fields)
    connection.feed_frame(TEXT, "next")
    assert connection.run(collect(connection.listener.recv_streaming(decode))) == expected
    assert recv(connection) == "next"


def test_fragments_as_they_arrive(talk: Talk) -> None:
    connection = talk(max_queue=1)
    stream = connection.listener.recv_streaming()
    for number in range(10):
        task = connection.loop.create_task(stream.__anext__())
        connection.loop.settle()
        assert not task.done()
        connection.feed_frame(CONT if number else TEXT, str(number), fin=number == 9)
        assert connection.run(task) == str(number)
    with pytest.raises(StopAsyncIteration):
        connection.run(stream.__anext__())
    assert connection.wire.calls == []


def test_streaming_resumes_reading(talk: Talk) -> None:
    connection = talk(max_queue=4)
    connection.feed(connection.frame(TEXT, "a", fin=False) + connection.frame(CONT, "b", fin=False) * 5)
    assert connection.wire.calls == ["pause_reading"]
    stream = connection.listener.recv_streaming()
    assert connection.run(take(stream, 5)) == ["a", "b", "b", "b", "b"]
    assert connection.wire.calls == ["pause_reading", "resume_reading"]


@pytest.mark.parametrize("arrived", [0, 1, 2], ids=["nothing more arrived", "some arrived", "all arrived"])
@pytest.mark.parametrize("next_one", ["recv", "recv_streaming"])
def test_the_rest_of_a_message_that_was_left_is_dropped(talk: Talk, arrived: int, next_one: str) -> None:
    """Whenever it arrives; and the next message can be asked for at once."""
    connection = talk(max_queue=(3, 1))
    rest = [connection.frame(CONT, "b", fin=False) * 2, connection.frame(CONT, "c") + connection.frame(TEXT, "next")]
    connection.feed(connection.frame(TEXT, "a", fin=False), *rest[:arrived])

    async def leave_and_go_on() -> Any:
        assert await take(connection.listener.recv_streaming(), 1) == ["a"]
        if next_one == "recv":
            return await connection.listener.recv()
        return "".join(await collect(connection.listener.recv_streaming()))

    task = connection.loop.create_task(leave_and_go_on())
    connection.loop.settle()
    for piece in rest[arrived:]:
        assert not task.done()
        connection.feed(piece)
        connection.loop.settle()
    assert connection.run(task) == "next"
    connection.feed_frame(TEXT, "x")
    assert recv(connection) == "x"
    assert connection.wire.calls.count("pause_reading") == connection.wire.calls.count("resume_reading")


def test_a_stream_that_goes_on_after_another_one_began(talk: Talk) -> None:
    connection = talk()
    connection.feed(
        connection.frame(TEXT, "a", fin=False) + connection.frame(CONT, "b") + connection.frame(TEXT, "next")
    )

    async def meanwhile() -> None:
        async for piece in connection.listener.recv_streaming():
            assert piece == "a"
            assert await connection.listener.recv() == "next"

    with pytest.raises(RuntimeError, match="the rest of this message was dropped"):
        connection.run(meanwhile())


def test_another_recv_between_two_messages_of_a_stream_changes_nothing(talk: Talk) -> None:
    connection = talk()
    connection.feed(connection.frame(TEXT, "a") + connection.frame(TEXT, "next"))

    async def meanwhile() -> List[Any]:
        pieces = []
        async for piece in connection.listener.recv_streaming():
            pieces += [piece, await connection.listener.recv()]
        return pieces

    assert connection.run(meanwhile()) == ["a", "next"]


def test_cancelling_before_the_first_fragment_loses_nothing(talk: Talk) -> None:
    connection = talk()
    for _ in range(3):
        task = connection.loop.create_task(connection.listener.recv_streaming().__anext__())
        connection.loop.settle()
        task.cancel()
        connection.loop.settle()
        assert task.cancelled()
    connection.feed_frame(TEXT, "a")
    assert recv(connection) == "a"


def test_cancelling_in_the_middle_drops_the_rest(talk: Talk) -> None:
    connection = talk()
    stream = connection.listener.recv_streaming()
    connection.feed_frame(TEXT, "a", fin=False)
    assert connection.run(stream.__anext__()) == "a"
    task = connection.loop.create_task(stream.__anext__())
    connection.loop.settle()
    task.cancel()
    connection.loop.settle()
    connection.feed(connection.frame(CONT, "b") + connection.frame(TEXT, "next"))
    assert recv(connection) == "next"


def test_after_a_recv_that_was_cancelled(talk: Talk) -> None:
    """It had joined what was there."""
    connection = talk()
    connection.feed(connection.frame(TEXT, "a", fin=False) + connection.frame(CONT, "b", fin=False))
    task = connection.loop.create_task(connection.listener.recv())
    connection.loop.settle()
    task.cancel()
    connection.loop.settle()
    connection.feed_frame(CONT, "c")
    assert connection.run(collect(connection.listener.recv_streaming())) == ["ab", "c"]


def test_the_connection_ends_within_a_message(talk: Talk) -> None:
    connection = talk()
    connection.feed_frame(TEXT, "a", fin=False)
    connection.eof()
    stream = connection.listener.recv_streaming()
    assert connection.run(stream.__anext__()) == "a"
    with pytest.raises(WSConnectionClosed):
        connection.run(stream.__anext__())


# --- compression ---


@SIDES
@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([b"\xff\xff\xff"], 1002),
        ([b"\x00\x01\x00\xfe\xff\xff"], 1007),
        ([zlib.compress(bytes(100_000))[2:-4]], 1009),
        ([b"\x00", b"", b""], 1009),
    ],
    ids=["damaged", "not UTF-8", "too large", "too many fragments"],
)
def test_what_the_peer_does_wrong_is_one_line_in_the_log(
    talk: Talk, caplog: pytest.LogCaptureFixture, client: bool, pieces: List[bytes], code: int
) -> None:
    """K4, N4: no traceback, which would also keep the connection alive."""
    connection = talk(client=client, codec=codecs(client)[0], max_message_size=10_000, max_fragments=2)
    for at, piece in enumerate(pieces):
        connection.feed_frame(CONT if at else TEXT, piece, fin=False, rsv=0 if at else RSV1)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"protocol error, closing with {code}: ")
    assert record.exc_info is None
    with pytest.raises(WSConnectionClosed) as caught:
        recv(connection)
    cause = caught.value.__cause__
    assert isinstance(cause, WSProtocolError)
    assert (cause.code, cause.__traceback__) == (code, None)
    assert cause.__context__ is None
    assert connection.ending() is (cause if client else None)


def codecs(client: bool = False, **parameters: Any) -> List[DeflateCodec]:
    """Ours and the peer's."""
    agreed = DeflateParameters(**parameters)
    return [DeflateCodec(agreed, side, DeflateOptions(threshold=0)) for side in (client, not client)]


@SIDES
def test_compressed_messages(talk: Talk, client: bool) -> None:
    own, peer = codecs(client)
    connection = talk(client=client, codec=own)
    for text in ("Hello", "Hello", "", "Hello \N{GRINNING FACE}" * 1000):
        connection.feed_frame(TEXT, peer.compress(text.encode()), rsv=RSV1)
        assert recv(connection) == text
        connection.feed_frame(BINARY, peer.compress(text.encode()), rsv=RSV1)
        assert recv(connection) == text.encode()
    connection.feed_frame(TEXT, "not compressed")
    assert recv(connection) == "not compressed"


def test_compressed_fragments_cut_anywhere(talk: Talk) -> None:
    """B7: with pings in between; the codec's state and RSV1 survive them, also within a character."""
    text = "\N{GRINNING FACE}\N{EURO SIGN}\N{LATIN SMALL LETTER E WITH ACUTE}" * 3
    data = codecs()[1].compress(text.encode())
    for cut in range(len(data) + 1):
        connection = talk(codec=codecs()[0])
        connection.feed(
            connection.frame(TEXT, data[:cut], fin=False, rsv=RSV1)
            + connection.frame(PING, b"x")
            + connection.frame(CONT, data[cut:])
        )
        assert connection.plain() == [(PONG, b"x")]
        assert recv(connection) == text
        connection.shut()


def test_a_character_split_over_inflated_fragments(talk: Talk) -> None:
    """Stored blocks, so that each fragment inflates to the bytes that it carries."""
    smile = "\N{GRINNING FACE}".encode()
    blocks = [b"\x00\x02\x00\xfd\xff" + smile[:2], b"\x00\x02\x00\xfd\xff" + smile[2:] + b"\x00"]
    for streaming in (False, True):
        connection = talk(codec=codecs()[0])
        connection.feed_frame(TEXT, blocks[0], fin=False, rsv=RSV1)
        connection.feed_frame(CONT, blocks[1])
        if streaming:
            assert connection.run(collect(connection.listener.recv_streaming())) == ["", "\N{GRINNING FACE}"]
        else:
            assert recv(connection) == "\N{GRINNING FACE}"


@pytest.mark.parametrize(
    "pieces",
    [
        [b"\x00\x01\x00\xfe\xff\xff"],
        [b"\x00\x02\x00\xfd\xff\xed\xa0"],
        [b"\x00\x02\x00\xfd\xff\xf0\x9f", b"\x00\x01\x00\xfe\xff\xff"],
    ],
    ids=["never", "surrogate", "second fragment"],
)
def test_compressed_text_fails_at_its_first_bad_fragment(talk: Talk, pieces: List[bytes]) -> None:
    connection = talk(codec=codecs()[0])
    for at, piece in enumerate(pieces):
        assert connection.plain() == []
        connection.feed_frame(CONT if at else TEXT, piece, fin=False, rsv=0 if at else RSV1)
    ((opcode, payload),) = connection.plain()
    assert (opcode, payload[:2]) == (CLOSE, b"\x03\xef")


def test_compressed_text_that_ends_within_a_character(talk: Talk) -> None:
    own, peer = codecs()
    connection = talk(codec=own)
    connection.feed_frame(TEXT, peer.compress(b"abc\xe2\x82"), rsv=RSV1)
    assert connection.plain()[0][1][:2] == b"\x03\xef"


BOMB = pytest.mark.parametrize("count", [1, 64], ids=["one frame", "64 fragments"])


def feed_bomb(connection: Any, data: bytes, count: int) -> None:
    size = -(-len(data) // count)
    for at in range(0, len(data), size):
        is_last = at + size >= len(data)
        connection.feed_frame(CONT if at else BINARY, data[at : at + size], fin=is_last, rsv=0 if at else RSV1)


@BOMB
def test_a_bomb(talk: Talk, count: int) -> None:
    """C1: 64 MiB in 65 KB."""
    own, peer = codecs()
    connection = talk(codec=own, max_message_size=1024 * 1024)
    feed_bomb(connection, peer.compress(bytes(64 * 1024 * 1024)), count)
    assert connection.plain()[0][1][:2] == b"\x03\xf1"
    error = closed(connection).__cause__
    assert isinstance(error, WSMessageTooBigError)
    assert error.size > error.limit == 1024 * 1024


@BOMB
def test_a_bomb_takes_no_memory(talk: Talk, count: int) -> None:
    """C1: it is inflated no further than allowed."""
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy does not count memory")
    own, peer = codecs()
    connection = talk(codec=own, max_message_size=1024 * 1024)
    data = peer.compress(bytes(64 * 1024 * 1024))
    tracemalloc.start()
    try:
        feed_bomb(connection, data, count)
        assert tracemalloc.get_traced_memory()[1] <= 3 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_inflated_to_the_limit(talk: Talk, pieces: int) -> None:
    """C2."""
    for excess in (0, 1):
        own, peer = codecs()
        connection = talk(codec=own, max_message_size=100_000)
        data = peer.compress(b"x" * (100_000 + excess))
        size = -(-len(data) // pieces)
        parts = [data[at : at + size] for at in range(0, len(data), size)]
        if not excess:
            parts.append(b"\x00\x00\xff\xff" + b"\x00\x00\x00\xff\xff" + b"\x00")  # two blocks without content
        for at, part in enumerate(parts):
            connection.feed_frame(CONT if at else BINARY, part, fin=part is parts[-1], rsv=0 if at else RSV1)
        if excess:
            assert connection.plain()[0][1][:2] == b"\x03\xf1"
        else:
            assert recv(connection) == b"x" * 100_000


def test_without_a_limit(talk: Talk) -> None:
    own, peer = codecs()
    connection = talk(codec=own, max_message_size=None)
    connection.feed_frame(BINARY, peer.compress(bytes(3_000_000)), rsv=RSV1)
    assert recv(connection) == bytes(3_000_000)


@pytest.mark.parametrize("has_codec", [False, True], ids=["not negotiated", "negotiated"])
@pytest.mark.parametrize(
    "frame", ["first", "continuation", "ping", "pong", "close", "rsv2", "rsv3"], ids=lambda name: name
)
@SIDES
def test_reserved_bits(talk: Talk, client: bool, frame: str, has_codec: bool) -> None:
    """C5."""
    own, peer = codecs(client)
    connection = talk(client=client, codec=own if has_codec else None)
    data = peer.compress(b"Hello")
    opcode, rsv, payload = {
        "first": (TEXT, RSV1, data),
        "continuation": (CONT, RSV1, b"x"),
        "ping": (PING, RSV1, b""),
        "pong": (PONG, RSV1, b""),
        "close": (CLOSE, RSV1, close_payload(1000)),
        "rsv2": (TEXT, 2, b"x"),
        "rsv3": (TEXT, 1, b"x"),
    }[frame]
    if frame == "continuation":
        connection.feed_frame(TEXT, b"x", fin=False)
    connection.feed_frame(opcode, payload, rsv=rsv)
    if frame == "first" and has_codec:
        assert recv(connection) == "Hello"
    else:
        ((opcode, payload),) = connection.plain()
        assert (opcode, payload[:2]) == (CLOSE, b"\x03\xea")


@pytest.mark.parametrize("server_forgets", [False, True])
@pytest.mark.parametrize("client_forgets", [False, True])
@SIDES
def test_context_takeover_in_both_directions(
    talk: Talk, client: bool, server_forgets: bool, client_forgets: bool
) -> None:
    """C8."""
    own, peer = codecs(client, server_no_context_takeover=server_forgets, client_no_context_takeover=client_forgets)
    connection = talk(client=client, codec=own)
    text = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=200))
    sizes = []
    for _ in range(3):
        connection.feed_frame(TEXT, peer.compress(text.encode()), rsv=RSV1)
        assert recv(connection) == text
        connection.run(connection.listener.send(text))
        ((opcode, payload, fin, rsv, _),) = connection.sent()
        assert (opcode, fin, rsv) == (TEXT, True, RSV1)
        assert peer.decompress(payload, True) == text.encode()
        sizes.append(len(payload))
    own_forgets = client_forgets if client else server_forgets
    assert (sizes[2] < 50) is not own_forgets


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x07", b"\x00\x05\x00\xff\xff"], ids=["random", "type", "length"])
def test_damaged_data(talk: Talk, data: bytes) -> None:
    """C11."""
    connection = talk(codec=codecs()[0])
    connection.feed_frame(BINARY, data, rsv=RSV1)
    ((opcode, payload),) = connection.plain()
    assert (opcode, payload[:2]) == (CLOSE, b"\x03\xea")


@pytest.mark.parametrize("data", [b"", b"\x00"], ids=["nothing", "00"])
def test_empty_compressed_messages(talk: Talk, data: bytes) -> None:
    """C12, twice because of zlib's memory."""
    own, peer = codecs()
    connection = talk(codec=own)
    for _ in range(2):
        connection.feed_frame(TEXT, data, rsv=RSV1)
        assert recv(connection) == ""
        connection.run(connection.listener.send(""))
        assert connection.sent()[0][:4] == (TEXT, b"\x00", True, RSV1)


def test_short_and_fragmented_messages_are_sent_as_they_are(talk: Talk) -> None:
    connection = talk(codec=DeflateCodec(DeflateParameters(), False, DeflateOptions(threshold=10)))
    connection.run(connection.listener.send("short"))
    connection.run(connection.listener.send_fragments(["long enough", "x" * 100]))
    assert [frame.rsv for frame in connection.sent()] == [0, 0, 0, 0]


def test_a_header_that_is_too_large_fails_at_once_with_compression(talk: Talk) -> None:
    connection = talk(codec=codecs()[0], max_message_size=1000)
    connection.feed(header(BINARY, 1001, rsv=RSV1, key=b"abcd"))
    assert connection.plain()[0][1][:2] == b"\x03\xf1"
