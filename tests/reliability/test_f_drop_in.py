"""F, for the drop-in: each of its APIs answers every ping of a peer that reads, and bounds the pongs for one that does
not."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
import tracemalloc
from typing import Any, Callable, Optional

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")

from fixtures import sync_api
from fixtures.compat import OURS
from fixtures.legacy_api import legacy
from fixtures.peers import request_head
from fixtures.places import SMALL
from fixtures.wire import BINARY, CLOSE, KEY, PING, PONG, TEXT, build, close_payload

from picows.websockets._pongs import Pongs
from picows.websockets.protocol import SEND_EOF

TIMEOUT_S = 20
OPTIONS: Any = {"compression": None, "ping_interval": None}
#: How many pings of 125 bytes make a flood, and how much of it may be kept: 64 KiB, a read more, and their objects.
PINGS = 3000
MOST_KEPT = 256 * 1024
#: What a handler that is busy is sending meanwhile.
MESSAGE = bytes(128 * 1024)


class Peer:
    """A client, and what a handler tells it; the kernel's buffers between the two are small.

    Args:
        script: called with this once the handler runs; it may block.
        is_busy: whether the handler is sending MESSAGE meanwhile.

    Attributes:
        ready: set by the handler when it has begun, and sends.
        arrived: set by the handler for each message.
    """

    def __init__(self, script: Callable[[Peer], None], is_busy: bool) -> None:
        self.is_busy = is_busy
        self.ready = threading.Event()
        self.arrived = threading.Event()
        self._script = script
        self._sock: Any = None

    def __call__(self, port: int) -> None:
        """Connect, run the script, and close; called in a thread where the server does not run."""
        with socket.socket() as sock:
            self._sock = sock
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            sock.settimeout(TIMEOUT_S)
            sock.connect(("127.0.0.1", port))
            sock.sendall(request_head())
            head = b""
            while not head.endswith(b"\r\n\r\n"):  # what follows are frames
                head += sync_api.read_exactly(sock, 1)
            assert head.startswith(b"HTTP/1.1 101 ")
            assert self.ready.wait(TIMEOUT_S)
            self._script(self)
            sock.sendall(build(CLOSE, close_payload(1000), key=KEY))
            assert sync_api.read_to_end(sock) == build(CLOSE, close_payload(1000))

    def send(self, data: bytes) -> None:
        """Send frames and a message behind them; returns when the handler has received that."""
        self.arrived.clear()
        self._sock.sendall(data + build(TEXT, b"end", key=KEY))
        assert self.arrived.wait(TIMEOUT_S)

    def read_frame(self) -> tuple[int, bytes]:
        """Opcode and payload of what the server says."""
        first, size = sync_api.read_exactly(self._sock, 2)
        if size > 125:
            size = int.from_bytes(sync_api.read_exactly(self._sock, 2 if size == 126 else 8), "big")
        return first & 0x0F, sync_api.read_exactly(self._sock, size)


def shrink(sock: Any) -> None:
    """Let the kernel take little of what the server sends."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)


async def handle(peer: Peer, connection: Any) -> None:
    """The handler on asyncio, of today and of before."""
    shrink(connection.transport.get_extra_info("socket"))
    async with asyncio.TaskGroup() as tasks:
        if peer.is_busy:
            tasks.create_task(connection.send(MESSAGE))
            await asyncio.sleep(0)  # it has begun
        peer.ready.set()
        async for _ in connection:
            peer.arrived.set()


def on_asyncio(peer: Peer, api: Any, logger: Optional[logging.Logger]) -> None:
    """Serve a peer by `serve` of a module on asyncio."""

    async def main() -> None:
        options = {**OPTIONS, "logger": logger}
        async with api.serve(lambda connection: handle(peer, connection), "127.0.0.1", 0, **options) as server:
            await asyncio.to_thread(peer, server.sockets[0].getsockname()[1])

    asyncio.run(main())


def on_threads(peer: Peer) -> None:
    """Serve a peer by the threading API."""

    def handler(connection: Any) -> None:
        shrink(connection.socket)
        sending = threading.Thread(target=connection.send, args=(MESSAGE,))
        if peer.is_busy:
            sending.start()
        peer.ready.set()
        for _ in connection:
            peer.arrived.set()
        if peer.is_busy:
            sending.join()

    with sync_api.serving(sync_api.library(sync_api.OURS), handler, **OPTIONS) as server:
        peer(server.port)


