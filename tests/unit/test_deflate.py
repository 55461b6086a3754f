"""permessage-deflate: negotiation of both roles, and the codec against raw zlib."""

from __future__ import annotations

import contextlib
import random
import time
import zlib
from typing import Any, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picows import deflate
from picows.deflate import (
    MAX_STREAMS,
    SERVER_DEFLATE,
    DeflateCodec,
    DeflateOptions,
    DeflateParameters,
    accept_response,
    negotiate,
    offer,
)
from picows.errors import WSInvalidHeaderError, WSMessageTooBigError, WSProtocolError
from picows.extensions import build_extension, parse_extensions

TAIL = b"\x00\x00\xff\xff"
NAME = "permessage-deflate"


def codec(is_client_side: bool = False, options: Any = None, **parameters: Any) -> DeflateCodec:
    return DeflateCodec(DeflateParameters(**parameters), is_client_side, options or DeflateOptions())


def deflated(payload: bytes, bits: int = 15) -> bytes:
    """One message as a peer compresses it."""
    compressor = zlib.compressobj(wbits=-bits)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]


def final_stream(payload: bytes, **kwargs: Any) -> bytes:
    compressor = zlib.compressobj(wbits=-15, **kwargs)
    return compressor.compress(payload) + compressor.flush(zlib.Z_FINISH)


# -- The header -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("foo", [("foo", [])], id="name"),
        pytest.param("a, b", [("a", []), ("b", [])], id="two"),
        pytest.param("a;x=1; y , b", [("a", [("x", "1"), ("y", None)]), ("b", [])], id="parameters"),
        pytest.param(' a \t;\tx = "1" ', [("a", [("x", "1")])], id="white space"),
        pytest.param(r'a; x="\1\2"', [("a", [("x", "12")])], id="escapes"),
        pytest.param('a; x=""', [("a", [("x", "")])], id="empty quoted value"),
        pytest.param(", ,a,,b ,", [("a", []), ("b", [])], id="empty elements"),
        pytest.param("a; x=1; x=2", [("a", [("x", "1"), ("x", "2")])], id="repeated parameter"),
    ],
)
def test_parse_extensions(value: str, expected: Any) -> None:
    assert parse_extensions(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "", " ", ",", " , ,", "a b", "a;", "a; =1", "a; x=", "a; x= ", 'a; x="1', 'a; x="1"2', 'a; x="1 2"', 'a; x="\\',
        "a x=1", "é", "a; x=é", "a\n", "a; x=1\r\n", "=", ";", 'a; "x"', "a/b", "a; x==1",
    ],
)  # fmt: skip
def test_parse_extensions_refuses(value: str) -> None:
    with pytest.raises(WSInvalidHeaderError) as caught:
        parse_extensions(value)
    assert caught.value.name == "Sec-WebSocket-Extensions"
    assert caught.value.value == value


@pytest.mark.parametrize(
    "value",
    [
        "a" + " " * 50_000 + "b",
        'a; b="' + "\\c" * 25_000,
        "a; b=" + " " * 50_000 + ";",
        "a" + ";" + " " * 50_000,
        "a; " + "b" * 50_000 + "=" + "\t" * 50_000,
        "," * 50_000,
    ],
    ids=["spaces", "escapes", "spaces after =", "spaces after ;", "tabs", "commas"],
)
def test_H9_header_is_parsed_in_linear_time(value: str) -> None:
    started = time.process_time()
    with pytest.raises(WSInvalidHeaderError) as caught:
        parse_extensions(value)
    assert time.process_time() - started < 0.5
    assert len(str(caught.value)) < 200


def test_build_extension() -> None:
    assert build_extension("a") == "a"
    assert build_extension("a", [("x", None), ("y", "1")]) == "a; x; y=1"


