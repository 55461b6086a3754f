"""UTF-8 in pieces that fails at its first bad byte (RFC 6455 8.1, 5.6), for the frame parser and for inflated text."""

from __future__ import annotations

from codecs import utf_8_decode
from typing import Union

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
            WSProtocolError: 1007, at the first byte that cannot be UTF-8.
        """
        if self._rest:
            data = self._rest + data
        try:
            text, used = utf_8_decode(data, "strict", final)
        except UnicodeDecodeError as exc:
            raise _not_utf8(exc.reason) from None
        rest = self._rest = b"" if used == len(data) else bytes(data[used:])
        # Python waits for the third byte of a surrogate, because some of its error handlers want all three.
        if len(rest) == 2 and rest[0] == 0xED and rest[1] >= 0xA0:
            raise _not_utf8("invalid continuation byte")
        return text


def _not_utf8(reason: str) -> WSProtocolError:
    return WSProtocolError(WSCloseCode.INVALID_TEXT, f"text is not UTF-8: {reason}")
