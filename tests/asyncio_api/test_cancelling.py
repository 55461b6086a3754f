"""W5: wherever ws_connect is cancelled, the socket is closed and the listener hears nothing more."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, List

import pytest
from fixtures.peers import RawPeer
from fixtures.proxies import make_proxy
from fixtures.sockets import Echo, Net, Recorder, count_sockets, have, port_of, settle, until

from picows import ws_connect

MAX_STEPS = 2000


async def cancel_after_each_number_of_steps(connect: Any, listeners: List[Recorder]) -> None:
    """Cancel `connect()` in the first turn of the loop, then in the second, and so on until it is too late."""
    before = count_sockets()
    for steps in range(MAX_STEPS):
        task = asyncio.ensure_future(connect())
        for _ in range(steps):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        events = [list(listener.events) for listener in listeners]
        assert all(listener.events[-1:] in ([], [("disconnected",)]) for listener in listeners)
        await settle(20)
        assert [listener.events for listener in listeners] == events, "a callback came after the cancellation"
        listeners.clear()
    else:
        pytest.fail(f"{MAX_STEPS} turns are not enough to connect")
    transport, _ = task.result()
    assert steps > 2
    transport.disconnect(graceful=False)
    await transport.wait_disconnected()
    for _ in range(1000):  # the other sides need a few turns to see it
        await asyncio.sleep(0)
        if count_sockets() <= before:
            return
    pytest.fail(f"{count_sockets() - before} sockets are left")


@pytest.mark.parametrize("speaks_first", [False, True], ids=["silent", "speaks-first"])
async def test_W5_cancelled_after_any_number_of_steps(net: Net, speaks_first: bool) -> None:
    class Greeter(Echo):
        def on_ws_connected(self, transport: Any) -> None:
            for _ in range(3):
                transport.send(1, "hello")

    server = await net.serve(lambda request: Greeter() if speaks_first else Echo())
    net.allowed_reports += ["SSL handshake failed", "Error on transport creation for incoming connection"]
    listeners: List[Recorder] = []

    def factory() -> Recorder:
        listeners.append(Recorder())
        return listeners[-1]

    url = net.url(server).replace("127.0.0.1", "localhost")  # a name is resolved in a thread: more turns of the loop
    await cancel_after_each_number_of_steps(lambda: ws_connect(factory, url, **net.client_options()), listeners)
    await until(lambda: not server.connections)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.skipif(not have("python_socks"), reason="python-socks is not installed")
async def test_W5_cancelled_on_the_way_through_a_proxy(tcp: Net, scheme: str) -> None:
    server = await tcp.serve(lambda request: Echo())
    async with make_proxy(scheme, None) as proxy:  # type: ignore[arg-type]
        await cancel_after_each_number_of_steps(
            lambda: ws_connect(Recorder, tcp.url(server), proxy=proxy.url(), **tcp.client_options()), []
        )
        await proxy.all_closed()


async def test_W5_cancelled_after_a_redirect(tcp: Net) -> None:
    target = await tcp.serve(lambda request: Echo())

    async def handler(peer: RawPeer) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionResetError):
            await peer.read_head()
            peer.write(f"HTTP/1.1 302 X\r\nLocation: {tcp.url(target)}\r\nContent-Length: 0\r\n\r\n".encode())
            await peer.read_rest()

    server = await tcp.raw_server(handler)
    await cancel_after_each_number_of_steps(lambda: ws_connect(Recorder, tcp.url(server), **tcp.client_options()), [])


async def test_W5_cancelled_while_the_server_is_silent(net: Net) -> None:
    asked = asyncio.Event()
    ends = []

    async def handler(peer: RawPeer) -> None:
        await peer.read_head()
        asked.set()
        try:
            ends.append(await peer.read_rest())
        except ConnectionResetError:
            ends.append(b"")

    server = await net.raw_server(handler)
    task = asyncio.ensure_future(ws_connect(Recorder, net.url(server), **net.client_options()))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: ends)
    assert ends == [b""]


async def test_W5_cancelled_by_its_own_listener_factory(net: Net) -> None:
    """The factory runs in the middle of the handshake: nothing may reach the listener it returns."""
    listener = Recorder()
    remote = Recorder()
    server = await net.serve(lambda request: remote)

    def factory() -> Recorder:
        task.cancel()
        return listener

    task = asyncio.ensure_future(ws_connect(factory, net.url(server), **net.client_options()))
    with pytest.raises(asyncio.CancelledError):
        await task
    events = list(listener.events)
    await remote.disconnected.wait()
    await settle()
    assert listener.events == events


async def test_W5_cancelled_when_it_had_just_opened(net: Net) -> None:
    """A listener that was told that it is connected is told about the end before ws_connect raises."""

    class Greeter(Echo):
        def on_ws_connected(self, transport: Any) -> None:
            transport.send(1, "hello")

    class Canceller(Recorder):
        def on_ws_connected(self, transport: Any) -> None:
            super().on_ws_connected(transport)
            task.cancel()

    server = await net.serve(lambda request: Greeter())
    listener = Canceller()
    task = asyncio.ensure_future(ws_connect(lambda: listener, net.url(server), **net.client_options()))
    with pytest.raises(asyncio.CancelledError):
        await task
    events = list(listener.events)
    assert events[0] == ("connected",)
    assert events[-1] == ("disconnected",)
    await until(lambda: not server.connections)
    assert listener.events == events


async def test_W5_cancelled_while_the_socket_factory_works(tcp: Net) -> None:
    server = await tcp.serve(lambda request: Echo())
    started = asyncio.Event()
    sockets: List[socket.socket] = []

    async def socket_factory(url: Any) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port_of(server)))
        sockets.append(sock)
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            sock.close()
        return sock

    options = tcp.client_options()
    task = asyncio.ensure_future(ws_connect(Recorder, tcp.url(server), socket_factory=socket_factory, **options))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sockets[0].fileno() == -1


async def test_W5_cancelled_wait_disconnected_leaves_the_connection_alone(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    transport, listener = await net.connect(Recorder, server)
    waiting = asyncio.ensure_future(transport.wait_disconnected())
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    transport.send(1, "still there")
    assert (await listener.next_frame()).payload == b"still there"
