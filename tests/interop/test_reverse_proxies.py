"""nginx and haproxy before our servers: messages, closing, refusals, idle timeouts, reloads, and what must not pass."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fixtures.drop_in import load_drop_in
from fixtures.interop import EXTENSIONS, OFFER
from fixtures.peers import RawPeer, header_of, request_head
from fixtures.places import Place, refused_by
from fixtures.ports import free_port
from fixtures.reverse_proxies import NAMES, PASSES_TLS_THROUGH, TLS, Times, reverse_proxy
from fixtures.sockets import port_of, until
from fixtures.wire import KEY, TEXT, build

from picows import WSConnectionClosed, WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.deflate import DeflateCodec, DeflateOptions, accept_response, negotiate

LIMIT = 16 << 20
SMALL: list[Any] = ["", b"", "text \u20ac\U0001f600", b"\0\xff"]
TEN_MIB = "0123456789abcdef" * 655_360
#: To compress 10 MiB of noise takes seconds.
COMPRESSED = [*SMALL, TEN_MIB, random.Random(1).randbytes(1 << 20)]
AS_THEY_ARE = [*SMALL, random.Random(1).randbytes(10 << 20)]
SIZES = {"max_message_size": LIMIT}

every_proxy = pytest.mark.parametrize("name", NAMES)
WAYS = [(name, tls) for tls in TLS for name in (PASSES_TLS_THROUGH if tls == "through" else NAMES)]
every_way = pytest.mark.parametrize(("name", "tls"), WAYS)
#: TLS does not care whether messages are compressed.
MESSAGE_WAYS = [
    pytest.param(*way, compress, id="-".join([*way, "deflate" if compress else "plain"]))
    for way in WAYS
    for compress in (False, True)
    if not compress or way[1] in ("no-tls", "both")
]


@pytest.fixture
def place(engine: Any) -> Place:
    """asyncio, with certificates, each engine."""
    place = Place("asyncio", engine, may_block=True)
    place.load_certificates()
    # So say asyncio and aiofastnet of a TLS handshake that was broken off: that is how we ask if haproxy listens.
    place.allowed_reports += ["Error on transport creation for incoming connection", "SSL handshake failed"]
    return place


# --- the two APIs: servers that echo, and clients ---


async def open_core(place: Place, url: str, compress: bool) -> tuple[Any, Any, Any]:
    """What sends, what receives and what closes a connection of the core API."""

    def factory(_: Any, response: Any) -> Any:
        agreed = accept_response(DeflateOptions(), response.headers.get(EXTENSIONS)) if compress else None
        assert (agreed is not None) == compress
        codec = None if agreed is None else DeflateCodec(agreed, is_client_side=True)
        return place.engine.WSMessageListener(codec=codec, **SIZES)

    place.is_secure = url.startswith("wss")
    _, listener = await place.connect(factory, url, extra_headers=OFFER if compress else {}, max_frame_size=LIMIT)
    return listener.send, listener.recv, listener.close


@contextlib.asynccontextmanager
async def serve_core(place: Place, is_secure: bool, compress: bool, ends: list[Any]) -> AsyncIterator[int]:
    """A server of the core API; `ends` gets the codes with which connections end."""
    tasks = []

    class Served(place.engine.WSMessageListener):  # type: ignore[misc, name-defined]
        def on_ws_connected(self, transport: Any) -> None:
            super().on_ws_connected(transport)
            tasks.append(asyncio.ensure_future(self.work()))

        async def work(self) -> None:
            try:
                async for message in self:
                    await self.send(message)
            except WSConnectionClosed as exc:
                ends.append(exc.code)

    def accept(request: Any) -> Any:
        if not compress:
            return Served(**SIZES)
        agreed = negotiate(DeflateOptions(), request.headers.getall(EXTENSIONS))
        assert agreed is not None
        listener = Served(codec=DeflateCodec(agreed[1], is_client_side=False), **SIZES)
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response({EXTENSIONS: agreed[0]}), listener)

    place.is_secure = is_secure
    server = await place.serve(accept, max_frame_size=LIMIT)
    yield port_of(server)
    await asyncio.gather(*tasks)


async def open_drop_in(place: Place, url: str, compress: bool) -> tuple[Any, Any, Any]:
    """The same of the drop-in."""
    options = {"ssl": place.certificates.client} if url.startswith("wss") else {}
    compression = "deflate" if compress else None
    connect = load_drop_in(place.engine).connect
    connection = await connect(url, proxy=None, max_size=LIMIT, compression=compression, **options)
    assert bool(connection.protocol.extensions) == compress
    return connection.send, connection.recv, connection.close


@contextlib.asynccontextmanager
async def serve_drop_in(place: Place, is_secure: bool, compress: bool, ends: list[Any]) -> AsyncIterator[int]:
    """A server of the drop-in."""
    library = load_drop_in(place.engine)

    async def handle(connection: Any) -> None:
        try:
            async for message in connection:
                await connection.send(message)
        except library.ConnectionClosed as exc:
            ends.append(exc.rcvd.code)

    options: dict[str, Any] = {"ssl": place.certificates.server} if is_secure else {}
    options.update(max_size=LIMIT, compression="deflate" if compress else None)
    async with library.serve(handle, "127.0.0.1", 0, **options) as server:
        yield port_of(server)


APIS = {"core-api": (serve_core, open_core), "drop-in": (serve_drop_in, open_drop_in)}


@pytest.mark.parametrize(("name", "tls", "compress"), MESSAGE_WAYS)
@pytest.mark.parametrize("api", APIS)
async def test_messages_pass(name: str, tls: str, api: str, compress: bool, place: Place) -> None:
    serve, connect = APIS[api]
    ends: list[Any] = []
    async with serve(place, TLS[tls][1], compress, ends) as port:
        with reverse_proxy(name, port, tls) as proxy:
            send, recv, close = await connect(place, proxy.url, compress)
            for message in COMPRESSED if compress else AS_THEY_ARE:
                await send(message)
                assert await recv() == message
            await close(4001, "enough")
            await until(lambda: ends)
    assert ends == [4001]


# --- what else passes ---


@every_way
async def test_closes_pass(name: str, tls: str, place: Place) -> None:
    """Code and reason of the server's CLOSE, and the end of its connection."""
    place.is_secure = TLS[tls][1]
    server = await place.serve_messages()
    with reverse_proxy(name, port_of(server), tls) as proxy:
        place.is_secure = TLS[tls][0]
        listener = await place.message_client(proxy.url)
        await server.close(code=1001, reason="restarting")
        error = await refused_by(listener.recv)
        assert (error.code, error.reason) == (1001, "restarting")  # type: ignore[attr-defined]
        await asyncio.wait_for(listener.transport.wait_disconnected(), 5)