@pytest.mark.parametrize(
    ("name", "parameters"), [("", []), ("a b", []), ("a", [("x", "")]), ("a", [("x\r\n", None)]), ("a", [("x", "1\n")])]
)
def test_H12_build_extension_refuses_what_is_not_a_token(name: str, parameters: Any) -> None:
    with pytest.raises(ValueError, match="not a token"):
        build_extension(name, parameters)


@given(
    st.lists(
        st.tuples(
            st.text("abc-!9", min_size=1),
            st.lists(st.tuples(st.text("xyz", min_size=1), st.none() | st.text("0129._", min_size=1))),
        ),
        min_size=1,
    )
)
def test_what_is_built_is_parsed(extensions: Any) -> None:
    assert parse_extensions(", ".join(build_extension(*extension) for extension in extensions)) == extensions


# -- Options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kwargs"),
    [
        (TypeError, {"server_no_context_takeover": 1}),
        (TypeError, {"client_no_context_takeover": None}),
        (TypeError, {"require_client_max_window_bits": "yes"}),
        (ValueError, {"server_max_window_bits": 8}),
        (ValueError, {"server_max_window_bits": 16}),
        (TypeError, {"server_max_window_bits": True}),
        (TypeError, {"server_max_window_bits": "12"}),
        (ValueError, {"client_max_window_bits": 8}),
        (TypeError, {"client_max_window_bits": False}),
        (ValueError, {"level": 10}),
        (ValueError, {"level": -2}),
        (TypeError, {"level": 1.0}),
        (ValueError, {"mem_level": 0}),
        (ValueError, {"mem_level": 10}),
        (ValueError, {"threshold": -1}),
        (ValueError, {"require_client_max_window_bits": True}),
        (ValueError, {"require_client_max_window_bits": True, "client_max_window_bits": None}),
    ],
    ids=str,
)
def test_options_are_validated(error: type[Exception], kwargs: Any) -> None:
    with pytest.raises(error, match=next(iter(kwargs))):
        DeflateOptions(**kwargs)


# -- Negotiation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({}, f"{NAME}; client_max_window_bits"),
        ({"client_max_window_bits": None}, NAME),
        ({"client_max_window_bits": 10, "server_max_window_bits": 11},
         f"{NAME}; server_max_window_bits=11; client_max_window_bits=10"),
        ({"client_max_window_bits": None, "server_no_context_takeover": True, "client_no_context_takeover": True},
         f"{NAME}; server_no_context_takeover; client_no_context_takeover"),
    ],
    ids=["default", "bare", "bits", "context"],
)  # fmt: skip
def test_offer(kwargs: Any, expected: str) -> None:
    assert offer(DeflateOptions(**kwargs)) == expected


@pytest.mark.parametrize(
    ("kwargs", "response", "expected"),
    [
        ({}, NAME, DeflateParameters()),
        ({}, f"{NAME}; client_max_window_bits=10", DeflateParameters(client_max_window_bits=10)),
        ({}, f'{NAME}; server_max_window_bits="9"', DeflateParameters(server_max_window_bits=9)),
        ({}, f"{NAME}; server_no_context_takeover; client_no_context_takeover",
         DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)),
        ({"client_max_window_bits": 10}, NAME, DeflateParameters(client_max_window_bits=10)),
        ({"client_max_window_bits": 10}, f"{NAME}; client_max_window_bits=9",
         DeflateParameters(client_max_window_bits=9)),
        ({"client_no_context_takeover": True}, NAME, DeflateParameters(client_no_context_takeover=True)),
        ({"server_max_window_bits": 12}, f"{NAME}; server_max_window_bits=11",
         DeflateParameters(server_max_window_bits=11)),
        ({"server_no_context_takeover": True}, f"{NAME}; server_no_context_takeover",
         DeflateParameters(server_no_context_takeover=True)),
        ({}, None, None),
    ],
)  # fmt: skip
def test_accept_response(kwargs: Any, response: Optional[str], expected: Optional[DeflateParameters]) -> None:
    assert accept_response(DeflateOptions(**kwargs), response) == expected


