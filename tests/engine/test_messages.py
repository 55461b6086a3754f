"""Messages in: reassembly, limits, UTF-8."""

from __future__ import annotations

import gc
import itertools
from typing import Any, List, Tuple, Union

import pytest
from fixtures.clock import LOOPS
from fixtures.messages import SIDES, Talk, closed, fragments, recv, start
from fixtures.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_payload, header

from picows.enums import WSCloseCode
from picows.errors import WSConnectionClosed, WSMessageTooBigError, WSProtocolError


def code_of(error: Any) -> int:
    """The close code of a violation."""
    assert isinstance(error, WSProtocolError)
    return error.code


# --- reassembly ---


@SIDES
@pytest.mark.parametrize("reading", list(LOOPS))
def test_messages_cut_anywhere(talk: Talk, client: bool, reading: str) -> None:
    whole = talk(client=client)
    stream = (
        whole.frame(TEXT, "one")
        + fragments(whole, BINARY, b"t", b"", b"wo")
        + fragments(whole, TEXT, "", "")
        + fragments(
            whole, TEXT, "\N{GREEK SMALL LETTER KAPPA}".encode()[:1], "\N{GREEK SMALL LETTER KAPPA}".encode()[1:]
        )
        + whole.frame(BINARY)
    )
    expected = ["one", b"two", "", "\N{GREEK SMALL LETTER KAPPA}", b""]
    for size in (1, 2, 3, 5, 7, len(stream)):
        connection = talk(client=client, reading=reading)
        connection.feed(*(stream[at : at + size] for at in range(0, len(stream), size)))
        assert [recv(connection) for _ in expected] == expected


@pytest.mark.parametrize("payloads", [("Caf\xe9",), ("Ca", "f\xe9")], ids=["one frame", "two frames"])
@pytest.mark.parametrize(
    ("opcode", "decode", "expected"),
    [
        (TEXT, None, "Caf\xe9"),
        (TEXT, True, "Caf\xe9"),
        (TEXT, False, b"Caf\xc3\xa9"),
        (BINARY, None, b"Caf\xc3\xa9"),
        (BINARY, True, "Caf\xe9"),
        (BINARY, False, b"Caf\xc3\xa9"),
    ],
)
def test_decode(talk: Talk, payloads: Tuple[str, ...], opcode: int, decode: Any, expected: Union[str, bytes]) -> None:
    connection = talk()
    connection.feed(fragments(connection, opcode, *payloads))
    message = recv(connection, decode)
    assert message == expected
    assert type(message) is type(expected)


def test_large_fragments_are_put_together(talk: Talk) -> None:
    connection = talk(max_message_size=None)
    parts = [bytes([value]) * 150_000 for value in range(5)]
    connection.feed(fragments(connection, BINARY, *parts))
    assert recv(connection) == b"".join(parts)


def test_control_frames_between_fragments(talk: Talk) -> None:
    """B7: they are answered at once and change nothing about the message."""
    connection = talk()
    connection.feed(
        connection.frame(PING, b"first")
        + connection.frame(TEXT, "a", fin=False)
        + connection.frame(PING, b"second")
        + connection.frame(PONG, b"unasked for")
        + connection.frame(CONT, "b")
    )
    assert connection.plain() == [(PONG, b"first"), (PONG, b"second")]
    assert recv(connection) == "ab"


def test_control_frames_are_no_messages(talk: Talk) -> None:
    connection = talk(enable_auto_pong=False)
    connection.feed(connection.frame(PING, b"x") + connection.frame(PONG) + connection.frame(TEXT, "text"))
    assert connection.plain() == []
    assert recv(connection) == "text"


