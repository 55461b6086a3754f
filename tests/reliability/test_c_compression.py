"""C: compression. The data of a peer goes into zlib; how much comes out, and how often, is ours to limit.

The codec is one for both engines and for the asyncio API of the drop-in (tests/unit/test_deflate.py has it alone); the
Sans-I/O and the threading API have an extension of their own.
"""

from __future__ import annotations

import random
import zlib
from typing import Any, List

import pytest
from fixtures.deflated import DEFLATE, NAME, RSV1, TAIL, codec, deflated, final_stream, message, payloads_of
from fixtures.feeding import (
    bytewise,
    close_code,
    drop_in,
    drop_in_protocol,
    drop_in_server,
    retained,
    ways,
)
from fixtures.messages import SIDES, Talk, recv, send
from fixtures.wire import BINARY, CLOSE, KEY, TEXT, Connection, build

from picows.deflate import (
    MAX_STREAMS,
    DeflateCodec,
    DeflateOptions,
    DeflateParameters,
)

KIB, MIB = 1024, 1024 * 1024
#: "Hello" with a final block: RFC 7692 7.2.3.4.
HELLO_FINAL = bytes.fromhex("f348cdc9c9070000")

PIECES = pytest.mark.parametrize("pieces", [1, 64], ids=["one frame", "64 fragments"])
BOMB = deflated(bytes(64 * MIB))


# --- C1, C2 ---


@SIDES
@PIECES
def test_c1_bomb(talk: Talk, client: bool, pieces: int) -> None:
    """64 MiB in 65 KB, 1 MiB allowed: 1009. Of the budget there are at most the chunks and what joins them."""
    connection = talk(client=client, codec=codec(client), max_message_size=MIB)
    data = message(BOMB, client, pieces)
    kept, peak = retained(lambda: connection.feed(data))
    assert close_code(connection) == 1009
    # With the frame itself; and where a fragment stays within the budget, while its chunks are joined.
    assert peak <= (MIB if pieces == 1 else 2 * MIB) + 256 * KIB + len(BOMB)
    assert kept <= MIB + 256 * KIB


@PIECES
def test_c1_drop_in(pieces: int) -> None:
    data = message(BOMB, False, pieces)
    protocol = drop_in_protocol(deflate=DEFLATE, max_size=MIB)
    _, peak = retained(lambda: protocol.receive_data(data))
    assert peak <= 2 * MIB + 256 * KIB + 2 * len(data)  # the fragments before, and the one that is too much
    assert drop_in([data], deflate=DEFLATE, max_size=MIB).code == 1009
    outcome = drop_in_server(data, NAME)
    assert (outcome.received, outcome.code) == ([], 1009)


@SIDES
@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("size", [1000, 65_536, 100_000])
def test_c2_exactly_at_the_limit(talk: Talk, client: bool, size: int, pieces: int) -> None:
    exact, more = deflated(b"x" * size), deflated(b"x" * (size + 1))
    with_empty_blocks = exact + TAIL + b"\x00" + TAIL + b"\x00"
    for payload, is_delivered in ((exact, True), (with_empty_blocks, True), (more, False)):
        data = message(payload, client, pieces)
        for step in (1, len(data)):
            connection = talk(client=client, codec=codec(client), max_message_size=size)
            parts = bytewise(data, step)
            kept, peak = retained(lambda connection=connection, parts=parts: connection.feed(*parts))
            assert kept <= size + 128 * KIB  # with the inflater
            assert peak <= (3 if pieces > 1 else 2) * size + 256 * KIB
            if is_delivered:
                assert recv(connection) == b"x" * size
                assert connection.written() == b""
            else:
                assert close_code(connection) == 1009
            connection.shut()
        if pieces == 1:  # of a later frame it counts the bytes on the wire too, as websockets does
            outcome = drop_in([data], client, DEFLATE, max_size=size)
            assert outcome.code == (None if is_delivered else 1009)
            assert not is_delivered or outcome.received == [b"x" * size]


# --- C3, C4 ---


@SIDES
@pytest.mark.parametrize("no_context", [False, True], ids=["context", "no context"])
def test_c3_a_final_block_ends_its_message_only(talk: Talk, client: bool, no_context: bool) -> None:
    parameters = {"server_no_context_takeover" if client else "client_no_context_takeover": no_context}
    data = message(HELLO_FINAL, client, opcode=TEXT) + message(deflated(b"important"), client, opcode=TEXT)
    for pieces in ways(data):
        connection = talk(client=client, codec=codec(client, **parameters))
        connection.feed(*pieces)
        assert [recv(connection), recv(connection)] == ["Hello", "important"]
        connection.shut()
        assert drop_in(pieces, client, (no_context, False, 15, 15)).received == [b"Hello", b"important"]


