"""Connections that a server accepts: what they cost, and what happens when one cannot be had."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any, List, Tuple

import pytest
from fixtures.sockets import Echo, Net, Recorder, unix_only, until

from picows import accepting
from picows.transports import listen, loop_method


@pytest.fixture
def direct(tcp: Net) -> Net:
    """A kind of loop and transports whose servers accept without tasks."""
    if tcp.is_secure or (tcp.loop_kind == "uvloop" and tcp.use_aiofastnet is False):
        pytest.skip("TLS, and uvloop's own servers, accept in their own way")
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

    loop = asyncio.get_running_loop()
    reports = Reports()
    create = loop_method(loop, "create_server", bool(direct.use_aiofastnet))
    server = await listen(create, make_protocol, "127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        assert [(report["message"], str(report["exception"])) for report in reports] == [
            ("an accepted connection could not be set up", "no protocol")
        ]
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.close()
    finally:
        server.close()


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
    assert Listening.accepted >= 1
