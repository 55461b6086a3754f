"""The message layers of both engines, fed the same bytes in the same reads, do the same: messages, bytes written, when
reading pauses, ending. With permessage-deflate, mutated and random streams too."""

from __future__ import annotations

from typing import Any, Optional

from fixtures.streams import LIMIT, QUICK, SIDES, any_frames, cut_at, cuts, encode, keys, texts, valid_frames
from fixtures.twins import Twins, twins
from fixtures.wire import BINARY, CONT, PING, TEXT, Connection, build
from hypothesis import given
from hypothesis import strategies as st

from picows.deflate import DeflateCodec, DeflateParameters

__all__ = ["twins"]

#: What is done with each message.
habits = st.sampled_from(["keep", "echo", "echo in fragments", "close", "stop"])
limits = st.fixed_dictionaries(
    {
        "max_message_size": st.sampled_from([LIMIT, LIMIT, None, 1, 125]),
        "max_queue": st.sampled_from([None, 1, 2, 16, (4, 0)]),
        "max_fragments": st.sampled_from([None, None, 2]),
        "max_fragment_size": st.sampled_from([None, None, 100]),
    }
)
agreements = st.builds(
    DeflateParameters, st.booleans(), st.booleans(), st.sampled_from([9, 12, 15]), st.sampled_from([9, 12, 15])
)
#: Text or not, payload, where it is cut into fragments, whether it is compressed, whether a PING comes in between.
compressed_messages = st.lists(
    st.tuples(
        st.booleans(),
        st.one_of(texts, st.binary(max_size=300), st.builds(bytes, st.integers(0, LIMIT + 1))),
        st.lists(st.floats(0, 1), max_size=3),
        st.sampled_from([True, True, False]),
        st.booleans(),
        keys,
    ),
    max_size=5,
)


def encode_compressed(messages: list[Any], client: bool, agreed: DeflateParameters) -> bytes:
    """Their bytes, as the peer of this side sends them."""
    codec = DeflateCodec(agreed, not client)
    frames = []
    for is_text, payload, fractions, is_compressed, has_ping, key in messages:
        data = codec.compress(payload) if is_compressed else payload
        pieces = cut_at(data, fractions) or [b""]
        for at, piece in enumerate(pieces):
            opcode = CONT if at else TEXT if is_text else BINARY
            fields = {"fin": at == len(pieces) - 1, "rsv": 4 if is_compressed and not at else 0}
            frames.append(build(opcode, piece, key=None if client else key, **fields))
            if has_ping:
                frames.append(build(PING, piece[:5], key=None if client else key))
    return b"".join(frames)


async def use(listener: Any, habit: str, received: list[Any]) -> None:
    """Receive until the connection ends, or until there is enough."""
    async for message in listener:
        received.append(message)
        if habit == "echo":
            await listener.send(message)
        elif habit == "echo in fragments":
            await listener.send_fragments([message[:3], message[3:]])
        elif habit == "close":
            await listener.close(4000, "enough")
        elif habit == "stop" and len(received) == 2:
            return


def outcome(
    engine: Any, client: bool, pieces: list[bytes], habit: str, agreed: Optional[DeflateParameters], **limits: Any
) -> Any:
    """One connection's life."""
    codec = None if agreed is None else DeflateCodec(agreed, client)
    listener = engine.WSMessageListener(codec=codec, **limits)
    connection = Connection(engine, client=client, listener=listener, max_frame_size=LIMIT)
    received: list[Any] = []
    task = connection.loop.create_task(use(listener, habit, received))
    reads = []
    for piece in pieces:
        connection.feed(piece)
        connection.loop.settle()
        sent = [frame._replace(key=None) for frame in connection.sent()]
        reads.append((len(received), sent, list(connection.wire.calls)))
    connection.lose()
    connection.loop.settle()
    error = None if task.cancelled() or not task.done() else task.exception()
    ending = task.done(), repr(error), repr(error and error.__cause__), repr(connection.transport.close_handshake)
    connection.shut()
    return received, reads, list(connection.wire.calls), ending


def mutate(stream: bytes, data: st.DataObject) -> bytes:
    """Some bytes are others, some are missing, and the end may be."""
    mutated = bytearray(stream)
    for _ in range(data.draw(st.integers(1, 4)) if mutated else 0):
        place = data.draw(st.integers(0, len(mutated) - 1)) if mutated else 0
        if data.draw(st.booleans()):
            mutated[place : place + 1] = data.draw(st.binary(min_size=1, max_size=2))
        else:
            del mutated[place]
    if data.draw(st.booleans()):
        del mutated[data.draw(st.integers(0, len(mutated))) :]
    return bytes(mutated)


def check_same(twins: Twins, client: bool, pieces: list[bytes], habit: str, agreed: Any, limits: Any) -> Any:
    return twins.same(lambda engine: outcome(engine, client, pieces, habit, agreed, **limits))


@SIDES
@QUICK
@given(frames=st.one_of(valid_frames, any_frames), fractions=cuts, habit=habits, limits=limits)
def test_frames(twins: Twins, client: bool, frames: list[Any], fractions: list[float], habit: str, limits: Any) -> None:
    check_same(twins, client, cut_at(encode(frames, client), fractions), habit, None, limits)


@SIDES
@QUICK
@given(frames=any_frames, fractions=cuts, habit=habits, limits=limits, agreed=st.none() | agreements, data=st.data())
def test_mutated_frames(
    twins: Twins,
    client: bool,
    frames: list[Any],
    fractions: list[float],
    habit: str,
    limits: Any,
    agreed: Any,
    data: st.DataObject,
) -> None:
    stream = mutate(encode(frames, client), data)
    check_same(twins, client, cut_at(stream, fractions), habit, agreed, limits)


@SIDES
@QUICK
@given(stream=st.binary(max_size=200), fractions=cuts, habit=habits, limits=limits, agreed=st.none() | agreements)
def test_random_bytes(
    twins: Twins, client: bool, stream: bytes, fractions: list[float], habit: str, limits: Any, agreed: Any
) -> None:
    check_same(twins, client, cut_at(stream, fractions), habit, agreed, limits)


@SIDES
@QUICK
@given(messages=compressed_messages, fractions=cuts, agreed=agreements)
def test_compressed_messages(
    twins: Twins, client: bool, messages: list[Any], fractions: list[float], agreed: DeflateParameters
) -> None:
    """They arrive, in whatever fragments and reads; text that is none ends the connection."""
    stream = encode_compressed(messages, client, agreed)
    unlimited = {"max_message_size": 2 * LIMIT, "max_queue": None}
    received, *_ = check_same(twins, client, cut_at(stream, fractions), "keep", agreed, unlimited)
    expected = []
    for is_text, payload, *_ in messages:
        try:
            expected.append(payload.decode() if is_text else payload)
        except UnicodeDecodeError:
            break
    if all(len(payload) <= LIMIT for _, payload, *_ in messages):
        assert received == expected


@SIDES
@QUICK
@given(messages=compressed_messages, fractions=cuts, habit=habits, limits=limits, agreed=agreements, data=st.data())
def test_mutated_compressed_messages(
    twins: Twins,
    client: bool,
    messages: list[Any],
    fractions: list[float],
    habit: str,
    limits: Any,
    agreed: DeflateParameters,
    data: st.DataObject,
) -> None:
    stream = encode_compressed(messages, client, agreed)
    if data.draw(st.booleans()):
        stream = mutate(stream, data)
    check_same(twins, client, cut_at(stream, fractions), habit, agreed, limits)
