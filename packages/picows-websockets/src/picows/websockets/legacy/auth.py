"""HTTP Basic authentication (RFC 7617) for servers."""

from __future__ import annotations

import functools
import http
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

from .. import _basic_auth
from ..datastructures import Headers
from ..exceptions import InvalidHeader
from ..headers import build_www_authenticate_basic, parse_authorization_basic
from .server import HTTPResponse, WebSocketServerProtocol

__all__ = ["BasicAuthWebSocketServerProtocol", "basic_auth_protocol_factory"]

Credentials = tuple[str, str]


class BasicAuthWebSocketServerProtocol(WebSocketServerProtocol):
    """A connection whose opening request must carry a user name and password.

    Args:
        args: for WebSocketServerProtocol, like the other keyword arguments.
        realm: what the client is asked to authenticate for; by default the attribute of the class.
        check_credentials: a coroutine function that is asked instead of the method.

    Attributes:
        realm: as given.
        username: who was let in, once somebody was.
    """

    realm: str = ""
    username: str | None = None

    def __init__(
        self,
        *args: Any,
        realm: str | None = None,
        check_credentials: Callable[[str, str], Awaitable[bool]] | None = None,
        **kwargs: Any,
    ) -> None:
        if realm is not None:
            self.realm = realm
        self._check_credentials = check_credentials
        super().__init__(*args, **kwargs)

    async def check_credentials(self, username: str, password: str) -> bool:
        """Whether to let in this user. A subclass may override it."""
        return self._check_credentials is not None and await self._check_credentials(username, password)

    async def process_request(self, path: str, request_headers: Headers) -> HTTPResponse | None:
        """Answer 401 unless the request carries accepted credentials; then what WebSocketServerProtocol does."""
        try:
            authorization = request_headers["Authorization"]
        except KeyError:
            return self._ask(b"Missing credentials\n")
        try:
            username, password = parse_authorization_basic(authorization)
        except InvalidHeader:
            return self._ask(b"Unsupported credentials\n")
        if not await self.check_credentials(username, password):
            return self._ask(b"Invalid credentials\n")
        self.username = username
        return await super().process_request(path, request_headers)

    def _ask(self, text: bytes) -> HTTPResponse:
        return http.HTTPStatus.UNAUTHORIZED, [("WWW-Authenticate", build_www_authenticate_basic(self.realm))], text


def basic_auth_protocol_factory(
    realm: str | None = None,
    credentials: Credentials | Iterable[Credentials] | None = None,
    check_credentials: Callable[[str, str], Awaitable[bool]] | None = None,
    create_protocol: Callable[..., BasicAuthWebSocketServerProtocol] | None = None,
) -> Callable[..., BasicAuthWebSocketServerProtocol]:
    """What to give as `create_protocol` to `serve`, for one or several users or with a function that knows them.

    Args:
        realm: what the client is asked to authenticate for; ASCII.
        credentials: (username, password), or several of them.
        check_credentials: a coroutine function that is called with username and password instead.
        create_protocol: a subclass of BasicAuthWebSocketServerProtocol, or a function that makes one.

    Raises:
        TypeError: neither or both of `credentials` and `check_credentials` are given, or `credentials` are something
            else.
    """
    if (credentials is None) == (check_credentials is None):
        raise TypeError("provide either credentials or check_credentials")
    if check_credentials is None:
        check_credentials = _comparing(credentials)
    return functools.partial(
        BasicAuthWebSocketServerProtocol if create_protocol is None else create_protocol,
        realm=realm,
        check_credentials=check_credentials,
    )


def _comparing(credentials: Any) -> Callable[[str, str], Awaitable[bool]]:
    is_right = _basic_auth.choose_check(credentials, None)

    async def check_credentials(username: str, password: str) -> bool:
        return cast(bool, is_right(username, password))

    return check_credentials


def is_credentials(value: Any) -> bool:
    """Whether this is one pair of user name and password."""
    return _basic_auth.is_credentials(value)
