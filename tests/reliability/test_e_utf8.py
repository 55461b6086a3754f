"""E1 to E4: UTF-8."""

from __future__ import annotations

import codecs
import importlib
import itertools
import random
from typing import Any, Callable, Dict

import pytest
from fixtures.feeding import bytewise, close_code, drop_in_server, ways
from fixtures.messages import SIDES, Talk, closed, recv
from fixtures.places import Place
from fixtures.wire import CLOSE, CONT, KEY, TEXT, build

from picows.deflate import DeflateCodec, DeflateParameters
from picows.errors import WSProtocolError
from picows.pure.utf8 import Utf8Decoder

#: Text that is not UTF-8, and how many bytes of it may still become that.
BAD = {
    "overlong": (b"\xc0\x80", 0),
    "surrogate": (b"\xed\xa0\x80", 1),
    "above U+10FFFF": (b"\xf4\x90\x80\x80", 1),
    "never": (b"abc\xffdef", 3),
    "continuation": (b"ab\x80", 2),
    "third byte": (b"\xe2\x82x", 2),
    "fourth byte": (b"\xf0\x9f\x98\xff", 3),
}
TRUNCATED = {"one of two": b"\xc3", "two of three": b"a\xe2\x82", "three of four": b"a\xf0\x9f\x98"}


# --- E1, E2, E3 ---


@SIDES
@pytest.mark.parametrize("text", [*(text for text, _ in BAD.values()), *TRUNCATED.values()], ids=[*BAD, *TRUNCATED])
def test_e1_invalid_text(talk: Talk, connect: Any, client: bool, text: bytes) -> None:
    """1007, and nothing is delivered. The drop-in finds it when the message is received, with the same code."""
    key = None if client else KEY
    halves = build(TEXT, text[:1], fin=False, key=key) + build(CONT, text[1:], key=key)
    for data in (build(TEXT, text, key=key), halves):
        for pieces in ways(data):
            messages, strict = talk(client=client), connect(client=client, strict=True)
            for connection in (messages, strict):
                connection.feed(*pieces)
                assert close_code(connection) == 1007
            cause = closed(messages).__cause__
            assert isinstance(cause, WSProtocolError)
            assert b"".join(message.payload for message in strict.messages) in (b"", text[:1])
            messages.shut()
            strict.shut()
        if not client:
            outcome = drop_in_server(data, compression=None)
            assert (outcome.received, outcome.code) == ([], 1007)


@SIDES
@pytest.mark.parametrize("text", [text for text, _ in BAD.values()], ids=BAD)
def test_e1_invalid_text_that_was_compressed(talk: Talk, client: bool, text: bytes) -> None:
    payload = DeflateCodec(DeflateParameters(), not client).compress(text)
    data = build(TEXT, payload, rsv=4, key=None if client else KEY)
    connection = talk(client=client, codec=DeflateCodec(DeflateParameters(), client))
    connection.feed(data)
    assert close_code(connection) == 1007
    if not client:
        outcome = drop_in_server(data, "permessage-deflate")
        assert (outcome.received, outcome.code) == ([], 1007)


