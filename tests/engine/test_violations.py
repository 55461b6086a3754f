"""What a peer must not send, without strict mode: the code we close with, and what is delivered before and after."""

from __future__ import annotations

import sys
from typing import Any, Optional

import pytest
from fixtures.wire import BINARY, CLOSE, KEY, PING, PONG, TEXT, Received, build, close_payload, header

from picows.enums import WSCloseCode, WSMsgType
from picows.errors import WSMessageTooBigError, WSProtocolError

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
READING = pytest.mark.parametrize("reading", ["buffered", "stream"])
LIMIT = 70_000


def head(opcode: int, size: int, form: Optional[int] = None, **fields: Any) -> dict[str, Any]:
    return {"opcode": opcode, "size": size, "form": form, **fields}


#: id -> (close code, words of the error, the header)
HEADERS = {
    **{f"opcode {code}": (1002, f"opcode {code}", head(code, 0)) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "A4 opcode 3 with 2 GiB": (1002, "opcode 3", head(3, 1 << 31, 64)),
    "unfinished opcode 3": (1002, "opcode 3", head(3, 0, fin=False)),
    "F5 fragmented PING": (1002, "fragmented control", head(PING, 0, fin=False)),
    "F5 fragmented PONG": (1002, "fragmented control", head(PONG, 0, fin=False)),
    "F5 fragmented CLOSE": (1002, "fragmented control", head(CLOSE, 0, fin=False)),
    "F5 PING of 126": (1002, "125", head(PING, 126)),
    "F5 PONG of 65536": (1002, "125", head(PONG, 65536)),
    "F5 CLOSE of 126": (1002, "125", head(CLOSE, 126)),
    "PING of 5 in the 16-bit form": (1002, "125", head(PING, 5, 16)),
    "limit exceeded by 1": (1009, "70001 bytes, 70000", head(BINARY, LIMIT + 1)),
    "limit exceeded in the middle": (1009, "70001 bytes, 70000", head(0, LIMIT + 1, fin=False)),
    "A1 length with its first bit set": (1009, "9223372036854775808", head(BINARY, 1 << 63, 64)),
    "A1 length of ones": (1009, "18446744073709551615", head(BINARY, (1 << 64) - 1, 64)),
    "A2 2^62": (1009, "4611686018427387904", head(BINARY, 1 << 62, 64)),
    "A2 2^32 - 1": (1009, "4294967295", head(BINARY, (1 << 32) - 1, 64)),
    "A2 2^32": (1009, "4294967296", head(BINARY, 1 << 32, 64)),
    "A2 2^31": (1009, "2147483648", head(BINARY, 1 << 31, 64)),
}
#: id -> (close code, words of the error, the payload)
CLOSES = {
    "payload of 1 byte": (1002, "1 byte", b"\x03"),
    **{
        f"E5 code {code}": (1002, f"code {code}", close_payload(code))
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
    "reason not UTF-8": (1007, "UTF-8", close_payload(1000, b"\xc0\x80")),
    "reason cut short": (1007, "UTF-8", close_payload(1000, "ä".encode()[:1])),
}
SPLITS = {"whole": None, "in bytes": 1, "by two": 2, "by three": 3}


def feed_split(connection: Any, data: bytes, step: Optional[int]) -> None:
    connection.feed(*[data[at : at + (step or len(data))] for at in range(0, len(data), step or len(data))])


def check_failed(connection: Any, code: int, words: str) -> None:
    """We have sent one CLOSE and EOF, delivered nothing, disconnect at the peer's EOF, and a client learns why."""
    assert connection.messages == []
    (close,) = connection.sent()
    assert close.opcode == CLOSE
    assert int.from_bytes(close.payload[:2], "big") == code
    assert words in close.payload[2:].decode()
    assert connection.transport.is_close_frame_sent
    connection.feed_frame(TEXT, b"too late")
    assert connection.wire.calls == ["write_eof"]
    connection.loop.settle()
    assert connection.wire.calls == ["write_eof", "close"]
    assert connection.events == ["connected", "disconnected"]
    assert connection.written() == b""
    error = connection.ending()
    if connection.is_client:
        assert isinstance(error, WSProtocolError)
        assert error.code == code
        assert words in str(error)
    else:
        assert error is None


@READING
@SIDES
@pytest.mark.parametrize("step", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize(("code", "words", "fields"), HEADERS.values(), ids=HEADERS)
def test_header(
    connect: Any, client: bool, reading: str, code: int, words: str, fields: dict[str, Any], step: Optional[int]
) -> None:
    """A1 A2 A3 F5 W2: the header alone is enough, no payload is waited for."""
    connection = connect(client=client, reading=reading, max_frame_size=LIMIT)
    fields = dict(fields)
    data = header(fields.pop("opcode"), fields.pop("size"), key=None if client else KEY, **fields)
    feed_split(connection, data, step)
    check_failed(connection, code, words)


@SIDES
@pytest.mark.parametrize("step", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize(("opcode", "size"), [(TEXT, 2), (BINARY, 0), (BINARY, 200), (BINARY, 65536), (PING, 1)])
def test_D3_wrong_masking(connect: Any, client: bool, opcode: int, size: int, step: Optional[int]) -> None:
    connection = connect(client=client, max_frame_size=LIMIT)
    feed_split(connection, build(opcode, bytes(size), key=KEY if client else None)[:20], step)
    check_failed(connection, 1002, "masked frame from the server" if client else "unmasked frame from the client")


@SIDES
@pytest.mark.parametrize("step", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize(("code", "words", "payload"), CLOSES.values(), ids=CLOSES)
def test_P1_close_frame(connect: Any, client: bool, code: int, words: str, payload: bytes, step: Optional[int]) -> None:
    connection = connect(client=client, enable_auto_close=True)
    feed_split(connection, connection.frame(CLOSE, payload), step)
    check_failed(connection, code, words)
    assert connection.transport.close_handshake.recv is None


@SIDES
def test_a_bad_close_between_good_frames(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    text, bad = connection.frame(TEXT, b"x"), connection.frame(CLOSE, b"\x03")
    connection.feed(text + bad + text + connection.frame(3))
    assert connection.messages == [Received(WSMsgType.TEXT, b"x")]
    (close,) = connection.sent()
    assert close.payload[:2] == close_payload(1002)
    assert b"1 byte" in close.payload


@SIDES
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, LIMIT])
def test_limit_itself_is_allowed(connect: Any, client: bool, size: int) -> None:
    connection = connect(client=client, max_frame_size=LIMIT)
    connection.feed_frame(BINARY, bytes(size))
    assert connection.messages == [Received(WSMsgType.BINARY, bytes(size))]


@SIDES
@pytest.mark.parametrize("limit", [1, 2, 124, 125, 126, 200, 65535, 65536])
def test_W2_every_limit_is_exact(connect: Any, client: bool, limit: int) -> None:
    connection = connect(client=client, max_frame_size=limit)
    connection.feed_frame(BINARY, bytes(limit))
    assert len(connection.messages[0].payload) == limit
    connection.feed(header(BINARY, limit + 1, key=None if client else KEY))
    (close,) = connection.sent()
    assert close.payload[:2] == close_payload(1009)
    error = connection.ending()
    if client:
        assert isinstance(error, WSMessageTooBigError)
        assert (error.size, error.limit) == (limit + 1, limit)


@SIDES
@pytest.mark.parametrize("size", [0, 125])
def test_control_frames_are_exempt_from_the_limit(connect: Any, client: bool, size: int) -> None:
    connection = connect(client=client, max_frame_size=1)
    connection.feed_frame(PING, bytes(size))
    assert connection.plain() == [(PONG, bytes(size))]


@SIDES
def test_W2_nothing_of_an_oversized_frame_is_kept(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    head_of_2_gib = header(BINARY, 1 << 31, key=None if client else KEY)
    connection.feed_frame(TEXT, b"warm up")
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy does not count memory")
    tracemalloc.start()
    try:
        connection.feed(head_of_2_gib)
        for _ in range(50):
            connection.feed(bytes(60_000))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 256 * 1024
    assert kept < 64 * 1024
    assert len(connection.messages) == 1
    assert connection.sent()[0].payload[:2] == close_payload(1009)


@READING
@SIDES
@pytest.mark.parametrize(("code", "words", "fields"), HEADERS.values(), ids=HEADERS)
def test_P3_frames_before_a_violation_come_first(
    connect: Any, client: bool, reading: str, code: int, words: str, fields: dict[str, Any]
) -> None:
    """They are delivered, their replies are sent before our CLOSE, and nothing after it is looked at."""
    connection = connect(
        client=client,
        reading=reading,
        max_frame_size=LIMIT,
        handlers={"on_ws_frame": lambda transport, frame: transport.send(frame.msg_type, frame.get_payload_as_bytes())},
    )
    fields = dict(fields)
    bad = header(fields.pop("opcode"), fields.pop("size"), key=None if client else KEY, **fields)
    good = connection.frame(TEXT, b"one") + connection.frame(PING, b"two") + connection.frame(TEXT, b"three")
    connection.feed(good + bad + connection.frame(TEXT, b"four"))
    connection.feed_frame(TEXT, b"five")
    assert [message.payload for message in connection.messages] == [b"one", b"three"]
    assert [frame.last_in_buffer for frame in connection.listener.frames] == [0, 1]
    *replies, close = connection.sent()
    assert [reply.plain for reply in replies] == [(TEXT, b"one"), (PONG, b"two"), (TEXT, b"three")]
    assert (close.opcode, close.payload[:2]) == (CLOSE, close_payload(code))


@SIDES
@pytest.mark.parametrize("graceful", [True, False])
def test_P3_a_violation_after_disconnect_in_the_same_read_is_not_looked_at(
    connect: Any, client: bool, graceful: bool
) -> None:
    connection = connect(
        client=client, handlers={"on_ws_frame": lambda transport, frame: transport.disconnect(graceful)}
    )
    connection.feed(connection.frame(TEXT, b"x") + connection.frame(3))
    assert connection.written() == b""
    assert connection.transport.close_handshake is None
    connection.loop.advance(1)
    assert connection.wire.calls == ["close" if graceful else "abort"]
    assert connection.ending() is None


@READING
def test_no_limit_is_above_what_a_buffer_can_have(connect: Any, reading: str) -> None:
    """A Py_ssize_t is what sizes are kept in; where it has 32 bits, a length of 2^32+10 must not become one of 10."""
    connection = connect(reading=reading, max_frame_size=1 << 64)
    size = (1 << 64) - 1
    connection.feed(header(BINARY, size, key=KEY))
    (close,) = connection.sent()
    assert close.payload == close_payload(1009, b"frame of %d bytes, %d are allowed" % (size, sys.maxsize))


@READING
def test_a_frame_of_all_memory_there_is(connect: Any, reading: str) -> None:
    connection = connect(reading=reading, max_frame_size=1 << 64)
    connection.feed(header(BINARY, sys.maxsize, key=KEY))
    (close,) = connection.sent()
    assert close.payload == close_payload(1009, b"no memory for a frame of %d bytes" % sys.maxsize)


def test_a_violation_after_our_close_only_disconnects(connect: Any) -> None:
    connection = connect()
    connection.transport.send_close(WSCloseCode.OK)
    assert connection.plain() == [(CLOSE, close_payload(1000))]
    connection.feed_frame(3)
    assert connection.written() == b""
    connection.loop.settle()
    assert connection.wire.calls == ["write_eof", "close"]
    assert connection.events == ["connected", "disconnected"]


def test_long_texts_of_errors_fit_into_a_close_frame(connect: Any) -> None:
    def fail(transport: Any, frame: Any) -> None:
        raise WSProtocolError(4000, "ä" * 100)

    connection = connect(handlers={"on_ws_frame": fail})
    connection.feed_frame(TEXT, b"x")
    (close,) = connection.sent()
    assert close.payload == close_payload(4000, ("ä" * 61).encode())
