"""L: redirects, proxies and TLS of a client. Secrets stay with the origin they are for, and names are verified."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any, Dict, List, Optional

import pytest
from fixtures.feeding import retained_by
from fixtures.peers import RawPeer, close_frame
from fixtures.places import Place, refused_by
from fixtures.proxies import HTTPProxy
from fixtures.sockets import port_of, settle, until
from fixtures.wire import TEXT, build

from picows import WSHandshakeError, WSInvalidStatusError, WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.errors import WSConnectionClosed

SECRETS = {"Authorization": "Bearer s", "Cookie": "a=b", "Proxy-Authorization": "x"}
HEADERS = {**SECRETS, "X-Custom": "kept"}


def redirect(location: str) -> Any:
    """A server factory's answer."""
    return WSUpgradeResponseWithListener(WSUpgradeResponse.create_redirect_response(302, location), None)


class Target:
    """A listener factory that keeps the requests, and redirects some paths."""

    def __init__(self, place: Place, table: Optional[Dict[str, str]] = None) -> None:
        self.requests: List[Any] = []
        self.table = table if table is not None else {}
        self.place = place

    def __call__(self, request: Any) -> Any:
        self.requests.append(request)
        location = self.table.get(request.path.decode())
        return self.place.engine.WSMessageListener() if location is None else redirect(location)

    @property
    def sent(self) -> List[str]:
        """The headers of HEADERS that the last request had."""
        return [name for name in HEADERS if name in self.requests[-1].headers]


@pytest.mark.parametrize("where", ["same", "host", "port"])
async def test_l1_secrets_do_not_follow_to_another_origin(place: Place, where: str) -> None:
    target = Target(place)
    first = Target(place)
    server = await place.serve(first)
    other = await place.serve(target)
    locations = {
        "same": "/end",
        "host": f"ws://localhost:{port_of(server)}/end",
        "port": f"ws://127.0.0.1:{port_of(other)}/end",
    }
    first.table["/"] = locations[where]
    await place.message_client(server, extra_headers=HEADERS)
    last = target if where == "port" else first
    assert last.requests[-1].path == b"/end"
    assert last.sent == (list(HEADERS) if where == "same" else ["X-Custom"])


async def test_l1_another_scheme_is_another_origin(secure_place: Place) -> None:
    target = Target(secure_place)
    server = await secure_place.serve(target)
    first = Target(secure_place, {"/": f"wss://localhost:{port_of(server)}/end"})
    plain = await secure_place.serve(first, ssl=None)
    await secure_place.message_client(f"ws://localhost:{port_of(plain)}/", extra_headers=HEADERS)
    assert target.sent == ["X-Custom"]


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_l2_no_way_from_wss_to_ws(secure_place: Place, scheme: str) -> None:
    """An error, and no TCP connection to the target."""
    connected: List[RawPeer] = []

    async def handler(peer: RawPeer) -> None:
        connected.append(peer)

    target = await secure_place.raw_server(handler, is_plain=True)
    server = await secure_place.serve(Target(secure_place, {"/": f"{scheme}://localhost:{port_of(target)}/"}))
    with pytest.raises(WSHandshakeError, match="non-secure URL"):
        await secure_place.message_client(server)
    await settle(20)
    assert connected == []


@pytest.mark.parametrize(("allowed", "asked"), [(0, 1), (5, 6), (10, 11)])
async def test_l3_the_redirect_after_the_last_one_fails(place: Place, allowed: int, asked: int) -> None:
    target = Target(place, {"/": "/"})
    server = await place.serve(target)
    with pytest.raises(WSInvalidStatusError):
        await place.message_client(server, max_redirects=allowed)
    assert len(target.requests) == asked


@pytest.mark.parametrize("location", ["/end", "end", "//{host}/end", "ws://{host}/end", "?x=1"])
async def test_l3_locations_are_resolved(place: Place, location: str) -> None:
    target = Target(place)
    server = await place.serve(target)
    target.table["/"] = location.format(host=f"127.0.0.1:{port_of(server)}")
    await place.message_client(server)
    assert target.requests[-1].path == (b"/?x=1" if location == "?x=1" else b"/end")


@pytest.mark.parametrize("location", ["ws+unix:///tmp/x", "unix:/tmp/x", "file:///etc/passwd"])
async def test_l3_no_redirect_to_a_unix_socket(place: Place, location: str) -> None:
    server = await place.serve(Target(place, {"/": location}))
    with pytest.raises(ValueError, match="scheme|URL"):
        await place.message_client(server)


async def test_l3_from_a_unix_socket_to_tcp_is_another_origin(place: Place, tmp_path: Any) -> None:
    """A Unix socket answers for its first URL only: it redirects to itself, and a redirect elsewhere is refused."""
    target = Target(place)
    server = await place.serve(target)
    path = str(tmp_path / "socket")
    first = Target(place, {"/": "/again", "/again": place.url(server)})
    await place.serve(first, path=path)
    with pytest.raises(WSHandshakeError, match="Unix socket") as caught:
        await place.message_client("ws://localhost/", path=path, extra_headers=HEADERS)
    assert not isinstance(caught.value, WSInvalidStatusError)
    assert [request.path for request in first.requests] == [b"/", b"/again"]
    assert first.sent == list(HEADERS)
    assert target.requests == []


async def test_l4_user_info_stays_with_its_origin(place: Place) -> None:
    target = Target(place)
    other = await place.serve(target)
    first = Target(place, {"/": "/again", "/again": place.url(other)})
    server = await place.serve(first)
    await place.message_client(f"ws://user:pass@127.0.0.1:{port_of(server)}/")
    assert [request.headers.get("Authorization") for request in first.requests] == ["Basic dXNlcjpwYXNz"] * 2
    assert "Authorization" not in target.requests[0].headers


