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

import pytest
from fixtures.conformance_frames import DEFLATED, LIMIT, PLAIN, answer_of, encode
from fixtures.conformance_handshakes import REQUESTS
from fixtures.peers import OPENING_KEY, accept_value, header_of, request_head
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
#: What ends with RST today, in either engine. Lines leave these lists when we read on until the peer's FIN.
RESET_BY_SERVER = frozenset(CLOSING)
RESET_BY_CLIENT = frozenset(FAILING)
RESET_BY_REFUSAL: frozenset[str] = frozenset()


def lines(names: Any, resets: frozenset[str]) -> Any:
    reason = "O1: the socket is closed while input is unread, which sends RST instead of FIN"
    mark = pytest.mark.xfail(reason=reason, raises=ConnectionResetError, strict=False)
    params = [pytest.param(name, marks=[mark] if name in resets else []) for name in names]
    return pytest.mark.parametrize("name", params)


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

    async def overfill_at_once(self, data: bytes) -> bytes:
        """What the other side says, which hangs up as soon as it has read the beginning of this."""
        self.fill(data)
        return await self.read_all()

    async def overfill_at_the_end(self, data: bytes, delay_s: float) -> bytes:
        """What the other side says, which then waits so long before it hangs up: what it did not want comes last."""
        self.sock.send(data)
        received = await self.read()
        self.loop.call_at(self.loop.time(), self.fill)
        time.sleep(2 * delay_s)  # now two timers are due, this one first, and nothing is read in between
        return received + await self.read_all()

    async def read_all(self) -> bytes:
        received = b""
        while piece := await self.read():
            received += piece
        return received


def make_listener(place: Place, name: str, client: bool) -> Any:
    codec = DeflateCodec(DeflateParameters(), client) if name in DEFLATED else None
    return place.engine.WSMessageListener(max_message_size=LIMIT, max_queue=None, codec=codec)


async def converse(peer: Peer, name: str, to_client: bool) -> None:
    """One CLOSE, with the code of the table; then the end."""
    answer, data = answer_of(ALL[name], "messages"), encode(ALL[name], to_client)
    if answer.is_failure:
        received = await peer.overfill_at_the_end(data, FAREWELL_S)
    else:
        received = await peer.overfill_at_once(data)
    (frame,) = take_apart(received)
    assert frame.opcode == CLOSE
    assert int.from_bytes(frame.payload[:2], "big") == answer.code


@lines(CLOSING, RESET_BY_SERVER)
async def test_server(place: Place, name: str) -> None:
    listener = make_listener(place, name, client=False)
    server = await place.serve(lambda request: listener)
    with socket.create_connection(("127.0.0.1", port_of(server))) as sock:
        peer = Peer(sock, is_client=True)
        sock.send(request_head())
        await peer.read_head()
        await converse(peer, name, to_client=False)


@lines(FAILING, RESET_BY_CLIENT)
async def test_client(place: Place, name: str) -> None:
    listener = make_listener(place, name, client=True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
        connecting = asyncio.ensure_future(place.connect(lambda: listener, url))
        await asyncio.sleep(0)
        listening.setblocking(False)
        sock, _ = await asyncio.get_running_loop().sock_accept(listening)
        with sock:
            peer = Peer(sock, is_client=False)
            key = header_of(await peer.read_head(), "Sec-WebSocket-Key")
            head = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            sock.send(f"{head}Sec-WebSocket-Accept: {accept_value(key or OPENING_KEY)}\r\n\r\n".encode())
            await connecting
            await converse(peer, name, to_client=True)


@lines(REFUSED, RESET_BY_REFUSAL)
async def test_refusal(place: Place, name: str) -> None:
    line = REFUSED[name]
    server = await place.serve(lambda request: place.engine.WSListener())
    with socket.create_connection(("127.0.0.1", port_of(server))) as sock:
        answer = await Peer(sock, is_client=True).overfill_at_once(line.data)
    assert answer.startswith(f"HTTP/1.1 {line.status} ".encode())
