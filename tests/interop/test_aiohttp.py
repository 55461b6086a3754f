"""With aiohttp: our client and its server, its client and our server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, List

import pytest
from fixtures.interop import MESSAGES, OFFER, UNLIMITED, check_echo, deflating_client, message_listener
from fixtures.sockets import Echo, Net, Recorder, until

from picows import (
    WSConnectionClosed,
    WSInvalidStatusError,
    WSMessageListener,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")
web = pytest.importorskip("aiohttp.web")


@contextlib.asynccontextmanager
async def their_server(net: Net, handler: Any, **options: Any) -> AsyncIterator[str]:
    """A server of aiohttp; `options` are those of its WebSocketResponse. Gives its URL."""

    async def on_request(request: Any) -> Any:
        response = web.WebSocketResponse(**{"compress": False, "max_msg_size": UNLIMITED, **options})
        await response.prepare(request)
        await handler(response)
        return response

    app = web.Application()
    app.router.add_get("/", on_request)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    context = net.certificates.server if net.is_secure else None
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield f"{net.scheme}://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def their_client(net: Net, server: Any, **options: Any) -> AsyncIterator[Any]:
    """A client of aiohttp."""
    context = net.certificates.client if net.is_secure else True
    async with aiohttp.ClientSession() as session:
        options = {"max_msg_size": UNLIMITED, **options}
        async with session.ws_connect(net.url(server), ssl=context, **options) as connection:
            yield connection


async def echo(connection: Any) -> None:
    """A handler of their server."""
    async for message in connection:
        if message.type == aiohttp.WSMsgType.TEXT:
            await connection.send_str(message.data)
        else:
            await connection.send_bytes(message.data)


async def send(connection: Any, message: Any) -> None:
    """Send with the method that aiohttp has for the type."""
    await (connection.send_str(message) if isinstance(message, str) else connection.send_bytes(message))


# --- our client, their server ---


async def test_client_messages(net: Net) -> None:
    async with their_server(net, echo) as url:
        _, listener = await net.connect(message_listener, url)
        await check_echo(listener)
        await listener.close(4000, "bye")
        assert listener.transport.close_handshake.recv is not None


async def test_client_fragments_and_pings(net: Net) -> None:
    async with their_server(net, echo) as url:
        transport, listener = await net.connect(Recorder, url)
        transport.send(1, "one ", fin=False)
        transport.send_ping(b"between")
        transport.send(0, "message")
        frames = [await listener.next_frame() for _ in range(2)]
        assert sorted(frame.payload for frame in frames) == [b"between", b"one message"]
        assert len(await transport.measure_roundtrip_time(2, timeout=10)) == 2
        transport.disconnect()
        await transport.wait_disconnected()


async def test_client_answers_pings(net: Net) -> None:
    async def handler(connection: Any) -> None:
        await connection.ping(b"hello")
        message = await connection.receive()
        await connection.send_str(f"{message.type.name} {message.data.decode()}")

    async with their_server(net, handler, autoping=False) as url:
        _, listener = await net.connect(message_listener, url)
        assert await listener.recv() == "PONG hello"


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (1011, "\u20ac"), (4999, "y" * 123)])
async def test_client_sees_close_codes(net: Net, code: int, reason: str) -> None:
    async def handler(connection: Any) -> None:
        await connection.close(code=code, message=reason.encode())

    async with their_server(net, handler) as url:
        _, listener = await net.connect(message_listener, url)
        with pytest.raises(WSConnectionClosed) as caught:
            await listener.recv()
        assert (caught.value.code, caught.value.reason) == (code, reason)


async def test_client_subprotocol(net: Net) -> None:
    async with their_server(net, echo, protocols=["chat", "v2"]) as url:
        transport, listener = await net.connect(
            message_listener, url, extra_headers={"Sec-WebSocket-Protocol": "v2, v3"}
        )
        assert transport.response.headers["Sec-WebSocket-Protocol"] == "v2"
        await listener.close()


async def test_client_deflate(net: Net) -> None:
    async with their_server(net, echo, compress=True) as url:
        _, listener = await net.connect(deflating_client, url, extra_headers=OFFER)
        await check_echo(listener, rounds=2)
        await listener.close()


async def test_client_is_refused(net: Net) -> None:
    async with their_server(net, echo) as url:
        with pytest.raises(WSInvalidStatusError) as caught:
            await net.connect(message_listener, url + "nowhere")
        assert caught.value.response.status == 404
        assert caught.value.response.body == b"404: Not Found"


# --- their client, our server ---


async def test_server_messages(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    async with their_client(net, server) as connection:
        for message in MESSAGES:
            await send(connection, message)
            assert (await connection.receive()).data == message
    assert connection.close_code == 1000
    await until(lambda: not server.connections)


async def test_server_sends_fragments(net: Net) -> None:
    made: List[WSMessageListener] = []

    def factory(request: Any) -> WSMessageListener:
        made.append(message_listener())
        return made[0]

    server = await net.serve(factory)
    async with their_client(net, server) as connection:
        await made[0].send_fragments(["a", "b" * 70_000, "c"])
        assert (await connection.receive()).data == "a" + "b" * 70_000 + "c"
        await connection.send_bytes(b"back")
        assert await made[0].recv() == b"back"


async def test_server_pings_both_ways(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    async with their_client(net, server, autoping=False) as connection:
        await connection.ping(b"hello")
        message = await connection.receive()
        assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"hello")
    async with their_client(net, server) as connection:
        await until(lambda: len(server.connections) == 1)
        (transport,) = server.connections
        receiving = asyncio.ensure_future(connection.receive())
        assert len(await transport.measure_roundtrip_time(2, timeout=10)) == 2
        transport.send(1, "done")
        assert (await receiving).data == "done"


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_server_close_codes(net: Net, code: int) -> None:
    listener = Echo()
    server = await net.serve(lambda request: listener)
    async with their_client(net, server) as connection:
        await connection.close(code=code, message=b"reason")
        assert connection.close_code == code
    await listener.disconnected.wait()
    assert listener.transport.close_handshake.recv == (code, "reason")


async def test_server_goodbye(net: Net) -> None:
    server = await net.serve(lambda request: Echo())
    async with their_client(net, server) as connection:
        receiving = asyncio.ensure_future(connection.receive())
        await server.close(1012, "restart")
        message = await receiving
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 1012, "restart")


async def test_server_subprotocol(net: Net) -> None:
    answer = WSUpgradeResponse.create_101_response({"Sec-WebSocket-Protocol": "v2"})
    server = await net.serve(lambda request: WSUpgradeResponseWithListener(answer, Echo()))
    async with their_client(net, server, protocols=["v1", "v2"]) as connection:
        assert connection.protocol == "v2"


async def test_server_answers_plain_http(net: Net) -> None:
    answer = WSUpgradeResponseWithListener(WSUpgradeResponse.create_ok_response(b"alive"), None)
    server = await net.serve(lambda request: answer)
    context = net.certificates.client if net.is_secure else True
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(net.url(server).replace("ws", "http", 1), ssl=context) as response:
                assert response.status == 200
                assert await response.text() == "alive"
        async with session.post(net.url(server).replace("ws", "http", 1), data=b"x", ssl=context) as response:
            assert response.status == 405


async def test_server_refuses(net: Net) -> None:
    server = await net.serve(lambda request: None)
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with their_client(net, server):
            pytest.fail("it was accepted")
    assert caught.value.status == 404
