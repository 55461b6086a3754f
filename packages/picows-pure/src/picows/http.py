"""HTTP/1.1 heads: bytes in, requests and responses out, and the reverse (RFC 9112, as far as RFC 6455 4 needs it).

The parsers take a whole head, as HeadReader collects it, and leave the loop over its bytes to C: one regular expression
finds all fields, and their number tells whether each line was one. Only where something is wrong a second, slower look
finds out what it is.

A message that came from the wire keeps its head, and makes `headers` of it when somebody asks: for most connections
nobody does, and a CIMultiDict is several times as large as what it was made of.

Nothing lenient is used on bytes from the wire: no `splitlines`, no `isdigit`, no `int()` before a pattern of ASCII
digits. Values are decoded as ASCII and encoded as UTF-8, both with surrogateescape, so that a received value that is
sent on is the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Optional, Union

from multidict import CIMultiDict

from .errors import WSInvalidMessageError
from .head import MAX_HEAD_SIZE as MAX_HEAD_SIZE
from .head import MAX_HEADERS as MAX_HEADERS
from .head import MAX_LINE_LENGTH, TOKEN_CHARS, HeadReader, message_error, show
from .head import MAX_REFUSAL_BODY as MAX_REFUSAL_BODY

WSHeadersLike = Union[Mapping[str, str], Iterable[tuple[str, str]]]

#: Fields that hold credentials: hidden in repr(), and not sent to another origin.
CREDENTIAL_HEADERS = frozenset(("authorization", "cookie", "proxy-authorization"))

_HIDDEN = CREDENTIAL_HEADERS | {"set-cookie"}
_OF_ONE_ORIGIN = CREDENTIAL_HEADERS | {"host"}
# Python 3.11 takes longer to find a member of an enum than to make the rest of a response.
_SWITCHING_PROTOCOLS = HTTPStatus.SWITCHING_PROTOCOLS
_STATUS_BY_CODE: dict[int, HTTPStatus] = {int(status): status for status in HTTPStatus}

_CREDENTIALS = re.compile(rb"(?im)^(%s):[^\r\n]*" % "|".join(sorted(_HIDDEN)).encode())
# Up to the last "@", or to where the bytes end within the authority: the "@" may come with the next read.
_LOCATION_CREDENTIALS = re.compile(rb"(?im)^(location:[^\r\n]*?//)[^/?#\r\n]*(?:@|\Z)")
_TOKEN = re.compile(TOKEN_CHARS)
_TOKEN_BYTES = re.compile(TOKEN_CHARS.encode())
_NOT_IN_VALUE = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udc7f\udd00-\udfff]")
# Begins with the end of the line before, for which re searches fast. No part of it can match in two ways, so it takes
# linear time. The value keeps its trailing blanks. What is not text ends it early, and the line is then no field.
_FIELD = re.compile(rf"\r\n({TOKEN_CHARS}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)(?=\r\n)")
_REQUEST_LINE = re.compile(rb"GET ([^ \r\n]+) (HTTP/1\.1)\r\n")
_HTTP_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-5][0-9][0-9]) [^\x00-\x08\x0a-\x1f\x7f]*\r\n", re.IGNORECASE)
# origin-form or absolute-form (RFC 9112 3.2). "//" without a name would be an empty authority to URL libraries.
_TARGET = re.compile(
    rb"(?:/(?!/(?:[/?]|$))|(?:https?|wss?)://(?:\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::[0-9]{0,5})?(?:[/?]|$))[^\x00-\x20#\x7f]*",
    re.IGNORECASE,
)
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class _Message:
    """`headers` of a request and of a response."""

    __slots__ = ("_headers",)

    #: What was set, or the head that they will be made of: whole, and known to be well-formed.
    _headers: Union[CIMultiDict[str], bytes]

    @property
    def headers(self) -> CIMultiDict[str]:
        """The fields, in order, with repeats; names in any case."""
        headers = self._headers
        if isinstance(headers, bytes):
            headers = self._headers = CIMultiDict(_find_fields(headers, is_request=True))
        return headers

    @headers.setter
    def headers(self, headers: CIMultiDict[str]) -> None:
        self._headers = headers


class WSUpgradeRequest(_Message):
    """The request that opens a WebSocket connection (RFC 6455 4.1).

    Attributes:
        method: b"GET".
        path: the request target with its query, percent-encoded.
        version: b"HTTP/1.1".
        headers: the fields, in order, with repeats; names in any case.
    """

    __slots__ = ("method", "path", "version")

    method: bytes
    path: bytes
    version: bytes

    def __init__(
        self,
        *,
        method: bytes = b"GET",
        path: bytes = b"/",
        version: bytes = b"HTTP/1.1",
        headers: Optional[CIMultiDict[str]] = None,
    ) -> None:
        self.method = method
        self.path = path
        self.version = version
        self._headers = CIMultiDict() if headers is None else headers

    def __repr__(self) -> str:
        headers = _show_headers(self.headers)
        return f"{type(self).__name__}(method={self.method!r}, path={self.path!r}, headers={headers})"


class WSUpgradeResponse(_Message):
    """The answer to a WSUpgradeRequest. Made by a static method; the constructor leaves all attributes unset.

    Attributes:
        version: b"HTTP/1.1".
        status: HTTPStatus, or an int where that has no member for it.
        headers: the fields, in order, with repeats; names in any case.
        body: the content, or None.
    """

    __slots__ = ("body", "status", "version")

    version: bytes
    status: int
    body: Optional[bytes]

    @staticmethod
    def create_ok_response(
        body: Optional[bytes] = None, extra_headers: Optional[WSHeadersLike] = None
    ) -> WSUpgradeResponse:
        """Answer 200, without an upgrade. Content-Type is text/plain in UTF-8 unless given."""
        response = _make_response(HTTPStatus.OK, body, extra_headers)
        response.headers.setdefault("Content-Type", "text/plain; charset=utf-8")
        return response

    @staticmethod
    def create_error_response(
        status: int, body: Optional[bytes] = None, extra_headers: Optional[WSHeadersLike] = None
    ) -> WSUpgradeResponse:
        """Refuse the upgrade. Raises ValueError unless `status` is in HTTPStatus and 400 or more."""
        if status < 400:
            raise ValueError(f"the status of an error must be 400 or more, not {int(status)}")
        return _make_response(HTTPStatus(status), body, extra_headers)

    @staticmethod
    def create_redirect_response(
        status: int, location: str, extra_headers: Optional[WSHeadersLike] = None
    ) -> WSUpgradeResponse:
        """Send the client to `location`. Raises ValueError unless `status` is in HTTPStatus and from 300 to 399."""
        if not 300 <= status <= 399:
            raise ValueError(f"the status of a redirect must be 300 to 399, not {int(status)}")
        check_header("Location", location)
        response = _make_response(HTTPStatus(status), None, extra_headers)
        response.headers["Location"] = location
        return response

    @staticmethod
    def create_101_response(extra_headers: Optional[WSHeadersLike] = None) -> WSUpgradeResponse:
        """Accept the upgrade, with fields of your own such as Sec-WebSocket-Protocol."""
        response = _make_response(HTTPStatus.SWITCHING_PROTOCOLS, None, extra_headers)
        response.headers["Connection"] = "upgrade"
        response.headers["Upgrade"] = "websocket"
        return response

    def to_bytes(self) -> bytes:
        """Encode for the wire; the response itself is not changed.

        Returns:
            Head and body. With a body come Content-Length, and Content-Type text/plain where none is given.

        Raises:
            ValueError: a field cannot be sent as it is.
        """
        headers, body = self.headers, self.body
        if body is not None:
            headers = CIMultiDict(headers)
            headers.setdefault("Content-Type", "text/plain; charset=utf-8")
            headers["Content-Length"] = str(len(body))
        status = _STATUS_BY_CODE.get(self.status)
        start_line = f"{self.version.decode('ascii')} {int(self.status)} {status.phrase if status else ''}"
        return encode_head(start_line, headers) + (body or b"")

    def __repr__(self) -> str:
        if not hasattr(self, "status"):
            return f"<empty {type(self).__name__}>"
        body = "None" if self.body is None else f"<{len(self.body)} bytes>"
        return f"{type(self).__name__}(status={int(self.status)}, headers={_show_headers(self.headers)}, body={body})"


class WSUpgradeResponseWithListener:
    """What a server's listener factory returns to choose the response: an answer, and the listener if that is 101.

    Args:
        response: the answer.
        listener: the WSListener of the connection; None if the answer is not 101.

    Raises:
        ValueError: status 101 without a listener, or status 400 and above with one.
        TypeError: `response` is not a WSUpgradeResponse.
    """

    __slots__ = ("listener", "response")

    def __init__(self, response: WSUpgradeResponse, listener: Any) -> None:
        if not isinstance(response, WSUpgradeResponse):
            raise TypeError(f"response must be a WSUpgradeResponse, not {type(response).__name__}")
        if response.status == 101 and listener is None:
            raise ValueError("a response with status 101 needs a listener")
        if response.status >= 400 and listener is not None:
            raise ValueError(f"a response with status {int(response.status)} must not have a listener")
        self.response = response
        self.listener = listener


def check_header(name: str, value: str) -> None:
    """Raise TypeError for a field that is not str, ValueError for one that RFC 9110 5 does not allow to be sent."""
    if not isinstance(name, str):
        raise TypeError(f"header names must be str, not {type(name).__name__}")
    if not isinstance(value, str):
        raise TypeError(f"the value of header {name!r} must be a str, not {type(value).__name__}")
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name: letters, digits and !#$%&'*+-.^_`|~ are allowed")
    bad = _NOT_IN_VALUE.search(value)
    if bad is not None:
        raise ValueError(f"the value of header {name!r} must not contain {bad[0]!r}, found at offset {bad.start()}")


def header_pairs(extra: Optional[WSHeadersLike]) -> list[tuple[str, str]]:
    """Check headers given by the user and list them, repeats included.

    Args:
        extra: a mapping (also a CIMultiDict), an iterable of pairs, or None.

    Raises:
        TypeError: it is something else, or a name or value is not a str.
        ValueError: a name or value cannot be sent; see check_header.
    """
    if extra is None:
        return []
    items: Any = extra.items() if isinstance(extra, Mapping) else extra
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise TypeError(f"headers must be a mapping or an iterable of (name, value), not {type(items).__name__}")
    pairs: list[tuple[str, str]] = []
    for item in items:
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise TypeError(f"headers must be a mapping or an iterable of (name, value), not of {type(item).__name__}")
        name, value = item
        check_header(name, value)
        pairs.append((name, value))
    return pairs


def add_extra_headers(headers: CIMultiDict[str], extra_headers: Optional[WSHeadersLike]) -> None:
    """Append headers given by the user, all or none. Raises what header_pairs raises."""
    headers.extend(header_pairs(extra_headers))


def drop_credentials(extra: Optional[WSHeadersLike]) -> list[tuple[str, str]]:
    """The headers that may follow a redirect to another origin: without credentials, and without a `Host`, which names
    the first one. Raises what header_pairs raises."""
    return [pair for pair in header_pairs(extra) if pair[0].lower() not in _OF_ONE_ORIGIN]


def hide_credentials(head: bytes) -> bytes:
    """The bytes of a head, or of a part of one, for a log: without the values of headers that carry credentials, and
    without those in a redirect's Location."""
    return _LOCATION_CREDENTIALS.sub(rb"\1...@", _CREDENTIALS.sub(rb"\1: ...", head))


