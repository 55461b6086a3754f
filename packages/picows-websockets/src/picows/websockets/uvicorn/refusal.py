"""Answers that are no 101: those of ours, and those that the application sends (ASGI's `websocket.http.response`).

Bytes only; `protocol` writes them and hangs up. Every such answer says `Connection: close`.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from multidict import CIMultiDict

from picows.http import WSUpgradeResponse

RawHeaders = Iterable[tuple[bytes, bytes]]

#: RFC 9110 8.6: neither content nor a length of it.
_WITHOUT_CONTENT = (204, 304)
# An answer is as long as its Content-Length says, or until the end of the connection.
_OURS = ("connection", "transfer-encoding")


def header_pairs(default: RawHeaders, own: RawHeaders) -> list[tuple[str, str]]:
    """Headers as picows has them; `own` take the place of those that the server sends by default."""
    given = [(_text(name), _text(value)) for name, value in own]
    names = {name.lower() for name, _ in given}
    defaults = [(_text(name), _text(value)) for name, value in default]
    return [pair for pair in defaults if pair[0].lower() not in names] + given


def _text(raw: bytes) -> str:
    return bytes(raw).decode("ascii", "surrogateescape")


def forbidden(default: RawHeaders) -> WSUpgradeResponse:
    """What the application says by `websocket.close` instead of `websocket.accept`."""
    return WSUpgradeResponse.create_error_response(HTTPStatus.FORBIDDEN, b"", header_pairs(default, ()))


def server_error(default: RawHeaders) -> WSUpgradeResponse:
    """The application has failed, or the server shuts down."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return WSUpgradeResponse.create_error_response(status, status.phrase.encode(), header_pairs(default, ()))


class Denial:
    """A response of the application's.

    Its head waits for the first part of the body: with a single part it gets a Content-Length. Further parts are sent
    as they come, to the end of the connection.

    Args:
        event: the `websocket.http.response.start`.
        default: headers that the server sends by default.

    Attributes:
        is_begun: the head was encoded.
        is_complete: so was the last part of the body.

    Raises:
        ValueError: the status is no final one, or a header cannot be sent.
    """

    def __init__(self, event: dict[str, Any], default: RawHeaders) -> None:
        status = event["status"]
        if not 200 <= status < 600:
            raise ValueError(f"the status of a response instead of an upgrade must be 200 to 599, got {status}")
        pairs = header_pairs(default, event.get("headers", ()))
        self._response = WSUpgradeResponse()
        self._response.version, self._response.status, self._response.body = b"HTTP/1.1", status, None
        self._response.headers = CIMultiDict([pair for pair in pairs if pair[0].lower() not in _OURS])
        self._response.headers["Connection"] = "close"
        self._response.to_bytes()  # raises for what cannot be sent, before anything depends on it
        self.is_begun = False
        self.is_complete = False

    def encode(self, event: dict[str, Any]) -> bytes:
        """The bytes for a `websocket.http.response.body`."""
        body = bytes(event.get("body", b""))
        self.is_complete = not event.get("more_body", False)
        if self._response.status in _WITHOUT_CONTENT:
            body = b""
            self._response.headers.popall("Content-Length", None)
        elif self.is_complete and not self.is_begun:
            self._response.headers["Content-Length"] = str(len(body))
        head = b"" if self.is_begun else self._response.to_bytes()
        self.is_begun = True
        return head + body
