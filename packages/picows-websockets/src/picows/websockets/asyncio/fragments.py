"""Sending a message in fragments, out of an iterable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any

from picows.enums import WSMsgType

from ..frames import CloseCode
from ..protocol import OPEN

if TYPE_CHECKING:
    from .connection import Connection


class FragmentedMessage:
    """One message; other messages wait until it is complete.

    Args:
        connection: where it is sent.
        text: as for `Connection.send`.
    """

    __slots__ = ("_connection", "_text", "_kind", "_is_begun")

    def __init__(self, connection: Connection, text: bool | None) -> None:
        self._connection = connection
        self._text = text
        #: str or bytes, once there was a fragment.
        self._kind: type | None = None
        self._is_begun = False

    async def send(self, fragments: Iterable[Any] | AsyncIterable[Any]) -> None:
        """Send what the iterable has; nothing if it has nothing.

        Raises:
            TypeError: a fragment is neither str nor bytes-like, or not of the same kind as the first.
            ConnectionClosed: the connection is closed.
        """
        connection = self._connection
        if connection._stream_lock is None:
            connection._stream_lock = asyncio.Lock()
        async with connection._stream_lock:
            if connection.protocol.state is not OPEN:
                await connection._refuse_send()
            try:
                if isinstance(fragments, AsyncIterable):
                    async for fragment in fragments:
                        await self._add(fragment, "async iterable")
                else:
                    for fragment in fragments:
                        await self._add(fragment, "iterable")
                if self._kind is not None:
                    await self._send(b"", True)
            except BaseException as exc:
                await self._give_up(exc)
                raise

    async def _add(self, fragment: Any, source: str) -> None:
        self._is_begun = True
        kind: type | None = None
        if isinstance(fragment, str):
            kind = str
        elif isinstance(fragment, (bytes, bytearray, memoryview)):
            kind = bytes
        if self._kind is not None and kind is not self._kind:
            raise TypeError(f"{source} must contain uniform types")
        if kind is None:
            raise TypeError(f"{source} must contain bytes or str")
        await self._send(fragment, False)

    async def _send(self, fragment: Any, is_last: bool) -> None:
        connection = self._connection
        transport = connection._transport
        if transport is None or transport._is_sealed or connection._asyncio_transport.is_closing():
            await connection._refuse_send()
        opcode = WSMsgType.CONTINUATION
        if self._kind is None:
            self._kind = str if isinstance(fragment, str) else bytes
            is_text = self._kind is str if self._text is None else self._text
            opcode = WSMsgType.TEXT if is_text else WSMsgType.BINARY
        connection._send_fragment_frame(opcode, fragment, is_last)
        await connection._wait_for_drain()

    async def _give_up(self, exc: BaseException) -> None:
        """A message that was begun cannot be completed: nothing else can follow."""
        connection = self._connection
        if self._is_begun and not connection._transport._is_sealed:
            connection._close_failing(CloseCode.INTERNAL_ERROR, "error in fragmented message")
            if isinstance(exc, Exception):
                await connection.wait_closed()
