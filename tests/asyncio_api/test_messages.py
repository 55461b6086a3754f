"""The message layer end to end: whole messages between two WSMessageListeners, and with peers that are only bytes."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any, AsyncIterator, List

import pytest
from fixtures.peers import RawPeer
from fixtures.sockets import Net, until

from picows import (
    WSConnectionClosed,
    WSMessageListener,
    WSMessageTooBigError,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.deflate import DeflateCodec, DeflateOptions, accept_response, negotiate, offer

EXTENSIONS = "Sec-WebSocket-Extensions"


class Pair:
    """A client and a server that speak messages."""

    def __init__(self, client: WSMessageListener, server: WSMessageListener) -> None:
        self.client = client
        self.server = server


async def make_pair(net: Net, **options: Any) -> Pair:
    """Connect two message listeners; `options` are WSMessageListener's."""
    made: List[WSMessageListener] = []

    def factory(request: Any) -> WSMessageListener:
        made.append(WSMessageListener(**options))
        return made[0]

    server = await net.serve(factory)
    _, client = await net.connect(lambda: WSMessageListener(**options), server)
    return Pair(client, made[0])


async def test_send_and_recv(net: Net) -> None:
    pair = await make_pair(net, max_message_size=2 << 20)
    for message in ("text \u20ac", b"binary", "", b"", "x" * 100_000, b"y" * (1 << 20)):
        await pair.client.send(message)
        assert await pair.server.recv() == message
        await pair.server.send(message)
        assert await pair.client.recv() == message


async def test_recv_before_and_after_the_message(net: Net) -> None:
    pair = await make_pair(net)
    waiting = asyncio.ensure_future(pair.server.recv())
    await pair.client.send("first")
    assert await waiting == "first"
    for number in range(10):
        await pair.client.send(str(number))
    assert [await pair.server.recv() for _ in range(10)] == [str(number) for number in range(10)]


async def test_decode_and_text(net: Net) -> None:
    pair = await make_pair(net)
    await pair.client.send("\u20ac")
    assert await pair.server.recv(decode=False) == b"\xe2\x82\xac"
    await pair.client.send(b"\xe2\x82\xac")
    assert await pair.server.recv(decode=True) == "\u20ac"
    await pair.client.send(b"as text", text=True)
    assert await pair.server.recv() == "as text"
    await pair.client.send("as binary", text=False)
    assert await pair.server.recv() == b"as binary"


async def test_fragments(net: Net) -> None:
    pair = await make_pair(net)
    await pair.client.send_fragments(["a", "b" * 70_000, "", "c"])
    assert await pair.server.recv() == "a" + "b" * 70_000 + "c"

    async def parts() -> AsyncIterator[bytes]:
        for part in (b"1", b"2", b"3"):
            await asyncio.sleep(0)
            yield part

    await pair.server.send_fragments(parts())
    assert await pair.client.recv() == b"123"


async def test_fragments_one_by_one(net: Net) -> None:
    pair = await make_pair(net)
    go_on = asyncio.Event()
    received: List[Any] = []

    async def parts() -> AsyncIterator[str]:
        yield "first"
        await go_on.wait()
        yield "second"

    sending = asyncio.ensure_future(pair.client.send_fragments(parts()))
    async for part in pair.server.recv_streaming():
        received.append(part)
        go_on.set()  # the first fragment was received before the second was sent
    await sending
    assert "".join(received) == "firstsecond"
    assert received[0] == "first"


async def test_other_messages_wait_for_a_fragmented_one(net: Net) -> None:
    pair = await make_pair(net)
    started, go_on = asyncio.Event(), asyncio.Event()

    async def parts() -> AsyncIterator[str]:
        yield "a"
        started.set()
        await go_on.wait()
        yield "b"

    fragments = asyncio.ensure_future(pair.client.send_fragments(parts()))
    await started.wait()
    whole = asyncio.ensure_future(pair.client.send("whole"))
    go_on.set()
    await asyncio.gather(fragments, whole)
    assert [await pair.server.recv(), await pair.server.recv()] == ["ab", "whole"]


async def test_iteration_ends_with_a_clean_close(net: Net) -> None:
    pair = await make_pair(net)
    for number in range(5):
        await pair.client.send(str(number))
    closing = asyncio.ensure_future(pair.client.close(1000, "done"))
    assert [message async for message in pair.server] == ["0", "1", "2", "3", "4"]
    await closing
    assert pair.server.transport.close_handshake.recv == (1000, "done")
    assert pair.client.transport.close_handshake.recv == (1000, "done")


