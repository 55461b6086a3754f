"""Messages, pings and closing in the API before websockets 14: each scenario on both libraries.

Peers are bytes. The class of an exception's cause is not compared: see the README of picows-websockets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fixtures.compat import (
    OURS,
    REQUEST,
    UPGRADE,
    Library,
    Lines,
    assert_same,
    attempt,
    raw_server,
    run,
    skip_unless_comparable,
)

skip_unless_comparable()

from fixtures.api_cases import BINARY, CLOSE, CONT, FRAGMENTS, PING, PONG, RECEIVED, TEXT  # noqa: E402
from fixtures.legacy_api import Peer, connect, drain, echo, ending, serve  # noqa: E402
from fixtures.sansio import frame  # noqa: E402


def without_cause(observed: Any) -> Any:
    """Exceptions as `attempt` returns them, by class and text."""
    if isinstance(observed, tuple) and len(observed) == 3 and all(isinstance(each, str) for each in observed):
        return observed[:2]
    if isinstance(observed, (tuple, list)):
        return [without_cause(each) for each in observed]
    return observed


async def talk(library: Library, peer: Peer, use: Callable[[Any], Any], **options: Any) -> Any:
    """What a client observes of a peer, and what the peer receives from it."""
    options.setdefault("compression", None)
    async with raw_server(peer) as port:
        websocket = await connect(library, port, **options)
        result = await attempt(use(websocket))
        await websocket.close()
        return without_cause([result, ending(websocket), peer.frames])


@pytest.mark.parametrize("name", [name for name, (_, options) in RECEIVED.items() if name != "fragment too big"])
def test_receiving(name: str) -> None:
    frames, options = RECEIVED[name]
    assert_same(lambda library: talk(library, Peer(*frames, frame(CLOSE, b"\x03\xe8")), drain, **options))


def test_half_a_frame() -> None:
    assert_same(lambda library: talk(library, Peer(b"\x81\x05ab", ends=True), drain))


BAD = {
    "opcode": frame(3, b"x"),
    "reserved bit": b"\xc1\x01x",
    "masked": b"\x81\x81\0\0\0\0x",
    "fragmented ping": b"\x09\x00",
    "long ping": b"\x89\x7e\x00\x7e" + b"x" * 126,
    "continuation": frame(CONT, b"x"),
    "text in a message": frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
    "not UTF-8": frame(TEXT, b"\xff"),
    "not UTF-8 over fragments": frame(TEXT, b"\xe2", fin=False) + frame(CONT, b"\x28"),
    "half a character": frame(TEXT, b"a\xe2"),
    "short close": frame(CLOSE, b"\x03"),
    "close code": frame(CLOSE, b"\x03\xe7"),
    "close reason": frame(CLOSE, b"\x03\xe8\xff"),
    "after a good one": frame(BINARY, b"good") + frame(TEXT, b"\xff"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
def test_violations(name: str, debug: bool) -> None:
    logger = Lines(logging.DEBUG).logger if debug else None
    assert_same(lambda library: talk(library, Peer(BAD[name]), drain, logger=logger))


MASKED = {
    "text and close": frame(TEXT, b"a", masked=True) + frame(CLOSE, b"\x03\xe8", masked=True),
    "ping": frame(PING, b"a", masked=True) + frame(CLOSE, b"\x0f\xa0", masked=True),
    "not masked": frame(TEXT, b"a"),
    "opcode": frame(3, b"a", masked=True),
    "too big": frame(TEXT, b"x" * 101, masked=True),
    "too big in fragments": frame(TEXT, b"x" * 60, fin=False, masked=True) + frame(CONT, b"x" * 60, masked=True),
    "not UTF-8": frame(TEXT, b"\xff", masked=True),
    "message after close": frame(CLOSE, b"\x03\xe8", masked=True) + frame(TEXT, b"a", masked=True),
}


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("cut", [False, True], ids=["with the request", "after it"])
def test_what_a_server_receives(name: str, cut: bool) -> None:
    """What its handler sees, and what it answers."""

    async def scenario(library: Library) -> Any:
        seen: list[Any] = []

        async def handler(websocket: Any) -> None:
            seen.extend(await drain(websocket))
            seen.append(ending(websocket))

        async with serve(library, handler, max_size=100, server_header=None) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(REQUEST + UPGRADE + b"\r\n" + (b"" if cut else MASKED[name]))
            await reader.readuntil(b"\r\n\r\n")
            if cut:
                writer.write(MASKED[name])
            frames = await reader.read()
            writer.close()
        return without_cause(seen), frames

    assert_same(scenario)


def test_sending_waits_for_a_peer_that_does_not_read() -> None:
    async def scenario(library: Library) -> Any:
        go_on = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.pause_reading()
            await go_on.wait()
            writer.transport.resume_reading()
            while await reader.read(2**20):
                pass

        async with raw_server(script) as port:
            websocket = await connect(library, port, compression=None, write_limit=2**16)
            sending = asyncio.ensure_future(websocket.send(b"x" * 50_000_000))
            done, _ = await asyncio.wait([sending], timeout=0.05)
            go_on.set()
            await sending
            websocket.transport.abort()
            await websocket.wait_closed()
        return len(done)

    assert assert_same(scenario) == 0


MESSAGES = {
    "text": lambda: "a",
    "bytes": lambda: b"b",
    "bytearray": lambda: bytearray(b"c"),
    "memoryview": lambda: memoryview(b"d"),
    "empty": lambda: "",
    "dict": lambda: {"a": 1},
    "int": lambda: 3,
    "None": lambda: None,
    "no fragments": list,
    "one fragment": lambda: [b""],
    **FRAGMENTS,
}


async def later(fragments: Any) -> Any:
    """An asynchronous iterable."""
    for fragment in fragments:
        yield fragment


@pytest.mark.parametrize("name", MESSAGES)
def test_sending(name: str) -> None:
    assert_same(lambda library: talk(library, Peer(), lambda websocket: websocket.send(MESSAGES[name]())))


@pytest.mark.parametrize("name", FRAGMENTS)
def test_sending_asynchronous_fragments(name: str) -> None:
    assert_same(lambda library: talk(library, Peer(), lambda websocket: websocket.send(later(FRAGMENTS[name]()))))


@pytest.mark.parametrize("answers", [b"", frame(CLOSE, b"\x03\xe8"), frame(CLOSE)], ids=["eof", "1000", "no code"])
@pytest.mark.parametrize("args", [(), (1001, "x"), (4000, "\xe9")], ids=["default", "1001", "4000"])
def test_closing(args: tuple[Any, ...], answers: bytes) -> None:
    assert_same(lambda library: talk(library, Peer(answers=answers), lambda websocket: websocket.close(*args)))


@pytest.mark.parametrize("args", [(1000, "x" * 124), (1005,), (999,), (5000,)], ids=["reason", "1005", "999", "5000"])
def test_closing_with_what_may_not_be_sent(args: tuple[Any, ...]) -> None:
    """The connection goes on, where that of websockets is left half closed."""

    async def scenario(library: Library) -> Any:
        peer = Peer(answers=frame(CLOSE, b"\x03\xe8"))
        async with raw_server(peer) as port:
            websocket = await connect(library, port, close_timeout=0.1)
            result = await attempt(websocket.close(*args))
            if library is OURS:
                assert websocket.open
                await websocket.close()
                assert peer.frames == [(0x88, b"\x03\xe8")]
            else:
                websocket.transport.abort()
            return result

    assert_same(scenario)


def test_closing_within_a_message() -> None:
    async def close(websocket: Any) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def fragments() -> Any:
            yield "a"
            begun.set()
            await go_on.wait()
            yield "b"

        sending = asyncio.ensure_future(websocket.send(fragments()))
        await begun.wait()
        closing = asyncio.ensure_future(websocket.close())
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait([sending, closing])
        sending.exception()

    first, *_ = assert_same(lambda library: _frames_sent(library, close))
    assert first == (0x01, b"a")


async def _frames_sent(library: Library, use: Callable[[Any], Any]) -> Any:
    peer = Peer()
    await talk(library, peer, use)
    return peer.frames[:1]


async def two_at_once(websocket: Any) -> Any:
    first = asyncio.ensure_future(websocket.recv())
    await asyncio.sleep(0)
    second = await attempt(websocket.recv())
    first.cancel()
    return second, await attempt(first)


async def pings(websocket: Any) -> Any:
    """Pings and pongs while it is open, and everything after the end."""
    waiter = await websocket.ping("a")
    seen = [await attempt(websocket.ping(b"a"))]
    seen += [await attempt(method(data)) for method in (websocket.ping, websocket.pong) for data in (3, b"x" * 126)]
    await websocket.pong("\xe9")
    await websocket.pong()
    await websocket.close()
    for method in (websocket.ping, websocket.pong, websocket.recv, websocket.ensure_open, websocket.wait_closed):
        seen.append(await attempt(method()))
    return [*seen, await attempt(waiter), await attempt(websocket.send("x")), await attempt(websocket.close())]


@pytest.mark.parametrize(
    "answers", [b"", frame(CLOSE, b"\x03\xe8"), frame(CLOSE, b"\x0f\xa0")], ids=["eof", "1000", "4000"]
)
def test_pings_and_what_follows_the_end(answers: bytes) -> None:
    assert_same(lambda library: talk(library, Peer(answers=answers), pings))


def test_two_at_once() -> None:
    assert_same(lambda library: talk(library, Peer(), two_at_once))


def test_a_pong_answers_earlier_pings() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(14)
        writer.write(frame(PONG, b"z") + frame(PONG, b"b") + frame(CLOSE, b"\x03\xe8"))
        await reader.readexactly(8)

    async def scenario(library: Library) -> Any:
        async with raw_server(script) as port, connect(library, port) as websocket:
            first, second = await websocket.ping("a"), await websocket.ping("b")
            latencies = [await first, await second]
            return [type(each) for each in latencies], websocket.latency in latencies, await drain(websocket)

    assert_same(scenario)


def test_pings_are_answered() -> None:
    data = [frame(PING, b"1"), frame(TEXT, b"a", fin=False), frame(PING, b"2"), frame(CONT), frame(CLOSE, b"\x03\xe8")]
    assert_same(lambda library: talk(library, Peer(*data), drain))


@pytest.mark.parametrize("code", [1000, 1001, 1011, None])
def test_iterating(code: int | None) -> None:
    async def iterate(websocket: Any) -> list[Any]:
        seen = []
        try:
            async for message in websocket:
                seen.append(message)
        except Exception as exc:
            seen.append(type(exc).__name__)
        return seen

    close = frame(CLOSE, b"" if code is None else code.to_bytes(2, "big"))
    assert_same(lambda library: talk(library, Peer(frame(TEXT, b"a"), frame(BINARY, b"b"), close), iterate))


@pytest.mark.filterwarnings("ignore:legacy_recv is deprecated:DeprecationWarning")
def test_recv_returns_none_at_the_end_with_legacy_recv() -> None:
    async def receive(websocket: Any) -> list[Any]:
        return [await websocket.recv() for _ in range(3)]

    peer = Peer(frame(TEXT, b"a"), frame(CLOSE, b"\x03\xe8"))
    assert_same(lambda library: talk(library, peer, receive, legacy_recv=True))


def test_keepalive() -> None:
    async def scenario(library: Library) -> Any:
        result, end, frames = await talk(library, Peer(), drain, ping_interval=0.01, ping_timeout=0.01)
        return result, end, [opcode for opcode, _ in frames][:1] + frames[-1:]

    assert_same(scenario)


def test_failing_the_connection() -> None:
    async def fail(websocket: Any) -> Any:
        websocket.fail_connection(1011, "because")
        await websocket.wait_closed()

    assert_same(lambda library: talk(library, Peer(), fail))


def test_failing_the_connection_without_a_frame() -> None:
    """1006, which nobody sends. The TCP connection ends at once; with websockets the client waits for the server."""

    async def scenario() -> Any:
        peer = Peer()
        async with raw_server(peer) as port:
            websocket = await connect(OURS, port)
            websocket.fail_connection()
            await websocket.wait_closed()
            return await attempt(websocket.recv()), ending(websocket), peer.frames

    error, end, frames = run(scenario())
    assert error == ("ConnectionClosedError", "no close frame received or sent", "")
    assert end[:4] == ("CLOSED", False, True, 1006)
    assert frames == []


def test_a_peer_that_does_not_close() -> None:
    """Closing takes no longer than close_timeout; with websockets it takes several times as long."""

    async def scenario(library: Library) -> Any:
        async with raw_server(Peer(stays=True)) as port:
            websocket = await connect(library, port, close_timeout=0.05)
            await websocket.close()
            return ending(websocket)

    assert_same(scenario)


def test_cancelling_recv_loses_nothing() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(7)
        writer.write(frame(TEXT, b"after") + frame(CLOSE, b"\x03\xe8"))
        await reader.readexactly(8)

    async def scenario(library: Library) -> Any:
        async with raw_server(script) as port, connect(library, port) as websocket:
            waiting = asyncio.ensure_future(websocket.recv())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            await websocket.send("x")
            return await drain(websocket)

    assert_same(scenario)


def test_a_full_queue_pauses_and_loses_nothing() -> None:
    count = 200

    async def handler(websocket: Any) -> None:
        for number in range(count):
            await websocket.send(f"{number} " + "x" * 5000)

    async def scenario(library: Library) -> Any:
        async with serve(library, handler) as server, connect(library, server, max_queue=2) as websocket:
            await asyncio.sleep(0.01)
            return [message.partition(" ")[0] for message in [await websocket.recv() for _ in range(count)]]

    assert assert_same(scenario) == [str(number) for number in range(count)]


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 1_000_000])
def test_echo(size: int, compression: str | None) -> None:
    async def scenario(library: Library) -> Any:
        text = ("caf\xe9 " * (size // 5 + 1))[:size]
        async with serve(library, echo, max_size=None, compression=compression) as server:
            async with connect(library, server, max_size=None, compression=compression) as websocket:
                seen = []
                for message in (text, text.encode()):
                    await websocket.send(message)
                    seen.append(await websocket.recv() == message)
                return seen, [type(each).__name__ for each in websocket.extensions]

    assert assert_same(scenario)[0] == [True, True]


def test_debug_log() -> None:
    """One line for each frame and state, in both directions."""

    async def scenario(library: Library) -> Any:
        lines = Lines(logging.DEBUG)
        await talk(
            library, Peer(frame(TEXT, b"a"), answers=frame(CLOSE, b"\x03\xe8")), send_and_receive, logger=lines.logger
        )
        return sorted(
            line
            for line in lines.lines
            if line.startswith(("DEBUG < T", "DEBUG > T", "DEBUG =", "DEBUG > C", "DEBUG < C"))
        )

    async def send_and_receive(websocket: Any) -> Any:
        await websocket.send("b")
        return await websocket.recv()

    seen = assert_same(scenario)
    assert "DEBUG > TEXT 'b' [1 byte]" in seen


def test_records_name_the_connection() -> None:
    async def scenario(library: Library) -> Any:
        records: list[logging.LogRecord] = []
        handler = logging.Handler()
        handler.emit = records.append  # type: ignore[method-assign]
        logger = logging.Logger("legacy", logging.INFO)
        logger.addHandler(handler)

        async def check(websocket: Any) -> None:
            opened = records[-1].websocket  # type: ignore[attr-defined]
            await websocket.send(f"{opened.path} {opened.id == websocket.id} {type(opened.logger).__name__}")

        async with serve(library, check, logger=logger) as server, connect(library, server, "/x") as websocket:
            return await websocket.recv()

    assert assert_same(scenario) == "/x True LoggerAdapter"


#: Attributes of both sides.
FACTS = [
    *("close_code", "close_reason", "close_rcvd", "close_rcvd_then_sent", "close_sent", "close_timeout", "closed"),
    *("debug", "extra_headers", "is_client", "legacy_recv", "max_queue", "max_size", "open", "origin", "path"),
    *("ping_interval", "ping_timeout", "read_limit", "side", "state", "subprotocol", "write_limit"),
]


def facts(websocket: Any, *names: str) -> list[tuple[str, str]]:
    return [(name, repr(getattr(websocket, name))) for name in (*FACTS, *names)]


def test_what_is_public_is_the_same() -> None:
    """Every attribute that is not an implementation detail, of an open and of a closed connection."""

    async def scenario(library: Library) -> Any:
        seen: list[Any] = []

        async def handler(websocket: Any) -> None:
            seen.append(facts(websocket, "server_header", "open_timeout", "origins"))
            seen.append((websocket.local_address, websocket.remote_address))
            seen.append(sorted(websocket.request_headers) + sorted(websocket.response_headers))

        async with serve(library, handler) as server, connect(library, server, "/p?q", origin="o") as websocket:
            await websocket.wait_closed()
            addresses = seen.pop(1)
            assert addresses == (websocket.remote_address, websocket.local_address)
            return [*seen, facts(websocket, "user_agent_header")]

    assert_same(scenario)
