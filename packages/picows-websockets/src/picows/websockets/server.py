"""The server's side of a connection without I/O."""

from __future__ import annotations

import base64
import binascii
import email.utils
import functools
import http
import re
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Any

from . import _whole_head
from ._failures import drop_tracebacks
from ._opening import OpeningProtocol, check_upgrade, parse_extensions, required, single
from .datastructures import Headers
from .exceptions import (
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidMethod,
    InvalidOrigin,
    InvalidProtocol,
    InvalidState,
    InvalidUpgrade,
    NegotiationError,
    RequestLineTooLong,
    TooManyHeaders,
)
from .extensions.base import Extension, ServerExtensionFactory
from .headers import build_extension, parse_subprotocol
from .http11 import Request, Response
from .imports import lazy_import
from .protocol import CONNECTING, OPEN, SERVER, State
from .streams import StreamReader
from .typing import ExtensionHeader, ExtensionName, ExtensionParameter, LoggerLike, Origin, StatusLike, Subprotocol
from .utils import accept_key

__all__ = ["ServerProtocol"]

_FAILED = "Failed to open a WebSocket connection"
_NO_BROWSER = "\n\nYou cannot access a WebSocket server directly with a browser. You need a WebSocket client.\n"

#: How a request is refused: class of the exception, status, words for the log, header to add, end of the text.
_REFUSALS: tuple[tuple[type[Exception], int, str, tuple[str, str] | None, str], ...] = (
    (InvalidMethod, 405, "invalid method", ("Allow", "GET"), "\n"),
    (InvalidProtocol, 505, "invalid protocol", None, "\n"),
    (InvalidOrigin, 403, "invalid origin", None, "\n"),
    (InvalidUpgrade, 426, "invalid upgrade", ("Upgrade", "websocket"), _NO_BROWSER),
    (RequestLineTooLong, 414, "request line too long", None, "\n"),
    (HeaderLineTooLong, 431, "header fields too large", None, "\n"),
    (TooManyHeaders, 431, "header fields too large", None, "\n"),
    (InvalidHandshake, 400, "invalid handshake", None, "\n"),
)
_TOO_LARGE = RequestLineTooLong, HeaderLineTooLong, TooManyHeaders