BAD_BITS = ["7", "8", "16", "99", '""', "+9", "09", "x", "1_0", "9.0", "015", "-9", "0x9"]
BAD_PARAMETERS = [
    *[f"server_max_window_bits={bits}" for bits in BAD_BITS],
    *[f"client_max_window_bits={bits}" for bits in BAD_BITS],
    "server_max_window_bits",
    "server_max_window_bits=9; server_max_window_bits=9",
    "server_max_window_bits=٩",
    "server_no_context_takeover=1",
    "client_no_context_takeover; client_no_context_takeover",
    "constructor",
    "x" * 10_000,
    "Server_no_context_takeover",
]


@pytest.mark.parametrize(
    "response",
    [
        *[f"{NAME}; {parameters}" for parameters in BAD_PARAMETERS],
        f"{NAME}; server_max_window_bits=",
        f"{NAME}; client_max_window_bits",
        "",
        "x-unknown",
        f"{NAME}, x-unknown",
        f"{NAME}, {NAME}",
        "x-webkit-deflate-frame",
    ],
    ids=lambda text: text[:60],
)
def test_C6_client_refuses_an_invalid_response(response: str) -> None:
    with pytest.raises(WSInvalidHeaderError) as caught:
        accept_response(DeflateOptions(), response)
    assert caught.value.value == response
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("kwargs", "response"),
    [
        ({"server_no_context_takeover": True}, NAME),
        ({"server_max_window_bits": 12}, NAME),
        ({"server_max_window_bits": 12}, f"{NAME}; server_max_window_bits=13"),
        ({"client_max_window_bits": None}, f"{NAME}; client_max_window_bits=15"),
        ({"client_max_window_bits": 10}, f"{NAME}; client_max_window_bits=11"),
    ],
)
def test_C6_client_refuses_a_response_that_does_not_fit_the_offer(kwargs: Any, response: str) -> None:
    with pytest.raises(WSInvalidHeaderError, match=r"context_takeover|window_bits"):
        accept_response(DeflateOptions(**kwargs), response)


@pytest.mark.parametrize("parameters", [*BAD_PARAMETERS, "server_max_window_bits="], ids=lambda text: text[:60])
def test_C6_server_declines_an_invalid_offer(parameters: str) -> None:
    assert negotiate(SERVER_DEFLATE, [f"{NAME}; {parameters}"]) is None
    agreed = negotiate(SERVER_DEFLATE, [f"{NAME}; {parameters}", NAME])
    assert agreed == (f"{NAME}; server_max_window_bits=12", DeflateParameters(server_max_window_bits=12))


@pytest.mark.parametrize(
    ("kwargs", "offers", "response", "expected"),
    [
        ({}, [NAME], NAME, DeflateParameters()),
        ({}, [f"{NAME}; client_max_window_bits"], NAME, DeflateParameters()),
        ({}, [f"{NAME}; client_max_window_bits=11"], f"{NAME}; client_max_window_bits=11",
         DeflateParameters(client_max_window_bits=11)),
        ({"client_max_window_bits": 12}, [f"{NAME}; client_max_window_bits=11"], f"{NAME}; client_max_window_bits=11",
         DeflateParameters(client_max_window_bits=11)),
        ({"client_max_window_bits": 10}, [f"{NAME}; client_max_window_bits"], f"{NAME}; client_max_window_bits=10",
         DeflateParameters(client_max_window_bits=10)),
        ({"client_max_window_bits": 10}, [NAME], NAME, DeflateParameters()),
        ({"server_max_window_bits": 12}, [f"{NAME}; server_max_window_bits=14"], f"{NAME}; server_max_window_bits=12",
         DeflateParameters(server_max_window_bits=12)),
        ({"server_max_window_bits": 12}, [f"{NAME}; server_max_window_bits=10"], f"{NAME}; server_max_window_bits=10",
         DeflateParameters(server_max_window_bits=10)),
        ({}, [f"{NAME}; server_no_context_takeover; client_no_context_takeover"],
         f"{NAME}; server_no_context_takeover; client_no_context_takeover",
         DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)),
        ({"server_no_context_takeover": True, "client_no_context_takeover": True}, [NAME],
         f"{NAME}; server_no_context_takeover; client_no_context_takeover",
         DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)),
        ({}, ["x-other; a=b", f"x, {NAME}; server_max_window_bits=99, {NAME}; server_max_window_bits=9, {NAME}"],
         f"{NAME}; server_max_window_bits=9", DeflateParameters(server_max_window_bits=9)),
    ],
)  # fmt: skip
def test_negotiate(kwargs: Any, offers: list[str], response: str, expected: DeflateParameters) -> None:
    options = DeflateOptions(**kwargs)
    assert negotiate(options, offers) == (response, expected)