def hide_rest_of_line(data: bytes) -> bytes:
    """A further part of a head, for a log: the line that it begins within may be one that carries credentials."""
    _, newline, rest = data.partition(b"\n")
    return b"..." + newline + hide_credentials(rest)


def header_tokens(headers: CIMultiDict[str], name: str) -> list[str]:
    """The elements of a list header, lower case, over all its lines (RFC 9110 5.6.1). Empty elements are left out."""
    elements = (element.strip(" \t").lower() for value in headers.getall(name, ()) for element in value.split(","))
    return [element for element in elements if element]


def encode_head(start_line: str, headers: CIMultiDict[str]) -> bytes:
    """Encode a head. Raises TypeError or ValueError: users may have put anything into `headers`."""
    if _NOT_IN_VALUE.search(start_line):
        raise ValueError(f"control character in the start line {start_line!r}")
    lines = [start_line]
    for name, value in headers.items():
        check_header(name, value)
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def parse_request(head: bytes, allow_broken_escapes: bool = False) -> WSUpgradeRequest:
    """Parse the head of a request, its final empty line included.

    Args:
        head: the bytes.
        allow_broken_escapes: a "%" in the target need not begin an escape (RFC 3986 2.1). Browsers send it as it is.

    Raises:
        WSInvalidMessageError: it is not a well-formed GET request of HTTP/1.1; `status` says how to refuse it: 400,
            405 (method), 414 or 431 (limits), 505 (version).
    """
    return parse_request_fields(head, allow_broken_escapes)[0]


