"""The server's side of the opening handshake: the request, the user's hooks, the response."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from .._answering import answering, refuse_while_closing
from ..http11 import Request, Response
from ..protocol import CLOSED, CONNECTING, Event
from .link import BROKEN

if TYPE_CHECKING:
    from .server import ServerConnection

ProcessRequest = Callable[["ServerConnection", Request], "Awaitable[Response | None] | Response | None"]
ProcessResponse = Callable[["ServerConnection", Request, Response], "Awaitable[Response | None] | Response | None"]

#: Seconds that a refused client may take to hang up, before we do.
LINGER_S = 1.0


async def accept(
    connection: ServerConnection,
    process_request: ProcessRequest | None,
    process_response: ProcessResponse | None,
    server_header: str | None,
) -> list[Event]:
    """Do the handshake. Afterwards the connection is open, or refused, or closed: the client may leave during a hook.

    Args:
        connection: whose.
        process_request: the user's.
        process_response: the user's.
        server_header: of the response; None for none.

    Returns:
        Frames that came with the request, or before the response.
    """
    protocol = connection.protocol
    early: list[Event] = []
    with connection._awaiting_request:  # which the server cancels when it closes
        while connection.request is None and protocol.handshake_exc is None:
            early = await connection._receive_handshake()
            for event in early[:1]:
                if isinstance(event, Request):
                    connection.request = event
                    del early[0]
    if connection.request is not None:
        connection.response = await _answer(
            connection, connection.request, process_request, process_response, server_header
        )
        if protocol.state is not CLOSED:  # the client has not left meanwhile
            protocol.send_response(connection.response)
            if connection._sent_ahead:
                protocol.receive_data(bytes(connection._sent_ahead))
                connection._sent_ahead.clear()
                early += protocol.events_received()
    elif protocol.handshake_exc is None:  # the server closes: the request may be on its way
        connection.response = refuse_while_closing(protocol)
        protocol.send_response(connection.response)
    connection._writer.queue += protocol.data_to_send()
    await connection._writer.flush()
    return early


async def _answer(
    connection: ServerConnection,
    request: Request,
    process_request: ProcessRequest | None,
    process_response: ProcessResponse | None,
    server_header: str | None,
) -> Response:
    server = connection.server
    steps = answering(connection, request, process_request, process_response, server_header, lambda: server._is_closing)
    try:
        answer = next(steps)
        while True:
            if inspect.isawaitable(answer):
                try:
                    answer = await _await_hook(connection, answer)
                except Exception as exc:
                    answer = steps.throw(exc)
                    continue
            answer = steps.send(answer)
    except StopIteration as stop:
        response: Response = stop.value
        return response


async def _await_hook(connection: ServerConnection, hook: Awaitable[Response | None]) -> Response | None:
    """Await a hook, and read meanwhile, to notice a client that leaves."""
    reading, has_ended = trio.CancelScope(), trio.Event()
    connection.nursery.start_soon(connection._read_ahead, reading, has_ended)
    try:
        return await hook
    finally:
        reading.cancel()
        with trio.CancelScope(shield=True):  # which does not wait for anybody
            await has_ended.wait()


async def hang_up(connection: ServerConnection) -> None:
    """End a connection that did not open: give the client time to read the response, then close."""
    protocol = connection.protocol
    if protocol.state is CONNECTING and protocol.eof_sent:
        with trio.move_on_after(LINGER_S), contextlib.suppress(*BROKEN):
            while await connection.stream.receive_some(connection.recv_bufsize):
                pass
    if connection.debug and connection.logger.isEnabledFor(logging.DEBUG):
        connection.logger.debug("! the connection was not opened")
    await connection._finish()
