"""Every exception of the library.

    Exception
     +- WSError                          base of all of them
         +- WSHandshakeError             the opening handshake failed: what the peer sent is attached
         |   +- WSHandshakeEOFError      the peer hung up before the handshake was complete
         |   +- WSInvalidMessageError    not HTTP, or beyond the limits of a head
         |   +- WSInvalidStatusError     the server answered with something other than 101
         |   +- WSInvalidHeaderError     one header is missing or wrong
         |       +- WSInvalidUpgradeError   Upgrade or Connection
         +- WSProtocolError              a frame broke RFC 6455; also raised by users to close with a code of theirs
         |   +- WSMessageTooBigError     a frame or message is larger than the limit
         +- WSConnectionClosed           the message layer was used on a connection that has ended
         +- WSInvalidURL (and ValueError)   the URL cannot be connected to

A peer's fault is one of these. A caller's fault is a ValueError, TypeError or RuntimeError, raised before anything
changed. Failures of the network remain OSError, those of TLS ssl.SSLError, and a timeout asyncio.TimeoutError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from .http import WSUpgradeResponse


class WSError(Exception):
    """Base class of the errors of this library."""


class WSHandshakeError(WSError):
    """The opening handshake (RFC 6455 4) failed.

    Attributes:
        raw_header: the bytes of the peer's HTTP head as far as it was received, or None.
        raw_body: the bytes received after the head, at most 64 KiB, or None.
        response: the parsed response, where it could be parsed (client only), or None.
        status: on a server, the HTTP status with which the request is refused.
    """

    status: int = 400

    def __init__(
        self,
        description: str,
        raw_header: Optional[bytes] = None,
        raw_body: Optional[bytes] = None,
        response: Optional[WSUpgradeResponse] = None,
    ) -> None:
        super().__init__(description)
        self.raw_header = raw_header
        self.raw_body = raw_body
        self.response = response


class WSHandshakeEOFError(WSHandshakeError):
    """The peer closed the connection before the handshake was complete."""


class WSInvalidMessageError(WSHandshakeError):
    """The peer's handshake is not well-formed HTTP/1.1, or exceeds a limit."""


class WSInvalidStatusError(WSHandshakeError):
    """The server refused the upgrade: `response.status` is not 101."""


class WSInvalidHeaderError(WSHandshakeError):
    """A handshake header is missing, repeated or wrong.

    Attributes:
        name: name of the header.
        value: its value, or None where the header is missing.
    """

    def __init__(
        self,
        description: str,
        name: str,
        value: Optional[str] = None,
        raw_header: Optional[bytes] = None,
        raw_body: Optional[bytes] = None,
        response: Optional[WSUpgradeResponse] = None,
    ) -> None:
        super().__init__(description, raw_header, raw_body, response)
        self.name = name
        self.value = value

    def __reduce__(self) -> Any:
        return type(self), (self.args[0], self.name, self.value), vars(self)


class WSInvalidUpgradeError(WSInvalidHeaderError):
    """`Upgrade` or `Connection` do not ask for, or do not confirm, the upgrade to WebSocket."""


class WSProtocolError(WSError):
    """The connection is failed with a close code (RFC 6455 7.1.7).

    The library stores it when the peer breaks the protocol. A listener may raise it from any callback: the
    connection is then closed with this code and message whatever `disconnect_on_exception` says.

    Attributes:
        code: the WSCloseCode (or int) sent to the peer.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[1])


class WSMessageTooBigError(WSProtocolError):
    """A frame or a message announces or inflates to more than the limit (close code 1009).

    Attributes:
        size: what was announced or reached, in bytes.
        limit: what is allowed, in bytes.
    """

    def __init__(self, message: str, size: int, limit: int) -> None:
        super().__init__(1009, message)
        self.size = size
        self.limit = limit

    def __reduce__(self) -> Any:
        return type(self), (self.args[1], self.size, self.limit), vars(self)


class WSConnectionClosed(WSError):
    """No further message can be sent or received.

    Attributes:
        code: the code of the CLOSE frame that the peer sent, NO_INFO if it carried none, ABNORMAL_CLOSURE (1006) if
            none came.
        reason: the peer's reason, or "".
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"connection closed, code {int(self.code)}" + (f": {self.reason}" if self.reason else "")


class WSInvalidURL(WSError, ValueError):
    """The URL is not one that can be connected to (RFC 6455 3).

    Attributes:
        url: the URL as given, without its password.
    """

    def __init__(self, url: str, msg: str) -> None:
        super().__init__(f"{url} is not a valid URL: {msg}")
        self.url = url
        self.msg = msg

    def __reduce__(self) -> Any:
        return type(self), (self.url, self.msg), vars(self)
