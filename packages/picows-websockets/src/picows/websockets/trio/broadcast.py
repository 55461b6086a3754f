"""One message to many connections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import trio

from .._broadcast import encode_message
from ..exceptions import ConcurrencyError, ConnectionClosed
from ..typing import DataLike

if TYPE_CHECKING:
    from .connection import Connection


async def broadcast(
    connections: Iterable[Connection],
    message: DataLike,
    *,
    raise_exceptions: bool = False,
    text: bool | None = None,
) -> None:
    """Send a message to connections, and wait until it is on its way to all of them.

    Connections that are not open are passed over. One to which writing fails, or that is in the middle of a fragmented
    message, is passed over with a warning in its log.

    Args:
        connections: which.
        message: str or bytes-like.
        raise_exceptions: raise an ExceptionGroup in the end, instead of warnings.
        text: as for `Connection.send`.

    Raises:
        TypeError: the message is neither str nor bytes-like.
    """
    data, is_text = encode_message(message, text)
    skipped: list[Exception] = []
    begun: list[Connection] = []
    for connection in connections:
        try:
            if connection._begin_broadcast(data, is_text):
                begun.append(connection)
        except ConcurrencyError as exc:
            _skip(connection, exc, skipped if raise_exceptions else None)
    await trio.lowlevel.checkpoint()
    for connection in begun:  # all of them are written to meanwhile
        try:
            await connection._end_broadcast()
        except ConnectionClosed as exc:
            _skip(connection, exc, skipped if raise_exceptions else None)
    if skipped:
        raise ExceptionGroup("skipped broadcast", skipped)


def _skip(connection: Connection, exc: Exception, skipped: list[Exception] | None) -> None:
    if skipped is not None:
        skipped.append(exc)
    elif isinstance(exc, ConcurrencyError):
        connection.logger.warning("skipped broadcast: %s", exc)
    else:
        connection.logger.warning("skipped broadcast: failed to write message: %s", exc)
