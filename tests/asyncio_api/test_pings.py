"""Pings over the wire: auto-pong, auto-ping with peers that live and that do not, round trips."""

from __future__ import annotations

import asyncio
import time
from typing import Any, List

import pytest
from fixtures.peers import Frame, RawPeer
from fixtures.sockets import Echo, Net, Recorder, settle

from picows import WSAutoPingStrategy, WSMsgType

SHORT = 0.1
BOTH = pytest.mark.parametrize("strategy", list(WSAutoPingStrategy), ids=lambda strategy: strategy.name.lower())


def auto_ping(strategy: int, idle: float = SHORT, reply: float = SHORT) -> dict[str, Any]:
    """The arguments that turn auto-ping on."""
    return {
        "enable_auto_ping": True,
        "auto_ping_strategy": strategy,
        "auto_ping_idle_timeout": idle,
        "auto_ping_reply_timeout": reply,
    }


# --- auto-pong ---


async def test_auto_pong(net: Net) -> None:
    listener = Recorder()
    server = await net.serve(lambda request: listener)
    peer = await net.raw_client(server)
    await peer.upgrade()
    for payload in (b"", b"hello", b"x" * 125):
        peer.send(9, payload)
        assert await peer.read_frame() == (0x8A, payload, False)
    assert listener.events == [("connected",)]


async def test_without_auto_pong(net: Net) -> None:
    listener = Recorder()
    server = await net.serve(lambda request: listener, enable_auto_pong=False)
    peer = await net.raw_client(server)
    await peer.upgrade()
    peer.send(9, b"hello")
    assert (await listener.next_frame()).payload == b"hello"
    listener.transport.send_pong(b"mine")
    assert await peer.read_frame() == (0x8A, b"mine", False)


# --- auto-ping ---


@BOTH
async def test_P7_dead_server(net: Net, strategy: int) -> None:
    frames: List[Frame] = []

    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        try:
            while True:
                frames.append(await peer.read_frame())
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass

    server = await net.raw_server(handler)
    transport, listener = await net.connect(Recorder, server, **auto_ping(strategy))
    started = time.monotonic()
    await transport.wait_disconnected()
    assert 1.5 * SHORT < time.monotonic() - started < 10
    assert [frame.opcode for frame in frames][:1] == [9]
    if len(frames) > 1:  # abort may take it back
        assert frames[1].opcode == 8
        assert frames[1].payload[:2] == b"\x03\xe9"
    assert transport.close_handshake.sent.code == 1001
    assert "has not replied to ping" in transport.close_handshake.sent.reason
    assert listener.events == [("connected",), ("disconnected",)]


@BOTH
async def test_P7_dead_client(net: Net, strategy: int) -> None:
    listener = Recorder()
    server = await net.serve(lambda request: listener, **auto_ping(strategy))
    peer = await net.raw_client(server)
    await peer.upgrade()
    assert await peer.read_frame() == (0x89, b"", False)
    await listener.disconnected.wait()
    assert listener.transport.close_handshake.sent.code == 1001
    assert not server.connections


@BOTH
async def test_P7_living_peer(net: Net, strategy: int) -> None:
    """A peer that answers is pinged again and again and nothing of it is delivered."""
    server = await net.serve(lambda request: Echo())
    pings = []

    class Counting(Recorder):
        def send_user_specific_ping(self, transport: Any) -> None:
            pings.append(time.monotonic())
            if len(pings) == 4:
                enough.set()
            super().send_user_specific_ping(transport)

    enough = asyncio.Event()
    transport, listener = await net.connect(Counting, server, **auto_ping(strategy, 0.05, 0.05))
    await enough.wait()
    assert listener.events == [("connected",)]
    assert not transport.is_disconnected


async def test_P7_periodic_pings_have_the_idle_timeout_as_period(tcp: Net) -> None:
    """Not idle plus reply timeout, although each pong is awaited: it ends the wait at once."""
    times: List[float] = []

    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        while len(times) < 5:
            assert (await peer.read_frame()).opcode == 9
            times.append(time.monotonic())
            peer.send(10)
        done.set()
        await peer.reader.read()

    done = asyncio.Event()
    server = await tcp.raw_server(handler)
    await tcp.connect(Recorder, server, **auto_ping(WSAutoPingStrategy.PING_PERIODICALLY, 0.1, 0.1))
    await done.wait()
    # 4 periods; with a wait for the whole reply timeout after each ping they would be twice as long.
    assert times[-1] - times[0] < 4 * 0.1 * 1.7


async def test_P7_data_delays_pings_when_idle(tcp: Net) -> None:
    frames: List[Frame] = []

    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        for _ in range(20):
            peer.send(1, b"tick")
            await peer.writer.drain()
            await asyncio.sleep(0.02)
        silent_since.append(time.monotonic())
        frames.append(await peer.read_frame())
        silent_since.append(time.monotonic())
        await peer.reader.read()

    silent_since: List[float] = []
    server = await tcp.raw_server(handler)
    transport, _ = await tcp.connect(Recorder, server, **auto_ping(WSAutoPingStrategy.PING_WHEN_IDLE, 0.3, 0.3))
    while len(silent_since) < 2:
        await asyncio.sleep(0.01)
    assert frames[0].opcode == 9
    assert silent_since[1] - silent_since[0] > 0.2


