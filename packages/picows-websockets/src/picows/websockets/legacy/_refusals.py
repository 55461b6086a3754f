"""What a server answers when an opening handshake has failed."""

from __future__ import annotations

import http

from ..datastructures import Headers
from ..exceptions import InvalidHandshake, InvalidOrigin, InvalidUpgrade
from .exceptions import AbortHandshake

_FAILED = "Failed to open a WebSocket connection"
_NO_BROWSER = "\n\nYou cannot access a WebSocket server directly with a browser. You need a WebSocket client.\n"


def explain(exc: Exception) -> tuple[http.HTTPStatus, Headers, bytes]:
    """An exception as a response: status, the headers that only it has, body."""
    if isinstance(exc, AbortHandshake):
        return exc.status, exc.headers, exc.body
    headers = Headers()
    end = ".\n"
    if isinstance(exc, InvalidOrigin):
        status = http.HTTPStatus.FORBIDDEN
    elif isinstance(exc, InvalidUpgrade):
        status = http.HTTPStatus.UPGRADE_REQUIRED
        headers["Upgrade"] = "websocket"
        end = f".{_NO_BROWSER}"
    elif isinstance(exc, InvalidHandshake):
        status = http.HTTPStatus.BAD_REQUEST
    else:
        text = f"{_FAILED}.\nSee server log for more information.\n"
        return http.HTTPStatus.INTERNAL_SERVER_ERROR, headers, text.encode()
    # Bytes beyond ASCII came as surrogates out of the request.
    return status, headers, f"{_FAILED}: {_chain(exc)}{end}".encode(errors="surrogateescape")


def _chain(exc: BaseException) -> str:
    return str(exc) if exc.__cause__ is None else f"{exc}; {_chain(exc.__cause__)}"