@every_way
async def test_an_end_without_a_close_passes(name: str, tls: str, place: Place) -> None:
    place.is_secure = TLS[tls][1]
    server = await place.serve_messages()
    with reverse_proxy(name, port_of(server), tls) as proxy:
        place.is_secure = TLS[tls][0]
        listener = await place.message_client(proxy.url)
        server.abort_clients()
        error = await refused_by(listener.recv)
        assert error.code == 1006  # type: ignore[attr-defined]
        listener = await place.message_client(proxy.url)
        listener.transport.disconnect(graceful=False)
        await until(lambda: not server.connections)


@every_proxy
async def test_frames_in_the_segments_of_the_handshake(name: str, place: Place) -> None:
    """One behind the request, one behind the 101."""

    async def handler(listener: Any) -> None:
        await listener.send("first")
        await listener.send(await listener.recv())

    server = await place.serve_messages(handler)
    with reverse_proxy(name, port_of(server)) as proxy:
        peer = RawPeer(*await asyncio.open_connection("127.0.0.1", proxy.daemon.port))
        peer.is_client = True
        peer.write(request_head() + build(TEXT, b"second", key=KEY))
        assert (await peer.read_head()).startswith(b"HTTP/1.1 101 ")
        assert [(await peer.read_frame()).payload for _ in range(2)] == [b"first", b"second"]
        await peer.aclose()
        await until(lambda: not server.connections)


@every_proxy
async def test_the_request_passes(name: str, place: Place) -> None:
    server = await place.serve_messages()
    with reverse_proxy(name, port_of(server)) as proxy:
        await place.message_client(f"{proxy.url}a%20b?c=d", extra_headers={"Cookie": "e=f"})
        (there,) = server.connections
        assert there.request.path == b"/a%20b?c=d"
        assert there.request.headers["X-Forwarded-For"] == "127.0.0.1"
        assert there.request.headers["Cookie"] == "e=f"


@every_proxy
async def test_refusals_pass(name: str, place: Place) -> None:
    """Ours with its body, and the proxy's own where nobody listens behind it."""
    answer = WSUpgradeResponse.create_error_response(403, b"not you", {"X-Why": "test"})
    server = await place.serve(lambda request: WSUpgradeResponseWithListener(answer, None))
    for port, status in ((port_of(server), 403), (free_port(), 502 if name == "nginx" else 503)):
        with reverse_proxy(name, port) as proxy:
            error: Any = await refused_by(lambda url=proxy.url: place.message_client(url))  # type: ignore[misc]
            assert type(error).__name__ == "WSInvalidStatusError"
            assert error.response.status == status
            if status == 403:
                assert error.response.body == b"not you"
                assert error.response.headers["X-Why"] == "test"


