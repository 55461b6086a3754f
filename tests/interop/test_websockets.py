"""With the websockets library: our client and its server, its client and our server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, List

import pytest
from fixtures.interop import EXTENSIONS, MESSAGES, OFFER, UNLIMITED, check_echo, deflating_client, message_listener
from fixtures.sockets import Echo, Net, Recorder, until

from picows import WSConnectionClosed, WSMessageListener, WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.deflate import DeflateCodec, DeflateOptions, negotiate

websockets = pytest.importorskip("websockets", reason="the websockets library is not installed")
asyncio_client = pytest.importorskip(
    "websockets.asyncio.client", reason="websockets is too old: it has no asyncio.client"
)
asyncio_server = pytest.importorskip("websockets.asyncio.server")


@contextlib.asynccontextmanager
async def their_server(net: Net, handler: Any, **options: Any) -> AsyncIterator[str]:
    """A server of websockets. Gives its URL."""
    context = net.certificates.server if net.is_secure else None
    options = {"compression": None, "max_size": UNLIMITED, "ping_interval": None, **options}
    async with asyncio_server.serve(handler, "127.0.0.1", 0, ssl=context, **options) as server:
        yield f"{net.scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/path?q=1"


def their_client(net: Net, server: Any, **options: Any) -> Any:
    """A client of websockets, as an asynchronous context manager."""
    context = net.certificates.client if net.is_secure else None
    options = {"compression": None, "max_size": UNLIMITED, "ping_interval": None, "proxy": None, **options}
    return asyncio_client.connect(net.url(server), ssl=context, **options)


async def echo(connection: Any) -> None:
    """A handler of their server."""
    async for message in connection:
        await connection.send(message)


# --- our client, their server ---


async def test_client_messages(net: Net) -> None:
    async with their_server(net, echo) as url:
        _, listener = await net.connect(message_listener, url)
        await check_echo(listener)
        await listener.close(4000, "bye")
        assert listener.transport.close_handshake.recv == (4000, "bye")


async def test_client_frames(net: Net) -> None:
    async with their_server(net, echo) as url:
        transport, listener = await net.connect(Recorder, url)
        transport.send(1, "one ", fin=False)
        transport.send_ping(b"between")
        transport.send(0, "message")
        frames = [await listener.next_frame() for _ in range(2)]
        assert sorted(frame.payload for frame in frames) == [b"between", b"one message"]
        transport.send_close(1000)
        await transport.wait_disconnected()
        assert transport.close_handshake.recv == (1000, "")


async def test_client_receives_fragments(net: Net) -> None:
    async def handler(connection: Any) -> None:
        await connection.send(["a", "b" * 70_000, "c"])
        await connection.send([b"1", b"2"])
        await connection.wait_closed()

    async with their_server(net, handler) as url:
        _, listener = await net.connect(message_listener, url)
        assert await listener.recv() == "a" + "b" * 70_000 + "c"
        assert await listener.recv() == b"12"
        await listener.close()


async def test_client_sends_fragments(net: Net) -> None:
    received: List[Any] = []

    async def handler(connection: Any) -> None:
        received.append([part async for part in connection.recv_streaming()])
        await connection.send("got it")

    async with their_server(net, handler) as url:
        _, listener = await net.connect(message_listener, url)
        await listener.send_fragments(["first", "second", "third"])
        assert await listener.recv() == "got it"
        assert "".join(received[0]) == "firstsecondthird"
        assert received[0][0] == "first"


async def test_client_pings_both_ways(net: Net) -> None:
    latencies: List[float] = []

    async def handler(connection: Any) -> None:
        latencies.append(await (await connection.ping(b"hello")))
        await connection.send("pinged")
        await connection.wait_closed()

    async with their_server(net, handler) as url:
        transport, listener = await net.connect(message_listener, url)
        assert await listener.recv() == "pinged"
        assert len(latencies) == 1
        assert len(await transport.measure_roundtrip_time(3, timeout=10)) == 3
        await listener.close()


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "going"), (1011, "\u20ac"), (3000, "x"), (4999, "y" * 123)]
)
async def test_client_sees_close_codes(net: Net, code: int, reason: str) -> None:
    async def handler(connection: Any) -> None:
        await connection.close(code, reason)

    async with their_server(net, handler) as url:
        _, listener = await net.connect(message_listener, url)
        with pytest.raises(WSConnectionClosed) as caught:
            await listener.recv()
        assert (caught.value.code, caught.value.reason) == (code, reason)


async def test_client_subprotocol_and_headers(net: Net) -> None:
    async def handler(connection: Any) -> None:
        await connection.send(connection.request.headers["X-Mine"])
        await connection.wait_closed()

    async with their_server(net, handler, subprotocols=["chat", "v2"]) as url:
        extra = {"Sec-WebSocket-Protocol": "v2, v3", "X-Mine": "1"}
        transport, listener = await net.connect(message_listener, url, extra_headers=extra)
        assert transport.response.headers["Sec-WebSocket-Protocol"] == "v2"
        assert await listener.recv() == "1"
        await listener.close()


async def test_client_deflate(net: Net) -> None:
    async with their_server(net, echo, compression="deflate") as url:
        _, listener = await net.connect(deflating_client, url, extra_headers=OFFER)
        await check_echo(listener, rounds=2)
        await listener.close()


async def test_client_is_refused(net: Net) -> None:
    from picows import WSInvalidStatusError

    async with their_server(net, echo, process_request=lambda c, r: c.respond(403, "not you\n")) as url:
        with pytest.raises(WSInvalidStatusError) as caught:
            await net.connect(message_listener, url)
        assert caught.value.response.status == 403
        assert caught.value.response.body == b"not you\n"


async def test_client_is_too_big_for_them(net: Net) -> None:
    async with their_server(net, echo, max_size=1000) as url:
        _, listener = await net.connect(message_listener, url)
        await listener.send(b"x" * 1001)
        with pytest.raises(WSConnectionClosed) as caught:
            await listener.recv()
        assert caught.value.code == 1009


# --- their client, our server ---


async def test_server_messages(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    async with their_client(net, server) as connection:
        for message in MESSAGES:
            await connection.send(message)
            assert await connection.recv() == message
    assert connection.close_code == 1000
    await until(lambda: not server.connections)


async def test_server_fragments(net: Net) -> None:
    made: List[WSMessageListener] = []

    def factory(request: Any) -> WSMessageListener:
        made.append(message_listener())
        return made[0]

    server = await net.serve(factory)
    async with their_client(net, server) as connection:
        await connection.send(["a", "b" * 70_000, "c"])
        assert await made[0].recv() == "a" + "b" * 70_000 + "c"
        await made[0].send_fragments([b"1", b"2", b"3"])
        assert await connection.recv() == b"123"


async def test_server_pings_both_ways(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    async with their_client(net, server) as connection:
        assert await (await connection.ping()) >= 0
        (transport,) = server.connections
        receiving = asyncio.ensure_future(connection.recv())
        assert len(await transport.measure_roundtrip_time(2, timeout=10)) == 2
        transport.send(1, "done")
        assert await receiving == "done"


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (3000, "\u20ac"), (4999, "y" * 123)])
async def test_server_close_codes(net: Net, code: int, reason: str) -> None:
    server = await net.serve(lambda request: Echo())
    connection = await their_client(net, server)
    await connection.close(code, reason)
    assert (connection.protocol.close_rcvd.code, connection.protocol.close_rcvd.reason) == (code, reason)
    await until(lambda: not server.connections)


async def test_server_goodbye(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    connection = await their_client(net, server)
    await server.close(1012, "restart")
    with pytest.raises(websockets.ConnectionClosedError):
        await connection.recv()
    assert (connection.close_code, connection.close_reason) == (1012, "restart")


async def test_server_subprotocol(net: Net) -> None:
    answer = WSUpgradeResponse.create_101_response({"Sec-WebSocket-Protocol": "v2"})
    server = await net.serve(lambda request: WSUpgradeResponseWithListener(answer, Echo()))
    async with their_client(net, server, subprotocols=["v1", "v2"]) as connection:
        assert connection.subprotocol == "v2"


async def test_server_deflate(net: Net) -> None:
    class EchoMessages(WSMessageListener):
        def on_ws_connected(self, transport: Any) -> None:
            super().on_ws_connected(transport)
            tasks.append(asyncio.ensure_future(self.echo()))

        async def echo(self) -> None:
            async for message in self:
                await self.send(message)

    def factory(request: Any) -> Any:
        agreed = negotiate(DeflateOptions(), request.headers.getall(EXTENSIONS))
        assert agreed is not None
        listener = EchoMessages(max_message_size=UNLIMITED, codec=DeflateCodec(agreed[1], is_client_side=False))
        answer = WSUpgradeResponse.create_101_response({EXTENSIONS: agreed[0]})
        return WSUpgradeResponseWithListener(answer, listener)

    tasks: List[Any] = []
    server = await net.serve(factory)
    async with their_client(net, server, compression="deflate") as connection:
        assert [extension.name for extension in connection.protocol.extensions] == ["permessage-deflate"]
        for message in MESSAGES * 2:
            await connection.send(message)
            assert await connection.recv() == message
    await asyncio.gather(*tasks)


async def test_server_refuses(net: Net) -> None:
    server = await net.serve(lambda request: None)
    with pytest.raises(websockets.InvalidStatus) as caught:
        await their_client(net, server)
    assert caught.value.response.status_code == 404
    assert caught.value.response.body == b"404 Not Found"


async def test_server_redirects_them(net: Net) -> None:
    redirect = WSUpgradeResponseWithListener(WSUpgradeResponse.create_redirect_response(302, "/there"), None)
    server = await net.serve(lambda request: redirect if request.path == b"/" else Echo())
    async with their_client(net, server) as connection:
        assert connection.request.path == "/there"
