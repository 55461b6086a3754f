"""Which redirects a client follows, and what it does not take along."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

from ..datastructures import Headers
from ..exceptions import InvalidStatus, SecurityError
from ..uri import parse_uri

if TYPE_CHECKING:
    from .client import reconnect

_REDIRECTS = frozenset((300, 301, 302, 303, 307, 308))
#: Not sent to another origin.
_CREDENTIALS = ("Authorization", "Cookie", "Proxy-Authorization")


def follow_redirect(connector: reconnect, exc: Exception) -> Exception | str:
    """Decide whether a failed handshake is a redirect to follow.

    Args:
        connector: what wants to connect; it forgets its credentials if another origin is next.
        exc: why the handshake failed.

    Returns:
        The new URI, or the exception to raise.
    """
    if not isinstance(exc, InvalidStatus) or exc.response.status_code not in _REDIRECTS:
        return exc
    location = exc.response.headers.get("Location")
    if location is None:
        return exc
    old, uri = connector.ws_uri, urllib.parse.urljoin(connector.uri, location)
    new = parse_uri(uri)
    if old.secure and not new.secure:
        return SecurityError(f"cannot follow redirect to non-secure URI {uri}")
    if connector.sock is not None:
        return ValueError(f"cannot follow redirect to {uri} with a preexisting socket")
    if (old.secure, old.host, old.port) != (new.secure, new.host, new.port):
        if connector.open_socket_kwargs.get("unix"):
            return ValueError(f"cannot follow cross-origin redirect to {uri} with a Unix socket")
        if connector.open_socket_kwargs.get("address") is not None:
            return ValueError(f"cannot follow cross-origin redirect to {uri} with an explicit host and port")
        _drop_credentials(connector)
    return uri


def _drop_credentials(connector: reconnect) -> None:
    if connector.additional_headers is not None:
        headers = Headers()
        headers.update(connector.additional_headers)
        for name in _CREDENTIALS:
            headers.pop(name, None)
        connector.additional_headers = headers
