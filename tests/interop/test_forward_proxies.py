"""Through real forward proxies to ws:// and wss:// targets: the core API and the drop-in, on both engines and loops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fixtures.drop_in import load_drop_in
from fixtures.forward_proxies import NAMES, REFUSED, USER_INFO, ForwardProxy, forward_proxy
from fixtures.places import Place, refused_by
from fixtures.ports import free_port
from fixtures.reverse_proxies import reverse_proxy
from fixtures.sockets import port_of, until

python_socks = pytest.importorskip("python_socks", reason="python-socks speaks SOCKS and is not installed")

BIG = "0123456789abcdef" * 65_536  # 1 MiB
#: name and whether it wants credentials -> what it says to a target that does not listen, one that it is to refuse,
#: wrong credentials, and none.
ANSWERS = {
    ("squid", False): ["503", "403", "", ""],
    ("squid", True): ["503", "403", "407", "407"],
    ("tinyproxy", False): ["500", "403", "", ""],
    ("tinyproxy", True): ["500", "403", "401", "407"],
    ("microsocks", False): ["Connection refused", "", "", ""],
    ("microsocks", True): ["Connection refused", "", "failure", "No acceptable authentication methods"],
    ("dante", False): ["Connection refused", "not allowed by ruleset", "", ""],
}


def those(keys: list[tuple[str, bool]]) -> Any:
    """The proxies of these rows of ANSWERS. One runs for all tests that use it in a row."""
    ids = [f"{name}-{'credentials' if wants_credentials else 'open'}" for name, wants_credentials in keys]
    return pytest.mark.parametrize("proxy", keys, indirect=True, ids=ids, scope="module")


every_proxy = those(list(ANSWERS))


@pytest.fixture(scope="module")
def proxy(request: pytest.FixtureRequest) -> Iterator[ForwardProxy]:
    """A proxy."""
    with forward_proxy(*request.param) as running:
        yield running


@pytest.fixture(params=["ws", "wss"])
def target(request: pytest.FixtureRequest, place: Place) -> Place:
    """Where servers speak TLS or do not, on each loop and engine."""
    place.is_secure = request.param == "wss"
    if place.is_secure:
        place.load_certificates()
    return place


@pytest.fixture
def local_place(engine: Any) -> Place:
    """For what depends on no event loop: asyncio, without TLS."""
    return Place("asyncio", engine, may_block=True)


async def open_core(place: Place, url: str, proxy_url: str) -> tuple[Any, Any, Any]:
    """What sends, what receives, and what closes a connection of the core API."""
    options = {"proxy_ssl_context": place.certificates.client} if proxy_url.startswith("https") else {}
    listener = await place.message_client(url, proxy=proxy_url, **options)
    return listener.send, listener.recv, listener.close


async def open_drop_in(place: Place, url: str, proxy_url: str) -> tuple[Any, Any, Any]:
    """The same for the drop-in."""
    options = {"ssl": place.certificates.client} if url.startswith("wss") else {}
    if proxy_url.startswith("https"):
        options["proxy_ssl"] = place.certificates.client
    connection = await load_drop_in(place.engine).connect(url, proxy=proxy_url, **options)
    return connection.send, connection.recv, connection.close


OPENERS = {"core-api": open_core, "drop-in": open_drop_in}


@pytest.fixture(params=OPENERS)
def opener(request: pytest.FixtureRequest, engine: Any) -> Any:
    """Opens a connection at a place to a URL through a proxy."""
    if request.param == "drop-in":
        load_drop_in(engine)
    return OPENERS[request.param]


def describe(exc: BaseException | None) -> str:
    """An exception with its causes, which is where the drop-in has what python-socks says."""
    texts = []
    while exc is not None:
        texts.append(str(exc))
        exc = exc.__cause__
    return " / ".join(texts)


def answers_of(proxy: ForwardProxy) -> list[str]:
    """The row of ANSWERS."""
    return ANSWERS[proxy.name, proxy.wants_credentials]


def user_info(proxy: ForwardProxy) -> str:
    """What the proxy wants."""
    return USER_INFO if proxy.wants_credentials else ""


@every_proxy
async def test_messages_pass(proxy: ForwardProxy, target: Place, opener: Any) -> None:
    server = await target.serve_messages()
    send, recv, close = await opener(target, target.url(server), proxy.url(user_info(proxy)))
    for message in ("", "text \u20ac", b"\0\xff", BIG):
        await send(message)
        assert await recv() == message
    await close()
    await until(lambda: not server.connections)


@those([key for key in ANSWERS if key[1]])
@pytest.mark.parametrize("given", ["somebody:wrong", ""], ids=["wrong", "missing"])
async def test_credentials(proxy: ForwardProxy, local_place: Place, opener: Any, given: str) -> None:
    server = await local_place.serve_messages()
    error = await refused_by(lambda: opener(local_place, local_place.url(server), proxy.url(given)))
    assert "ProxyError" in [each.__name__ for each in type(error).__mro__]
    assert answers_of(proxy)[2 if given else 3] in describe(error)
    assert "wrong" not in describe(error)
    assert not server.connections


async def check_target(place: Place, opener: Any, proxy: ForwardProxy, url: str, answer: str) -> None:
    error = await refused_by(lambda: opener(place, url, proxy.url(user_info(proxy))))
    assert "ProxyError" in [each.__name__ for each in type(error).__mro__]
    assert answer in describe(error)
    assert "s3cret" not in describe(error)
    if opener is open_core:  # the drop-in's texts are those of websockets
        assert f"proxy {proxy.url()} " in str(error)
        assert url.strip("/").rpartition("/")[2] in str(error)


@every_proxy
async def test_a_target_that_does_not_listen(proxy: ForwardProxy, local_place: Place, opener: Any) -> None:
    await check_target(local_place, opener, proxy, f"ws://127.0.0.1:{free_port()}/", answers_of(proxy)[0])


@those([key for key in ANSWERS if ANSWERS[key][1]])
async def test_a_target_that_is_refused(proxy: ForwardProxy, local_place: Place, opener: Any) -> None:
    server = await local_place.serve_messages()
    await check_target(local_place, opener, proxy, f"ws://{REFUSED}:{port_of(server)}/", answers_of(proxy)[1])
    assert not server.connections


@every_proxy
async def test_a_close_comes_through(proxy: ForwardProxy, target: Place) -> None:
    """Code and reason of the server's CLOSE, and then the end, which the proxy has to pass on."""
    server = await target.serve_messages()
    listener = await target.message_client(target.url(server), proxy=proxy.url(user_info(proxy)))
    await server.close(code=1001, reason="restarting")
    await asyncio.wait_for(listener.transport.wait_disconnected(), 5)
    received = listener.transport.close_handshake.recv
    assert (received.code, received.reason) == (1001, "restarting")


