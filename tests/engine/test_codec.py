"""The codec of permessage-deflate against raw zlib: of both engines, by the same tests."""

from __future__ import annotations

import contextlib
import random
import time
import zlib
from typing import Any

import pytest
from fixtures.deflate_strategies import OPTIONS
from fixtures.deflated import TAIL, deflated
from hypothesis import given, settings
from hypothesis import strategies as st

from picows import inflate
from picows.deflate import MAX_STREAMS, DeflateOptions, DeflateParameters, negotiate, offer
from picows.errors import WSMessageTooBigError, WSProtocolError


@pytest.fixture(scope="session")
def new_codec(engine: Any) -> Any:
    """The codec's class."""
    return engine.DeflateCodec


@pytest.fixture(scope="session")
def codec(new_codec: Any) -> Any:
    """Make a codec: its side, its options, what was agreed on."""

    def make(is_client_side: bool = False, options: Any = None, **parameters: Any) -> Any:
        return new_codec(DeflateParameters(**parameters), is_client_side, options or DeflateOptions())

    return make


def final_stream(payload: bytes, **kwargs: Any) -> bytes:
    compressor = zlib.compressobj(wbits=-15, **kwargs)
    return compressor.compress(payload) + compressor.flush(zlib.Z_FINISH)


MESSAGES = st.lists(
    st.binary(max_size=300) | st.builds(lambda part, times: part * times, st.binary(max_size=20), st.integers(0, 5000))
)


@settings(max_examples=60, deadline=None)
@given(client=OPTIONS, server=OPTIONS, messages=MESSAGES, seed=st.integers(0, 2**32))
def test_messages_survive_both_ways_in_any_fragments(
    new_codec: Any, client: DeflateOptions, server: DeflateOptions, messages: list[bytes], seed: int
) -> None:
    agreed = negotiate(server, [offer(client)])
    assert agreed is not None
    parameters = agreed[1]
    ends = new_codec(parameters, True, client), new_codec(parameters, False, server)
    choose = random.Random(seed)
    for message in messages:
        for sender, receiver in (ends, ends[::-1]):
            data = sender.compress(message)
            cuts = sorted(choose.choices(range(len(data) + 1), k=choose.randrange(4)))
            pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)])]
            received = b""
            for number, piece in enumerate(pieces, 1):
                received += receiver.decompress(memoryview(piece), number == len(pieces), len(message) - len(received))
                if choose.random() < 0.2:
                    receiver.release()
            assert received == message
            if choose.random() < 0.2:
                sender.release()


@settings(max_examples=40, deadline=None)
@given(bits=st.integers(9, 15), is_client_side=st.booleans(), messages=MESSAGES)
def test_raw_zlib_with_the_agreed_window_reads_what_we_send(
    codec: Any, bits: int, is_client_side: bool, messages: list[bytes]
) -> None:
    ours = "client_max_window_bits" if is_client_side else "server_max_window_bits"
    sender = codec(is_client_side, **{ours: bits})
    inflater = zlib.decompressobj(-bits)
    for message in messages:
        assert inflater.decompress(sender.compress(message) + TAIL) == message


@settings(max_examples=40, deadline=None)
@given(bits=st.integers(9, 15), is_client_side=st.booleans(), messages=MESSAGES)
def test_we_read_what_raw_zlib_with_the_agreed_window_sends(
    codec: Any, bits: int, is_client_side: bool, messages: list[bytes]
) -> None:
    theirs = "server_max_window_bits" if is_client_side else "client_max_window_bits"
    receiver = codec(is_client_side, **{theirs: bits})
    compressor = zlib.compressobj(wbits=-bits)
    for number, message in enumerate(messages):
        data = compressor.compress(message) + compressor.flush(zlib.Z_FULL_FLUSH if number % 2 else zlib.Z_SYNC_FLUSH)
        assert receiver.decompress(data[: -len(TAIL)] if data else b"\x00", True) == message


