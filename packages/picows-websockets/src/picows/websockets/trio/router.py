"""Handlers by URL, with werkzeug's routing."""

from __future__ import annotations

import ssl as ssl_module
from typing import TYPE_CHECKING, Any, Literal

import trio

from .._routing import BaseRouter, prepare_route
from .server import Server, ServerConnection, serve

if TYPE_CHECKING:
    from werkzeug.routing import Map

__all__ = ["route", "Router"]


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


async def route(
    url_map: Map,
    *args: Any,
    server_name: str | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    create_router: type[Router] | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    **kwargs: Any,
) -> None:
    """Serve connections with a handler for each URL.

    Args:
        url_map: a werkzeug Map whose endpoints are handlers.
        args: the port, as for `serve`.
        server_name: as for Router.
        ssl: an SSLContext; True where TLS is terminated elsewhere.
        create_router: a subclass of Router.
        task_status: as for `serve`.
        kwargs: as for `serve`; `process_request` is called before a handler is looked for.
    """
    kwargs["ssl"] = ssl
    router = prepare_route(Router if create_router is None else create_router, url_map, server_name, kwargs)
    await serve(router.handler, *args, task_status=task_status, **kwargs)
