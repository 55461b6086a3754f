"""What programs do to connections: attributes of their own, and subclasses, on websockets and on ours."""

from __future__ import annotations

from typing import Any

import pytest
from fixtures.compat import Library, assert_same, attempt, silent, skip_unless_comparable

skip_unless_comparable()

from fixtures import legacy_api  # noqa: E402

ATTRIBUTES = ["id", "latency", "logger", "ping_interval", "ping_timeout", "close_timeout", "username", "of_the_program"]
READ_ONLY = ["state", "subprotocol", "close_code", "close_reason", "remote_address", "local_address"]


def assign(connection: Any, names: list[str]) -> list[Any]:
    """What each attribute is after something was assigned to it, or that this is refused."""
    found: list[Any] = []
    for name in names:
        try:
            setattr(connection, name, silent() if name == "logger" else 5)
            found.append(type(getattr(connection, name)))
        except AttributeError:
            found.append("refused")
    return found


@pytest.mark.parametrize("names", [ATTRIBUTES, READ_ONLY], ids=["writable", "read-only"])
def test_attributes(names: list[str]) -> None:
    async def scenario(library: Library) -> Any:
        found: list[Any] = []

        async def handler(connection: Any) -> None:
            found.append(assign(connection, names))
            await connection.send("x")

        async with library.serve(handler) as server, library.connect(server) as connection:
            found.append(assign(connection, names))
            return found, await connection.recv()

    assert_same(scenario)


def test_the_id_of_a_legacy_connection() -> None:
    async def scenario(library: Library) -> Any:
        async with legacy_api.serve(library) as server:
            async with legacy_api.connect(library, server) as connection:
                return assign(connection, ["id", "of_the_program"])

    assert_same(scenario)


def test_overridden_methods_of_a_client() -> None:
    async def scenario(library: Library) -> Any:
        called: list[Any] = []

        class Connection(library.client.ClientConnection):  # type: ignore[misc,name-defined]
            async def handshake(self, *args: Any, **kwargs: Any) -> None:
                called.append("handshake")
                await super().handshake(*args, **kwargs)

            async def __aenter__(self) -> Any:
                called.append("enter")
                return await super().__aenter__()

            async def __aexit__(self, *args: Any) -> None:
                called.append("exit")
                await super().__aexit__(*args)

            async def send(self, message: Any, text: Any = None) -> None:
                called.append("send")
                await super().send(message, text=text)

            async def recv(self, decode: Any = None) -> Any:
                called.append("recv")
                return await super().recv(decode)

            async def ping(self, data: Any = None) -> Any:
                called.append("ping")
                return await super().ping(data)

        async with library.serve() as server:
            async with library.connect(server, create_connection=Connection) as connection:
                await connection.send("a")
                async for message in connection:
                    called.append(message)
                    break
                await (await connection.ping())
            return called, await attempt(connection.recv())

    assert_same(scenario)
