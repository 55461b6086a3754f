"""I: the opening handshake on a client. It believes a server no more than a server believes a client."""

from __future__ import annotations

import contextlib
import tracemalloc
from typing import Any, List, Tuple

import pytest
from fixtures.peers import RawPeer, accept_value, close_frame, header_of
from fixtures.places import Place
from fixtures.sockets import until
from fixtures.wire import CLOSE, TEXT, build

from picows import WSHandshakeError, WSInvalidStatusError, WSInvalidURL
from picows.errors import WSConnectionClosed, WSInvalidHeaderError, WSInvalidMessageError
from picows.handshake import MAX_INTERIM_RESPONSES, ClientHandshake
from picows.head import MAX_REFUSAL_BODY
from picows.url import parse_url

OK = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
MIB = 2**20
LONG = b"HTTP/1.1 403 No\r\n"
#: id -> (what repeats, how often, the error)
FLOODS: Any = {
    "10 MB of headers": (b"HTTP/1.1 200 OK\r\n", b"X: " + b"a" * 997 + b"\r\n", 10_000, WSInvalidMessageError),
    "10 MB in one header": (b"HTTP/1.1 200 OK\r\nX: ", b"a" * 1000, 10_000, WSInvalidMessageError),
    "10 MB in the first line": (b"HTTP/1.1 200 ", b"a" * 1000, 10_000, WSInvalidMessageError),
    "a long body": (
        b"HTTP/1.1 403 No\r\nContent-Length: 1000000000\r\n\r\n",
        b"a" * 1000,
        10_000,
        WSInvalidStatusError,
    ),
    "a body without length": (b"HTTP/1.1 403 No\r\n\r\n", b"a" * 1000, 10_000, WSInvalidStatusError),
    "endless chunks": (
        b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\na\r\n",
        200_000,
        WSInvalidStatusError,
    ),
    "endless 1xx": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 1000, WSInvalidMessageError),
}