@pytest.mark.parametrize("offers", [[], ["x-other"], ["a b"], [""]], ids=["none", "other", "malformed", "empty"])
def test_server_finds_nothing_to_accept(offers: list[str]) -> None:
    assert negotiate(SERVER_DEFLATE, offers) is None


def test_server_can_require_a_limited_client_window() -> None:
    options = DeflateOptions(client_max_window_bits=9, require_client_max_window_bits=True)
    assert negotiate(options, [NAME]) is None
    agreed = negotiate(options, [f"{NAME}, {NAME}; client_max_window_bits=15"])
    assert agreed == (f"{NAME}; client_max_window_bits=9", DeflateParameters(client_max_window_bits=9))


BITS = st.none() | st.integers(9, 15)
OPTIONS = st.builds(
    DeflateOptions,
    server_no_context_takeover=st.booleans(),
    client_no_context_takeover=st.booleans(),
    server_max_window_bits=BITS,
    client_max_window_bits=BITS | st.just(True),
    mem_level=st.integers(1, 9),
    level=st.integers(-1, 9),
)


@given(client=OPTIONS, server=OPTIONS)
def test_both_roles_agree_on_every_combination_of_options(client: DeflateOptions, server: DeflateOptions) -> None:
    agreed = negotiate(server, [offer(client)])
    assert agreed is not None
    response, parameters = agreed
    at_client = accept_response(client, response)
    assert at_client == parameters
    for bits, limits in (
        (parameters.server_max_window_bits, (client.server_max_window_bits, server.server_max_window_bits)),
        (parameters.client_max_window_bits, (client.client_max_window_bits,)),
    ):
        assert all(limit is None or limit is True or bits <= limit for limit in limits)


# -- The data ---------------------------------------------------------------------------------------------------------

MESSAGES = st.lists(
    st.binary(max_size=300) | st.builds(lambda part, times: part * times, st.binary(max_size=20), st.integers(0, 5000))
)


@settings(max_examples=60, deadline=None)
@given(client=OPTIONS, server=OPTIONS, messages=MESSAGES, seed=st.integers(0, 2**32))
def test_messages_survive_both_ways_in_any_fragments(
    client: DeflateOptions, server: DeflateOptions, messages: list[bytes], seed: int
) -> None:
    agreed = negotiate(server, [offer(client)])
    assert agreed is not None
    parameters = agreed[1]
    ends = DeflateCodec(parameters, True, client), DeflateCodec(parameters, False, server)
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
    bits: int, is_client_side: bool, messages: list[bytes]
) -> None:
    ours = "client_max_window_bits" if is_client_side else "server_max_window_bits"
    sender = codec(is_client_side, **{ours: bits})
    inflater = zlib.decompressobj(-bits)
    for message in messages:
        assert inflater.decompress(sender.compress(message) + TAIL) == message


