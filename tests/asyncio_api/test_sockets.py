"""Where connections come from: Unix sockets, sockets of the user's, and sockets that refuse an option."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from typing import Any, List

import pytest
from fixtures.peers import request_head
from fixtures.sockets import Echo, Net, Recorder, count_sockets, port_of, unix_only, until

from picows import WSUpgradeResponse, WSUpgradeResponseWithListener, ws_connect

#: As asyncio and as aiofastnet write it.
VERIFY_FAILED = "(?i)certificate.verify.failed"

# --- W1: options that are refused ---


@pytest.fixture
def refuse_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses an option that only picows asks for, not the transports of the loops."""
    monkeypatch.setattr(socket, "TCP_QUICKACK", 9999, raising=False)


def is_refused(exc: Any) -> bool:
    return isinstance(exc, OSError) and exc.errno in (errno.ENOPROTOOPT, errno.EINVAL)


async def test_W1_refused_option_on_the_client(net: Net, refuse_options: None) -> None:
    server = await net.raw_server(_swallow)
    net.allowed_reports += ["SSL handshake failed", "Error on transport creation for incoming connection"]
    before = count_sockets()
    listener = Recorder()
    with pytest.raises(OSError) as caught:
        await asyncio.wait_for(net.connect(lambda: listener, server), 5)
    assert is_refused(caught.value)
    assert listener.events == []
    await until(lambda: count_sockets() <= before)


async def test_W1_refused_option_on_the_server(
    net: Net, refuse_options: None, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Recorder()
    server = await net.serve(lambda request: listener)
    peer = await net.raw_client(server)
    peer.write(request_head())
    try:
        data = await asyncio.wait_for(peer.read_rest(), 5)
    except ConnectionResetError:
        data = b""
    assert data == b""
    assert listener.events == []
    assert not server.connections
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR and "picows" in record.name]
    assert record.exc_info is not None
    assert is_refused(record.exc_info[1])


async def _swallow(peer: Any) -> None:
    with contextlib.suppress(ConnectionResetError):  # over TLS an abort may find something that was not read
        await peer.reader.read()


# --- W1: Unix sockets ---


@unix_only
@pytest.mark.parametrize("is_pathlike", [False, True], ids=["str", "Path"])
async def test_W1_unix_socket_by_path(net: Net, tmp_path: Any, is_pathlike: bool) -> None:
    path = tmp_path / "socket" if is_pathlike else str(tmp_path / "socket")
    server = await net.serve(lambda request: Echo(), path=path)
    transport, listener = await net.connect(Recorder, f"{net.scheme}://localhost/p?q=1", path=path)
    for size in (1, 1000, 300_000):
        transport.send(2, b"x" * size)
        assert (await listener.next_frame()).payload == b"x" * size
    (remote,) = server.connections
    assert remote.request.path == b"/p?q=1"
    assert remote.request.headers["Host"] == "localhost"
    assert remote.is_secure is net.is_secure


@unix_only
async def test_W1_unix_socket_from_a_factory(net: Net, tmp_path: Any) -> None:
    path = str(tmp_path / "socket")
    await net.serve(lambda request: Echo(), path=path)

    def factory(url: Any) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        return sock

    transport, listener = await net.connect(Recorder, f"{net.scheme}://localhost/", socket_factory=factory)
    transport.send(1, "over a Unix socket")
    assert (await listener.next_frame()).payload == b"over a Unix socket"


@unix_only
async def test_W1_server_on_a_unix_socket_of_its_own(net: Net, tmp_path: Any) -> None:
    """create_server takes a bound Unix socket nowhere; the way is `path`, and the loop's other arguments still work."""
    path = str(tmp_path / "socket")
    server = await net.serve(lambda request: Echo(), path=path, start_serving=False)
    assert not server.is_serving()
    await server.start_serving()
    transport, listener = await net.connect(Recorder, f"{net.scheme}://localhost/", path=path)
    transport.send(1, "x")
    assert (await listener.next_frame()).payload == b"x"


@unix_only
async def test_W1_no_server_behind_the_path(tcp: Net, tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError):
        await tcp.connect(Recorder, "ws://localhost/", path=str(tmp_path / "nothing"))


@unix_only
async def test_W1_ipv6_and_unix_options_do_not_mix_up(tcp: Net, tmp_path: Any) -> None:
    """Arguments about addresses mean nothing for a path and are not passed on."""
    path = str(tmp_path / "socket")
    await tcp.serve(lambda request: Echo(), path=path)
    await tcp.connect(Recorder, "ws://localhost/", path=path, family=socket.AF_INET, happy_eyeballs_delay=0.2)


# --- arguments of create_connection ---


async def test_local_addr(tcp: Net) -> None:
    server = await tcp.serve(lambda request: Echo())
    transport, _ = await tcp.connect(Recorder, server, local_addr=("127.0.0.3", 0))
    assert transport.underlying_transport.get_extra_info("sockname")[0] == "127.0.0.3"


async def test_server_hostname(net: Net) -> None:
    """For wss it is the name that the certificate must have; for plain ws it means nothing and is refused."""
    server = await net.serve(lambda request: Echo())
    if not net.is_secure:
        with pytest.raises(ValueError, match="server_hostname"):
            await net.connect(Recorder, server, server_hostname="target.test")
        return
    await net.connect(Recorder, server, server_hostname="target.test")
    net.allowed_reports += ["SSL handshake failed", "Error on transport creation for incoming connection"]
    with pytest.raises(OSError, match=VERIFY_FAILED):
        await net.connect(Recorder, server, server_hostname="target.example")


