"""Redirects: where they lead, what is sent there, and which are refused."""

from __future__ import annotations

import logging
from typing import Any, List

import pytest
from fixtures.peers import RawPeer, header_of
from fixtures.sockets import Echo, Net, Recorder, port_of

from picows import WSHandshakeError, WSInvalidStatusError, WSInvalidURL, WSUpgradeRequest, WSUpgradeResponse
from picows import WSUpgradeResponseWithListener as Answer

CREDENTIALS = {"Authorization": "Bearer secret", "Cookie": "a=b", "Proxy-Authorization": "x", "X-Other": "kept"}


def redirect(location: str, status: int = 302) -> Answer:
    """A server factory's answer."""
    return Answer(WSUpgradeResponse.create_redirect_response(status, location), None)


def routes(table: Any, seen: List[WSUpgradeRequest]) -> Any:
    """A server factory: a location per path, and an echo elsewhere."""

    def factory(request: WSUpgradeRequest) -> Any:
        seen.append(request)
        location = table.get(request.path.decode())
        return Echo() if location is None else redirect(location)

    return factory


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_statuses(tcp: Net, status: int) -> None:
    server = await tcp.serve(lambda request: redirect("/there", status) if request.path == b"/" else Echo())
    transport, listener = await tcp.connect(Recorder, server)
    assert transport.request.path == b"/there"
    transport.send(1, "x")
    assert (await listener.next_frame()).payload == b"x"


async def test_304_is_no_redirect(local: Net) -> None:
    server = await local.serve(lambda request: redirect("/there", 304))
    with pytest.raises(WSInvalidStatusError) as caught:
        await local.connect(Recorder, server)
    assert caught.value.response.status == 304


@pytest.mark.parametrize(
    "location", ["/there?x=1", "there?x=1", "//{host}/there?x=1", "{url}/there?x=1", "{http}/there?x=1"]
)
async def test_W9_locations(net: Net, location: str) -> None:
    """Relative, without scheme, absolute, and absolute as web servers write it."""
    seen: List[WSUpgradeRequest] = []
    table: dict[str, str] = {}
    server = await net.serve(routes(table, seen))
    host = f"127.0.0.1:{port_of(server)}"
    http = f"{'https' if net.is_secure else 'http'}://{host}"
    table["/"] = location.format(host=host, url=f"{net.scheme}://{host}", http=http)
    transport, _ = await net.connect(Recorder, server, extra_headers=CREDENTIALS)
    assert [request.path for request in seen] == [b"/", b"/there?x=1"]
    assert seen[1].headers["Authorization"] == "Bearer secret"
    assert seen[1].headers["Cookie"] == "a=b"
    assert transport.request.path == b"/there?x=1"


async def test_W9_another_port_gets_no_credentials(net: Net) -> None:
    seen: List[WSUpgradeRequest] = []
    target = await net.serve(routes({}, seen))
    server = await net.serve(lambda request: redirect(net.url(target, "/t")))
    await net.connect(Recorder, server, extra_headers=CREDENTIALS)
    (request,) = seen
    assert request.headers["X-Other"] == "kept"
    for name in ("Authorization", "Cookie", "Proxy-Authorization"):
        assert name not in request.headers


async def test_W9_credentials_of_the_url_stay_with_their_origin(tcp: Net) -> None:
    seen: List[WSUpgradeRequest] = []
    target = await tcp.serve(routes({"/back": "/stay"}, seen))
    server = await tcp.serve(routes({"/": "/same", "/same": tcp.url(target, "/back")}, seen))
    await tcp.connect(Recorder, f"ws://user:pass@127.0.0.1:{port_of(server)}/")
    assert [request.path for request in seen] == [b"/", b"/same", b"/back", b"/stay"]
    assert [request.headers.get("Authorization") for request in seen] == ["Basic dXNlcjpwYXNz"] * 2 + [None] * 2
    assert all("pass" not in request.headers["Host"] for request in seen)


async def test_W9_credentials_of_the_url_stay_where_the_location_is_absolute(tcp: Net) -> None:
    """Most web servers write it so. Host names the first origin only."""
    seen: List[WSUpgradeRequest] = []
    table: dict[str, str] = {}
    target = await tcp.serve(routes({}, seen))
    server = await tcp.serve(routes(table, seen))
    table.update(
        {"/": f"http://127.0.0.1:{port_of(server)}/same", "/same": "/again", "/again": tcp.url(target, "/end")}
    )
    url = f"ws://user:pass@127.0.0.1:{port_of(server)}/"
    await tcp.connect(Recorder, url, extra_headers={"host": "virtual.test"})
    assert [request.path for request in seen] == [b"/", b"/same", b"/again", b"/end"]
    assert [request.headers.get("Authorization") for request in seen] == ["Basic dXNlcjpwYXNz"] * 3 + [None]
    assert [request.headers.getall("Host") for request in seen[:3]] == [["virtual.test"]] * 3
    assert seen[3].headers.getall("Host") == [f"127.0.0.1:{port_of(target)}"]


