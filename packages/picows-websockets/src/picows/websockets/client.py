"""The client's side of a connection without I/O, and when to try again."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Generator, Sequence
from typing import Any

from . import _whole_head
from ._failures import drop_tracebacks
from ._opening import OpeningProtocol, check_upgrade, parse_extensions, required
from .datastructures import Headers
from .exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidStatus,
    NegotiationError,
    StatusLineTooLong,
)
from .extensions.base import ClientExtensionFactory, Extension
from .headers import (
    build_authorization_basic,
    build_extension,
    build_host,
    build_subprotocol,
    parse_subprotocol,
)
from .http11 import Request, Response
from .imports import lazy_import
from .protocol import CLIENT, CONNECTING, OPEN, State
from .streams import StreamReader
from .typing import ExtensionName, ExtensionParameter, LoggerLike, Origin, Subprotocol
from .uri import WebSocketURI
from .utils import accept_key, generate_key

__all__ = ["ClientProtocol"]


class ClientProtocol(OpeningProtocol):
    """The client's side.

        request = protocol.connect()
        protocol.send_request(request)
        protocol.receive_data(...)          until there is a Response among the events, or handshake_exc is set

    Args:
        uri: where to connect.
        origin: value of the Origin header.
        extensions: offered, in order.
        subprotocols: offered, in order.
        state: where it begins.
        max_size: as for Protocol.
        logger: as for Protocol; "websockets.client" by default.

    Attributes:
        uri: as given.
        key: Sec-WebSocket-Key of the request.
        available_extensions: as given.
        available_subprotocols: as given.
    """

    def __init__(
        self,
        uri: WebSocketURI,
        *,
        origin: Origin | None = None,
        extensions: Sequence[ClientExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        state: State = CONNECTING,
        max_size: int | None | tuple[int | None, int | None] = 2**20,
        logger: LoggerLike | None = None,
    ) -> None:
        super().__init__(CLIENT, state=state, max_size=max_size, logger=logger)
        self.uri = uri
        self.origin = origin
        self.available_extensions = extensions
        self.available_subprotocols = subprotocols
        self.key = generate_key()

    def connect(self) -> Request:
        """The request that opens the connection; change it as you like, then give it to `send_request`."""
        uri = self.uri
        headers = Headers()
        headers["Host"] = build_host(uri.host, uri.port, uri.secure)
        if uri.user_info is not None:
            headers["Authorization"] = build_authorization_basic(*uri.user_info)
        if self.origin is not None:
            headers["Origin"] = self.origin
        headers.set_insecure("Upgrade", "websocket")
        headers.set_insecure("Connection", "Upgrade")
        headers["Sec-WebSocket-Key"] = self.key
        headers.set_insecure("Sec-WebSocket-Version", "13")
        if self.available_extensions is not None:
            offers = [(factory.name, factory.get_request_params()) for factory in self.available_extensions]
            headers["Sec-WebSocket-Extensions"] = build_extension(offers)
        if self.available_subprotocols is not None:
            headers["Sec-WebSocket-Protocol"] = build_subprotocol(self.available_subprotocols)
        return Request(uri.resource_name, headers)

    def send_request(self, request: Request) -> None:
        """Send the request."""
        self._log_head(">", f"{request.method} {request.path} {request.protocol}", request.headers)
        self.writes.append(request.serialize())

    def process_response(self, response: Response) -> None:
        """Check a response, and set `extensions` and `subprotocol`. `receive_data` calls it.

        Raises:
            InvalidHandshake: it does not accept our request; which of the subclasses, says why.
        """
        if response.status_code != 101:
            raise InvalidStatus(response)
        headers = response.headers
        check_upgrade(headers)
        accept = required(headers, "Sec-WebSocket-Accept")
        if accept != accept_key(self.key):
            raise InvalidHeaderValue("Sec-WebSocket-Accept", accept)
        self.extensions = self.process_extensions(headers)
        self.subprotocol = self.process_subprotocol(headers)

    def process_extensions(self, headers: Headers) -> list[Extension]:
        """The extensions that a response accepts.

        Raises:
            NegotiationError: one of them was not offered, or not like that.
            InvalidHeaderFormat: the header is malformed.
        """
        accepted: list[Extension] = []
        if self.available_extensions is None and "Sec-WebSocket-Extensions" in headers:
            raise NegotiationError("no extensions supported")
        for name, params in parse_extensions(headers):
            accepted.append(self._accept_extension(name, params, accepted))
        return accepted

    def process_subprotocol(self, headers: Headers) -> Subprotocol | None:
        """The subprotocol that a response chose, or None.

        Raises:
            NegotiationError: it was not offered.
            InvalidHeader: there are several, or the header is malformed.
        """
        values = headers.get_all("Sec-WebSocket-Protocol")
        if not values:
            return None
        if self.available_subprotocols is None:
            raise NegotiationError("no subprotocols supported")
        chosen = [element for value in values for element in parse_subprotocol(value)]
        if len(chosen) > 1:
            raise InvalidHeader("Sec-WebSocket-Protocol", f"multiple values: {', '.join(chosen)}")
        if chosen[0] not in self.available_subprotocols:
            raise NegotiationError(f"unsupported subprotocol: {chosen[0]}")
        return chosen[0]

    def _accept_extension(
        self, name: ExtensionName, params: Sequence[ExtensionParameter], accepted: Sequence[Extension]
    ) -> Extension:
        for factory in self.available_extensions or ():
            if factory.name == name:
                try:
                    return factory.process_response_params(params, accepted)
                except NegotiationError:
                    continue  # the next factory of that name may have offered this
        raise NegotiationError(f"Unsupported extension: name = {name}, params = {params}")

    def _read_message(self, stream: StreamReader) -> Generator[None, None, Response]:
        return Response.parse(stream.read_line, stream.read_exact, stream.read_to_eof)

    def _read_whole(self, data: bytes) -> tuple[Response, int] | None:
        return _whole_head.read_response(data)

    def _message_received(self, response: Response) -> None:
        start_line = f"HTTP/1.1 {response.status_code} {response.reason_phrase}"
        self._log_head("<", start_line, response.headers, response.body)
        try:
            self.process_response(response)
        except Exception as exc:
            drop_tracebacks(exc)
            response._exception = exc if isinstance(exc, InvalidHandshake) else None
            self.handshake_exc = exc
            self._fail_handshake()
        else:
            self.state = OPEN
        self.events.append(response)

    def _message_failed(self, exc: Exception) -> None:
        if isinstance(exc, StatusLineTooLong):
            self.handshake_exc = exc
        else:
            self.handshake_exc = InvalidMessage("did not receive a valid HTTP response")
            self.handshake_exc.__cause__ = exc
        self._fail_handshake()


class ClientConnection(ClientProtocol):
    """The old name of ClientProtocol, deprecated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn("ClientConnection was renamed to ClientProtocol", DeprecationWarning, stacklevel=2)
        super().__init__(*args, **kwargs)