@SIDES
@pytest.mark.parametrize(("text", "good"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("where", ["fragments", "frame", "large frame"])
def test_e2_the_first_bad_byte(talk: Talk, connect: Any, client: bool, where: str, text: bytes, good: int) -> None:
    """1007 with that byte, and not with the one before; what follows it is not waited for (Autobahn 6.4.x)."""
    before = b"a" * 70_000 if where == "large frame" else b"before "
    for make in (talk, lambda **options: connect(strict=True, **options)):
        connection = make(client=client)
        if where == "fragments":
            connection.feed_frame(TEXT, before, fin=False)
            connection.feed_frame(CONT, text[:good], fin=False)
            assert connection.written() == b""
            connection.feed_frame(CONT, text[good : good + 1], fin=False)
        else:
            data = connection.frame(TEXT, before + text + b"x" * 50)
            at = len(data) - 50 - len(text) + good
            begin = max(0, at - 10)
            connection.feed(data[:begin], *bytewise(data[begin:at]))
            assert connection.written() == b""
            connection.feed(data[at : at + 1])
        assert close_code(connection) == 1007


def test_e2_on_sockets(place: Place) -> None:
    """The bad byte is in the first of two fragments; the second is never sent."""

    async def main() -> None:
        client = await place.raw_client(await place.serve_messages())
        await client.upgrade()
        client.send(TEXT, b"good \xff", fin=False)
        frame = await client.read_frame()
        assert (frame.opcode, frame.payload[:2]) == (CLOSE, b"\x03\xef")
        assert await client.read_rest() == b""

    place.run(main)


@SIDES
def test_e3_characters_split_over_fragments_and_reads(talk: Talk, client: bool) -> None:
    """All ways to cut characters of one to four bytes into three fragments, each byte in a read of its own."""
    text = "a\N{LATIN SMALL LETTER E WITH ACUTE}\N{EURO SIGN}\N{GRINNING FACE}"
    data, key = text.encode(), None if client else KEY
    connection = talk(client=client)
    for first, second in itertools.combinations_with_replacement(range(len(data) + 1), 2):
        stream = (
            build(TEXT, data[:first], fin=False, key=key)
            + build(CONT, data[first:second], fin=False, key=key)
            + build(CONT, data[second:], key=key)
        )
        for pieces in ([stream], bytewise(stream)):
            connection.feed(*pieces)
            assert recv(connection) == text
    assert connection.written() == b""


def test_e3_drop_in() -> None:
    text = "a\N{LATIN SMALL LETTER E WITH ACUTE}\N{EURO SIGN}\N{GRINNING FACE}"
    data, cuts = text.encode(), list(itertools.combinations_with_replacement(range(11), 2))
    stream = b"".join(
        build(TEXT, data[:first], fin=False, key=KEY)
        + build(CONT, data[first:second], fin=False, key=KEY)
        + build(CONT, data[second:], key=KEY)
        for first, second in cuts
    )
    outcome = drop_in_server(stream + build(CLOSE, key=KEY))
    assert outcome.received == [text] * len(cuts)


# --- E4 ---


def pure_verdict(text: bytes) -> bool:
    """Whether the pure engine takes it."""
    try:
        return Utf8Decoder().decode(text, True) == text.decode("utf-8", "surrogatepass")
    except WSProtocolError:
        return False


def validators() -> Dict[str, Callable[[bytes], bool]]:
    """The pure one, and the kernels that this processor runs."""
    found: Dict[str, Callable[[bytes], bool]] = {"pure": pure_verdict}
    try:
        kernels = importlib.import_module("picows.core._kernels")
    except ImportError:
        return found
    for name, runs_here in kernels.available():
        if runs_here:
            found[name] = lambda text, name=name: kernels.validate_utf8(name, text) == len(text)  # type: ignore[misc]
    return found


VALIDATORS = validators()
#: One byte of each class that RFC 3629 4 tells apart, and those next to its borders.
TELLING = bytes.fromhex("00417f80818f90919fa0a1bfc0c1c2c3dfe0e1ecedeeeff0f1f3f4f5ff")


def decodes(text: bytes) -> bool:
    """The interpreter's verdict."""
    try:
        codecs.utf_8_decode(text, "strict", True)
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("name", VALIDATORS)
def test_e4_three_byte_strings(name: str) -> None:
    """All of telling bytes. (All 2^24, for each kernel against the definition: test_utf8.h in tests/kernels.)"""
    is_valid = VALIDATORS[name]
    for text in map(bytes, itertools.product(TELLING, repeat=3)):
        assert is_valid(text) is decodes(text), text.hex()


@pytest.mark.parametrize("name", VALIDATORS)
def test_e4_random_strings(name: str) -> None:
    """2^16 of 4 to 64 bytes, a quarter of them good text with a byte changed. (More of them, in C: tests/kernels.)"""
    is_valid, choose = VALIDATORS[name], random.Random(4)
    letters = [chr(code) for code in (0x41, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF)]
    verdicts = [0, 0]
    for number in range(1 << 16):
        if number % 2:
            text = choose.randbytes(choose.randrange(4, 65))
        else:
            text = "".join(choose.choices(letters, k=16)).encode()[: choose.randrange(4, 65)]
            if number % 4:
                at = choose.randrange(len(text))
                text = text[:at] + bytes([choose.randrange(256)]) + text[at + 1 :]
        verdict = decodes(text)
        verdicts[verdict] += 1
        assert is_valid(text) is verdict, text.hex()
    assert min(verdicts) > 1000
