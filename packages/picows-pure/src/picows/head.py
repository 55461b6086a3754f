"""The end of an HTTP head, found and limited while bytes arrive (RFC 9112 2.2 and 3).

HeadReader looks at each byte once, however the bytes are cut, and refuses at the first byte that is wrong: a head that
is never completed costs no more than MAX_HEAD_SIZE, and another protocol on the port is noticed at once.

Almost every head comes whole, in one read. `split_head` leaves all that to the parser (`http`), which looks at each
byte anyway.
"""

from __future__ import annotations

import re
from typing import Optional, Union

from .errors import WSInvalidMessageError

#: Largest head, its final empty line included, in bytes.
MAX_HEAD_SIZE = 16384
#: Longest line of a head, without its CRLF, in bytes.
MAX_LINE_LENGTH = 8192
#: Most fields in a head.
MAX_HEADERS = 128
#: How much of the body of a refused handshake is kept, in bytes.
MAX_REFUSAL_BODY = 65536
#: The characters of a token (RFC 9110 5.6.2), as a regular expression.
TOKEN_CHARS = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

_NOT_TEXT = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")
_TOKEN = re.compile(TOKEN_CHARS.encode())
_START_SIZE = 32


class HeadReader:
    """Collects one head and enforces the limits as bytes arrive, in linear time however they are cut.

    Args:
        is_request: whether a request or a response is expected, so that another protocol on the port is noticed at its
            first bytes.
    """

    __slots__ = ("_buffer", "_is_request", "_line_start", "_lines", "_scanned")

    def __init__(self, is_request: bool) -> None:
        self._is_request = is_request
        self._buffer = bytearray()
        self._scanned = 0
        self._line_start = 0
        self._lines = 0

    @property
    def received(self) -> bytes:
        """The bytes received so far, as far as they may belong to a head."""
        return bytes(self._buffer[:MAX_HEAD_SIZE])

    def feed(self, data: bytes) -> Optional[tuple[bytes, bytes]]:
        """Take more bytes.

        Returns:
            None while the head is incomplete; then the head, its final empty line included, and the bytes after it. The
            reader is not used any further.

        Raises:
            WSInvalidMessageError: a limit is exceeded (`status` 414 or 431), or the bytes are not text in lines that
                end with CRLF (400). Of a short head that is fed at once the parser finds that out.
        """
        if not self._buffer:
            found = split_head(data)
            if found is not None:
                return found
        old_size = len(self._buffer)
        self._buffer += data
        if old_size < _START_SIZE:
            self._check_start()
        end = self._scan()
        return (bytes(self._buffer[:end]), bytes(self._buffer[end:])) if end else None

    def _check_start(self) -> None:
        start = bytes(self._buffer[:_START_SIZE])
        if not self._is_request:
            if not b"http/1.".startswith(start[:7].lower()):
                raise self._error(f"expected an HTTP/1.1 response, received {show(start)}")
            return
        method = _TOKEN.match(start)
        end = method.end() if method else 0
        if start and (end in (0, _START_SIZE) or start[end : end + 1] not in (b"", b" ")):
            raise self._error(f"expected an HTTP/1.1 request, received {show(start)}")
        if start.startswith(b"PRI "):
            raise self._error("expected an HTTP/1.1 request, received the preface of HTTP/2")

    def _scan(self) -> int:
        """Go on from line end to line end. Return the size of the head, or 0 while it is incomplete."""
        buffer = self._buffer
        limit = min(len(buffer), MAX_HEAD_SIZE)
        while True:
            longest = self._line_start + MAX_LINE_LENGTH
            stop = _NOT_TEXT.search(buffer, self._scanned, min(limit, longest + 1))
            if stop is None:
                if limit > longest:
                    raise self._error(f"a line is longer than {MAX_LINE_LENGTH} bytes", 431 if self._lines else 414)
                self._scanned = limit
                break
            at = self._scanned = stop.start()
            if stop[0] != b"\r":
                what = "LF without CR" if stop[0] == b"\n" else f"control character {show(stop[0])}"
                raise self._error(f"{what} at offset {at}")
            if at + 1 == limit:
                break
            if buffer[at + 1] != 0x0A:
                raise self._error(f"CR without LF at offset {at}")
            if at == self._line_start:
                return at + 2
            self._lines += 1
            if self._lines > MAX_HEADERS + 1:
                raise self._error(f"more than {MAX_HEADERS} header lines", 431)
            self._line_start = self._scanned = at + 2
        if limit < len(buffer):
            raise self._error(f"the head is larger than max_size, {MAX_HEAD_SIZE} bytes", 431)
        return 0

    def _error(self, description: str, status: int = 400) -> WSInvalidMessageError:
        del self._buffer[MAX_HEAD_SIZE:]  # one read may be much more, and who was refused may take a while to leave
        return message_error(description, self.received, status)


def split_head(data: bytes) -> Optional[tuple[bytes, bytes]]:
    """A head that is there as a whole and too short to exceed a limit of size, and the bytes after it; else None.

    Nothing else is known of its bytes.
    """
    end = data.find(b"\r\n\r\n") + 4
    return (data[:end], data[end:]) if 4 < end <= MAX_LINE_LENGTH else None


def message_error(description: str, head: bytes, status: int = 400) -> WSInvalidMessageError:
    """An error about a head, with the status that refuses it."""
    error = WSInvalidMessageError(description, head)
    error.status = status
    return error


def show(received: Union[bytes, str]) -> str:
    """What the peer sent, in a form that can be logged and sent back: quoted printable ASCII, and not long."""
    text = received[:64].decode("latin-1") if isinstance(received, bytes) else received[:64]
    return ascii(text) + ("..." if len(received) > 64 else "")
