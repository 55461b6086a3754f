"""What the engine says about a peer that breaks the protocol, in the words of this API.

Users compare close reasons and the text of ConnectionClosed; the engine has words of its own.
"""

from __future__ import annotations

from typing import NamedTuple

from picows.enums import WSCloseCode
from picows.errors import WSMessageTooBigError, WSProtocolError

from ..exceptions import PayloadTooBig, ProtocolError

#: How the engine's text begins, and what is said instead.
_WORDS = (
    ("frame with reserved opcode", "invalid opcode"),
    ("fragmented control frame", "fragmented control frame"),
    ("masked frame", "incorrect masking"),
    ("unmasked frame", "incorrect masking"),
    ("control frame with more than", "control frame too long"),
    ("reserved bits", "reserved bits must be 0"),
    ("CONTINUATION frame without", "unexpected continuation frame"),
    ("a new message before", "expected a continuation frame"),
    ("CLOSE frame with a payload of 1 byte", "close frame too short"),
    ("CLOSE frame with invalid code", "invalid status code"),
    ("compressed message is damaged", "decompression failed"),
    ("message has over", "decompression failed"),
)


class Violation(NamedTuple):
    """What to close with, and what caused it."""

    code: int
    reason: str
    cause: Exception


def explain(exc: WSProtocolError) -> Violation:
    """Translate an error of the engine."""
    text = str(exc)
    if isinstance(exc, WSMessageTooBigError):
        return _too_big(exc)
    if exc.code == WSCloseCode.INVALID_TEXT:
        return _not_utf8(exc)
    for beginning, words in _WORDS:
        if text.startswith(beginning):
            return Violation(exc.code, words, ProtocolError(words))
    return Violation(exc.code, text, ProtocolError(text))


def _too_big(exc: WSMessageTooBigError) -> Violation:
    size, limit = exc.size, exc.limit
    too_big = PayloadTooBig(size, limit)
    return Violation(exc.code, str(too_big), too_big)


def _not_utf8(exc: WSProtocolError) -> Violation:
    cause = exc.__cause__
    if not isinstance(cause, UnicodeDecodeError):
        return Violation(exc.code, str(exc).rpartition(": ")[2], exc.with_traceback(None))
    # Text is checked in pieces: in a message nobody knows at which position the piece begins.
    position = f" at position {cause.start}" if str(exc).startswith("CLOSE frame") else ""
    return Violation(exc.code, cause.reason + position, cause)
