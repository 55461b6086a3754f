"""One message to many connections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from picows._engine import engine
from picows.enums import WSMsgType

from .._broadcast import encode_message
from ..exceptions import ConcurrencyError
from ..protocol import OPEN
from ..typing import DataLike

if TYPE_CHECKING:
    from .connection import Connection


def broadcast(
    connections: Iterable[Connection],
    message: DataLike,
    *,
    text: bool | None = None,
    raise_exceptions: bool = False,
) -> None:
    """Send a message to connections without waiting for any of them.

    Connections that are not open are passed over. One to which writing fails, or that is in the middle of a fragmented
    message, is passed over with a warning in its log. Slow ones get the message into their write buffers.

    Args:
        connections: which.
        message: str or bytes-like.
        text: as for `Connection.send`.
        raise_exceptions: raise an ExceptionGroup in the end, instead of warnings.

    Raises:
        TypeError: the message is neither str nor bytes-like.
    """
    data, is_text = encode_message(message, text)
    opcode = WSMsgType.TEXT if is_text else WSMsgType.BINARY
    skipped: list[Exception] = []
    compressed: dict[Any, bytes] = {}
    plain, others = engine.sort_for_broadcast(connections)
    for connection in others:
        if connection.protocol._state is not OPEN:
            continue
        try:
            lock = connection._stream_lock
            if lock is not None and lock.locked():
                raise ConcurrencyError("sending a fragmented message")
            if connection._deflate is None and connection._tap is None:
                plain.append(connection._transport)
            else:
                connection._send_broadcast(opcode, data, compressed)
        except Exception as exc:
            _skip(connection, exc, skipped if raise_exceptions else None)
    if plain:
        engine.ws_broadcast(plain, opcode, data)
    if skipped:
        raise ExceptionGroup("skipped broadcast", skipped)


def _skip(connection: Connection, exc: Exception, skipped: list[Exception] | None) -> None:
    if skipped is None:
        if isinstance(exc, ConcurrencyError):
            connection.logger.warning("skipped broadcast: %s", exc)
        else:
            connection.logger.warning("skipped broadcast: failed to write message: %s", exc)
    else:
        skipped.append(exc)