BACKOFF_INITIAL_DELAY = float(os.environ.get("WEBSOCKETS_BACKOFF_INITIAL_DELAY", "5"))
BACKOFF_MIN_DELAY = float(os.environ.get("WEBSOCKETS_BACKOFF_MIN_DELAY", "3.1"))
BACKOFF_MAX_DELAY = float(os.environ.get("WEBSOCKETS_BACKOFF_MAX_DELAY", "90.0"))
BACKOFF_FACTOR = float(os.environ.get("WEBSOCKETS_BACKOFF_FACTOR", "1.618"))

#: A server that answers so may answer otherwise in a moment.
_TRANSIENT = frozenset((500, 502, 503, 504))


def backoff(
    initial_delay: float = BACKOFF_INITIAL_DELAY,
    min_delay: float = BACKOFF_MIN_DELAY,
    max_delay: float = BACKOFF_MAX_DELAY,
    factor: float = BACKOFF_FACTOR,
) -> Generator[float]:
    """Delays in seconds between attempts to connect, without end.

    Args:
        initial_delay: the first delay is random, up to this, so that clients of a server that restarted spread out.
        min_delay: the second delay.
        max_delay: no delay is longer.
        factor: each delay is so many times the one before.
    """
    yield random.random() * initial_delay
    delay = min_delay
    while delay < max_delay:
        yield delay
        delay *= factor
    while True:
        yield max_delay


def process_exception(exc: Exception) -> Exception | None:
    """Decide whether an attempt to connect that failed with `exc` is worth repeating.

    Returns:
        None if it is: the network failed, or the server said that it has a passing problem; else `exc`.
    """
    if isinstance(exc, OSError):  # TimeoutError is one
        return None
    if isinstance(exc, InvalidMessage) and isinstance(exc.__cause__, EOFError):
        return None
    if isinstance(exc, InvalidStatus) and exc.response.status_code in _TRANSIENT:
        return None
    return exc


# This module was the client before websockets 14.
lazy_import(
    globals(),
    deprecated_aliases=dict.fromkeys(("WebSocketClientProtocol", "connect", "unix_connect"), ".legacy.client"),
)
