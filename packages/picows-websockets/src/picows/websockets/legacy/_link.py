"""Between a protocol of before and a connection of today.

A WebSocketCommonProtocol is an asyncio protocol: it gets bytes from a transport, or from whoever had the transport
before, as uvicorn does it. Once its handshake is over, a Link takes the bytes to the engine; for the engine it is the
listener, like every `asyncio.connection.Connection`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

from picows._engine import engine
from picows.errors import WSProtocolError

from ..asyncio.connection import Connection
from ..asyncio.fragments import FragmentedMessage
from ..asyncio.opening import engine_options
from ..frames import CLOSE, CloseCode
from ..protocol import OPEN, Protocol


class Link(Connection):
    """The open connection.

    Args:
        protocol: its state; `extensions` are those that were negotiated.
        ping_interval: as for Connection; likewise ping_timeout, close_timeout and max_queue.
        ping_timeout: see Connection.
        close_timeout: see Connection.
        max_queue: see Connection.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        ping_interval: float | None,
        ping_timeout: float | None,
        close_timeout: float | None,
        max_queue: int | None,
    ) -> None:
        owner = protocol._owner  # whom records of the log refer to: not us, whom nobody knows
        super().__init__(
            protocol,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_queue=max_queue,
        )
        protocol._owner = owner
        self._receiver: Any = None

    def take_over(self, loop: asyncio.AbstractEventLoop, transport: Any, is_client: bool, remainder: bytes) -> None:
        """Begin.

        Args:
            loop: of the transport.
            transport: the asyncio transport, whose protocol keeps calling our methods.
            is_client: the side.
            remainder: what came after the opening handshake.
        """
        protocol = self.protocol
        self._asyncio_transport = transport
        protocol.state = OPEN
        self._is_transport_lent = True  # the protocol has it
        options = engine_options(is_client, protocol.max_message_size, protocol.debug)
        handshake = _NoHandshake()
        self._receiver = engine.make_protocol(loop, options, handshake, None, False)
        self._receiver.connection_made(transport)
        if handshake.failure is not None:
            raise handshake.failure
        self._prepare()
        self._receiver.open(self, None, None, remainder)

    # What the asyncio protocol is told.

    def data_received(self, data: bytes) -> None:
        """Bytes of frames."""
        rest = memoryview(data)
        while rest:
            buffer = self._receiver.get_buffer(len(rest))
            size = min(len(buffer), len(rest))
            buffer[:size] = rest[:size]
            self._receiver.buffer_updated(size)
            rest = rest[size:]

    def eof_received(self) -> None:
        """The peer has hung up."""
        self._receiver.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The TCP connection has ended."""
        self._receiver.connection_lost(exc)

    def transport_paused(self, is_paused: bool) -> None:
        """The write buffer is above its high watermark, or below its low one again."""
        if is_paused:
            self._receiver.pause_writing()
        else:
            self._receiver.resume_writing()

    # What only the old API has.

    def fail(self, code: int, reason: str) -> None:
        """Close without waiting; 1006 sends no CLOSE frame."""
        if code == CloseCode.ABNORMAL_CLOSURE or self.protocol.state is not OPEN:
            self._is_failing = True
            self._transport.disconnect()
            self._start_close_timer()
        else:
            super()._close_failing(code, reason)

    def _close_failing(self, code: int, reason: str, cause: BaseException | None = None) -> None:
        # The old API does not tell peers what they have done.
        super()._close_failing(code, reason if reason == "keepalive ping timeout" else "", cause)

    def _on_violation(self, exc: WSProtocolError) -> WSProtocolError:
        return WSProtocolError(super()._on_violation(exc).code, "")

    def _on_close(self, frame: Any) -> None:
        # A CLOSE frame within a fragmented message is one like any other.
        if not self._transport.is_close_frame_sent:
            self._log_sent(CLOSE, frame.get_payload_as_bytes())
        engine.WSMessageListener._on_close(self, frame)
        self._note_closing()

    def _concurrency_error(self, method: str) -> Exception:
        return RuntimeError(f"cannot call {method} while another coroutine is already waiting for the next message")

    async def _send_other(self, message: Any, text: bool | None) -> None:
        if isinstance(message, Mapping):
            raise TypeError("data is a dict-like object")
        if not isinstance(message, (Iterable, AsyncIterable)):
            raise TypeError("data must be str, bytes-like, or iterable")
        await _OldFragmentedMessage(self, text).send(message)


class _OldFragmentedMessage(FragmentedMessage):
    """A message in fragments. A wrong type that is noticed before anything was sent does not end the connection."""

    __slots__ = ()

    async def _add(self, fragment: Any, source: str) -> None:
        if not isinstance(fragment, (str, bytes, bytearray, memoryview)):
            raise TypeError("data must be str or bytes-like")
        if self._kind is not None and isinstance(fragment, str) is not (self._kind is str):
            raise TypeError("data contains inconsistent types")
        await super()._add(fragment, source)


class _NoHandshake:
    """What the engine takes for the opening handshake, which was before its time (`picows.abc.Opening`)."""

    failure: BaseException | None = None

    def connection_made(self, protocol: Any) -> None:
        """The engine knows the transport."""

    def data_received(self, data: bytes) -> None:
        """Nothing is read before `open`."""

    def eof_received(self) -> None:
        """Nothing is read before `open`."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """The engine cannot use the transport."""
        self.failure = exc
