"""Closed connections are freed by reference counting alone, with everything that belongs to them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import weakref
from typing import Any, Iterator, List, Tuple

import pytest
from fixtures.peers import RawPeer, close_frame, request_head
from fixtures.sockets import Echo, Net, Recorder, count_sockets, port_of, settle, until

from picows import WSListener, WSMessageListener, ws_connect

pytestmark = pytest.mark.skipif(sys.implementation.name != "cpython", reason="only CPython counts references")


class Client(WSListener):
    """Sends one message, waits for its echo, and then ends the connection in one of many ways."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.frames: List[bytes] = []

    def on_ws_connected(self, transport: Any) -> None:
        transport.send(1, "hello")

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        self.frames.append(frame.get_payload_as_bytes())
        if self.how == "disconnect" or frame.msg_type == 8:
            transport.disconnect()
        elif self.how == "abort":
            transport.disconnect(graceful=False)
        elif self.how == "close":
            transport.send_close(1000, "bye")
        elif self.how == "raise":
            raise KeyError("mine")


@contextlib.contextmanager
def no_gc() -> Iterator[None]:
    """The garbage collector may not help."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def freed(refs: List[Any], collect: bool = False) -> None:
    """See that all are gone, once the last timer of the connections has run: that is 10 ms after a farewell."""
    for _ in range(200):
        if collect:
            gc.collect()
        if not any(ref() for ref in refs):
            return
        await asyncio.sleep(0.005)
    pytest.fail(f"alive: {[ref() for ref in refs if ref() is not None]}")


async def one_connection(net: Net, url: str, how: str, refs: List[Any], options: Any) -> None:
    """Open and end one connection; `refs` gets weak references to what belongs to the client's side."""
    transport, listener = await ws_connect(lambda: Client(how), url, **net.client_options(), **options)
    refs += [weakref.ref(transport), weakref.ref(listener)]
    try:
        await transport.wait_disconnected()
    except KeyError as exc:
        assert how == "raise"
        exc.__traceback__ = None
        del exc
    assert listener.frames[0] == b"hello"


@pytest.mark.parametrize("how", ["disconnect", "abort", "close", "raise"])
@pytest.mark.parametrize("auto_ping", [False, True], ids=["", "auto-ping"])
async def test_closed_connections_are_freed_without_gc(net: Net, how: str, auto_ping: bool, caplog: Any) -> None:
    refs: List[Any] = []

    def factory(request: Any) -> Echo:
        listener = Echo()
        refs.append(weakref.ref(listener))
        return listener

    options = {"enable_auto_ping": auto_ping}
    server = await net.serve(factory, **options)
    url = net.url(server)
    before = count_sockets()
    with no_gc():
        for _ in range(3):
            await one_connection(net, url, how, refs, options)
        caplog.clear()  # the records hold exceptions with their tracebacks
        await until(lambda: not server.connections)
        await freed(refs)
        assert count_sockets() == before


@pytest.mark.parametrize("how", ["eof", "reset", "close", "violation", "half a frame"])
async def test_connections_that_the_peer_ends_are_freed(net: Net, how: str, caplog: Any) -> None:
    refs: List[Any] = []

    def factory(request: Any) -> Recorder:
        listener = Recorder()
        refs.append(weakref.ref(listener))
        return listener

    server = await net.serve(factory, enable_auto_ping=True, enable_auto_close=True)
    with no_gc():
        for _ in range(3):
            peer = await net.raw_client(server)
            await peer.upgrade()
            refs += [weakref.ref(transport) for transport in server.connections]
            if how == "violation":
                peer.write(b"\x83\x80\0\0\0\0")
            elif how == "close":
                peer.write(close_frame(1000, b"", b"abcd"))
            elif how == "half a frame":
                peer.write(b"\x82\xff\0\0\0\0\0\x01\0\0abcd" + b"x" * 1000)
            if how == "reset":
                peer.reset()
            elif how in ("eof", "half a frame"):
                peer.hang_up()
            else:
                await peer.read_rest()
            await peer.aclose()
            await until(lambda: not server.connections)
        caplog.clear()
        await freed(refs)


@pytest.mark.parametrize("how", ["refused", "eof", "timeout", "cancelled", "factory"])
async def test_failed_handshakes_of_a_client_are_freed(net: Net, how: str) -> None:
    async def handler(peer: RawPeer) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await peer.read_head()
        if how == "refused":
            peer.write(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
        if how == "factory":
            peer.write(b"HTTP/1.1 101 X\r\n\r\n")
        if how != "eof":
            with contextlib.suppress(ConnectionResetError):
                await peer.reader.read()

    class Marker:
        """Dies with the listener factory, which belongs to the opening handshake."""

        def __call__(self, *args: Any) -> Any:
            raise KeyError("factory")

    async def fail() -> None:
        marker = Marker()
        refs.append(weakref.ref(marker))
        url = net.url(server)
        task = asyncio.ensure_future(
            ws_connect(marker, url, open_timeout=0.05 if how == "timeout" else 30, **net.client_options())
        )
        if how == "cancelled":
            await settle(3)
            task.cancel()
        try:
            await task
        except (Exception, asyncio.CancelledError) as exc:
            exc.__traceback__ = None
            del exc

    is_uvloop = net.loop_kind == "uvloop" and not net.use_aiofastnet
    if how == "cancelled" and is_uvloop and net.is_secure:
        pytest.skip("uvloop keeps a TLS handshake that was cancelled until its own timeout, 60 s")
    server = await net.raw_server(handler)
    net.allowed_reports += ["SSL handshake failed", "Error on transport creation for incoming connection"]
    refs: List[Any] = []
    before = count_sockets()
    with no_gc():
        for _ in range(3):
            await fail()
        await until(lambda: count_sockets() <= before)
        # A cancelled create_connection of uvloop is a cycle.
        await freed(refs, collect=how == "cancelled" and is_uvloop)


async def test_refused_requests_are_freed(tcp: Net) -> None:
    server = await tcp.serve(lambda request: None)
    before = count_sockets()
    for head in (request_head(), b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n"):
        peer = await tcp.raw_client(server)
        peer.write(head)
        if head.endswith(b"\r\n\r\n"):
            await peer.read_rest()
        await peer.aclose()
    await until(lambda: count_sockets() <= before)
    assert not server.connections


async def test_message_layer_is_freed(net: Net) -> None:
    refs: List[Any] = []
    server = await net.serve(lambda request: Echo())
    url = net.url(server)

    async def converse() -> Tuple[Any, Any]:
        transport, listener = await ws_connect(WSMessageListener, url, **net.client_options())
        await listener.send("hello")
        assert await listener.recv() == "hello"
        await listener.close()
        return weakref.ref(transport), weakref.ref(listener)

    with no_gc():
        for _ in range(3):
            refs += await converse()
        await freed(refs)


async def test_many_connections_one_after_the_other(tcp: Net) -> None:
    server = await tcp.serve(lambda request: Echo())
    before = count_sockets()
    for _ in range(100):
        transport, listener = await ws_connect(Recorder, f"ws://127.0.0.1:{port_of(server)}/", **tcp.client_options())
        transport.send(1, "x")
        await listener.next_frame()
        transport.disconnect()
        await transport.wait_disconnected()
    await until(lambda: not server.connections)
    await until(lambda: count_sockets() <= before)
