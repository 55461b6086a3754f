"""The opening handshake of RFC 6455 4, for both roles: bytes in, bytes and objects out, no sockets.

    client                                       server
    ClientHandshake(url, headers).data_to_send() -> ServerHandshake().receive_data(): the head is HTTP we can answer
                                                    the listener factory chooses a WSUpgradeResponse
    receive_data() is True, or raises            <- respond(response): 101 if it is a valid upgrade, else a refusal

The server checks in two stages because the factory may answer plain HTTP requests, and must not see requests that a
proxy in front could understand differently (a body, two Hosts). Every refusal ends the connection: it says
`Connection: close`, and whatever the peer sends after it is discarded.

No exception is stored with its traceback: that refers to the handshake, and the cycle would keep a dead connection in
memory.
"""

from __future__ import annotations

import binascii
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import NoReturn, Optional, Union

from multidict import CIMultiDict

from .body import RefusalBody
from .errors import WSHandshakeEOFError, WSHandshakeError, WSInvalidHeaderError, WSInvalidUpgradeError
from .extensions import HEADER_NAME as EXTENSIONS
from .extensions import parse_extensions
from .head import MAX_REFUSAL_BODY, HeadReader, message_error, show
from .http import (
    WSHeadersLike,
    WSUpgradeRequest,
    WSUpgradeResponse,
    accepting_response,
    encode_head,
    header_pairs,
    header_tokens,
    parse_request,
    parse_response,
    request_of_head,
)
from .url import WSParsedURL

#: RFC 6455 1.3.
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: How many interim responses (RFC 9110 15.2) may come before the final one.
MAX_INTERIM_RESPONSES = 8

_ACCEPTANCE = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_TARGET = re.compile(r"[!-~]+")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~!$&'()*+,;=%-]{1,255})(?::[0-9]{0,5})?")
# What the library alone decides, whatever the application put into its response.
_OURS_IF_ACCEPTED = ("connection", "upgrade", "sec-websocket-accept", "content-length", "transfer-encoding")
_OURS_IF_REFUSED = ("connection", "content-length", "transfer-encoding")
_ERROR_STATUSES = frozenset(int(status) for status in HTTPStatus if status >= 400)
_MAX_ERROR_TEXT = 500

_Scan = Callable[[bytes], Optional[tuple[int, bytes, bytes]]]


def accept_key(key: Union[str, bytes]) -> str:
    """Compute Sec-WebSocket-Accept from Sec-WebSocket-Key (RFC 6455 4.2.2)."""
    raw = key.encode("ascii") if isinstance(key, str) else key
    return _base64(hashlib.sha1(raw + GUID, usedforsecurity=False).digest())


def basic_auth(username: str, password: str) -> str:
    """The value of Authorization for a user (RFC 7617). Raises ValueError for a colon in the name: it would end it."""
    if ":" in username:
        raise ValueError("a user name for HTTP basic authentication must not contain a colon (RFC 7617 2)")
    return "Basic " + _base64(f"{username}:{password}".encode())


