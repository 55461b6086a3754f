"""Handlers by URL, with werkzeug's routing: finding them. Calling them is what the APIs do in their own ways."""

from __future__ import annotations

import urllib.parse
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from .http11 import Request, Response

if TYPE_CHECKING:
    from werkzeug.routing import Map


class Routable(Protocol):
    """A server's side of a connection, which keeps the handler that was found for it."""

    handler: Callable[..., Any]
    handler_kwargs: Any

    def respond(self, status: HTTPStatus, text: str, /) -> Response:
        """Make a response."""


RoutableT = TypeVar("RoutableT", bound=Routable)
RouterT = TypeVar("RouterT", bound="BaseRouter[Any]")


class BaseRouter(Generic[RoutableT]):
    """Finds the handler for a request, before the handshake. Arguments are described in the classes based on it."""

    def __init__(self, url_map: Map, server_name: str | None = None, url_scheme: str = "ws") -> None:
        self.url_map = url_map
        self.server_name = server_name
        self.url_scheme = url_scheme
        for rule in self.url_map.iter_rules():
            rule.websocket = True

    def get_server_name(self, connection: RoutableT, request: Request) -> str:
        """The host that URLs are built with."""
        return request.headers["Host"] if self.server_name is None else self.server_name

    def redirect(self, connection: RoutableT, url: str) -> Response:
        """The response that redirects to a URL."""
        response = connection.respond(HTTPStatus.FOUND, f"Found at {url}")
        response.headers["Location"] = url
        return response

    def not_found(self, connection: RoutableT) -> Response:
        """The response where no handler is found."""
        return connection.respond(HTTPStatus.NOT_FOUND, "Not Found")

    def route_request(self, connection: RoutableT, request: Request) -> Response | None:
        """A `process_request`: find the handler."""
        from werkzeug.exceptions import NotFound
        from werkzeug.routing import RequestRedirect

        adapter = self.url_map.bind(server_name=self.get_server_name(connection, request), url_scheme=self.url_scheme)
        parts = urllib.parse.urlsplit(request.path)
        try:
            handler, kwargs = adapter.match(path_info=parts.path, query_args=parts.query, websocket=True)
        except RequestRedirect as redirect:
            return self.redirect(connection, redirect.new_url)
        except NotFound:
            return self.not_found(connection)
        connection.handler, connection.handler_kwargs = handler, kwargs
        return None


def prepare_route(
    make_router: Callable[[Map, str | None, str], RouterT],
    url_map: Map,
    server_name: str | None,
    kwargs: dict[str, Any],
) -> RouterT:
    """Make the router for `route`, and turn the keyword arguments of `route` into those of `serve`.

    Args:
        make_router: a class of routers.
        url_map: as for the router.
        server_name: as for the router.
        kwargs: `ssl` is removed unless it is a context, and `process_request` asks the router at the end.
    """
    context = kwargs.pop("ssl", None)
    if context is not None and context is not True:
        kwargs["ssl"] = context
    router = make_router(url_map, server_name, "ws" if context is None else "wss")
    kwargs["process_request"] = _chain(kwargs.get("process_request"), router.route_request)
    return router


def _chain(
    process_request: Callable[[Any, Request], Any] | None, route_request: Callable[[Any, Request], Response | None]
) -> Callable[[Any, Request], Any]:
    """The user's hook comes first: it may refuse who must not learn what there is, and answer where no handler is."""
    if process_request is None:
        return route_request

    async def finish(answer: Awaitable[Response | None], connection: Any, request: Request) -> Response | None:
        response = await answer
        return route_request(connection, request) if response is None else response

    def process(connection: Any, request: Request) -> Any:
        response = process_request(connection, request)
        if isinstance(response, Awaitable):
            return finish(response, connection, request)
        return route_request(connection, request) if response is None else response

    return process