BOMB = deflated(bytes(64 * 1024 * 1024))


def test_C1_bomb_costs_no_more_than_its_budget(codec: Any) -> None:
    limit = 1024 * 1024
    receiver = codec()
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy has no tracemalloc")
    tracemalloc.start()
    try:
        with pytest.raises(WSMessageTooBigError) as caught:
            receiver.decompress(BOMB, True, limit)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (caught.value.code, caught.value.limit, caught.value.size) == (1009, limit, limit + 1)
    assert peak <= limit + 256 * 1024


def test_C1_bomb_in_64_fragments(codec: Any) -> None:
    limit, total = 1024 * 1024, 0
    receiver = codec()
    step = len(BOMB) // 64
    with pytest.raises(WSMessageTooBigError) as caught:
        for start in range(0, len(BOMB), step):
            total += len(receiver.decompress(BOMB[start : start + step], False, limit - total))
    assert total <= limit
    assert caught.value.limit == limit


@pytest.mark.parametrize("size", [0, 1, 1000, 65_535, 65_536, 65_537, 1_000_000])
def test_C2_exactly_at_the_limit(codec: Any, size: int) -> None:
    data = deflated(bytes(size))
    assert codec().decompress(data, True, size) == bytes(size)
    with pytest.raises(WSMessageTooBigError):
        codec().decompress(deflated(bytes(size + 1)), True, size)
    trailing_empty_blocks = data + TAIL + b"\x00" + TAIL + b"\x00"
    assert codec().decompress(trailing_empty_blocks, True, size) == bytes(size)


def test_negative_budget_is_misuse(codec: Any) -> None:
    with pytest.raises(ValueError, match="at least 0, got -1"):
        codec().decompress(b"\x00", True, -1)


HELLO_FINAL = bytes.fromhex("f348cdc9c9070000")  # RFC 7692 7.2.3.4


@pytest.mark.parametrize("no_context", [False, True])
def test_C3_a_message_after_a_final_block_is_intact(codec: Any, no_context: bool) -> None:
    receiver = codec(client_no_context_takeover=no_context)
    for _ in range(3):
        assert receiver.decompress(HELLO_FINAL, True, 5) == b"Hello"
        assert receiver.decompress(deflated(b"important"), True, 9) == b"important"


