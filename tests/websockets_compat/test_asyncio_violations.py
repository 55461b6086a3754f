"""Peers that break the protocol: what they are told, and what users see, on websockets and on ours."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fixtures.compat import (
    OURS,
    Library,
    Lines,
    assert_same,
    attempt,
    raw_server,
    read_frames,
    run,
    show_end,
    skip_unless_comparable,
)

skip_unless_comparable()

VIOLATIONS = {
    "masked": b"\x81\x81abcdx",
    "reserved bits": b"\xf1\x01x",
    "RSV1 without extension": b"\xc1\x01x",
    "reserved opcode": b"\x83\x01x",
    "reserved control opcode": b"\x8b\x01x",
    "fragmented control frame": b"\x09\x01x",
    "long control frame": b"\x89\x7e\x00\x7e" + b"x" * 126,
    "unexpected continuation": b"\x80\x01x",
    "expected continuation": b"\x01\x01x\x81\x01x",
    "close within a message": b"\x01\x01x\x88\x02\x03\xe8",
    "close of one byte": b"\x88\x01x",
    "close with 1005": b"\x88\x02\x03\xed",
    "close with 1004": b"\x88\x02\x03\xec",
    "close with 2999": b"\x88\x02\x0b\xb7",
    "too many fragments": b"\x01\x01x" + b"\x00\x00" * 5000,
}
ENDS = {
    "empty close": b"\x88\x00",
    "close 1000": b"\x88\x02\x03\xe8",
    "close 1001 bye": b"\x88\x05\x03\xe9bye",
    "close 4000": b"\x88\x02\x0f\xa0",
    "close 1012": b"\x88\x02\x03\xf4",
    "end of stream": b"",
}
SIZES = {
    "message": (b"\x82\x05hello", 4),
    "as large as allowed": (b"\x82\x04hell\x88\x00", 4),
    "fragment": (b"\x82\x05hello", (10, 4)),
    "fragment as large as allowed": (b"\x02\x04hell\x80\x01o\x88\x00", (10, 4)),
    "no limit": (b"\x82\x05hello\x88\x00", None),
    "64 bits": (b"\x82\x7f\x00\x00\x00\x01\x00\x00\x00\x00", 2**20),
}


async def observe(library: Library, data: bytes, **options: Any) -> Any:
    """What a client does with these bytes: what it sends, receives and says in the end."""
    sent: list[Any] = []

    async def script(reader: Any, writer: Any) -> None:
        writer.write(data)
        if not data:
            writer.write_eof()
        sent.extend(await read_frames(reader))

    async with raw_server(script) as port:
        connection = await library.connect(port, compression=None, close_timeout=0.1, **options)
        results = [await attempt(connection.recv())]
        await connection.wait_closed()
        return results, show_end(connection), sent


@pytest.mark.parametrize("data", VIOLATIONS.values(), ids=VIOLATIONS)
def test_violations(data: bytes) -> None:
    (_, _, sent) = assert_same(observe, data)
    assert sent


@pytest.mark.parametrize("data", ENDS.values(), ids=ENDS)
def test_ends(data: bytes) -> None:
    assert_same(observe, data)


@pytest.mark.parametrize("data", [*VIOLATIONS.values(), *ENDS.values()], ids=[*VIOLATIONS, *ENDS])
def test_the_log_at_debug_level_changes_nothing(data: bytes) -> None:
    """Frames take another way then."""
    assert_same(lambda library: observe(library, data, logger=Lines(logging.DEBUG).logger))


@pytest.mark.parametrize("name", ["masked", "reserved opcode", "close of one byte", "close within a message"])
def test_the_CLOSE_frame_that_we_send_is_in_the_log(name: str) -> None:
    async def scenario(library: Library) -> Any:
        lines = Lines(logging.DEBUG)
        _, _, sent = await observe(library, VIOLATIONS[name], logger=lines.logger)
        return sent, [line for line in lines.lines if "> CLOSE" in line]

    _, logged = assert_same(scenario)
    assert len(logged) == 1


@pytest.mark.parametrize(("data", "max_size"), SIZES.values(), ids=SIZES)
def test_max_size(data: bytes, max_size: Any) -> None:
    assert_same(observe, data, max_size=max_size)


@pytest.mark.parametrize(
    "data",
    [b"\x81\x03a\xffb", b"\x01\x01a\x80\x02b\xff", b"\x81\x02a\xc3", b"\x88\x03\x03\xe8\xff"],
    ids=["frame", "fragments", "truncated", "close reason"],
)
def test_text_that_is_not_utf8(data: bytes) -> None:
    """The same code. The reason names no position: text is checked as it arrives, and not kept for that."""
    results = []
    for library in (Library("websockets"), OURS):
        outcome, end, sent = run(observe(library, data))
        results.append((outcome[0][0], end, sent[0][0], sent[0][1][:2], outcome[0][1].partition("data) ")[0]))
    assert results[0] == results[1]


def test_a_message_that_grows_too_large() -> None:
    """The same code. The reason names the size of the message, not that of its last frame."""
    outcome, end, sent = run(observe(OURS, b"\x02\x03hel\x80\x02lo", max_size=4))
    assert sent == [(0x88, b"\x03\xf1frame with 5 bytes exceeds limit of 4 bytes")]
    assert outcome[0][0] == "ConnectionClosedError"
    assert outcome[0][2] == "PayloadTooBig"


@pytest.mark.parametrize("max_size", [99, 100, (None, 99), None])
def test_messages_that_inflate_too_far(max_size: Any) -> None:
    async def scenario(library: Library) -> Any:
        async def send(connection: Any) -> None:
            await connection.send("x" * 100)
            await connection.wait_closed()

        async with library.serve(send) as server:
            connection = await library.connect(server, max_size=max_size)
            received = await attempt(connection.recv())
            await connection.close()
            return received[0] if isinstance(received, tuple) else received, connection.close_code

    assert_same(scenario)
