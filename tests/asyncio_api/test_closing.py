"""How connections end: CLOSE with and without an answer, disconnect, resets, and who hears what about it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from typing import Any

import pytest
from fixtures.peers import RawPeer, close_frame
from fixtures.sockets import Echo, Net, Recorder, settle, until

from picows import WSCloseCode

SHORT = 0.1


async def never_answer(peer: RawPeer) -> None:
    """A server that reads everything and neither answers nor hangs up."""
    await peer.accept()
    while True:
        if not await peer.reader.read(65536):
            await asyncio.Event().wait()


# --- CLOSE ---


async def test_closing_handshake_by_the_client(net: Net) -> None:
    remote = Echo()
    server = await net.serve(lambda request: remote)
    transport, listener = await net.connect(Recorder, server)
    transport.send_close(4001, "enough")
    assert transport.is_close_frame_sent
    frame = await listener.next_frame()
    assert (frame.opcode, frame.payload) == (8, b"\x0f\xa1enough")
    await transport.wait_disconnected()
    handshake = transport.close_handshake
    assert handshake.sent == handshake.recv == (4001, "enough")
    assert not handshake.recv_then_sent
    assert remote.transport.close_handshake.recv_then_sent
    assert listener.events[-1] == ("disconnected",)


async def test_closing_handshake_by_the_server(net: Net) -> None:
    class Leaving(Recorder):
        def on_ws_connected(self, transport: Any) -> None:
            super().on_ws_connected(transport)
            transport.send_close(1001)

    remote = Leaving()
    server = await net.serve(lambda request: remote, close_timeout=5)
    transport, listener = await net.connect(Echo, server)
    await transport.wait_disconnected()
    await remote.disconnected.wait()
    assert transport.close_handshake.recv == (1001, "")
    assert transport.close_handshake.recv_then_sent
    assert not remote.transport.close_handshake.recv_then_sent


async def test_P1_empty_close_both_ways(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    transport, listener = await net.connect(Recorder, server)
    transport.send_close()
    assert (await listener.next_frame()).payload == b""
    await transport.wait_disconnected()
    assert transport.close_handshake.sent == (WSCloseCode.NO_INFO, "")
    assert transport.close_handshake.recv == (WSCloseCode.NO_INFO, None)


async def test_P4_auto_close(net: Net) -> None:
    server = await net.serve(lambda request: Recorder(), enable_auto_close=True)
    peer = await net.raw_client(server)
    await peer.upgrade()
    peer.send_close(1000, b"bye")
    assert (await peer.read_frame()).payload == b"\x03\xe8bye"
    assert await peer.read_rest() == b""


async def test_P4_auto_close_of_a_client(net: Net) -> None:
    answers = []

    async def handler(peer: RawPeer) -> None:
        await peer.accept(then=close_frame(1001, b"go"))
        answers.append(await peer.read_frame())
        peer.hang_up()

    server = await net.raw_server(handler)
    transport, listener = await net.connect(Recorder, server, enable_auto_close=True)
    await transport.wait_disconnected()
    assert answers == [(0x88, b"\x03\xe9go", True)]
    assert listener.events == [("connected",), ("frame", 8, b"\x03\xe9go"), ("disconnected",)]


async def test_P4_auto_close_leaves_a_listener_its_own_answer(tcp: Net) -> None:
    class Answering(Recorder):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            super().on_ws_frame(transport, frame)
            transport.send_close(4000, "mine")

    server = await tcp.serve(lambda request: Answering(), enable_auto_close=True)
    peer = await tcp.raw_client(server)
    await peer.upgrade()
    peer.send_close()
    assert (await peer.read_frame()).payload == b"\x0f\xa0mine"
    assert await peer.read_rest() == b""


async def test_P4_without_auto_close_nothing_is_answered(tcp: Net) -> None:
    listener = Recorder()
    server = await tcp.serve(lambda request: listener)
    peer = await tcp.raw_client(server)
    await peer.upgrade()
    peer.send_close()
    assert (await listener.next_frame()).opcode == 8
    await settle(20)
    assert not listener.transport.is_close_frame_sent
    listener.transport.disconnect()
    assert await peer.read_rest() == b""


async def test_P4_close_timeout_of_a_client(net: Net) -> None:
    server = await net.raw_server(never_answer)
    transport, listener = await net.connect(Recorder, server, close_timeout=SHORT)
    transport.send_close()
    started = time.monotonic()
    await transport.wait_disconnected()
    assert SHORT * 0.8 < time.monotonic() - started < 5
    assert listener.events == [("connected",), ("disconnected",)]


async def test_P4_close_timeout_of_a_server(net: Net) -> None:
    listener = Recorder()
    server = await net.serve(lambda request: listener, close_timeout=SHORT)
    peer = await net.raw_client(server)
    await peer.upgrade()
    listener.transport.send_close()
    assert (await peer.read_frame()).opcode == 8
    await listener.disconnected.wait()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await peer.read_frame()


async def test_P4_close_timeout_while_the_peer_goes_on_sending(tcp: Net) -> None:
    listener = Recorder()
    server = await tcp.serve(lambda request: listener, close_timeout=SHORT)
    peer = await tcp.raw_client(server)
    await peer.upgrade()
    listener.transport.send_close()
    with contextlib.suppress(ConnectionError):
        while not peer.writer.transport.is_closing() and not listener.disconnected.is_set():
            peer.send(2, b"x" * 1000)
            await peer.writer.drain()
            await asyncio.sleep(0.001)
    await listener.disconnected.wait()


async def test_P4_an_answer_in_time_stops_the_timer(tcp: Net) -> None:
    server = await tcp.serve(lambda request: Echo(), close_timeout=SHORT)
    transport, listener = await tcp.connect(Recorder, server, close_timeout=SHORT)
    transport.send_close(1000)
    await transport.wait_disconnected()
    await asyncio.sleep(2 * SHORT)  # a timer that was left would call into a dead connection
    assert listener.events == [("connected",), ("frame", 8, b"\x03\xe8"), ("disconnected",)]


async def test_P4_no_close_timeout(tcp: Net) -> None:
    server = await tcp.raw_server(never_answer)
    transport, listener = await tcp.connect(Recorder, server, close_timeout=None)
    transport.send_close()
    await asyncio.sleep(2 * SHORT)
    assert listener.events == [("connected",)]


async def test_P4_graceful_disconnect_from_a_peer_that_does_not_read(net: Net) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        await asyncio.Event().wait()

    server = await net.raw_server(handler)
    transport, listener = await net.connect(Recorder, server, close_timeout=SHORT)
    for _ in range(30):
        transport.send(2, b"x" * 1_000_000)
    assert transport.write_buffer_size > 0
    transport.disconnect()
    await asyncio.wait_for(transport.wait_disconnected(), 5)
    assert listener.events[-1] == ("disconnected",)


# --- disconnect ---


async def test_disconnect_flushes(net: Net) -> None:
    received = []

    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        received.append(await peer.read_frame())
        assert await peer.read_rest() == b""

    server = await net.raw_server(handler)
    transport, _ = await net.connect(Recorder, server)
    transport.send(2, b"x" * 5_000_000)
    transport.disconnect()
    assert transport.is_disconnected
    await transport.wait_disconnected()
    await until(lambda: received)
    assert len(received[0].payload) == 5_000_000


@pytest.mark.parametrize("graceful", [True, False])
async def test_W15_nothing_is_sent_after_disconnect(net: Net, graceful: bool) -> None:
    listener = Recorder()
    server = await net.serve(lambda request: listener)
    peer = await net.raw_client(server)
    await peer.upgrade()
    transport = listener.transport
    transport.send(1, "before")
    if not graceful:
        assert (await peer.read_frame()).payload == b"before"
    transport.disconnect(graceful)
    for _ in range(3):
        transport.send(1, "after")
        transport.send_ping(b"after")
        transport.send_pong(b"after")
        transport.send_close(1000, "after")
        transport.send_reuse_external_bytearray(2, bytearray(14) + b"after", 14)
        transport.flush()
        await settle(1)
    try:
        rest = await peer.read_rest()
    except ConnectionResetError:
        assert not graceful
        rest = b""
    assert rest == (b"\x81\x06before" if graceful else b"")
    assert not transport.is_close_frame_sent
    assert transport.write_buffer_size == 0


async def test_W15_nothing_is_sent_after_disconnect_in_a_callback(net: Net) -> None:
    """Several frames in one read: what the first callbacks send leaves, what comes after disconnect does not."""

    class Hasty(Recorder):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            super().on_ws_frame(transport, frame)
            transport.send(1, f"answer {len(self.events)}")
            if len(self.events) == 3:
                transport.disconnect()
                transport.send(1, "too late")

    listener = Hasty()
    server = await net.serve(lambda request: listener)
    peer = await net.raw_client(server)
    await peer.upgrade(then=b"\x81\x81\0\0\0\0a" * 5)
    assert await peer.read_rest() == b"\x81\x08answer 2\x81\x08answer 3"
    await listener.disconnected.wait()
    assert listener.events == [("connected",)] + [("frame", 1, b"a")] * 2 + [("disconnected",)]


async def test_W15_nothing_is_sent_after_close(net: Net) -> None:
    listener = Recorder()
    server = await net.serve(lambda request: listener)
    peer = await net.raw_client(server)
    await peer.upgrade()
    listener.transport.send_close(1000)
    listener.transport.send(1, "after")
    listener.transport.send_close(1001)
    listener.transport.disconnect()
    assert await peer.read_rest() == b"\x88\x02\x03\xe8"


@pytest.mark.parametrize("graceful", [True, False])
async def test_disconnect_twice(net: Net, graceful: bool) -> None:
    server = await net.serve(lambda request: Echo())
    transport, listener = await net.connect(Recorder, server)
    transport.disconnect(graceful)
    transport.disconnect(graceful)
    transport.disconnect(False)
    await transport.wait_disconnected()
    transport.disconnect()
    assert listener.events == [("connected",), ("disconnected",)]


async def test_W15_sending_to_a_connection_that_was_reset(tcp: Net) -> None:
    listener = Recorder()
    server = await tcp.serve(lambda request: listener)
    peer = await tcp.raw_client(server)
    await peer.upgrade()
    peer.reset()
    for _ in range(100):
        listener.transport.send(2, b"x" * 1000)
        await asyncio.sleep(0)
    await listener.disconnected.wait()
    listener.transport.send(2, b"x")
    assert listener.events == [("connected",), ("disconnected",)]


SIGPIPE_PROGRAM = """
import asyncio, signal, socket, struct, sys
from picows import WSListener, ws_create_server
fired = []
signal.signal(signal.SIGPIPE, lambda *args: fired.append(1))
use_aiofastnet = sys.argv[1] == "aiofastnet"
class Listener(WSListener):
    def on_ws_connected(self, transport):
        self.transport = transport
        self.gone = asyncio.get_running_loop().create_future()
    def on_ws_disconnected(self, transport):
        self.gone.set_result(None)
async def main():
    listener = Listener()
    server = await ws_create_server(lambda request: listener, "127.0.0.1", 0, use_aiofastnet=use_aiofastnet)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    writer.write(b"GET / HTTP/1.1\\r\\nHost: a\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
                 b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n")
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for size in (10, 50_000, 100_000):  # no turn of the loop: it has not noticed yet
        for _ in range(5):
            listener.transport.send(2, b"x" * size)
    await listener.gone
    await server.close()
asyncio.run(main())
print("fired", len(fired))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGPIPE on Windows")
@pytest.mark.parametrize("transports", ["native", "aiofastnet"])
def test_W15_no_sigpipe(transports: str) -> None:
    if transports == "aiofastnet":
        pytest.importorskip("aiofastnet")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", SIGPIPE_PROGRAM, transports],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.stdout == "fired 0\n", result.stderr
