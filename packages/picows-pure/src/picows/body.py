"""The body of a response that refuses the handshake, and the error that reports it (RFC 9112 6 and 7.1).

It is diagnostics: read leniently, and no more of it than MAX_REFUSAL_BODY.
"""

from __future__ import annotations

import re

from .errors import WSInvalidStatusError
from .head import MAX_REFUSAL_BODY
from .http import WSUpgradeResponse, header_tokens

_REDIRECTS = (301, 302, 303, 307, 308)
_LENGTH = re.compile("[0-9]{1,18}")
_CHUNK_HEAD = re.compile(rb"(?:\r\n)?([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r\n")
_MAX_CHUNK_HEAD = 256


class RefusalBody:
    """Collects the body of one response that is not 101.

    Args:
        head: the bytes of the head.
        response: the parsed head.
    """

    __slots__ = ("_decoded", "_head", "_is_chunked", "_left", "_limit", "_position", "_raw", "_response")

    def __init__(self, head: bytes, response: WSUpgradeResponse) -> None:
        headers = response.headers
        coding = header_tokens(headers, "Transfer-Encoding")
        lengths = set(headers.getall("Content-Length", ()))
        length = lengths.pop() if len(lengths) == 1 else ""
        self._limit = MAX_REFUSAL_BODY
        self._is_chunked = coding[-1:] == ["chunked"]
        if response.status in (204, 304):
            self._limit = 0
        elif not coding and _LENGTH.fullmatch(length):
            self._limit = min(int(length), MAX_REFUSAL_BODY)
        elif response.status in _REDIRECTS and "Location" in headers:
            # Nobody wants the body of a redirect enough to wait for an end that may not come, and what of it happened
            # to arrive with the head says nothing.
            self._limit = 0
        self._head = head
        self._response = response
        self._raw = bytearray()
        self._decoded = bytearray()
        self._position = 0  # in _raw: what is before it is decoded
        self._left = 0  # bytes of the current chunk that are still to come

    def feed(self, data: bytes) -> bool:
        """Take bytes of the body. Return True if no more are wanted."""
        self._raw += data[: self._limit - len(self._raw)]
        is_last = self._is_chunked and self._decode()
        return is_last or len(self._raw) >= self._limit

    def error(self) -> WSInvalidStatusError:
        """Attach what has arrived of the body to the response, and make the error to raise."""
        response, raw = self._response, bytes(self._raw)
        response.body = bytes(self._decoded) if self._is_chunked else raw
        description = f"the server answered with status {int(response.status)}, not 101"
        return WSInvalidStatusError(description, self._head, raw, response)

    def _decode(self) -> bool:
        """Decode the chunks that have arrived. Return True at the last one, or if it is none."""
        while True:
            piece = self._raw[self._position : self._position + self._left]
            self._decoded += piece
            self._position += len(piece)
            self._left -= len(piece)
            if self._left:
                return False
            head = _CHUNK_HEAD.match(self._raw, self._position)
            if head is None:
                return len(self._raw) - self._position > _MAX_CHUNK_HEAD
            self._left = int(head[1], 16)
            self._position = head.end()
            if not self._left:
                return True
