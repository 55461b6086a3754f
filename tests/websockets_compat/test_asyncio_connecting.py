"""Who uses a connection before it is open, in a task that a hook has started, waits for its end.

websockets gives up after `close_timeout` and hangs up, whatever has become of the connection by then: of calls that
send, only what they raise is compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fixtures.compat import OURS, Library, assert_same, attempt, run, show_end, silent, skip_unless_comparable

skip_unless_comparable()

Use = Callable[[Any], Awaitable[Any]]


async def stream(connection: Any) -> list[Any]:
    return [fragment async for fragment in connection.recv_streaming()]


WAITING: dict[str, Use] = {"wait_closed": lambda connection: connection.wait_closed(), "recv_streaming": stream}
WAITING["recv"] = lambda connection: connection.recv()
SENDING: dict[str, Use] = {
    "ping": lambda connection: connection.ping(),
    "pong": lambda connection: connection.pong(),
    "send": lambda connection: connection.send("x"),
}
REFUSED: dict[str, Use] = {
    "dict": lambda connection: connection.send({}),
    "ping": lambda connection: connection.ping(1),
}


async def use_early(library: Library, use: Use, status: int | None) -> Any:
    """What comes of it, and how the connection ends; it is refused with `status`, if that is not None."""
    tasks: list[asyncio.Task[Any]] = []

    async def process_request(connection: Any, request: Any) -> Any:
        async def observed() -> Any:
            return await attempt(use(connection)), show_end(connection)

        tasks.append(asyncio.create_task(observed()))
        await asyncio.sleep(0)
        assert connection.state.name == "CONNECTING"
        return None if status is None else connection.respond(status, "no\n")

    async def handler(connection: Any) -> None:
        await connection.close(1001, "bye")

    async with library.serve(handler, process_request=process_request, logger=silent()) as server:
        try:
            async with library.connect(server) as connection:
                await connection.wait_closed()
        except library.exceptions.InvalidStatus:
            pass
        return await tasks[0]


@pytest.mark.parametrize("use", WAITING.values(), ids=WAITING)
@pytest.mark.parametrize("status", [None, 403])
def test_waiting(use: Use, status: int | None) -> None:
    assert_same(use_early, use, status)


@pytest.mark.parametrize("use", SENDING.values(), ids=SENDING)
@pytest.mark.parametrize("status", [None, 403])
def test_sending(use: Use, status: int | None) -> None:
    """As `recv`: nothing can be sent, and the end says what has become of the connection."""
    expected = run(use_early(OURS, WAITING["recv"], status))
    assert run(use_early(OURS, use, status)) == expected


@pytest.mark.parametrize("use", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_sent_is_refused_at_once(use: Use) -> None:
    async def scenario(library: Library) -> Any:
        return (await use_early(library, use, None))[0]

    assert_same(scenario)


def test_a_client_that_goes_away() -> None:
    """Its request was not complete."""

    async def scenario(library: Library) -> Any:
        made: list[Any] = []

        def create_connection(*args: Any, **options: Any) -> Any:
            made.append(library.server.ServerConnection(*args, **options))
            return made[-1]

        async with library.serve(create_connection=create_connection, logger=silent()) as server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"GET / HTTP/1.1\r\n")
            writer.close()
            while not made:
                await asyncio.sleep(0)
            await made[0].wait_closed()
            return show_end(made[0]), await attempt(made[0].recv())

    assert_same(scenario)