class ClientHandshake:
    """The client's half.

    Args:
        url: where to connect; its credentials become `Authorization: Basic` unless extra_headers has Authorization.
        extra_headers: sent after our own, in their order; `Host` replaces ours. Subprotocols and extensions are offered
            here.

    Attributes:
        request: what is sent.
        response: the final response as soon as its head is complete. If it is not 101 its `body` is set when the error
            is raised.
        remainder: the bytes after a 101: the first frames.

    Raises:
        TypeError, ValueError: an argument cannot be sent.
    """

    def __init__(self, url: WSParsedURL, extra_headers: Optional[WSHeadersLike] = None) -> None:
        if not isinstance(url, WSParsedURL):
            raise TypeError(f"url must be a WSParsedURL, not {type(url).__name__}")
        target = url.resource_name
        if not _TARGET.fullmatch(target):
            raise ValueError("path and query of the URL must be printable ASCII without spaces: use parse_url")
        key = _base64(os.urandom(16))
        headers = _client_headers(url, key, header_pairs(extra_headers))
        self.request = WSUpgradeRequest(path=target.encode("ascii"), headers=headers)
        self.response: Optional[WSUpgradeResponse] = None
        self.remainder = b""
        self._data = encode_head(f"GET {target} HTTP/1.1", headers)
        self._accept = accept_key(key)
        self._reader = HeadReader(is_request=False)
        self._interim = 0
        self._body: Optional[RefusalBody] = None
        self._accepted = False
        self._failed = False

    def data_to_send(self) -> bytes:
        """The bytes of the request."""
        return self._data

    def receive_data(self, data: bytes) -> bool:
        """Take bytes of the response.

        Returns:
            True once a valid 101 has arrived; what follows is added to `remainder`. False while more is needed, and
            after an error: everything is then discarded.

        Raises:
            WSInvalidMessageError: not HTTP/1.1, or a limit is exceeded.
            WSInvalidStatusError: the status is not 101; raised when the body has arrived, as far as it is kept.
            WSInvalidHeaderError: a 101 that is not an answer to our request.
            WSInvalidUpgradeError: the same, for `Upgrade` and `Connection`.
        """
        if self._accepted:
            self.remainder += data
            return True
        if self._failed:
            return False
        try:
            if self._body is None:
                self._receive_head(data)
            elif self._body.feed(data):
                raise self._body.error()
        except WSHandshakeError:
            self._failed = True
            raise
        return self._accepted

    def receive_eof(self) -> NoReturn:
        """Take the end of the connection, or of our patience, before receive_data returned True.

        Raises:
            WSHandshakeEOFError: the head of the response is not complete; `raw_header` has what came.
            WSInvalidStatusError: the server refused, and the body is what came.
        """
        self._failed = True
        if self._body is not None:
            raise self._body.error()
        received = self._reader.received
        raise WSHandshakeEOFError(f"the server hung up after {len(received)} bytes of its response", received)

    def _receive_head(self, data: bytes) -> None:
        found = self._reader.feed(data)
        if found is None:
            return
        head, rest = found
        try:
            response = parse_response(head)
            is_interim = response.status < 200 and response.status != 101
            if is_interim:
                self._count_interim(head)
            else:
                self.response = response
            if response.status == 101:
                _check_upgrade_response(response, self.request, self._accept)
        except WSHandshakeError as exc:
            exc.raw_header, exc.raw_body, exc.response = head, rest[:MAX_REFUSAL_BODY], self.response
            raise
        if is_interim:
            self._reader = HeadReader(is_request=False)
            self._receive_head(rest)
        elif response.status == 101:
            self.remainder, self._accepted = rest, True
        else:
            self._body = RefusalBody(head, response)
            if self._body.feed(rest):
                raise self._body.error()

    def _count_interim(self, head: bytes) -> None:
        self._interim += 1
        if self._interim > MAX_INTERIM_RESPONSES:
            raise message_error(f"more than {MAX_INTERIM_RESPONSES} interim responses", head)


class ServerHandshake:
    """The server's half.

    Args:
        scan_upgrade: an engine's, which recognises ordinary requests. All others are looked at closely here.

    Attributes:
        request: the request, once receive_data returned True.
        remainder: the bytes after it: the first frames, if respond() accepts.
        response: what respond() sent, or None.
        error: why respond() refused an upgrade that the application had accepted, or None.
    """

    __slots__ = ("_accept", "_head", "_reader", "_refused", "_scan", "error", "remainder", "request", "response")
    #: See parse_request; for subclasses.
    _allow_broken_escapes = False

    def __init__(self, scan_upgrade: Optional[_Scan] = None) -> None:
        self.request: Optional[WSUpgradeRequest] = None
        self.remainder = b""
        self.response: Optional[WSUpgradeResponse] = None
        self.error: Optional[WSHandshakeError] = None
        self._scan = scan_upgrade
        self._reader: Optional[HeadReader] = None
        self._head = b""
        # What accepts the request, if that is known already.
        self._accept = b""
        self._refused = False

    def receive_data(self, data: bytes) -> bool:
        """Take bytes of the request.

        Returns:
            True once a request is complete that may be shown to the application; what follows is added to `remainder`.
            False while more is needed, and after an error or a refusal: everything is then discarded.

        Raises:
            WSHandshakeError: it is not such a request. Answer with respond(refusal(error)).
        """
        if self._refused:
            return False
        if self.request is not None:
            self.remainder += data
            return True
        if self._reader is None:
            ordinary = self._scan(data) if self._scan is not None else None
            if ordinary is not None:
                size, target, self._accept = ordinary
                self._head, self.remainder = data[:size], data[size:]
                self.request = request_of_head(self._head, target)
                return True
            self._reader = HeadReader(is_request=True)
        try:
            found = self._reader.feed(data)
            if found is None:
                return False
            self._take_request(*found)
        except WSHandshakeError:
            self._refused = True
            raise
        return True

    def receive_eof(self) -> NoReturn:
        """Take the end of the connection before a response was sent. Raises WSHandshakeEOFError."""
        self._refused = True
        if self._head:
            raise WSHandshakeEOFError("the client hung up before its request was answered", self._head)
        received = self._reader.received if self._reader is not None else b""
        raise WSHandshakeEOFError(f"the client hung up after {len(received)} bytes of its request", received)

    def accept(self) -> tuple[bytes, bool]:
        """Answer with a 101 that has nothing but what RFC 6455 4.2.2 asks for. Results and errors as for respond()."""
        if not self._accept or self.response is not None:
            return self.respond(WSUpgradeResponse.create_101_response())
        data = _ACCEPTANCE % self._accept
        self.response = accepting_response(data)
        return data, True

    def respond(self, response: WSUpgradeResponse) -> tuple[bytes, bool]:
        """Answer the request, once.

        Args:
            response: status 101 to accept the upgrade, anything else to refuse. It is not changed and may be reused.

        Returns:
            The bytes to send, and True if they are a 101. With False the connection must be closed after them. A 101
            for a request that is not a valid upgrade becomes a refusal, and `error` says why.

        Raises:
            TypeError, ValueError: the response cannot be sent; the handshake still waits for one.
            RuntimeError: there is no request to accept, or it was answered before.
        """
        if not isinstance(response, WSUpgradeResponse):
            raise TypeError(f"response must be a WSUpgradeResponse, not {type(response).__name__}")
        if self.response is not None:
            raise RuntimeError("the request was answered before")
        sent: Optional[WSUpgradeResponse] = None
        if response.status == 101:
            if self.request is None:
                raise RuntimeError("there is no request that could be accepted")
            try:
                sent = _acceptance(response, self._accept.decode() or check_upgrade_request(self.request))
            except WSHandshakeError as exc:
                exc.raw_header = self._head
                self.error = exc.with_traceback(None)
                response = refusal(exc)
        accepted = sent is not None
        sent = sent or _closing_answer(response)
        data = sent.to_bytes()
        self.response, self._refused = sent, not accepted
        return data, accepted

    def _take_request(self, head: bytes, rest: bytes) -> None:
        try:
            request = parse_request(head, self._allow_broken_escapes)
            _check_host_and_body(request)
        except WSHandshakeError as exc:
            exc.raw_header, exc.raw_body = head, rest[:MAX_REFUSAL_BODY]
            raise
        self.request, self._head, self.remainder = request, head, rest


