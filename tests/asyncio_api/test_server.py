"""P10: the server object knows its connections and says goodbye to them."""

from __future__ import annotations

import asyncio
import time
from typing import Any, List

import pytest
from fixtures.peers import RawPeer
from fixtures.sockets import Echo, Net, Recorder, settle, unix_only, until

from picows import WSServer, ws_create_server


async def open_clients(net: Net, server: Any, count: int) -> List[RawPeer]:
    """Raw clients whose handshake is complete."""
    peers = []
    for _ in range(count):
        peer = await net.raw_client(server)
        await peer.upgrade()
        peers.append(peer)
    await until(lambda: len(server.connections) == count)
    return peers


async def answer_close(peer: RawPeer) -> bytes:
    """What a well-behaved client does: answer CLOSE and wait for the server to hang up. Returns the CLOSE payload."""
    frame = await peer.read_frame()
    assert frame.opcode == 8
    peer.send(8, frame.payload)
    assert await peer.read_rest() == b""
    peer.hang_up()
    return frame.payload


async def test_P10_connections(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    assert server.connections == frozenset()
    first, _ = await net.connect(Recorder, server)
    second, _ = await net.connect(Recorder, net.url(server, "/2"))
    await until(lambda: len(server.connections) == 2)
    assert sorted(transport.request.path for transport in server.connections) == [b"/", b"/2"]
    first.disconnect()
    await until(lambda: len(server.connections) == 1)
    (left,) = server.connections
    assert left.request.path == b"/2"
    second.disconnect()
    await until(lambda: not server.connections)


async def test_P10_a_connection_is_known_in_on_ws_connected_and_no_more_in_the_end(net: Net) -> None:
    class Curious(Echo):
        def on_ws_connected(self, transport: Any) -> None:
            super().on_ws_connected(transport)
            known.append(transport in server.connections)

        def on_ws_disconnected(self, transport: Any) -> None:
            known.append(transport in server.connections)
            super().on_ws_disconnected(transport)

    known: List[bool] = []
    listener = Curious()
    server = await net.serve(lambda request: listener)
    transport, _ = await net.connect(Recorder, server)
    transport.disconnect()
    await listener.disconnected.wait()
    assert known == [True, False]


async def test_P10_refused_requests_are_no_connections(tcp: Net) -> None:
    server = await tcp.serve(lambda request: None)
    peer = await tcp.raw_client(server)
    peer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await peer.read_rest()
    assert not server.connections


@pytest.mark.parametrize(
    ("arguments", "payload"),
    [((), b"\x03\xe9"), ((1012, "back soon"), b"\x03\xf4back soon"), ((4000,), b"\x0f\xa0")],
)
async def test_P10_goodbye(net: Net, arguments: Any, payload: bytes) -> None:
    server = await net.serve(lambda request: Echo())
    peers = await open_clients(net, server, 3)
    answers = [asyncio.ensure_future(answer_close(peer)) for peer in peers]
    started = time.monotonic()
    await server.close(*arguments)
    assert await asyncio.gather(*answers) == [payload] * 3
    assert time.monotonic() - started < 5, "the server waited although everybody had answered"
    assert not server.connections
    assert not server.is_serving()


async def test_P10_goodbye_to_picows_clients(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    clients = [await net.connect(Echo, server) for _ in range(3)]
    await server.close(1001, "going")
    for transport, listener in clients:
        await transport.wait_disconnected()
        assert transport.close_handshake.recv == (1001, "going")
        assert listener.events == [("connected",), ("disconnected",)]


async def test_P10_a_client_that_does_not_answer(net: Net) -> None:
    listeners: List[Recorder] = []

    def factory(request: Any) -> Recorder:
        listeners.append(Recorder())
        return listeners[-1]

    server = await net.serve(factory)
    deaf, polite = await open_clients(net, server, 2)
    answer = asyncio.ensure_future(answer_close(polite))
    started = time.monotonic()
    await server.close(close_timeout=0.2)
    assert 0.15 < time.monotonic() - started < 8
    assert await answer == b"\x03\xe9"
    assert [listener.events[-1] for listener in listeners] == [("disconnected",)] * 2
    assert not server.connections
    assert (await deaf.read_frame()).payload == b"\x03\xe9"
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await deaf.read_frame()


async def test_P10_the_servers_close_timeout_is_the_default(tcp: Net) -> None:
    server = await tcp.serve(lambda request: Recorder(), close_timeout=0.2)
    await open_clients(tcp, server, 1)
    started = time.monotonic()
    await server.close()
    assert 0.15 < time.monotonic() - started < 8


async def test_P10_the_listener_hears_the_answer(tcp: Net) -> None:
    listener = Recorder()
    server = await tcp.serve(lambda request: listener)
    (peer,) = await open_clients(tcp, server, 1)
    answer = asyncio.ensure_future(answer_close(peer))
    await server.close(1001)
    await answer
    assert listener.events == [("connected",), ("frame", 8, b"\x03\xe9"), ("disconnected",)]


async def test_P10_a_connection_that_was_closing_already(tcp: Net) -> None:
    server = await tcp.serve(lambda request: Recorder())
    (peer,) = await open_clients(tcp, server, 1)
    (transport,) = server.connections
    transport.send_close(1000, "bye")
    answer = asyncio.ensure_future(answer_close(peer))
    await server.close(1001)
    assert await answer == b"\x03\xe8bye"


async def test_P10_without_await_connections_go_on(net: Net) -> None:
    """As with a plain asyncio Server."""
    server = await net.serve(lambda request: Echo())
    transport, listener = await net.connect(Recorder, server)
    url = net.url(server)
    server.close()
    assert not server.is_serving()
    transport.send(1, "still there")
    assert (await listener.next_frame()).payload == b"still there"
    with pytest.raises(OSError):
        await net.connect(Recorder, url)
    transport.disconnect()


async def test_P10_close_twice(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    await net.connect(Echo, server)
    await server.close()
    await server.close()
    server.close()


@pytest.mark.parametrize(("code", "reason"), [(1005, ""), (999, ""), (0, "why"), (1000, "x" * 124)])
async def test_P10_codes_that_cannot_be_sent(tcp: Net, code: int, reason: str) -> None:
    server = await tcp.serve(lambda request: Echo())
    transport, listener = await tcp.connect(Recorder, server)
    with pytest.raises(ValueError):
        await server.close(code, reason)
    transport.send(1, "still there")
    assert (await listener.next_frame()).payload == b"still there"
    assert server.is_serving()


async def test_P10_bad_close_timeout(tcp: Net) -> None:
    server = await tcp.serve(lambda request: Echo())
    with pytest.raises(ValueError, match="close_timeout"):
        await server.close(close_timeout=-1)
    assert server.is_serving()


async def test_P10_async_with(net: Net) -> None:
    async with await ws_create_server(lambda request: Echo(), "127.0.0.1", 0, **net.server_options()) as server:
        assert isinstance(server, WSServer)
        assert server.is_serving()
        transport, listener = await net.connect(Echo, server)
    assert not server.is_serving()
    await transport.wait_disconnected()
    assert transport.close_handshake.recv == (1001, "")


async def test_P10_serve_forever_cancelled(net: Net) -> None:
    server = await net.serve(lambda request: Echo(), start_serving=False)
    assert not server.is_serving()
    serving = asyncio.ensure_future(server.serve_forever())
    await until(server.is_serving)
    transport, listener = await net.connect(Echo, server)
    with pytest.raises(RuntimeError, match="already"):
        await server.serve_forever()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    await transport.wait_disconnected()
    assert transport.close_handshake.recv == (1001, "")
    assert not server.connections


async def test_P10_serve_forever_ends_with_close(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    serving = asyncio.ensure_future(server.serve_forever())
    await settle()
    await server.close()
    await serving


@pytest.mark.parametrize("start_serving", [False, True])
async def test_P10_a_closed_server_cannot_serve(net: Net, start_serving: bool) -> None:
    server = await net.serve(lambda request: Echo(), start_serving=start_serving)
    server.close()
    for serve in (server.serve_forever, server.start_serving, server.serve_forever):
        with pytest.raises(RuntimeError, match="closed"):
            await serve()
    assert not server.is_serving()


async def test_P10_cancelled_goodbye_cuts_off(tcp: Net) -> None:
    server = await tcp.serve(lambda request: Recorder())
    await open_clients(tcp, server, 2)

    async def close() -> None:
        await server.close(close_timeout=100)

    closing = asyncio.ensure_future(close())
    await settle()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await until(lambda: not server.connections)


async def test_P10_it_is_an_asyncio_server(net: Net) -> None:
    server = await net.serve(lambda request: Echo(), backlog=5)
    assert isinstance(server, asyncio.AbstractServer)
    assert server.get_loop() is asyncio.get_running_loop()
    assert len(server.sockets) == 1
    with pytest.raises(AttributeError):
        server.no_such_attribute  # noqa: B018
    server.close()
    await server.wait_closed()


async def test_P10_wait_closed_returns_while_connections_live(tcp: Net) -> None:
    """On Python 3.12 and newer asyncio's waits for them as well; then it ends with the connection."""
    server = await tcp.serve(lambda request: Echo())
    transport, _ = await tcp.connect(Recorder, server)
    server.close()
    waiting = asyncio.ensure_future(server.wait_closed())
    await settle()
    transport.disconnect()
    await waiting


@unix_only
async def test_P10_on_a_unix_socket(net: Net, tmp_path: Any) -> None:
    path = str(tmp_path / "s")
    server = await net.serve(lambda request: Echo(), path=path)
    transport, _ = await net.connect(Echo, f"{net.scheme}://localhost/", path=path)
    assert len(server.connections) == 1
    await server.close()
    await transport.wait_disconnected()
    assert transport.close_handshake.recv == (1001, "")
