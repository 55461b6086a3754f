"""Frames of all sizes, in both directions, over every loop and transport."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fixtures.peers import RawPeer
from fixtures.sockets import Echo, Net, Recorder

from picows import WSListener, WSMsgType

SIZES = [0, 1, 125, 126, 127, 1000, 4096, 65535, 65536, 65537, 200_001, 1 << 20]


def pattern(size: int) -> bytes:
    """Bytes of which each part is different."""
    block = b"".join(i.to_bytes(3, "big") for i in range(min(size, 100_000) // 3 + 1))
    return (block * (size // max(1, len(block)) + 1))[:size]


async def test_client_to_server_and_back(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    transport, listener = await net.connect(Recorder, server)
    for size in SIZES:
        message = pattern(size)
        transport.send(WSMsgType.BINARY, message)
        assert await listener.next_frame() == (0x82, message, False)


async def test_many_messages_at_once_keep_their_order(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    transport, listener = await net.connect(Recorder, server)
    messages = [pattern(size) for size in SIZES + SIZES[::-1]]
    for message in messages:
        transport.send(WSMsgType.BINARY, message)
    for message in messages:
        assert (await listener.next_frame()).payload == message


async def test_server_speaks_first(net: Net) -> None:
    class Greeter(Recorder):
        def on_ws_connected(self, transport: Any) -> None:
            super().on_ws_connected(transport)
            for size in SIZES:
                transport.send(WSMsgType.BINARY, pattern(size))

    server = await net.serve(lambda request: Greeter())
    _, listener = await net.connect(Recorder, server)
    for size in SIZES:
        assert (await listener.next_frame()).payload == pattern(size)


async def test_text(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    transport, listener = await net.connect(Recorder, server)
    for text in ("", "hello", "\u20ac\U0001f600" * 1000, "e" * 70_000):
        transport.send(WSMsgType.TEXT, text)
        assert await listener.next_frame() == (0x81, text.encode(), False)


async def test_fragments_are_delivered_as_frames(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    transport, listener = await net.connect(Recorder, server)
    transport.send(WSMsgType.TEXT, "a" * 70_000, fin=False)
    transport.send(WSMsgType.CONTINUATION, b"", fin=False)
    transport.send_ping(b"between")  # answered by the server, and the pong delivered
    transport.send(WSMsgType.CONTINUATION, "c")
    frames = [await listener.next_frame() for _ in range(4)]
    assert frames == [(0x01, b"a" * 70_000, False), (0x00, b"", False), (0x8A, b"between", False), (0x80, b"c", False)]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
async def test_bytes_in_small_pieces(tcp: Net, step: int) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        data = b"".join([b"\x81\x05hello", b"\x02\x7e\x00\x80" + b"x" * 128, b"\x80\x00", b"\x89\x01p", b"\x82\x01z"])
        for start in range(0, len(data), step):
            peer.write(data[start : start + step])
            await peer.writer.drain()
            await asyncio.sleep(0)  # lets the other side read, so that the pieces do not grow together
        assert await peer.read_frame() == (0x8A, b"p", True)

    server = await tcp.raw_server(handler)
    _, listener = await tcp.connect(Recorder, server)
    frames = [await listener.next_frame() for _ in range(4)]
    assert [(frame.first, frame.payload) for frame in frames] == [
        (0x81, b"hello"),
        (0x02, b"x" * 128),
        (0x80, b""),
        (0x82, b"z"),
    ]


async def test_frames_right_behind_the_handshake(net: Net) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.accept(then=b"\x81\x01a\x81\x01b\x82")
        peer.write(b"\x01c")
        await peer.read_rest()

    server = await net.raw_server(handler)
    _, listener = await net.connect(Recorder, server)
    assert [(await listener.next_frame()).payload for _ in range(3)] == [b"a", b"b", b"c"]
    assert listener.events[0] == ("connected",)


async def test_server_takes_frames_sent_with_the_request(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    peer = await net.raw_client(server)
    await peer.upgrade(then=b"\x81\x81\0\0\0\0a\x82\x81\0\0\0\0b")
    assert await peer.read_frame() == (0x81, b"a", False)
    assert await peer.read_frame() == (0x82, b"b", False)


async def test_client_masks_and_server_does_not(net: Net) -> None:
    seen = []

    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        seen.append(await peer.read_frame())
        peer.send(2, b"done")
        await peer.read_rest()

    server = await net.raw_server(handler)
    transport, listener = await net.connect(Recorder, server)
    transport.send(WSMsgType.BINARY, b"x" * 300)
    await listener.next_frame()
    assert seen == [(0x82, b"x" * 300, True)]


async def test_many_clients(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    clients = await asyncio.gather(*(net.connect(Recorder, server) for _ in range(20)))
    assert len(server.connections) == 20
    for number, (transport, _) in enumerate(clients):
        for size in (1, 1000, 100_000):
            transport.send(WSMsgType.BINARY, bytes([number]) * size)
    for number, (_, listener) in enumerate(clients):
        for size in (1, 1000, 100_000):
            assert (await listener.next_frame()).payload == bytes([number]) * size


async def test_W12_frames_and_views_may_be_kept(net: Net) -> None:
    class Keeper(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.kept: Any = []

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            super().on_ws_frame(transport, frame)
            self.kept.append((frame, frame.get_payload_as_memoryview()))

    server = await net.serve(lambda request: Echo())
    transport, listener = await net.connect(Keeper, server)
    messages = [bytes([i]) * size for i, size in enumerate([1, 100, 5000, 70_000, 1, 300_000, 10] * 3)]
    for message in messages:
        transport.send(WSMsgType.BINARY, message)
        await listener.next_frame()
    assert [bytes(view) for _, view in listener.kept] == messages
    assert [frame.get_payload_as_bytes() for frame, _ in listener.kept] == messages


#: Within one piece, within the buffers that are used again, and above; together more than the kernel takes.
LARGE_SIZES = [100_000, 300_000, 1_500_000, 1_000_000, 3_000_000, 300_000]


async def test_W13_a_message_may_be_changed_after_send(net: Net) -> None:
    """Whatever does not fit into the socket waits; it is what was sent, not what became of the buffer."""
    listener = Recorder()
    server = await net.serve(lambda request: listener)
    transport, _ = await net.connect(Recorder, server)
    for size in LARGE_SIZES:
        buffer = bytearray(b"a" * size)
        transport.send(WSMsgType.BINARY, buffer)
        buffer[:] = b"b" * size
        view = bytearray(b"c" * size)
        transport.send(WSMsgType.BINARY, memoryview(view))
        view[:] = b"d" * size
    for size in LARGE_SIZES:
        assert (await listener.next_frame()).payload == b"a" * size
        assert (await listener.next_frame()).payload == b"c" * size


async def test_W13_the_same_for_a_server(net: Net) -> None:
    class Sender(WSListener):
        def on_ws_connected(self, transport: Any) -> None:
            for size in LARGE_SIZES:
                buffer = bytearray(b"a" * size)
                transport.send(WSMsgType.BINARY, buffer)
                buffer[:] = b"b" * size
                del buffer[:]

    server = await net.serve(lambda request: Sender())
    _, listener = await net.connect(Recorder, server)
    for size in LARGE_SIZES:
        assert (await listener.next_frame()).payload == b"a" * size