async def test_iteration_raises_for_another_end(net: Net) -> None:
    pair = await make_pair(net)
    await pair.client.send("one")
    await pair.client.close(4000, "not clean")
    received = []
    with pytest.raises(WSConnectionClosed) as caught:
        async for message in pair.server:
            received.append(message)
    assert received == ["one"]
    assert (caught.value.code, caught.value.reason) == (4000, "not clean")


async def test_everything_after_the_end_raises(net: Net) -> None:
    pair = await make_pair(net)
    await pair.client.close()
    await pair.client.close()
    for listener in (pair.client, pair.server):
        await until(lambda listener=listener: listener.transport.is_disconnected)
        with pytest.raises(WSConnectionClosed) as caught:
            await listener.recv()
        assert caught.value.code == 1000
        with pytest.raises(WSConnectionClosed):
            await listener.send("x")
        with pytest.raises(WSConnectionClosed):
            await listener.send_fragments(["x"])


async def test_waiting_recv_is_woken_by_the_end(net: Net) -> None:
    pair = await make_pair(net)
    waiting = asyncio.ensure_future(pair.client.recv())
    await asyncio.sleep(0)
    pair.server.transport.disconnect(graceful=False)
    with pytest.raises(WSConnectionClosed) as caught:
        await waiting
    assert caught.value.code == 1006


async def test_what_was_received_can_be_read_after_the_end(net: Net) -> None:
    pair = await make_pair(net)
    for number in range(3):
        await pair.client.send(str(number))
    await pair.client.close()
    await until(lambda: pair.server.transport.is_disconnected)
    assert [await pair.server.recv() for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(WSConnectionClosed):
        await pair.server.recv()


async def test_two_receivers_are_a_mistake(net: Net) -> None:
    pair = await make_pair(net)
    waiting = asyncio.ensure_future(pair.client.recv())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another recv"):
        await pair.client.recv()
    await pair.server.send("x")
    assert await waiting == "x"


async def test_cancelled_recv_loses_nothing(net: Net) -> None:
    pair = await make_pair(net)
    received: List[Any] = []
    sending = asyncio.ensure_future(send_numbers(pair.client, 200))
    while len(received) < 200:
        task = asyncio.ensure_future(pair.server.recv())
        await asyncio.sleep(0)
        if not task.done():
            task.cancel()
        try:
            received.append(await task)
        except asyncio.CancelledError:
            pass
    await sending
    assert received == [str(number) for number in range(200)]


async def send_numbers(listener: WSMessageListener, count: int) -> None:
    """Send 0, 1, 2 ... as text."""
    for number in range(count):
        await listener.send(str(number))


async def test_slow_receiver_stops_the_sender(tcp: Net) -> None:
    """The queue is bounded: TCP's backpressure reaches the sender, whose send waits; then everything arrives."""
    pair = await make_pair(tcp, max_queue=4)
    sent: List[int] = []

    async def produce() -> None:
        for number in range(200):
            await pair.client.send(number.to_bytes(2, "big") * 32_768)
            sent.append(number)

    producing = asyncio.ensure_future(produce())
    progress = -1
    while progress != len(sent):
        progress = len(sent)
        await asyncio.sleep(0.05)
    assert 0 < len(sent) < 200
    for number in range(200):
        assert (await pair.server.recv())[:2] == number.to_bytes(2, "big")
    await producing


async def test_close_while_the_queue_is_full(tcp: Net) -> None:
    """Nobody receives, reading is paused, and yet the closing handshake is completed."""
    pair = await make_pair(tcp, max_queue=2)
    for number in range(20):
        await pair.client.send(str(number))
    await asyncio.wait_for(pair.server.close(), 5)
    assert pair.server.transport.close_handshake.recv is not None
    assert await pair.server.recv() == "0"


async def test_message_too_big(net: Net) -> None:
    pair = await make_pair(net, max_message_size=1000)
    await pair.client.send(b"x" * 1000)
    assert len(await pair.server.recv()) == 1000
    await pair.client.send(b"x" * 1001)
    with pytest.raises(WSConnectionClosed) as caught:
        await pair.server.recv()
    assert caught.value.code == 1006 or caught.value.code == 1009
    assert isinstance(caught.value.__cause__, WSMessageTooBigError)
    with pytest.raises(WSConnectionClosed) as caught:
        await pair.client.recv()
    assert caught.value.code == 1009


async def test_P5_strict(net: Net) -> None:
    """The message layer is strict: text that is not UTF-8 fails at the first bad byte."""
    made: List[WSMessageListener] = []

    def factory(request: Any) -> WSMessageListener:
        made.append(WSMessageListener())
        return made[-1]

    server = await net.serve(factory)
    for data, code in ((b"\x01\x82\0\0\0\0a\xff", 1007), (b"\x80\x80\0\0\0\0", 1002), (b"\xc1\x80\0\0\0\0", 1002)):
        peer = await net.raw_client(server)
        await peer.upgrade(then=data)
        assert int.from_bytes((await peer.read_frame()).payload[:2], "big") == code
        assert await peer.read_rest() == b""
        peer.hang_up()
        with pytest.raises(WSConnectionClosed):
            await made[-1].recv()


# --- permessage-deflate, negotiated by hand ---


def deflate_factory(options: DeflateOptions, made: List[WSMessageListener]) -> Any:
    """A server factory that negotiates."""

    def factory(request: WSUpgradeRequest) -> Any:
        agreed = negotiate(options, request.headers.getall(EXTENSIONS, []))
        extra = {} if agreed is None else {EXTENSIONS: agreed[0]}
        codec = None if agreed is None else DeflateCodec(agreed[1], is_client_side=False)
        made.append(WSMessageListener(codec=codec))
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(extra), made[-1])

    return factory


