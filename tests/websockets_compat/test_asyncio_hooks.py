"""What becomes of hooks and of clients when one of them fails: answers that cannot be sent, clients that leave."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from fixtures.compat import (
    OURS,
    REQUEST,
    UPGRADE,
    Library,
    Lines,
    ask,
    assert_same,
    clean,
    run,
    silent,
    skip_unless_comparable,
)

skip_unless_comparable()

GET = REQUEST + UPGRADE + b"\r\n"
END = b"\r\n\r\n"


def hook_of(function: Callable[..., Any], is_async: bool) -> Callable[..., Any]:
    """The function as a hook, or as a coroutine function."""

    async def later(*args: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args)

    return later if is_async else function


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("where", ["process_request", "process_response"])
def test_a_response_that_cannot_be_sent(where: str, is_async: bool) -> None:
    async def scenario(library: Library) -> Any:
        http11, headers = library.module("http11"), library.module("datastructures").Headers

        def process_request(connection: Any, request: Any) -> Any:
            return http11.Response(200, "OK", headers(), "text")

        def process_response(connection: Any, request: Any, response: Any) -> None:
            response.headers.set_insecure("X", "\u20ac")

        lines = Lines()
        hooks = {where: hook_of({"process_request": process_request}.get(where, process_response), is_async)}
        async with library.serve(logger=lines.logger, server_header=None, **hooks) as server:
            answer = await ask(server, GET)
        return answer, sorted(lines.lines)

    answer, lines = assert_same(scenario)
    assert answer == b""
    assert any("unexpected internal error" in line for line in lines)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_process_response_sees_what_the_error_of_process_request_became(is_async: bool) -> None:
    async def scenario(library: Library) -> Any:
        def process_request(connection: Any, request: Any) -> None:
            raise LookupError("of the hook")

        def process_response(connection: Any, request: Any, response: Any) -> None:
            assert connection.response is response
            response.headers["X-Status"] = str(response.status_code)

        lines = Lines()
        hooks = hook_of(process_request, is_async), hook_of(process_response, is_async)
        options = {"process_request": hooks[0], "process_response": hooks[1], "logger": lines.logger}
        async with library.serve(server_header="me", **options) as server:
            answer = await ask(server, GET)
        return answer, sorted(lines.lines)

    answer, _ = assert_same(scenario)
    assert b"X-Status: 500\r\n" in answer


class NoException(BaseException):
    """What pytest.fail and other libraries raise: no `except Exception` stops it."""


@pytest.mark.parametrize("where", ["process_request", "process_response"])
@pytest.mark.parametrize(
    ("error", "is_async"),
    [(NoException, False), (NoException, True), (asyncio.CancelledError, False)],
    ids=["sync-BaseException", "async-BaseException", "sync-CancelledError"],
)
def test_a_client_is_answered_whatever_a_hook_raises(where: str, error: type[BaseException], is_async: bool) -> None:
    """websockets lets it wait, until its `open_timeout`, and longer."""

    def failing(*args: Any) -> None:
        raise error

    async def scenario() -> bytes:
        async with OURS.serve(logger=lines.logger, **{where: hook_of(failing, is_async)}) as server:
            return await ask(server, GET)

    lines = Lines()
    assert run(scenario()).startswith(b"HTTP/1.1 500 ")
    assert any(f"ERROR {where} failed" in line for line in lines.lines)


@pytest.mark.parametrize("bug", [ValueError("of the factory"), KeyError("x")], ids=["ValueError", "KeyError"])
def test_a_bug_of_an_extension_is_answered_and_logged(bug: Exception) -> None:
    async def scenario(library: Library) -> Any:
        class Factory(library.module("extensions.base").ServerExtensionFactory):  # type: ignore[misc]
            name = "x-bug"

            def process_request_params(self, params: Any, accepted: Any) -> Any:
                raise bug

        lines = Lines()
        request = REQUEST + UPGRADE + b"Sec-WebSocket-Extensions: x-bug\r\n\r\n"
        async with library.serve(logger=lines.logger, extensions=[Factory()], server_header="me") as server:
            answer = await ask(server, request)
        return answer, sorted(lines.lines)

    answer, _ = assert_same(scenario)
    assert answer.startswith(b"HTTP/1.1 500 ")


# --- clients that leave while a hook is awaited ---


def leave(writer: asyncio.StreamWriter, by: str) -> None:
    """Close a connection, or have it reset."""
    if by == "reset":
        linger_0 = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_0)
    if by == "half":
        writer.write_eof()
    else:
        writer.transport.abort()


class _Bug(Exception):
    """What a hook raises."""


def answered(connection: Any, outcome: str) -> Any:
    """What a hook makes of a request."""
    if outcome == "raises":
        raise _Bug
    return connection.respond(403, "no") if outcome == "refuses" else None


@pytest.mark.parametrize("by", ["end", "half", "reset"])
@pytest.mark.parametrize("outcome", ["accepts", "refuses", "raises"])
@pytest.mark.parametrize("during", ["process_request", "process_response"])
def test_a_client_that_leaves_during_a_hook(during: str, outcome: str, by: str) -> None:
    async def scenario(library: Library) -> Any:
        seen: list[Any] = []
        begun, ended = asyncio.Event(), asyncio.Event()

        async def outlive(connection: Any) -> Any:
            begun.set()
            while connection.state.name != "CLOSED":
                await asyncio.sleep(0)
            seen.append((connection.close_code, connection.close_reason))
            ended.set()
            return answered(connection, outcome)

        async def process_request(connection: Any, request: Any) -> Any:
            return await outlive(connection) if during == "process_request" else None

        async def process_response(connection: Any, request: Any, response: Any) -> Any:
            seen.append(response.status_code)
            return await outlive(connection) if during == "process_response" else None

        async def handler(connection: Any) -> None:
            seen.append("a handler ran")

        lines = Lines()
        hooks = {"process_request": process_request, "process_response": process_response}
        async with library.serve(handler, logger=lines.logger, **hooks) as server:
            port = server.sockets[0].getsockname()[1]
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            await begun.wait()
            leave(writer, by)
            await ended.wait()
            while during == "process_request" and len(seen) < 2:
                await asyncio.sleep(0)
            writer.close()
        return seen, sorted(lines.lines)

    seen, lines = assert_same(scenario)
    assert (1006, "") in seen
    assert "a handler ran" not in seen
    assert "INFO connection closed" in lines
    assert "INFO connection open" not in lines


def test_a_hook_that_cuts_its_client_off() -> None:
    async def scenario(library: Library) -> Any:
        async def process_request(connection: Any, request: Any) -> None:
            connection.transport.abort()
            while connection.state.name != "CLOSED":
                await asyncio.sleep(0)

        lines = Lines()
        async with library.serve(process_request=process_request, logger=lines.logger) as server:
            answer = await ask(server, GET)
        return answer, sorted(lines.lines)

    assert_same(scenario)


def test_a_hook_that_takes_too_long() -> None:
    async def scenario(library: Library) -> Any:
        seen: list[str] = []

        async def process_request(connection: Any, request: Any) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        lines = Lines()
        async with library.serve(process_request=process_request, open_timeout=0.02, logger=lines.logger) as server:
            answer = await ask(server, GET)
        return answer, seen, sorted(lines.lines)

    assert_same(scenario)


# --- a server that closes while a hook is awaited ---


@pytest.mark.parametrize("close_connections", [True, False])
@pytest.mark.parametrize("outcome", ["accepts", "refuses", "raises"])
@pytest.mark.parametrize("during", ["process_request", "process_response"])
def test_closing_the_server_lets_hooks_finish(during: str, outcome: str, close_connections: bool) -> None:
    async def scenario(library: Library) -> Any:
        seen: list[Any] = []
        has_begun, go_on = asyncio.Event(), asyncio.Event()

        async def decide(connection: Any) -> Any:
            has_begun.set()
            await go_on.wait()
            seen.append(connection)
            return answered(connection, outcome)

        async def process_request(connection: Any, request: Any) -> Any:
            return await decide(connection) if during == "process_request" else None

        async def process_response(connection: Any, request: Any, response: Any) -> Any:
            seen.append(response.status_code)
            return await decide(connection) if during == "process_response" else None

        async def handler(connection: Any) -> None:
            seen.append("a handler ran")

        lines = Lines()
        server = await library.serve(
            handler, logger=lines.logger, process_request=process_request, process_response=process_response
        )
        asking = asyncio.ensure_future(ask(server, GET))
        await has_begun.wait()
        server.close(close_connections)
        closed = asyncio.ensure_future(server.wait_closed())
        await asyncio.sleep(0)
        was_closed = closed.done()
        go_on.set()
        answer = await asking
        await closed
        seen = [each if isinstance(each, (int, str)) else each.response.status_code for each in seen]
        return answer, seen, was_closed, sorted(lines.lines)

    answer, _, was_closed, _ = assert_same(scenario)
    assert answer.startswith(
        {"accepts": b"HTTP/1.1 503 ", "refuses": b"HTTP/1.1 403 ", "raises": b"HTTP/1.1 500 "}[outcome]
    )
    assert not was_closed


def test_closing_the_server_waits_for_hooks_of_clients_that_have_left() -> None:
    async def scenario(library: Library) -> Any:
        lines = Lines()
        has_left, go_on = asyncio.Event(), asyncio.Event()

        async def process_request(connection: Any, request: Any) -> None:
            while connection.state.name != "CLOSED":
                await asyncio.sleep(0)
            has_left.set()
            await go_on.wait()
            lines.logger.info("the hook has ended")

        server = await library.serve(process_request=process_request, logger=lines.logger)
        _, writer = await ask_and_send_ahead(server, b"")
        writer.close()
        await has_left.wait()
        server.close()
        go_on.set()
        await server.wait_closed()
        return [clean(line) for line in lines.lines[1:]]

    assert assert_same(scenario)[-2:] == ["INFO the hook has ended", "INFO server closed"]


async def ask_and_send_ahead(server: Any, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    writer.write(GET + data)
    return reader, writer


# --- ours alone: what is read meanwhile ---

MESSAGE = b"x" * 60_000
FRAME = b"\x82\xfe" + struct.pack("!H", len(MESSAGE)) + b"\0\0\0\0" + MESSAGE


def test_reading_pauses_when_too_much_is_sent_ahead() -> None:
    async def scenario() -> None:
        sizes: list[int] = []
        is_complete = asyncio.Event()

        async def process_request(connection: Any, request: Any) -> None:
            while connection.transport.is_reading():
                await asyncio.sleep(0)

        async def handler(connection: Any) -> None:
            async for message in connection:
                sizes.append(len(message))
                if len(sizes) == 50:
                    is_complete.set()

        async with OURS.serve(handler, process_request=process_request, logger=silent()) as server:
            _, writer = await ask_and_send_ahead(server, FRAME * 50)
            await is_complete.wait()
            writer.close()
        assert sizes == [len(MESSAGE)] * 50

    run(scenario())


@pytest.mark.parametrize("ahead", [0, 50], ids=["nothing sent ahead", "too much sent ahead"])
def test_closing_the_server_sees_clients_of_hooks_hang_up(ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picows.websockets.asyncio.accepting.LINGER_S", 3600.0)  # what the test waits for without it

    async def scenario() -> bytes:
        is_waiting, go_on = asyncio.Event(), asyncio.Event()

        async def process_request(connection: Any, request: Any) -> None:
            while ahead and connection.transport.is_reading():
                await asyncio.sleep(0)
            is_waiting.set()
            await go_on.wait()

        server = await OURS.serve(process_request=process_request, logger=silent())
        reader, writer = await ask_and_send_ahead(server, FRAME * ahead)
        await is_waiting.wait()
        server.close()
        go_on.set()
        answer = await reader.readuntil(END)
        writer.close()
        await server.wait_closed()
        return answer

    assert run(scenario()).startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize("closes", [False, True], ids=["serving", "closing"])
def test_a_large_answer_takes_as_long_as_the_client_needs(closes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the server closes. The test is the timer."""
    monkeypatch.setattr("picows.websockets.asyncio.accepting.LINGER_S", 3600.0)
    http11, headers = OURS.module("http11"), OURS.module("datastructures").Headers
    body = b"x" * 16_000_000  # more than the system takes at once

    def process_request(connection: Any, request: Any) -> Any:
        return http11.Response(200, "OK", headers(), body)

    async def scenario() -> None:
        async with OURS.serve(process_request=process_request, logger=silent()) as server:
            reader, writer = await ask_and_send_ahead(server, b"")
            await reader.readuntil(END)
            (opening,) = server._leaving
            unsent = opening.transport.get_write_buffer_size()
            received = 0
            while opening.transport.get_write_buffer_size() == unsent:
                received += len(await reader.read(100_000))
            if closes:
                server.close()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            opening._timer._on_timer()
            assert opening.transport.is_closing() == closes
            while not closes and (data := await reader.read(100_000)):
                received += len(data)
            assert received == len(body) or closes
            writer.close()

    run(scenario())


def test_eager_hooks() -> None:
    """A task that is done as soon as it is made is not one that is awaited when the connection is lost."""
    if not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("eager tasks are new in Python 3.12")

    async def scenario() -> bytes:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)

        async def process_request(connection: Any, request: Any) -> Any:
            return connection.respond(403, "no")

        async with OURS.serve(process_request=process_request, logger=silent()) as server:
            return await ask(server, GET, END)

    assert run(scenario()).startswith(b"HTTP/1.1 403 ")
