"""Opening handshakes on real sockets, once for each line and role; those of picows.websockets, too."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from typing import Any

import pytest
from fixtures.compat import OURS, ask, silent
from fixtures.conformance_handshakes import COMPAT_RESPONSES, EOF, HALF, REQUESTS, RESPONSES, TLS, Request, Response
from fixtures.openings import deflating_factory
from fixtures.peers import RawPeer, accept_value, header_of
from fixtures.places import Place
from fixtures.sansio import show_exception
from fixtures.sockets import Recorder

from picows.errors import WSHandshakeEOFError, WSHandshakeError

needs_drop_in = pytest.mark.skipif(sys.version_info < (3, 11), reason="picows.websockets needs Python 3.11")
REQUEST_LINES = pytest.mark.parametrize("line", REQUESTS.values(), ids=REQUESTS)


async def write_as_far_as_read(peer: RawPeer, data: bytes) -> None:
    """The other side may have refused, and hung up, before it has all of it."""
    peer.write(data)
    with contextlib.suppress(ConnectionError):
        await peer.writer.drain()


@REQUEST_LINES
async def test_server(place: Place, line: Request) -> None:
    peer = await place.raw_client(await place.serve(deflating_factory(lambda: make_recorder(place))))
    await write_as_far_as_read(peer, line.data)
    head = await peer.read_head()
    assert head.startswith(f"HTTP/1.1 {line.status} ".encode())
    if line.status == 101:
        assert header_of(head, "Sec-WebSocket-Extensions") is None
        return
    body = await peer.read_rest()  # a reset would be an exception
    assert header_of(head, "Content-Length") == str(len(body))
    assert line.words in body.decode("ascii")


def make_recorder(place: Place) -> Any:
    """`Recorder` derives from the listener of the process's engine; this one from that of the place."""
    names = ("__init__", "on_ws_connected", "on_ws_frame", "on_ws_disconnected", "next_frame")
    return type("Recorder", (place.engine.WSListener,), {name: vars(Recorder)[name] for name in names})()


async def answer_with(peer: RawPeer, line: Response) -> None:
    """The server's part."""
    head = await peer.read_head()
    await write_as_far_as_read(peer, line.answer_to(accept_value(header_of(head, "Sec-WebSocket-Key") or "")))
    if line.data == TLS:
        peer.hang_up()  # or picows.websockets waits for the end of a line
    with contextlib.suppress(ConnectionError):  # our client may leave much unread
        await peer.read_rest()


@pytest.mark.parametrize("line", RESPONSES.values(), ids=RESPONSES)
async def test_client(place: Place, line: Response) -> None:
    server = await place.raw_server(lambda peer: answer_with(peer, line))
    if line.error is None:
        transport, _ = await place.connect(place.engine.WSListener, server)
        assert transport.response.status == 101
        transport.disconnect()
        return
    with pytest.raises(WSHandshakeError, match=re.escape(line.words)) as caught:
        await place.connect(place.engine.WSListener, server)
    assert type(caught.value) is line.error


async def test_half_a_request(place: Place) -> None:
    server = await place.serve(lambda request: pytest.fail("no request is complete"), open_timeout=0.05)
    peer = await place.raw_client(server)
    peer.write(HALF["server"])
    assert await peer.read_rest() == b""


async def test_half_a_response(place: Place) -> None:
    async def serve(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(HALF["client"])
        peer.hang_up()

    with pytest.raises(WSHandshakeEOFError) as caught:
        await place.connect(place.engine.WSListener, await place.raw_server(serve))
    assert caught.value.raw_header == HALF["client"]


# --- the drop-in ---


@needs_drop_in
@REQUEST_LINES
async def test_drop_in_server(line: Request) -> None:
    pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")

    async def handler(connection: Any) -> None:
        await connection.close()

    # Like websockets it waits for the end of a line, which TLS does not send.
    open_timeout = 0.1 if line.data == TLS else 10
    async with OURS.serve(handler, logger=silent(), open_timeout=open_timeout) as server:
        ends = b"\r\n\r\n" if line.compat_status == 101 else None
        head = (await asyncio.wait_for(ask(server, line.data, ends), 5)).partition(b"\r\n\r\n")[0]
    if line.compat_status == EOF:
        assert head == b""
    else:
        assert head.startswith(f"HTTP/1.1 {line.compat_status} ".encode()), head


@needs_drop_in
@pytest.mark.parametrize("name", RESPONSES)
async def test_drop_in_client(name: str, local: Any) -> None:
    pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
    server = await local.raw_server(lambda peer: answer_with(peer, RESPONSES[name]))
    connecting = OURS.connect(server, compression=None, logger=silent(), close_timeout=1)
    if name not in COMPAT_RESPONSES:
        connection = await connecting
        assert connection.response.status_code == 101
        connection.transport.abort()
        return
    error, words = COMPAT_RESPONSES[name]
    with pytest.raises(OURS.exceptions.InvalidHandshake) as caught:
        await connecting
    assert type(caught.value).__name__ == error
    assert words in (show_exception(caught.value) or "")