async def connect_deflate(net: Net, server: Any, options: DeflateOptions) -> WSMessageListener:
    """A client that offers permessage-deflate."""

    def factory(request: Any, response: WSUpgradeResponse) -> WSMessageListener:
        agreed = accept_response(options, response.headers.get(EXTENSIONS))
        codec = None if agreed is None else DeflateCodec(agreed, is_client_side=True)
        return WSMessageListener(request, response, codec=codec)

    _, client = await net.connect(factory, server, extra_headers={EXTENSIONS: offer(options)})
    return client  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "options",
    [
        DeflateOptions(),
        DeflateOptions(server_no_context_takeover=True, client_no_context_takeover=True),
        DeflateOptions(server_max_window_bits=9, client_max_window_bits=10),
    ],
    ids=["default", "no context takeover", "small windows"],
)
async def test_deflate(net: Net, options: DeflateOptions) -> None:
    made: List[WSMessageListener] = []
    server = await net.serve(deflate_factory(options, made))
    client = await connect_deflate(net, server, options)
    assert "permessage-deflate" in client.transport.response.headers[EXTENSIONS]
    for message in ("hello " * 100, b"binary " * 20_000, "", "\u20ac" * 5000, "short"):
        for _ in range(2):
            await client.send(message)
            assert await made[0].recv() == message
            await made[0].send(message)
            assert await client.recv() == message
    await client.send_fragments(["a" * 1000, "b" * 1000])
    assert await made[0].recv() == "a" * 1000 + "b" * 1000


async def test_deflate_saves_bytes_on_the_wire(net: Net) -> None:
    frames = []

    async def handler(peer: RawPeer) -> None:
        await peer.accept(f"{EXTENSIONS}: permessage-deflate; server_no_context_takeover")
        frames.append(await peer.read_frame())
        compressor = zlib.compressobj(wbits=-15)
        data = compressor.compress(b"answer " * 1000) + compressor.flush(zlib.Z_SYNC_FLUSH)
        peer.send(1, data[:-4], rsv=4)
        await peer.read_rest()

    server = await net.raw_server(handler)
    client = await connect_deflate(net, server, DeflateOptions())
    await client.send("request " * 1000)
    assert await client.recv() == "answer " * 1000
    assert frames[0].first == 0xC1
    assert len(frames[0].payload) < 200
    assert zlib.decompressobj(-15).decompress(frames[0].payload + b"\0\0\xff\xff") == b"request " * 1000


async def test_deflate_is_declined(net: Net) -> None:
    made: List[WSMessageListener] = []

    def factory(request: Any) -> WSMessageListener:
        made.append(WSMessageListener())
        return made[-1]

    server = await net.serve(factory)
    client = await connect_deflate(net, server, DeflateOptions())
    await client.send("plain " * 100)
    assert await made[0].recv() == "plain " * 100


async def test_deflate_bomb(net: Net) -> None:
    made: List[WSMessageListener] = []
    server = await net.serve(deflate_factory(DeflateOptions(), made))
    peer = await net.raw_client(server)
    await peer.upgrade(f"{EXTENSIONS}: permessage-deflate")
    compressor = zlib.compressobj(1, wbits=-15)
    data = compressor.compress(b"\0" * (16 << 20)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    peer.send(2, data[:-4], rsv=4)
    assert (await peer.read_frame()).payload[:2] == b"\x03\xf1"
    with pytest.raises(WSConnectionClosed):
        await made[0].recv()
