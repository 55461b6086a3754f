"""Which redirects a client follows, and what it does not take along."""

from __future__ import annotations

import os
import urllib.parse
from typing import Protocol

from ._opening import single
from .datastructures import Headers, HeadersLike
from .exceptions import InvalidStatus, InvalidURI, SecurityError
from .uri import WebSocketURI, parse_uri

MAX_REDIRECTS = int(os.environ.get("WEBSOCKETS_MAX_REDIRECTS", "10"))
_REDIRECTS = frozenset((300, 301, 302, 303, 307, 308))
#: Not sent to another origin.
_CREDENTIALS = ("Authorization", "Cookie", "Proxy-Authorization")


class Connector(Protocol):
    """What wants to connect."""

    uri: str
    ws_uri: WebSocketURI
    additional_headers: HeadersLike | None


def follow_redirect(
    connector: Connector, exc: Exception, has_socket: bool, fixed: str | None, socket_name: str = "socket"
) -> Exception | str:
    """Decide whether a failed handshake is a redirect to follow.

    Args:
        connector: what wants to connect; it forgets its credentials if another origin is next.
        exc: why the handshake failed.
        has_socket: whether the user has given a connected socket.
        fixed: what the user has given instead of the address in the URI, in words; None for nothing.
        socket_name: what the API calls the connected socket.

    Returns:
        The new URI, or the exception to raise.

    Raises:
        InvalidHeader: there are several Location headers.
        InvalidURI: the new URI is not one that can be connected to.
    """
    if not isinstance(exc, InvalidStatus) or exc.response.status_code not in _REDIRECTS:
        return exc
    location = single(exc.response.headers, "Location")
    if location is None:
        return exc
    old = connector.ws_uri
    try:
        uri = urllib.parse.urljoin(connector.uri, location)
    except ValueError as error:  # of brackets, before there are any parts to check
        raise InvalidURI(location, str(error)) from None
    new = parse_uri(uri)
    if old.secure and not new.secure:
        return SecurityError(f"cannot follow redirect to non-secure URI {uri}")
    if has_socket:
        return ValueError(f"cannot follow redirect to {uri} with a preexisting {socket_name}")
    if (old.secure, old.host, old.port) != (new.secure, new.host, new.port):
        if fixed is not None:
            return ValueError(f"cannot follow cross-origin redirect to {uri} with {fixed}")
        connector.additional_headers = without_credentials(connector.additional_headers)
    return uri


def without_credentials(given: HeadersLike | None) -> Headers | None:
    """The headers that a user has given, as another origin may see them."""
    if given is None:
        return None
    headers = Headers()
    headers.update(given)
    for name in _CREDENTIALS:
        if name in headers:  # once or more often
            del headers[name]
    return headers
