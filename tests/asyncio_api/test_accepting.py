"""Connections that a server accepts: what they cost, and what happens when one cannot be had."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from typing import Any, AsyncIterator, Callable, List, Optional, Tuple

import pytest
from fixtures.sockets import Echo, Net, Recorder, have, unix_only, until

from picows import accepting
from picows.transports import listen


@pytest.fixture
def direct(tcp: Net) -> Net:
    """A kind of loop and transports whose servers accept without tasks."""
    if tcp.is_secure:
        pytest.skip("servers with TLS accept in their own way")
    if tcp.loop_kind == "uvloop" and not have("aiofastnet"):
        pytest.skip("uvloop's own servers accept in their own way")
    return tcp


class Reports(List[Any]):
    """What is reported to the loop instead of to the test."""

    def __init__(self) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.append(context))


class Failing:
    """A listening socket's `_accept` that raises errors first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: int) -> None:
        self.errors = list(errors)
        self.calls = 0
        real = socket.socket._accept  # type: ignore[attr-defined]

        def accept(sock: Any) -> Tuple[int, Any]:
            self.calls += 1
            if self.errors:
                number = self.errors.pop(0)
                raise OSError(number, os.strerror(number))
            return real(sock)  # type: ignore[no-any-return]

        monkeypatch.setattr(socket.socket, "_accept", accept, raising=False)


@contextlib.asynccontextmanager
async def listening(net: Net, make_protocol: Callable[[], asyncio.BaseProtocol]) -> AsyncIterator[Any]:
    """A server of ours without an engine."""
    loop = asyncio.get_running_loop()
    server = await listen(loop, "create_server", bool(net.use_aiofastnet), make_protocol, "127.0.0.1", 0)
    try:
        yield server
    finally:
        server.close()


async def test_no_task_and_no_future_for_a_connection(direct: Net) -> None:
    server = await direct.serve(lambda request: Echo())
    tasks: List[Any] = []
    loop = asyncio.get_running_loop()

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        tasks.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    client = socket.create_connection(server.sockets[0].getsockname())
    loop.set_task_factory(factory)
    try:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await until(lambda: len(server.connections) == 1)
    finally:
        loop.set_task_factory(None)
        client.close()
    assert tasks == []
    await until(lambda: not server.connections)


async def test_more_connections_than_one_turn_accepts(direct: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "MAX_PER_TURN", 2)
    server = await direct.serve(lambda request: Echo())
    clients = await asyncio.gather(*(direct.connect(Recorder, server) for _ in range(9)))
    assert len(server.connections) == 9
    for transport, listener in clients:
        transport.send(1, b"hello")
        assert (await listener.next_frame()).payload == b"hello"


async def test_one_turn_accepts_many(direct: Net) -> None:
    """uvloop's own servers accept one connection a turn."""
    made: List[asyncio.Protocol] = []

    def make_protocol() -> asyncio.Protocol:
        made.append(asyncio.Protocol())
        return made[-1]

    async with listening(direct, make_protocol) as server:
        clients = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(9)]
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(made) == 9
        for client in clients:
            client.close()


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_a_transport_that_ends_in_connection_made(direct: Net, end: str) -> None:
    ended: List[Any] = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            getattr(transport, end)()

        def connection_lost(self, exc: Optional[Exception]) -> None:
            ended.append(exc)

    async with listening(direct, Protocol) as server:
        reports = Reports()
        clients = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(3)]
        await until(lambda: len(ended) == 3)
        await asyncio.sleep(0)
        assert (ended, reports) == ([None] * 3, [])
        for client in clients:
            assert client.recv(1) == b""
            client.close()


async def test_connection_made_that_raises(direct: Net) -> None:
    """It is reported once, and the server goes on."""
    transports: List[Any] = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transports.append(transport)
            raise LookupError("not made")

    async with listening(direct, Protocol) as server:
        reports = Reports()
        clients = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(3)]
        await until(lambda: len(transports) == 3)
        await asyncio.sleep(0)
        assert [str(report["exception"]) for report in reports] == ["not made"] * 3
        for transport in transports:
            transport.abort()
        for client in clients:
            client.close()


async def test_addresses_are_known(direct: Net) -> None:
    server = await direct.serve(lambda request: Echo())
    transport, _ = await direct.connect(Recorder, server)
    (accepted,) = server.connections
    ours, theirs = accepted.underlying_transport, transport.underlying_transport
    assert ours.get_extra_info("peername") == theirs.get_extra_info("sockname")
    assert ours.get_extra_info("sockname") == theirs.get_extra_info("peername")
    assert ours.get_extra_info("socket").family == socket.AF_INET
    assert ours.get_extra_info("socket").type == socket.SOCK_STREAM


