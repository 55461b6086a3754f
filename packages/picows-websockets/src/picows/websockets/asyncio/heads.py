"""The opening handshake as users see it: objects that are made when somebody asks for them.

The server accepts ordinary requests without making any: of a handshake there are then the bytes, and few handlers want
to see more of it.
"""

from __future__ import annotations

from typing import TypeVar

from .._whole_head import read_request, read_response
from ..http11 import Request, Response
from ..protocol import Protocol
from ..typing import LoggerLike

T = TypeVar("T")


class Heads:
    """A mixin: request and response of a connection, and its log."""

    protocol: Protocol
    _request: Request | bytes | None
    _response: Response | bytes | None

    @property
    def request(self) -> Request | None:
        """The opening request, once there is one."""
        request = self._request
        if isinstance(request, bytes):
            request = self._request = _only(read_request(request), request)
        return request

    @request.setter
    def request(self, request: Request | None) -> None:
        self._request = request

    @property
    def response(self) -> Response | None:
        """The opening response, once there is one."""
        response = self._response
        if isinstance(response, bytes):
            response = self._response = _only(read_response(response), response)
        return response

    @response.setter
    def response(self, response: Response | None) -> None:
        self._response = response

    @property
    def logger(self) -> LoggerLike:
        """A LoggerAdapter whose records have the connection as `websocket`."""
        return self.protocol.logger

    @logger.setter
    def logger(self, logger: LoggerLike) -> None:
        self.protocol.logger = logger


def _only(found: tuple[T, int] | None, head: bytes) -> T:
    """The message of a head that was accepted or written here, and so is well-formed."""
    if found is None:
        raise RuntimeError(f"a head that was accepted cannot be read: {head!r}")
    return found[0]
