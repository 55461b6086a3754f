"""Whose transports carry a connection, aiofastnet's or the event loop's own, and how to listen with them."""

from __future__ import annotations

import asyncio
import functools
import importlib
from typing import Any, Awaitable, Callable, Optional

from .accepting import accept_directly

#: Arguments of create_connection that say how a name becomes a socket; they have no meaning with a socket.
ADDRESS_OPTIONS = frozenset(
    ("family", "proto", "flags", "local_addr", "happy_eyeballs_delay", "interleave", "all_errors")
)


@functools.lru_cache(maxsize=1)
def _import_aiofastnet() -> Any:
    try:
        return importlib.import_module("aiofastnet")
    except ImportError:
        return None


def resolve_aiofastnet(use_aiofastnet: Optional[bool]) -> bool:
    """True if aiofastnet is to be used; None uses it where it can be imported.

    Raises:
        TypeError: neither a bool nor None.
        ValueError: it was asked for and cannot be imported.
    """
    if use_aiofastnet is not None and not isinstance(use_aiofastnet, bool):
        raise TypeError(f"use_aiofastnet must be True, False or None, got {type(use_aiofastnet).__name__}")
    if use_aiofastnet is False:
        return False
    is_there = _import_aiofastnet() is not None
    if use_aiofastnet and not is_there:
        raise ValueError("use_aiofastnet=True, but aiofastnet cannot be imported: pip install aiofastnet")
    return is_there


def loop_method(loop: asyncio.AbstractEventLoop, name: str, use_aiofastnet: bool) -> Callable[..., Any]:
    """`loop.<name>`, or aiofastnet's function of that name bound to the loop."""
    if use_aiofastnet:
        return functools.partial(getattr(_import_aiofastnet(), name), loop)
    return getattr(loop, name)  # type: ignore[no-any-return]


def hang_up(transport: Any) -> bool:
    """End our direction where that can be done alone, because unread input would turn a plain close into a reset.

    Returns:
        Whether there is a peer to wait for: False if the transport was closed or aborted instead.
    """
    if not transport.can_write_eof():  # TLS cannot end one direction
        transport.close()
        return False
    try:
        transport.write_eof()
    except OSError:  # the peer has reset the connection, and nobody has read that yet
        transport.abort()
        return False
    return True


async def listen(create: Callable[..., Awaitable[Any]], *args: Any, start_serving: bool = True, **kwargs: Any) -> Any:
    """Create a server; one that is cancelled meanwhile leaves no socket behind.

    asyncio's own methods wait once more after the server has begun to serve, and forget it if cancelled there.

    Args:
        create: `create_server` or `create_unix_server` of a loop, see `loop_method`.
        args: for it.
        start_serving: False only binds the sockets.
        kwargs: for it.
    """
    server = await create(*args, start_serving=False, **kwargs)
    accept_directly(server, asyncio.get_running_loop())
    if start_serving:
        try:
            await server.start_serving()
        except BaseException:
            server.close()
            raise
    return server