async def test_a_proxy_that_ends(target: Place) -> None:
    """It is killed with connections open: both sides see that at once, and as a loss."""
    with forward_proxy("tinyproxy", False) as proxy:
        server = await target.serve_messages()
        listener = await target.message_client(target.url(server), proxy=proxy.url())
        await listener.send("through")
        assert await listener.recv() == "through"
        proxy.daemon.stop()
        error = await refused_by(listener.recv)
        assert (type(error).__name__, error.code) == ("WSConnectionClosed", 1006)  # type: ignore[attr-defined]
        await until(lambda: not server.connections)


@pytest.mark.parametrize("is_secure", [False, True], ids=["ws", "wss"])
async def test_a_proxy_behind_tls(is_secure: bool, local_place: Place, opener: Any) -> None:
    """An https proxy: tinyproxy behind haproxy, which ends the TLS. With wss there is TLS inside of TLS."""
    local_place.load_certificates()
    local_place.is_secure = is_secure
    local_place.use_aiofastnet = None  # TLS inside TLS is not for asyncio's own transports below Python 3.11
    server = await local_place.serve_messages()
    with forward_proxy("tinyproxy", True) as behind:
        with reverse_proxy("haproxy", behind.daemon.port, "ended-at-proxy") as front:
            through = f"https://{USER_INFO}@127.0.0.1:{front.daemon.port}"
            send, recv, close = await opener(local_place, local_place.url(server), through)
            await send(BIG)
            assert await recv() == BIG
            await close()


@pytest.mark.parametrize("name", NAMES)
async def test_the_threading_api(name: str, secure_place: Place) -> None:
    """`sync.client.connect` has a way of its own to proxies."""
    load_drop_in(secure_place.engine)
    from picows.websockets.sync.client import connect

    server = await secure_place.serve_messages()

    def exchange(url: str, proxy_url: str) -> Any:
        with connect(url, proxy=proxy_url, ssl=secure_place.certificates.client) as connection:
            connection.send(BIG)
            return connection.recv()

    with forward_proxy(name, name != "dante") as proxy:
        assert await asyncio.to_thread(exchange, secure_place.url(server), proxy.url(user_info(proxy))) == BIG
