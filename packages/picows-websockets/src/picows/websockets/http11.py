"""HTTP/1.1 as far as a WebSocket handshake needs it (RFC 9112): requests without body, responses with one.

The parsers are generators over a reader (see `streams`), as the Sans-I/O API has them. What is wrong with a message is
a ValueError, in the words of the websockets library; a limit is a SecurityError; an end before its time an EOFError.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import warnings
from collections.abc import Callable, Generator

from picows.head import TOKEN_CHARS

from .datastructures import Headers
from .exceptions import HeaderLineTooLong, RequestLineTooLong, SecurityError, StatusLineTooLong, TooManyHeaders
from .version import version as websockets_version

__all__ = ["SERVER", "USER_AGENT", "Request", "Response"]

PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_PRODUCT = f"Python/{PYTHON_VERSION} websockets/{websockets_version}"
#: `User-Agent` of clients.
USER_AGENT = os.environ.get("WEBSOCKETS_USER_AGENT", _PRODUCT)
#: `Server` of servers.
SERVER = os.environ.get("WEBSOCKETS_SERVER", _PRODUCT)

MAX_NUM_HEADERS = int(os.environ.get("WEBSOCKETS_MAX_NUM_HEADERS", "128"))
#: Of a line with its CRLF, in bytes.
MAX_LINE_LENGTH = int(os.environ.get("WEBSOCKETS_MAX_LINE_LENGTH", "8192"))
#: Of the body of a response, in bytes.
MAX_BODY_SIZE = int(os.environ.get("WEBSOCKETS_MAX_BODY_SIZE", "1_048_576"))

_Bytes = bytes | bytearray
ReadLine = Callable[[int, type[Exception]], Generator[None, None, _Bytes]]
ReadExact = Callable[[int], Generator[None, None, _Bytes]]
ReadToEof = Callable[[int, type[Exception]], Generator[None, None, _Bytes]]

_NAME = re.compile(TOKEN_CHARS.encode())
_TEXT = re.compile(rb"[\t -~\x80-\xff]*")
_TARGET = re.compile(rb"[!-~]+")
_SIZE = re.compile("[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_NOT_IN_LINE = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


@dataclasses.dataclass
class Request:
    """The request of a handshake.

    Attributes:
        path: the request target, with its query.
        headers: the headers.
        method: "GET" in a handshake.
        protocol: "HTTP/1.1" in a handshake.
    """

    path: str
    headers: Headers
    method: str = "GET"
    protocol: str = "HTTP/1.1"

    _exception: Exception | None = None

    @property
    def exception(self) -> Exception | None:
        """Why the request was refused. Deprecated."""
        _warn("Request.exception is deprecated; use ServerProtocol.handshake_exc instead")
        return self._exception

    @classmethod
    def parse(cls, read_line: ReadLine) -> Generator[None, None, Request]:
        """Read a request; a generator that returns it.

        Args:
            read_line: a generator function that reads a line, such as `StreamReader.read_line`.

        Raises:
            EOFError: the stream ends within the request.
            SecurityError: a limit is exceeded.
            ValueError: this is not HTTP.
            NotImplementedError: the request has a body in a transfer coding.
        """
        line = yield from _read_start_line(read_line, RequestLineTooLong, "request")
        parts = line.split(b" ", 2)
        if len(parts) != 3:
            raise ValueError(f"invalid HTTP request line: {_quote(line)}")
        method, target, protocol = parts
        if protocol not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise ValueError(f"unsupported protocol; expected HTTP/1.1 or HTTP/1.0: {_quote(line)}")
        if not (_NAME.fullmatch(method) and _TARGET.fullmatch(target)):
            raise ValueError(f"invalid HTTP request line: {_quote(line)}")
        headers = yield from _read_headers(read_line)
        if "Transfer-Encoding" in headers:
            raise NotImplementedError("transfer codings aren't supported")
        if any(size != "0" for size in headers.get_all("Content-Length")):
            raise ValueError("unsupported request body")
        return cls(target.decode("ascii"), headers, method.decode("ascii"), protocol.decode("ascii"))

    def serialize(self) -> bytes:
        """The bytes for the wire.

        Raises:
            ValueError: the first line has control characters, or others than ASCII.
        """
        line = _encode_start_line(f"{self.method} {self.path} {self.protocol}", "ascii")
        return line + self.headers.serialize()


@dataclasses.dataclass
class Response:
    """The response to a handshake.

    Attributes:
        status_code: 101 if the handshake succeeds.
        reason_phrase: what that means.
        headers: the headers.
        body: the content, b"" if there is none.
    """

    status_code: int
    reason_phrase: str
    headers: Headers
    body: _Bytes = b""

    _exception: Exception | None = None

    @property
    def exception(self) -> Exception | None:
        """Why the handshake failed. Deprecated."""
        _warn("Response.exception is deprecated; use ClientProtocol.handshake_exc instead")
        return self._exception

    @classmethod
    def parse(
        cls,
        read_line: ReadLine,
        read_exact: ReadExact,
        read_to_eof: ReadToEof,
        proxy: bool = False,
    ) -> Generator[None, None, Response]:
        """Read a response; a generator that returns it.

        Args:
            read_line: a generator function that reads a line, such as `StreamReader.read_line`.
            read_exact: a generator function that reads a number of bytes.
            read_to_eof: a generator function that reads everything.
            proxy: this is a proxy's answer to CONNECT: HTTP/1.0 will do, and what comes after the headers is not a
                body (RFC 9110 9.3.6).

        Raises:
            EOFError: the stream ends within the response.
            SecurityError: a limit is exceeded, or it is not clear where the body ends.
            ValueError: this is not HTTP.
            LookupError: a header that delimits the body is repeated.
            NotImplementedError: the body has a transfer coding other than chunked.
        """
        line = yield from _read_start_line(read_line, StatusLineTooLong, "status")
        parts = line.split(b" ", 2)
        if len(parts) != 3:
            raise ValueError(f"invalid HTTP status line: {_quote(line)}")
        protocol, status, reason = parts
        if protocol != b"HTTP/1.1" and not (proxy and protocol == b"HTTP/1.0"):
            expected = "HTTP/1.1 or HTTP/1.0" if proxy else "HTTP/1.1"
            raise ValueError(f"unsupported protocol; expected {expected}: {_quote(line)}")
        code = _parse_status(status)
        if _TEXT.fullmatch(reason) is None:
            raise ValueError(f"invalid HTTP reason phrase: {_quote(reason)}")
        headers = yield from _read_headers(read_line)
        body: _Bytes = b""
        if not proxy:
            body = yield from _read_body(code, headers, read_line, read_exact, read_to_eof)
        return cls(code, reason.decode("iso-8859-1"), headers, body)

    def serialize(self) -> bytes:
        """The bytes for the wire.

        Raises:
            ValueError: the first line would be more than one.
        """
        line = _encode_start_line(f"HTTP/1.1 {self.status_code:d} {self.reason_phrase}", "iso-8859-1")
        return line + self.headers.serialize() + self.body


def _encode_start_line(line: str, encoding: str) -> bytes:
    if _NOT_IN_LINE.search(line):
        raise ValueError(f"control character in the start line {line!r}")
    return f"{line}\r\n".encode(encoding)


def _read_line(read_line: ReadLine, too_long: type[Exception]) -> Generator[None, None, _Bytes]:
    line = yield from read_line(MAX_LINE_LENGTH, too_long)
    if not line.endswith(b"\r\n"):
        raise EOFError("line without CRLF")
    return line[:-2]


def _read_start_line(read_line: ReadLine, too_long: type[Exception], name: str) -> Generator[None, None, _Bytes]:
    try:
        return (yield from _read_line(read_line, too_long))
    except EOFError as exc:
        raise EOFError(f"connection closed while reading HTTP {name} line") from exc


def _read_headers(read_line: ReadLine) -> Generator[None, None, Headers]:
    headers = Headers()
    for count in range(MAX_NUM_HEADERS + 1):
        try:
            line = yield from _read_line(read_line, HeaderLineTooLong)
        except EOFError as exc:
            raise EOFError("connection closed while reading HTTP headers") from exc
        if not line:
            return headers
        if count == MAX_NUM_HEADERS:
            break
        headers.set_insecure(*_parse_header(line))
    raise TooManyHeaders(f"expected no more than {MAX_NUM_HEADERS} headers")


def _parse_header(line: _Bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon:
        raise ValueError(f"invalid HTTP header line: {_quote(line)}")
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"invalid HTTP header name: {_quote(name)}")
    value = value.strip(b" \t")
    if _TEXT.fullmatch(value) is None:
        raise ValueError(f"invalid HTTP header value: {_quote(value)}")
    return name.decode("ascii"), value.decode("iso-8859-1")


def _parse_status(status: _Bytes) -> int:
    if not (status.isascii() and status.isdigit()):
        raise ValueError(f"invalid status code; expected integer; got {_quote(status)}")
    if len(status) != 3 or not b"100" <= status <= b"599":
        raise ValueError(f"invalid status code; expected 100–599; got {_quote(status)}")
    return int(status)


def _read_body(
    code: int, headers: Headers, read_line: ReadLine, read_exact: ReadExact, read_to_eof: ReadToEof
) -> Generator[None, None, _Bytes]:
    """RFC 9112 6.3."""
    if code < 200 or code in (204, 304):
        return b""
    coding = headers.get("Transfer-Encoding")
    if coding is not None:
        if coding.lower() != "chunked":
            raise NotImplementedError(f"transfer coding {coding} isn't supported")
        return (yield from _read_chunks(read_line, read_exact))
    length = headers.get("Content-Length")
    if length is None:
        return (yield from read_to_eof(MAX_BODY_SIZE, SecurityError))
    if _SIZE.fullmatch(length) is None:
        raise SecurityError(f"invalid content length: {length}")
    size = int(length)
    if size > MAX_BODY_SIZE:
        raise SecurityError(f"body too large: {size} bytes")
    return (yield from read_exact(size))


def _read_chunks(read_line: ReadLine, read_exact: ReadExact) -> Generator[None, None, _Bytes]:
    """RFC 9112 7.1; extensions of chunks and trailers are passed over."""
    body = bytearray()
    while True:
        line = yield from _read_line(read_line, SecurityError)
        digits = line.partition(b";")[0]
        if _CHUNK_SIZE.fullmatch(digits) is None:
            raise SecurityError(f"invalid chunk size: {_quote(digits)}")
        size = int(digits, 16)
        if size == 0:
            yield from _read_headers(read_line)
            return bytes(body)
        if len(body) + size > MAX_BODY_SIZE:
            raise SecurityError(f"chunk too large: {size} bytes after {len(body)} bytes")
        body += yield from read_exact(size)
        if (yield from read_exact(2)) != b"\r\n":
            raise ValueError("chunk without CRLF")


def _quote(data: _Bytes) -> str:
    return data.decode("ascii", "backslashreplace")


def _warn(message: str) -> None:
    warnings.warn(message, DeprecationWarning, stacklevel=3)
