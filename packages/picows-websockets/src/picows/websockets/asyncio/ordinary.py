"""The opening handshake that nearly every client makes, answered without objects for what nobody looks at.

Where the server has no say in who is accepted (no hooks, no origins, no subprotocols), the engine recognises ordinary
requests, and the answer to them is a text of which two parts change: the date, once a second, and what proves that the
request was read. Everything else, be it right or wrong, is left to the ServerProtocol: it alone refuses.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

from picows._engine import engine

from ..datastructures import Headers
from ..exceptions import InvalidHeaderValue
from ..extensions.base import ServerExtensionFactory
from ..http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS
from ..protocol import LEFT, OPEN
from ..server import ServerProtocol, format_date
from ..typing import Origin

#: The fields that say something about the connection; the engine has looked at the others.
_TELLING = re.compile(rb"\r\n(Origin|Sec-WebSocket-Extensions|Sec-WebSocket-Protocol):([^\r]*)", re.IGNORECASE)
# To look for these costs less than the pattern. (`in` would try them as integers first, at 1,800 instructions each.)
_ORIGIN, _EXTENSIONS, _PROTOCOL = b"\r\norigin:", b"\r\nsec-websocket-extensions:", b"\r\nsec-websocket-protocol:"
# What the engine accepts is within the limits that users have not made smaller.
_HAS_LIMITS = MAX_NUM_HEADERS < 128 or MAX_LINE_LENGTH < 8192


class Answer(NamedTuple):
    """An accepted request."""

    head: bytes
    response: bytes
    #: What came behind the request: frames.
    remainder: bytes


class OrdinaryRequests:
    """Accepts them.

    Args:
        extensions: of the server, in order of preference.
        server_header: of the responses; None for none.
    """

    __slots__ = ("_has_extensions", "_tail")

    def __init__(self, extensions: Sequence[ServerExtensionFactory] | None, server_header: str | None) -> None:
        self._has_extensions = bool(extensions)
        self._tail = b"\r\n" + Headers({} if server_header is None else {"Server": server_header}).serialize()

    @classmethod
    def of(
        cls, extensions: Sequence[ServerExtensionFactory] | None, server_header: str | None, *decisive: object
    ) -> OrdinaryRequests | None:
        """For a server with these settings; None if it wants to look at every request, because of one of `decisive`."""
        if _HAS_LIMITS or any(each is not None for each in decisive):
            return None
        try:
            return cls(extensions, server_header)
        except (InvalidHeaderValue, UnicodeEncodeError):
            return None  # which every handshake will say

    def accept(self, protocol: ServerProtocol, data: bytes) -> Answer | None:
        """Accept a request.

        Args:
            protocol: gets what the handshake agrees on; its state is OPEN afterwards.
            data: what the client has sent.

        Returns:
            None if this is not an ordinary request; nothing has happened then.
        """
        found = engine.scan_upgrade(data)
        if found is None or not found[1].isascii():
            return None  # the engine leaves other bytes in a target to its users; websockets refuses them
        size, _, accept = found
        head = data[:size]
        find = head.lower().find
        extra: bytes | None = b""
        if find(_ORIGIN) > 0 or find(_EXTENSIONS) > 0 or find(_PROTOCOL) > 0:
            extra = self._negotiate(protocol, _TELLING.findall(head))
        if extra is None:
            return None
        protocol.accept_called = True
        protocol._phase = LEFT
        protocol._state = OPEN
        response = b"".join((_beginning(int(time.time())), accept, extra, self._tail))
        return Answer(head, response, data[size:])

    def _negotiate(self, protocol: ServerProtocol, telling: list[tuple[bytes, bytes]]) -> bytes | None:
        """Further fields of the response; None to look closely."""
        offers = Headers()
        origins: list[str] = []
        for name, value in telling:
            kind, text = name.lower(), value.strip(b" \t").decode("iso-8859-1")
            if kind == b"origin":
                origins.append(text)
            elif kind == b"sec-websocket-extensions":
                offers.set_insecure("Sec-WebSocket-Extensions", text)
            else:
                return None
        if len(origins) > 1:
            return None
        answer = None
        if self._has_extensions and len(offers):
            try:
                answer, protocol.extensions = protocol.process_extensions(offers)
            except Exception:  # whatever a user's factory raises: the ServerProtocol gets it again, answers and logs
                return None
        if origins:
            protocol.origin = Origin(origins[0])
        return b"" if answer is None else b"\r\nSec-WebSocket-Extensions: " + answer.encode()


@functools.lru_cache(maxsize=1)
def _beginning(second: int) -> bytes:
    return (
        f"HTTP/1.1 101 Switching Protocols\r\nDate: {format_date(second)}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    ).encode()
