"""A peer that reads slower than we send: callbacks, the write buffer and its limit (F7)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, List

import pytest
from fixtures.peers import RawPeer
from fixtures.sockets import Net, Recorder, settle, until

from picows import WSMessageListener

CHUNK = b"x" * 65_536
#: More than the kernel takes for a loopback connection.
MANY = 400


class Pressure(Recorder):
    """Notes when writing is paused and resumed."""

    def __init__(self) -> None:
        super().__init__()
        self.paused = asyncio.Event()
        self.resumed = asyncio.Event()

    def pause_writing(self) -> None:
        self.events.append(("pause",))
        self.paused.set()

    def resume_writing(self) -> None:
        self.events.append(("resume",))
        self.resumed.set()


async def slow_client(net: Net, server: Any) -> RawPeer:
    """A client whose handshake is complete, and which reads nothing more."""
    peer = await net.raw_client(server)
    await peer.upgrade()
    peer.writer.transport.pause_reading()
    return peer


def fill(transport: Any, count: int = MANY) -> None:
    """Send more than the kernel takes."""
    for _ in range(count):
        transport.send(2, CHUNK)


async def test_pause_and_resume(net: Net) -> None:
    listener = Pressure()
    server = await net.serve(lambda request: listener)
    peer = await slow_client(net, server)
    fill(listener.transport)
    await listener.paused.wait()
    assert listener.transport.write_buffer_size > 0
    assert not listener.resumed.is_set()
    peer.writer.transport.resume_reading()
    for _ in range(MANY):
        assert (await peer.read_frame()).payload == CHUNK
    await listener.resumed.wait()
    await until(lambda: listener.transport.write_buffer_size == 0)
    assert [event for event in listener.events if event[0] in ("pause", "resume")][:2] == [("pause",), ("resume",)]


async def test_nothing_is_lost_or_torn_around_the_limit(net: Net) -> None:
    """Direct writes, writes through the transport, large and small ones: the order stays."""
    listener = Pressure()
    server = await net.serve(lambda request: listener)
    peer = await slow_client(net, server)
    sizes = [10, 100_000, 1, 65_536, 0, 40_000, 500_000] * 40
    for number, size in enumerate(sizes):
        listener.transport.send(2, bytes([number % 256]) * size)
        if number % 50 == 0:
            await asyncio.sleep(0)
    peer.writer.transport.resume_reading()
    for number, size in enumerate(sizes):
        assert (await peer.read_frame()).payload == bytes([number % 256]) * size


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize("is_server", [True, False], ids=["server", "client"])
async def test_what_pause_writing_sends_comes_behind(net: Net, is_server: bool, kind: Any) -> None:
    """The event loop's transport calls it in the middle of a send."""
    if net.is_secure and not net.has_tls_in_tls:
        pytest.skip("asyncio's TLS before Python 3.11 encrypts what it is writing once more")

    class Reports(Pressure):
        def pause_writing(self) -> None:
            if not self.paused.is_set():
                self.paused.set()
                self.transport.send(1, "paused")
                self.transport.send(2, kind(b"z" * 500_000))

    sender, receiver = Reports(), Recorder()
    server = await net.serve(lambda request: sender if is_server else receiver)
    await net.connect(lambda: receiver if is_server else sender, server)
    await until(lambda: sender.transport is not None)
    sizes = [1_000_000, 100_000, 1_500_000] * 20
    sent = []
    for size in sizes:
        sender.transport.send(2, kind(b"x" * size))
        sent.append(b"x" * size)
        if sender.paused.is_set():
            break
    assert sender.paused.is_set()
    sent += [b"paused", b"z" * 500_000]
    sender.transport.send(1, "last")
    for payload in [*sent, b"last"]:
        assert (await receiver.next_frame()).payload == payload