def test_views_of_fragments_stay_as_they_are(engine: Any, talk: Talk) -> None:
    """W12: a subclass may keep views of payloads, and joining fragments does not touch them."""
    kept: List[memoryview] = []

    class Keeper(engine.WSMessageListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            kept.append(frame.get_payload_as_memoryview())
            super().on_ws_frame(transport, frame)

    connection = talk(Keeper)
    large = b"x" * 100_000
    data = fragments(connection, BINARY, large, b"y", large)
    connection.feed(data[:70_000], data[70_000:])
    assert recv(connection) == large + b"y" + large
    assert kept == [large, b"y", large]


def test_fragments_arrive_while_recv_waits(talk: Talk) -> None:
    connection = talk(max_queue=2)
    task = connection.loop.create_task(connection.listener.recv())
    expected = ""
    for number in range(200):
        connection.loop.settle()
        assert not task.done()
        connection.feed_frame(CONT if number else TEXT, f"{number} ", fin=number == 199)
        expected += f"{number} "
    assert connection.run(task) == expected
    assert "pause_reading" not in connection.wire.calls


# --- limits ---


def test_the_defaults_are_finite(talk: Talk) -> None:
    """A7, without arguments."""
    connection = talk()
    half = 5 * 1024 * 1024
    connection.feed(connection.frame(BINARY, bytes(half), fin=False) + header(CONT, half + 1, key=b"abcd"))
    assert connection.plain()[0][1][:2] == b"\x03\xf1"
    assert isinstance(closed(connection).__cause__, WSMessageTooBigError)


def test_the_limit_is_one_of_the_message(talk: Talk) -> None:
    """A5: ten fragments of 100 are delivered, the eleventh fails at its header."""
    connection = talk(max_message_size=1000)
    connection.feed(fragments(connection, BINARY, *[b"x" * 100] * 10))
    assert recv(connection) == b"x" * 1000
    for number in range(10):
        connection.feed_frame(CONT if number else BINARY, b"x" * 100, fin=False)
    assert connection.plain() == []
    connection.feed(header(CONT, 100, key=b"abcd"))
    ((opcode, payload),) = connection.plain()
    assert (opcode, payload[:2]) == (CLOSE, b"\x03\xf1")
    error = closed(connection)
    assert error.code == WSCloseCode.ABNORMAL_CLOSURE
    assert isinstance(error.__cause__, WSMessageTooBigError)
    assert (error.__cause__.size, error.__cause__.limit) == (1100, 1000)


@pytest.mark.parametrize(
    "size",
    [
        8,
        2**31 - 1,
        2**31,
        2**31 + 1,
        2**32 - 1,
        2**32,
        2**32 + 1,
        2**62,
        *(2**63 - 1 - k for k in range(9)),
        2**63,
        2**64 - 1,
    ],
)
def test_announced_sizes_do_not_overflow(talk: Talk, size: int) -> None:
    """A2: three bytes are there, ten are allowed."""
    connection = talk(max_message_size=10)
    connection.feed(connection.frame(BINARY, b"abc", fin=False) + header(CONT, size, key=b"abcd"))
    assert connection.plain()[0][1][:2] == b"\x03\xf1"


def test_exactly_the_limit(talk: Talk) -> None:
    connection = talk(max_message_size=10)
    connection.feed(fragments(connection, BINARY, b"abc", b"defghij") + connection.frame(BINARY, b"0123456789"))
    assert recv(connection) == b"abcdefghij"
    assert recv(connection) == b"0123456789"


def test_a_limit_above_what_can_be_counted(talk: Talk) -> None:
    connection = talk(max_message_size=1 << 63)
    connection.feed(fragments(connection, BINARY, b"abc", b"defghij"))
    assert recv(connection) == b"abcdefghij"


@pytest.mark.parametrize("count", [1, 5, 64, 100])
@pytest.mark.parametrize("has_arrived", [False, True], ids=["recv waits", "all has arrived"])
def test_fragments_that_recv_joins_are_counted_for_layers_above(talk: Talk, count: int, has_arrived: bool) -> None:
    """Those that are received one by one are not."""
    connection = talk(max_queue=None)
    connection.listener._max_joined = count
    data = [fragments(connection, BINARY, *[b"x"] * number) for number in (count, count + 1, 1)]

    async def stream() -> bytes:
        return b"".join([fragment async for fragment in connection.listener.recv_streaming()])

    connection.feed(data[1])
    assert connection.run(stream()) == b"x" * (count + 1)
    connection.feed(data[0])
    assert recv(connection) == b"x" * count
    receiving = connection.listener.recv()
    if not has_arrived:
        receiving = start(connection, receiving)
    connection.feed(data[1] + data[2])
    assert connection.written() == b""
    with pytest.raises(WSConnectionClosed) as caught:
        connection.run(receiving)
    assert connection.plain() == [(CLOSE, close_payload(1009, b"message of more than %d fragments" % count))]
    assert code_of(caught.value.__cause__) == WSCloseCode.MESSAGE_TOO_BIG
    closed(connection)


@pytest.mark.parametrize("payload", [b"x", b""], ids=["B1 crumbs", "B2 empty"])
@pytest.mark.parametrize("is_receiving", [False, True], ids=["nobody receives", "recv waits"])
def test_fragments_are_counted(talk: Talk, payload: bytes, is_receiving: bool) -> None:
    connection = talk(max_fragments=4096)
    task = connection.loop.create_task(connection.listener.recv()) if is_receiving else None
    connection.loop.settle()
    connection.feed_frame(BINARY, payload, fin=False)
    for number in range(4095):
        connection.feed_frame(CONT, payload, fin=False)
        if number % 1000 == 0:
            connection.loop.settle()
    assert connection.plain() == []
    connection.feed_frame(CONT, payload, fin=False)
    assert connection.plain() == [(CLOSE, close_payload(1009, b"message of more than 4096 fragments"))]
    with pytest.raises(WSConnectionClosed) as caught:
        connection.run(task if task else connection.listener.recv())
    assert code_of(caught.value.__cause__) == WSCloseCode.MESSAGE_TOO_BIG


def test_a_message_of_as_many_fragments_as_allowed(talk: Talk) -> None:
    connection = talk(max_fragments=4096)
    connection.feed(fragments(connection, TEXT, *"x" * 4096))
    assert recv(connection) == "x" * 4096


def test_fragments_are_counted_for_each_message(talk: Talk) -> None:
    """B3."""
    connection = talk(max_fragments=2)
    for _ in range(100):
        connection.feed(connection.frame(TEXT, "ab") + fragments(connection, TEXT, "c", "d"))
        assert (recv(connection), recv(connection)) == ("ab", "cd")
    connection.feed(fragments(connection, TEXT, "a", "b", "c"))
    assert connection.plain()[0][0] == CLOSE


def test_any_number_of_fragments(talk: Talk) -> None:
    connection = talk()
    connection.feed(fragments(connection, TEXT, *"x" * 5000))
    assert recv(connection) == "x" * 5000


def test_crumbs_take_little_memory(talk: Talk) -> None:
    """B1: what 4,096 fragments of one byte leave behind is no more than 64 KiB."""
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy does not count memory")
    connection = talk()
    data = connection.frame(BINARY, b"x", fin=False) + connection.frame(CONT, b"x", fin=False) * 4095
    gc.collect()
    tracemalloc.start()
    try:
        connection.feed(data)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] <= 64 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_message_size": 0}, ValueError),
        ({"max_message_size": "1"}, TypeError),
        ({"max_fragments": 0}, ValueError),
        ({"max_fragments": 1.5}, TypeError),
        ({"max_queue": 0}, ValueError),
        ({"max_queue": -1}, ValueError),
        ({"max_queue": (1, 2)}, ValueError),
        ({"max_queue": (1, -1)}, ValueError),
    ],
    ids=str,
)
def test_arguments_are_checked(engine: Any, arguments: Any, error: Any) -> None:
    with pytest.raises(error):
        engine.WSMessageListener(**arguments)