def request_of_head(head: bytes, target: bytes) -> WSUpgradeRequest:
    """The request of a head that is known to be well-formed."""
    request = WSUpgradeRequest.__new__(WSUpgradeRequest)
    request.method, request.path, request.version, request._headers = b"GET", target, b"HTTP/1.1", head
    return request


def parse_request_fields(
    head: bytes, allow_broken_escapes: bool = False
) -> tuple[WSUpgradeRequest, list[tuple[str, str]]]:
    """As parse_request, with the fields beside the request: who needs few of them need not ask for `headers`."""
    line = _REQUEST_LINE.match(head)
    target = line[1] if line else b""
    is_broken = b"%" in target and not allow_broken_escapes and _BROKEN_ESCAPE.search(target)
    if is_broken or not _TARGET.fullmatch(target):
        _check_lines(head, is_request=True)
        raise _request_line_error(head)
    fields = _find_fields(head, is_request=True)
    return request_of_head(head, target), fields


def parse_response(head: bytes, allow_http_1_0: bool = False) -> WSUpgradeResponse:
    """Parse the head of a response, its final empty line included. `body` is None.

    Args:
        head: the bytes.
        allow_http_1_0: accept HTTP/1.0 too, which proxies answer to CONNECT.

    Raises:
        WSInvalidMessageError: it is not well-formed HTTP/1.1, or exceeds a limit.
    """
    _find_fields(head, is_request=False)
    line = _STATUS_LINE.match(head)
    if line is None or not (allow_http_1_0 or line[1].endswith(b"1")):
        _check_lines(head, is_request=False)
        received = show(head[: head.index(b"\r\n")])
        raise message_error(f"status line {received} is not 'HTTP/1.1', a status from 100 to 599, and a reason", head)
    response = WSUpgradeResponse()
    code = int(line[2])
    response.version = line[1].upper()
    response.status = _STATUS_BY_CODE.get(code, code)
    response._headers = head
    response.body = None
    return response