@pytest.mark.parametrize("given", [{}, {"server_hostname": None}], ids=["not given", "None"])
async def test_the_dot_of_the_root_is_not_in_certificates(net: Net, given: Any) -> None:
    server = await net.serve(lambda request: Echo())

    def factory(url: Any) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port_of(server)))

    transport, _ = await net.connect(Recorder, f"{net.scheme}://localhost./", socket_factory=factory, **given)
    assert transport.request.headers["Host"] == "localhost."


async def test_certificates_are_verified(local: Net) -> None:
    certificates = local.load_certificates()
    local.allowed_reports += ["SSL handshake failed", "Error on transport creation for incoming connection"]
    server = await local.serve(lambda request: Echo(), ssl=certificates.other)
    url = f"wss://127.0.0.1:{port_of(server)}/"
    with pytest.raises(OSError, match=VERIFY_FAILED):
        await local.connect(Recorder, url, ssl_context=certificates.client)
    with pytest.raises(OSError, match=VERIFY_FAILED):
        await local.connect(Recorder, url)  # the default context does not know the authority


async def test_nobody_listens(tcp: Net) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await tcp.connect(Recorder, f"ws://127.0.0.1:{sock.getsockname()[1]}/")


async def test_server_on_a_socket_of_the_users(net: Net) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = await net.serve(lambda request: Echo(), sock=sock)
    transport, listener = await net.connect(Recorder, server)
    transport.send(1, "x")
    assert (await listener.next_frame()).payload == b"x"


async def test_nodelay_is_set(tcp: Net) -> None:
    server = await tcp.serve(lambda request: Echo())
    transport, _ = await tcp.connect(Recorder, server)
    (remote,) = server.connections
    for side in (transport, remote):
        sock = side.underlying_transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


# --- socket_factory ---


def connected(port: int) -> socket.socket:
    """A blocking, connected socket."""
    return socket.create_connection(("127.0.0.1", port))


def unconnected(port: int) -> socket.socket:
    """A socket that has to be connected to the URL's address."""
    return socket.socket()


@pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine"])
@pytest.mark.parametrize("make", [connected, unconnected, lambda port: None], ids=["connected", "unconnected", "None"])
async def test_socket_factory(net: Net, make: Any, is_async: bool) -> None:
    server = await net.serve(lambda request: Echo())
    urls, sockets = [], []

    def factory(url: Any) -> Any:
        urls.append(url)
        sockets.append(make(port_of(server)))
        return sockets[-1]

    async def async_factory(url: Any) -> Any:
        await asyncio.sleep(0)
        return factory(url)

    transport, listener = await net.connect(Recorder, server, socket_factory=async_factory if is_async else factory)
    (url,) = urls
    assert (url.host, url.port, url.is_secure) == ("127.0.0.1", port_of(server), net.is_secure)
    if sockets[0] is not None:
        assert transport.underlying_transport.get_extra_info("socket").fileno() == sockets[0].fileno()
    transport.send(1, "x")
    assert (await listener.next_frame()).payload == b"x"


@pytest.mark.parametrize("result", [5, "socket", object(), ("127.0.0.1", 1)], ids=["int", "str", "object", "tuple"])
async def test_socket_factory_of_the_wrong_type(tcp: Net, result: Any) -> None:
    with pytest.raises(TypeError, match="socket_factory must return"):
        await tcp.connect(Recorder, "ws://127.0.0.1:1/", socket_factory=lambda url: result)


async def test_socket_factory_that_raises(tcp: Net) -> None:
    def factory(url: Any) -> Any:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await tcp.connect(Recorder, "ws://127.0.0.1:1/", socket_factory=factory)


async def test_socket_of_the_factory_is_closed_on_failure(net: Net) -> None:
    async def handler(peer: Any) -> None:
        await peer.read_head()
        peer.write(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
        await peer.reader.read()

    server = await net.raw_server(handler)
    sockets: List[socket.socket] = []

    def factory(url: Any) -> socket.socket:
        sockets.append(connected(port_of(server)))
        return sockets[-1]

    with pytest.raises(Exception, match="404"):
        await net.connect(Recorder, server, socket_factory=factory)
    await until(lambda: sockets[0].fileno() == -1)


async def test_socket_factory_is_asked_again_after_a_redirect(tcp: Net) -> None:
    answer = WSUpgradeResponseWithListener(WSUpgradeResponse.create_redirect_response(302, "/there"), None)
    server = await tcp.serve(lambda request: answer if request.path == b"/" else Echo())
    paths = []

    def factory(url: Any) -> socket.socket:
        paths.append(url.path)
        return connected(port_of(server))

    await tcp.connect(Recorder, server, socket_factory=factory)
    assert paths == ["/", "/there"]


# --- names ---


async def test_second_address_of_a_name(local: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with two addresses of which only the second one answers."""
    server = await local.serve(lambda request: Echo())
    port = port_of(server)
    loop = asyncio.get_running_loop()

    async def resolve(host: str, *args: Any, **kwargs: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    transport, _ = await ws_connect(Recorder, f"ws://two.example:{port}/", use_aiofastnet=False)
    assert transport.underlying_transport.get_extra_info("peername")[0] == "127.0.0.1"
    transport.disconnect()
    await transport.wait_disconnected()


@pytest.mark.skipif(not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"), reason="needs IPv6")
async def test_ipv6(tcp: Net) -> None:
    sock = socket.socket(socket.AF_INET6)
    try:
        sock.bind(("::1", 0))
    except OSError:
        sock.close()
        pytest.skip("::1 cannot be bound here")
    server = await tcp.serve(lambda request: Echo(), sock=sock)
    transport, _ = await tcp.connect(Recorder, f"ws://[::1]:{port_of(server)}/")
    assert transport.request.headers["Host"] == f"[::1]:{port_of(server)}"