# --- UTF-8 ---


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"abc", b"\xff"),
        (b"", b"\xc0"),
        (b"\xed", b"\xa0"),
        (b"\xf4", b"\x90"),
        (b"\xe2\x82", b"x"),
        (b"\xf0\x9f\x98", b"\xff"),
    ],
    ids=["never", "overlong", "surrogate", "too large", "third byte", "fourth byte"],
)
@pytest.mark.parametrize("cut", ["frame", "fragments"])
@SIDES
def test_text_fails_at_its_first_bad_byte(talk: Talk, client: bool, cut: str, good: bytes, bad: bytes) -> None:
    """E1, E2: before anything that follows it has arrived, and nothing is delivered."""
    connection = talk(client=client)
    if cut == "frame":
        data = connection.frame(TEXT, good + bad + b"x" * 50)[:-50]
        connection.feed(*(data[at : at + 1] for at in range(len(data) - 1)))
        assert connection.plain() == []
        connection.feed(data[-1:])
    else:
        connection.feed_frame(TEXT, good, fin=False)
        assert connection.plain() == []
        connection.feed_frame(CONT, bad, fin=False)
    ((opcode, payload),) = connection.plain()
    assert (opcode, payload[:2]) == (CLOSE, b"\x03\xef")
    error = closed(connection)
    assert error.code == WSCloseCode.ABNORMAL_CLOSURE
    assert code_of(error.__cause__) == WSCloseCode.INVALID_TEXT


