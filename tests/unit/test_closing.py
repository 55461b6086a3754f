"""Payloads of CLOSE frames: what may be sent, what may be received, what says why a connection failed."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from picows.closing import MAX_REASON, close_after, close_payload, parse_close_payload, truncated_reason
from picows.enums import WSCloseCode
from picows.errors import WSProtocolError

VALID = [
    (b"", WSCloseCode.NO_INFO, None),
    (b"\x03\xe8", WSCloseCode.OK, ""),
    (b"\x03\xf6" + "\xe9".encode() * 61, 1014, "\xe9" * 61),
    (b"\x13\x87" + b"x" * 123, 4999, "x" * 123),
]


@pytest.mark.parametrize(("payload", "code", "reason"), VALID, ids=[str(int(code)) for _, code, _ in VALID])
def test_both_ways(payload: bytes, code: int, reason: Optional[str]) -> None:
    assert close_payload(code, (reason or "").encode()) == payload
    parsed = parse_close_payload(payload)
    assert parsed == parse_close_payload(bytearray(payload)) == (code, reason)
    assert isinstance(parsed[0], WSCloseCode)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_kinds_of_a_reason(kind: Any) -> None:
    payload = close_payload(WSCloseCode.OK, kind(b"bye"))
    assert payload == b"\x03\xe8bye"
    assert type(payload) is bytes


@pytest.mark.parametrize(
    ("code", "reason", "text"),
    [
        (0, b"x", "a CLOSE frame without a code cannot carry a message"),
        (-1, b"", "close code -1 must not be sent: 1000-1003, 1007-1014 and 3000-4999 may be"),
        (999, b"", "close code 999 must not be sent: 1000-1003, 1007-1014 and 3000-4999 may be"),
        (1005, b"", "close code 1005 must not be sent: 1000-1003, 1007-1014 and 3000-4999 may be"),
        (5000, b"", "close code 5000 must not be sent: 1000-1003, 1007-1014 and 3000-4999 may be"),
        (1000, "\xe9".encode() * 62, "a close message has at most 123 bytes, got 124"),
    ],
)
def test_what_may_not_be_sent(code: int, reason: bytes, text: str) -> None:
    with pytest.raises(ValueError) as caught:
        close_payload(code, reason)
    assert str(caught.value) == text


def test_a_reason_to_send_must_be_utf8() -> None:
    with pytest.raises(UnicodeDecodeError):
        close_payload(WSCloseCode.OK, b"\xff")


@pytest.mark.parametrize(
    ("payload", "code", "text"),
    [
        (b"\x03", WSCloseCode.PROTOCOL_ERROR, "CLOSE frame with a payload of 1 byte"),
        (b"\x00\x00", WSCloseCode.PROTOCOL_ERROR, "CLOSE frame with invalid code 0"),
        (b"\x03\xed", WSCloseCode.PROTOCOL_ERROR, "CLOSE frame with invalid code 1005"),
        (b"\x13\x88", WSCloseCode.PROTOCOL_ERROR, "CLOSE frame with invalid code 5000"),
        (b"\x03\xe8\xc3", WSCloseCode.INVALID_TEXT, "CLOSE frame whose reason is not UTF-8"),
    ],
)
def test_what_may_not_be_received(payload: bytes, code: WSCloseCode, text: str) -> None:
    with pytest.raises(WSProtocolError) as caught:
        parse_close_payload(payload)
    assert (caught.value.code, str(caught.value)) == (code, text)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("exc", "code", "reason"),
    [
        (WSProtocolError(4000, "because"), 4000, b"because"),
        (WSProtocolError(WSCloseCode.ABNORMAL_CLOSURE, "because"), WSCloseCode.INTERNAL_ERROR, b"because"),
        (WSProtocolError(4000, "x" * 200), 4000, b"x" * MAX_REASON),
        (KeyError("secret"), WSCloseCode.INTERNAL_ERROR, b""),
    ],
    ids=["its own code", "a code that cannot be sent", "a long reason", "any other exception"],
)
def test_what_closes_after_an_exception(exc: Exception, code: int, reason: bytes) -> None:
    assert close_after(exc) == (code, reason)
    assert close_payload(*close_after(exc))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", b""),
        ("x" * 123, b"x" * 123),
        ("x" * 124, b"x" * 123),
        ("x" + "\xe9" * 61, b"x" + "\xe9".encode() * 61),
        ("xx" + "\xe9" * 61, b"xx" + "\xe9".encode() * 60),
        ("\ud800", b"?"),
    ],
    ids=["empty", "123", "124", "fits", "cut before a character", "a lone surrogate"],
)
def test_reasons_are_cut_at_a_character(text: str, reason: bytes) -> None:
    assert truncated_reason(text) == reason
