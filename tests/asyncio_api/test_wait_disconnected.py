"""What is heard of the end: wait_disconnected, on_ws_disconnected, and exceptions out of callbacks."""

from __future__ import annotations

import asyncio
from typing import Any, List

import pytest
from fixtures.peers import RawPeer
from fixtures.sockets import Echo, Net, Recorder, settle, until

from picows import WSListener, WSMsgType, WSProtocolError


@pytest.mark.parametrize("how", ["close", "eof", "reset", "abort"])
async def test_wait_disconnected_raises_nothing_for_what_the_peer_does(net: Net, how: str) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.accept()
        await peer.reader.readexactly(1)
        if how == "close":
            peer.send_close(1011, b"broken")
        if how == "reset":
            peer.reset()
        elif how == "abort":
            peer.writer.transport.abort()
        peer.hang_up()

    server = await net.raw_server(handler)
    transport, listener = await net.connect(Recorder, server)
    waiting = [asyncio.ensure_future(transport.wait_disconnected()) for _ in range(3)]
    transport.send(1, "go")
    await asyncio.gather(*waiting)
    await transport.wait_disconnected()
    assert listener.events[-1] == ("disconnected",)
    assert transport.is_disconnected
    if how == "close":
        assert transport.close_handshake.recv == (1011, "broken")
    else:
        assert transport.close_handshake is None


async def test_wait_disconnected_raises_what_a_callback_raised(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Recorder):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            raise KeyError("mine")

    server = await net.serve(lambda request: Echo())
    transport, _ = await net.connect(Failing, server)
    waiting = [asyncio.ensure_future(transport.wait_disconnected()) for _ in range(2)]
    transport.send(1, "x")
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, KeyError)
    with pytest.raises(KeyError, match="mine"):
        await transport.wait_disconnected()
    assert transport.close_handshake.sent == (1011, "")


async def test_wait_disconnected_raises_the_violation(net: Net) -> None:
    ends = []

    async def handler(peer: RawPeer) -> None:
        await peer.accept(then=b"\x83\x00")
        ends.append(await peer.read_frame())
        ends.append(await peer.read_rest())

    server = await net.raw_server(handler)
    transport, listener = await net.connect(Recorder, server)
    with pytest.raises(WSProtocolError) as caught:
        await transport.wait_disconnected()
    assert caught.value.code == 1002
    assert ends[0].payload[:2] == b"\x03\xea"
    assert listener.events == [("connected",), ("disconnected",)]


async def test_wait_disconnected_on_a_server_never_raises(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Recorder):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            raise WSProtocolError(4123, "not this way")

    listener = Failing()
    server = await net.serve(lambda request: listener, disconnect_on_exception=False)
    transport, _ = await net.connect(Echo, server)
    transport.send(1, "x")
    await listener.connected.wait()
    await listener.transport.wait_disconnected()
    await transport.wait_disconnected()
    assert transport.close_handshake.recv == (4123, "not this way")
    assert "not this way" in caplog.text


async def test_wait_disconnected_after_on_ws_disconnected(net: Net) -> None:
    order: List[str] = []

    class Ordered(Recorder):
        def on_ws_disconnected(self, transport: Any) -> None:
            order.append("callback")

    server = await net.serve(lambda request: Echo())
    transport, _ = await net.connect(Ordered, server)
    waiting = asyncio.ensure_future(transport.wait_disconnected())
    waiting.add_done_callback(lambda _: order.append("future"))
    transport.send_close(1000)
    await waiting
    await settle(1)
    assert order == ["callback", "future"]


async def test_on_ws_disconnected_that_raises(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(WSListener):
        def on_ws_disconnected(self, transport: Any) -> None:
            raise KeyError("at the end")

    server = await net.serve(lambda request: Failing())
    transport, _ = await net.connect(Failing, server)
    transport.disconnect()
    with pytest.raises(KeyError, match="at the end"):
        await transport.wait_disconnected()
    await until(lambda: not server.connections)


async def test_exceptions_are_only_logged_if_wanted(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Echo):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.get_payload_as_bytes() == b"fail":
                raise KeyError("mine")
            super().on_ws_frame(transport, frame)

    server = await net.serve(lambda request: Failing(), disconnect_on_exception=False)
    transport, listener = await net.connect(Recorder, server)
    transport.send(WSMsgType.TEXT, "fail")
    transport.send(WSMsgType.TEXT, "go on")
    assert (await listener.next_frame()).payload == b"go on"
    assert "on_ws_frame raised" in caplog.text


async def test_P3_W2_nothing_of_an_oversized_frame(net: Net) -> None:
    """Frames before it are delivered and answered, then comes 1009, and nothing after it is delivered."""
    listener = Echo()
    seen: List[bytes] = []
    listener.on_ws_frame = lambda transport, frame: (  # type: ignore[method-assign]
        seen.append(frame.get_payload_as_bytes()),
        transport.send(1, frame.get_payload_as_bytes()),
    )
    server = await net.serve(lambda request: listener, max_frame_size=100)
    peer = await net.raw_client(server)
    await peer.upgrade(then=b"\x81\x81\0\0\0\0a" + b"\x81\xfe\x00\x80\0\0\0\0" + b"x" * 128 + b"\x81\x81\0\0\0\0b")
    assert (await peer.read_frame()).payload == b"a"
    frame = await peer.read_frame()
    assert (frame.opcode, frame.payload[:2]) == (8, b"\x03\xf1")
    assert await peer.read_rest() == b""
    assert seen == [b"a"]