@every_proxy
async def test_a_body_does_not_pass_as_frames(name: str, place: Place) -> None:
    """J1: the proxy passes on request and body; that is answered 400, and what came with it never comes back. The
    proxy goes on with the connection, to another one of the server's."""
    frame = build(TEXT, b"smuggled", key=KEY)
    server = await place.serve_messages()
    with reverse_proxy(name, port_of(server)) as proxy:
        peer = RawPeer(*await asyncio.open_connection("127.0.0.1", proxy.daemon.port))
        peer.is_client = True
        peer.write(request_head(f"Content-Length: {len(frame)}") + frame)
        head = await peer.read_head()
        assert head.startswith(b"HTTP/1.1 400 ")
        size = header_of(head, "Content-Length")
        assert b"smuggled" not in await peer.reader.readexactly(int(size or 0))
        assert not server.connections
        await peer.upgrade()
        peer.send(TEXT, b"alone")
        assert (await peer.read_frame()).payload == b"alone"
        await peer.aclose()
        await until(lambda: not server.connections)


# --- time ---


@every_proxy
async def test_a_quiet_connection_is_cut(name: str, place: Place) -> None:
    server = await place.serve_messages()
    with reverse_proxy(name, port_of(server), times=Times(idle_s=0.3)) as proxy:
        listener = await place.message_client(proxy.url)
        error = await refused_by(listener.recv)
        assert error.code == 1006  # type: ignore[attr-defined]
        await until(lambda: not server.connections)


@every_proxy
@pytest.mark.parametrize("side", ["client", "server"])
async def test_pings_keep_a_quiet_connection(name: str, side: str, place: Place) -> None:
    """For twice what the proxy allows."""
    idle_s = 1.0
    pings = {"enable_auto_ping": True, "auto_ping_idle_timeout": idle_s / 3, "auto_ping_reply_timeout": idle_s / 3}
    server = await place.serve_messages(**(pings if side == "server" else {}))
    with reverse_proxy(name, port_of(server), times=Times(idle_s)) as proxy:
        listener = await place.message_client(proxy.url, **(pings if side == "client" else {}))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(listener.recv(), 2 * idle_s)
        await listener.send("still there")
        assert await listener.recv() == "still there"


@every_proxy
async def test_the_drop_in_keeps_a_quiet_connection(name: str, place: Place) -> None:
    """Its keepalive is on by default; here it is quicker."""
    idle_s = 1.0
    library = load_drop_in(place.engine)

    async def handle(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async with library.serve(handle, "127.0.0.1", 0, ping_interval=idle_s / 4) as server:
        with reverse_proxy(name, port_of(server), times=Times(idle_s)) as proxy:
            async with library.connect(proxy.url, proxy=None, ping_interval=None) as connection:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(connection.recv(), 2 * idle_s)
                await connection.send("still there")
                assert await connection.recv() == "still there"


# --- reloads ---


async def connect_to_new(place: Place, url: str) -> Any:
    """A connection to the server that says "new": until the reload is done there are those that say "old"."""
    while True:
        with contextlib.suppress(OSError):  # haproxy changes its listening process
            listener = await place.message_client(url)
            if await listener.recv() == "new":
                return listener
            await listener.close()


def server_called(name: str) -> Any:
    """The handler of a server that says its name and echoes."""

    async def handler(listener: Any) -> None:
        await listener.send(name)
        async for message in listener:
            await listener.send(message)

    return handler


@every_proxy
async def test_reload(name: str, place: Place) -> None:
    """Connections stay with the old server and lose nothing, new ones come to the new one."""
    old, new = [await place.serve_messages(server_called(name)) for name in ("old", "new")]
    with reverse_proxy(name, port_of(old)) as proxy:
        kept = await place.message_client(proxy.url)
        assert await kept.recv() == "old"
        await kept.send("before")
        proxy.reload(port_of(new))
        fresh = await connect_to_new(place, proxy.url)
        for number in range(100):
            await kept.send(f"after {number}")
        assert [await kept.recv() for _ in range(101)] == ["before", *(f"after {number}" for number in range(100))]
        await old.close(code=1001)
        error = await refused_by(kept.recv)
        assert error.code == 1001  # type: ignore[attr-defined]
        await fresh.send("here")
        assert await fresh.recv() == "here"


@every_proxy
async def test_a_reload_that_does_not_wait(name: str, place: Place) -> None:
    """What is still connected when the proxy's patience ends is lost; both sides are told, and it can come again."""
    old, new = [await place.serve_messages(server_called(name)) for name in ("old", "new")]
    with reverse_proxy(name, port_of(old), times=Times(drain_s=0.2)) as proxy:
        kept = await place.message_client(proxy.url)
        assert await kept.recv() == "old"
        proxy.reload(port_of(new))
        error = await refused_by(kept.recv)
        assert error.code == 1006  # type: ignore[attr-defined]
        await until(lambda: not old.connections)
        again = await connect_to_new(place, proxy.url)
        await again.send("here")
        assert await again.recv() == "here"
