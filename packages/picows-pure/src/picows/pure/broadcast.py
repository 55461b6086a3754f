"""One message to many connections."""

from __future__ import annotations

from typing import Any, Iterable, List, Optional, Tuple

from ..abc import WSBuffer
from ..frame_header import frame_header
from .frame import CONTROL, FIN
from .messages import WSMessageListener
from .transport import WSTransport, _as_buffer, _check_control
from .wire import JOIN_LIMIT


def ws_broadcast(transports: Iterable[WSTransport], msg_type: int, message: Optional[WSBuffer]) -> None:
    """Send one unfragmented frame to many connections; the server's frame is built once.

    Connections that are closing or closed are skipped; a slow one is not waited for (see `max_write_buffer_size`).
    Client-side transports may be among them: they get a frame of their own, because each needs its own masking key.

    Args:
        transports: those of one loop.
        msg_type: as for `WSTransport.send`.
        message: as for `WSTransport.send`.

    Raises:
        ValueError, TypeError, BufferError: as `WSTransport.send`, before anything is sent.
        RuntimeError: a transport belongs to another thread.
    """
    payload = bytes(_as_buffer(message))
    if msg_type >= CONTROL or msg_type < 0:
        _check_control(msg_type, True, len(payload))
    header = frame_header(FIN | msg_type, len(payload))
    whole = header + payload if len(payload) <= JOIN_LIMIT else b""
    for transport in transports:
        if not isinstance(transport, WSTransport):
            raise TypeError(f"a broadcast goes to WSTransport objects, got {type(transport).__name__}")
        transport._check_thread("ws_broadcast")
        if transport._is_client_side:
            transport.send(msg_type, payload)
        elif not transport._is_sealed:
            if whole:
                transport._wire.write(whole)
            else:
                transport._write_large(header, payload)
            transport._check_write_buffer()


def sort_for_broadcast(connections: Iterable[Any]) -> Tuple[List[WSTransport], List[Any]]:
    """Find out who of many may be sent a message with `ws_broadcast`.

    Args:
        connections: any objects.

    Returns:
        The transports of WSMessageListener objects that would send a message now and as it is: they are open, do not
        compress, and have never sent one in fragments; and all other objects.
    """
    transports: List[WSTransport] = []
    others: List[Any] = []
    for each in connections:
        if isinstance(each, WSMessageListener) and each._sends_plainly():
            transports.append(each._transport)
        else:
            others.append(each)
    return transports, others