#: Pieces of text, each a fragment; in the last one: where what is no character begins and ends, and why it is none.
NOT_UTF8: dict[str, tuple[list[bytes], int, int, str]] = {
    "start byte": ([b"ab\xffc"], 2, 3, "invalid start byte"),
    "overlong": ([b"\xc0\x80"], 0, 1, "invalid start byte"),
    "second byte": ([b"abc\xe2(x"], 3, 4, "invalid continuation byte"),
    "third byte": ([b"a\xe2\x82("], 1, 3, "invalid continuation byte"),
    "surrogate": ([b"a\xed\xa0\x80"], 1, 2, "invalid continuation byte"),
    "too large": ([b"\xf4\x90\x80\x80"], 0, 1, "invalid continuation byte"),
    "cut short": ([b"ab\xe2\x82"], 2, 4, "unexpected end of data"),
    "after a character that was cut": ([b"\xe2", b"\x82\xac\xff"], 2, 3, "invalid start byte"),
    "begun before": ([b"a\xe2", b"\x82("], 0, 1, "invalid continuation byte"),
    "begun long before": ([b"\xe2", b"\x82", b"("], 0, 1, "invalid continuation byte"),
    "surrogate begun before": ([b"\xed", b"\xa0"], 0, 1, "invalid continuation byte"),
    "end of what was begun before": ([b"a\xf0", b"\x9f"], 0, 1, "unexpected end of data"),
}


@pytest.mark.parametrize(("pieces", "start", "end", "reason"), NOT_UTF8.values(), ids=NOT_UTF8)
def test_the_cause_says_what_is_not_utf8(talk: Talk, pieces: list[bytes], start: int, end: int, reason: str) -> None:
    """As Python's decoder, which knows only the piece that is wrong."""
    connection = talk()
    for number, piece in enumerate(pieces, 1):
        opcode = TEXT if number == 1 else CONT
        connection.feed_frame(opcode, piece, fin=number == len(pieces))
    assert f"text is not UTF-8: {reason}".encode() in connection.plain()[0][1]
    cause = closed(connection).__cause__.__cause__
    assert type(cause) is UnicodeDecodeError
    assert (cause.args, cause.__traceback__) == (("utf-8", pieces[-1], start, end, reason), None)


def test_the_cause_says_what_is_not_utf8_in_a_close(talk: Talk) -> None:
    connection = talk()
    connection.feed_frame(CLOSE, b"\x03\xe8ab\xff")
    cause = closed(connection).__cause__.__cause__
    assert type(cause) is UnicodeDecodeError
    assert (cause.args, cause.__traceback__) == (("utf-8", b"ab\xff", 2, 3, "invalid start byte"), None)


@pytest.mark.parametrize("data", [b"\xe2\x82", b"\xf0\x9f\x98"], ids=["two of three", "three of four"])
def test_text_that_ends_within_a_character(talk: Talk, data: bytes) -> None:
    connection = talk()
    connection.feed_frame(TEXT, data)
    assert connection.plain()[0][1][:2] == b"\x03\xef"


def test_characters_split_over_fragments_and_reads(talk: Talk) -> None:
    """E3: every split of characters of one to four bytes."""
    text = "a\N{LATIN SMALL LETTER E WITH ACUTE}\N{EURO SIGN}\N{GRINNING FACE}"
    data = text.encode()
    for first, second in itertools.combinations(range(len(data) + 1), 2):
        connection = talk()
        stream = fragments(connection, TEXT, data[:first], data[first:second], data[second:])
        connection.feed(*(stream[at : at + 1] for at in range(len(stream))))
        assert recv(connection) == text
        connection.shut()


def test_binary_is_not_validated(talk: Talk) -> None:
    connection = talk()
    connection.feed_frame(BINARY, b"\xff")
    with pytest.raises(UnicodeDecodeError):
        recv(connection, decode=True)
    assert connection.plain() == []
