"""A shortcut for what nearly every opening handshake is: a plain head that arrived in one piece.

It takes what the parser in `http11` would take, and leaves to it everything else: heads that are not complete, near a
limit, with a body, or wrong. So that parser alone decides what is refused and with which words.
"""

from __future__ import annotations

import re

from .datastructures import Headers
from .http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS, Request, Response

_REQUEST_LINE = re.compile(r"GET ([!-~]+) HTTP/1\.1\r\n")
_STATUS_LINE = re.compile(r"HTTP/1\.1 101 ([\t -~]*)\r\n")
# A line matches as a whole, and in one way only: never let two neighbouring repetitions match the same character here.
_FIELD = re.compile(r"^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)\r\n", re.MULTILINE)


def read_request(data: bytes) -> tuple[Request, int] | None:
    """Read a request.

    Returns:
        The request and how many bytes it has; None to let `Request.parse` decide.
    """
    head = _cut(data)
    line = _REQUEST_LINE.match(head)
    headers = line and _read_headers(head, line.end())
    if line is None or headers is None or "Content-Length" in headers or "Transfer-Encoding" in headers:
        return None
    return Request(line[1], headers), len(head) + 2


def read_response(data: bytes) -> tuple[Response, int] | None:
    """Read a response with status 101, which has no body.

    Returns:
        The response and how many bytes it has; None to let `Response.parse` decide.
    """
    head = _cut(data)
    line = _STATUS_LINE.match(head)
    headers = line and _read_headers(head, line.end())
    if line is None or headers is None:
        return None
    return Response(101, line[1], headers), len(head) + 2


def _cut(data: bytes) -> str:
    """The head without the empty line at its end; "" if it is not there, or not clearly within the limits."""
    end = data.find(b"\r\n\r\n", 0, MAX_LINE_LENGTH)
    return data[: end + 2].decode("iso-8859-1") if end > 0 else ""


def _read_headers(head: str, start: int) -> Headers | None:
    fields = _FIELD.findall(head, start)
    if len(fields) != head.count("\n", start) or len(fields) > MAX_NUM_HEADERS:
        return None
    headers = Headers()
    headers._add_received([(name, value.strip(" \t")) for name, value in fields])
    return headers