def on_trio(peer: Peer) -> None:
    """Serve a peer by the trio API."""
    trio = pytest.importorskip("trio", reason="trio is not installed: pip install trio")
    from fixtures import trio_api

    async def handler(connection: Any) -> None:
        shrink(connection.stream.socket)
        async with trio.open_nursery() as nursery:
            if peer.is_busy:
                nursery.start_soon(connection.send, MESSAGE)
                await trio.lowlevel.checkpoint()
            peer.ready.set()
            async for _ in connection:
                peer.arrived.set()

    async def main() -> None:
        async with trio_api.serving(trio_api.library(trio_api.OURS), handler, **OPTIONS) as server:
            await trio.to_thread.run_sync(peer, server.port)

    trio_api.run(main)


def at_debug() -> logging.Logger:
    """A logger whose records go nowhere."""
    logger = logging.Logger("flood", logging.DEBUG)
    logger.addHandler(logging.NullHandler())
    return logger


SERVERS: dict[str, Callable[[Peer], None]] = {
    "asyncio": lambda peer: on_asyncio(peer, OURS.server, None),
    "asyncio debug": lambda peer: on_asyncio(peer, OURS.server, at_debug()),
    "sync": on_threads,
    "trio": on_trio,
    "legacy": lambda peer: on_asyncio(peer, legacy(OURS).server, None),
    "legacy debug": lambda peer: on_asyncio(peer, legacy(OURS).server, at_debug()),
}
EVERYWHERE = pytest.mark.parametrize("serve", SERVERS.values(), ids=SERVERS)


@EVERYWHERE
@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "sending"])
def test_f1_drop_in_ping_flood_of_a_peer_that_does_not_read(serve: Callable[[Peer], None], is_busy: bool) -> None:
    """Little is kept of a flood; and once the peer reads, its newest ping is the last to be answered."""

    def script(peer: Peer) -> None:
        flood = build(PING, bytes(125), key=KEY) * PINGS + build(PING, b"newest", key=KEY)
        tracemalloc.start()
        try:
            peer.send(b"")
            before = tracemalloc.get_traced_memory()[0]
            peer.send(flood)
            kept.append(tracemalloc.get_traced_memory()[0] - before)
        finally:
            tracemalloc.stop()
        frames = []
        while (PONG, b"newest") not in frames[-1:] or (is_busy and (BINARY, MESSAGE) not in frames):
            frames.append(peer.read_frame())
        pongs = [frame for frame in frames if frame != (BINARY, MESSAGE)]
        assert len(frames) - len(pongs) == is_busy
        assert pongs == [(PONG, bytes(125))] * (len(pongs) - 1) + [(PONG, b"newest")]
        answered.append(len(pongs))

    kept: list[int] = []
    answered: list[int] = []
    serve(Peer(script, is_busy))
    assert kept[0] <= MOST_KEPT
    assert answered[0] < PINGS // 2


@EVERYWHERE
def test_f1_drop_in_every_ping_of_a_peer_that_reads_is_answered(serve: Callable[[Peer], None]) -> None:
    """Each of them, in order: as many at once as one read takes, and those that come one after the other."""

    def script(peer: Peer) -> None:
        for pings in ([b"%d" % number for number in range(count)] for count in (200, 1, 1, 1)):
            peer.send(b"".join(build(PING, payload, key=KEY) for payload in pings))
            seen.append([peer.read_frame() for _ in pings] == [(PONG, payload) for payload in pings])

    seen: list[bool] = []
    serve(Peer(script, is_busy=False))
    assert seen == [True] * 4


def test_f1_drop_in_what_else_a_protocol_answers_is_never_dropped() -> None:
    """Above the bound one pong stands for all; CLOSE and SEND_EOF stay behind it; and it is for once only."""
    pongs, pong, bye = Pongs(), [build(PONG, bytes(125))], [build(CLOSE), SEND_EOF]
    assert pongs.admit(pong * 1000, is_idle=True) == [b"".join(pong * 1000)]
    assert pongs.admit(pong * 2, is_idle=False) == [pongs]
    assert pongs.admit([*pong, build(PONG, b"newest"), *bye], is_idle=False) == bye
    assert pongs.take() == build(PONG, b"newest")
    assert pongs.admit([*pong, *bye], is_idle=False) == [pongs, *bye]
    assert pongs.take() == pong[0]
    assert pongs.admit([*pong, *bye], is_idle=True) == [pong[0] + build(CLOSE), SEND_EOF]
