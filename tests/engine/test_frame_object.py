"""What a listener can learn from a WSFrame, and that it may be kept."""

from __future__ import annotations

import sys
from typing import Any, Callable

import pytest
from fixtures.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_payload

from picows.enums import WSCloseCode, WSMsgType

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


def one_frame(connection: Any, *args: Any, **fields: Any) -> Any:
    connection.feed_frame(*args, **fields)
    return connection.listener.frames[-1]


@SIDES
@pytest.mark.parametrize("size", [0, 3, 130, 5000, 70_000])
def test_payload_getters(connect: Any, client: bool, size: int) -> None:
    payload = (b"0123456789" * (size // 10 + 1))[:size]
    frame = one_frame(connect(client=client), TEXT, payload)
    assert frame.payload_size == size
    assert type(frame.get_payload_as_bytes()) is bytes
    assert frame.get_payload_as_bytes() == payload
    assert frame.get_payload_as_utf8_text() == payload.decode()
    assert frame.get_payload_as_ascii_text() == payload.decode()
    view = frame.get_payload_as_memoryview()
    assert (view.readonly, view.format, view.nbytes) == (True, "B", size)
    assert view == payload


@pytest.mark.parametrize("strict", [False, True], ids=["frames", "strict"])
def test_text(connect: Any, strict: bool) -> None:
    frame = one_frame(connect(strict=strict), TEXT, "käse €")
    assert frame.get_payload_as_utf8_text() == "käse €"
    with pytest.raises(UnicodeDecodeError):
        frame.get_payload_as_ascii_text()


def test_bad_text_is_delivered_unless_strict(connect: Any) -> None:
    frame = one_frame(connect(), TEXT, b"\xc0\x80")
    with pytest.raises(UnicodeDecodeError):
        frame.get_payload_as_utf8_text()
    assert frame.get_payload_as_bytes() == b"\xc0\x80"


@pytest.mark.parametrize("member", list(WSMsgType), ids=lambda member: member.name)
def test_F5_message_types_are_the_interned_members(connect: Any, member: WSMsgType) -> None:
    frame = one_frame(connect(enable_auto_pong=False), member)
    assert frame.msg_type is member


@pytest.mark.parametrize(
    ("payload", "code", "message"),
    [
        (b"", WSCloseCode.NO_INFO, None),
        (close_payload(1000), WSCloseCode.OK, b""),
        (close_payload(1001, b"bye"), WSCloseCode.GOING_AWAY, b"bye"),
        (close_payload(4999, "ä".encode()), 4999, "ä".encode()),
    ],
    ids=["empty", "code", "code and reason", "own code"],
)
def test_close_getters(connect: Any, payload: bytes, code: int, message: bytes) -> None:
    frame = one_frame(connect(), CLOSE, payload)
    assert frame.get_close_code() == code
    assert isinstance(frame.get_close_code(), WSCloseCode)
    assert frame.get_close_message() == message
    assert frame.get_close_reason() == (None if message is None else message.decode())
    assert frame.get_payload_as_bytes() == payload


@pytest.mark.parametrize("method", ["get_close_code", "get_close_message", "get_close_reason"])
@pytest.mark.parametrize("opcode", [CONT, TEXT, BINARY, PING, PONG])
def test_close_getters_are_for_close_frames(connect: Any, method: str, opcode: int) -> None:
    frame = one_frame(connect(enable_auto_pong=False), opcode, b"\x03\xe8")
    with pytest.raises(ValueError, match=WSMsgType(opcode).name):
        getattr(frame, method)()


@pytest.mark.parametrize("show", [str, repr])
def test_str(connect: Any, show: Callable[[Any], str]) -> None:
    connection = connect()
    connection.feed(connection.frame(BINARY, b"abc", fin=False, rsv=3) + connection.frame(PONG) + b"\x82")
    first, last = connection.listener.frames
    assert show(first) == (
        "WSFrame(BINARY, fin=False, rsv1=False, rsv2=True, rsv3=True, last_in_buffer=False, payload_sz=3, tail_sz=7)"
    )
    assert show(last) == (
        "WSFrame(PONG, fin=True, rsv1=False, rsv2=False, rsv3=False, last_in_buffer=True, payload_sz=0, tail_sz=1)"
    )


@pytest.mark.parametrize("name", ["msg_type", "fin", "rsv1", "last_in_buffer", "payload_size", "tail_size"])
def test_attributes_are_read_only(connect: Any, name: str) -> None:
    frame = one_frame(connect(), TEXT, b"x")
    with pytest.raises(AttributeError):
        setattr(frame, name, 1)
    with pytest.raises(AttributeError):
        frame.other = 1


@pytest.mark.parametrize("name", ["fin", "rsv1", "rsv2", "rsv3", "last_in_buffer"])
def test_bits_are_ints(connect: Any, name: str) -> None:
    assert type(getattr(one_frame(connect(), TEXT, b"x"), name)) is int


@SIDES
@pytest.mark.parametrize("reading", ["buffered", "stream", "own-buffer"])
@pytest.mark.parametrize("size", [1, 100, 1000, 4095, 4097, 70_000, 300_000])
def test_W12_kept_frames_and_views_do_not_change(connect: Any, client: bool, reading: str, size: int) -> None:
    views: list[Any] = []
    connection = connect(
        client=client,
        reading=reading,
        handlers={"on_ws_frame": lambda transport, frame: views.append(frame.get_payload_as_memoryview())},
    )
    contents = [bytes([index]) * size for index in range(6)]
    data = [connection.frame(BINARY, content) for content in contents]
    half = size // 2
    connection.feed(data[0], data[1] + data[2][:half], data[2][half:] + data[3], data[4])
    connection.feed(*[data[5][at : at + 1 + size // 3] for at in range(0, len(data[5]), 1 + size // 3)])
    for _ in range(4):
        connection.feed(connection.frame(BINARY, b"\xff" * 66_000))
        connection.feed(connection.frame(TEXT, b"\xee" * 100) * 200)
    connection.lose()
    assert [bytes(view) for view in views[:6]] == contents
    assert [frame.get_payload_as_bytes() for frame in connection.listener.frames[:6]] == contents
    assert [frame.get_payload_as_memoryview() for frame in connection.listener.frames[:6]] == contents
    assert all(view.readonly for view in views)


def test_W12_a_view_outlives_its_frame_and_its_connection(connect: Any) -> None:
    connection = connect()
    connection.feed_frame(BINARY, b"kept")
    view = connection.listener.frames.pop().get_payload_as_memoryview()
    connection.shut()
    del connection
    assert bytes(view) == b"kept"


def test_reading_keeps_no_reference_to_none(connect: Any) -> None:
    """What lends its memory to the event loop, or to a view, has to release what Cython put into the Py_buffer."""
    connection = connect()

    def read_and_look() -> None:
        connection.feed_frame(WSMsgType.BINARY, b"payload")
        del connection.listener.frames[:], connection.listener.events[:]

    def count_kept() -> int:
        before = sys.getrefcount(None)
        for _ in range(1000):
            read_and_look()
        return sys.getrefcount(None) - before

    read_and_look()
    # Since Python 3.12 it does not change at all. What else lives in the process takes and leaves some once.
    assert min(count_kept() for _ in range(5)) < 500
