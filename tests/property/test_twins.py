"""Both engines, fed the same bytes in the same reads, do the same: callbacks, frames, bytes written, logs, ending."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple, Optional

from fixtures.streams import LIMIT, QUICK, SIDES, any_frames, cut_at, cuts, encode, valid_frames
from fixtures.twins import Twins, twins
from fixtures.wire import BINARY, CLOSE, CONT, TEXT, Connection, recorder
from hypothesis import given
from hypothesis import strategies as st

from picows.errors import WSProtocolError

__all__ = ["twins"]
#: A frame that is larger and that no read brings whole goes its own way in each engine: what is left of the read
#: behind it is read, and counted, apart.
SMALL = 4000


class Record(NamedTuple):
    """What a listener saw of one frame."""

    facts: tuple[Any, ...]
    #: tail_size and last_in_buffer, or None where they may differ.
    position: Optional[tuple[int, int]]


class Logs(logging.Handler):
    """Level and text of what a connection has logged."""

    def __init__(self) -> None:
        super().__init__(1)
        self.records: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.levelno, record.getMessage()))


#: What a listener does with a frame: nothing, or something with the n-th one.
habits = st.one_of(
    st.just(("ignore", 0)),
    st.tuples(st.sampled_from(["echo", "echo twice", "fragment"]), st.just(0)),
    st.tuples(st.sampled_from(["close", "disconnect", "abort", "raise", "violate", "flush"]), st.integers(0, 4)),
)
options = st.fixed_dictionaries(
    {
        "strict": st.booleans(),
        "enable_auto_pong": st.booleans(),
        "enable_auto_close": st.booleans(),
        "write_coalescing": st.booleans(),
        "disconnect_on_exception": st.booleans(),
        "max_write_buffer_size": st.sampled_from([None, None, 500]),
        "max_frame_size": st.sampled_from([LIMIT, LIMIT, 1, 125, 126]),
    }
)


def react(transport: Any, frame: Any, habit: str) -> None:
    payload = frame.get_payload_as_memoryview()
    if habit.startswith("echo"):
        transport.send(BINARY, payload)
        if habit.endswith("twice"):
            transport.send(TEXT, bytes(payload)[::-1])
            transport.send_pong(bytes(payload)[:125])
    elif habit == "fragment":
        transport.send(BINARY, payload, fin=False)
        transport.send_reuse_external_bytearray(CONT, bytearray(14) + bytes(payload), 14, rsv1=True)
    elif habit == "close":
        transport.send_close(1001, b"enough")
    elif habit in ("disconnect", "abort"):
        transport.send(TEXT, b"last")
        transport.disconnect(habit == "disconnect")
    elif habit == "raise":
        raise ValueError("mine")
    elif habit == "violate":
        raise WSProtocolError(4000, "not mine")
    elif habit == "flush":
        transport.send(TEXT, b"1")
        transport.send(TEXT, b"2")
        transport.flush()


def all_facts(frame: Any) -> tuple[Any, ...]:
    """Everything but its position in the read."""
    try:
        text: Any = frame.get_payload_as_utf8_text()
    except UnicodeDecodeError as exc:
        text = str(exc)
    closes = (frame.get_close_code(), frame.get_close_message()) if frame.msg_type == CLOSE else ()
    bits = (frame.fin, frame.rsv1, frame.rsv2, frame.rsv3)
    return frame.msg_type, bits, frame.payload_size, frame.get_payload_as_bytes(), text, closes


def outcome(engine: Any, client: bool, pieces: list[bytes], habit: tuple[str, int], **options: Any) -> Any:
    """One connection's life."""
    logs = Logs()
    logger = logging.Logger("picows.twins", 1)
    logger.addHandler(logs)
    seen: list[Record] = []
    was_read = [0]  # frames that were seen before the current read

    def on_frame(transport: Any, frame: Any) -> None:
        # Only the first frame of a read can have begun before it.
        is_apart = len(seen) == was_read[0] and (frame.payload_size > SMALL or options["strict"])
        seen.append(Record(all_facts(frame), None if is_apart else (frame.tail_size, frame.last_in_buffer)))
        if habit[1] in (0, len(seen)):
            react(transport, frame, habit[0])

    listener = recorder(engine, on_ws_frame=on_frame)
    connection = Connection(engine, client=client, listener=listener, logger=logger, **options)
    reads = []
    for piece in pieces:
        was_read[0] = len(seen)
        connection.feed(piece)
        if client:
            reads.append([frame._replace(key=None) for frame in connection.sent()])
        else:
            reads.append([bytes(chunk) for chunk in connection.wire.chunks])
            connection.wire.chunks.clear()
    transport, handshake = connection.transport, connection.transport.close_handshake
    flags = (transport.is_close_frame_sent, transport.is_disconnected, repr(handshake))
    connection.loop.advance(0.1)
    calls = list(connection.wire.calls)
    connection.lose()
    error = connection.ending()
    events = list(connection.events)
    connection.shut()
    assert not connection.wire.written_late
    return seen, events, reads, flags, calls, type(error), str(error), logs.records


def check_same(twins: Twins, client: bool, pieces: list[bytes], habit: Any, arguments: Any) -> None:
    pure, core = (outcome(engine, client, pieces, habit, **arguments) for engine in twins)
    for ours, theirs in zip(pure, core):
        assert theirs == ours


@SIDES
@QUICK
@given(frames=valid_frames, fractions=cuts, habit=habits, arguments=options)
def test_valid_streams(
    twins: Twins, client: bool, frames: list[Any], fractions: list[float], habit: Any, arguments: Any
) -> None:
    check_same(twins, client, cut_at(encode(frames, client), fractions), habit, arguments)


