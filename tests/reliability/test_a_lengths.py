"""A: declared lengths. What a header announces is arithmetic of the peer's choice: it is compared, never added up, and
never allocated where it exceeds a limit."""

from __future__ import annotations

import os
from typing import Any

import pytest
from fixtures.feeding import (
    bytewise,
    close_code,
    drop_in,
    drop_in_protocol,
    drop_in_server,
    in_process,
    retained,
    ways,
)
from fixtures.messages import SIDES, Talk, closed, fragments, recv
from fixtures.places import LISTENER_ARGUMENTS, Place
from fixtures.wire import BINARY, CLOSE, CONT, KEY, build, header, take_apart

from picows.errors import WSMessageTooBigError

KIB, MIB = 1024, 1024 * 1024
#: Lengths with the first bit set, which RFC 6455 5.2 forbids.
NEGATIVE = {"first bit": 1 << 63, "all ones": (1 << 64) - 1}
LAYERS = pytest.mark.parametrize("layer", ["frames", "messages"])


def layer_of(connect: Any, talk: Talk, layer: str, **options: Any) -> Any:
    """A connection of frames or one of messages, with the limit that this layer has."""
    if layer == "messages":
        return talk(**options)
    return connect(**{name: value for name, value in options.items() if name not in LISTENER_ARGUMENTS})


# --- A1 ---


@SIDES
@LAYERS
@pytest.mark.parametrize("size", NEGATIVE.values(), ids=NEGATIVE)
def test_a1_first_bit_of_the_length(connect: Any, talk: Talk, layer: str, client: bool, size: int) -> None:
    """1009 as soon as the header is there. Bounded work instead of 1 ms: no payload is read, kept or delivered."""
    head = header(BINARY, size, key=None if client else KEY)
    for pieces in ways(head):
        connection = layer_of(connect, talk, layer, client=client)
        kept, _ = retained(lambda connection=connection, pieces=pieces: connection.feed(*pieces))
        assert close_code(connection) == 1009
        assert kept < 64 * KIB
        connection.feed(bytes(60_000))
        assert connection.written() == b""
        assert layer == "messages" or connection.messages == []
        connection.shut()


@pytest.mark.parametrize("size", NEGATIVE.values(), ids=NEGATIVE)
def test_a1_on_sockets(place: Place, size: int) -> None:
    """The client reads Close 1009 and then the end of the stream, not a reset."""

    async def main() -> None:
        server = await place.serve_messages()
        client = await place.raw_client(server)
        await client.upgrade(then=header(BINARY, size, key=KEY))
        (close,) = take_apart(await client.read_rest())
        assert (close.opcode, close.payload[:2]) == (CLOSE, b"\x03\xf1")

    place.run(main)


@SIDES
@pytest.mark.parametrize("size", NEGATIVE.values(), ids=NEGATIVE)
def test_a1_drop_in(client: bool, size: int) -> None:
    head = header(BINARY, size, key=None if client else KEY)
    for pieces in ways(head):
        assert drop_in(pieces, client, max_size=MIB).code == 1009
    if not client:
        outcome = drop_in_server(head)
        assert (outcome.received, outcome.code) == ([], 1009)


# --- A2, A3 ---

#: What is declared after 3 bytes of a message of at most 1,000.
TOO_MUCH = [*((1 << 63) - 1 - k for k in range(9)), 1 << 62]
TOO_MUCH += [base + d for base in (1 << 32, 1 << 31) for d in (-1, 0, 1)] + [998]


@SIDES
@pytest.mark.parametrize("size", TOO_MUCH, ids=hex)
def test_a2_what_is_there_and_what_is_declared(talk: Talk, client: bool, size: int) -> None:
    """No sum overflows: the limit of frames is out of the way, that of messages is compared."""
    for is_bytewise in (False, True):
        connection = talk(client=client, max_message_size=1000, max_frame_size=(1 << 63) - 1)
        connection.feed_frame(BINARY, b"abc", fin=False)
        head = header(CONT, size, key=None if client else KEY)
        pieces = bytewise(head, 1 if is_bytewise else len(head))
        assert retained(lambda connection=connection, pieces=pieces: connection.feed(*pieces))[1] < 64 * KIB
        assert close_code(connection) == 1009
        error = closed(connection).__cause__
        assert isinstance(error, WSMessageTooBigError)
        assert error.limit == 1000


@pytest.mark.parametrize("size", TOO_MUCH, ids=hex)
def test_a2_the_error_says_the_size(talk: Talk, size: int) -> None:
    connection = talk(max_message_size=1000, max_frame_size=(1 << 63) - 1)
    connection.feed(connection.frame(BINARY, b"abc", fin=False) + header(CONT, size, key=KEY))
    error = closed(connection).__cause__
    assert (error.size, error.limit) == (3 + size, 1000)


