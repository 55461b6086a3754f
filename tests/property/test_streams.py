"""Any stream of bytes, cut anywhere and read in any way, has one outcome: the same callbacks and bytes written."""

from __future__ import annotations

from typing import Any

from fixtures.streams import (
    LIMIT,
    QUICK,
    SIDES,
    STRICT,
    any_frames,
    control_frames,
    cut_at,
    cuts,
    data_frames,
    encode,
    payloads,
    valid_frames,
)
from fixtures.wire import BINARY, CONT, KEY, PING, PONG, TEXT, Connection, Received, build
from hypothesis import given
from hypothesis import strategies as st

from picows.enums import WSMsgType

READING = ["buffered", "stream", "own-buffer"]


def outcome(engine: Any, client: bool, reading: str, strict: bool, pieces: list[bytes], **options: Any) -> Any:
    """Callbacks, frames written (masks removed), and how it ended."""
    connection = Connection(engine, client=client, reading=reading, strict=strict, max_frame_size=LIMIT, **options)
    connection.feed(*pieces)
    sent = [frame._replace(key=None) for frame in connection.sent()]
    for frame in connection.listener.frames:
        assert frame.payload_size == len(frame.get_payload_as_bytes())
    record = connection.transport.close_handshake
    connection.loop.advance(0.1)
    calls = list(connection.wire.calls)
    connection.lose()
    error = connection.ending()
    connection.shut()
    assert not connection.wire.written_late
    closed = None if record is None else (record.recv, record.sent, record.recv_then_sent)
    return connection.events, sent, closed, calls, repr(error)


def check_all_ways(engine: Any, client: bool, strict: bool, data: bytes, fractions: list[float]) -> Any:
    expected = outcome(engine, client, "buffered", strict, [data])
    whole = [data] if data else []
    bytewise = [data[at : at + 1] for at in range(len(data))] if len(data) < 1500 else whole
    for pieces in (cut_at(data, fractions), whole, bytewise):
        for reading in READING:
            assert outcome(engine, client, reading, strict, pieces) == expected
    return expected


@SIDES
@QUICK
@given(frames=valid_frames, fractions=cuts)
def test_valid_streams(engine: Any, client: bool, frames: list[Any], fractions: list[float]) -> None:
    events, sent, closed, calls, error = check_all_ways(engine, client, False, encode(frames, client), fractions)
    assert events == [
        "connected",
        *(
            Received(
                WSMsgType(opcode),
                payload,
                int(fields.get("fin", True)),
                fields["rsv"] >> 2,
                fields["rsv"] >> 1 & 1,
                fields["rsv"] & 1,
            )
            for opcode, payload, fields, _ in frames
            if opcode != PING
        ),
        "disconnected",
    ]
    assert [frame.plain for frame in sent] == [(PONG, payload) for opcode, payload, _, _ in frames if opcode == PING]
    assert (closed, calls, error) == (None, [], "None")


@SIDES
@STRICT
@QUICK
@given(frames=any_frames, fractions=cuts)
def test_streams_with_violations(
    engine: Any, client: bool, strict: bool, frames: list[Any], fractions: list[float]
) -> None:
    check_all_ways(engine, client, strict, encode(frames, client), fractions)


@SIDES
@STRICT
@QUICK
@given(frames=any_frames, fractions=cuts, data=st.data())
def test_mutated_streams(
    engine: Any, client: bool, strict: bool, frames: list[Any], fractions: list[float], data: st.DataObject
) -> None:
    stream = bytearray(encode(frames, client))
    for _ in range(data.draw(st.integers(1, 4)) if stream else 0):
        place = data.draw(st.integers(0, len(stream) - 1))
        stream[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del stream[data.draw(st.integers(0, len(stream))) :]
    check_all_ways(engine, client, strict, bytes(stream), fractions)


@SIDES
@STRICT
@QUICK
@given(stream=st.binary(max_size=300), fractions=cuts)
def test_random_streams(engine: Any, client: bool, strict: bool, stream: bytes, fractions: list[float]) -> None:
    check_all_ways(engine, client, strict, stream, fractions)


@SIDES
@QUICK
@given(frames=st.lists(st.one_of(data_frames, control_frames), min_size=1, max_size=5), fractions=cuts)
def test_what_is_kept_does_not_change(engine: Any, client: bool, frames: list[Any], fractions: list[float]) -> None:
    """W12, for any stream."""
    connection = Connection(engine, client=client, enable_auto_pong=False)
    views: list[Any] = []
    connection.listener.handlers["on_ws_frame"] = lambda transport, frame: views.append(
        frame.get_payload_as_memoryview()
    )
    connection.feed(*cut_at(encode(frames, client), fractions))
    connection.feed(*[build(BINARY, b"\xff" * 6000, key=None if client else KEY)] * 12)
    connection.shut()
    assert [bytes(view) for view in views[: len(frames)]] == [payload for _, payload, _, _ in frames]


@SIDES
@QUICK
@given(
    messages=st.lists(st.tuples(st.sampled_from([CONT, TEXT, BINARY, PING]), payloads, st.booleans()), max_size=12),
    in_batch=st.booleans(),
    coalesce=st.booleans(),
)
def test_what_is_sent_arrives(engine: Any, client: bool, messages: list[Any], in_batch: bool, coalesce: bool) -> None:
    """One engine's bytes are another's frames, gathered or not."""

    def send_all(transport: Any, frame: Any = None) -> None:
        for opcode, payload, fin in messages:
            if opcode == PING:
                transport.send_ping(payload[:125])
            else:
                transport.send(opcode, payload, fin)

    sender = Connection(engine, client=client, write_coalescing=coalesce)
    if in_batch:
        sender.listener.handlers["on_ws_frame"] = send_all
        sender.feed_frame(TEXT)
    else:
        send_all(sender.transport)
    receiver = Connection(engine, client=not client, enable_auto_pong=False)
    receiver.feed(sender.written())
    assert [(message.msg_type, message.payload, bool(message.fin)) for message in receiver.messages] == [
        (opcode, payload[:125] if opcode == PING else payload, fin or opcode == PING)
        for opcode, payload, fin in messages
    ]
    sender.shut()
    receiver.shut()
