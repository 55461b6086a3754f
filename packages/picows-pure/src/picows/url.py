"""WebSocket URLs (RFC 6455 3): parsing, what goes into `Host`, redirect targets.

The URL is split here and not by `urllib.parse.urlsplit`, which removes tabs and newlines silently, and which differs
between Python versions in what it takes for a host. Everything that leaves this file is fit for the wire: the host is
ASCII (IDNA), path and query contain neither spaces nor control characters nor non-ASCII text.

Credentials are held by `username`, `password`, `url` and `netloc`, and by nothing that is meant for a log: `repr()`,
`safe_url`, `host_header` and the text of WSInvalidURL are free of them.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Optional
from urllib.parse import quote, unquote, urljoin

from .errors import WSHandshakeError, WSInvalidURL

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?")
# The last @ ends the credentials. A backslash is refused because browsers read it as "/", and would see another host.
_AUTHORITY = re.compile(r"(?:([^ \\]*)@)?(\[[^]\[@]*]|[^]\[:@ \\]*)(?::([0-9]{0,5}))?")
_REG_NAME = re.compile(r"[a-z0-9._~!$&'()*+,;=-]+")
_IPV6 = re.compile(r"([0-9A-Fa-f:.]+)(?:%(?:25(?=.))?([A-Za-z0-9._~-]+))?")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UP_TO_LAST_AT = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?/*(.*@)", re.DOTALL)
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_MAX_HOST_LENGTH = 253  # RFC 1035 2.3.4, as text and without the dot of the root


#: Upstream's names for the parts of an address.
WSHost = str
WSPort = int


@dataclass(frozen=True, eq=False, repr=False)
class WSParsedURL:
    """The parts of a URL.

    Attributes:
        url: the URL as given, credentials included. Log `safe_url` instead.
        scheme: lower case.
        is_secure: True for wss and https.
        netloc: `user:password@host:port` as given.
        host: lower case and ASCII; an IPv6 address has no brackets, and keeps its zone (`fe80::1%eth0`).
        port: the port, explicit or by default 443 if is_secure, else 80.
        path: percent-encoded, possibly empty.
        query: percent-encoded, without the question mark, possibly empty.
        username: percent-decoded, or None where the URL has no credentials.
        password: percent-decoded, "" where there is only a user name, or None where the URL has no credentials.
    """

    url: str
    scheme: str
    is_secure: bool
    netloc: str
    host: str
    port: int
    path: str
    query: str
    username: Optional[str] = None
    password: Optional[str] = None

    @property
    def resource_name(self) -> str:
        """The request target (RFC 6455 3): path, or "/", and query."""
        return (self.path or "/") + (f"?{self.query}" if self.query else "")

    @property
    def user_info(self) -> Optional[tuple[str, str]]:
        """(username, password), or None if one of them is missing."""
        if self.username is None or self.password is None:
            return None
        return self.username, self.password

    @property
    def host_header(self) -> str:
        """The value of `Host` (RFC 9110 7.2): no credentials, no default port, IPv6 in brackets without its zone."""
        host = f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_secure else 80) else f"{host}:{self.port}"

    @property
    def tls_name(self) -> str:
        """See the function `tls_name`."""
        return tls_name(self.host)

    @property
    def origin(self) -> tuple[str, str, int]:
        """(ws or wss, host, port): what must be equal for credentials to follow a redirect."""
        return "wss" if self.is_secure else "ws", self.host, self.port

    @property
    def safe_url(self) -> str:
        """The URL without credentials, for logs and messages."""
        return f"{self.scheme}://{self.host_header}{self.path}" + (f"?{self.query}" if self.query else "")

    def __repr__(self) -> str:
        hidden = "" if self.username is None else ", username='***', password='***'"
        return f"{type(self).__name__}({self.safe_url!r}{hidden})"


def tls_name(host: str) -> str:
    """The name that a host's certificate must have: without the dot of the root (RFC 6066 3), without an IPv6 zone."""
    return host.partition("%")[0].removesuffix(".")


