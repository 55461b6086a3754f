"""Header values: lists, extensions, subprotocols, credentials. Text in, objects out, and the reverse.

Lists follow RFC 9110 5.6.1, in which empty elements are passed over. The texts of errors say what was expected where,
in the words of the websockets library, because users compare them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from picows.head import TOKEN_CHARS

from .exceptions import InvalidHeaderFormat, InvalidHeaderValue
from .typing import (
    ConnectionOption,
    ExtensionHeader,
    ExtensionName,
    ExtensionParameter,
    Subprotocol,
    UpgradeProtocol,
)

__all__ = [
    "build_host",
    "parse_connection",
    "parse_upgrade",
    "parse_extension",
    "build_extension",
    "parse_subprotocol",
    "build_subprotocol",
    "validate_subprotocols",
    "build_www_authenticate_basic",
    "parse_authorization_basic",
    "build_authorization_basic",
]

T = TypeVar("T")

# RFC 9110 5.6.2, 5.6.4, 7.8 and 11.2. No pattern can match the same text in two ways: they take linear time.
_BLANKS = re.compile(r"[ \t]*")
_TOKEN = re.compile(TOKEN_CHARS)
_PROTOCOL = re.compile(f"{TOKEN_CHARS}(?:/{TOKEN_CHARS})?")
_QUOTED = re.compile(r'"((?:[\t !#-\[\]-~]|\\[\t -~\x80-\xff])*)"')
_ESCAPE = re.compile(r"\\(.)")
_QUOTABLE = re.compile("[\t -~\x80-\xff]*")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class _Scanner:
    """A position in a header value, and the elements that can be read from there on."""

    __slots__ = ("header", "name", "position")

    def __init__(self, name: str, header: str) -> None:
        self.name = name
        self.header = header
        self.position = 0

    def at_end(self) -> bool:
        return self.position == len(self.header)

    def fail(self, expected: str) -> NoReturn:
        raise InvalidHeaderFormat(self.name, expected, self.header, self.position)

    def match(self, pattern: re.Pattern[str], description: str) -> re.Match[str]:
        found = pattern.match(self.header, self.position)
        if found is None:
            self.fail(f"expected {description}")
        self.position = found.end()
        return found

    def token(self) -> str:
        return self.match(_TOKEN, "token")[0]

    def skip_blanks(self) -> None:
        self.match(_BLANKS, "")

    def skip(self, character: str) -> bool:
        """Pass a separator and the blanks around it, if that is what comes next."""
        if not self.header.startswith(character, self.position):
            return False
        self.position += 1
        self.skip_blanks()
        return True

    def elements(self, read: Callable[[], T]) -> list[T]:
        """A list with at least one element, up to the end of the header."""
        found: list[T] = []
        while self.skip(","):
            pass
        while not found or not self.at_end():
            found.append(read())
            self.skip_blanks()
            if not self.at_end() and not self.header.startswith(",", self.position):
                self.fail("expected comma")
            while self.skip(","):
                pass
        return found

    def extension(self) -> ExtensionHeader:
        name = ExtensionName(self.token())
        parameters: list[ExtensionParameter] = []
        self.skip_blanks()
        while self.skip(";"):
            parameters.append(self.parameter())
            self.skip_blanks()
        return name, parameters

    def parameter(self) -> ExtensionParameter:
        name = self.token()
        self.skip_blanks()
        if not self.skip("="):
            return name, None
        if not self.header.startswith('"', self.position):
            return name, self.token()
        start = self.position
        value = _ESCAPE.sub(r"\1", self.match(_QUOTED, "quoted string")[1])
        if _TOKEN.fullmatch(value) is None:  # RFC 6455 9.1: what is quoted must be a token as well
            self.position = start
            self.fail("invalid quoted header content")
        return name, value


def build_host(host: str, port: int, secure: bool, *, always_include_port: bool = False) -> str:
    """The value of `Host` (RFC 9110 7.2).

    Args:
        host: name or address. An IPv6 address is put in brackets, without its zone, which means nothing elsewhere.
        port: left out if it is the default one.
        secure: whether the default is 443, or 80.
        always_include_port: do not leave it out.
    """
    if ":" in host and not host.startswith("["):
        host = f"[{host.partition('%')[0]}]"
    return f"{host}:{port}" if always_include_port or port != (443 if secure else 80) else host


def parse_connection(header: str) -> list[ConnectionOption]:
    """The options in `Connection` (RFC 9110 7.6.1). Raises InvalidHeaderFormat."""
    scanner = _Scanner("Connection", header)
    return [ConnectionOption(option) for option in scanner.elements(scanner.token)]


def parse_upgrade(header: str) -> list[UpgradeProtocol]:
    """The protocols in `Upgrade` (RFC 9110 7.8). Raises InvalidHeaderFormat."""
    scanner = _Scanner("Upgrade", header)
    return [UpgradeProtocol(found[0]) for found in scanner.elements(lambda: scanner.match(_PROTOCOL, "protocol"))]


def parse_extension(header: str) -> list[ExtensionHeader]:
    """The extensions in `Sec-WebSocket-Extensions` (RFC 6455 9.1). Raises InvalidHeaderFormat.

    Returns:
        `(name, [(parameter, value or None), ...])` in order; quoted values are unquoted.
    """
    scanner = _Scanner("Sec-WebSocket-Extensions", header)
    return scanner.elements(scanner.extension)


def build_extension(extensions: Sequence[ExtensionHeader]) -> str:
    """The value of `Sec-WebSocket-Extensions` for `(name, [(parameter, value or None), ...])` pairs."""
    return ", ".join(
        "; ".join([name, *(key if value is None else f"{key}={value}" for key, value in parameters)])
        for name, parameters in extensions
    )


def parse_subprotocol(header: str) -> list[Subprotocol]:
    """The names in `Sec-WebSocket-Protocol` (RFC 6455 11.3.4). Raises InvalidHeaderFormat."""
    scanner = _Scanner("Sec-WebSocket-Protocol", header)
    return [Subprotocol(name) for name in scanner.elements(scanner.token)]


def build_subprotocol(subprotocols: Sequence[Subprotocol]) -> str:
    """The value of `Sec-WebSocket-Protocol`."""
    return ", ".join(subprotocols)


#: Names from before they were shortened.
parse_extension_list = parse_extension
build_extension_list = build_extension
parse_subprotocol_list = parse_subprotocol
build_subprotocol_list = build_subprotocol


def validate_subprotocols(subprotocols: Sequence[Subprotocol]) -> None:
    """Check what a caller gave as `subprotocols`.

    Raises:
        TypeError: it is not a list (or tuple) of str. A str would be a list of its letters.
        ValueError: a name is not a token (RFC 6455 4.1).
    """
    if isinstance(subprotocols, str):
        raise TypeError("subprotocols must be a list, not a str")
    if not isinstance(subprotocols, Sequence):
        raise TypeError("subprotocols must be a list")
    for subprotocol in subprotocols:
        if not isinstance(subprotocol, str):
            raise TypeError(f"a subprotocol must be a str, not {type(subprotocol).__name__}")
        if _TOKEN.fullmatch(subprotocol) is None:
            raise ValueError(f"invalid subprotocol: {subprotocol}")


def build_www_authenticate_basic(realm: str) -> str:
    """The value of `WWW-Authenticate` that asks for user name and password (RFC 7617 2).

    Raises:
        ValueError: the realm has characters that cannot be quoted.
    """
    if _QUOTABLE.fullmatch(realm) is None:
        raise ValueError("invalid characters for quoted-string encoding")
    quoted = realm.replace("\\", r"\\").replace('"', r"\"")
    return f'Basic realm="{quoted}", charset="UTF-8"'


def parse_authorization_basic(header: str) -> tuple[str, str]:
    """User name and password from `Authorization` (RFC 7617 2).

    Returns:
        (username, password). Bytes that are not UTF-8 become surrogates, as in `os.fsdecode`.

    Raises:
        InvalidHeaderFormat: it is not one scheme and one token68.
        InvalidHeaderValue: the scheme is another one, or these are no credentials.
    """
    scanner = _Scanner("Authorization", header)
    scheme = scanner.token()
    if scheme.lower() != "basic":
        raise InvalidHeaderValue(scanner.name, f"unsupported scheme: {scheme}")
    if not header.startswith(" ", scanner.position):
        scanner.fail("expected space after scheme")
    scanner.position += 1
    encoded = scanner.match(_TOKEN68, "token68")[0]
    if not scanner.at_end():
        scanner.fail("trailing data")
    try:
        credentials = base64.b64decode(encoded).decode("utf-8", "surrogateescape")
    except binascii.Error:
        raise InvalidHeaderValue(scanner.name, "expected base64-encoded credentials") from None
    username, colon, password = credentials.partition(":")
    if not colon:
        raise InvalidHeaderValue(scanner.name, "expected username:password credentials")
    return username, password


def build_authorization_basic(username: str, password: str) -> str:
    """The value of `Authorization` for a user (RFC 7617 2).

    Raises:
        ValueError: the user name contains a colon, which would end it.
    """
    if ":" in username:
        raise ValueError("a user name for HTTP basic authentication must not contain a colon (RFC 7617 2)")
    credentials = f"{username}:{password}".encode("utf-8", "surrogateescape")
    return "Basic " + base64.b64encode(credentials).decode("ascii")
