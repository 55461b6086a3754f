"""Messages of the asyncio API: what may be sent and how it arrives, on websockets and on ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fixtures.compat import Library, assert_same, attempt, raw_server, show_end, silent, skip_unless_comparable

skip_unless_comparable()


@pytest.fixture(params=[None, "deflate"], ids=["plain", "deflate"])
def compression(request: pytest.FixtureRequest) -> Any:
    return request.param


async def agenerate(*items: Any) -> Any:
    for item in items:
        await asyncio.sleep(0)
        yield item


MESSAGES: dict[str, Any] = {
    "str": lambda: "héllo",
    "empty str": lambda: "",
    "bytes": lambda: b"\x00\xff",
    "empty bytes": lambda: b"",
    "bytearray": lambda: bytearray(b"abc"),
    "memoryview": lambda: memoryview(b"abcdef")[::1],
    "large": lambda: b"x" * 200_000,
    "large str": lambda: "é" * 100_000,
    "list of str": lambda: ["a", "é", "c"],
    "list of bytes": lambda: [b"a", bytearray(b"b"), memoryview(b"c")],
    "generator": lambda: (part for part in ("x", "y")),
    "async generator": lambda: agenerate("x", "y"),
    "list of one": lambda: ["alone"],
}


@pytest.mark.parametrize("text", [None, True, False])
@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_sent_arrives(name: str, text: bool | None, compression: Any) -> None:
    async def scenario(library: Library) -> Any:
        if text is True and name == "bytes":
            return None  # not UTF-8: see test_asyncio_violations
        async with library.serve(compression=compression) as server:
            async with library.connect(server, compression=compression) as connection:
                await connection.send(MESSAGES[name](), text=text)
                return await connection.recv()

    assert_same(scenario)


@pytest.mark.parametrize("bad", [None, 1, 1.5, {}, {"a": 1}, object], ids=repr)
def test_what_is_no_message_is_refused(bad: Any) -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve() as server, library.connect(server) as connection:
            refusal = await attempt(connection.send(bad))
            await connection.send("still open")
            return refusal, await connection.recv()

    assert_same(scenario)


@pytest.mark.parametrize("bad", [[1], [None], ["a", b"b"], [b"a", "b"], ["a", 1], [["a"]]], ids=repr)
@pytest.mark.parametrize("is_async", [False, True], ids=["iterable", "async iterable"])
def test_bad_fragments_close_the_connection(bad: Any, is_async: bool) -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve(logger=silent()) as server:
            connection = await library.connect(server)
            refusal = await attempt(connection.send(agenerate(*bad) if is_async else bad))
            return refusal, show_end(connection), await attempt(connection.recv())

    assert_same(scenario)


@pytest.mark.parametrize("begins", [False, True])
def test_an_iterable_that_raises(begins: bool) -> None:
    def generate() -> Any:
        if begins:
            yield "a"
        raise ValueError("boom")

    async def scenario(library: Library) -> Any:
        async with library.serve(logger=silent()) as server:
            connection = await library.connect(server)
            refusal = await attempt(connection.send(generate()))
            end = show_end(connection)
            await connection.close()
            return refusal, end, await attempt(connection.recv())

    assert_same(scenario)


def test_an_empty_iterable_is_no_message() -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve() as server, library.connect(server) as connection:
            await connection.send([])
            await connection.send("next")
            return await connection.recv()

    assert assert_same(scenario) == "next"


@pytest.mark.parametrize("decode", [None, True, False])
@pytest.mark.parametrize("message", ["é", "é".encode()], ids=["text", "binary"])
def test_decode(message: Any, decode: bool | None, compression: Any) -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve(compression=compression) as server:
            async with library.connect(server, compression=compression) as connection:
                await connection.send(message)
                received = await connection.recv(decode)
                await connection.send(message)
                return received, [part async for part in connection.recv_streaming(decode)]

    assert_same(scenario)


def test_binary_that_is_not_utf8_and_wanted_as_text() -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve(logger=silent()) as server:
            connection = await library.connect(server)
            await connection.send(b"a\xff")
            first = await attempt(connection.recv(decode=True))
            return first, show_end(connection), await attempt(connection.recv())

    assert_same(scenario)


FRAGMENTS = b"\x01\x01a\x00\x01b", b"\x00\x00\x80\x01c"


async def in_two_parts(reader: Any, writer: Any) -> None:
    writer.write(FRAGMENTS[0])
    await asyncio.sleep(0.01)
    writer.write(FRAGMENTS[1] + b"\x81\x04next")
    await reader.read(1)


@pytest.mark.parametrize("decode", [None, False])
def test_streaming(decode: bool | None) -> None:
    async def scenario(library: Library) -> Any:
        async with raw_server(in_two_parts) as port, library.connect(port, close_timeout=0.1) as connection:
            parts = [part async for part in connection.recv_streaming(decode)]
            return parts, await connection.recv()

    assert_same(scenario)


def test_cancelling_recv_within_a_message_loses_nothing() -> None:
    async def scenario(library: Library) -> Any:
        async with raw_server(in_two_parts) as port, library.connect(port, close_timeout=0.1) as connection:
            task = asyncio.create_task(connection.recv())
            await asyncio.sleep(0)
            task.cancel()
            return await attempt(task), await connection.recv(), await connection.recv()

    assert_same(scenario)


def test_only_one_receives() -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve() as server, library.connect(server) as connection:
            waiting = asyncio.create_task(connection.recv())
            await asyncio.sleep(0)
            refusals = [await attempt(connection.recv()), await attempt(anext(connection.recv_streaming()))]
            await connection.send("x")
            return refusals, await waiting

    assert_same(scenario)


def test_nobody_receives_within_a_stream() -> None:
    async def scenario(library: Library) -> Any:
        async with raw_server(in_two_parts) as port, library.connect(port, close_timeout=0.1) as connection:
            stream = connection.recv_streaming()
            parts = [await anext(stream)]
            refusals = [await attempt(connection.recv()), await attempt(anext(connection.recv_streaming()))]
            return parts + [part async for part in stream], refusals, await connection.recv()

    assert_same(scenario)


def test_messages_that_came_before_the_end_are_received() -> None:
    async def script(reader: Any, writer: Any) -> None:
        writer.write(b"\x81\x01a\x81\x01b\x88\x02\x03\xe8")
        await reader.readexactly(6)

    async def scenario(library: Library) -> Any:
        async with raw_server(script) as port:
            connection = await library.connect(port, close_timeout=0.05)
            results = [await attempt(connection.recv()) for _ in range(4)]
            return results, await attempt(connection.send("x")), show_end(connection)

    assert_same(scenario)


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1002, 4000])
def test_iteration_ends_or_raises(code: int) -> None:
    async def script(reader: Any, writer: Any) -> None:
        payload = b"" if code == 1005 else code.to_bytes(2, "big")
        writer.write(b"\x81\x01a\x88" + bytes([len(payload)]) + payload)
        await reader.readexactly(6)

    async def scenario(library: Library) -> Any:
        async def iterate(connection: Any) -> list[Any]:
            received = []
            try:
                async for message in connection:
                    received.append(message)
            except library.exceptions.ConnectionClosed as exc:
                received.append(str(exc))
            return received

        async with raw_server(script) as port:
            return await iterate(await library.connect(port))

    assert_same(scenario)


def test_a_subclass_that_overrides_recv_is_iterated_through_it() -> None:
    async def scenario(library: Library) -> Any:
        class Loud(library.client.ClientConnection):  # type: ignore[misc]
            async def recv(self, decode: Any = None) -> Any:
                return (await super().recv(decode)).upper()

        async with library.serve() as server, library.connect(server, create_connection=Loud) as connection:
            await connection.send("a")
            async for message in connection:
                return message, type(connection).__name__
        return None

    assert assert_same(scenario) == ("A", "Loud")


def test_reading_pauses_while_nobody_receives() -> None:
    async def script(reader: Any, writer: Any) -> None:
        writer.write(b"\x81\x01a" * 40)
        await reader.read()

    async def scenario(library: Library) -> Any:
        async with raw_server(script) as port:
            connection = await library.connect(port, max_queue=(8, 2), close_timeout=0.05)
            while connection.transport.is_reading():
                await asyncio.sleep(0)
            received = [await connection.recv() for _ in range(40)]
            is_reading = connection.transport.is_reading()
            await connection.close()
            return len(received), is_reading

    assert_same(scenario)


LIMITS: list[dict[str, int]] = [
    {},
    {"low": 5},
    {"high": 5},
    {"high": 0},
    {"high": 5, "low": 5},
    {"high": 1, "low": 2},
    {"high": 4, "low": -1},
    {"low": -1},
    {"high": -1},
]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_limits_of_a_queue_of_frames(limits: dict[str, int]) -> None:
    async def scenario(library: Library) -> Any:
        try:
            queue = library.module("asyncio.messages").Assembler(**limits)
        except ValueError as exc:
            return str(exc)
        return queue.high, queue.low

    assert_same(scenario)


COUNTS_OF_FRAGMENTS = {"as many as allowed": 4096, "one more": 4097, "many more": 6000}


@pytest.mark.parametrize("count", COUNTS_OF_FRAGMENTS.values(), ids=COUNTS_OF_FRAGMENTS)
@pytest.mark.parametrize("how", ["recv", "recv_streaming", "a stream, then recv"])
def test_only_recv_counts_fragments(how: str, count: int) -> None:
    """WEBSOCKETS_MAX_FRAGMENTS is about what is joined to one message."""
    data = b"\x02\x01x" + b"\x00\x01x" * (count - 2) + b"\x80\x01y"

    async def script(reader: Any, writer: Any) -> None:
        writer.write(data * 2)
        await reader.read()

    async def scenario(library: Library) -> Any:
        results: list[Any] = []
        async with raw_server(script) as port:
            connection = await library.connect(port, compression=None, close_timeout=0.1)
            if how != "recv":
                results.append(b"".join([fragment async for fragment in connection.recv_streaming()]))
            results.append(
                await attempt(connection.recv() if how != "recv_streaming" else anext(connection.recv_streaming()))
            )
            await connection.close()
        return results, show_end(connection)

    assert_same(scenario)


def test_a_queue_of_frames_counts_what_it_joins() -> None:
    async def scenario(library: Library) -> Any:
        frames = library.module("frames")
        queue = library.module("asyncio.messages").Assembler()
        for count in (4097, 4097, 4096):
            for at in range(count):
                queue.put(frames.Frame(frames.Opcode.CONT if at else frames.Opcode.BINARY, b"x", at == count - 1))
        streamed = [fragment async for fragment in queue.get_iter()]
        return len(streamed), await attempt(queue.get())

    assert_same(scenario)
