"""One message to many connections."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from .._broadcast import encode_message
from ..typing import DataLike

if TYPE_CHECKING:
    from .connection import Connection


def broadcast(
    connections: Iterable[Connection],
    message: DataLike,
    *,
    raise_exceptions: bool = False,
    text: bool | None = None,
    **kwargs: Any,
) -> None:
    """Send a message to connections, and wait until it is on its way to all of them.

    Connections that are not open are passed over. One to which writing fails, or that is in the middle of a fragmented
    message, is passed over with a warning in its log.

    Args:
        connections: which.
        message: str or bytes-like.
        raise_exceptions: raise an ExceptionGroup in the end, instead of warnings.
        text: as for `Connection.send`.
        kwargs: for the ThreadPoolExecutor that waits for slow connections.

    Raises:
        TypeError: the message is neither str nor bytes-like.
    """
    data, is_text = encode_message(message, text)
    executor = ThreadPoolExecutor(**kwargs)  # which starts no thread before there is something to do
    skipped: list[Exception] = []
    with executor:
        slow: list[Connection] = []
        for connection in connections:
            try:
                if not connection._begin_broadcast(data, is_text):
                    slow.append(connection)
            except Exception as exc:
                _skip(connection, exc, skipped if raise_exceptions else None)
        waiting = [(connection, executor.submit(connection._end_broadcast)) for connection in slow]
        for connection, future in waiting:
            error = future.exception()
            if isinstance(error, Exception):
                _skip(connection, error, skipped if raise_exceptions else None)
    if skipped:
        raise ExceptionGroup("skipped broadcast", skipped)


def _skip(connection: Connection, exc: Exception, skipped: list[Exception] | None) -> None:
    if skipped is not None:
        skipped.append(exc)
    elif isinstance(exc, RuntimeError):
        connection.logger.warning("skipped broadcast: %s", exc)
    else:
        connection.logger.warning("skipped broadcast: failed to write message: %s", exc)