@BOTH
async def test_P7_user_specific_pings(tcp: Net, strategy: int) -> None:
    """An application that has pings of its own, as text messages."""

    class Client(Recorder):
        def send_user_specific_ping(self, transport: Any) -> None:
            self.sent = getattr(self, "sent", 0) + 1
            if self.sent == 3:
                third.set()
            transport.send(WSMsgType.TEXT, "ping")

        def is_user_specific_pong(self, frame: Any) -> bool:
            return bool(frame.msg_type == WSMsgType.TEXT and frame.get_payload_as_bytes() == b"pong")

    class Server(Recorder):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            transport.send(WSMsgType.TEXT, "noise")
            transport.send(WSMsgType.TEXT, "pong")

    third = asyncio.Event()
    server = await tcp.serve(lambda request: Server())
    transport, listener = await tcp.connect(Client, server, **auto_ping(strategy, 0.05, 0.05))
    await third.wait()
    assert (await listener.next_frame()).payload == b"noise"
    assert not any(event[2:] == (b"pong",) for event in listener.events)


async def test_P7_a_ping_that_fails(tcp: Net, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Recorder):
        def send_user_specific_ping(self, transport: Any) -> None:
            raise KeyError("no ping")

    server = await tcp.serve(lambda request: Echo())
    transport, _ = await tcp.connect(Failing, server, **auto_ping(1, 0.05, 0.05))
    await transport.wait_disconnected()
    assert transport.close_handshake.sent == (1011, "an exception occurred in auto-ping loop")
    assert "no ping" in caplog.text


# --- measure_roundtrip_time ---


async def test_P7_roundtrip(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    transport, listener = await net.connect(Recorder, server)
    times = await transport.measure_roundtrip_time(5)
    assert len(times) == 5
    assert all(0 < value < 5 for value in times)
    assert listener.events == [("connected",)]
    (remote,) = server.connections
    assert len(await remote.measure_roundtrip_time(2, 5)) == 2


async def test_P7_roundtrip_measures_the_peers_delay(tcp: Net) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        await peer.read_frame()
        await asyncio.sleep(0.05)
        peer.send(10)
        await peer.reader.read()

    server = await tcp.raw_server(handler)
    transport, _ = await tcp.connect(Recorder, server)
    (value,) = await transport.measure_roundtrip_time(1)
    assert 0.045 < value < 5


async def test_P7_concurrent_measurements(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    transport, _ = await net.connect(Recorder, server)
    results = await asyncio.gather(*(transport.measure_roundtrip_time(3, timeout=10) for _ in range(5)))
    assert [len(result) for result in results] == [3] * 5


async def test_P7_roundtrip_timeout(tcp: Net) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        for _ in range(2):
            assert (await peer.read_frame()).opcode == 9
        peer.send(10)
        await peer.reader.read()

    server = await tcp.raw_server(handler)
    transport, _ = await tcp.connect(Recorder, server)
    with pytest.raises(asyncio.TimeoutError):
        await transport.measure_roundtrip_time(1, timeout=0.05)
    assert len(await transport.measure_roundtrip_time(1, timeout=10)) == 1


async def test_P7_roundtrip_cancelled(tcp: Net) -> None:
    pinged = asyncio.Event()

    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        await peer.read_frame()
        pinged.set()
        await peer.read_frame()
        peer.send(10)
        await peer.reader.read()

    server = await tcp.raw_server(handler)
    transport, _ = await tcp.connect(Recorder, server)
    task = asyncio.ensure_future(transport.measure_roundtrip_time(1))
    await pinged.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await transport.measure_roundtrip_time(1)) == 1


@pytest.mark.parametrize("how", ["eof", "reset", "disconnect"])
async def test_P7_roundtrip_on_a_connection_that_ends(net: Net, how: str) -> None:
    pinged = asyncio.Event()
    go_on = asyncio.Event()

    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        await peer.read_frame()
        pinged.set()
        await go_on.wait()
        if how == "reset":
            peer.reset()
        elif how == "eof":
            peer.hang_up()
        else:
            await peer.reader.read()

    server = await net.raw_server(handler)
    transport, _ = await net.connect(Recorder, server)
    tasks = [asyncio.ensure_future(transport.measure_roundtrip_time(1)) for _ in range(2)]
    await pinged.wait()
    go_on.set()
    if how == "disconnect":
        transport.disconnect()
    for task in tasks:
        with pytest.raises(ConnectionError):
            await task
    with pytest.raises(ConnectionError):
        await transport.measure_roundtrip_time(1)


@pytest.mark.parametrize("how", ["send_close", "disconnect", "abort"])
async def test_P7_roundtrip_on_a_closed_transport(net: Net, how: str) -> None:
    server = await net.serve(lambda request: Recorder())
    transport, _ = await net.connect(Recorder, server)
    if how == "send_close":
        transport.send_close()
    else:
        transport.disconnect(graceful=how == "disconnect")
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(transport.measure_roundtrip_time(1), 5)
    await settle()


async def test_P7_roundtrip_while_auto_ping_waits(tcp: Net) -> None:
    """Auto-ping's pong is not taken for the measurement's, nor the other way round."""
    server = await tcp.serve(lambda request: Echo())
    transport, listener = await tcp.connect(Recorder, server, **auto_ping(2, 0.05, 0.05))
    for _ in range(10):
        assert len(await transport.measure_roundtrip_time(1, timeout=10)) == 1
        await asyncio.sleep(0.01)
    assert listener.events == [("connected",)]
    assert not transport.is_disconnected
