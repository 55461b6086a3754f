"""One message to many connections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..asyncio import broadcast as today
from ..typing import DataLike
from .framing import prepare_data

if TYPE_CHECKING:
    from .protocol import WebSocketCommonProtocol


def broadcast(websockets: Iterable[WebSocketCommonProtocol], message: DataLike, raise_exceptions: bool = False) -> None:
    """Send a message to connections without waiting for any of them.

    Connections that are not open are passed over. One to which writing fails, or that is in the middle of a fragmented
    message, is passed over with a warning in its log.

    Args:
        websockets: the connections.
        message: str or bytes-like.
        raise_exceptions: raise an ExceptionGroup in the end, instead of warnings.

    Raises:
        TypeError: the message is neither str nor bytes-like.
    """
    prepare_data(message)  # which has the old words for what it refuses
    links = [websocket._link for websocket in websockets if websocket._link is not None]
    today.broadcast(links, message, raise_exceptions=raise_exceptions)


# Where `help` and `pickle` find it.
broadcast.__module__ = f"{__package__}.server"