def accepting_response(head: bytes) -> WSUpgradeResponse:
    """The 101 of which this is the head, as we send it."""
    response = WSUpgradeResponse()
    response.version, response.status, response.body = b"HTTP/1.1", _SWITCHING_PROTOCOLS, None
    response._headers = head
    return response


def _check_lines(head: bytes, is_request: bool) -> None:
    """Raise what HeadReader has against these bytes, or if they are not one whole head."""
    reader = HeadReader(is_request)
    # Cut, so that it looks at each line: it trusts its caller to do that with a head that comes whole. Near its end, so
    # that a short answer in another protocol is shown as a whole.
    cut = max(len(head) - 1, 0)
    found = None if reader.feed(head[:cut]) else reader.feed(head[cut:])
    if found is None or found[1]:
        raise message_error("the bytes are not one complete head, ended by an empty line", head)


def _request_line_error(head: bytes) -> WSInvalidMessageError:
    line = head[: head.index(b"\r\n")]
    parts = line.split(b" ")
    if len(parts) != 3 or not (_TOKEN_BYTES.fullmatch(parts[0]) and parts[1] and _HTTP_VERSION.fullmatch(parts[2])):
        return message_error(f"request line {show(line)} is not a method, a target and 'HTTP/1.1'", head)
    if parts[2] != b"HTTP/1.1":
        return message_error(f"HTTP version {show(parts[2])} is not supported, only 'HTTP/1.1' is", head, 505)
    if parts[0] != b"GET":
        return message_error(f"method {show(parts[0])} is not allowed, only 'GET' is", head, 405)
    if not _TARGET.fullmatch(parts[1]):
        return message_error(f"request target {show(parts[1])} is neither a path nor an http URL", head)
    return message_error(f"request target {show(parts[1])} contains % without two hexadecimal digits", head)


def _find_fields(head: bytes, is_request: bool) -> list[tuple[str, str]]:
    """The fields of a head, once it is known that it consists of a first line, fields and an empty line."""
    text = head.decode("ascii", "surrogateescape")
    fields = _FIELD.findall(text)
    # No field begins at the last two line ends. If one does at each of the others, every line but the first is one.
    is_well_formed = len(fields) == text.count("\r\n") - 2 and text.endswith("\r\n\r\n")
    if not is_well_formed or len(fields) > MAX_HEADERS or len(text) > MAX_LINE_LENGTH:
        _check_lines(head, is_request)
        if not is_well_formed:
            errors = map(_field_error, text[:-4].split("\r\n")[1:])
            raise message_error(next(filter(None, errors)), head)
    if " \r\n" in text or "\t\r\n" in text:
        fields = [(name, value.rstrip(" \t")) for name, value in fields]
    return fields


def _field_error(line: str) -> Optional[str]:
    name, colon, _ = line.partition(":")
    if _TOKEN.fullmatch(name) and colon:
        return None
    if line[:1] in (" ", "\t"):
        return "a header continues on a second line (obsolete folding)"
    return f"header line {show(line)} is not a name, ':' and a value"


def _make_response(
    status: HTTPStatus, body: Optional[bytes], extra_headers: Optional[WSHeadersLike]
) -> WSUpgradeResponse:
    if not isinstance(body, (bytes, bytearray, memoryview, type(None))):
        raise TypeError(f"body must be bytes or None, not {type(body).__name__}")
    response = WSUpgradeResponse()
    response.version = b"HTTP/1.1"
    response.status = status
    response.headers = CIMultiDict()
    response.body = None if body is None else bytes(body)
    add_extra_headers(response.headers, extra_headers)
    return response


def _show_headers(headers: CIMultiDict[str]) -> str:
    return repr([(name, "***" if name.lower() in _HIDDEN else value) for name, value in headers.items()])
