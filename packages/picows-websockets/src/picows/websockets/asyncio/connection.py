"""One connection: what `connect` returns and what handlers get.

A Connection is the engine's listener itself: `recv`, `send`, `recv_streaming` and iteration are the engine's own
coroutines, with no frame of Python in between. What is added here is what the API has beyond that: pings by payload,
closing as websockets closes, the exceptions of `exceptions`, and a `protocol` whose state follows the connection.

The opening handshake (`opening`) is read by that protocol; the frames after it never are.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from picows._engine import engine
from picows.closing import MAX_CONTROL_PAYLOAD
from picows.deadlines import Deadlines
from picows.enums import WSMsgType
from picows.errors import WSProtocolError

from .._facts import Facts
from .._limits import MAX_FRAGMENTS
from .._payloads import control_payload
from ..exceptions import ConcurrencyError, ConnectionClosed, ConnectionClosedOK, ProtocolError, TooManyFragments
from ..frames import CLOSE, PING, PONG, Close, CloseCode, Frame, Opcode
from ..http11 import Request, Response
from ..protocol import CLOSED, CLOSING, OPEN, Protocol
from ..typing import BytesLike, DataLike
from .broadcast import broadcast as broadcast
from .compression import ConnectionCodec, new_codec, sharing_key
from .fragments import FragmentedMessage
from .heads import Heads
from .keepalive import Keepalive, Pings
from .limits import queue_limits, write_limits
from .tap import Tap
from .timers import deadlines
from .violations import explain

__all__ = ["Connection"]

_Listener: Any = engine.WSMessageListener


class Connection(_Listener, Heads, Facts):  # type: ignore[misc]  # the engine is chosen at run time
    """A WebSocket connection.

    Args:
        protocol: the opening handshake, and the state of the connection.
        ping_interval: seconds between keepalive pings; None for none.
        ping_timeout: seconds to wait for their pongs; None for ever.
        close_timeout: seconds that closing may take; None for ever.
        max_queue: frames that wait for `recv` before reading pauses, or (high, low); None never pauses.
        write_limit: bytes in the write buffer above which `send` waits, or (high, low).

    Attributes:
        protocol: as given.
        transport: the asyncio transport.
        latency: seconds from the last ping to its pong; 0 before the first.
    """

    _has_exclusive_streams = True

    def __init__(
        self,
        protocol: Protocol,
        *,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        max_queue: int | None | tuple[int | None, int | None] = 16,
        write_limit: int | tuple[int, int | None] = 2**15,
    ) -> None:
        super().__init__(
            max_message_size=protocol.max_message_size,
            max_fragment_size=protocol.max_fragment_size,
            max_queue=queue_limits(max_queue),
        )
        self._max_joined = MAX_FRAGMENTS
        self.protocol = protocol
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.close_timeout = close_timeout
        protocol._owner = weakref.ref(self)
        self._write_limit = write_limit

    # What a connection has not changed, its class has for it.
    latency = 0.0
    _request: Request | bytes | None = None
    _response: Response | bytes | None = None
    _pings: Pings | None = None
    _keepalive: Keepalive | None = None
    _closed: asyncio.Future[None] | None = None
    _asyncio_transport: Any = None
    _is_transport_lent = False
    _closing: Deadlines[Connection] | None = None
    _deflate: ConnectionCodec | None = None
    _tap: Tap | None = None
    _is_failing = False

    # What it is

    @property
    def transport(self) -> asyncio.Transport:
        """The asyncio transport. Do not write to it."""
        if not self._is_transport_lent:
            self._is_transport_lent = True
            if self._transport is not None:
                self._transport._lend_transport()
        return self._asyncio_transport  # type: ignore[no-any-return]

    @property
    def local_address(self) -> Any:
        """What `getsockname` says: (host, port) for TCP over IPv4."""
        return self._asyncio_transport.get_extra_info("sockname")

    @property
    def remote_address(self) -> Any:
        """What `getpeername` says: (host, port) for TCP over IPv4."""
        return self._asyncio_transport.get_extra_info("peername")

    @property
    def close_exc(self) -> ConnectionClosed:
        """What `recv` and `send` raise once the connection is closed. Raises InvalidState before."""
        return self.protocol.close_exc

    # Context manager

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            await self.close()
        else:
            await self.close(CloseCode.INTERNAL_ERROR)

    # Closing

    async def close(self, code: CloseCode | int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection and wait until it is closed, at most for `close_timeout`. Idempotent.

        Args:
            code: why.
            reason: the same in words; at most 123 bytes of UTF-8.

        Raises:
            ProtocolError: the code may not be sent, or the reason is too long; the connection goes on.
        """
        if self.protocol.state is OPEN:
            if self._is_sending_fragments():
                self._close_failing(CloseCode.INTERNAL_ERROR, "close during fragmented message")
            else:
                close = Close(code, reason)
                self._say_goodbye(close, close.serialize())
        if self._transport is not None:
            await _Listener.close(self)

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, whoever closes it."""
        if self.protocol.state is not CLOSED:
            if self._closed is None:
                self._closed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._closed)

    def _say_goodbye(self, close: Close, payload: bytes) -> None:
        if len(payload) > MAX_CONTROL_PAYLOAD:
            raise ProtocolError("control frame too long")
        self._log_sent(CLOSE, payload)
        self._transport.send_close(close.code, close.reason)
        self._note_closing()

    def _close_failing(self, code: int, reason: str, cause: BaseException | None = None) -> None:
        """Say why, and read nothing more (RFC 6455 7.1.7)."""
        self._is_failing = True
        if self.protocol.parser_exc is None and isinstance(cause, Exception):
            self.protocol.parser_exc = cause
        if not self._transport._is_sealed:
            self._log_sent(CLOSE, Close(code, reason).serialize())
        self._transport._farewell(code, reason.encode())
        self._note_closing()

    def _note_closing(self) -> None:
        """A CLOSE frame was sent or received."""
        self._note_frames()
        if self.protocol.state is OPEN:
            self.protocol.state = CLOSING
        self._start_close_timer()

    def _note_frames(self) -> None:
        protocol = self.protocol
        record = self._transport.close_handshake
        if record is not None and (protocol.close_rcvd is None or protocol.close_sent is None):
            protocol.close_rcvd = received = _as_close(record.recv)
            protocol.close_sent = sent = received if record.sent == record.recv else _as_close(record.sent)
            if received is not None and sent is not None:
                protocol.close_rcvd_then_sent = bool(record.recv_then_sent)

    def _start_close_timer(self) -> None:
        """Whatever is still to be sent, and whatever the peer does: that is over after `close_timeout`."""
        self._stop_keepalive()
        if self._closing is None and self.close_timeout is not None and not self._is_nearly_closed():
            loop = self._transport._loop
            self._closing = deadlines(loop, self.close_timeout, Connection._on_close_timeout)
            self._closing.add(self)

    def _stop_keepalive(self) -> None:
        if self._keepalive is not None:
            self._keepalive.stop()
            self._keepalive = None

    def _is_nearly_closed(self) -> bool:
        """Whether nothing is left that could take time."""
        transport = self._transport
        if self.protocol.state is CLOSED:
            return True
        return bool(transport.is_disconnected and not transport.is_secure and not transport.write_buffer_size)

    def _on_close_timeout(self) -> None:
        self._closing = None
        if self.protocol.parser_exc is None:
            self.protocol.parser_exc = TimeoutError("timed out while closing connection")
        self._transport._abort()

    def _on_close(self, frame: Any) -> None:
        if self._transport.is_close_frame_sent:
            _Listener._on_close(self, frame)
        elif self._in_message if self._tap is None else self._tap.in_message:
            reason = "incomplete fragmented message"
            self._close_failing(CloseCode.PROTOCOL_ERROR, reason, ProtocolError(reason))
        else:
            self._log_sent(CLOSE, frame.get_payload_as_bytes())
            _Listener._on_close(self, frame)
        self._note_closing()

    # Pings

    async def ping(self, data: DataLike | None = None) -> Awaitable[float]:
        """Send a PING.

        Args:
            data: at most 125 bytes; None for random ones.

        Returns:
            What may be awaited for the pong. It returns the latency in seconds; it raises ConnectionClosed if the
            connection ends before.

        Raises:
            ConnectionClosed: the connection is closed.
            ConcurrencyError: a ping with the same data has no pong yet.
            TypeError: data is neither str nor bytes-like.
        """
        payload = None if data is None else control_payload(data)
        if self.protocol.state is not OPEN:
            await self._refuse_send()
        return self._send_ping(payload)

    async def pong(self, data: DataLike = b"") -> None:
        """Send a PONG that nobody asked for. PINGs are answered without being asked to.

        Args:
            data: at most 125 bytes.

        Raises:
            ConnectionClosed: the connection is closed.
            TypeError: data is neither str nor bytes-like.
        """
        payload = control_payload(data)
        if self.protocol.state is not OPEN:
            await self._refuse_send()
        self._log_sent(PONG, payload)
        self._transport.send_pong(payload)

    def _send_ping(self, payload: bytes | None) -> asyncio.Future[float]:
        if self._pings is None:
            self._pings = Pings(self._transport._loop)
        payload, waiter = self._pings.add(payload)
        self._log_sent(PING, payload)
        self._transport.send_ping(payload)
        return waiter

    def _on_pong(self, payload: bytes) -> None:
        if self._pings is not None:
            latency = self._pings.acknowledge(payload)
            if latency is not None:
                self.latency = latency

    # What the engine asks

    def _closed_error(self) -> Exception:
        return self.protocol.close_exc

    def _concurrency_error(self, method: str) -> Exception:
        return ConcurrencyError(
            f"cannot call {method} while another coroutine is already running recv or recv_streaming"
        )

    def _has_ended_well(self) -> bool:
        return self.protocol._is_closed_well()

    def _ends_iteration(self, exc: BaseException) -> bool:
        return isinstance(exc, ConnectionClosedOK)

    def _refuse_message(self) -> None:
        self._close_failing(CloseCode.MESSAGE_TOO_BIG, "too many fragments", TooManyFragments(MAX_FRAGMENTS))

    async def _on_undecodable(self, exc: UnicodeDecodeError) -> Exception:
        reason = f"{exc.reason} at position {exc.start}"
        self._close_failing(CloseCode.INVALID_DATA, reason, exc.with_traceback(None))
        await self.wait_closed()
        return self.protocol.close_exc

    def _on_violation(self, exc: WSProtocolError) -> WSProtocolError:
        violation = explain(exc)
        self.protocol.parser_exc = violation.cause
        if not self._transport.is_close_frame_sent:
            self._log_sent(CLOSE, Close(violation.code, violation.reason).serialize())
        if self.protocol.state is OPEN:
            self.protocol.state = CLOSING
        self._start_close_timer()
        return WSProtocolError(violation.code, violation.reason)

    async def _send_other(self, message: Any, text: bool | None) -> None:
        if isinstance(message, Mapping):
            raise TypeError("data is a dict-like object")
        if not isinstance(message, (Iterable, AsyncIterable)):
            raise TypeError("data must be str, bytes, iterable, or async iterable")
        await FragmentedMessage(self, text).send(message)

    async def _refuse_send(self) -> None:
        await self.wait_closed()
        raise self.protocol.close_exc

    # Other ways to send

    def _send_keepalive_ping(self) -> asyncio.Future[float]:
        waiter = self._send_ping(None)
        if self.protocol.debug:
            self.logger.debug("%% sent keepalive ping")
        return waiter

    def _send_fragment_frame(self, opcode: WSMsgType, fragment: DataLike, fin: bool) -> None:
        if self._tap is None:
            self._transport.send(opcode, fragment, fin)
        else:
            self._tap.send_message(Opcode(int(opcode)), fragment, fin)

    def _send_broadcast(self, opcode: WSMsgType, message: BytesLike, compressed: dict[Any, bytes]) -> None:
        """Send a message to a connection that is not plain.

        Args:
            opcode: TEXT or BINARY.
            message: its content.
            compressed: what was compressed for other connections; results that others may use are added.
        """
        codec = self._deflate
        if codec is None:
            if self._tap is not None:
                self._tap.send_message(Opcode(int(opcode)), message)
            return
        key = sharing_key(self.protocol.extensions)
        payload = None if key is None else compressed.get(key)
        if payload is None:
            payload = codec.compress(message)
            if key is not None:
                compressed[key] = payload
        self._transport.send(opcode, payload, True, True)

    def _is_sending_fragments(self) -> bool:
        return self._stream_lock is not None and bool(self._stream_lock.locked())

    # The life of the connection

    def _on_made(self, transport: Any) -> None:
        """The TCP connection exists."""
        self._asyncio_transport = transport
        transport.set_write_buffer_limits(*write_limits(self._write_limit))

    def _prepare(self) -> None:
        """The opening handshake is complete: arrange what it agreed on, before the engine takes over."""
        protocol = self.protocol
        extensions = protocol.extensions
        if not extensions and not protocol.debug:
            return
        self._deflate = None if protocol.debug else new_codec(extensions)
        if self._deflate is not None:
            self._use_codec(self._deflate)
        else:
            self._tap = Tap(self, extensions)
            self._tap.attach()

    def on_ws_connected(self, transport: Any) -> None:
        """The engine has taken over."""
        _Listener.on_ws_connected(self, transport)
        if self._is_transport_lent:
            transport._lend_transport()
        if self.ping_interval is not None:
            self._keepalive = Keepalive(self, transport._loop)

    def on_ws_disconnected(self, transport: Any) -> None:
        """The TCP connection has ended."""
        self._note_frames()
        self._stop_keepalive()
        protocol = self.protocol
        if protocol.parser_exc is None and protocol.close_rcvd is None and not self._is_failing:
            protocol.parser_exc = EOFError("unexpected end of stream")
        protocol.state = CLOSED
        if self._closing is not None:
            self._closing.discard(self)
            self._closing = None
        if self._tap is not None:
            self._tap.detach()
            self._tap = None
        if self._deflate is not None:
            self._deflate.retire()
            self._deflate = None
        if self._pings is not None:
            self._pings.give_up(protocol.close_exc)
        self._release(transport)

    def _on_never_opened(self) -> None:
        """The TCP connection has ended before the opening handshake was complete."""
        if self.protocol.state is not CLOSED:
            self.protocol.state = CLOSED
        self._release(None)

    def _release(self, transport: Any) -> None:
        """Wake everybody who waits."""
        _Listener.on_ws_disconnected(self, transport)
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def _log_sent(self, opcode: Opcode, payload: bytes) -> None:
        if self.protocol.debug:
            self.logger.debug("> %s", Frame(opcode, payload))


def _as_close(info: Any) -> Close | None:
    """A CLOSE frame in the engine's record."""
    if info is None:
        return None
    return Close(int(info.code) or CloseCode.NO_STATUS_RCVD, info.reason or "")