@settings(max_examples=40, deadline=None)
@given(bits=st.integers(9, 15), is_client_side=st.booleans(), messages=MESSAGES)
def test_we_read_what_raw_zlib_with_the_agreed_window_sends(
    bits: int, is_client_side: bool, messages: list[bytes]
) -> None:
    theirs = "server_max_window_bits" if is_client_side else "client_max_window_bits"
    receiver = codec(is_client_side, **{theirs: bits})
    compressor = zlib.compressobj(wbits=-bits)
    for number, message in enumerate(messages):
        data = compressor.compress(message) + compressor.flush(zlib.Z_FULL_FLUSH if number % 2 else zlib.Z_SYNC_FLUSH)
        assert receiver.decompress(data[: -len(TAIL)] if data else b"\x00", True) == message


BOMB = deflated(bytes(64 * 1024 * 1024))


def test_C1_bomb_costs_no_more_than_its_budget() -> None:
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


def test_C1_bomb_in_64_fragments() -> None:
    limit, total = 1024 * 1024, 0
    receiver = codec()
    step = len(BOMB) // 64
    with pytest.raises(WSMessageTooBigError) as caught:
        for start in range(0, len(BOMB), step):
            total += len(receiver.decompress(BOMB[start : start + step], False, limit - total))
    assert total <= limit
    assert caught.value.limit == limit


@pytest.mark.parametrize("size", [0, 1, 1000, 65_535, 65_536, 65_537, 1_000_000])
def test_C2_exactly_at_the_limit(size: int) -> None:
    data = deflated(bytes(size))
    assert codec().decompress(data, True, size) == bytes(size)
    with pytest.raises(WSMessageTooBigError):
        codec().decompress(deflated(bytes(size + 1)), True, size)
    trailing_empty_blocks = data + TAIL + b"\x00" + TAIL + b"\x00"
    assert codec().decompress(trailing_empty_blocks, True, size) == bytes(size)


def test_negative_budget_is_misuse() -> None:
    with pytest.raises(ValueError, match="at least 0, got -1"):
        codec().decompress(b"\x00", True, -1)


HELLO_FINAL = bytes.fromhex("f348cdc9c9070000")  # RFC 7692 7.2.3.4


@pytest.mark.parametrize("no_context", [False, True])
def test_C3_a_message_after_a_final_block_is_intact(no_context: bool) -> None:
    receiver = codec(client_no_context_takeover=no_context)
    for _ in range(3):
        assert receiver.decompress(HELLO_FINAL, True, 5) == b"Hello"
        assert receiver.decompress(deflated(b"important"), True, 9) == b"important"


@pytest.mark.parametrize("end", [b"", b"\x00"], ids=["ends with the stream", "ends with an empty block"])
def test_C3_two_final_streams_in_one_message(end: bytes) -> None:
    receiver = codec()
    data = final_stream(b"first ") + final_stream(b"second") + end
    for cut in range(len(data) + 1):
        got = receiver.decompress(data[:cut], False) + receiver.decompress(data[cut:], True)
        assert got == b"first second", cut


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_C3_the_window_survives_a_final_block(bits: int) -> None:
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


def test_C3_no_window_is_kept_without_context_takeover() -> None:
    history = random.Random(1).randbytes(1000)
    receiver = codec(client_no_context_takeover=True)
    assert receiver.decompress(final_stream(history), True) == history
    compressor = zlib.compressobj(wbits=-15, zdict=history)
    data = (compressor.compress(history) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with pytest.raises(WSProtocolError):
        receiver.decompress(data, True)


def test_C4_streams_of_a_message_are_limited() -> None:
    receiver = codec()
    for _ in range(2):  # the count begins anew with each message
        assert receiver.decompress(b"\x03\x00" * MAX_STREAMS, True) == b""
    started = time.process_time()
    with pytest.raises(WSProtocolError, match=str(MAX_STREAMS)) as caught:
        receiver.decompress(b"\x03\x00" * 200_000, True)
    assert caught.value.code == 1002
    assert time.process_time() - started < 0.5


def test_C4_streams_are_counted_across_fragments() -> None:
    receiver = codec()
    with pytest.raises(WSProtocolError, match="final"):
        for _ in range(MAX_STREAMS + 1):
            receiver.decompress(b"\x03\x00", False)


def test_C4_restarts_are_linear_in_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deflate, "MAX_STREAMS", 10**9)

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
    receiver = DeflateCodec(DeflateParameters(), False, DeflateOptions(), CountingZlib)
    assert receiver.decompress(data, True) == b"abc" * 20_000
    assert CountingZlib.fed < 20 * len(data)


