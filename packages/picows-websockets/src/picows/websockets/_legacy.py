"""Names of the implementation before websockets 14, for programs that mention them.

Nothing raises these exceptions, as nothing in the new implementation of that library does: they are named in `except`
clauses. The old classes of connections and servers are the new ones, for annotations and `isinstance`.
"""

from __future__ import annotations

import http
from typing import Any

from .datastructures import Headers, HeadersLike
from .exceptions import InvalidHandshake, ProtocolError
from .imports import import_name
from .typing import StatusLike

_TODAY = {
    "WebSocketClientProtocol": (".asyncio.client", "ClientConnection"),
    "WebSocketCommonProtocol": (".asyncio.connection", "Connection"),
    "WebSocketServer": (".asyncio.server", "Server"),
    "WebSocketServerProtocol": (".asyncio.server", "ServerConnection"),
}

WebSocketProtocolError = ProtocolError


def __getattr__(name: str) -> Any:
    if name not in _TODAY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, today = _TODAY[name]
    return import_name(today, module, globals())


class InvalidStatusCode(InvalidHandshake):
    """The server refused the upgrade. Today: InvalidStatus.

    Attributes:
        status_code: what it answered.
        headers: the headers of the answer.
    """

    def __init__(self, status_code: int, headers: Headers) -> None:
        self.status_code = status_code
        self.headers = headers

    def __str__(self) -> str:
        return f"server rejected WebSocket connection: HTTP {self.status_code}"


class AbortHandshake(InvalidHandshake):
    """A server refuses the upgrade. Today: `process_request` returns a response.

    Attributes:
        status: the HTTP status.
        headers: the headers of the response.
        body: its content.
    """

    def __init__(self, status: StatusLike, headers: HeadersLike, body: bytes = b"") -> None:
        self.status = http.HTTPStatus(status)
        self.headers = Headers(headers)
        self.body = body

    def __str__(self) -> str:
        return f"HTTP {self.status:d}, {len(self.headers)} headers, {len(self.body)} bytes"


class RedirectHandshake(InvalidHandshake):
    """A server redirects. Today redirects are followed without an exception.

    Attributes:
        uri: where to.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __str__(self) -> str:
        return f"redirect to {self.uri}"