async def test_l5_only_the_proxy_sees_its_credentials(place: Place) -> None:
    target = Target(place, {"/": "/end"})
    server = await place.serve(target)
    async with HTTPProxy(credentials=("user", "pass")) as proxy:
        await place.message_client(server, proxy=proxy.url("user:pass"))
        assert [b"Proxy-Authorization: Basic " in head for head in proxy.heads] == [True, True]
        assert all("Proxy-Authorization" not in request.headers for request in target.requests)
        assert all("Authorization" not in request.headers for request in target.requests)


async def test_l5_the_body_of_a_407_is_limited(place: Place) -> None:
    body = b"a" * 10_000_000
    answer = b"HTTP/1.1 407 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async with HTTPProxy(answer=answer) as proxy:

        async def attempt() -> Exception:
            error = await refused_by(lambda: place.message_client("ws://a/", proxy=proxy.url()))
            await proxy.all_closed()
            return error

        error = await attempt()
        assert "407" in str(error)
        assert len(str(error)) < 1000
        del error
        assert await retained_by(attempt) < 128 * 1024


async def test_l5_no_proxy_is_honoured_by_the_drop_in(monkeypatch: Any) -> None:
    pytest.importorskip("picows.websockets", reason="needs Python 3.11")
    from picows.websockets.proxy import get_proxy
    from picows.websockets.uri import parse_uri

    for name in ("http_proxy", "https_proxy", "socks_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("https_proxy", "http://p:1")
    assert get_proxy(parse_uri("wss://a.test/")) == "http://p:1"
    monkeypatch.setenv("no_proxy", "a.test")
    assert get_proxy(parse_uri("wss://a.test/")) is None


def tls_contexts() -> Dict[str, Any]:
    """Servers' certificates that a client must refuse, when it asks for 127.0.0.1, and those it must accept."""
    import datetime

    import trustme

    authority, stranger = trustme.CA(), trustme.CA()
    old = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)
    certificates = {
        "other name": authority.issue_cert("other.test"),
        "name, no IP": authority.issue_cert("localhost"),
        "expired": authority.issue_cert("127.0.0.1", not_after=old),
        "unknown authority": stranger.issue_cert("127.0.0.1"),
        "IP": authority.issue_cert("127.0.0.1"),
    }
    contexts: Dict[str, Any] = {}
    for name, certificate in certificates.items():
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(contexts[name])
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return {"client": client, **contexts}


@pytest.mark.parametrize("tunnel", [False, True], ids=["direct", "through a proxy"])
async def test_l6_names_are_verified(secure_place: Place, tunnel: bool) -> None:
    """Those of the target, also through CONNECT, where the name of the proxy means nothing."""
    contexts = tls_contexts()
    client = contexts.pop("client")
    secure_place.allowed_reports += ["SSL handshake failed", "Error on transport creation", "SSL error"]
    proxy = HTTPProxy()
    async with proxy:
        options: Dict[str, Any] = {"ssl_context": client, **({"proxy": proxy.url()} if tunnel else {})}
        for name, context in contexts.items():
            server = await secure_place.serve(Target(secure_place), ssl=context)
            if name == "IP":
                await secure_place.message_client(server, **options)
                continue
            with pytest.raises(ssl.SSLCertVerificationError):
                await secure_place.message_client(server, **options)
            if name == "other name":
                await secure_place.message_client(server, server_hostname="other.test", **options)
    with pytest.raises(ssl.SSLCertVerificationError):
        await secure_place.message_client(server, ssl_context=ssl.create_default_context())


@pytest.mark.parametrize("when", ["handshake", "open", "reading", "twice", "forgotten"])
async def test_l7_ends_in_the_middle_of_tls(secure_place: Place, when: str) -> None:
    secure_place.allowed_reports += ["SSL handshake failed", "Error on transport creation", "SSL error"]
    server = await secure_place.serve_messages()
    if when == "handshake":
        for steps in range(1, 40, 3):
            task = asyncio.ensure_future(secure_place.message_client(server))
            await settle(steps)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                (await task).transport.disconnect(graceful=False)  # it was open already
    else:
        client = await secure_place.message_client(server)
        transport = client.transport
        if when == "reading":
            await client.send(b"x" * 2**20)
            waiting = asyncio.ensure_future(client.recv())
            await settle(5)
            transport.disconnect(graceful=False)
            with pytest.raises(WSConnectionClosed):
                await waiting
        elif when == "twice":
            transport.disconnect()
            transport.disconnect(graceful=False)
        elif when == "forgotten":
            transport.underlying_transport.abort()
            del client
        else:
            transport.disconnect(graceful=False)
        await transport.wait_disconnected()
    await until(lambda: not server.connections)


async def test_l8_the_last_messages_before_a_tls_close_arrive(secure_place: Place) -> None:
    """100 messages, CLOSE, close_notify and FIN at once."""

    async def handler(peer: RawPeer) -> None:
        await peer.accept(then=b"".join(build(TEXT, b"%d" % number) for number in range(100)) + close_frame(1000))
        peer.hang_up()

    server = await secure_place.raw_server(handler)
    client = await secure_place.message_client(server, max_queue=200)
    assert [await client.recv() for _ in range(100)] == [str(number) for number in range(100)]
    with pytest.raises(WSConnectionClosed) as caught:
        await client.recv()
    assert caught.value.code == 1000
