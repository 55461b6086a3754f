"""Handlers by URL, with werkzeug's routing."""

from __future__ import annotations

import ssl as ssl_module
import urllib.parse
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from ..http11 import Request, Response
from ..typing import PathLike
from .server import Server, ServerConnection, serve

if TYPE_CHECKING:
    from werkzeug.routing import Map

__all__ = ["route", "unix_route", "Router"]


class Router:
    """Finds the handler for a request, before the handshake, and calls it afterwards.

    Args:
        url_map: whose endpoints are handlers; they are called with the connection and the parameters in the URL.
        server_name: host that URLs are built with; by default the request's Host header.
        url_scheme: scheme that URLs are built with.
    """

    def __init__(self, url_map: Map, server_name: str | None = None, url_scheme: str = "ws") -> None:
        self.url_map = url_map
        self.server_name = server_name
        self.url_scheme = url_scheme
        for rule in self.url_map.iter_rules():
            rule.websocket = True

    def get_server_name(self, connection: ServerConnection, request: Request) -> str:
        """The host that URLs are built with."""
        return request.headers["Host"] if self.server_name is None else self.server_name

    def redirect(self, connection: ServerConnection, url: str) -> Response:
        """The response that redirects to a URL."""
        response = connection.respond(HTTPStatus.FOUND, f"Found at {url}")
        response.headers["Location"] = url
        return response

    def not_found(self, connection: ServerConnection) -> Response:
        """The response where no handler is found."""
        return connection.respond(HTTPStatus.NOT_FOUND, "Not Found")

    def route_request(self, connection: ServerConnection, request: Request) -> Response | None:
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
        connection.handler, connection.handler_kwargs = handler, kwargs  # type: ignore[attr-defined]
        return None

    def handler(self, connection: ServerConnection) -> None:
        """The handler of all connections: call the one that was found."""
        connection.handler(connection, **connection.handler_kwargs)  # type: ignore[attr-defined]


def route(
    url_map: Map,
    *args: Any,
    server_name: str | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    create_router: type[Router] | None = None,
    **kwargs: Any,
) -> Server:
    """Serve connections with a handler for each URL.

    Args:
        url_map: a werkzeug Map whose endpoints are handlers.
        args: host and port, as for `serve`.
        server_name: as for Router.
        ssl: an SSLContext; True where TLS is terminated elsewhere.
        create_router: a subclass of Router.
        kwargs: as for `serve`; `process_request` is called for requests whose handler was found.
    """
    if ssl is not None and ssl is not True:
        kwargs["ssl"] = ssl
    make_router = Router if create_router is None else create_router
    router = make_router(url_map, server_name, "ws" if ssl is None else "wss")
    kwargs["process_request"] = _chain(router.route_request, kwargs.get("process_request"))
    return serve(router.handler, *args, **kwargs)


def unix_route(url_map: Map, path: PathLike | None = None, **kwargs: Any) -> Server:
    """Serve connections on a Unix socket with a handler for each URL.

    Args:
        url_map: as for `route`.
        path: of the socket.
        kwargs: as for `route`.
    """
    return route(url_map, unix=True, path=path, **kwargs)


def _chain(
    route_request: Callable[[ServerConnection, Request], Response | None],
    process_request: Callable[[ServerConnection, Request], Response | None] | None,
) -> Callable[[ServerConnection, Request], Response | None]:
    if process_request is None:
        return route_request

    def process(connection: ServerConnection, request: Request) -> Response | None:
        response = route_request(connection, request)
        return process_request(connection, request) if response is None else response

    return process
