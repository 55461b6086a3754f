"""Peers that break the protocol: what they are told, and what users see, on websockets and on ours."""

from __future__ import annotations

import logging
import re
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

_POSITION = re.compile(" at position [0-9]+")
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
    [b"\x81\x03a\xffb", b"\x01\x01a\x80\x02b\xff", b"\x81\x02a\xc3"],
    ids=["frame", "fragments", "truncated"],
)
def test_text_that_is_not_utf8(data: bytes) -> None:
    """The same but for the position, which the reason does not name: text is checked as it arrives, and not kept."""
    results = []
    for library in (Library("websockets"), OURS):
        ((error, text, cause),), end, ((opcode, payload),) = run(observe(library, data))
        texts = [_POSITION.sub("", each) for each in (text, payload[2:].decode())]
        results.append((error, cause, end, opcode, payload[:2], texts))
    assert results[0] == results[1]


@pytest.mark.parametrize("data", [b"\x88\x03\x03\xe8\xff", b"\x88\x04\x03\xe8a\xc3"], ids=["bad", "truncated"])
@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_a_close_reason_that_is_not_utf8(data: bytes, level: int) -> None:
    assert_same(lambda library: observe(library, data, logger=Lines(level).logger))


@pytest.mark.parametrize(
    "text", [b"a\xffb", b"a\xc3", b"\xed\xa0\x80", b"a\xe2\x82(", b"\xc0\x80", b"\xf4\x90\x80\x80"], ids=repr
)
@pytest.mark.parametrize("opcode", [0x81, 0x88])
@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_the_cause_of_what_is_not_utf8(opcode: int, text: bytes, level: int) -> None:
    """A frame that arrives in one piece is in it as a whole."""
    payload = text if opcode == 0x81 else b"\x03\xe8" + text

    async def script(reader: Any, writer: Any) -> None:
        writer.write(bytes([opcode, len(payload)]) + payload)
        await read_frames(reader)

    async def scenario(library: Library) -> Any:
        async with raw_server(script) as port:
            connection = await library.connect(port, close_timeout=0.1, logger=Lines(level).logger)
            with pytest.raises(library.exceptions.ConnectionClosedError) as caught:
                await connection.recv()
            cause = caught.value.__cause__
            return type(cause), str(cause), cause.args

    assert_same(scenario)


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