async def test_no_descriptors_left(direct: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """O7: no busy loop, one report, and the next attempt succeeds."""
    monkeypatch.setattr(accepting, "RETRY_DELAY_S", 0.05)
    server = await direct.serve(lambda request: Echo())
    reports = Reports()
    failing = Failing(monkeypatch, errno.EMFILE, errno.ENFILE)
    transport, listener = await direct.connect(Recorder, server)
    assert [report["message"] for report in reports] == ["socket.accept() out of system resource"] * 2
    assert [report["exception"].errno for report in reports] == [errno.EMFILE, errno.ENFILE]
    assert reports[0]["socket"].getsockname() == server.sockets[0].getsockname()
    assert 3 <= failing.calls <= 4
    transport.send(1, b"hello")
    assert (await listener.next_frame()).payload == b"hello"


async def test_a_server_that_is_closed_while_accepting_pauses(direct: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "RETRY_DELAY_S", 0.05)
    server = await direct.serve(lambda request: Echo())
    reports = Reports()
    failing = Failing(monkeypatch, *[errno.EMFILE] * 100)
    client = socket.create_connection(server.sockets[0].getsockname())
    try:
        await until(lambda: len(reports) == 1)
        server.close()
        await asyncio.sleep(0.1)
    finally:
        client.close()
    assert (len(reports), failing.calls) == (1, 1)


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.ENETUNREACH], ids=errno.errorcode.get)
async def test_connections_that_are_lost_before_they_are_accepted(
    direct: Net, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    server = await direct.serve(lambda request: Echo())
    reports = Reports()
    Failing(monkeypatch, number, number)
    await direct.connect(Recorder, server)
    assert reports == []


async def test_other_errors_are_reported_and_the_server_goes_on(direct: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await direct.serve(lambda request: Echo())
    reports = Reports()
    Failing(monkeypatch, errno.EIO)
    await direct.connect(Recorder, server)
    assert [report["exception"].errno for report in reports] == [errno.EIO]


async def test_a_protocol_that_cannot_be_made(direct: Net) -> None:
    """The connection is closed, the server goes on."""

    def make_protocol() -> asyncio.BaseProtocol:
        if not reports:
            raise LookupError("no protocol")
        return asyncio.Protocol()

    reports = Reports()
    async with listening(direct, make_protocol) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        assert [(report["message"], str(report["exception"])) for report in reports] == [
            ("an accepted connection could not be set up", "no protocol")
        ]
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.close()


async def test_serving_starts_later(direct: Net) -> None:
    server = await direct.serve(lambda request: Echo(), start_serving=False)
    assert not server.is_serving()
    await server.start_serving()
    await server.start_serving()
    assert server.is_serving()
    await direct.connect(Recorder, server)


@unix_only
async def test_unix_sockets(direct: Net, tmp_path: Any) -> None:
    path = str(tmp_path / "s")
    await direct.serve(lambda request: Echo(), path=path)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


@unix_only
async def test_unix_sockets_are_removed_as_by_the_loop(direct: Net, tmp_path: Any) -> None:
    """Its own servers remove them since Python 3.13."""
    path = str(tmp_path / "s")
    theirs = await asyncio.get_running_loop().create_unix_server(asyncio.Protocol, path)
    theirs.close()
    await theirs.wait_closed()
    by_loop = os.path.exists(path)
    ours = await direct.serve(lambda request: Echo(), path=path)
    ours.close()
    await ours.wait_closed()
    assert os.path.exists(path) == (by_loop and not direct.use_aiofastnet)


async def test_the_end_of_a_server_does_not_wait_for_clients_of_uvloop(direct: Net) -> None:
    """As with uvloop's own servers; asyncio's and aiofastnet's wait."""
    if direct.loop_kind != "uvloop" or direct.use_aiofastnet:
        pytest.skip("not on uvloop's transports")
    async with listening(direct, asyncio.Protocol) as server:
        waiter = asyncio.ensure_future(server.wait_closed())
        client = socket.create_connection(server.sockets[0].getsockname())
        await asyncio.sleep(0)
        assert not waiter.done()
        server.close()
        await waiter
        await server.wait_closed()
        assert not server.is_serving()
        client.close()


async def test_loops_that_aiofastnet_has_patched(direct: Net) -> None:
    if not have("aiofastnet"):
        pytest.skip("needs aiofastnet")
    import aiofastnet

    aiofastnet.patch_loop()
    server = await direct.serve(lambda request: Echo())
    await direct.connect(Recorder, server)
    (accepted,) = server.connections
    assert type(accepted.underlying_transport).__module__.startswith("aiofastnet")


async def test_sockets_of_a_class_of_the_users_are_asked(direct: Net) -> None:
    class Listening(socket.socket):
        accepted = 0

        def accept(self) -> Any:
            try:
                return super().accept()
            finally:
                Listening.accepted += 1

    sock = Listening()
    sock.bind(("127.0.0.1", 0))
    server = await direct.serve(lambda request: Echo(), sock=sock)
    await direct.connect(Recorder, server)
    # uvloop's own server takes the descriptor, and leaves the class alone.
    assert (Listening.accepted == 0) == (direct.loop_kind == "uvloop" and not direct.use_aiofastnet)
