"""The exceptions of the API.

    WebSocketException
     +- ConnectionClosed                 recv() or send() after the end of the connection
     |   +- ConnectionClosedOK           both sides said 1000 or 1001, or nothing
     |   +- ConnectionClosedError        everything else
     +- InvalidURI, InvalidProxy         what the caller asked to connect to, or through
     +- InvalidHandshake                 the opening handshake failed
     |   +- SecurityError                more than the limits allow, or a redirect that is not followed
     |   |   +- RequestLineTooLong, StatusLineTooLong, HeaderLineTooLong, TooManyHeaders
     |   +- ProxyError                   the proxy, not the server
     |   |   +- InvalidProxyMessage, InvalidProxyStatus
     |   +- InvalidMessage               not HTTP
     |   +- InvalidMethod, InvalidProtocol   HTTP, but not GET or not HTTP/1.1
     |   +- InvalidStatus                the server refused
     |   +- InvalidHeader                a header is missing or wrong
     |   |   +- InvalidHeaderFormat, InvalidHeaderValue, InvalidOrigin, InvalidUpgrade
     |   +- NegotiationError             extensions or subprotocols do not fit together
     |       +- DuplicateParameter, InvalidParameterName, InvalidParameterValue
     +- ProtocolError                    a frame that RFC 6455 does not allow
     +- PayloadTooBig, TooManyFragments  a message that the limits do not allow
     +- InvalidState (and AssertionError)     called too early or too late
     +- ConcurrencyError (and RuntimeError)   called twice at once

Users compare these texts, so they are part of the API. No constructor here calls `super().__init__`: `derive_from` puts
classes of the websockets library behind ours, whose constructors take other arguments. `args` is set by
`BaseException.__new__`, which is also what makes the exceptions picklable.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .imports import lazy_import

if TYPE_CHECKING:
    from .frames import Close
    from .http11 import Response

__all__ = [
    "WebSocketException",
    "ConnectionClosed",
    "ConnectionClosedOK",
    "ConnectionClosedError",
    "InvalidURI",
    "InvalidProxy",
    "InvalidHandshake",
    "SecurityError",
    "RequestLineTooLong",
    "StatusLineTooLong",
    "HeaderLineTooLong",
    "TooManyHeaders",
    "TooManyFragments",
    "ProxyError",
    "InvalidProxyMessage",
    "InvalidProxyStatus",
    "InvalidMessage",
    "InvalidMethod",
    "InvalidProtocol",
    "InvalidStatus",
    "InvalidHeader",
    "InvalidHeaderFormat",
    "InvalidHeaderValue",
    "InvalidOrigin",
    "InvalidUpgrade",
    "NegotiationError",
    "DuplicateParameter",
    "InvalidParameterName",
    "InvalidParameterValue",
    "ProtocolError",
    "PayloadTooBig",
    "InvalidState",
    "ConcurrencyError",
]


class _Root(Exception):
    """Because Python changes the bases of a class only if the first one is not built in."""


class WebSocketException(_Root):
    """Base class of the exceptions of this package."""


class ConnectionClosed(WebSocketException):
    """The connection has ended.

    Attributes:
        rcvd: the CLOSE frame that came from the peer, or None.
        sent: the CLOSE frame that went to the peer, or None.
        rcvd_then_sent: which of the two was first, if there were two; else None.
    """

    def __init__(self, rcvd: Close | None, sent: Close | None, rcvd_then_sent: bool | None = None) -> None:
        if (rcvd is None or sent is None) is not (rcvd_then_sent is None):
            raise ValueError(
                "rcvd_then_sent must be given if and only if there are two close frames, "
                f"got rcvd={rcvd}, sent={sent}, rcvd_then_sent={rcvd_then_sent}"
            )
        self.rcvd = rcvd
        self.sent = sent
        self.rcvd_then_sent = rcvd_then_sent

    def __str__(self) -> str:
        if self.rcvd is None and self.sent is None:
            return "no close frame received or sent"
        if self.rcvd is None:
            return f"sent {self.sent}; no close frame received"
        if self.sent is None:
            return f"received {self.rcvd}; no close frame sent"
        if self.rcvd_then_sent:
            return f"received {self.rcvd}; then sent {self.sent}"
        return f"sent {self.sent}; then received {self.rcvd}"

    @property
    def code(self) -> int:
        """The peer's close code, 1006 if none came. Deprecated."""
        _warn("ConnectionClosed.code is deprecated; use Protocol.close_code or ConnectionClosed.rcvd.code")
        if self.rcvd is None:
            from .frames import CloseCode  # which imports this module

            return CloseCode.ABNORMAL_CLOSURE
        return self.rcvd.code

    @property
    def reason(self) -> str:
        """The peer's close reason, "" if none came. Deprecated."""
        _warn("ConnectionClosed.reason is deprecated; use Protocol.close_reason or ConnectionClosed.rcvd.reason")
        return "" if self.rcvd is None else self.rcvd.reason