@SIDES
@QUICK
@given(frames=any_frames, fractions=cuts, habit=habits, arguments=options)
def test_streams_with_violations(
    twins: Twins, client: bool, frames: list[Any], fractions: list[float], habit: Any, arguments: Any
) -> None:
    check_same(twins, client, cut_at(encode(frames, client), fractions), habit, arguments)


@SIDES
@QUICK
@given(frames=any_frames, fractions=cuts, habit=habits, arguments=options, data=st.data())
def test_mutated_streams(
    twins: Twins, client: bool, frames: list[Any], fractions: list[float], habit: Any, arguments: Any, data: Any
) -> None:
    stream = bytearray(encode(frames, client))
    for _ in range(data.draw(st.integers(1, 4)) if stream else 0):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del stream[data.draw(st.integers(0, len(stream))) :]
    check_same(twins, client, cut_at(bytes(stream), fractions), habit, arguments)


@SIDES
@QUICK
@given(stream=st.binary(max_size=300), fractions=cuts, habit=habits, arguments=options)
def test_random_streams(
    twins: Twins, client: bool, stream: bytes, fractions: list[float], habit: Any, arguments: Any
) -> None:
    check_same(twins, client, cut_at(stream, fractions), habit, arguments)


@SIDES
@QUICK
@given(frames=any_frames, habit=habits, arguments=options)
def test_byte_by_byte(twins: Twins, client: bool, frames: list[Any], habit: Any, arguments: Any) -> None:
    stream = encode(frames, client)[:1500]
    check_same(twins, client, [stream[at : at + 1] for at in range(len(stream))], habit, arguments)


#: Of payloads: also what fills the 64 KiB that are gathered. (Larger frames leave in one write or in two.)
lengths = st.one_of(st.integers(0, 130), st.sampled_from([1024, 4096, 6000, 16_000, 30_000, 32_760]))
#: (method, arguments) of WSTransport, wrong ones included. Payloads are given by their lengths.
sends = st.one_of(
    st.tuples(st.just("send"), st.integers(-1, 16), lengths, *[st.booleans()] * 4),
    st.tuples(st.sampled_from(["send_ping", "send_pong"]), lengths),
    st.tuples(st.just("send_reuse_external_bytearray"), st.integers(-1, 16), lengths, st.integers(12, 22)),
    st.tuples(st.just("send_close"), st.integers(990, 1020), st.integers(0, 130)),
    st.tuples(st.sampled_from(["flush", "disconnect"])),
)


def call(transport: Any, method: str, *arguments: Any) -> Any:
    """Call a method with payloads instead of their lengths; its result or its error."""
    at = 0 if method in ("send_ping", "send_pong") else 1
    given_to_it: list[Any] = list(arguments)
    if len(arguments) > at:
        given_to_it[at] = (bytes(range(97, 123)) * (arguments[at] // 26 + 1))[: arguments[at]]
    if method == "send_reuse_external_bytearray":
        given_to_it[at] = bytearray(20) + given_to_it[at]
    try:
        return getattr(transport, method)(*given_to_it)
    except Exception as exc:
        return type(exc), str(exc)


@SIDES
@QUICK
@given(calls=st.lists(sends, max_size=15), in_batch=st.booleans(), limit=st.sampled_from([None, 3000]))
def test_sending(twins: Twins, client: bool, calls: list[Any], in_batch: bool, limit: Optional[int]) -> None:
    """Any calls: the same frames, writes and errors."""

    def observe(engine: Any) -> Any:
        results: list[Any] = []

        def send_all(transport: Any, frame: Any = None) -> None:
            results.extend(call(transport, *arguments) for arguments in calls)

        connection = Connection(engine, client=client, max_write_buffer_size=limit)
        connection.wire.stalled = limit is not None
        if in_batch:
            connection.listener.handlers["on_ws_frame"] = send_all
            connection.feed_frame(TEXT)
        else:
            send_all(connection.transport)
        writes = [len(chunk) for chunk in connection.wire.chunks]
        sent = [frame._replace(key=None) for frame in connection.sent()]
        record = repr(connection.transport.close_handshake)
        connection.loop.advance(0.1)
        calls_of_transport = list(connection.wire.calls)
        connection.shut()
        return results, writes, sent, record, calls_of_transport

    twins.same(observe)


@SIDES
@QUICK
@given(
    frames=st.one_of(valid_frames, any_frames),
    fractions=cuts,
    max_queue=st.sampled_from([None, 1, 2, 16]),
    max_fragments=st.sampled_from([None, 2]),
)
def test_messages(
    twins: Twins, client: bool, frames: list[Any], fractions: list[float], max_queue: Any, max_fragments: Any
) -> None:
    """The message layer on top."""
    pieces = cut_at(encode(frames, client), fractions)

    def observe(engine: Any) -> Any:
        listener = engine.WSMessageListener(max_message_size=LIMIT, max_queue=max_queue, max_fragments=max_fragments)
        connection = Connection(engine, client=client, listener=listener, max_frame_size=LIMIT)
        received: list[Any] = []

        async def receive() -> None:
            async for message in listener:
                received.append(message)

        task = connection.loop.create_task(receive())
        for piece in pieces:
            connection.feed(piece)
            connection.loop.settle()
        connection.lose()
        connection.loop.settle()
        sent = [frame._replace(key=None) for frame in connection.sent()]
        ending = repr(task.exception()), repr(task.exception() and task.exception().__cause__)
        connection.shut()
        return received, sent, list(connection.wire.calls), ending

    twins.same(observe)
