"""Whose transports carry a connection, aiofastnet's or the event loop's own, and how to listen with them."""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import ssl
import sys
from typing import Any, Callable, Iterable, Optional

from .accepting import accept_directly, accepts_for_uvloop

#: Arguments of create_connection that say how a name becomes a socket; they have no meaning with a socket.
ADDRESS_OPTIONS = frozenset(
    ("family", "proto", "flags", "local_addr", "happy_eyeballs_delay", "interleave", "all_errors")
)


#: How long a peer that was refused may take to read on, or to hang up, before we do.
LINGER_S = 1.0


@functools.lru_cache(maxsize=1)
def _import_aiofastnet() -> Any:
    try:
        return importlib.import_module("aiofastnet")
    except ImportError:
        return None


def resolve_aiofastnet(use_aiofastnet: Optional[bool], contexts: Iterable[Any] = ()) -> bool:
    """True if aiofastnet is to be used; None uses it where it can be imported, and where it can do the TLS.

    Args:
        use_aiofastnet: what the user wants.
        contexts: of the TLS that connections may have. What is no SSLContext stands for the default one of clients.

    Raises:
        TypeError: neither a bool nor None.
        ValueError: it was asked for, and cannot be imported or cannot do the TLS.
    """
    if use_aiofastnet is not None and not isinstance(use_aiofastnet, bool):
        raise TypeError(f"use_aiofastnet must be True, False or None, got {type(use_aiofastnet).__name__}")
    if use_aiofastnet is False:
        return False
    is_there = _import_aiofastnet() is not None
    if use_aiofastnet and not is_there:
        raise ValueError("use_aiofastnet=True, but aiofastnet cannot be imported: pip install aiofastnet")
    if is_there:
        obstacle = next(filter(None, map(_find_callback, contexts)), None)
        if obstacle is not None:
            if use_aiofastnet:
                raise ValueError(f"use_aiofastnet=True, but its TLS has no {obstacle}, and would crash")
            return False
    return is_there


def _find_callback(context: Any) -> Optional[str]:
    """What has OpenSSL call the ssl module, which looks for its SSLObject: aiofastnet 1.2 has none, a null pointer."""
    if isinstance(context, ssl.SSLContext):
        # The PSK callbacks of Python 3.13 cannot be seen.
        names = "sni_callback", "keylog_filename", "_msg_callback"
        return next((name for name in names if getattr(context, name, None) is not None), None)
    if os.environ.get("SSLKEYLOGFILE") and not sys.flags.ignore_environment:
        return "keylog_filename (SSLKEYLOGFILE)"
    return None


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


class Lingering:
    """The end of a transport that was told to end once its bytes are sent.

    It is aborted when its peer neither hangs up nor reads: a large answer takes as long as the peer needs for it.

    Args:
        loop: its loop.
        transport: the transport.
        patience_s: seconds without progress after which it is aborted.
    """

    __slots__ = ("_loop", "_patience_s", "_timer", "_transport", "_unsent")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: Any, patience_s: float) -> None:
        self._loop = loop
        self._transport = transport
        self._patience_s = patience_s
        self._unsent: int = transport.get_write_buffer_size()
        self._timer = loop.call_later(patience_s, self._on_timer)

    def cancel(self) -> None:
        """It has ended."""
        self._timer.cancel()

    def hurry(self) -> None:
        """From now on progress does not count: it is aborted when the patience that it has is over."""
        self._unsent = 0

    def _on_timer(self) -> None:
        unsent = self._transport.get_write_buffer_size()
        if unsent < self._unsent:
            self._unsent = unsent
            self._timer = self._loop.call_later(self._patience_s, self._on_timer)
        else:
            self._transport.abort()


async def listen(
    loop: asyncio.AbstractEventLoop,
    method: str,
    use_aiofastnet: bool,
    *args: Any,
    start_serving: bool = True,
    **kwargs: Any,
) -> Any:
    """Create a server; one that is cancelled meanwhile leaves no socket behind.

    asyncio's own methods wait once more after the server has begun to serve, and forget it if cancelled there.

    Args:
        loop: the running one.
        method: "create_server" or "create_unix_server".
        use_aiofastnet: whether connections have aiofastnet's transports or the loop's.
        args: for the method.
        start_serving: False only binds the sockets.
        kwargs: for the method.
    """
    for_uvloop = not use_aiofastnet and accepts_for_uvloop(loop, method, kwargs.get("ssl"), kwargs.get("sock"))
    if for_uvloop and method == "create_unix_server":
        kwargs.setdefault("cleanup_socket", sys.version_info >= (3, 13))  # the default of asyncio and of uvloop
    server = await loop_method(loop, method, use_aiofastnet or for_uvloop)(*args, start_serving=False, **kwargs)
    accept_directly(server, loop, for_uvloop)
    if start_serving:
        try:
            await server.start_serving()
        except BaseException:
            server.close()
            raise
    return server
