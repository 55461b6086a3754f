"""The heads of requests and responses, read from a stream."""

from __future__ import annotations

import asyncio
import re

from picows.head import TOKEN_CHARS

from ..datastructures import Headers
from ..exceptions import SecurityError
from ..http11 import MAX_LINE_LENGTH as MAX_LINE_LENGTH
from ..http11 import MAX_NUM_HEADERS as MAX_NUM_HEADERS

__all__ = ["read_request", "read_response"]

_NAME = re.compile(TOKEN_CHARS.encode())
_TEXT = re.compile(rb"[\t -~\x80-\xff]*")


def d(value: bytes) -> str:
    """Bytes in the text of an error."""
    return value.decode(errors="backslashreplace")


async def read_request(stream: asyncio.StreamReader) -> tuple[str, Headers]:
    """Read the head of a GET request.

    Returns:
        The path with its query, and the headers.

    Raises:
        EOFError: the stream ends before.
        SecurityError: a line is too long, or there are too many.
        ValueError: it is something else.
    """
    line = await _read_first_line(stream, "request")
    method, version, target = b"", b"", b""
    try:
        method, target, version = line.split(b" ", 2)
    except ValueError:
        raise ValueError(f"invalid HTTP request line: {d(line)}") from None
    if method != b"GET":
        raise ValueError(f"unsupported HTTP method: {d(method)}")
    _check_version(version)
    return target.decode("ascii", "surrogateescape"), await read_headers(stream)


async def read_response(stream: asyncio.StreamReader) -> tuple[int, str, Headers]:
    """Read the head of a response.

    Returns:
        Status, reason phrase and headers.

    Raises:
        EOFError: the stream ends before.
        SecurityError: a line is too long, or there are too many.
        ValueError: it is something else.
    """
    line = await _read_first_line(stream, "status")
    try:
        version, code, reason = line.split(b" ", 2)
    except ValueError:
        raise ValueError(f"invalid HTTP status line: {d(line)}") from None
    _check_version(version)
    try:
        status = int(code)
    except ValueError:
        raise ValueError(f"invalid HTTP status code: {d(code)}") from None
    if not 100 <= status < 1000:
        raise ValueError(f"unsupported HTTP status code: {d(code)}")
    if _TEXT.fullmatch(reason) is None:
        raise ValueError(f"invalid HTTP reason phrase: {d(reason)}")
    return status, reason.decode(), await read_headers(stream)


async def read_headers(stream: asyncio.StreamReader) -> Headers:
    """Read headers up to the empty line, which belongs to them. Bytes beyond ASCII become surrogates.

    Raises:
        EOFError, SecurityError, ValueError: as for `read_request`.
    """
    headers = Headers()
    for _ in range(MAX_NUM_HEADERS + 1):
        try:
            line = await read_line(stream)
        except EOFError as exc:
            raise EOFError("connection closed while reading HTTP headers") from exc
        if not line:
            return headers
        name, colon, value = line.partition(b":")
        if not colon:
            raise ValueError(f"invalid HTTP header line: {d(line)}")
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"invalid HTTP header name: {d(name)}")
        value = value.strip(b" \t")
        if _TEXT.fullmatch(value) is None:
            raise ValueError(f"invalid HTTP header value: {d(value)}")
        headers.set_insecure(name.decode("ascii"), value.decode("ascii", "surrogateescape"))
    raise SecurityError("too many HTTP headers")


async def read_line(stream: asyncio.StreamReader) -> bytes:
    """Read a line, and return it without its end.

    Raises:
        EOFError: the stream ends before, or the line does not end with CRLF.
        SecurityError: it is too long.
    """
    line = await stream.readline()
    if len(line) > MAX_LINE_LENGTH:
        raise SecurityError("line too long")
    if not line.endswith(b"\r\n"):
        raise EOFError("line without CRLF")
    return line[:-2]


async def _read_first_line(stream: asyncio.StreamReader, kind: str) -> bytes:
    try:
        return await read_line(stream)
    except EOFError as exc:
        raise EOFError(f"connection closed while reading HTTP {kind} line") from exc


def _check_version(version: bytes) -> None:
    if version != b"HTTP/1.1":
        raise ValueError(f"unsupported HTTP version: {d(version)}")