class ConnectionClosedOK(ConnectionClosed):
    """The connection ended as it should: every close code is 1000, 1001, or absent."""


class ConnectionClosedError(ConnectionClosed):
    """The connection ended with another close code, or without a closing handshake."""


class InvalidURI(WebSocketException):
    """The URI, `uri` as given, is not one that can be connected to: `msg`."""

    def __init__(self, uri: str, msg: str) -> None:
        self.uri = uri
        self.msg = msg

    def __str__(self) -> str:
        return f"{self.uri} isn't a valid URI: {self.msg}"


class InvalidProxy(WebSocketException):
    """The URL of the proxy, `proxy` as given, is not one that can be connected to: `msg`."""

    def __init__(self, proxy: str, msg: str) -> None:
        self.proxy = proxy
        self.msg = msg

    def __str__(self) -> str:
        return f"{self.proxy} isn't a valid proxy: {self.msg}"


class InvalidHandshake(WebSocketException):
    """The opening handshake (RFC 6455 4) failed."""


class SecurityError(InvalidHandshake):
    """The handshake breaks a rule that protects this side."""


class RequestLineTooLong(SecurityError):
    """The first line of the request is longer than WEBSOCKETS_MAX_LINE_LENGTH."""


class StatusLineTooLong(SecurityError):
    """The first line of the response is longer than WEBSOCKETS_MAX_LINE_LENGTH."""


class HeaderLineTooLong(SecurityError):
    """A header is longer than WEBSOCKETS_MAX_LINE_LENGTH."""


class TooManyHeaders(SecurityError):
    """There are more headers than WEBSOCKETS_MAX_NUM_HEADERS."""


class ProxyError(InvalidHandshake):
    """The proxy did not connect to the server."""


class InvalidProxyMessage(ProxyError):
    """The proxy's response is not HTTP."""


class InvalidProxyStatus(ProxyError):
    """The proxy refused to connect. `response` is what it answered."""

    def __init__(self, response: Response) -> None:
        self.response = response

    def __str__(self) -> str:
        return f"proxy rejected connection: HTTP {self.response.status_code:d}"


class InvalidMessage(InvalidHandshake):
    """The peer's request or response is not HTTP. The reason is in `__cause__`."""


class InvalidMethod(InvalidHandshake):
    """The `method` of the request is not GET."""

    def __init__(self, method: str) -> None:
        self.method = method

    def __str__(self) -> str:
        return f"unsupported HTTP method: {self.method}"


class InvalidProtocol(InvalidHandshake):
    """The version of the request is not HTTP/1.1 but `protocol`, as in "HTTP/1.0"."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol

    def __str__(self) -> str:
        return f"unsupported HTTP version: {self.protocol}"


class InvalidStatus(InvalidHandshake):
    """The server refused the upgrade. `response` is what it answered, with its body."""

    def __init__(self, response: Response) -> None:
        self.response = response

    def __str__(self) -> str:
        return f"server rejected WebSocket connection: HTTP {self.response.status_code:d}"


class InvalidHeader(InvalidHandshake):
    """The header `name` is missing, then `value` is None, or wrong."""

    def __init__(self, name: str, value: str | None = None) -> None:
        self.name = name
        self.value = value

    def __str__(self) -> str:
        if self.value is None:
            return f"missing {self.name} header"
        if self.value == "":
            return f"empty {self.name} header"
        return f"invalid {self.name} header: {self.value}"


class InvalidHeaderFormat(InvalidHeader):
    """A header does not follow its grammar.

    Args:
        name: the name of the header.
        error: what was expected.
        header: the value.
        pos: where in it.
    """

    def __init__(self, name: str, error: str, header: str, pos: int) -> None:
        self.name = name
        self.value = f"{error} at {pos} in {header}"


class InvalidHeaderValue(InvalidHeader):
    """A header follows its grammar and has the wrong value."""


class InvalidOrigin(InvalidHeader):
    """The `Origin` is not one that the server accepts."""

    def __init__(self, origin: str | None) -> None:
        self.name = "Origin"
        self.value = origin


class InvalidUpgrade(InvalidHeader):
    """`Upgrade` or `Connection` do not ask for WebSocket."""


class NegotiationError(InvalidHandshake):
    """Extensions or subprotocols cannot be agreed on."""


class DuplicateParameter(NegotiationError):
    """An extension has the parameter `name` twice."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"duplicate parameter: {self.name}"


