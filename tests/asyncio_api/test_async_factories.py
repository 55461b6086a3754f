"""P9: a server's listener factory that awaits something before it answers."""

from __future__ import annotations

import asyncio
from typing import Any, List, Optional

import pytest
from fixtures.peers import RawPeer, header_of, request_head
from fixtures.sockets import Echo, Net, Recorder, settle, until

from picows import WSHandshakeEOFError, WSInvalidStatusError, WSUpgradeResponse, WSUpgradeResponseWithListener


class Gate:
    """A coroutine factory that waits until the test lets it go on."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        self.was_cancelled: Optional[bool] = None

    async def __call__(self, request: Any) -> Any:
        self.entered.set()
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        self.was_cancelled = False
        return self.answer


async def test_P9_coroutine_function(net: Net) -> None:
    async def factory(request: Any) -> Echo:
        await asyncio.sleep(0)
        return Echo()

    server = await net.serve(factory)
    transport, listener = await net.connect(Recorder, server)
    transport.send(1, "x")
    assert (await listener.next_frame()).payload == b"x"


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda: None, 404),
        (lambda: "text", 500),
        (lambda: WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(401), None), 401),
    ],
    ids=["None", "wrong type", "401"],
)
async def test_P9_outcomes(tcp: Net, make: Any, status: int) -> None:
    async def factory(request: Any) -> Any:
        await asyncio.sleep(0)
        return make()

    server = await tcp.serve(factory)
    with pytest.raises(WSInvalidStatusError) as caught:
        await tcp.connect(Recorder, server)
    assert caught.value.response.status == status
    assert caught.value.response.headers["Connection"] == "close"


async def test_P9_any_awaitable(local: Net) -> None:
    loop = asyncio.get_running_loop()
    answers: List[Any] = []

    def factory(request: Any) -> Any:
        answers.append(loop.create_future())
        return answers[0]

    server = await local.serve(factory)
    connecting = asyncio.ensure_future(local.connect(Recorder, server))
    await until(lambda: answers)
    answers[0].set_result(Echo())
    transport, listener = await connecting
    transport.send(1, "x")
    assert (await listener.next_frame()).payload == b"x"


async def test_P9_data_sent_ahead_is_kept(net: Net) -> None:
    listener = Recorder()
    gate = Gate(listener)
    server = await net.serve(gate)
    peer = await net.raw_client(server)
    peer.write(request_head() + b"\x81\x81\0\0\0\0a\x81\x81\0\0\0")
    await gate.entered.wait()
    peer.write(b"\0b")
    for number in range(100):
        peer.send(2, b"%d" % number * 1000)
    await settle(20)
    gate.opened.set()
    expected = [b"a", b"b"] + [b"%d" % number * 1000 for number in range(100)]
    assert [(await listener.next_frame()).payload for _ in expected] == expected
    assert (await peer.read_head()).startswith(b"HTTP/1.1 101 ")


async def test_P9_the_answer_comes_first(net: Net) -> None:
    """What on_ws_connected sends may not overtake the 101."""

    class Greeter(Echo):
        def on_ws_connected(self, transport: Any) -> None:
            transport.send(1, "hello")

    gate = Gate(Greeter())
    server = await net.serve(gate)
    peer = await net.raw_client(server)
    peer.write(request_head() + b"\x81\x81\0\0\0\0a")
    await gate.entered.wait()
    gate.opened.set()
    assert (await peer.read_head()).startswith(b"HTTP/1.1 101 ")
    assert [(await peer.read_frame()).payload for _ in range(2)] == [b"hello", b"a"]


async def test_P9_connections_wait_independently(tcp: Net) -> None:
    gates: List[Gate] = []

    def factory(request: Any) -> Any:
        gates.append(Gate(Echo()))
        return gates[-1](request)

    server = await tcp.serve(factory)
    first = asyncio.ensure_future(tcp.connect(Recorder, server))
    await until(lambda: len(gates) == 1)
    second = asyncio.ensure_future(tcp.connect(Recorder, server))
    await until(lambda: len(gates) == 2)
    gates[1].opened.set()
    await second
    assert not first.done()
    gates[0].opened.set()
    await first


@pytest.mark.parametrize("is_reset", [False, True], ids=["eof", "reset"])
async def test_P9_client_that_hangs_up_meanwhile(net: Net, is_reset: bool) -> None:
    gate = Gate(Recorder())
    server = await net.serve(gate)
    peer = await net.raw_client(server)
    peer.write(request_head())
    await gate.entered.wait()
    if is_reset:
        peer.reset()
    else:
        peer.hang_up()
    await until(lambda: gate.was_cancelled is not None)
    assert gate.was_cancelled
    assert gate.answer.events == []
    assert not server.connections


async def test_P9_client_that_sends_too_much_meanwhile(tcp: Net) -> None:
    """What arrives is not collected without limit while the factory thinks."""
    gate = Gate(Recorder())
    server = await tcp.serve(gate)
    peer = await tcp.raw_client(server)
    peer.write(request_head())
    await gate.entered.wait()
    size = 16 * 1024 * 1024
    peer.write(b"\x82\xff" + size.to_bytes(8, "big") + b"\0\0\0\0")
    for _ in range(size // 65536):
        peer.write(b"x" * 65536)
    await settle(200)
    assert peer.writer.transport.get_write_buffer_size() > size // 4, "the server reads although nobody wants it"


async def test_P9_timeout(net: Net) -> None:
    gate = Gate(Recorder())
    server = await net.serve(gate, open_timeout=0.05)
    with pytest.raises(WSHandshakeEOFError):
        await net.connect(Recorder, server)
    await until(lambda: gate.was_cancelled is not None)
    assert gate.was_cancelled
    assert gate.answer.events == []


async def test_P9_a_factory_that_swallows_its_cancellation(tcp: Net) -> None:
    listener = Recorder()
    entered, left = asyncio.Event(), asyncio.Event()

    async def stubborn(request: Any) -> Recorder:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        left.set()
        return listener

    server = await tcp.serve(stubborn)
    peer = await tcp.raw_client(server)
    peer.write(request_head())
    await entered.wait()
    peer.reset()
    await left.wait()
    await settle()
    assert listener.events == []
    assert not server.connections


async def test_P9_a_factory_that_fails_after_the_client_left(tcp: Net, caplog: pytest.LogCaptureFixture) -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def failing(request: Any) -> Recorder:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
            raise LookupError("too late")

    server = await tcp.serve(failing)
    peer = await tcp.raw_client(server)
    peer.write(request_head())
    await entered.wait()
    peer.reset()
    await left.wait()
    await settle()
    assert not server.connections


async def test_P9_server_closed_meanwhile(tcp: Net) -> None:
    gate = Gate(Echo())
    server = await tcp.serve(gate)
    peer = await tcp.raw_client(server)
    peer.write(request_head())
    await gate.entered.wait()
    closing = asyncio.ensure_future(server.close(close_timeout=1))
    await settle()
    gate.opened.set()
    # The request was accepted before the server closed: it may be answered, but the client is not left without an end.
    await peer.read_rest()
    peer.hang_up()
    await asyncio.wait_for(closing, 10)


async def test_P9_raising_at_once(local: Net) -> None:
    """A coroutine that fails before its first await is answered like any other."""

    async def factory(request: Any) -> Any:
        raise KeyError("x")

    server = await local.serve(factory)
    peer: RawPeer = await local.raw_client(server)
    peer.write(request_head())
    head = await peer.read_head()
    assert head.startswith(b"HTTP/1.1 500 ")
    assert header_of(head, "Content-Length") == "0"
    assert await peer.read_rest() == b""
