"""C5 to C8: reserved bits, parameters, windows, context takeover."""

from __future__ import annotations

import random
import zlib
from typing import Any, List, Tuple

import pytest
from fixtures.deflated import DEFLATE, NAME, RSV1, TAIL, codec, deflated, message, payloads_of
from fixtures.feeding import (
    close_code,
    drop_in,
    drop_in_protocol,
    drop_in_server,
    need_drop_in,
    ways,
)
from fixtures.messages import SIDES, Talk, recv, send
from fixtures.wire import CLOSE, CONT, KEY, PING, PONG, TEXT, build, close_payload

from picows import WSInvalidHeaderError
from picows.deflate import (
    SERVER_DEFLATE,
    DeflateOptions,
    accept_response,
    negotiate,
)

KIB = 1024

# --- C5, C6 ---

#: Frames, and whether they are wrong although permessage-deflate was negotiated.
RSV1_FRAMES = {
    "message": ([(TEXT, deflated(b"Hello"), True, RSV1)], False),
    "continuation": ([(TEXT, b"a", False, 0), (CONT, b"b", True, RSV1)], True),
    "continuation, compressed": ([(TEXT, deflated(b"Hello")[:3], False, RSV1), (CONT, b"b", True, RSV1)], True),
    "PING": ([(PING, b"", True, RSV1)], True),
    "PONG": ([(PONG, b"", True, RSV1)], True),
    "CLOSE": ([(CLOSE, close_payload(1000), True, RSV1)], True),
    "RSV2": ([(TEXT, b"x", True, 2)], True),
    "RSV3": ([(TEXT, b"x", True, 1)], True),
}


@SIDES
@pytest.mark.parametrize("is_negotiated", [False, True], ids=["not negotiated", "negotiated"])
@pytest.mark.parametrize(("frames", "is_wrong"), RSV1_FRAMES.values(), ids=RSV1_FRAMES)
def test_c5_rsv1(talk: Talk, client: bool, frames: Any, is_wrong: bool, is_negotiated: bool) -> None:
    key = None if client else KEY
    data = b"".join(build(opcode, payload, fin=fin, rsv=rsv, key=key) for opcode, payload, fin, rsv in frames)
    for pieces in ways(data):
        connection = talk(client=client, codec=codec(client) if is_negotiated else None)
        connection.feed(*pieces)
        outcome = drop_in(pieces, client, DEFLATE if is_negotiated else None)
        if is_negotiated and not is_wrong:
            assert recv(connection) == "Hello"
            assert outcome.received == [b"Hello"]
            assert connection.written() == b""
        else:
            assert close_code(connection) == 1002
            assert outcome.code == 1002
        connection.shut()


@SIDES
def test_c5_messages_that_are_not_compressed(talk: Talk, client: bool) -> None:
    """On a connection with compression."""
    connection = talk(client=client, codec=codec(client))
    key = None if client else KEY
    data = build(TEXT, b"plain", key=key) + message(deflated(b"packed"), client, opcode=TEXT)
    for pieces in ways(data):
        connection.feed(*pieces)
        assert [recv(connection), recv(connection)] == ["plain", "packed"]
        connection = talk(client=client, codec=codec(client))
    assert drop_in([data], client, DEFLATE).received == [b"plain", b"packed"]