def refusal(error: WSHandshakeError) -> WSUpgradeResponse:
    """The response with which a server refuses a handshake: `error.status` with its headers, and the error as text."""
    status = error.status if error.status in _ERROR_STATUSES else 400
    extra = {405: [("Allow", "GET")], 426: [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]}.get(status)
    # Our own messages are printable ASCII. Others must not become a way to send the peer's bytes back to it.
    text = str(error)
    text = text if text.isascii() and text.isprintable() else ascii(text)
    return WSUpgradeResponse.create_error_response(status, text[:_MAX_ERROR_TEXT].encode("ascii"), extra)


def check_upgrade_request(request: WSUpgradeRequest) -> str:
    """Check the WebSocket part of a request (RFC 6455 4.2.1).

    Returns:
        The value of Sec-WebSocket-Accept.

    Raises:
        WSInvalidUpgradeError: `Upgrade` or `Connection`; status 426.
        WSInvalidHeaderError: Sec-WebSocket-Version (426) or Sec-WebSocket-Key (400).
    """
    headers = request.headers
    for name, token in (("Upgrade", "websocket"), ("Connection", "upgrade")):
        if token not in header_tokens(headers, name):
            raise _header_error(WSInvalidUpgradeError, headers, name, f"a list with {token!r}", 426)
    if headers.getall("Sec-WebSocket-Version", None) != ["13"]:
        raise _header_error(WSInvalidHeaderError, headers, "Sec-WebSocket-Version", "'13'", 426)
    keys = headers.getall("Sec-WebSocket-Key", [])
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        raise _header_error(WSInvalidHeaderError, headers, "Sec-WebSocket-Key", "16 bytes in base64")
    return accept_key(keys[0])


def _check_host_and_body(request: WSUpgradeRequest) -> None:
    """Refuse what a proxy in front could read as another request than we do (request smuggling)."""
    headers = request.headers
    if "Transfer-Encoding" in headers:
        raise _header_error(WSInvalidHeaderError, headers, "Transfer-Encoding", "none: there must be no body")
    if headers.getall("Content-Length", ["0"]) != ["0"]:
        raise _header_error(WSInvalidHeaderError, headers, "Content-Length", "none or '0': there must be no body")
    hosts = headers.getall("Host", [])
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        raise _header_error(WSInvalidHeaderError, headers, "Host", "one name or address, with or without a port")