class ServerProtocol(OpeningProtocol):
    """The server's side.

        protocol.receive_data(...)              until there is a Request among the events, or handshake_exc is set
        response = protocol.accept(request)     or protocol.reject(status, text)
        protocol.send_response(response)

    Args:
        origins: which Origin headers are accepted: strings, patterns that must match all of it, None for requests
            without that header. By default all are.
        extensions: in order of preference.
        subprotocols: in order of preference. A client that offers none of them is refused.
        select_subprotocol: chooses among the client's offers instead; it may raise NegotiationError.
        state: where it begins.
        max_size: as for Protocol.
        logger: as for Protocol; "websockets.server" by default.

    Attributes:
        origins: as given.
        available_extensions: as given.
        available_subprotocols: as given.
        accept_called: whether `accept` was called.
    """

    def __init__(
        self,
        *,
        origins: Sequence[Origin | re.Pattern[str] | None] | None = None,
        extensions: Sequence[ServerExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        select_subprotocol: Callable[[ServerProtocol, Sequence[Subprotocol]], Subprotocol | None] | None = None,
        state: State = CONNECTING,
        max_size: int | None | tuple[int | None, int | None] = 2**20,
        logger: LoggerLike | None = None,
    ) -> None:
        super().__init__(SERVER, state=state, max_size=max_size, logger=logger)
        self.origins = origins
        self.available_extensions = extensions
        self.available_subprotocols = subprotocols
        self._select_subprotocol = select_subprotocol

    accept_called = False

    def accept(self, request: Request) -> Response:
        """Make the response that accepts a request, or the one that refuses it where it is not acceptable.

        The response may be changed before it is given to `send_response`. `handshake_exc` says why it refuses.
        """
        self.accept_called = True
        try:
            accept, extensions, subprotocol = self.process_request(request)
        except Exception as exc:
            request._exception = self.handshake_exc = exc
            response = self._refuse(exc)
            drop_tracebacks(exc)
            return response
        headers = Headers()
        headers.set_insecure("Date", _date())
        headers.set_insecure("Upgrade", "websocket")
        headers.set_insecure("Connection", "Upgrade")
        headers.set_insecure("Sec-WebSocket-Accept", accept)
        if extensions is not None:
            headers["Sec-WebSocket-Extensions"] = extensions
        if subprotocol is not None:
            headers["Sec-WebSocket-Protocol"] = subprotocol
        return Response(101, "Switching Protocols", headers)

    def reject(self, status: StatusLike, text: str) -> Response:
        """Make a response that refuses a request.

        Args:
            status: the HTTP status.
            text: the body, sent as UTF-8.

        Raises:
            ValueError: there is no such status.
        """
        status = http.HTTPStatus(status)
        body = text.encode()
        headers = Headers()
        headers["Date"] = _date()
        headers["Connection"] = "close"
        headers["Content-Length"] = str(len(body))
        headers["Content-Type"] = "text/plain; charset=utf-8"
        return Response(status.value, status.phrase, headers, body)

    def send_response(self, response: Response) -> None:
        """Send a response: with status 101 the connection is open, otherwise it ends.

        Raises:
            InvalidState: the client has left, or there was a response already.
        """
        status, reason = response.status_code, response.reason_phrase
        if status == 101 and self._state is not CONNECTING:
            raise self._invalid_state()
        if status != 101 and self.eof_sent:
            raise InvalidState("the writing side is shut down already")
        self._log_head(">", f"HTTP/1.1 {status} {reason}", response.headers, response.body)
        self.writes.append(response.serialize())
        if status == 101:
            self.state = OPEN
            self.logger.info("connection open")
        else:
            what = "connection rejected" if self.accept_called else "HTTP response sent"
            self.logger.info("%s (%d %s)", what, status, reason)
            self._fail_handshake()

    def process_request(self, request: Request) -> tuple[str, str | None, str | None]:
        """Check a request, and set `origin`, `extensions` and `subprotocol`. `accept` calls it.

        Returns:
            The values of Sec-WebSocket-Accept, Sec-WebSocket-Extensions and Sec-WebSocket-Protocol; None for no header.

        Raises:
            InvalidHandshake: the request is not acceptable; which of the subclasses, says why.
        """
        if request.method != "GET":
            raise InvalidMethod(request.method)
        if request.protocol != "HTTP/1.1":
            raise InvalidProtocol(request.protocol)
        headers = request.headers
        check_upgrade(headers)
        key = required(headers, "Sec-WebSocket-Key")
        _check_key(key)
        version = required(headers, "Sec-WebSocket-Version")
        if version != "13":
            raise InvalidHeaderValue("Sec-WebSocket-Version", version)
        self.origin = self.process_origin(headers)
        answer, self.extensions = self.process_extensions(headers)
        self.subprotocol = self.process_subprotocol(headers)
        return accept_key(key), answer, self.subprotocol

    def process_origin(self, headers: Headers) -> Origin | None:
        """The Origin header, or None.

        Raises:
            InvalidOrigin: it is not among `origins`.
            InvalidHeader: there are several.
        """
        value = single(headers, "Origin")
        origin = None if value is None else Origin(value)
        if self.origins is not None and not any(_matches(origin, allowed) for allowed in self.origins):
            raise InvalidOrigin(origin)
        return origin

    def process_extensions(self, headers: Headers) -> tuple[str | None, list[Extension]]:
        """Choose among the extensions that a client offers.

        Returns:
            The value of Sec-WebSocket-Extensions or None, and the extensions.

        Raises:
            InvalidHeaderFormat: the header is malformed.
        """
        accepted: list[Extension] = []
        answers: list[ExtensionHeader] = []
        if self.available_extensions:
            for name, params in parse_extensions(headers):
                chosen = self._choose_extension(name, params, accepted)
                if chosen is not None:
                    answers.append((name, chosen[0]))
                    accepted.append(chosen[1])
        return (build_extension(answers) if answers else None), accepted

    def process_subprotocol(self, headers: Headers) -> Subprotocol | None:
        """Choose among the subprotocols that a client offers. Raises what select_subprotocol raises."""
        values = headers.get_all("Sec-WebSocket-Protocol")
        return self.select_subprotocol([element for value in values for element in parse_subprotocol(value)])

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """Choose a subprotocol.

        Args:
            subprotocols: the client's offers.

        Returns:
            None where the server has no subprotocols.

        Raises:
            NegotiationError: the client offers none that the server has.
        """
        if self._select_subprotocol is not None:
            return self._select_subprotocol(self, subprotocols)
        if not self.available_subprotocols:
            return None
        if not subprotocols:
            raise NegotiationError("missing subprotocol")
        for subprotocol in self.available_subprotocols:
            if subprotocol in subprotocols:
                return subprotocol
        raise NegotiationError(f"invalid subprotocol; expected one of {', '.join(self.available_subprotocols)}")

    def _choose_extension(
        self, name: ExtensionName, params: Sequence[ExtensionParameter], accepted: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], Extension] | None:
        for factory in self.available_extensions or ():
            if factory.name == name:
                try:
                    return factory.process_request_params(params, accepted)
                except NegotiationError:
                    continue  # another factory of that name, or another offer of the client, may fit
        return None

    def _refuse(self, exc: Exception) -> Response:
        """Log why, and make the response."""
        for cls, status, words, header, end in _REFUSALS:
            if isinstance(exc, cls):
                if self.debug:
                    self.logger.debug("! %s", words, exc_info=exc)
                response = self.reject(status, f"{_FAILED}: {_explain(exc)}.{end}")
                if header is not None:
                    response.headers[header[0]] = header[1]
                return response
        self.logger.error("opening handshake failed", exc_info=exc)
        return self.reject(500, f"{_FAILED}.\nSee server log for more information.\n")

    def _read_message(self, stream: StreamReader) -> Generator[None, None, Request]:
        return Request.parse(stream.read_line)

    def _read_whole(self, data: bytes) -> tuple[Request, int] | None:
        return _whole_head.read_request(data)

    def _message_received(self, request: Request) -> None:
        self._log_head("<", f"{request.method} {request.path} {request.protocol}", request.headers)
        self.events.append(request)

    def _message_failed(self, exc: Exception) -> None:
        if isinstance(exc, _TOO_LARGE):
            self.handshake_exc = exc
            self.send_response(self._refuse(exc))
            return
        if self.debug:
            self.logger.debug("! no valid HTTP request", exc_info=exc)
        self.handshake_exc = InvalidMessage("did not receive a valid HTTP request")
        self.handshake_exc.__cause__ = exc
        self._fail_handshake()


