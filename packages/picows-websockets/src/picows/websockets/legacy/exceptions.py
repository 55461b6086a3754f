"""Exceptions of the opening handshake that only the API before websockets 14 raises."""

from __future__ import annotations

import http
from types import ModuleType

from ..datastructures import Headers, HeadersLike
from ..exceptions import InvalidHandshake
from ..exceptions import ProtocolError as WebSocketProtocolError  # noqa: F401
from ..typing import StatusLike


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
    """A hook of a server raises it to refuse the upgrade. Today: `process_request` returns a response.

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
    """The server redirects. `connect` follows, so that users do not see this.

    Attributes:
        uri: where to.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __str__(self) -> str:
        return f"redirect to {self.uri}"


def derive_from(library: ModuleType | None) -> None:
    """As `exceptions.derive_from`, for the classes of this module and the library's `legacy.exceptions`."""
    for cls in (InvalidStatusCode, AbortHandshake, RedirectHandshake):
        others = () if library is None else (getattr(library, cls.__name__),)
        cls.__bases__ = (InvalidHandshake, *others)