@pytest.mark.parametrize("end", [b"", b"\x00"], ids=["ends with the stream", "ends with an empty block"])
def test_C3_two_final_streams_in_one_message(codec: Any, end: bytes) -> None:
    receiver = codec()
    data = final_stream(b"first ") + final_stream(b"second") + end
    for cut in range(len(data) + 1):
        got = receiver.decompress(data[:cut], False) + receiver.decompress(data[cut:], True)
        assert got == b"first second", cut


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_C3_the_window_survives_a_final_block(codec: Any, bits: int) -> None:
    history = random.Random(1).randbytes((1 << bits) * 3)
    window = history[-(1 << bits) :]
    receiver = codec(client_max_window_bits=bits)
    assert receiver.decompress(final_stream(history), True) == history
    # A peer that goes on with its window refers back to bytes before the final block.
    compressor = zlib.compressobj(wbits=-bits, zdict=window)
    again = window[300:500]
    data = (compressor.compress(again) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(data) < 100
    assert receiver.decompress(data, True) == again


def test_C3_no_window_is_kept_without_context_takeover(codec: Any) -> None:
    history = random.Random(1).randbytes(1000)
    receiver = codec(client_no_context_takeover=True)
    assert receiver.decompress(final_stream(history), True) == history
    compressor = zlib.compressobj(wbits=-15, zdict=history)
    data = (compressor.compress(history) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with pytest.raises(WSProtocolError):
        receiver.decompress(data, True)


def test_C4_streams_of_a_message_are_limited(codec: Any) -> None:
    receiver = codec()
    for _ in range(2):  # the count begins anew with each message
        assert receiver.decompress(b"\x03\x00" * MAX_STREAMS, True) == b""
    started = time.process_time()
    with pytest.raises(WSProtocolError, match=str(MAX_STREAMS)) as caught:
        receiver.decompress(b"\x03\x00" * 200_000, True)
    assert caught.value.code == 1002
    assert time.process_time() - started < 0.5


def test_C4_streams_are_counted_across_fragments(codec: Any) -> None:
    receiver = codec()
    with pytest.raises(WSProtocolError, match="final"):
        for _ in range(MAX_STREAMS + 1):
            receiver.decompress(b"\x03\x00", False)


def test_C4_restarts_are_linear_in_the_input(new_codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflate, "MAX_STREAMS", 10**9)

    class CountingZlib:
        """zlib that counts the bytes it is given."""

        error = zlib.error
        fed = 0

        @classmethod
        def decompressobj(cls, *args: Any, **kwargs: Any) -> Any:
            inflater = zlib.decompressobj(*args, **kwargs)

            class Inflater:
                eof = property(lambda self: inflater.eof)
                unused_data = property(lambda self: inflater.unused_data)
                unconsumed_tail = property(lambda self: inflater.unconsumed_tail)

                def decompress(self, data: Any, limit: int) -> bytes:
                    cls.fed += len(data)
                    return inflater.decompress(data, limit)

            return Inflater()

    data = final_stream(b"abc") * 20_000
    receiver = new_codec(DeflateParameters(), False, DeflateOptions(), CountingZlib)
    assert receiver.decompress(data, True) == b"abc" * 20_000
    assert CountingZlib.fed < 20 * len(data)


def test_C4_empty_stored_blocks_are_an_empty_message(codec: Any) -> None:
    started = time.process_time()
    assert codec().decompress((b"\x00" + TAIL) * 100_000, True, 0) == b""
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15])
def test_C7_nothing_we_send_refers_beyond_the_agreed_window(codec: Any, bits: int) -> None:
    # Every part repeats at a distance of 32 KiB and at shorter ones, so that a larger window would be used.
    source = random.Random(bits)
    block = source.randbytes(32 * 1024)
    corpus = b"".join(block[start : start + 700] for start in (source.randrange(len(block)) for _ in range(300)))
    for is_client_side in (False, True):
        ours = "client_max_window_bits" if is_client_side else "server_max_window_bits"
        sender = codec(is_client_side, DeflateOptions(level=9, mem_level=9), **{ours: bits})
        inflater = zlib.decompressobj(-bits)
        for message in (block, block, corpus):
            assert inflater.decompress(sender.compress(message) + TAIL) == message


def test_C7_a_peer_that_exceeds_its_window_is_refused(codec: Any) -> None:
    block = random.Random(1).randbytes(2048)
    compressor = zlib.compressobj(wbits=-15)
    messages = [(compressor.compress(block) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4] for _ in range(2)]
    receiver = codec(client_max_window_bits=9)
    assert receiver.decompress(messages[0], True) == block
    with pytest.raises(WSProtocolError, match="damaged") as caught:
        receiver.decompress(messages[1], True)
    assert caught.value.code == 1002


@pytest.mark.parametrize("server", [False, True], ids=["server keeps", "server forgets"])
@pytest.mark.parametrize("client", [False, True], ids=["client keeps", "client forgets"])
@pytest.mark.parametrize("is_client_side", [False, True], ids=["server side", "client side"])
def test_C8_context_takeover_of_each_direction(codec: Any, server: bool, client: bool, is_client_side: bool) -> None:
    message = random.Random(1).randbytes(200)
    ours, theirs = (client, server) if is_client_side else (server, client)
    local = codec(is_client_side, server_no_context_takeover=server, client_no_context_takeover=client)

    sent = [local.compress(message) for _ in range(3)]
    inflater = zlib.decompressobj(-15)
    for data in sent:
        if ours:
            inflater = zlib.decompressobj(-15)
        assert inflater.decompress(data + TAIL) == message
    assert (len(sent[1]) < len(sent[0]) / 2) is not ours

    compressor = zlib.compressobj(wbits=-15)
    received = [(compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4] for _ in range(2)]
    assert local.decompress(received[0], True) == message
    if theirs:
        with pytest.raises(WSProtocolError, match="damaged"):
            local.decompress(received[1], True)
    else:
        assert local.decompress(received[1], True) == message