def _check_upgrade_response(response: WSUpgradeResponse, request: WSUpgradeRequest, accept: str) -> None:
    """RFC 6455 4.1, what the client must check in a 101."""
    headers = response.headers
    if "Transfer-Encoding" in headers:
        raise _header_error(WSInvalidHeaderError, headers, "Transfer-Encoding", "none in a 101 response")
    if headers.getall("Content-Length", ["0"]) != ["0"]:
        raise _header_error(WSInvalidHeaderError, headers, "Content-Length", "none in a 101 response")
    if header_tokens(headers, "Upgrade") != ["websocket"]:
        raise _header_error(WSInvalidUpgradeError, headers, "Upgrade", "'websocket'")
    if "upgrade" not in header_tokens(headers, "Connection"):
        raise _header_error(WSInvalidUpgradeError, headers, "Connection", "a list with 'upgrade'")
    if headers.getall("Sec-WebSocket-Accept", None) != [accept]:
        raise _header_error(WSInvalidHeaderError, headers, "Sec-WebSocket-Accept", f"{accept!r}")
    _check_chosen_subprotocol(headers, request.headers)
    if not _extension_names(headers) <= _extension_names(request.headers):
        raise _header_error(WSInvalidHeaderError, headers, EXTENSIONS, "only extensions that were offered")


def _check_chosen_subprotocol(headers: CIMultiDict[str], requested: CIMultiDict[str]) -> None:
    name = "Sec-WebSocket-Protocol"
    chosen = headers.getall(name, [])
    offered = [protocol.strip(" \t") for value in requested.getall(name, []) for protocol in value.split(",")]
    if len(chosen) > 1 or not set(chosen).issubset(offered):
        allowed = f"one of {', '.join(map(show, offered))}" if offered else "none, since none was offered"
        raise _header_error(WSInvalidHeaderError, headers, name, allowed)


def _extension_names(headers: CIMultiDict[str]) -> set[str]:
    value = ", ".join(headers.getall(EXTENSIONS, ()))
    return {name for name, _ in parse_extensions(value)} if value.strip(" \t,") else set()


def _header_error(
    kind: type[WSInvalidHeaderError], headers: CIMultiDict[str], name: str, expected: str, status: int = 400
) -> WSInvalidHeaderError:
    values = headers.getall(name, [])
    received = ", ".join(map(show, values[:3])) + (", ..." if len(values) > 3 else "") if values else "no such header"
    description = f"header {name}: expected {expected}, received {received}"
    error = kind(description, name, ", ".join(values) if values else None)
    error.status = status
    return error


def _client_headers(url: WSParsedURL, key: str, extra: list[tuple[str, str]]) -> CIMultiDict[str]:
    given = [name.lower() for name, _ in extra]
    if given.count("host") > 1:
        raise ValueError("extra_headers has more than one Host")
    host = extra[given.index("host")][1] if "host" in given else url.host_header
    headers = CIMultiDict([("Host", host), ("Upgrade", "websocket"), ("Connection", "Upgrade")])
    headers.add("Sec-WebSocket-Version", "13")
    headers.add("Sec-WebSocket-Key", key)
    if url.user_info is not None and "authorization" not in given:
        headers.add("Authorization", basic_auth(*url.user_info))
    headers.extend([pair for pair, name in zip(extra, given) if name != "host"])
    try:
        _extension_names(headers)
    except WSInvalidHeaderError as exc:
        raise ValueError(f"extra_headers: {exc}") from exc
    return headers


def _acceptance(response: WSUpgradeResponse, accept: str) -> WSUpgradeResponse:
    if response.body:
        raise ValueError("a response with status 101 must not have a body: its bytes would be taken for frames")
    sent = _copy_without(response, _OURS_IF_ACCEPTED)
    sent.headers.extend([("Connection", "upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Accept", accept)])
    return sent


def _closing_answer(response: WSUpgradeResponse) -> WSUpgradeResponse:
    if response.status < 200:
        raise ValueError(f"status {int(response.status)} is not a final answer")
    sent = _copy_without(response, _OURS_IF_REFUSED)
    if response.status not in (204, 304):  # RFC 9110 8.6: no content, and no length of it
        sent.body = response.body
        sent.headers["Content-Length"] = str(len(response.body or b""))
    sent.headers["Connection"] = "close"
    return sent


def _copy_without(response: WSUpgradeResponse, names: Sequence[str]) -> WSUpgradeResponse:
    """A copy to send, without body: the application may use one response object for many connections."""
    sent = WSUpgradeResponse()
    sent.version, sent.status, sent.body = b"HTTP/1.1", response.status, None
    sent.headers = CIMultiDict([(name, value) for name, value in response.headers.items() if name.lower() not in names])
    return sent


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")