@pytest.mark.parametrize(("start", "again", "count", "error"), FLOODS.values(), ids=FLOODS)
def test_i1_limits_of_a_response(start: bytes, again: bytes, count: int, error: Any) -> None:
    """It fails at its limit, and no more than 1 MiB is kept until then, or in the error."""
    handshake = ClientHandshake(parse_url("ws://a/"))
    piece = again * max(1, 1000 // len(again))
    largest = 0
    tracemalloc.start()
    try:
        with pytest.raises(error) as caught:
            handshake.receive_data(start)
            for _ in range(0, count * len(again), len(piece)):
                handshake.receive_data(piece)
                largest = max(largest, tracemalloc.get_traced_memory()[0])
            handshake.receive_eof()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= MIB
    assert len(caught.value.raw_body or b"") <= MAX_REFUSAL_BODY
    assert MAX_INTERIM_RESPONSES <= 16


@pytest.mark.parametrize("name", ["10 MB of headers", "endless 1xx", "a long body"])
async def test_i1_over_tcp(place: Place, name: str) -> None:
    start, again, count, error = FLOODS[name]

    async def handler(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(start)
        with contextlib.suppress(OSError):
            for _ in range(count):
                peer.write(again)
                await peer.writer.drain()
            await peer.read_rest()

    server = await place.raw_server(handler)
    with pytest.raises(error):
        await place.message_client(server)


def answered(head: bytes, *, accept: Any = True, lines: str = "") -> bytes:
    """A 101 to a request. `accept` may be the value of Sec-WebSocket-Accept, False, or the number of them."""
    value = accept_value(header_of(head, "Sec-WebSocket-Key") or "")
    if isinstance(accept, str):
        values = [accept]
    else:
        values = [value] * int(accept)
    text = OK + "".join(f"Sec-WebSocket-Accept: {value}\r\n" for value in values) + lines + "\r\n"
    return text.encode()


WRONG: Any = {
    "wrong accept": {"accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
    "accept of another case": {"accept": "S3PPLMBITXAQ9KYGZZHZRBK+XOO="},
    "no accept": {"accept": False},
    "two accepts": {"accept": 2},
    "extension": {"lines": "Sec-WebSocket-Extensions: permessage-deflate\r\n"},
    "subprotocol": {"lines": "Sec-WebSocket-Protocol: chat\r\n"},
    "other subprotocol": {"lines": "Sec-WebSocket-Protocol: other\r\n"},
    "two subprotocols": {"lines": "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n"},
    "list of subprotocols": {"lines": "Sec-WebSocket-Protocol: a, b\r\n"},
}


@pytest.mark.parametrize("name", WRONG)
async def test_i2_answers_that_are_none_to_our_request(place: Place, name: str) -> None:
    """An error of the handshake, and TCP is closed: nothing more is sent, no CLOSE frame either."""
    ended: List[bytes] = []

    async def handler(peer: RawPeer) -> None:
        peer.write(answered(await peer.read_head(), **WRONG[name]))
        ended.append(await peer.read_rest())

    server = await place.raw_server(handler)
    offers = {} if name in ("extension", "subprotocol") else {"Sec-WebSocket-Protocol": "a, b"}
    with pytest.raises(WSInvalidHeaderError):
        await place.message_client(server, extra_headers=offers)
    await until(lambda: ended)
    assert ended == [b""]


MALFORMED = [
    b"HTTP/1.1",
    b"HTTP/1.1 \r\n\r\n",
    b"HTTP/1.1 10\r\n\r\n",
    b"HTTP/1.1 101\r\n\r\n",
    b"HTTP/1.1 1e2 x\r\n\r\n",
    b"HTTP/1.1 +10 x\r\n\r\n",
    b"HTTP/1.1 600 x\r\n\r\n",
    b"HTTP/1.1 \xd9\xa1\xd9\xa0\xd9\xa1 x\r\n\r\n",
    b"HTTP/9.9 101 x\r\n\r\n",
    b"HTTP/1.1 101 x\ry\r\n\r\n",
    b"HTTP/1.1 101 x\r\nA\r\n\r\n",
    b"HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    b"HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
    b"HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
    b"HTTP/1.1 403 x\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
    b"HTTP/1.1 403 x\r\nContent-Length: -1\r\n\r\nabc",
    b"\0",
    b"SSH-2.0-x\r\n",
]


def refusal_of(data: bytes, size: int) -> Tuple[type, str]:
    """The error for an answer that ends after `data`, of which `size` bytes come at a time; without what it quotes."""
    handshake = ClientHandshake(parse_url("ws://a/"))
    with pytest.raises(WSHandshakeError) as caught:
        for at in range(0, len(data), size):
            handshake.receive_data(data[at : at + size])
        handshake.receive_eof()
    return type(caught.value), str(caught.value).partition(", received")[0]


@pytest.mark.parametrize("data", MALFORMED, ids=[ascii(data)[2:40] for data in MALFORMED])
def test_i3_malformed_at_every_end_of_a_buffer(data: bytes) -> None:
    """The same error however the bytes are cut, and wherever they end: and never another exception."""
    for stop in range(len(data) + 1):
        whole = refusal_of(data[:stop], len(data))
        assert [refusal_of(data[:stop], size) for size in (1, 2, 3, 7)] == [whole] * 4


async def test_i4_frames_right_behind_the_101(place: Place) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.accept(then=build(TEXT, b"early") + close_frame(1000))
        assert (await peer.read_frame()).opcode == CLOSE

    server = await place.raw_server(handler)
    client = await place.message_client(server)
    assert await client.recv() == "early"
    with pytest.raises(WSConnectionClosed) as caught:
        await client.recv()
    assert caught.value.code == 1000


BAD_URLS = [
    "ws:///",
    "ws://",
    "ws://a:0/",
    "ws://a:65536/",
    "ws://a:-1/",
    "ws://a:1_0/",
    "ws://a:\u0661/",
    "ws://[::1/",
    "ws://[::1]x/",
    "ws://u%zz:p@a/",
    "ws://u:%ff@a/",
    "ws://a/#fragment",
    "ws://a b/",
    "ws://\xff\ufffe/",
    "ws://" + "a" * 64 + ".com/",
    "ws://a..b/",
    "http://a/",
    "ws:a",
    "",
]


@pytest.mark.parametrize("url", BAD_URLS, ids=[ascii(url)[:30] for url in BAD_URLS])
def test_i5_bad_urls(url: str) -> None:
    with pytest.raises(WSInvalidURL):
        parse_url(url)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("ws://b\xfccher.test/", "xn--bcher-kva.test", 80),
        ("wss://[fe80::1%25eth0]/", "fe80::1%eth0", 443),
        ("ws://u%40x:p%3A@a:8080", "a", 8080),
    ],
    ids=["IDNA", "zone", "credentials"],
)
def test_i5_good_urls(url: str, host: str, port: int) -> None:
    parsed = parse_url(url)
    assert (parsed.host, parsed.port) == (host, port)
    if "@" in url:
        assert parsed.user_info == ("u@x", "p:")