def test_c3_drop_in_on_sockets() -> None:
    """websockets 17.4 reads the second message as empty; we do not, on purpose."""
    data = message(HELLO_FINAL, opcode=TEXT) + message(deflated(b"important"), opcode=TEXT)
    outcome = drop_in_server(data + build(CLOSE, key=KEY), NAME)
    assert outcome.received == ["Hello", "important"]


@SIDES
def test_c3_two_streams_in_one_message(talk: Talk, client: bool) -> None:
    data = message(final_stream(b"first ") + final_stream(b"second"), client, 2)
    for pieces in ways(data):
        connection = talk(client=client, codec=codec(client))
        connection.feed(*pieces)
        assert recv(connection) == b"first second"
        connection.shut()
        assert b"".join(drop_in(pieces, client, DEFLATE).received) == b"first second"


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_c3_the_window_survives(talk: Talk, bits: int) -> None:
    """RFC 7692 7.2.2: the next message refers to bytes before the final block."""
    history = random.Random(1).randbytes(3 << bits)
    compressor = zlib.compressobj(wbits=-bits, zdict=history[-(1 << bits) :])
    again = history[-212:-12]
    referring = (compressor.compress(again) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(referring) < 100
    data = message(final_stream(history)) + message(referring)
    connection = talk(codec=codec(client_max_window_bits=bits))
    connection.feed(data)
    assert [recv(connection), recv(connection)] == [history, again]
    assert drop_in([data], deflate=(False, False, bits, bits)).received == [history, again]


class CountingZlib:
    """zlib, which counts inflaters, compressors, those that were freed, and the bytes that went in and came out."""

    error = zlib.error

    def __init__(self) -> None:
        self.made = self.freed = self.fed = self.inflated = 0

    def _count(self, context: Any) -> Any:
        counts = self
        self.made += 1

        class Context:
            def __getattr__(self, name: str) -> Any:
                return getattr(context, name)

            def decompress(self, data: Any, limit: int) -> bytes:
                counts.fed += len(data)
                inflated: bytes = context.decompress(data, limit)
                counts.inflated += len(inflated)
                return inflated

            def __del__(self) -> None:
                counts.freed += 1

        return Context()

    def decompressobj(self, *args: Any, **kwargs: Any) -> Any:
        """An inflater."""
        return self._count(zlib.decompressobj(*args, **kwargs))

    def compressobj(self, *args: Any, **kwargs: Any) -> Any:
        """A compressor."""
        return self._count(zlib.compressobj(*args, **kwargs))


@SIDES
@PIECES
def test_c4_many_empty_streams(talk: Talk, client: bool, pieces: int) -> None:
    """Instead of 50 ms: 1002 after so many inflaters, and what they are fed is in proportion to the input."""
    counts = CountingZlib()
    connection = talk(client=client, codec=DeflateCodec(DeflateParameters(), client, DeflateOptions(), counts))
    data = b"\x03\x00" * 200_000
    connection.feed(message(data, client, pieces))
    assert close_code(connection) == 1002
    assert counts.made <= MAX_STREAMS + 1
    assert counts.fed <= 64 * MAX_STREAMS + 2 * len(data)


@SIDES
def test_c4_many_empty_blocks(talk: Talk, client: bool) -> None:
    """An empty message, and the input is gone through once."""
    counts = CountingZlib()
    connection = talk(client=client, codec=DeflateCodec(DeflateParameters(), client, DeflateOptions(), counts))
    data = (b"\x00" + TAIL) * 100_000
    connection.feed(message(data, client))
    assert recv(connection) == b""
    assert (counts.made, connection.written()) == (1, b"")
    assert counts.fed <= 2 * len(data)


def test_c4_drop_in() -> None:
    assert drop_in([message(b"\x03\x00" * 200_000)], deflate=DEFLATE).code == 1002
    assert drop_in([message((b"\x00" + TAIL) * 100_000)], deflate=DEFLATE, max_size=MIB).received == [b""]
    outcome = drop_in_server(message(b"\x03\x00" * 200_000), NAME)
    assert (outcome.received, outcome.code) == ([], 1002)


@SIDES
@PIECES
@pytest.mark.parametrize("limit", [100, 1000, 100_000])
def test_c1_no_more_than_the_budget_is_inflated(talk: Talk, client: bool, pieces: int, limit: int) -> None:
    """And one byte, which tells that there is more."""
    counts = CountingZlib()
    own = DeflateCodec(DeflateParameters(), client, DeflateOptions(), counts)
    connection = talk(client=client, codec=own, max_message_size=limit)
    connection.feed(message(deflated(bytes(30 * limit)), client, pieces))
    assert close_code(connection) == 1009
    assert limit <= counts.inflated <= limit + 1


# --- C9, C10 ---


@pytest.mark.parametrize("chunk", [4096, 16_384, 32_768, 65_536])
@pytest.mark.parametrize("kind", ["random", "zeros"])
def test_c9_sizes_around_chunks(talk: Talk, chunk: int, kind: str) -> None:
    """n - 1, n, n + 1, whole and cut; `hatch run asan` runs it with the sanitizer."""
    connection = talk(codec=codec())
    protocol = drop_in_protocol(deflate=DEFLATE)
    for size in (chunk - 1, chunk, chunk + 1):
        payload = random.Random(size).randbytes(size) if kind == "random" else bytes(size)
        for data in (deflated(payload), final_stream(payload)):
            for pieces in (1, 2, 3):
                frames = message(data, False, pieces)
                connection.feed(frames)
                protocol.receive_data(frames)
                assert recv(connection) == payload
                assert b"".join(bytes(event.data) for event in protocol.events_received()) == payload
    assert connection.written() == b""


def test_c10_the_last_message_is_not_kept(talk: Talk) -> None:
    """After an echo of 8 MiB; the contexts themselves are what zlib takes for its windows."""
    connection = talk(codec=codec(), max_message_size=16 * MIB)
    text = random.Random(1).randbytes(1000)
    compressor = zlib.compressobj(wbits=-15)

    def echo(count: int) -> None:
        data = (compressor.compress(text * count) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        connection.feed(message(data))
        send(connection, recv(connection))
        connection.written()

    echo(1)
    assert retained(lambda: echo(8400))[0] <= 256 * KIB


def test_c10_every_context_is_freed(engine: Any) -> None:
    """500 connections of two contexts: as many are ended as begun, and nothing is kept."""
    counts = CountingZlib()

    def use(rounds: int) -> None:
        for _ in range(rounds):
            own = DeflateCodec(DeflateParameters(), False, DeflateOptions(), counts)
            connection = Connection(engine, listener=engine.WSMessageListener(codec=own))
            connection.feed(message(deflated(b"x" * 100)))
            send(connection, recv(connection))
            connection.shut()

    use(10)
    kept = [retained(lambda: use(245))[0] for _ in range(2)]
    assert min(kept) <= 16 * KIB  # tables of the interpreter grow now and then
    assert (counts.made, counts.freed) == (1000, 1000)


# --- C11, C12, C13 ---


@SIDES
@pytest.mark.parametrize(
    "data", [b"\xff" * 50, b"\x07", b"\x00\x05\x00\xff\xff", b"\x01\x05\x00\x00\x00Hello"], ids=bytes.hex
)
def test_c11_garbage(talk: Talk, client: bool, data: bytes) -> None:
    """1002; never 1000, and never the end of the stream alone."""
    for pieces in ways(message(data, client)):
        connection = talk(client=client, codec=codec(client))
        connection.feed(*pieces)
        assert close_code(connection) == 1002
        connection.shut()
        assert drop_in(pieces, client, DEFLATE).code == 1002
    if not client:
        outcome = drop_in_server(message(data), NAME)
        assert (outcome.received, outcome.code) == ([], 1002)


@SIDES
@pytest.mark.parametrize("data", [b"", b"\x00", b"\x02\x00"], ids=["no bytes", "00", "fixed block"])
def test_c12_empty_messages(talk: Talk, client: bool, data: bytes) -> None:
    """Accepted in each form, twice because zlib remembers; we send 00."""
    connection = talk(client=client, codec=codec(client))
    wire = message(data, client) + message(deflated(b"next"), client)
    for pieces in ways(wire * 2):
        connection.feed(*pieces)
        assert [recv(connection) for _ in range(4)] == [b"", b"next"] * 2
        send(connection, b"")
        ((opcode, payload, fin, rsv, _),) = connection.sent()
        assert (opcode, payload, fin, rsv) == (BINARY, b"\x00", True, RSV1)
        assert drop_in(pieces, client, DEFLATE).received == [b"", b"next"] * 2
    protocol = drop_in_protocol(client, DEFLATE)
    for _ in range(2):
        protocol.send_binary(b"")
        assert payloads_of(protocol) == [b"\x00"]


def test_c13_memory_of_idle_connections(talk: Talk) -> None:
    """Contexts are made on first use, and given back by `release`; what remains is the peer's window."""

    def contexts(is_used: bool) -> int:
        counts = CountingZlib()
        agreed = DeflateParameters(client_max_window_bits=12, server_max_window_bits=12)
        own = DeflateCodec(agreed, False, DeflateOptions(), counts)
        connection = talk(codec=own)
        if is_used:
            connection.feed(message(deflated(b"x" * 100, 12)))
            send(connection, recv(connection))
            connection.written()
            own.release()
        return counts.made - counts.freed

    assert contexts(False) == contexts(True) == 0
    codecs: List[DeflateCodec] = []

    def idle() -> Any:
        for _ in range(100):
            one = codec(client_max_window_bits=12, server_max_window_bits=12)
            one.compress(b"x" * 100)
            one.decompress(deflated(b"x" * 5000, 12), True)
            one.release()
            codecs.append(one)

    assert retained(idle)[0] < 100 * 12 * KIB