@SIDES
@pytest.mark.parametrize("size", [(1 << 63) - 1 - k for k in range(3)], ids=hex)
def test_a2_the_largest_limit(talk: Talk, client: bool, size: int) -> None:
    connection = talk(client=client, max_message_size=(1 << 63) - 1, max_frame_size=(1 << 63) - 1)
    connection.feed_frame(BINARY, b"abc", fin=False)
    connection.feed(header(CONT, size, key=None if client else KEY))
    assert close_code(connection) == 1009


@SIDES
def test_a2_exactly_the_limit(talk: Talk, client: bool) -> None:
    connection = talk(client=client, max_message_size=1000)
    data = fragments(connection, BINARY, b"abc", b"x" * 997)
    for pieces in ways(data, 40):
        connection.feed(*pieces)
        assert recv(connection) == b"abc" + b"x" * 997
    assert connection.written() == b""


@SIDES
@pytest.mark.parametrize("size", [*TOO_MUCH, *NEGATIVE.values()], ids=hex)
def test_a2_drop_in(client: bool, size: int) -> None:
    key = None if client else KEY
    data = build(BINARY, b"abc", fin=False, key=key) + header(CONT, size, key=key)
    for pieces in ([data], bytewise(data)):
        assert drop_in(pieces, client, max_size=1000).code == 1009
    if not client:
        outcome = drop_in_server(data, max_size=1000)
        assert (outcome.received, outcome.code) == ([], 1009)


@pytest.mark.parametrize("size", [*TOO_MUCH[:-1], *NEGATIVE.values()], ids=hex)
def test_a3_header_and_length_do_not_wrap(connect: Any, size: int) -> None:
    """A masked frame of such a length, with what looks like payload behind it. `hatch run asan` has the sanitizers."""
    connection = connect()
    data = header(BINARY, size, key=b"\xff\xff\xff\xff") + bytes(1000)
    connection.feed(data)
    assert close_code(connection) == 1009
    other = connect()
    other.feed(*bytewise(data[:14]), data[14:])
    assert close_code(other) == 1009
    assert connection.messages == other.messages == []


# --- A4 ---

