"""What connections are without being made for it: handshakes that nobody looks at, contexts that idle.

The server accepts ordinary requests from their bytes, and frees the contexts of permessage-deflate in silence. Nobody
may notice either: what handlers see is compared with websockets, and peers keep all of their contexts.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from fixtures.compat import BOTH, OURS, REQUEST, UPGRADE, Library, ask, assert_same, run, skip_unless_comparable

skip_unless_comparable()

END = b"\r\n\r\n"
GET = REQUEST + UPGRADE
OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
REQUESTS = {
    "plain": GET,
    "any case": GET.lower().replace(b"get /p http/1.1", b"GET /p?q=1 HTTP/1.1").replace(b"host:", b"HOST:   "),
    "origin": GET + b"oRIGIN: http://a \r\n",
    "two origins": GET + b"Origin: a\r\nOrigin: b\r\n",
    "deflate": GET + OFFER,
    "deflate in two": GET + b"sec-websocket-extensions: x\r\n" + OFFER,
    "bad extensions": GET + b"Sec-WebSocket-Extensions: @\r\n",
    "subprotocol": GET + b"Sec-WebSocket-Protocol: a\r\n",
    "bad subprotocol": GET + b"Sec-WebSocket-Protocol: @\r\n",
    "names in values": GET + b"X: Origin: a Sec-WebSocket-Extensions: @\r\nX: \xe4\r\n",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "no compression": {"compression": None, "server_header": None},
    "a hook": {"process_request": lambda connection, request: None},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_what_handlers_see(request_: bytes, options: Any) -> None:
    async def scenario(library: Library) -> Any:
        seen: list[Any] = []

        async def handler(connection: Any) -> None:
            assert connection.request is connection.request
            assert connection.response is connection.response
            assert connection.logger.extra["websocket"].request is connection.request
            request, response, protocol = connection.request, connection.response, connection.protocol
            del response.headers["Date"]
            seen.extend(
                (
                    (request.method, request.path, request.protocol, list(request.headers.raw_items())),
                    (response.status_code, response.reason_phrase, list(response.headers.raw_items()), response.body),
                    (protocol.origin, protocol.subprotocol, repr(protocol.extensions), protocol.state.name),
                )
            )

        async with library.serve(handler, **options) as server:
            answer = await ask(server, request_ + b"\r\n", END)
        return answer, seen

    answer, seen = assert_same(scenario)
    assert bool(seen) is (b" 101 " in answer)


def test_a_request_in_pieces() -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve() as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            for at in range(0, len(GET), 60):
                writer.write(GET[at : at + 60])
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(b"\r\n\x81\x81\0\0\0\0x")
            answer = await reader.readuntil(b"\x81\x01x")
            writer.close()
        return answer.split(b"\r\n")[0]

    assert_same(scenario)


async def forgotten(connection: Any) -> bool:
    """Wait until an idle connection has no contexts."""
    codec = connection._deflate
    async with asyncio.timeout(10):
        while codec._compressor is not None or codec._inflater is not None:
            await asyncio.sleep(0.01)
    return True


@pytest.mark.parametrize("peer", BOTH, ids=str)
def test_idle_contexts_are_freed_and_missed_by_nobody(peer: Library) -> None:
    """The peer refers to messages from before, and we to what it has received before."""
    text = "".join(chr(97 + number * number % 26) for number in range(3000))
    sizes: list[int] = []

    async def handler(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)
            assert await forgotten(connection)
            sizes.append(len(connection._deflate._sent))

    async def scenario() -> None:
        async with OURS.serve(handler) as server, peer.connect(server) as connection:
            for _ in range(4):
                await connection.send(text)
                assert await connection.recv() == text
            while len(sizes) < 4:
                await asyncio.sleep(0.01)

    run(scenario())
    assert sizes == [3000, 4096, 4096, 4096]


def test_what_was_sent_before_an_idle_time_still_compresses() -> None:
    payload = random.Random(1).randbytes(2000)
    sizes: list[int] = []

    async def handler(connection: Any) -> None:
        compress = connection._deflate.compress
        sizes.append(len(compress(payload)))
        assert await forgotten(connection)
        sizes.append(len(compress(payload)))

    async def scenario() -> None:
        async with OURS.serve(handler) as server, OURS.connect(server) as connection:
            await connection.wait_closed()

    run(scenario())
    assert sizes[0] > 2000
    assert sizes[1] < 100
