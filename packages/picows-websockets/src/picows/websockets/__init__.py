"""The API of the websockets library, on the engine of picows.

Change `import websockets` into `import picows.websockets as websockets`, or call `picows.websockets.install()` before
anything imports `websockets`. Names are imported when they are asked for (see `imports`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .imports import lazy_import
from .version import version as _version

#: Of the library that is emulated; ours is `picows.__version__`.
__version__ = _version

__all__ = [
    "connect",
    "unix_connect",
    "ClientConnection",
    "route",
    "unix_route",
    "Router",
    "basic_auth",
    "broadcast",
    "serve",
    "unix_serve",
    "ServerConnection",
    "Server",
    "ClientProtocol",
    "Headers",
    "HeadersLike",
    "MultipleValuesError",
    "ConcurrencyError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "DuplicateParameter",
    "HeaderLineTooLong",
    "InvalidHandshake",
    "InvalidHeader",
    "InvalidHeaderFormat",
    "InvalidHeaderValue",
    "InvalidMessage",
    "InvalidMethod",
    "InvalidOrigin",
    "InvalidParameterName",
    "InvalidParameterValue",
    "InvalidProtocol",
    "InvalidProxy",
    "InvalidProxyMessage",
    "InvalidProxyStatus",
    "InvalidState",
    "InvalidStatus",
    "InvalidUpgrade",
    "InvalidURI",
    "NegotiationError",
    "PayloadTooBig",
    "ProtocolError",
    "ProxyError",
    "RequestLineTooLong",
    "SecurityError",
    "StatusLineTooLong",
    "TooManyFragments",
    "TooManyHeaders",
    "WebSocketException",
    "Close",
    "CloseCode",
    "Frame",
    "Opcode",
    "Request",
    "Response",
    "Protocol",
    "Side",
    "State",
    "ServerProtocol",
    "Data",
    "ExtensionName",
    "ExtensionParameter",
    "LoggerLike",
    "StatusLike",
    "Origin",
    "Subprotocol",
]

if TYPE_CHECKING:
    from ._install import install as install
    from ._install import uninstall as uninstall
    from .asyncio.client import ClientConnection, connect, unix_connect
    from .asyncio.router import Router, route, unix_route
    from .asyncio.server import Server, ServerConnection, basic_auth, broadcast, serve, unix_serve
    from .client import ClientProtocol
    from .datastructures import Headers, HeadersLike, MultipleValuesError
    from .exceptions import (
        ConcurrencyError,
        ConnectionClosed,
        ConnectionClosedError,
        ConnectionClosedOK,
        DuplicateParameter,
        HeaderLineTooLong,
        InvalidHandshake,
        InvalidHeader,
        InvalidHeaderFormat,
        InvalidHeaderValue,
        InvalidMessage,
        InvalidMethod,
        InvalidOrigin,
        InvalidParameterName,
        InvalidParameterValue,
        InvalidProtocol,
        InvalidProxy,
        InvalidProxyMessage,
        InvalidProxyStatus,
        InvalidState,
        InvalidStatus,
        InvalidUpgrade,
        InvalidURI,
        NegotiationError,
        PayloadTooBig,
        ProtocolError,
        ProxyError,
        RequestLineTooLong,
        SecurityError,
        StatusLineTooLong,
        TooManyFragments,
        TooManyHeaders,
        WebSocketException,
    )
    from .frames import Close, CloseCode, Frame, Opcode
    from .http11 import Request, Response
    from .protocol import Protocol, Side, State
    from .server import ServerProtocol
    from .typing import (
        Data,
        ExtensionName,
        ExtensionParameter,
        LoggerLike,
        Origin,
        StatusLike,
        Subprotocol,
    )

_NAMES = {
    "._install": "install uninstall",
    ".asyncio.client": "connect unix_connect ClientConnection",
    ".asyncio.router": "route unix_route Router",
    ".asyncio.server": "basic_auth broadcast serve unix_serve ServerConnection Server",
    ".client": "ClientProtocol",
    ".datastructures": "Headers HeadersLike MultipleValuesError",
    ".frames": "Close CloseCode Frame Opcode",
    ".http11": "Request Response",
    ".protocol": "Protocol Side State",
    ".server": "ServerProtocol",
    ".typing": "Data ExtensionName ExtensionParameter LoggerLike StatusLike Origin Subprotocol",
}
_DEPRECATED = {
    ".legacy.auth": "BasicAuthWebSocketServerProtocol basic_auth_protocol_factory",
    ".legacy.client": "WebSocketClientProtocol",
    ".legacy.exceptions": "AbortHandshake InvalidStatusCode RedirectHandshake WebSocketProtocolError",
    ".legacy.protocol": "WebSocketCommonProtocol",
    ".legacy.server": "WebSocketServer WebSocketServerProtocol",
}


def _by_name(names_of_modules: dict[str, str]) -> dict[str, str]:
    return {name: module for module, names in names_of_modules.items() for name in names.split()}


lazy_import(
    globals(),
    aliases=dict.fromkeys(__all__, ".exceptions") | _by_name(_NAMES),
    deprecated_aliases=_by_name(_DEPRECATED),
)
