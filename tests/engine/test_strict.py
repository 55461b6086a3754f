"""P5: what strict mode adds to the parser: reserved bits, the order of fragments, shortest lengths, UTF-8 at once."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from fixtures.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_payload, header, recorder

from picows.abc import FrameRules
from picows.enums import WSMsgType
from picows.errors import WSProtocolError

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
READING = pytest.mark.parametrize("reading", ["buffered", "stream"])
STEPS = pytest.mark.parametrize("step", [None, 1, 3], ids=["whole", "in bytes", "by three"])


def f(opcode: int, payload: bytes = b"", **fields: Any) -> tuple[int, bytes, dict[str, Any]]:
    return opcode, payload, fields


def first(opcode: int, payload: bytes = b"", **fields: Any) -> tuple[int, bytes, dict[str, Any]]:
    return opcode, payload, {"fin": False, **fields}


#: id -> (close code, words, how many frames are delivered before, frames)
BAD: dict[str, tuple[int, str, int, list[Any]]] = {
    **{f"reserved bits {rsv}": (1002, "reserved bits", 0, [f(TEXT, b"hi", rsv=rsv)]) for rsv in range(1, 8)},
    **{f"C5 bits 4 in opcode {code}": (1002, "reserved bits", 0, [f(code, rsv=4)]) for code in (BINARY, PING, PONG)},
    "C5 bits in CLOSE": (1002, "reserved bits", 0, [f(CLOSE, close_payload(1000), rsv=4)]),
    "C5 bits in a continuation": (1002, "reserved bits", 1, [first(TEXT, b"a"), f(CONT, b"b", rsv=4)]),
    "B8 continuation of nothing": (1002, "CONTINUATION", 0, [f(CONT, b"a")]),
    "B8 continuation of nothing, unfinished": (1002, "CONTINUATION", 0, [first(CONT, b"a")]),
    "B8 continuation after a whole message": (1002, "CONTINUATION", 1, [f(TEXT, b"a"), f(CONT, b"b")]),
    "B8 text within text": (1002, "new message", 1, [first(TEXT, b"a"), f(TEXT, b"b")]),
    "B8 binary within text": (1002, "new message", 1, [first(TEXT, b"a"), first(BINARY, b"b")]),
    "B8 text within binary, after a ping": (1002, "new message", 2, [first(BINARY), f(PONG), f(TEXT)]),
    "A8 5 in 16 bits": (1002, "fewest", 0, [f(BINARY, b"hello", form=16)]),
    "A8 5 in 64 bits": (1002, "fewest", 0, [f(BINARY, b"hello", form=64)]),
    "A8 125 in 16 bits": (1002, "fewest", 0, [f(BINARY, bytes(125), form=16)]),
    "A8 65535 in 64 bits": (1002, "fewest", 0, [f(BINARY, bytes(65535), form=64)]),
    "E1 C0 80": (1007, "UTF-8", 0, [f(TEXT, b"\xc0\x80")]),
    "E1 surrogate": (1007, "UTF-8", 0, [f(TEXT, b"a\xed\xa0\x80")]),
    "E1 above U+10FFFF": (1007, "UTF-8", 0, [f(TEXT, b"\xf4\x90\x80\x80")]),
    "E1 cut short": (1007, "UTF-8", 0, [f(TEXT, b"\xe2\x82")]),
    "E1 cut short in the last fragment": (1007, "UTF-8", 1, [first(TEXT, b"a"), f(CONT, b"\xe2\x82")]),
    "E1 cut short, last fragment empty": (1007, "UTF-8", 1, [first(TEXT, b"a\xe2\x82"), f(CONT)]),
    "E2 in the first fragment": (1007, "UTF-8", 0, [first(TEXT, b"ok \xff")]),
    "E2 where two fragments meet": (1007, "UTF-8", 1, [first(TEXT, b"\xe2"), first(CONT, b"a")]),
    "E2 in a large frame": (1007, "UTF-8", 0, [f(TEXT, b"a" * 70_000 + b"\xff")]),
    "state is that of the message": (1007, "UTF-8", 2, [f(TEXT, b"a"), first(TEXT, b"b"), f(CONT, b"\xff")]),
}


def feed(connection: Any, frames: list[Any], step: Optional[int]) -> None:
    data = b"".join(connection.frame(opcode, payload, **fields) for opcode, payload, fields in frames)
    if step is None:
        step = len(data)
    elif len(data) > 1000:
        step += 20_000
    connection.feed(*[data[at : at + step] for at in range(0, len(data), step)])


@READING
@SIDES
@STEPS
@pytest.mark.parametrize(("code", "words", "delivered", "frames"), BAD.values(), ids=BAD)
def test_P5_violations(
    connect: Any,
    client: bool,
    reading: str,
    code: int,
    words: str,
    delivered: int,
    frames: list[Any],
    step: Optional[int],
) -> None:
    connection = connect(client=client, reading=reading, strict=True, enable_auto_pong=False)
    feed(connection, frames, step)
    connection.feed_frame(TEXT, b"too late")
    assert len(connection.messages) == delivered
    (close,) = connection.sent()
    assert (close.opcode, close.payload[:2]) == (CLOSE, close_payload(code))
    assert words in close.payload[2:].decode()
    error = connection.ending()
    if client:
        assert isinstance(error, WSProtocolError)
        assert error.code == code


ORDERED = [name for name in BAD if not name.startswith("A8")]


@pytest.mark.parametrize("name", ORDERED)
def test_P5_nothing_of_this_is_refused_by_default(connect: Any, name: str) -> None:
    connection = connect(enable_auto_pong=False)
    frames = BAD[name][3]
    feed(connection, frames, None)
    assert len(connection.messages) == len(frames)
    assert connection.written() == b""


#: Frames that are fine.
GOOD: dict[str, list[Any]] = {
    "whole messages": [f(TEXT, b"a"), f(BINARY, b"\xff"), f(TEXT), f(BINARY)],
    "fragments": [first(TEXT, b"a"), first(CONT), f(CONT, b"b"), first(BINARY, b"\xff"), f(CONT, b"\xff")],
    "B7 control frames in between": [first(TEXT, b"a"), f(PING), f(PONG, b"\xff"), f(CONT, b"b"), f(PONG)],
    "E3 a character in four fragments": [
        first(TEXT, b"\xf0"),
        first(CONT, b"\x9f"),
        first(CONT, b"\x98"),
        f(CONT, b"\x80"),
    ],
    "E3 with a pong inside": [first(TEXT, b"\xe2\x82"), f(PONG, b"\xe2"), f(CONT, b"\xac")],
    "large text": [f(TEXT, "€uro".encode() * 20_000)],
    "large binary": [f(BINARY, b"\xff" * 70_000), f(TEXT, b"x")],
    "large fragments": [first(TEXT, b"\xe2\x82"), f(CONT, b"\xac" + "ä€".encode() * 2000)],
    "close in the middle of a message": [first(TEXT, b"a"), f(CLOSE, close_payload(1000))],
    "shortest lengths": [f(BINARY, bytes(size)) for size in (125, 126, 65535, 65536)],
}


@READING
@SIDES
@STEPS
@pytest.mark.parametrize("frames", GOOD.values(), ids=GOOD)
def test_P5_good_frames(connect: Any, client: bool, reading: str, frames: list[Any], step: Optional[int]) -> None:
    connection = connect(client=client, reading=reading, strict=True, enable_auto_pong=False)
    feed(connection, frames, step)
    assert [(m.msg_type, m.payload, m.fin) for m in connection.messages] == [
        (opcode, payload, int(fields.get("fin", True))) for opcode, payload, fields in frames
    ]
    assert connection.written() == b""


@SIDES
@pytest.mark.parametrize("text", ["", "ascii", "käse €", "😀" * 3000])
def test_text_of_strict_frames(connect: Any, client: bool, text: str) -> None:
    connection = connect(client=client, strict=True)
    data = connection.frame(TEXT, text)
    connection.feed(data, data[:7], data[7:])
    assert [frame.get_payload_as_utf8_text() for frame in connection.listener.frames] == [text, text]


@READING
@SIDES
def test_E3_every_split_of_every_length(connect: Any, client: bool, reading: str) -> None:
    connection = connect(client=client, reading=reading, strict=True)
    payload = "a£€😀".encode()
    for cut in range(len(payload) + 1):
        data = connection.frame(TEXT, payload[:cut], fin=False) + connection.frame(CONT, payload[cut:])
        for at in range(1, len(data)):
            connection.events.clear()
            connection.feed(data[:at], data[at:])
            assert [message.payload for message in connection.messages] == [payload[:cut], payload[cut:]]
    assert connection.written() == b""


@SIDES
@pytest.mark.parametrize("size", [20, 200, 3000, 100_000])
def test_E2_a_bad_byte_is_noticed_before_the_frame_is_complete(connect: Any, client: bool, size: int) -> None:
    connection = connect(client=client, strict=True)
    data = connection.frame(TEXT, b"abcde\xff" + b"a" * size)
    before = len(data) - size - 1
    connection.feed(data[:before])
    assert connection.written() == b""
    connection.feed(data[before : before + 1])
    (close,) = connection.sent()
    assert close.payload[:2] == close_payload(1007)
    assert connection.messages == []


@SIDES
def test_frames_before_a_violation_in_a_pending_frame(connect: Any, client: bool) -> None:
    connection = connect(client=client, strict=True)
    connection.feed(connection.frame(TEXT, b"one") + connection.frame(TEXT, b"\xff" + b"a" * 100)[:20])
    assert [message.payload for message in connection.messages] == [b"one"]
    assert connection.sent()[0].payload[:2] == close_payload(1007)


def test_strict_close_reasons_and_types(connect: Any) -> None:
    connection = connect(strict=True)
    connection.feed_frame(CLOSE, close_payload(1000, "ü".encode()))
    assert connection.messages[0].msg_type is WSMsgType.CLOSE
    assert connection.transport.close_handshake.recv.reason == "ü"


# --- rules that a message layer asks for, through its listener ---


def listener_with_rules(engine: Any, **rules: Any) -> Any:
    listener = recorder(engine)
    type(listener)._frame_rules = FrameRules(**rules)
    return listener


@pytest.mark.parametrize("rsv", [4, 6])
def test_rules_reserved_bits(connect: Any, engine: Any, rsv: int) -> None:
    """RSV1 may be set in the first frame of a message, whose text is not looked at then."""
    connection = connect(listener=listener_with_rules(engine, reserved_bits=0x40))
    connection.feed_frame(TEXT, b"\xff", rsv=rsv, fin=False)
    if rsv == 4:
        connection.feed_frame(PONG)
        connection.feed_frame(CONT, b"\xff")
        assert len(connection.messages) == 3
        connection.feed_frame(PONG, rsv=4)
    assert connection.sent()[0].payload[:2] == close_payload(1002)


def test_rules_lengths_may_be_long(connect: Any, engine: Any) -> None:
    connection = connect(listener=listener_with_rules(engine, minimal_lengths=False))
    connection.feed_frame(BINARY, b"hello", form=64)
    assert connection.messages[0].payload == b"hello"


@pytest.mark.parametrize("sizes", [[101], [100, 1], [50, 50, 1], [0, 0, 101], [60, (1 << 63) - 60], [60, (1 << 62)]])
def test_A2_A5_rules_message_size(connect: Any, engine: Any, sizes: list[int]) -> None:
    """At the header of the fragment that goes beyond it; declared sizes are never added up to more than 64 bits."""
    rules = listener_with_rules(engine, max_message_size=100)
    connection = connect(listener=rules, max_frame_size=(1 << 64) - 1)
    for _ in range(2):
        connection.feed_frame(BINARY, bytes(50), fin=False)
        connection.feed_frame(PONG, bytes(100))
        connection.feed_frame(CONT, bytes(50))
    assert connection.written() == b""
    for index, size in enumerate(sizes[:-1]):
        connection.feed_frame(CONT if index else BINARY, bytes(size), fin=False)
    assert connection.written() == b""
    connection.feed(header(CONT if len(sizes) > 1 else BINARY, sizes[-1], key=b"keys"))
    (close,) = connection.sent()
    assert close.payload[:2] == close_payload(1009)
    assert b"100" in close.payload


def test_E7_rules_close_in_a_message(connect: Any, engine: Any) -> None:
    connection = connect(listener=listener_with_rules(engine, refuse_close_in_message=True))
    connection.feed_frame(BINARY, b"a")
    connection.feed_frame(BINARY, b"a", fin=False)
    connection.feed_frame(CLOSE, close_payload(1000))
    assert connection.sent()[0].payload[:2] == close_payload(1002)
    assert len(connection.messages) == 2