BAD_PARAMETERS = [
    *(f"{side}_max_window_bits={bits}" for side in ("server", "client") for bits in
      ("7", "8", "16", "99", '""', "+9", "09", "x", "1_0", "-9", "9.0", "\u0669")),
    "server_max_window_bits=9; server_max_window_bits=9",
    "server_max_window_bits",
    "constructor",
    "server_no_context_takeover=1",
    "x" * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("parameters", BAD_PARAMETERS, ids=lambda text: ascii(text)[1:40])
def test_c6_parameters(parameters: str) -> None:
    """The client refuses the response; the server declines that offer and takes the next one."""
    with pytest.raises(WSInvalidHeaderError):
        accept_response(DeflateOptions(), f"{NAME}; {parameters}")
    assert negotiate(SERVER_DEFLATE, [f"{NAME}; {parameters}"]) is None
    agreed = negotiate(SERVER_DEFLATE, [f"{NAME}; {parameters}, {NAME}"])
    if "\u0669" in parameters:  # not ASCII: the header as a whole is not one
        assert agreed is None
    else:
        assert agreed is not None


@pytest.mark.parametrize("parameters", BAD_PARAMETERS, ids=lambda text: ascii(text)[1:40])
def test_c6_drop_in(parameters: str) -> None:
    """NegotiationError for clients; a server goes on without compression, or refuses what is no header at all."""
    module = need_drop_in()
    errors = module("exceptions")
    headers = module("headers")
    try:
        ((_, parsed),) = headers.parse_extension(f"{NAME}; {parameters}")
    except errors.InvalidHeaderFormat:
        return
    factories = module("extensions.permessage_deflate")
    client = factories.ClientPerMessageDeflateFactory(client_max_window_bits=True)
    # As websockets 17.4 a side accepts 8 for the other's window, which it can read; for its own that is C7.
    if parameters != "server_max_window_bits=8":
        with pytest.raises(errors.NegotiationError):
            client.process_response_params(parsed, [])
    if parameters != "client_max_window_bits=8":
        with pytest.raises(errors.NegotiationError):
            factories.ServerPerMessageDeflateFactory().process_request_params(parsed, [])
    if parameters.isascii() and len(parameters) < 1000:
        outcome = drop_in_server(build(TEXT, b"x", key=KEY) + build(CLOSE, key=KEY), f"{NAME}; {parameters}")
        assert outcome.received == ["x"]


# --- C7, C8 ---


@pytest.mark.parametrize("bits", [9, 12, 15])
@SIDES
def test_c7_windows(talk: Talk, client: bool, bits: int) -> None:
    """What we send stays within the window that was agreed; one of 8 bits is declined (C6)."""
    source = random.Random(bits)
    block = source.randbytes(32 * KIB)
    corpus = b"".join(block[at : at + 700] for at in (source.randrange(len(block)) for _ in range(200)))
    ours = "client_max_window_bits" if client else "server_max_window_bits"
    connection = talk(client=client, codec=codec(client, DeflateOptions(level=9, mem_level=9), **{ours: bits}))
    extension: Any = drop_in_protocol(client, (False, False, 15, bits))
    inflater, other = zlib.decompressobj(-bits), zlib.decompressobj(-bits)
    for payload in (block, block, corpus):
        send(connection, payload)
        (frame,) = connection.sent()
        assert frame.rsv == RSV1
        assert inflater.decompress(frame.payload + TAIL) == payload
        extension.send_binary(payload)
        (sent,) = payloads_of(extension)
        assert other.decompress(sent + TAIL) == payload


def test_c7_a_peer_beyond_its_window_is_refused(talk: Talk) -> None:
    block = random.Random(1).randbytes(2048)
    compressor = zlib.compressobj(wbits=-15)
    data = b"".join(message((compressor.compress(block) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]) for _ in range(2))
    connection = talk(codec=codec(client_max_window_bits=9))
    connection.feed(data)
    assert recv(connection) == block
    assert close_code(connection) == 1002
    outcome = drop_in([data], deflate=(False, False, 9, 15))
    assert (outcome.received, outcome.code) == ([block], 1002)


@SIDES
@pytest.mark.parametrize("server_forgets", [False, True], ids=["server keeps", "server forgets"])
@pytest.mark.parametrize("client_forgets", [False, True], ids=["client keeps", "client forgets"])
def test_c8_context_takeover(talk: Talk, client: bool, server_forgets: bool, client_forgets: bool) -> None:
    """Three equal messages each way; the peer is raw zlib, reset exactly when that was agreed."""
    text = random.Random(1).randbytes(200)
    ours, theirs = (client_forgets, server_forgets) if client else (server_forgets, client_forgets)
    agreed = {"server_no_context_takeover": server_forgets, "client_no_context_takeover": client_forgets}
    connection = talk(client=client, codec=codec(client, **agreed))
    protocol = drop_in_protocol(client, (theirs, ours, 15, 15))
    inflaters: List[Any] = [zlib.decompressobj(-15), zlib.decompressobj(-15)]
    compressor = zlib.compressobj(wbits=-15)
    sizes: List[Tuple[int, int]] = []
    for _ in range(3):
        send(connection, text)
        protocol.send_binary(text)
        if ours:
            inflaters = [zlib.decompressobj(-15), zlib.decompressobj(-15)]
        frames = [connection.sent()[0].payload, *payloads_of(protocol)]
        assert [inflater.decompress(data + TAIL) for inflater, data in zip(inflaters, frames)] == [text, text]
        sizes.append((len(frames[0]), len(frames[1])))
        if theirs:
            compressor = zlib.compressobj(wbits=-15)
        data = message((compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4], client)
        connection.feed(data)
        protocol.receive_data(data)
        assert recv(connection) == text
        assert [bytes(event.data) for event in protocol.events_received()] == [text]
    assert all((third < first / 2) is not ours for first, third in zip(sizes[0], sizes[2]))


@SIDES
def test_c8_we_forget_what_the_peer_forgets(talk: Talk, client: bool) -> None:
    """A peer that refers to earlier messages although it agreed not to is refused."""
    theirs = "server_no_context_takeover" if client else "client_no_context_takeover"
    text = random.Random(1).randbytes(200)
    compressor = zlib.compressobj(wbits=-15)
    data = b"".join(
        message((compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4], client) for _ in range(2)
    )
    connection = talk(client=client, codec=codec(client, **{theirs: True}))
    connection.feed(data)
    assert recv(connection) == text
    assert close_code(connection) == 1002
    assert drop_in([data], client, (True, False, 15, 15)).code == 1002