RSS_SCRIPT = """
    import sys
    from fixtures.places import rss_bytes
    from fixtures.wire import BINARY, KEY, Connection, header
    from picows import _engine

    engine = _engine.load(sys.argv[1])
    limit = None if sys.argv[2] == "no limit" else 10 * 1024 * 1024

    def make():
        listener = engine.WSMessageListener(max_message_size=limit)
        options = {} if limit else {"max_frame_size": (1 << 63) - 1}
        return Connection(engine, listener=listener, **options)

    def growth(pieces):
        connection = make()
        before = rss_bytes()
        connection.feed(header(BINARY, 1 << 31, key=KEY), *pieces)
        grown = rss_bytes() - before
        sent = [frame.payload[:2].hex() for frame in connection.sent()]
        connection.shut()
        return grown, sent

    pieces = [bytes(60_000)] * 100
    growth(pieces)  # what is made once
    announced, received = growth([]), growth(pieces)
    print(announced[0], received[0], *announced[1], *received[1])
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc to read the resident memory")
@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="AddressSanitizer keeps what was freed for a while")
@pytest.mark.parametrize("limit", ["limit", "no limit"])
def test_a4_nothing_is_allocated_for_a_header(engine: Any, limit: str) -> None:
    """2 GiB are declared. With a limit that is 1009; without one, memory is only used by bytes that have come."""
    announced, received, *sent = in_process(RSS_SCRIPT, engine.name, limit).split()
    assert int(announced) < 64 * KIB
    assert int(received) < (64 * KIB if limit == "limit" else 6_000_000 + 1024 * KIB)
    assert sent == (["03f1", "03f1"] if limit == "limit" else [])


@LAYERS
@SIDES
@pytest.mark.parametrize("size", [1 << 50, 1 << 62, (1 << 63) - 1], ids=hex)
def test_a4_a_length_for_which_there_is_no_memory(
    connect: Any, talk: Talk, layer: str, client: bool, size: int
) -> None:
    """1009, and never an exception into the event loop; the messages before it are delivered."""
    connection = layer_of(connect, talk, layer, client=client, max_message_size=None, max_frame_size=(1 << 63) - 1)
    head = header(BINARY, size, key=None if client else KEY)
    connection.feed(connection.frame(BINARY, b"before") + head + b"x", bytes(60_000))
    assert close_code(connection) == 1009
    assert str(connection.transport._failure) == f"no memory for a frame of {size} bytes"
    if layer == "messages":
        assert recv(connection) == b"before"
    else:
        assert [message.payload for message in connection.messages] == [b"before"]


@SIDES
@LAYERS
def test_a4_an_unknown_opcode_comes_before_its_length(connect: Any, talk: Talk, layer: str, client: bool) -> None:
    """1002 with the first two bytes."""
    head = header(3, 1 << 31, key=None if client else KEY)
    for pieces in ways(head):
        connection = layer_of(connect, talk, layer, client=client)
        connection.feed(*pieces)
        assert close_code(connection) == 1002
    connection = layer_of(connect, talk, layer, client=client)
    connection.feed(head[:2])
    assert close_code(connection) == 1002


@SIDES
def test_a4_drop_in(client: bool) -> None:
    key = None if client else KEY
    assert drop_in(bytewise(header(3, 1 << 31, key=key)), client, max_size=MIB).code == 1002
    head = header(BINARY, 1 << 31, key=key)
    assert retained(lambda: drop_in([head], client, max_size=None))[1] < 64 * KIB
    assert retained(lambda: drop_in([head, bytes(100_000)], client, max_size=None))[1] < 300_000
    outcome = drop_in([head], client, max_size=MIB)
    assert (outcome.received, outcome.code) == ([], 1009)


# --- A5, A6 ---


@SIDES
def test_a5_the_limit_is_one_of_the_message(talk: Talk, client: bool) -> None:
    """Ten fragments of 100 are delivered, the eleventh fails with its header."""
    for size in (1, 7, 1200):
        connection = talk(client=client, max_message_size=1000)
        connection.feed(*bytewise(fragments(connection, BINARY, *[b"x" * 100] * 10), size))
        assert recv(connection) == b"x" * 1000
        data = b"".join(connection.frame(CONT if at else BINARY, b"x" * 100, fin=False) for at in range(10))
        pieces = [*bytewise(data, size), *bytewise(header(CONT, 100, key=None if client else KEY), size)]
        feed = connection.feed
        assert retained(lambda feed=feed, pieces=pieces: feed(*pieces[:-1]))[0] < 64 * KIB
        assert connection.written() == b""
        assert retained(lambda feed=feed, pieces=pieces: feed(pieces[-1]))[1] < 64 * KIB
        assert close_code(connection) == 1009


@SIDES
def test_a5_drop_in(client: bool) -> None:
    key = None if client else KEY
    ten = [build(CONT if at else BINARY, b"x" * 100, fin=at == 9, key=key) for at in range(10)]
    unfinished = b"".join(build(CONT if at else BINARY, b"x" * 100, fin=False, key=key) for at in range(10))
    outcome = drop_in([*ten, unfinished], client, max_size=1000)
    assert (b"".join(outcome.received), outcome.sent) == (b"x" * 2000, [])
    data = b"".join(ten) + unfinished + header(CONT, 100, key=key)
    assert drop_in(bytewise(data, 7), client, max_size=1000).code == 1009
    if not client:
        on_sockets = drop_in_server(data, max_size=1000)
        assert (on_sockets.received, on_sockets.code) == ([b"x" * 1000], 1009)


@SIDES
@LAYERS
@pytest.mark.parametrize("size", [1000, 65_536], ids=["small reads", "large reads"])
def test_a6_half_of_a_frame(connect: Any, talk: Talk, layer: str, client: bool, size: int) -> None:
    """A legal frame whose last byte does not come holds what it has; an illegal one nothing."""
    connection = layer_of(connect, talk, layer, client=client, max_message_size=MIB, max_frame_size=MIB)
    data = connection.frame(BINARY, bytes(MIB))[:-1]
    assert retained(lambda: connection.feed(*bytewise(data, size)))[0] <= MIB + 64 * KIB
    assert connection.written() == b""
    other = layer_of(connect, talk, layer, client=client, max_message_size=MIB, max_frame_size=MIB)
    data = other.frame(BINARY, bytes(MIB + 1))[:-1]
    assert retained(lambda: other.feed(*bytewise(data, size)))[0] < 64 * KIB
    assert close_code(other) == 1009


@SIDES
@pytest.mark.parametrize("size", [16, 100, 65_536])
def test_a6_drop_in(client: bool, size: int) -> None:
    """Whatever the reads are cut into: see B4."""
    key = None if client else KEY
    for excess, limit in ((0, MIB + 64 * KIB), (1, 64 * KIB)):
        data = build(BINARY, bytes(MIB + excess), key=key)[:-1]
        protocol = drop_in_protocol(client, max_size=MIB)

        def use(protocol: Any = protocol, data: Any = data) -> None:
            for at in range(0, len(data), size):
                protocol.receive_data(data[at : at + size])

        # A bytearray that grows has up to an eighth to spare.
        assert retained(use)[0] <= limit * 9 // 8
        assert bool(protocol.data_to_send()) is bool(excess)