async def test_W9_credentials_are_not_restored_on_the_way_back(tcp: Net) -> None:
    seen: List[WSUpgradeRequest] = []
    table: dict[str, str] = {}
    first = await tcp.serve(routes(table, seen))
    second = await tcp.serve(lambda request: redirect(tcp.url(first, "/end")))
    table["/"] = tcp.url(second)
    await tcp.connect(Recorder, first, extra_headers=CREDENTIALS)
    assert ["Authorization" in request.headers for request in seen] == [True, False]


async def test_W9_from_ws_to_wss(local: Net) -> None:
    seen: List[WSUpgradeRequest] = []
    certificates = local.load_certificates()
    target = await local.serve(routes({}, seen), ssl=certificates.server)
    server = await local.serve(lambda request: redirect(f"https://localhost:{port_of(target)}/t"))
    transport, _ = await local.connect(Recorder, server, ssl_context=certificates.client, extra_headers=CREDENTIALS)
    assert transport.is_secure
    assert "Cookie" not in seen[0].headers


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_W9_never_from_wss_to_ws(local: Net, scheme: str) -> None:
    certificates = local.load_certificates()
    seen: List[WSUpgradeRequest] = []
    target = await local.serve(routes({}, seen))
    server = await local.serve(
        lambda request: redirect(f"{scheme}://127.0.0.1:{port_of(target)}/"), ssl=certificates.server
    )
    with pytest.raises(WSHandshakeError, match="non-secure URL"):
        await local.connect(Recorder, f"wss://127.0.0.1:{port_of(server)}/", ssl_context=certificates.client)
    assert not seen


@pytest.mark.parametrize(("allowed", "asked"), [(0, 1), (1, 2), (3, 4)])
async def test_W9_exhausted(tcp: Net, allowed: int, asked: int) -> None:
    seen: List[WSUpgradeRequest] = []
    server = await tcp.serve(routes({"/": "/"}, seen))
    with pytest.raises(WSInvalidStatusError) as caught:
        await tcp.connect(Recorder, server, max_redirects=allowed)
    assert caught.value.response.status == 302
    assert caught.value.response.headers["Location"] == "/"
    assert len(seen) == asked


async def test_exactly_as_many_as_allowed(local: Net) -> None:
    seen: List[WSUpgradeRequest] = []
    server = await local.serve(routes({"/": "/1", "/1": "/2"}, seen))
    transport, _ = await local.connect(Recorder, server, max_redirects=2)
    assert transport.request.path == b"/2"


async def test_W9_without_location(tcp: Net) -> None:
    async def handler(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(b"HTTP/1.1 307 X\r\nContent-Length: 2\r\n\r\nhm")
        await peer.read_rest()

    server = await tcp.raw_server(handler)
    with pytest.raises(WSHandshakeError, match="without Location") as caught:
        await tcp.connect(Recorder, server)
    assert not isinstance(caught.value, WSInvalidStatusError)
    assert caught.value.raw_body == b"hm"


@pytest.mark.parametrize("location", ["ftp://a/", "mailto:x", "ws://a:99999/", "/x#fragment"])
async def test_locations_that_lead_nowhere(local: Net, location: str) -> None:
    server = await local.serve(lambda request: redirect(location))
    with pytest.raises(WSInvalidURL):
        await local.connect(Recorder, server)


async def test_spaces_in_a_location_are_encoded(local: Net) -> None:
    seen: List[WSUpgradeRequest] = []
    server = await local.serve(routes({"/": "/a b"}, seen))
    await local.connect(Recorder, server)
    assert seen[-1].path == b"/a%20b"


async def test_the_body_of_a_redirect_is_not_waited_for(tcp: Net) -> None:
    ends = []

    async def handler(peer: RawPeer) -> None:
        head = await peer.read_head()
        if head.startswith(b"GET / "):
            peer.write(b"HTTP/1.1 302 X\r\nLocation: /there\r\n\r\nand a body without an end")
            ends.append(await peer.read_rest())
        else:
            assert header_of(head, "Host") == f"127.0.0.1:{port_of(server)}"
            peer.write(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
            await peer.read_rest()

    server = await tcp.raw_server(handler)
    with pytest.raises(WSInvalidStatusError) as caught:
        await tcp.connect(Recorder, server)
    assert caught.value.response.status == 404
    assert ends == [b""]


async def test_each_hop_has_a_key_of_its_own(local: Net) -> None:
    seen: List[WSUpgradeRequest] = []
    server = await local.serve(routes({"/": "/1", "/1": "/2"}, seen))
    await local.connect(Recorder, server)
    assert len({request.headers["Sec-WebSocket-Key"] for request in seen}) == 3


async def test_W9_no_secret_in_the_log_of_a_redirect(local: Net, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "picows")
    target = await local.serve(lambda request: Echo())
    server = await local.serve(lambda request: redirect(f"ws://user:s3cret@127.0.0.1:{port_of(target)}/"))
    await local.connect(Recorder, server)
    assert "redirected to" in caplog.text
    assert "s3cret" not in caplog.text
