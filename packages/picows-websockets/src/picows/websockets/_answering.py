"""What a server answers to an opening request: its own words, or those of the user's hooks.

Hooks are functions in one API and may be coroutine functions in another. So `answering` is a generator: it yields what
a hook has returned, and gets back what that comes to.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from http import HTTPStatus
from typing import Any, Protocol

from .http11 import Request, Response
from .server import ServerProtocol
from .typing import LoggerLike

_SEE_LOG = "Failed to open a WebSocket connection.\nSee server log for more information.\n"


class Answerer(Protocol):
    """A server's side of a connection."""

    protocol: ServerProtocol
    logger: LoggerLike
    response: Response | None


def answering(
    connection: Any,
    request: Request,
    process_request: Callable[..., Any] | None,
    process_response: Callable[..., Any] | None,
    server_header: str | None,
    is_closing: Callable[[], bool],
) -> Generator[Any, Any, Response]:
    """Find the response to a request.

    Args:
        connection: an Answerer; hooks get it, and its `response` is set before `process_response` is called.
        request: that came.
        process_request: the user's.
        process_response: the user's.
        server_header: of the response; None for none.
        is_closing: whether the server accepts nobody any more. It is asked last: hooks go on while a server closes.
    """
    answerer: Answerer = connection
    protocol, logger = answerer.protocol, answerer.logger
    response: Response | None = None
    try:
        if process_request is not None:
            response = _checked("process_request", (yield process_request(connection, request)))
    except Exception:
        logger.error("process_request failed", exc_info=True)
        response = protocol.reject(HTTPStatus.INTERNAL_SERVER_ERROR, _SEE_LOG)
    if response is None:
        response = protocol.accept(request)
    if server_header is not None:
        response.headers.setdefault("Server", server_header)
    answerer.response = response
    try:
        if process_response is not None:
            response = _checked("process_response", (yield process_response(connection, request, response))) or response
    except Exception:
        logger.error("process_response failed", exc_info=True)
        response = protocol.reject(HTTPStatus.INTERNAL_SERVER_ERROR, _SEE_LOG)
    if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS and is_closing():
        return refuse_while_closing(protocol)
    return response


def refuse_while_closing(protocol: ServerProtocol) -> Response:
    """What a server that closes answers instead of accepting; hooks do not get to see it."""
    return protocol.reject(HTTPStatus.SERVICE_UNAVAILABLE, "Server is shutting down.\n")


def _checked(name: str, answer: Any) -> Response | None:
    if answer is None or isinstance(answer, Response):
        return answer
    raise TypeError(f"{name} must return a Response or None, got {type(answer).__name__}")