class ServerConnection(ServerProtocol):
    """The old name of ServerProtocol, deprecated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn("ServerConnection was renamed to ServerProtocol", DeprecationWarning, stacklevel=2)
        super().__init__(*args, **kwargs)


def _check_key(key: str) -> None:
    """RFC 6455 4.2.1: sixteen bytes in base64."""
    try:
        raw = base64.b64decode(key.encode("latin-1"), validate=True)
    except binascii.Error as exc:
        raise InvalidHeaderValue("Sec-WebSocket-Key", key) from exc
    if len(raw) != 16:
        raise InvalidHeaderValue("Sec-WebSocket-Key", key)


def _matches(origin: Origin | None, allowed: Origin | re.Pattern[str] | None) -> bool:
    if isinstance(allowed, re.Pattern):
        return origin is not None and allowed.fullmatch(origin) is not None
    return origin == allowed


def _explain(exc: BaseException) -> str:
    """An exception and its causes."""
    return str(exc) if exc.__cause__ is None else f"{exc}; {_explain(exc.__cause__)}"


def _date() -> str:
    return format_date(int(time.time()))


@functools.lru_cache(maxsize=1)
def format_date(second: int) -> str:
    """A time for the Date header."""
    return email.utils.formatdate(second, usegmt=True)


# This module was the server before websockets 14.
lazy_import(
    globals(),
    deprecated_aliases=dict.fromkeys(
        ("WebSocketServer", "WebSocketServerProtocol", "broadcast", "serve", "unix_serve"), ".legacy.server"
    ),
)
