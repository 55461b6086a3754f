"""The part of a connection that reads, writes and ends it. `connection` has what users call.

A task reads: it feeds the protocol, answers pings, and is the one that ends the connection, so that it ends once. As
soon as the closing handshake has begun, its cancel scope gets a deadline: that is how `close_timeout` is enforced,
whoever waits, and whether anybody does. Another task sends keepalive pings.

Our tasks never fail, and they end without a word when the nursery is cancelled, so that a nursery that has nothing else
in it makes no ExceptionGroup. What is said last, a CLOSE frame, is tried to be written even then.
"""

from __future__ import annotations

import logging
import ssl
import weakref
from collections.abc import Sequence
from typing import Any

import trio

from .._causes import Causes
from .._limits import MAX_SENT_AHEAD
from .._ping_events import PingEvents
from ..frames import DATA_OPCODES, PONG, CloseCode, Frame
from ..protocol import CLOSED, OPEN, Event, Protocol
from ..typing import LoggerLike
from .messages import Assembler
from .writing import Writer

#: What a broken network looks like.
BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


class Link(Causes):
    """What Connection is based on; arguments and attributes are described there."""

    recv_bufsize = 65536

    def __init__(
        self,
        nursery: trio.Nursery,
        stream: trio.abc.Stream,
        protocol: Protocol,
        *,
        ping_interval: float | None,
        ping_timeout: float | None,
        close_timeout: float | None,
        max_queue: int | None | tuple[int | None, int | None],
    ) -> None:
        self.nursery = nursery
        self.stream = stream
        self.protocol = protocol
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.close_timeout = close_timeout
        self.logger: LoggerLike = logging.LoggerAdapter(protocol.logger, {"websocket": weakref.proxy(self)})
        protocol.logger = self.logger
        self.debug = protocol.debug
        self.latency = 0.0
        #: Set when the fragmented message that is being sent ends, or the connection.
        self.send_in_progress: trio.Event | None = None
        self._writer = Writer(stream, nursery, self._break)
        self._pings: PingEvents[trio.Event] = PingEvents(trio.Event, trio.current_time)
        #: Set when reading may go on; None while it does.
        self._paused: trio.Event | None = None
        self._reading = trio.CancelScope()
        self._keeping_alive = trio.CancelScope()
        self._ended = trio.Event()
        self._has_started = False
        #: Frames that came before the response to the request.
        self._sent_ahead = bytearray()
        high, low = max_queue if isinstance(max_queue, tuple) else (max_queue, None)
        self.recv_messages = Assembler(high, low, self._pause, self._resume)
        if protocol.state is OPEN:
            self._start()

    # Reading

    def _start(self, early: Sequence[Event] = ()) -> None:
        """The opening handshake is over.

        Args:
            early: frames that came with its last bytes.
        """
        self._has_started = True
        for event in early:
            self.process_event(event)
        self._write()  # what they are answered with
        self.nursery.start_soon(self._read)
        if self.ping_interval is not None:
            self.nursery.start_soon(self._keep_alive, self.ping_interval)

    async def _receive_handshake(self) -> list[Event]:
        """Read the next bytes of the opening handshake. Returns the events in them."""
        try:
            data = bytes(await self.stream.receive_some(self.recv_bufsize))
        except BROKEN as exc:
            if not _is_end(exc):
                self.set_connection_exc(exc)
            data = b""
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        return self.protocol.events_received()

    async def _read_ahead(self, reading: trio.CancelScope, has_ended: trio.Event) -> None:
        """What a task does while a hook of the user decides: read until cancelled, up to MAX_SENT_AHEAD bytes.

        The protocol learns of the end. It reads the rest once the connection is open.
        """
        try:
            with reading:
                while len(self._sent_ahead) <= MAX_SENT_AHEAD:
                    data = await self.stream.receive_some(self.recv_bufsize)
                    if not data:
                        self.protocol.receive_eof()
                        break
                    self._sent_ahead += data
        except trio.Cancelled:
            pass  # as in `_read`
        except BROKEN as exc:
            if not _is_end(exc):
                self.set_connection_exc(exc)
            self.protocol.receive_eof()
        finally:
            has_ended.set()

    def _pause(self) -> None:
        self._paused = trio.Event()

    def _resume(self) -> None:
        if self._paused is not None:
            self._paused.set()
            self._paused = None

    async def _read(self) -> None:
        """What the task does."""
        try:
            with self._reading:
                await self._read_to_end()
            if self._reading.cancelled_caught and trio.current_time() >= self._reading.deadline:
                self.set_connection_exc(TimeoutError("timed out while closing connection"))
        except trio.Cancelled:  # all of the nursery is: who waits for it learns that, we need not say it too
            self._fail_protocol(CloseCode.INTERNAL_ERROR, "")
        except trio.ClosedResourceError:
            pass  # it was us, or the user, who has a reason and may have told it
        except BROKEN as exc:
            if not _is_end(exc):
                self.set_connection_exc(exc)
        except Exception as exc:
            self.logger.error("unexpected internal error", exc_info=True)
            self.set_connection_exc(exc)
        finally:
            await self._finish()

    async def _read_to_end(self) -> None:
        receive, size = self.stream.receive_some, self.recv_bufsize
        self._notice_closing()
        while True:
            while self._paused is not None:
                await self._paused.wait()
            data = await receive(size)
            if not data:
                break
            self._feed(bytes(data))
        if self.protocol.state is not OPEN:
            await self._writer.flush()  # our CLOSE frame, if the peer's came with the end
            await self.stream.aclose()

    def _feed(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        events = self.protocol.events_received()
        answers = self.protocol.data_to_send()
        if answers:
            self._writer.answer(answers)
        for event in events:
            self.process_event(event)
        self._notice_closing()

    def process_event(self, event: Event) -> None:
        """Act on a frame; called by the task that reads."""
        if not isinstance(event, Frame):
            return
        if event.opcode in DATA_OPCODES:
            self.recv_messages.put(event)
        elif event.opcode is PONG:
            latency = self._pings.acknowledge(bytes(event.data))
            if latency is not None:
                self.latency = latency

    async def _keep_alive(self, interval: float) -> None:
        """What the other task does."""
        try:
            with self._keeping_alive:
                while await self._ping_in_time(interval):
                    pass
        except trio.Cancelled:
            pass  # as in `_read`

    async def _ping_in_time(self, interval: float) -> bool:
        """Wait, ping, and wait for the pong. Returns whether to go on."""
        await trio.sleep(interval)
        if self.protocol.state is not OPEN:
            return False
        payload, acknowledged = self._pings.add(None, False)
        self.protocol.send_ping(payload)
        self._write()
        if self.debug:
            self.logger.debug("%% sent keepalive ping")
        if self.ping_timeout is None:
            return True
        while not acknowledged.is_set():
            with trio.move_on_after(self.ping_timeout):
                await acknowledged.wait()
            if acknowledged.is_set():
                break
            if self._paused is None:
                self._lose_patience()
                return False
            await self._paused.wait()  # the pong may lie behind what nobody receives
        if self.debug:
            self.logger.debug("%% received keepalive pong")
        return True

    def _lose_patience(self) -> None:
        if self.debug:
            self.logger.debug("- timed out waiting for keepalive pong")
        self.set_connection_exc(TimeoutError("keepalive ping timeout"))
        self._fail_protocol(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")

    # Writing

    def _write(self) -> None:
        """Have written what the protocol wants to say."""
        writes = self.protocol.data_to_send()
        if writes:
            self._writer.queue += writes
            self._writer.hand_over()

    # Ending

    def _notice_closing(self) -> None:
        """Call this where the closing handshake may have begun."""
        if self.protocol.state is OPEN:
            return
        if self.send_in_progress is not None:
            self.send_in_progress.set()
        self.recv_messages.lift_limits()
        if self.close_timeout is not None and self._reading.deadline == float("inf"):
            self._reading.deadline = trio.current_time() + self.close_timeout

    def _fail_protocol(self, code: CloseCode, reason: str) -> None:
        """Say why, and read nothing more (RFC 6455 7.1.7)."""
        if self.protocol.state is OPEN:
            self.protocol.fail(code, reason)
            self._write()
            self._notice_closing()

    async def _fail(self, code: CloseCode, reason: str, exc: BaseException | None = None) -> None:
        """Fail the connection and wait until it is closed."""
        self.set_connection_exc(exc)
        self._fail_protocol(code, reason)
        await self._ended.wait()

    def _break(self, exc: BaseException) -> None:
        """Writing failed: the task that reads finds the end."""
        if not self._ended.is_set():
            if not isinstance(exc, trio.ClosedResourceError):
                self.set_connection_exc(exc)
            self._reading.cancel()

    async def _finish(self) -> None:
        """Nothing comes any more."""
        self._keeping_alive.cancel()
        await self._writer.try_once()
        self._writer.stop()
        self.protocol.receive_eof()
        self.protocol.data_to_send()
        if self.protocol.state is not CLOSED:  # somebody else has fed the end of the stream
            self.protocol.state = CLOSED
        self._pings.end()
        if self.send_in_progress is not None:
            self.send_in_progress.set()
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self.stream)
        self._ended.set()
        self.recv_messages.close()


def _is_end(exc: BaseException) -> bool:
    """Whether this is only how TLS says that the peer hung up without saying so in TLS."""
    return isinstance(exc.__cause__, ssl.SSLEOFError)


def socket_of(stream: Any) -> Any:
    """The socket of a stream, also under TLS.

    Raises:
        NotImplementedError: there is none that we know of.
    """
    inner = stream
    while isinstance(inner, trio.SSLStream):
        inner = inner.transport_stream
    if not isinstance(inner, trio.SocketStream):
        raise NotImplementedError(f"unsupported stream type: {stream}")
    return inner.socket
