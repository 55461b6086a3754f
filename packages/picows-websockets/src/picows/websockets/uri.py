"""WebSocket URIs (RFC 6455 3), on top of `picows.url`, which does the strict part."""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import unquote

from picows.errors import WSInvalidURL
from picows.url import parse_url

from .exceptions import InvalidURI

__all__ = ["parse_uri", "WebSocketURI"]

# Never fails: whatever is missing is None or empty. Credentials end at the last @.
_PARTS = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://(?:([^/?#]*)@)?([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL
)
_BLANKS = " \t\r\n"  # around URLs that were read from files


@dataclasses.dataclass
class WebSocketURI:
    """The parts of a URI.

    Attributes:
        secure: True for wss.
        host: lower case and ASCII; an IPv6 address has no brackets.
        port: explicit or default.
        path: percent-encoded, possibly empty.
        query: percent-encoded, without the question mark, possibly empty.
        username: percent-decoded, or None.
        password: percent-decoded, or None.
    """

    secure: bool
    host: str
    port: int
    path: str
    query: str
    username: str | None = None
    password: str | None = None

    @property
    def resource_name(self) -> str:
        """The request target: path, or "/", and query."""
        return (self.path or "/") + (f"?{self.query}" if self.query else "")

    @property
    def user_info(self) -> tuple[str, str] | None:
        """(username, password), or None."""
        if self.username is None or self.password is None:
            return None
        return self.username, self.password


def parse_uri(uri: str) -> WebSocketURI:
    """Split and check a URI.

    Args:
        uri: begins with ws:// or wss://. White space around it is ignored; spaces and non-ASCII text in path and query
            are percent-encoded.

    Raises:
        InvalidURI: it is not one that can be connected to.
    """
    parts = UrlParts(uri if isinstance(uri, str) else "")
    if parts.scheme not in ("ws", "wss"):
        raise InvalidURI(uri, "scheme isn't ws or wss")
    if not parts.host_and_port or parts.host_and_port.startswith(":"):
        raise InvalidURI(uri, "hostname isn't provided")
    if parts.fragment:
        raise InvalidURI(uri, "fragment identifier is meaningless")
    try:
        username, password = parts.credentials()
        parsed = parse_url(parts.without_credentials())
    except WSInvalidURL as exc:
        raise InvalidURI(uri, exc.msg) from None
    except ValueError as exc:
        raise InvalidURI(uri, str(exc)) from None
    return WebSocketURI(parsed.is_secure, parsed.host, parsed.port, parsed.path, parsed.query, username, password)


class UrlParts:
    """What a URL is made of, before anything is known to be right. `picows.url` judges all of it but credentials.

    Attributes:
        scheme: lower case.
        host_and_port: as given.
        path: as given.
        query: as given.
        fragment: as given.
    """

    __slots__ = ("_user_info", "fragment", "host_and_port", "path", "query", "scheme")

    def __init__(self, url: str) -> None:
        parts = _PARTS.fullmatch(url.strip(_BLANKS))
        scheme, user_info, host_and_port, path, query, fragment = parts.groups() if parts else (None,) * 6
        self._user_info: str | None = user_info
        self.scheme: str = (scheme or "").lower()
        self.host_and_port: str = host_and_port or ""
        self.path: str = path or ""
        self.query: str = query or ""
        self.fragment: str = fragment or ""

    def credentials(self) -> tuple[str | None, str | None]:
        """(username, password), percent-decoded, both None without them.

        Raises:
            ValueError: there is no password, or this is not UTF-8.
        """
        if self._user_info is None:
            return None, None
        username, colon, password = self._user_info.partition(":")
        if not colon:
            raise ValueError("username provided without password")
        try:
            return unquote(username, errors="strict"), unquote(password, errors="strict")
        except UnicodeDecodeError:
            raise ValueError("username and password must be UTF-8") from None

    def without_credentials(self) -> str:
        """The URL again, for `picows.url`."""
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.host_and_port}{self.path}{query}"
