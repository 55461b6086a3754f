"""HTTP Basic authentication (RFC 7617) for servers."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from ..exceptions import InvalidHeader
from ..headers import build_www_authenticate_basic, parse_authorization_basic
from ..http11 import Request, Response

if TYPE_CHECKING:
    from .server import ServerConnection


def is_credentials(credentials: Any) -> bool:
    """Whether this is one pair of user name and password."""
    try:
        username, password = credentials
    except (TypeError, ValueError):
        return False
    return isinstance(username, str) and isinstance(password, str)


def basic_auth(
    realm: str = "",
    credentials: tuple[str, str] | Iterable[tuple[str, str]] | None = None,
    check_credentials: Callable[[str, str], bool] | None = None,
) -> Callable[[ServerConnection, Request], Response | None]:
    """A `process_request` that lets in who authenticates; `connection.username` says who that is.

    Args:
        realm: what the client is asked to authenticate for; ASCII.
        credentials: (username, password), or several of them.
        check_credentials: called with username and password instead.

    Raises:
        ValueError: neither or both of `credentials` and `check_credentials` are given.
        TypeError: `credentials` are something else.
    """
    if (credentials is None) == (check_credentials is None):
        raise ValueError("provide either credentials or check_credentials")
    check = check_credentials or _checker(credentials)

    def process_request(connection: ServerConnection, request: Request) -> Response | None:
        """Answer 401 unless the request carries accepted credentials."""
        try:
            authorization = request.headers["Authorization"]
        except KeyError:
            return _ask(connection, realm, "Missing credentials\n")
        try:
            username, password = parse_authorization_basic(authorization)
        except InvalidHeader:
            return _ask(connection, realm, "Unsupported credentials\n")
        if not check(username, password):
            return _ask(connection, realm, "Invalid credentials\n")
        connection.username = username
        return None

    return process_request


def _checker(credentials: Any) -> Callable[[str, str], bool]:
    if is_credentials(credentials):
        pairs = [cast("tuple[str, str]", credentials)]
    elif isinstance(credentials, Iterable):
        pairs = list(credentials)
        if not all(map(is_credentials, pairs)):
            raise TypeError(f"invalid credentials argument: {credentials}")
    else:
        raise TypeError(f"invalid credentials argument: {credentials}")
    passwords = dict(pairs)

    def check(username: str, password: str) -> bool:
        """Compare in a time that does not depend on where they differ."""
        expected = passwords.get(username)
        return expected is not None and hmac.compare_digest(_bytes(expected), _bytes(password))

    return check


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogateescape")


def _ask(connection: ServerConnection, realm: str, text: str) -> Response:
    response = connection.respond(HTTPStatus.UNAUTHORIZED, text)
    response.headers["WWW-Authenticate"] = build_www_authenticate_basic(realm)
    return response
