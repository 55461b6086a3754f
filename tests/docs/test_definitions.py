"""What blocks of the guides define without running it is used once as the text says; and so is the tutorial's chat."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import Any, Awaitable, Callable

import pytest
from fixtures.code_blocks import DOCS, PAGES, blocks_of
from fixtures.proxies import Socks5Proxy

from picows import (
    WSInvalidStatusError,
    WSListener,
    WSMessageListener,
    WSTransport,
    WSUpgradeRequest,
    ws_connect,
    ws_create_server,
)

TIMEOUT_S = 20
FOUND = {
    f"{page.relative_to(DOCS).as_posix()}-{number}": block
    for page in PAGES
    if DOCS in page.parents
    for number, block in enumerate(blocks_of(page))
}


def defined_by(name: str, **replaced: str) -> dict[str, Any]:
    """What a block defines."""
    text = FOUND[name].text
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    namespace: dict[str, Any] = {"__name__": "of_the_guide"}
    exec(compile(text, name, "exec"), namespace)
    return namespace


def run(use: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(use(), TIMEOUT_S)

    asyncio.run(bounded())


def url_of(server: Any, scheme: str = "ws") -> str:
    return f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def until(is_so: Callable[[], Any]) -> None:
    while not is_so():
        await asyncio.sleep(0)


def use_choosing() -> None:
    async def use() -> None:
        names = defined_by("tutorial/first-server.md-1")
        async with await ws_create_server(names["listener_for"], "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b"\r\n\r\nfine\n")
            with pytest.raises(WSInvalidStatusError) as caught:
                await ws_connect(WSListener, url_of(server))
            assert caught.value.response.status == 401
            credentials = {"Authorization": "Bearer of news"}
            transport, _ = await ws_connect(WSListener, url_of(server), extra_headers=credentials)
            assert transport.response.headers["X-Served-By"] == "picows"
            transport.disconnect()

    run(use)


def use_prices() -> None:
    """A client that does not read for a while gets the newest price next, after those that were on their way."""

    async def use() -> None:
        prices: Any = defined_by("howto/backpressure.md-0")["Prices"]()
        async with await ws_create_server(lambda request: prices, "127.0.0.1", 0) as server:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connecting = ws_connect(
                lambda: WSMessageListener(max_queue=1), url_of(server), socket_factory=lambda _: sock
            )
            _, client = await connecting
            sent = 0
            while not prices.is_slow:
                prices.on_price(f"{sent:01000}")
                sent += 1
                await asyncio.sleep(0)
            prices.on_price("old by now")
            prices.on_price("newest")
            assert prices.newest == "newest"
            received = [await client.recv() for _ in range(sent)]
            assert received == [f"{number:01000}" for number in range(sent)]
            assert await client.recv() == "newest"
            assert (prices.is_slow, prices.newest) == (False, "")
            await client.close()

    run(use)


def use_socks() -> None:
    pytest.importorskip("python_socks", reason="python-socks is not installed: pip install python-socks[asyncio]")

    async def use() -> None:
        async with await ws_create_server(lambda request: WSListener(), "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            names = {"example.com": "127.0.0.1"}
            async with Socks5Proxy(credentials=("user", "password"), names=names) as proxy:
                replaced = {
                    "wss://example.com/": f"ws://example.com:{port}/",
                    "127.0.0.1:1080": f"127.0.0.1:{proxy.port}",
                }
                main = defined_by("howto/proxies.md-0", **replaced)["main"]
                await main()
                assert proxy.targets == [("example.com", port)]

    run(use)


def use_system_proxy() -> None:
    system_proxy = defined_by("howto/proxies.md-1")["system_proxy"]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "no_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        patch.setenv("http_proxy", "http://plain.example:8080")
        patch.setenv("https_proxy", "http://secure.example:8080")
        patch.setenv("no_proxy", "inside.example")
        assert system_proxy("ws://outside.example/") == "http://plain.example:8080"
        assert system_proxy("wss://outside.example/") == "http://secure.example:8080"
        assert system_proxy("wss://inside.example/") is None


def use_own_socket() -> None:
    async def use() -> None:
        names = defined_by("howto/proxies.md-2")
        made: list[socket.socket] = []
        from_this_address = names["from_this_address"]

        def remember(url: Any) -> socket.socket:
            made.append(from_this_address(url))
            assert made[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            return made[0]

        names["from_this_address"] = remember
        ports: list[int] = []

        class Seen(WSListener):
            def on_ws_connected(self, transport: WSTransport) -> None:
                ports.append(transport.underlying_transport.get_extra_info("peername")[1])

        def listener_for(request: WSUpgradeRequest) -> Seen:
            return Seen()

        async with await ws_create_server(listener_for, "127.0.0.1", 0) as server:
            await names["connect"](url_of(server))
            await until(lambda: ports)
        assert len(made) == len(ports) == 1

    run(use)


USES = {
    "tutorial/first-server.md-1": use_choosing,
    "howto/backpressure.md-0": use_prices,
    "howto/proxies.md-0": use_socks,
    "howto/proxies.md-1": use_system_proxy,
    "howto/proxies.md-2": use_own_socket,
}


@pytest.mark.parametrize("name", sorted(USES))
def test_what_is_defined_works(name: str) -> None:
    USES[name]()


def test_every_block_of_definitions_is_used() -> None:
    assert set(USES) == {name for name, block in FOUND.items() if block.mode == "definitions"}


def test_people_in_the_chat_hear_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """The server and two of the clients, as they are written, but that nobody speaks before both are there.

    A client leaves when it has heard itself: whoever is second to speak hears the first one, too.
    """

    async def use() -> None:
        server_side = defined_by("tutorial/chat.md-0", **{"9001": "0"})
        serving = asyncio.ensure_future(server_side["main"]())
        member = server_side["Member"]
        await until(lambda: hasattr(member, "server"))
        port = str(member.server.sockets[0].getsockname()[1])
        client = defined_by("tutorial/chat.md-1", **{"9001": port})
        both_are_there = asyncio.Event()

        async def connect_and_wait(*args: Any) -> Any:
            made = await ws_connect(*args)
            if len(member.server.connections) == 2:
                both_are_there.set()
            await both_are_there.wait()
            return made

        client["ws_connect"] = connect_and_wait
        await asyncio.gather(client["main"]("Ann"), client["main"]("Bob"))
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    run(use)
    heard = capsys.readouterr().out.splitlines()
    assert Counter(heard) in (Counter({"Ann: hello": 2, "Bob: hello": 1}), Counter({"Ann: hello": 1, "Bob: hello": 2}))
