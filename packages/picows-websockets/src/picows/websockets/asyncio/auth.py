"""HTTP Basic authentication (RFC 7617) for servers, whose check may be a coroutine function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from .._basic_auth import ask_for_credentials, choose_check, read_credentials
from .._basic_auth import is_credentials as is_credentials
from ..http11 import Request, Response

if TYPE_CHECKING:
    from .server import ServerConnection


def basic_auth(
    realm: str = "",
    credentials: tuple[str, str] | Iterable[tuple[str, str]] | None = None,
    check_credentials: Callable[[str, str], Awaitable[bool] | bool] | None = None,
) -> Callable[[ServerConnection, Request], Awaitable[Response | None]]:
    """A `process_request` that lets in who authenticates; `connection.username` says who that is.

    Args:
        realm: what the client is asked to authenticate for; ASCII.
        credentials: (username, password), or several of them.
        check_credentials: called with username and password instead; may be a coroutine function.

    Raises:
        ValueError: neither or both of `credentials` and `check_credentials` are given.
        TypeError: `credentials` are something else.
    """
    check = choose_check(credentials, check_credentials)

    async def process_request(connection: ServerConnection, request: Request) -> Response | None:
        """Answer 401 unless the request carries accepted credentials."""
        given = read_credentials(connection, request, realm)
        if isinstance(given, Response):
            return given
        answer = check(*given)
        if not isinstance(answer, bool):
            answer = await answer
        if not answer:
            return ask_for_credentials(connection, realm)
        connection.username = given[0]
        return None

    return process_request
