"""UTF-8 in pieces that fails at its first bad byte (RFC 6455 8.1, 5.6), for the frame parser and for inflated text."""

from __future__ import annotations

from codecs import utf_8_decode
from typing import Optional, Union

from ..enums import WSCloseCode
from ..errors import WSProtocolError


class Utf8Decoder:
    """Decodes one text after the other."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        #: The beginning of a character whose end has not arrived.
        self._rest = b""

    def decode(self, data: Union[bytes, bytearray], final: bool) -> str:
        """Decode a piece; `final` with the last one of its text.

        Raises:
            WSProtocolError: 1007, at the first byte that cannot be UTF-8; its cause says where in this piece that is.
        """
        error: Optional[WSProtocolError] = None
        known = len(self._rest)
        if known:
            data = self._rest + data
        try:
            text, used = utf_8_decode(data, "strict", final)
        except UnicodeDecodeError as exc:
            error = _not_utf8(exc.reason, data, known, exc.start, exc.end)
        else:
            rest = self._rest = b"" if used == len(data) else bytes(data[used:])
            # Python waits for the third byte of a surrogate, because some of its error handlers want all three.
            if len(rest) == 2 and rest[0] == 0xED and rest[1] >= 0xA0:
                error = _not_utf8("invalid continuation byte", data, known, used, used + 1)
        if error is not None:
            raise error
        return text


def _not_utf8(reason: str, data: Union[bytes, bytearray], known: int, start: int, end: int) -> WSProtocolError:
    """The error; its cause is about what followed the first `known` bytes."""
    start = max(start - known, 0)
    error = WSProtocolError(WSCloseCode.INVALID_TEXT, f"text is not UTF-8: {reason}")
    error.__cause__ = UnicodeDecodeError("utf-8", bytes(data[known:]), start, max(end - known, start + 1), reason)
    return error