def test_C4_empty_stored_blocks_are_an_empty_message() -> None:
    started = time.process_time()
    assert codec().decompress((b"\x00" + TAIL) * 100_000, True, 0) == b""
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15])
def test_C7_nothing_we_send_refers_beyond_the_agreed_window(bits: int) -> None:
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


def test_C7_a_peer_that_exceeds_its_window_is_refused() -> None:
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
def test_C8_context_takeover_of_each_direction(server: bool, client: bool, is_client_side: bool) -> None:
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
def test_C9_sizes_around_the_chunks_of_the_inflater(chunk: int, difference: int, kind: str) -> None:
    size = chunk + difference
    payload = {"random": random.Random(size).randbytes(size), "zeros": bytes(size)}.get(kind)
    if payload is None:
        payload = (random.Random(size).randbytes(size // 2) + bytes(size))[:size]
    for data in (deflated(payload), final_stream(payload)):
        assert codec().decompress(data, True, size) == payload
        split = codec()
        assert split.decompress(data[:-1], False, size) + split.decompress(data[-1:], True) == payload


def test_C9_output_that_waits_inside_zlib_is_not_forgotten() -> None:
    # The match of the last byte of input fills the chunk and goes on: the input is consumed, the output is not.
    payload = bytes(65_536 * 3)
    data = deflated(payload)
    receiver = codec()
    got = b"".join(receiver.decompress(data[i : i + 1], False, None) for i in range(len(data)))
    assert got + receiver.decompress(b"", True) == payload


@pytest.mark.parametrize("release", [False, True], ids=["in use", "released"])
def test_C10_the_last_message_is_not_kept(release: bool) -> None:
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
def test_C11_garbage_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(WSProtocolError, match="damaged") as caught:
        codec().decompress(data, True)
    assert caught.value.code == 1002


@given(st.binary(max_size=200), st.booleans())
def test_C11_arbitrary_bytes_raise_nothing_else(data: bytes, fin: bool) -> None:
    with contextlib.suppress(WSProtocolError):
        assert len(codec().decompress(data, fin, 1000)) <= 1000


def test_C12_an_empty_message_is_one_zero_byte() -> None:
    sender = codec(is_client_side=True)
    assert [sender.compress(b"") for _ in range(3)] == [b"\x00"] * 3
    assert codec().decompress(sender.compress(b"text") + b"", True) == b"text"
    assert sender.compress(b"") == b"\x00"


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x02\x00"], ids=["no bytes", "00", "fixed block"])
def test_C12_empty_messages_are_accepted_in_each_form(data: bytes) -> None:
    receiver = codec()
    for _ in range(2):
        assert receiver.decompress(data, True, 0) == b""
        assert receiver.decompress(deflated(b"next"), True) == b"next"
        assert receiver.decompress(b"", False) + receiver.decompress(data, True) == b""


def test_C13_zlib_contexts_are_made_on_first_use() -> None:
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


def test_C13_release_keeps_the_window_of_the_peer() -> None:
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


def test_short_messages_are_left_alone() -> None:
    short = codec(options=DeflateOptions(threshold=100))
    assert not short.should_compress(99)
    assert short.should_compress(100)
    assert codec().should_compress(0)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_payloads_of_every_bytes_like_type(kind: Any) -> None:
    message = random.Random(1).randbytes(100_000)
    source = kind(message)
    data = codec(is_client_side=True).compress(source)
    assert codec().decompress(kind(data), True) == message
    assert bytes(source) == message