async def test_without_callbacks_it_is_logged(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    listener = Recorder()
    server = await net.serve(lambda request: listener)
    await slow_client(net, server)
    fill(listener.transport)
    await until(lambda: "write buffer above its high watermark" in caplog.text)


async def test_write_buffer_size(tcp: Net) -> None:
    listener = Pressure()
    server = await tcp.serve(lambda request: listener)
    peer = await slow_client(tcp, server)
    assert listener.transport.write_buffer_size == 0
    listener.transport.send(2, b"small")
    await until(lambda: listener.transport.write_buffer_size == 0)
    fill(listener.transport)
    size = listener.transport.write_buffer_size
    assert 0 < size <= MANY * (len(CHUNK) + 10)
    listener.transport.send(2, CHUNK)
    assert listener.transport.write_buffer_size >= size
    peer.reset()
    await listener.disconnected.wait()
    assert listener.transport.write_buffer_size == 0


@pytest.mark.parametrize("is_server", [True, False], ids=["server", "client"])
async def test_F7_limit(net: Net, is_server: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The consumer that falls behind is told 1008, as far as it still reads, and cut off."""
    listener = Pressure()
    limit = 1_000_000
    options: Any = {"max_write_buffer_size": limit, "close_timeout": 0.2}
    if is_server:
        server = await net.serve(lambda request: listener, **options)
        await slow_client(net, server)
        transport = listener.transport
    else:

        async def handler(peer: RawPeer) -> None:
            await peer.accept()
            await asyncio.Event().wait()

        server = await net.raw_server(handler)
        transport, _ = await net.connect(lambda: listener, server, **options)
    for _ in range(10_000):
        transport.send(2, CHUNK)
        if transport.is_close_frame_sent:
            break
        assert transport.write_buffer_size <= limit
        await asyncio.sleep(0)
    assert transport.close_handshake.sent.code == 1008
    assert str(limit) in transport.close_handshake.sent.reason
    size = transport.write_buffer_size
    transport.send(2, CHUNK)
    assert transport.write_buffer_size <= size
    await asyncio.wait_for(listener.disconnected.wait(), 5)
    assert "are allowed" in caplog.text


async def test_F7_a_consumer_that_keeps_up_is_left_alone(net: Net) -> None:
    listener = Pressure()
    server = await net.serve(lambda request: listener, max_write_buffer_size=1_000_000)
    peer = await net.raw_client(server)
    await peer.upgrade()
    for _ in range(200):
        listener.transport.send(2, CHUNK)
        assert (await peer.read_frame()).payload == CHUNK
    assert not listener.transport.is_close_frame_sent


async def test_F7_the_reader_gets_what_was_sent_before(tcp: Net) -> None:
    """What was accepted before the limit comes in order, then CLOSE 1008."""
    listener = Pressure()
    server = await tcp.serve(lambda request: listener, max_write_buffer_size=1_000_000)
    peer = await slow_client(tcp, server)
    sent = 0
    while not listener.transport.is_close_frame_sent:
        listener.transport.send(2, sent.to_bytes(4, "big") + CHUNK)
        sent += 1
    peer.writer.transport.resume_reading()
    for number in range(sent):
        assert (await peer.read_frame()).payload[:4] == number.to_bytes(4, "big")
    frame = await peer.read_frame()
    assert (frame.opcode, frame.payload[:2]) == (8, b"\x03\xf0")


async def test_pings_of_a_peer_that_does_not_read_pile_up_nothing(net: Net) -> None:
    """While writing is paused only the newest ping is remembered (RFC 6455 5.5.3)."""
    listener = Pressure()
    server = await net.serve(lambda request: listener)
    peer = await slow_client(net, server)
    fill(listener.transport)
    await listener.paused.wait()
    before = listener.transport.write_buffer_size
    for number in range(2000):
        peer.send(9, b"%d" % number)
    peer.send(1, b"end of pings")
    assert (await listener.next_frame()).payload == b"end of pings"
    assert listener.transport.write_buffer_size <= before
    peer.writer.transport.resume_reading()
    for _ in range(MANY):
        await peer.read_frame()
    assert await peer.read_frame() == (0x8A, b"1999", False)


async def test_callbacks_that_raise(tcp: Net, caplog: pytest.LogCaptureFixture) -> None:
    """They run inside the transport's code: whatever happens there, the connection goes on or ends properly."""

    class Failing(Recorder):
        def pause_writing(self) -> None:
            paused.append(1)
            raise KeyError("in pause_writing")

    paused: List[int] = []
    listener = Failing()
    tcp.allowed_reports += ["protocol.pause_writing() failed", "Fatal error"]
    server = await tcp.serve(lambda request: listener)
    peer = await slow_client(tcp, server)
    try:
        fill(listener.transport)
    except KeyError:
        pass  # uvloop and aiofastnet let it through to the one who sends
    await until(lambda: paused)
    await settle()
    peer.reset()
    await listener.disconnected.wait()


async def test_a_small_socket_buffer(tcp: Net) -> None:
    """Partial writes of a few bytes at a time."""

    def factory(url: Any) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return sock

    frames: List[bytes] = []
    done = asyncio.Event()

    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        for _ in range(50):
            frames.append((await peer.read_frame()).payload)
        done.set()

    server = await tcp.raw_server(handler)
    transport, _ = await tcp.connect(Recorder, server, socket_factory=factory)
    messages = [bytes([number]) * (number * 1000) for number in range(50)]
    for message in messages:
        transport.send(2, message)
    await done.wait()
    assert frames == messages


@pytest.mark.parametrize("size", [16_380, 70_000], ids=["a TLS record", "more than a read"])
async def test_what_tls_has_decrypted_while_reading_was_paused(net: Net, size: int) -> None:
    """The socket has nothing more to say then: only the transport knows that there is more."""
    listeners: List[Any] = []

    def accept(request: Any) -> Any:
        listeners.append(WSMessageListener(max_queue=1))
        return listeners[0]

    server = await net.serve(accept)
    _, client = await net.connect(WSMessageListener, server, use_aiofastnet=False)
    await until(lambda: listeners)

    async def send_all() -> None:
        for number in range(20):
            await client.send(bytes([number]) * size)

    sending = asyncio.ensure_future(send_all())
    for number in range(20):
        assert await asyncio.wait_for(listeners[0].recv(), 5) == bytes([number]) * size
        await asyncio.sleep(0.004)  # the more of it is there when reading goes on
    await sending