class InvalidParameterName(NegotiationError):
    """An extension has the parameter `name`, which it does not know."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"invalid parameter name: {self.name}"


class InvalidParameterValue(NegotiationError):
    """The parameter `name` of an extension has a `value` that is not allowed, or None."""

    def __init__(self, name: str, value: str | None) -> None:
        self.name = name
        self.value = value

    def __str__(self) -> str:
        if self.value is None:
            return f"missing value for parameter {self.name}"
        if self.value == "":
            return f"empty value for parameter {self.name}"
        return f"invalid value for parameter {self.name}: {self.value}"


class ProtocolError(WebSocketException):
    """A frame, or a sequence of frames, that RFC 6455 does not allow."""


class PayloadTooBig(WebSocketException):
    """A frame, or the message that it belongs to, is larger than the limit.

    Args:
        size_or_message: the size of the frame in bytes, None if it is not known. Deprecated: a text.
        max_size: how much the frame may have: what earlier fragments leave of the limit of the message.
        current_size: the size of the earlier fragments, None if the frame is alone.

    Attributes:
        message: the text, if one was given, else None.
        size: the size of the frame, or None.
        max_size: the limit of the message.
        current_size: the size of the earlier fragments, or None.
    """

    def __init__(
        self,
        size_or_message: int | None | str,
        max_size: int | None = None,
        current_size: int | None = None,
    ) -> None:
        self.message: str | None = None
        self.size: int | None = None
        self.max_size: int | None = None
        self.current_size: int | None = None
        if isinstance(size_or_message, str):
            if max_size is not None or current_size is not None:
                raise TypeError("PayloadTooBig takes either a message, or sizes")
            _warn("PayloadTooBig(message) is deprecated; change to PayloadTooBig(size, max_size)")
            self.message = size_or_message
            return
        if max_size is None:
            raise TypeError("PayloadTooBig needs max_size, got None")
        self.size = size_or_message
        self.max_size = max_size
        self.set_current_size(current_size)

    def __str__(self) -> str:
        if self.message is not None:
            return self.message
        size = "" if self.size is None else f" with {self.size} bytes"
        before = "" if self.current_size is None else f" after reading {self.current_size} bytes"
        return f"frame{size}{before} exceeds limit of {self.max_size} bytes"

    def set_current_size(self, current_size: int | None) -> None:
        """Add what is known of the message to an error about its last frame; None adds nothing.

        Raises:
            ValueError: it was added before, or the error has a text of its own.
        """
        if self.max_size is None or self.current_size is not None:
            known = self.message if self.max_size is None else self.current_size
            raise ValueError(f"current_size cannot be set to {current_size}: the error has {known!r} already")
        if current_size is not None:
            self.max_size += current_size
            self.current_size = current_size


class TooManyFragments(WebSocketException):
    """A message has more fragments than WEBSOCKETS_MAX_FRAGMENTS, which is `max_fragments`."""

    def __init__(self, max_fragments: int) -> None:
        self.max_fragments = max_fragments
        self.args = (f"fragmented message exceeds limit of {max_fragments} frames",)

    def __reduce__(self) -> Any:
        return type(self), (self.max_fragments,), vars(self)


class InvalidState(WebSocketException, AssertionError):
    """The connection is not in a state that allows this call."""


class ConcurrencyError(WebSocketException, RuntimeError):
    """Another task or thread is doing the same, or what cannot happen at the same time."""


def _warn(message: str) -> None:
    warnings.warn(message, DeprecationWarning, stacklevel=3)


#: What the classes of this module derive from as long as `derive_from` was not called.
_OWN_BASES: dict[type, tuple[type, ...]] = {globals()[name]: globals()[name].__bases__ for name in __all__}


def derive_from(library: ModuleType | None) -> None:
    """Make our exceptions instances of the websockets library's as well, or end that.

    After `derive_from(websockets.exceptions)` a program that catches `websockets.exceptions.ConnectionClosed` catches
    ours. Own classes stay first among the bases, so that behaviour does not change.

    Args:
        library: the module `websockets.exceptions` of the library; classes that it lacks are passed over. None gives
            every class its own bases back.
    """
    for cls, (first, *others) in _OWN_BASES.items():
        theirs = getattr(library, cls.__name__, first)
        inserted = () if issubclass(theirs, _Root) else (theirs,)
        cls.__bases__ = (first, *inserted, *others)


lazy_import(
    globals(),
    deprecated_aliases={
        "AbortHandshake": ".legacy.exceptions",
        "InvalidStatusCode": ".legacy.exceptions",
        "RedirectHandshake": ".legacy.exceptions",
        "WebSocketProtocolError": ".legacy.exceptions",
    },
)
