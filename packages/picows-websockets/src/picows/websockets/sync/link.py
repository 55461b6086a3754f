"""The part of a connection that reads, writes and ends it. `connection` has what users call.

A thread reads: it feeds the protocol, answers pings, sends keepalive pings, and is the one that ends the connection, so
that it ends once. Threads of the user write.

`protocol_mutex` guards the protocol and is never held while anything waits. What the protocol has to say goes into a
queue, and who holds `_write_lock` writes for everybody: so a thread that waits for a peer that does not read stops
neither reading nor closing. The thread that reads never waits for room; it writes when there is some, and `Pongs`
bounds what it adds meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

from .._causes import Causes
from .._limits import MAX_SENT_AHEAD
from .._ping_events import PingEvents
from .._pongs import Pongs
from ..frames import DATA_OPCODES, PONG, CloseCode, Frame
from ..protocol import CLOSED, OPEN, Event, Protocol
from ..typing import LoggerLike
from .keepalive import Keepalive
from .messages import Assembler
from .stream import Stream
from .utils import Deadline


class Link(Causes):
    """What Connection is based on; arguments and attributes are described there."""

    recv_bufsize = 65536

    def __init__(
        self,
        sock: Any,
        protocol: Protocol,
        *,
        ping_interval: float | None,
        ping_timeout: float | None,
        close_timeout: float | None,
        max_queue: int | None | tuple[int | None, int | None],
    ) -> None:
        self.socket = sock
        self.protocol = protocol
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.close_timeout = close_timeout
        self.logger: LoggerLike = logging.LoggerAdapter(protocol.logger, {"websocket": weakref.proxy(self)})
        protocol.logger = self.logger
        self.debug = protocol.debug
        self.latency = 0.0
        self.protocol_mutex = threading.Lock()
        self.send_in_progress = False
        #: Notified when a fragmented message or the connection ends.
        self._may_send = threading.Condition(self.protocol_mutex)
        self._write_lock = threading.Lock()
        self._writes: deque[Any] = deque()
        self._pongs = Pongs()
        #: Whether the thread that reads has found no room to write.
        self._owes = False
        self._stream = Stream(sock)
        self._pings = PingEvents(threading.Event, time.monotonic)
        self._keepalive = Keepalive(None, None)
        self._may_read = threading.Event()
        self._may_read.set()
        self._ended = threading.Event()
        high, low = max_queue if isinstance(max_queue, tuple) else (max_queue, None)
        self.recv_messages = Assembler(high, low, self._may_read.clear, self._may_read.set)
        self.recv_events_thread: threading.Thread | None = None
        if protocol.state is OPEN:
            self._start()

    # Writing

    def _flush(self, timeout: float | None = None) -> bool:
        """Write what is in the queue, and wait for room.

        Args:
            timeout: seconds to wait; None for ever.

        Returns:
            False if the connection broke.
        """
        deadline = Deadline(timeout)
        if not self._write_lock.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            return True  # who holds it writes for us
        while True:
            try:
                is_done = self._drain(deadline)
            except OSError as exc:
                self._writes.clear()
                self._break(exc)
                return False
            finally:
                self._write_lock.release()
            # The thread that reads does not wait for the lock: what it has added since then is ours to write.
            if not is_done or not self._writes or not self._write_lock.acquire(blocking=False):
                return True

    def _flush_if_free(self) -> bool:
        """Write what there is room for. Returns whether this is all, or somebody else writes the rest."""
        while self._writes and self._write_lock.acquire(blocking=False):
            try:
                if not self._drain(None, can_wait=False):
                    return False
            except OSError as exc:
                self._writes.clear()
                self._break(exc)
            finally:
                self._write_lock.release()
        return True

    def _drain(self, deadline: Deadline | None, can_wait: bool = True) -> bool:
        """Write the queue; False if there is no room for all of it, and waiting is not wanted or takes too long."""
        stream, writes = self._stream, self._writes
        while writes or not stream.try_flush():
            rest = self._next_write() if writes else None
            if rest is not None and not rest:
                stream.send_eof()
                continue
            while rest:
                sent = stream.try_send(rest)
                rest = rest[sent:]
                if rest and not sent:
                    break
            else:
                continue
            if rest:
                writes.appendleft(rest)
            left = None if deadline is None else deadline.timeout(raise_if_elapsed=False)
            if not can_wait or not stream.wait(left, to_write=True):
                return False
        return True

    def _next_write(self) -> memoryview:
        data = self._writes.popleft()
        if data is self._pongs:
            with self.protocol_mutex:
                data = self._pongs.take()
        return memoryview(data)

    # Reading

    def _start(self, early: Sequence[Event] = ()) -> None:
        """The opening handshake is over.

        Args:
            early: frames that came with its last bytes.
        """
        self._writes += self.protocol.data_to_send()  # what they are answered with
        self._owes = bool(self._writes)
        for event in early:
            self.process_event(event)
        self._keepalive = Keepalive(self.ping_interval, self.ping_timeout)
        # A daemon, so that a connection that nobody closes does not keep the program running.
        self.recv_events_thread = threading.Thread(target=self._read, name="websocket-reader", daemon=True)
        self.recv_events_thread.start()

    def _receive_handshake(self, deadline: Deadline) -> list[Event]:
        """Read the next bytes of the opening handshake.

        Returns:
            The events in them.

        Raises:
            TimeoutError: nothing came.
        """
        try:
            data = self._stream.try_recv(self.recv_bufsize)
            while data is None:
                left = deadline.timeout(raise_if_elapsed=False)
                if (left is not None and left <= 0) or not self._stream.wait(left, to_read=True):
                    raise TimeoutError("timed out during opening handshake")
                data = self._stream.try_recv(self.recv_bufsize)
        except ConnectionError as exc:
            self.set_connection_exc(exc)
            data = b""
        with self.protocol_mutex:
            if data:
                self.protocol.receive_data(data)
            else:
                self.protocol.receive_eof()
            return self.protocol.events_received()

    def _read_ahead(self) -> bytes:
        """Look what came while the user's hooks decided; the protocol learns of the end, if that came.

        Returns:
            What was sent ahead, for the protocol to read once the connection is open; the thread reads the rest.
        """
        ahead = bytearray()
        try:
            while len(ahead) <= MAX_SENT_AHEAD:
                data = self._stream.try_recv(self.recv_bufsize)
                if data is None:
                    return bytes(ahead)
                if not data:
                    break
                ahead += data
            else:
                return bytes(ahead)
        except OSError as exc:
            self.set_connection_exc(exc)
        with self.protocol_mutex:
            self.protocol.receive_eof()
        return b""

    def _read(self) -> None:
        """What the thread does."""
        try:
            self._read_to_end()
        except OSError as exc:
            self.set_connection_exc(exc)
        except Exception as exc:
            self.logger.error("unexpected internal error", exc_info=True)
            self.set_connection_exc(exc)
        finally:
            self._finish()

    def _read_to_end(self) -> None:
        stream = self._stream
        deadline: Deadline | None = None
        is_ready = True
        if self._owes:
            self._owes = not self._flush_if_free()
        while True:
            if deadline is None and self.protocol.state is not OPEN:
                deadline = Deadline(self.close_timeout)
            if deadline is None and not self._may_read.is_set():
                self._may_read.wait()
                self._keepalive.restart()
                continue
            if not is_ready:
                is_ready = self._wait_for_bytes(deadline)
                continue
            data = stream.try_recv(self.recv_bufsize)
            if data:
                self._feed(data)
                is_ready = stream.may_have_more(len(data) == self.recv_bufsize)
            elif data is None:
                is_ready = False
            else:
                return

    def _wait_for_bytes(self, deadline: Deadline | None) -> bool:
        left = self._keepalive.seconds() if deadline is None else deadline.timeout(raise_if_elapsed=False)
        if deadline is not None and left is not None and left <= 0:
            raise TimeoutError("timed out while closing connection")
        if not self._stream.wait(left, to_read=True, to_write=self._owes):
            if deadline is None:
                self._keep_alive()
            return False
        if self._owes:
            self._owes = not self._flush_if_free()
        return True

    def _feed(self, data: bytes) -> None:
        with self.protocol_mutex:
            self.protocol.receive_data(data)
            events = self.protocol.events_received()
            answers = self.protocol.data_to_send()
            if answers:
                self._writes += self._pongs.admit(answers, is_idle=not self._writes)
            if self.protocol.state is not OPEN:
                self._may_send.notify_all()
        if self._writes:
            self._owes = not self._flush_if_free()
        for event in events:
            self.process_event(event)

    def process_event(self, event: Event) -> None:
        """Act on a frame; called by the thread that reads."""
        if not isinstance(event, Frame):
            return
        if event.opcode in DATA_OPCODES:
            self.recv_messages.put(event)
        elif event.opcode is PONG:
            with self.protocol_mutex:
                latency = self._pings.acknowledge(bytes(event.data))
            if latency is not None:
                self.latency = latency
                if self._keepalive.on_pong() and self.debug:
                    self.logger.debug("%% received keepalive pong")

    def _keep_alive(self) -> None:
        if self.protocol.state is not OPEN:
            return
        if self._keepalive.is_late():
            if self.debug:
                self.logger.debug("- timed out waiting for keepalive pong")
            with self.protocol_mutex:
                self._fail_protocol(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
            self.set_connection_exc(TimeoutError("keepalive ping timeout"))
        elif self._keepalive.is_due():
            with self.protocol_mutex:
                if self.protocol.state is OPEN:
                    payload, event = self._pings.add(None, False)
                    self.protocol.send_ping(payload)
                    self._writes += self.protocol.data_to_send()
                    self._keepalive.sent(event)
            if self.debug:
                self.logger.debug("%% sent keepalive ping")
        self._owes = not self._flush_if_free()

    # Ending

    def _fail_protocol(self, code: CloseCode, reason: str) -> None:
        """Say why, and read nothing more (RFC 6455 7.1.7). The protocol's lock is held."""
        if self.protocol.state is OPEN:
            self.protocol.fail(code, reason)
            self._writes += self.protocol.data_to_send()
            self._may_send.notify_all()

    def _fail(self, code: CloseCode, reason: str, exc: BaseException | None = None) -> None:
        """Fail the connection and wait until it is closed; called by the user's threads."""
        self.set_connection_exc(exc)
        with self.protocol_mutex:
            self._fail_protocol(code, reason)
        self._end(Deadline(self.close_timeout))

    def _end(self, deadline: Deadline) -> None:
        """After the protocol has said goodbye."""
        self.recv_messages.lift_limits()
        self._flush(deadline.timeout(raise_if_elapsed=False))
        left = deadline.timeout(raise_if_elapsed=False)
        self._await_end(None if left is None else max(left, 0))

    def _await_end(self, timeout: float | None) -> None:
        thread = self.recv_events_thread
        if thread is None or thread is threading.current_thread():
            return
        if not self._ended.wait(timeout):
            self._break(TimeoutError("timed out while closing connection"))
            self._ended.wait()
        thread.join()

    def _break(self, exc: BaseException) -> None:
        """The network failed, or time is up: the thread that reads finds the end."""
        if not self._ended.is_set():
            self.set_connection_exc(exc)
            self._stream.abort()
            self.recv_messages.lift_limits()

    def _finish(self) -> None:
        """Nothing comes any more."""
        self._stream.abort()
        with self.protocol_mutex:
            self.protocol.receive_eof()
            self.protocol.data_to_send()
            if self.protocol.state is not CLOSED:  # somebody else has fed the end of the stream
                self.protocol.state = CLOSED
            self._pings.end()
            self._may_send.notify_all()
        with self._write_lock:
            self._writes.clear()
            self._stream.close()
        self._ended.set()
        self.recv_messages.close()