def parse_url(url: str, check_scheme: bool = True) -> WSParsedURL:
    """Split and check a URL.

    Args:
        url: ws:// or wss:// URL. Spaces and non-ASCII text in path and query are percent-encoded.
        check_scheme: False accepts every scheme (the URL of a proxy).

    Returns:
        The parts of the URL.

    Raises:
        WSInvalidURL: (a ValueError) it is not a URL that can be connected to.
        TypeError: `url` is not a str.
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    control = _CONTROL.search(url)
    if control is not None:
        raise _invalid(url, f"control character {control[0]!r} at offset {control.start()}")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise _invalid(url, "it must have the form scheme://host[:port][/path][?query]")
    scheme = parts[1].lower()
    if check_scheme and scheme not in ("ws", "wss"):
        raise _invalid(url, f"the scheme must be ws or wss, not {scheme}")
    if parts[5]:
        raise _invalid(url, "it must not have a fragment (RFC 6455 3); write # as %23")
    authority = _AUTHORITY.fullmatch(parts[2])
    if authority is None:
        raise _invalid(url, "the part between // and the path must be [user[:password]@]host[:port]")
    is_secure = scheme in ("wss", "https")
    username, password = _parse_credentials(url, authority[1])
    return WSParsedURL(
        url=url,
        scheme=scheme,
        is_secure=is_secure,
        netloc=parts[2],
        host=_parse_host(url, authority[2]),
        port=_parse_port(url, authority[3], 443 if is_secure else 80),
        path=_quote(url, parts[3]),
        query=_quote(url, parts[4] or ""),
        username=username,
        password=password,
    )


def resolve_redirect(current: WSParsedURL, location: str) -> WSParsedURL:
    """Find where a redirect leads (RFC 9110 10.2.2).

    Args:
        current: the URL that answered with a redirect.
        location: the value of its `Location` header: absolute, relative or without scheme. https and http mean wss
            and ws.

    Returns:
        The target. It has the credentials of `current` only within the same origin, where `location` has none.

    Raises:
        WSInvalidURL: the target cannot be connected to.
        WSHandshakeError: the redirect leads from wss to ws.
    """
    if _CONTROL.search(location):
        raise _invalid(location, "control character in a redirect location")
    try:
        url = urljoin(current.url, location)
    except ValueError as exc:
        raise _invalid(location, "it is not a valid redirect location") from exc
    if url[:5].lower() == "http:" or url[:6].lower() == "https:":
        url = "ws" + url[4:]
    target = parse_url(url)
    if current.is_secure and not target.is_secure:
        raise WSHandshakeError(f"redirect from {current.safe_url} to the non-secure URL {target.safe_url} is refused")
    if target.username is None and is_same_origin(current, target):
        return replace(target, username=current.username, password=current.password)
    if ":" in (target.username or ""):  # which would be our caller's ValueError, and is the server's fault
        raise _invalid(url, "the user name in a redirect location must not contain a colon (RFC 7617 2)")
    return target


def is_same_origin(a: WSParsedURL, b: WSParsedURL) -> bool:
    """True if scheme, host and port are equal, so that credentials meant for one may be sent to the other."""
    return a.origin == b.origin


def _invalid(url: str, message: str) -> WSInvalidURL:
    """An error that can be logged: one line of printable text, in which nothing up to the last @ is shown.

    Where a URL is broken it is unknown what is a password ("ws://user:pa/ss#1@host"), so too much is hidden rather than
    too little.
    """
    hidden = _UP_TO_LAST_AT.match(url)
    if hidden is not None:
        url = f"{url[: hidden.start(1)]}***@{url[hidden.end(1) :]}"
    return WSInvalidURL(url if url.isprintable() else url.encode("unicode_escape").decode("ascii"), message)


def _parse_credentials(url: str, text: Optional[str]) -> tuple[Optional[str], Optional[str]]:
    if not text:
        return None, None
    if _BROKEN_ESCAPE.search(text):
        raise _invalid(url, "% in user name or password must be followed by two hexadecimal digits; write % as %25")
    username, _, password = text.partition(":")
    try:
        username, password = unquote(username, errors="strict"), unquote(password, errors="strict")
        (username + password).encode()
    except UnicodeError as exc:
        raise _invalid(url, "user name and password must be UTF-8") from exc
    if _CONTROL.search(username + password):
        raise _invalid(url, "control character in user name or password (RFC 7617 2)")
    return username, password


def _parse_host(url: str, text: str) -> str:
    if not text:
        raise _invalid(url, "it has no host")
    if text[0] == "[":
        return _parse_ipv6(url, text[1:-1])
    try:
        # The length comes first: the codec takes quadratic time.
        host = text.encode("idna").decode("ascii").lower() if len(text) <= _MAX_HOST_LENGTH + 1 else ""
    except UnicodeError as exc:
        raise _invalid(url, "each part of the host must have 1 to 63 characters that IDNA allows") from exc
    # Checked after IDNA, which may turn one letter into "/", ":" or "@" (U+2100, for example).
    if not _REG_NAME.fullmatch(host) or len(host.rstrip(".")) > _MAX_HOST_LENGTH:
        raise _invalid(url, f"the host is not a domain name of at most {_MAX_HOST_LENGTH} characters")
    return host


def _parse_ipv6(url: str, text: str) -> str:
    match = _IPV6.fullmatch(text)
    try:
        if match is None:
            raise ValueError("unexpected character")
        ipaddress.IPv6Address(match[1])
    except ValueError as exc:
        raise _invalid(url, "the host in brackets is not an IPv6 address") from exc
    # Not str(IPv6Address): how that writes ::ffff:192.0.2.1 depends on the Python version.
    return match[1].lower() + (f"%{match[2]}" if match[2] else "")


def _parse_port(url: str, text: Optional[str], default: int) -> int:
    port = int(text) if text else default
    if not 1 <= port <= 65535:
        raise _invalid(url, "the port must be a number from 1 to 65535")
    return port


def _quote(url: str, text: str) -> str:
    """Percent-encode spaces and non-ASCII text. The rest is the caller's choice."""
    if text.isascii() and " " not in text:
        return text
    try:
        # surrogateescape: a Location header holds bytes above 127 in this form.
        return quote(text, safe=_PRINTABLE, errors="surrogateescape")
    except UnicodeEncodeError as exc:
        raise _invalid(url, "lone surrogate in path or query") from exc