@pytest.mark.parametrize("chunk", [4096, 16_384, 65_536, 131_072])
@pytest.mark.parametrize("difference", [-1, 0, 1])
@pytest.mark.parametrize("kind", ["random", "zeros", "mixed"])
def test_C9_sizes_around_the_chunks_of_the_inflater(codec: Any, chunk: int, difference: int, kind: str) -> None:
    size = chunk + difference
    payload = {"random": random.Random(size).randbytes(size), "zeros": bytes(size)}.get(kind)
    if payload is None:
        payload = (random.Random(size).randbytes(size // 2) + bytes(size))[:size]
    for data in (deflated(payload), final_stream(payload)):
        assert codec().decompress(data, True, size) == payload
        split = codec()
        assert split.decompress(data[:-1], False, size) + split.decompress(data[-1:], True) == payload


def test_C9_output_that_waits_inside_zlib_is_not_forgotten(codec: Any) -> None:
    # The match of the last byte of input fills the chunk and goes on: the input is consumed, the output is not.
    payload = bytes(65_536 * 3)
    data = deflated(payload)
    receiver = codec()
    got = b"".join(receiver.decompress(data[i : i + 1], False, None) for i in range(len(data)))
    assert got + receiver.decompress(b"", True) == payload


@pytest.mark.parametrize("release", [False, True], ids=["in use", "released"])
def test_C10_the_last_message_is_not_kept(codec: Any, release: bool) -> None:
    receiver = codec(client_max_window_bits=12)
    data = deflated(random.Random(1).randbytes(8 * 1024 * 1024), 12)
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy has no tracemalloc")
    tracemalloc.start()
    try:
        receiver.decompress(data, True)
        if release:
            receiver.release()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < (12 if release else 256) * 1024


@pytest.mark.parametrize("data", [b"\xff" * 50, b"\x07", bytes.fromhex("ff00ff00ff00"), b"\x01\x05\x00\x00\x00Hello"])
def test_C11_garbage_is_a_protocol_error(codec: Any, data: bytes) -> None:
    with pytest.raises(WSProtocolError, match="damaged") as caught:
        codec().decompress(data, True)
    assert caught.value.code == 1002


@given(st.binary(max_size=200), st.booleans())
def test_C11_arbitrary_bytes_raise_nothing_else(codec: Any, data: bytes, fin: bool) -> None:
    with contextlib.suppress(WSProtocolError):
        assert len(codec().decompress(data, fin, 1000)) <= 1000


def test_C12_an_empty_message_is_one_zero_byte(codec: Any) -> None:
    sender = codec(is_client_side=True)
    assert [sender.compress(b"") for _ in range(3)] == [b"\x00"] * 3
    assert codec().decompress(sender.compress(b"text") + b"", True) == b"text"
    assert sender.compress(b"") == b"\x00"


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x02\x00"], ids=["no bytes", "00", "fixed block"])
def test_C12_empty_messages_are_accepted_in_each_form(codec: Any, data: bytes) -> None:
    receiver = codec()
    for _ in range(2):
        assert receiver.decompress(data, True, 0) == b""
        assert receiver.decompress(deflated(b"next"), True) == b"next"
        assert receiver.decompress(b"", False) + receiver.decompress(data, True) == b""


def test_C13_zlib_contexts_are_made_on_first_use(codec: Any) -> None:
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy has no tracemalloc")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        codecs = [codec(True, client_max_window_bits=12, server_max_window_bits=12) for _ in range(100)]
        idle = (tracemalloc.get_traced_memory()[0] - before) / 100
        for one in codecs:
            one.compress(b"x" * 100)
            one.decompress(deflated(b"x" * 100, 12), True)
            one.release()
        released = (tracemalloc.get_traced_memory()[0] - before) / 100
    finally:
        tracemalloc.stop()
    assert idle < 1024
    assert released < 2048


def test_C13_release_keeps_the_window_of_the_peer(codec: Any) -> None:
    receiver = codec()
    compressor = zlib.compressobj(wbits=-15)
    for number in range(50):
        message = b"the same words again " * 100 + str(number).encode() * 700
        data = (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        half = len(data) // 2
        first = receiver.decompress(data[:half], False)
        receiver.release()  # within a message it must not lose the inflater
        assert first + receiver.decompress(data[half:], True) == message
        receiver.release()


def test_short_messages_are_left_alone(codec: Any) -> None:
    short = codec(options=DeflateOptions(threshold=100))
    assert not short.should_compress(99)
    assert short.should_compress(100)
    assert codec().should_compress(0)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_payloads_of_every_bytes_like_type(codec: Any, kind: Any) -> None:
    message = random.Random(1).randbytes(100_000)
    source = kind(message)
    data = codec(is_client_side=True).compress(source)
    assert codec().decompress(kind(data), True) == message
    assert bytes(source) == message


@pytest.mark.parametrize("size", [1, 10, 100, 700, 1024, 1025, 3000], ids=str)
@pytest.mark.parametrize("bits", [9, 10])
def test_messages_after_a_rest_refer_to_those_before(codec: Any, bits: int, size: int) -> None:
    # Of messages shorter, as long as, and longer than the window, whose ends the codec keeps by itself.
    sender, receiver = codec(True, client_max_window_bits=bits), codec(client_max_window_bits=bits)
    source = random.Random(size)
    latest = b""
    for _ in range(200):
        latest += source.randbytes(size)
        assert receiver.decompress(sender.compress(latest[-size:]), True) == latest[-size:]
    window = latest[-min(1 << bits, 250) :]
    for end in (sender, receiver):
        end.release()
    assert len(sender._sent) == len(receiver._received) == min(1 << bits, len(latest))
    again = sender.compress(window)
    assert len(again) < len(window) / 2 + 8
    assert receiver.decompress(again, True) == window


def test_short_messages_are_not_kept_one_by_one(codec: Any) -> None:
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy has no tracemalloc")
    ends = codec(True, client_max_window_bits=12), codec(client_max_window_bits=12)
    tracemalloc.start()
    try:
        for number in range(5000):
            ends[1].decompress(ends[0].compress(b"%05d" % number), True)
        before = tracemalloc.get_traced_memory()[0]
        for number in range(5000):
            ends[1].decompress(ends[0].compress(b"%05d" % number), True)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert max(before, kept) < 64 * 1024 + 400 * 1024  # zlib's own contexts are counted, too
    assert abs(kept - before) < 16 * 1024


def test_the_first_use_after_a_rest_is_noticed(new_codec: Any) -> None:
    class Noticing(new_codec):  # type: ignore[misc]
        uses = 0

        def _on_use(self) -> None:
            self._is_used = True
            self.uses += 1

    codec = Noticing(DeflateParameters(), True)
    for _ in range(2):
        codec._is_used = False
        codec.compress(b"one")
        codec.decompress(deflated(b"two"), True)
        codec._is_used = False
        codec.decompress(b"", False)
    assert codec.uses == 4


@pytest.mark.parametrize("wrong", ["text", None, 1], ids=repr)
def test_what_is_not_bytes_is_refused(codec: Any, wrong: Any) -> None:
    with pytest.raises(TypeError):
        codec().compress(wrong)
    with pytest.raises(TypeError):
        codec().decompress(wrong, True)


def test_a_message_of_a_subclass_of_bytes(codec: Any) -> None:
    class Bytes(bytes):
        pass

    assert codec().decompress(codec(True).compress(Bytes(b"text")), True) == b"text"
