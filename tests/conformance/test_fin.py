"""O1: who has sent more than we wanted to read still gets our CLOSE or our refusal, and then FIN, not a reset.

A socket that is closed while input is unread sends RST, and that may overtake what we have said. So the peer of these
tests fills the connection: together with what we answer, or right before the time has come to hang up.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Any

from fixtures.conformance_frames import DEFLATED, LIMIT, PLAIN, answer_of, encode
from fixtures.conformance_handshakes import REQUESTS
from fixtures.peers import accept_value, header_of, request_head
from fixtures.places import Place
from fixtures.sockets import port_of
from fixtures.wire import BINARY, CLOSE, KEY, build, take_apart

from picows.deflate import DeflateCodec, DeflateParameters

MOST = 4 << 20
#: How long we wait between our CLOSE and the end.
FAREWELL_S = 0.01
ALL = {**PLAIN, **DEFLATED}
CLOSING = [name for name, case in ALL.items() if answer_of(case, "messages").code is not None]
#: A client does not hang up after a closing handshake, the server does.
FAILING = [name for name in CLOSING if answer_of(ALL[name], "messages").is_failure]
REFUSED = {name: line for name, line in REQUESTS.items() if line.status != 101}
RESET_BY_SERVER: frozenset[str] = frozenset()
RESET_BY_CLIENT: frozenset[str] = frozenset()
RESET_BY_REFUSAL: frozenset[str] = frozenset()


class Peer:
    """A socket that is written without asyncio, which would give up reading when writing fails."""

    def __init__(self, sock: socket.socket, is_client: bool) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self.more = build(BINARY, bytes(65536), key=KEY if is_client else None)
        sock.setblocking(False)

    def fill(self, data: bytes = b"") -> None:
        """Write, and then what nobody wants, as much as the kernel takes."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # the latter says nothing about how it ended
            sent = self.sock.send(data) if data else 0
            while sent < MOST:
                sent += self.sock.send(self.more)

    async def read(self) -> bytes:
        return await asyncio.wait_for(self.loop.sock_recv(self.sock, 65536), 5)

    async def read_head(self) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await self.read()
        return head

    async def overfill_at_once(self, data: bytes) -> tuple[bytes, bool]:
        """What the other side says, which hangs up as soon as it has read the beginning of this; True if by a reset."""
        self.fill(data)
        return await self.read_all()

    async def overfill_at_the_end(self, data: bytes, delay_s: float) -> tuple[bytes, bool]:
        """The same of a side that waits so long before it hangs up: what it did not want comes last."""
        self.sock.send(data)
        received = await self.read()
        self.loop.call_at(self.loop.time(), self.fill)
        time.sleep(2 * delay_s)  # now two timers are due, this one first, and nothing is read in between
        rest, is_reset = await self.read_all()
        return received + rest, is_reset

    async def read_all(self) -> tuple[bytes, bool]:
        received = b""
        try:
            while piece := await self.read():
                received += piece
        except ConnectionResetError:
            return received, True
        return received, False


def make_listener(place: Place, name: str, client: bool) -> Any:
    codec = DeflateCodec(DeflateParameters(), client) if name in DEFLATED else None
    return place.engine.WSMessageListener(max_message_size=LIMIT, max_queue=None, codec=codec)


def constant(listener: Any) -> Any:
    """A listener factory."""
    return lambda *args: listener


async def converse(peer: Peer, name: str, to_client: bool) -> bool:
    """One CLOSE, with the code of the table; then the end. True if that is a reset."""
    answer, data = answer_of(ALL[name], "messages"), encode(ALL[name], to_client)
    if answer.is_failure:
        received, is_reset = await peer.overfill_at_the_end(data, FAREWELL_S)
    else:
        received, is_reset = await peer.overfill_at_once(data)
    (frame,) = take_apart(received)
    assert frame.opcode == CLOSE
    assert int.from_bytes(frame.payload[:2], "big") == answer.code
    return is_reset


async def test_server(place: Place) -> None:
    resets = set()
    for name in CLOSING:
        listener = make_listener(place, name, client=False)
        server = await place.serve(constant(listener))
        with socket.create_connection(("127.0.0.1", port_of(server))) as sock:
            peer = Peer(sock, is_client=True)
            sock.send(request_head())
            await peer.read_head()
            if await converse(peer, name, to_client=False):
                resets.add(name)
    assert resets <= RESET_BY_SERVER


async def accept(peer: Peer) -> None:
    """Answer the request."""
    key = header_of(await peer.read_head(), "Sec-WebSocket-Key")
    head = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    peer.sock.send(f"{head}Sec-WebSocket-Accept: {accept_value(str(key))}\r\n\r\n".encode())


async def test_client(place: Place) -> None:
    resets = set()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
        for name in FAILING:
            listener = make_listener(place, name, client=True)
            connecting = asyncio.ensure_future(place.connect(constant(listener), url))
            sock, _ = await asyncio.get_running_loop().sock_accept(listening)
            with sock:
                peer = Peer(sock, is_client=False)
                await accept(peer)
                await connecting
                if await converse(peer, name, to_client=True):
                    resets.add(name)
    assert resets <= RESET_BY_CLIENT


async def test_refusal(place: Place) -> None:
    resets = set()
    server = await place.serve(lambda request: place.engine.WSListener())
    for name, line in REFUSED.items():
        with socket.create_connection(("127.0.0.1", port_of(server))) as sock:
            answer, is_reset = await Peer(sock, is_client=True).overfill_at_once(line.data)
        assert answer.startswith(f"HTTP/1.1 {line.status} ".encode()), name
        if is_reset:
            resets.add(name)
    assert resets <= RESET_BY_REFUSAL
