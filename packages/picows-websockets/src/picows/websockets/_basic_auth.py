"""HTTP Basic authentication (RFC 7617) for servers: what does not depend on how a server waits."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Protocol, cast

from .exceptions import InvalidHeader
from .headers import build_www_authenticate_basic, parse_authorization_basic
from .http11 import Request, Response


class Responder(Protocol):
    """A server's side of a connection, before the opening handshake is answered."""

    def respond(self, status: HTTPStatus, text: str, /) -> Response:
        """Make a response."""


def is_credentials(credentials: Any) -> bool:
    """Whether this is one pair of user name and password."""
    try:
        username, password = credentials
    except (TypeError, ValueError):
        return False
    return isinstance(username, str) and isinstance(password, str)


def choose_check(credentials: Any, check_credentials: Any) -> Any:
    """The function that `basic_auth` asks, from its arguments.

    Raises:
        ValueError: neither or both are given.
        TypeError: `credentials` are neither a pair nor pairs.
    """
    if (credentials is None) == (check_credentials is None):
        raise ValueError("provide either credentials or check_credentials")
    return _checker(credentials) if check_credentials is None else check_credentials


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
        # Who does not exist takes as long as who has another password.
        is_same = hmac.compare_digest(_bytes(password if expected is None else expected), _bytes(password))
        return expected is not None and is_same

    return check


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogateescape")


def read_credentials(connection: Responder, request: Request, realm: str) -> tuple[str, str] | Response:
    """User name and password of a request, or the response that asks for them."""
    try:
        authorization = request.headers["Authorization"]
    except KeyError:
        return ask_for_credentials(connection, realm, "Missing credentials\n")
    try:
        return parse_authorization_basic(authorization)
    except InvalidHeader:
        return ask_for_credentials(connection, realm, "Unsupported credentials\n")


def ask_for_credentials(connection: Responder, realm: str, text: str = "Invalid credentials\n") -> Response:
    """The response that asks for credentials, because of what `text` says."""
    response = connection.respond(HTTPStatus.UNAUTHORIZED, text)
    response.headers["WWW-Authenticate"] = build_www_authenticate_basic(realm)
    return response
