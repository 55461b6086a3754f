"""A handler that closes the asyncio transport of its connection: what was sent before arrives, nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fixtures.certificates import Certificates
from fixtures.compat import Library, assert_same, attempt, show_end, silent, skip_unless_comparable, uri

skip_unless_comparable()

from fixtures.legacy_api import serve  # noqa: E402


async def nothing(library: Library, connection: Any) -> None:
    pass


async def send(library: Library, connection: Any) -> None:
    await connection.send("late")


async def send_much(library: Library, connection: Any) -> None:
    await connection.send(bytes(100_000))


async def send_fragments(library: Library, connection: Any) -> None:
    await connection.send(["la", "te"])


async def ping(library: Library, connection: Any) -> None:
    await connection.ping()


async def broadcast(library: Library, connection: Any) -> None:
    library.server.broadcast([connection], "late")


async def close(library: Library, connection: Any) -> None:
    await connection.close(1001)


LATE = [nothing, send, send_much, send_fragments, ping, broadcast, close]


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("late", LATE, ids=lambda late: late.__name__)
@pytest.mark.parametrize("end", ["close", "abort"])
def test_nothing_leaves_after_the_transport_was_closed(end: str, late: Any, compression: Any) -> None:
    async def scenario(library: Library) -> Any:
        ends: list[Any] = []

        async def handler(connection: Any) -> None:
            await connection.send("early")
            getattr(connection.transport, end)()
            ends.append(await attempt(late(library, connection)))
            await connection.wait_closed()
            ends.append(show_end(connection))

        async with library.serve(handler, compression=compression, logger=silent()) as server:
            connection = await library.connect(server, compression=compression)
            messages = [await attempt(connection.recv()) for _ in range(2)]
            await connection.wait_closed()
        return messages, show_end(connection), ends

    messages, *_ = assert_same(scenario)
    assert messages[0] == "early"


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_transport_that_was_taken_while_the_connection_opened(end: str) -> None:
    async def scenario(library: Library) -> Any:
        transports: list[Any] = []

        def process_request(connection: Any, request: Any) -> None:
            transports.append(connection.transport)

        async def handler(connection: Any) -> None:
            getattr(transports[0], end)()
            await connection.send("late")

        async with library.serve(handler, process_request=process_request, logger=silent()) as server:
            connection = await library.connect(server)
            return await attempt(connection.recv()), show_end(connection)

    assert_same(scenario)


@pytest.mark.parametrize("end", ["close", "abort"])
def test_answers_to_many_messages_arrive_before_the_transport_is_closed(end: str) -> None:
    """They may be gathered: not behind a transport that its owner can close."""

    async def scenario(library: Library) -> Any:
        async def handler(connection: Any) -> None:
            async for message in connection:
                await connection.send(message)
                if message == "last":
                    getattr(connection.transport, end)()
            await connection.send("late")

        async with library.serve(handler, logger=silent()) as server:
            connection = await library.connect(server)
            connection.transport.pause_reading()
            for message in (*"abcdefgh", "last"):
                await connection.send(message)
            connection.transport.resume_reading()
            return [await attempt(connection.recv()) for _ in range(10)], show_end(connection)

    assert_same(scenario)


@pytest.mark.parametrize("end", ["close", "abort"])
def test_legacy_connections(end: str) -> None:
    async def scenario(library: Library) -> Any:
        async def handler(connection: Any) -> None:
            await connection.send("early")
            getattr(connection.transport, end)()
            await attempt(connection.send("late"))

        async with serve(library, handler, logger=silent()) as server:
            connection = await library.connect(server)
            return [await attempt(connection.recv()) for _ in range(2)], show_end(connection)

    assert_same(scenario)


def test_tls_that_calls_back_into_python(tmp_path: Path) -> None:
    """aiofastnet 1.2 crashes there."""
    pytest.importorskip("trustme", reason="trustme makes the certificates and is not installed")

    async def scenario(library: Library) -> Any:
        names: list[str] = []
        contexts = Certificates()  # of our own, because they are changed
        contexts.server.sni_callback = lambda connection, name, context: names.append(name)
        contexts.client.keylog_filename = str(tmp_path / library.root)
        async with library.serve(ssl=contexts.server) as server:
            address = uri(server, scheme="wss").replace("127.0.0.1", "localhost")
            async with library.client.connect(address, ssl=contexts.client, proxy=None) as connection:
                await connection.send("x")
                return await connection.recv(), names, (tmp_path / library.root).read_text() != ""

    assert assert_same(scenario) == ("x", ["localhost"], True)
