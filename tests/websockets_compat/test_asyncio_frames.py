"""The slow way of frames: logs at DEBUG, and extensions of the user's, on websockets and on ours."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from fixtures.compat import Library, Lines, assert_same, attempt, show_end, silent, skip_unless_comparable

skip_unless_comparable()


def frames(lines: Lines, heads: bool = False) -> list[str]:
    """The lines about frames and states. (EOF is not among ours: the engine closes where they close half.)"""
    wanted = [line for line in lines.lines if line[6:8] in ("> ", "< ", "= ", "% ", "! ", "- ")]
    return [line for line in wanted if (heads or " HTTP/" not in line) and not line.endswith("EOF")]


def without_headers(lines: list[str]) -> list[str]:
    return [line for line in lines if line[6:8] == "= " or "[" in line]


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_the_log_of_frames(compression: Any) -> None:
    async def scenario(library: Library) -> Any:
        client, server = Lines(logging.DEBUG), Lines(logging.DEBUG)
        options = {"compression": compression, "ping_interval": None}
        async with library.serve(logger=server.logger, **options) as listening:
            async with library.connect(listening, logger=client.logger, **options) as connection:
                received = []
                for message in ("hello", b"\x00\xff", "x" * 200, ["frag", "ments"]):
                    await connection.send(message)
                    received.append(await connection.recv())
                await (await connection.ping(b"ping"))
                await connection.pong(b"pong")
                await connection.close(1001, "bye")
        return received, without_headers(frames(client)), without_headers(frames(server))

    assert_same(scenario)


def test_the_log_of_heads() -> None:
    async def scenario(library: Library) -> Any:
        lines = Lines(logging.DEBUG)
        async with library.serve() as server:
            async with library.connect(server, "/path", logger=lines.logger, compression=None):
                pass
        hidden = ("Sec-WebSocket-Key", "Date", "Sec-WebSocket-Accept")
        heads = [line for line in frames(lines, heads=True) if line[6:8] != "= " and "[" not in line]
        return [line for line in heads if not any(name in line for name in hidden)]

    assert_same(scenario)


def test_a_violation_while_debugging() -> None:
    async def scenario(library: Library) -> Any:
        lines = Lines(logging.DEBUG)

        async def send(connection: Any) -> None:
            await connection.send(b"x" * 5)
            await connection.wait_closed()

        async with library.serve(send, logger=silent()) as server:
            connection = await library.connect(server, logger=lines.logger, max_size=4, compression=None)
            return await attempt(connection.recv()), show_end(connection)

    assert_same(scenario)


def make_extension(library: Library, log: list[str]) -> tuple[Any, Any]:
    """Factories of an extension that turns payloads round and says so in RSV2."""
    base = library.module("extensions.base")
    frames = library.module("frames")

    class Reverse(base.Extension):  # type: ignore[misc]
        name = "x-reverse"

        def _turn(self, frame: Any, sets: bool) -> Any:
            if frame.opcode in frames.CTRL_OPCODES:
                return frame
            return frames.Frame(frame.opcode, bytes(frame.data)[::-1], frame.fin, frame.rsv1, sets, frame.rsv3)

        def encode(self, frame: Any) -> Any:
            log.append(f"encode {frame.opcode.name} {bytes(frame.data)!r}")
            return self._turn(frame, True)

        def decode(self, frame: Any, *, max_size: Any = None) -> Any:
            log.append(f"decode {frame.opcode.name} {bytes(frame.data)!r} {frame.rsv2} {max_size}")
            return self._turn(frame, False)

    class ClientFactory(base.ClientExtensionFactory):  # type: ignore[misc]
        name = "x-reverse"

        def get_request_params(self) -> Any:
            return [("level", "1")]

        def process_response_params(self, params: Any, accepted_extensions: Any) -> Any:
            return Reverse()

    class ServerFactory(base.ServerExtensionFactory):  # type: ignore[misc]
        name = "x-reverse"

        def process_request_params(self, params: Any, accepted_extensions: Any) -> Any:
            return params, Reverse()

    return ClientFactory(), ServerFactory()


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_an_extension_of_the_users(compression: Any) -> None:
    async def scenario(library: Library) -> Any:
        log: list[str] = []
        client, server = make_extension(library, log)
        options: dict[str, Any] = {"compression": compression, "ping_interval": None}
        async with library.serve(extensions=[server], **options) as listening:
            async with library.connect(listening, extensions=[client], **options) as connection:
                received = []
                for message in ("hello", b"bytes", "", "x" * 1000):
                    await connection.send(message)
                    received.append(await connection.recv())
                pong = await connection.ping(b"ping")
                await pong
                header = connection.response.headers["Sec-WebSocket-Extensions"]
        return received, header, [line for line in log if "CLOSE" not in line and "P" not in line[7:8]]

    theirs_and_ours = assert_same(scenario)
    assert theirs_and_ours[0] == ["hello", b"bytes", "", "x" * 1000]


def test_an_extension_that_fails() -> None:
    """Whoever receives learns of the error, and so does the log; the peer does not."""

    async def scenario(library: Library) -> Any:
        lines = Lines(logging.ERROR)
        client, server = make_extension(library, [])

        class Broken(type(server.process_request_params([], [])[1])):  # type: ignore[misc]
            def decode(self, frame: Any, *, max_size: Any = None) -> Any:
                raise ZeroDivisionError("of the user's")

        server.process_request_params = lambda params, accepted_extensions: (params, Broken())
        ended = asyncio.get_running_loop().create_future()

        async def receive(connection: Any) -> None:
            try:
                await connection.recv()
            except Exception as exc:
                ended.set_result((str(exc), repr(exc.__cause__)))

        options: dict[str, Any] = {"compression": None, "ping_interval": None}
        async with library.serve(receive, extensions=[server], logger=lines.logger, **options) as listening:
            async with library.connect(listening, extensions=[client], **options) as connection:
                await connection.send("hello")
                return await attempt(connection.recv()), show_end(connection), await ended, lines.lines

    theirs_and_ours = assert_same(scenario)
    assert theirs_and_ours[2][1] == """ZeroDivisionError("of the user's")"""
