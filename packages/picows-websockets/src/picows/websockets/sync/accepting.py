"""The server's side of the opening handshake: the request, the user's hooks, the response."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .._answering import answering
from ..http11 import Request, Response
from ..protocol import CLOSED, CONNECTING, Event
from .utils import Deadline

if TYPE_CHECKING:
    from .server import ServerConnection

ProcessRequest = Callable[["ServerConnection", Request], "Response | None"]
ProcessResponse = Callable[["ServerConnection", Request, Response], "Response | None"]

#: Seconds that a refused client may take to hang up, before we do.
LINGER_S = 1.0


def accept(
    connection: ServerConnection,
    process_request: ProcessRequest | None,
    process_response: ProcessResponse | None,
    server_header: str | None,
    deadline: Deadline,
) -> list[Event]:
    """Do the handshake. Afterwards the connection is open, or refused, or closed: the client may leave during a hook.

    Args:
        connection: whose.
        process_request: the user's.
        process_response: the user's.
        server_header: of the response; None for none.
        deadline: by which the request must be there, and the response taken.

    Returns:
        Frames that came with the request, or before the response.

    Raises:
        TimeoutError: the client is too slow.
        OSError: the network failed.
    """
    protocol = connection.protocol
    early: list[Event] = []
    while connection.request is None and protocol.handshake_exc is None:
        early = connection._receive_handshake(deadline)
        for event in early[:1]:
            if isinstance(event, Request):
                connection.request = event
                del early[0]
    connection.server._registry.has_come(connection.socket)
    if connection.request is not None:
        response = _answer(connection, connection.request, process_request, process_response, server_header)
        connection.response = response
        has_hooks = process_request is not None or process_response is not None
        ahead = connection._read_ahead() if has_hooks else b""
        if protocol.state is not CLOSED:  # the client has not left meanwhile
            protocol.send_response(response)
            if ahead:
                protocol.receive_data(ahead)
                early += protocol.events_received()
    connection._writes += protocol.data_to_send()
    connection._flush(deadline.timeout(raise_if_elapsed=False))
    return early


def _answer(
    connection: ServerConnection,
    request: Request,
    process_request: ProcessRequest | None,
    process_response: ProcessResponse | None,
    server_header: str | None,
) -> Response:
    registry = connection.server._registry
    steps = answering(
        connection, request, process_request, process_response, server_header, lambda: registry.is_closing
    )
    try:
        answer = next(steps)
        while True:
            answer = steps.send(answer)
    except StopIteration as stop:
        response: Response = stop.value
        return response


def hang_up(connection: ServerConnection) -> None:
    """End a connection that did not open: give the client time to read the response, then close."""
    protocol, stream = connection.protocol, connection._stream
    until = time.monotonic() + (LINGER_S if protocol.state is CONNECTING and protocol.eof_sent else 0)
    with contextlib.suppress(OSError):
        while (left := until - time.monotonic()) > 0:
            if stream.wait(left, to_read=True) and stream.try_recv(connection.recv_bufsize) == b"":
                break
    if connection.debug and connection.logger.isEnabledFor(logging.DEBUG):
        connection.logger.debug("! the connection was not opened")
    connection._finish()
