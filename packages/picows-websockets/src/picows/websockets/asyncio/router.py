"""Handlers by URL, with werkzeug's routing."""

from __future__ import annotations

import ssl as ssl_module
from typing import TYPE_CHECKING, Any, Literal

from .._routing import BaseRouter, prepare_route
from ..typing import PathLike
from .server import Server, ServerConnection, serve

if TYPE_CHECKING:
    from werkzeug.routing import Map

__all__ = ["route", "unix_route", "Router"]


class Router(BaseRouter[ServerConnection]):
    """Finds the handler for a request, before the handshake, and calls it afterwards.

    Args:
        url_map: whose endpoints are handlers; they are called with the connection and the parameters in the URL.
        server_name: host that URLs are built with; by default the request's Host header.
        url_scheme: scheme that URLs are built with.
    """

    async def handler(self, connection: ServerConnection) -> None:
        """The handler of all connections: call the one that was found."""
        await connection.handler(connection, **connection.handler_kwargs)


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
        kwargs: as for `serve`; `process_request` is called before a handler is looked for.
    """
    kwargs["ssl"] = ssl
    router = prepare_route(Router if create_router is None else create_router, url_map, server_name, kwargs)
    return serve(router.handler, *args, **kwargs)


def unix_route(url_map: Map, path: PathLike | None = None, **kwargs: Any) -> Server:
    """Serve connections on a Unix socket with a handler for each URL.

    Args:
        url_map: as for `route`.
        path: of the socket.
        kwargs: as for `route`.
    """
    return route(url_map, unix=True, path=path, **kwargs)
