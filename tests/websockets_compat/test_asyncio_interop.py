"""Our client with their server and the other way round, plain and over TLS, compressed and not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fixtures.certificates import make_certificates
from fixtures.compat import OURS, THEIRS, Library, run, skip_unless_comparable, uri

skip_unless_comparable()

PAIRS = [(OURS, THEIRS), (THEIRS, OURS), (OURS, OURS)]
MESSAGES: list[Any] = [
    "",
    "é" * 10,
    b"\x00" * 125,
    b"x" * 126,
    b"y" * 65535,
    b"z" * 65536,
    "t" * 300_000,
    b"r" * 900_000,
]


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("compression", [None, "deflate"], ids=["plain", "deflate"])
@pytest.mark.parametrize(("client", "server"), PAIRS, ids=["our client", "our server", "both"])
def test_messages_go_both_ways(client: Library, server: Library, compression: Any, tls: bool) -> None:
    async def scenario() -> None:
        tls_of_server = make_certificates().server if tls else None
        options: dict[str, Any] = {"ssl": make_certificates().client} if tls else {}
        async with server.serve(compression=compression, ssl=tls_of_server) as listening:
            where = uri(listening, scheme="wss" if tls else "ws")
            async with client.client.connect(where, compression=compression, proxy=None, **options) as connection:
                for message in MESSAGES:
                    await connection.send(message)
                    assert await connection.recv() == message
                sending = asyncio.gather(*(connection.send(f"message {number}") for number in range(200)))
                assert [await connection.recv() for _ in range(200)] == [f"message {number}" for number in range(200)]
                await sending
                await connection.send(["frag", "ment", "s"])
                assert await connection.recv() == "fragments"
                assert await (await connection.ping()) > 0
            assert (connection.close_code, connection.state.name) == (1000, "CLOSED")

    run(scenario())


@pytest.mark.parametrize("parameters", range(16))
@pytest.mark.parametrize(("client", "server"), PAIRS[:2], ids=["our client", "our server"])
def test_parameters_of_compression(client: Library, server: Library, parameters: int) -> None:
    """All that permessage-deflate negotiates, asked for by the client."""

    async def scenario() -> None:
        deflate = client.module("extensions.permessage_deflate")
        factory = deflate.ClientPerMessageDeflateFactory(
            server_no_context_takeover=bool(parameters & 1),
            client_no_context_takeover=bool(parameters & 2),
            server_max_window_bits=9 if parameters & 4 else None,
            client_max_window_bits=10 if parameters & 8 else True,
        )
        async with server.serve() as listening:
            async with client.connect(listening, extensions=[factory], compression=None) as connection:
                assert "permessage-deflate" in connection.response.headers["Sec-WebSocket-Extensions"]
                for message in ("a" * 5000, "a" * 5000, b"b" * 70_000, "", "c"):
                    await connection.send(message)
                    assert await connection.recv() == message

    run(scenario())
