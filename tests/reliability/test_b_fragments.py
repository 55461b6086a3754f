"""B: fragments, tiny pieces, work that grows with the square of its input.

Nothing is timed: what is counted is memory, calls and bytes that were looked at. `tests/reliability/ratios.py` compares
times, by a verb of its own.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Callable, Iterator

import pytest
from fixtures.feeding import bytewise, drop_in, drop_in_server, need_drop_in, retained
from fixtures.messages import SIDES, Talk, closed, fragments, recv
from fixtures.places import Place
from fixtures.wire import BINARY, CLOSE, CONT, KEY, TEXT, build, close_payload

from picows import head as head_module
from picows.errors import WSInvalidMessageError
from picows.handshake import ServerHandshake

KIB, MIB = 1024, 1024 * 1024
RSV1 = 4
CRUMBS = pytest.mark.parametrize("payload", [b"x", b""], ids=["b1-crumbs", "b2-empty"])


def crumbs(count: int, payload: bytes, key: Any, is_complete: bool = False) -> bytes:
    """A message in so many fragments."""
    middle = build(CONT, payload, fin=False, key=key) * (count - 2)
    return build(BINARY, payload, fin=False, key=key) + middle + build(CONT, payload, fin=is_complete, key=key)


# --- B1, B2 ---


@SIDES
@CRUMBS
@pytest.mark.parametrize("is_receiving", [False, True], ids=["nobody receives", "recv waits"])
def test_b1_b2_fragments_are_counted(talk: Talk, client: bool, payload: bytes, is_receiving: bool) -> None:
    """Where a limit is set: 4,096 take no more than 64 KiB, one more is 1009."""
    key = None if client else KEY
    connection = talk(client=client, max_fragments=4096, max_queue=None)
    task = connection.loop.create_task(connection.listener.recv()) if is_receiving else None
    connection.loop.settle()

    def use() -> None:
        for piece in bytewise(crumbs(4096, payload, key), 1000):
            connection.feed(piece)
            connection.loop.settle()

    assert retained(use)[0] <= 64 * KIB
    assert connection.written() == b""
    connection.feed_frame(CONT, payload, fin=False)
    assert connection.plain() == [(CLOSE, close_payload(1009, b"message of more than 4096 fragments"))]
    error = closed(connection) if task is None else None
    if task is not None:
        connection.loop.settle()
        connection.loop.advance(1)
        error = task.exception()
    assert error is not None
    assert getattr(error.__cause__, "code", None) == 1009


@SIDES
@CRUMBS
def test_b1_b2_memory_is_bounded_without_a_count(talk: Talk, client: bool, payload: bytes) -> None:
    """The default: fragments are joined as they come, so that what they cost is what they carry."""
    key = None if client else KEY
    connection = talk(client=client, max_queue=None)

    def feed(data: bytes) -> None:
        for piece in bytewise(data, 1000):
            connection.feed(piece)

    assert retained(lambda: feed(crumbs(4097, payload, key)))[0] <= 64 * KIB
    more = build(CONT, payload, fin=False, key=key) * 20_000
    assert retained(lambda: feed(more))[0] <= 64 * KIB + 20_000 * len(payload) * 9 // 8
    connection.feed_frame(CONT, b"end")
    assert connection.written() == b""
    assert recv(connection) == payload * 24_097 + b"end"


@CRUMBS
def test_b1_b2_drop_in(payload: bytes) -> None:
    """4,096, as websockets has it, and its words."""
    outcome = drop_in_server(crumbs(4096, payload, KEY, True) + crumbs(4097, payload, KEY))
    assert outcome.received == [payload * 4096]
    assert outcome.sent[-1].plain == (CLOSE, close_payload(1009, b"too many fragments"))


@pytest.mark.parametrize("name", ["asyncio", "sync"])
@CRUMBS
def test_b1_b2_drop_in_assemblers(name: str, payload: bytes) -> None:
    """Those that programs use by themselves, and the threading API."""
    module = need_drop_in()
    frames, error = module("frames"), module("exceptions").TooManyFragments
    assembler = module(f"{name}.messages").Assembler()

    def put(count: int) -> Any:
        for at in range(count):
            assembler.put(frames.Frame(frames.CONT if at else frames.BINARY, payload, at == 4095))
        return asyncio.run(assembler.get()) if name == "asyncio" else assembler.get(timeout=0)

    assert put(4096) == payload * 4096
    with pytest.raises(error):
        assembler.put(frames.Frame(frames.BINARY, payload, False))
        for _ in range(4096):
            assembler.put(frames.Frame(frames.CONT, payload, False))
        _ = asyncio.run(assembler.get()) if name == "asyncio" else assembler.get(timeout=0)


# --- B3 ---


@SIDES
def test_b3_the_count_begins_anew_with_each_message(talk: Talk, client: bool) -> None:
    """20,000 whole messages, then 20,000 of two fragments, with two allowed."""
    connection = talk(client=client, max_fragments=2)
    whole, halves = connection.frame(TEXT, "ab"), fragments(connection, TEXT, "c", "d")
    for data, expected in ((whole, "ab"), (halves, "cd")):
        for _ in range(200):
            connection.feed(data * 100)
            assert [recv(connection) for _ in range(100)] == [expected] * 100
    assert connection.written() == b""


def test_b3_drop_in() -> None:
    whole = build(TEXT, b"ab", key=KEY) * 20_000
    halves = (build(TEXT, b"c", fin=False, key=KEY) + build(CONT, b"d", key=KEY)) * 20_000
    outcome = drop_in_server(whole + halves + build(CLOSE, close_payload(1000), key=KEY), compression=None)
    assert outcome.received == ["ab"] * 20_000 + ["cd"] * 20_000
    assert outcome.code == 1000


# --- B4 ---


@SIDES
@pytest.mark.parametrize("opcode", [BINARY, TEXT], ids=["binary", "text"])
@pytest.mark.parametrize(("size", "step"), [(16 * KIB, 1), (MIB, 127)], ids=["16 KiB by 1", "1 MiB by 127"])
def test_b4_a_frame_in_tiny_reads(talk: Talk, client: bool, opcode: int, size: int, step: int) -> None:
    """At most three times its size, whatever the reads; each read is one call, and looked at once (see ratios.py)."""
    connection = talk(client=client)
    data = connection.frame(opcode, b"x" * size)

    def use() -> Any:
        feed = connection.feed
        for at in range(0, len(data), step):
            feed(data[at : at + step])

    use()  # a thread keeps one buffer for the next frame
    assert len(recv(connection)) == size
    kept, peak = retained(use)
    assert kept <= size + 64 * KIB
    assert peak < 3 * size + 64 * KIB
    assert len(recv(connection)) == size


@pytest.mark.parametrize("step", [1, 2, 100])
def test_b4_drop_in(step: int) -> None:
    data = build(BINARY, bytes(100_000), key=KEY)
    assert drop_in(bytewise(data, step)).received == [bytes(100_000)]
    _, peak = retained(lambda: drop_in([data[at : at + step] for at in range(0, len(data), step)]))
    assert peak < len(data) // step * (48 + step) + 4 * len(data)  # the list of pieces is the test's own


def test_b4_on_sockets(place: Place) -> None:
    """One segment for each byte."""

    async def main() -> None:
        server = await place.serve_messages()
        client = await place.raw_client(server)
        await client.upgrade()
        for value in build(BINARY, b"x" * 2000, key=KEY):
            client.write(bytes([value]))
            await asyncio.sleep(0)
        assert (await client.read_frame()).payload == b"x" * 2000

    place.run(main)


# --- B5 ---


def calls_of(use: Callable[[], Any]) -> int:
    """How many Python functions and built-in ones are called."""
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        use()
    finally:
        sys.setprofile(None)
    return count


@SIDES
def test_b5_fragments_are_joined_once(talk: Talk, client: bool) -> None:
    """Counted: calls, and memory that is never more than two copies. Compiled code is in ratios.py."""

    def work(count: int) -> int:
        connection = talk(client=client)
        data = fragments(connection, BINARY, *[b"x" * 256] * count)
        calls = calls_of(lambda: connection.feed(*bytewise(data, 4096)))
        assert recv(connection) == b"x" * 256 * count
        return calls

    assert work(1024) < 5 * work(256)
    connection = talk(client=client)
    data = fragments(connection, BINARY, *[b"x" * 256] * 4096)

    def use() -> Any:
        connection.feed(data)
        return recv(connection)

    assert retained(use)[1] <= 3 * MIB


class CountingPattern:
    """A compiled pattern that adds up how many bytes it was asked to look at."""

    def __init__(self, pattern: Any) -> None:
        self._pattern = pattern
        self.looked_at = 0

    def search(self, data: Any, start: int, stop: int) -> Any:
        found = self._pattern.search(data, start, stop)
        self.looked_at += (found.end() if found else stop) - start
        return found


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> Iterator[CountingPattern]:
    """What the reader of heads looks at."""
    pattern = CountingPattern(head_module._NOT_TEXT)
    monkeypatch.setattr(head_module, "_NOT_TEXT", pattern)
    return pattern  # type: ignore[return-value]


def request_of(size: int) -> bytes:
    """A request of so many bytes, in lines of at most 2,000."""
    head = (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    )
    while len(head) < size - 2:
        line = min(2000, size - 2 - len(head))
        if size - 2 - len(head) - line < 10:
            line = size - 2 - len(head)
        head += b"a: " + b"b" * (line - 5) + b"\r\n"
    return head + b"\r\n"


@pytest.mark.parametrize("size", [4096, 8192, 16_384])
def test_b5_b6_each_byte_of_a_head_is_looked_at_once(engine: Any, scanned: CountingPattern, size: int) -> None:
    """However it is cut; a CR at the end of a read is looked at again."""
    head = request_of(size)
    assert len(head) == size
    for step in (1, 2, 7, 100):
        scanned.looked_at = 0
        handshake = ServerHandshake(engine.scan_upgrade)
        results = [handshake.receive_data(piece) for piece in bytewise(head, step)]
        assert [bool(result) for result in results] == [False] * (len(results) - 1) + [True]
        # The parser goes through a long head, which no shortcut is for, twice more once it is complete.
        assert scanned.looked_at <= (1 if size <= 8192 else 3) * (size + head.count(b"\r\n"))


def test_b6_an_endless_header_is_refused_at_its_limit(engine: Any, scanned: CountingPattern) -> None:
    """20 MB: 431 with byte 8,193 of the line, and nothing is read after it."""
    start = b"GET / HTTP/1.1\r\n"
    handshake = ServerHandshake(engine.scan_upgrade)
    handshake.receive_data(start)
    fed = 0
    with pytest.raises(WSInvalidMessageError) as caught:
        while fed < 20_000_000:
            fed += 1
            handshake.receive_data(b"a")
    assert (caught.value.status, fed) == (431, 8193)
    assert scanned.looked_at <= len(start) + fed + 10
    whole = ServerHandshake(engine.scan_upgrade)
    with pytest.raises(WSInvalidMessageError) as caught:
        whole.receive_data(start + b"a" * 20_000_000)
    assert caught.value.status == 431
    assert scanned.looked_at <= 3 * 16_384


def counting_bytearray() -> Any:
    """A bytearray whose class adds up in `looked_at` what `find` has to look at."""

    class Counting(bytearray):
        looked_at = 0

        def find(self, what: Any, start: int = 0, *stop: int) -> int:  # type: ignore[override]
            Counting.looked_at += len(self) - start
            return super().find(what, start, *stop)

    return Counting


def test_b5_b6_drop_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parser reads line by line, and goes on where it stopped."""
    module = need_drop_in()
    counting = counting_bytearray()
    monkeypatch.setattr(module("streams"), "bytearray", counting, raising=False)
    for size in (4096, 8192, 16_384):
        head = request_of(size)
        counting.looked_at = 0
        protocol = module("server").ServerProtocol()
        for piece in bytewise(head):
            protocol.receive_data(piece)
        (request,) = protocol.events_received()
        assert request.headers["Host"] == "x"
        assert size / 2 < counting.looked_at <= size + head.count(b"\n")
    counting.looked_at = 0
    protocol = module("server").ServerProtocol()
    protocol.receive_data(b"GET / HTTP/1.1\r\n")
    fed = 0
    while protocol.handshake_exc is None:
        fed += 1
        protocol.receive_data(b"a")
    assert fed == 8193
    assert counting.looked_at <= fed + 100
