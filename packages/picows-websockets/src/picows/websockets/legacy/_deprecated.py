"""What was deprecated before all of this was: arguments under older names, handlers with a path."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from .server import Handler, WebSocketServerProtocol


def deprecate(message: str) -> None:
    """Warn who has called what calls this."""
    warnings.warn(message, DeprecationWarning, stacklevel=3)


def choose_close_timeout(close_timeout: float | None, timeout: float | None) -> float:
    """`close_timeout`, which once was `timeout`."""
    if timeout is None:
        timeout = 10
    else:
        deprecate("rename timeout to close_timeout")
    return timeout if close_timeout is None else close_timeout


def old_arguments(
    create_protocol: Any, close_timeout: float | None, kwargs: dict[str, Any]
) -> tuple[Any, float, asyncio.AbstractEventLoop | None]:
    """Take arguments with deprecated names out of `kwargs`: create_protocol, close_timeout and loop."""
    close_timeout = choose_close_timeout(close_timeout, kwargs.pop("timeout", None))
    klass = kwargs.pop("klass", None)
    if klass is not None:
        deprecate("rename klass to create_protocol")
    loop = kwargs.pop("loop", None)
    if loop is not None:
        deprecate("remove loop argument")
    return klass if create_protocol is None else create_protocol, close_timeout, loop


def remove_path_argument(ws_handler: Handler) -> Callable[[WebSocketServerProtocol], Awaitable[Any]]:
    """A handler with one argument. One with two, of which the second is the path, is deprecated."""
    if _takes(ws_handler, 1) or not _takes(ws_handler, 2):
        return cast("Callable[[WebSocketServerProtocol], Awaitable[Any]]", ws_handler)
    deprecate("remove second argument of ws_handler")
    wants_path = cast("Callable[[WebSocketServerProtocol, str], Awaitable[Any]]", ws_handler)

    async def call(websocket: WebSocketServerProtocol) -> Any:
        return await wants_path(websocket, websocket.path)

    return call


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):  # a ValueError has no signature
        return False
    return True
