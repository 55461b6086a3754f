"""The asyncio protocol of one connection: reads for the parser, and what happens around each frame.

The event loop reads into the thread's shared buffer (`Pool.read_view`), or, while a large frame is incomplete, into
the rest of that frame's own buffer. Until the opening handshake is complete everything is passed on to the `Opening`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from threading import get_ident
from typing import Any, MutableSet, Optional

from ..abc import EngineListener, FrameRules, Opening
from ..closing import close_after, parse_close_payload, truncated_reason
from ..enums import PICOWS_DEBUG_LL
from ..errors import WSProtocolError
from ..http import WSUpgradeRequest, WSUpgradeResponse, hide_credentials, hide_rest_of_line
from ..options import ConnectionOptions
from .closing import WSCloseInfo
from .frame import CLOSE, CONTROL, PING, WSFrame
from .listener import overrides
from .parser import FrameParser
from .pending import Pending
from .pool import current_pool
from .threads import LoopFollower
from .transport import WSTransport
from .wire import is_secure

_INET = (socket.AF_INET, socket.AF_INET6)
#: What is missing of a large frame is copied, not read into place, once it is this little.
_SMALL_REST = 32 * 1024


class _Connection(LoopFollower):
    """Everything of WSProtocol but the way in which the event loop hands bytes over."""

    __slots__ = (
        "__weakref__",
        "_auto_pong",
        "_listener",
        "_loop",
        "_opening",
        "_options",
        "_parser",
        "_registry",
        "_own_view",
        "_has_part_of_head",
        "_is_debug",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: ConnectionOptions,
        opening: Opening,
        registry: Optional[MutableSet[Any]] = None,
    ) -> None:
        self.transport: Any = None
        self._loop = loop
        self._options = options
        self._auto_pong = options.enable_auto_pong
        self._opening: Optional[Opening] = opening
        self._registry = registry
        self._listener: Any = None
        self._parser: Any = None
        self._pool = current_pool()
        self._thread_id = get_ident()
        self._own_view: Optional[memoryview] = None
        self._is_debug = options.logger.isEnabledFor(PICOWS_DEBUG_LL)
        self._has_part_of_head = False

    # --- asyncio calls these ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection exists: tune the socket and start the opening handshake."""
        options = self._options
        try:
            _tune_socket(transport)
            self.transport = WSTransport(options.is_client_side, transport, options.logger, self._loop, options)
            if options.logger.isEnabledFor(logging.INFO):
                self.transport._log(
                    logging.INFO,
                    "connected, local %s, peer %s, %s",
                    transport.get_extra_info("sockname"),
                    transport.get_extra_info("peername"),
                    "TLS" if is_secure(transport) else "plain",
                )
            if self._opening is not None:
                self._opening.connection_made(self)
        except Exception as exc:
            opening, self._opening = self._opening, None
            if opening is not None:
                opening.connection_lost(exc)
            # Not at once: aiofastnet (1.2) would go on to wait for the descriptor, which is closed then.
            self._loop.call_soon(transport.abort)  # type: ignore[attr-defined]

    def eof_received(self) -> None:
        """The peer has finished sending: the transport closes itself."""
        if self._opening is not None:
            self._opening.eof_received()
            return
        self._follow_loop()
        if self._parser is not None:
            self._drain()
        if hasattr(self._listener, "_bid_farewell"):
            self._listener._bid_farewell()
        if self.transport is not None and self.transport.write_buffer_size:
            self.transport._start_close_timer()  # it closes itself when that has left, which may be never

    def connection_lost(self, exc: Optional[Exception]) -> None:
        """The connection is gone: tell the listener, then those who wait."""
        opening, self._opening = self._opening, None
        transport = self.transport
        if opening is not None:
            opening.connection_lost(exc)
        if transport is None:
            return
        self._follow_loop()
        try:
            if self._parser is not None and self._parser.is_suspended:
                transport._seal()
                self._drain()
        finally:
            self._end(transport, exc)

    def _end(self, transport: WSTransport, exc: Optional[Exception]) -> None:
        """Nothing comes any more: free what belongs to the connection, and tell everybody."""
        transport._on_lost()
        if self._registry is not None:
            self._registry.discard(transport)
        listener, self._listener, self._parser = self._listener, None, None
        try:
            if listener is not None:
                transport._log(logging.INFO, "disconnected%s", f": {exc!r}" if exc else "")
                self._call_disconnected(listener)
        finally:
            transport._release_waiters()
            # The TLS transports of asyncio and uvloop keep bound methods of ours for ever, and `transport` keeps them.
            self.transport = None

    def pause_writing(self) -> None:
        """The write buffer is above its high watermark."""
        if self.transport is not None:
            self.transport._on_pause_writing()
            self._report_pressure(
                "pause_writing", "the peer reads slower than is sent: write buffer above its high watermark"
            )

    def resume_writing(self) -> None:
        """The write buffer is below its low watermark."""
        if self.transport is not None:
            self._follow_loop()
            self.transport._on_resume_writing()
            self._report_pressure("resume_writing", "write buffer below its low watermark again")

    def _report_pressure(self, method: str, message: str) -> None:
        if self._listener is None:
            return
        if overrides(self._listener, method):
            getattr(self._listener, method)()
        else:
            self.transport._log(logging.WARNING, message)

    # --- the opening calls this ---

    def open(
        self, listener: EngineListener, request: WSUpgradeRequest, response: WSUpgradeResponse, remainder: bytes
    ) -> None:
        """The handshake is complete: from now on frames go to `listener`, those in `remainder` first."""
        transport = self.transport
        self._opening = None
        self._listener = transport._listener = listener
        transport._protocol = self
        transport._request, transport._response = request, response
        rules = listener._frame_rules
        if rules is None and self._options.strict:
            rules = FrameRules()
        self._parser = FrameParser(self._options.is_client_side, self._options.max_frame_size, self._deliver, rules)
        if self._registry is not None:
            self._registry.add(transport)
        try:
            listener.on_ws_connected(transport)
        except Exception as exc:
            self._fail_callback(exc, "on_ws_connected", True)
            return
        transport._start_auto_ping()
        if remainder and not transport._input_is_over:
            self._process(remainder)

    def abandon(self) -> None:
        """Whoever asked for this connection has gone: the last callback runs now, none later."""
        listener, self._listener = self._listener, None
        if self.transport is not None:
            self.transport._abort()
            if listener is not None:
                self._call_disconnected(listener)

    # --- bytes to frames ---

    def _process(self, data: bytes, read_into_pending: int = 0) -> None:
        """Bytes of frames arrived: `data`, or so many bytes that were read right into the pending frame."""
        transport = self.transport
        if transport._input_is_over:
            transport._discard(read_into_pending or len(data))
            return
        if transport._auto_pinger is not None:
            transport._auto_pinger.last_data_time = self._loop.time()
        pool, parser = self._pool, self._parser
        if parser.is_suspended and data:
            parser.add(data)
            return
        is_outermost = not pool.in_batch
        if is_outermost:
            pool.in_batch = True
            pool.batch += 1
        try:
            if read_into_pending:
                parser.advance_pending(read_into_pending)
            else:
                parser.feed(data)
        except WSProtocolError as exc:
            parser.pending = None  # its buffer may be full: what still arrives is read elsewhere and discarded
            self._fail(exc)
        except BaseException:
            if parser.is_torn:
                # Event loops do not end a connection for a KeyboardInterrupt.
                transport._abort()
            raise
        finally:
            try:
                if is_outermost:
                    pool.end_batch()
            finally:
                self._suspend(parser, transport)

    def _suspend(self, parser: FrameParser, transport: WSTransport) -> None:
        """If frames wait for it another turn of the loop goes on with them."""
        if parser.is_suspended:
            if transport._input_is_over:
                parser.is_suspended = False
            else:
                transport._suspend_reading(self._go_on)

    def _go_on(self) -> None:
        """Another turn of the loop for what was read."""
        self._follow_loop()
        transport, pool = self.transport, self._pool
        if transport is None or not transport._may_go_on():
            return
        is_outermost = not pool.in_read  # else a callback runs the loop
        pool.in_read = True
        try:
            self._process(b"")
        finally:
            if is_outermost:
                pool.end_read()

    def _drain(self) -> None:
        """There will not be another turn: the peer's input, or the connection, has ended."""
        parser, transport = self._parser, self.transport
        while parser.is_suspended and not transport._input_is_over:
            transport._is_reading_paused = False
            self._process(b"")

    def _hide(self, data: bytes) -> bytes:
        hide, self._has_part_of_head = hide_rest_of_line if self._has_part_of_head else hide_credentials, True
        return hide(data)

    def _receive(self, data: bytes) -> None:
        if self._is_debug and self.transport is not None:
            self.transport._log_bytes("received", data if self._opening is None else self._hide(data))
        if self._opening is not None:
            self._opening.data_received(data)
        elif self._parser is not None:
            self._process(data)

    # --- frames to the listener ---

    def _deliver(self, frame: WSFrame) -> bool:
        """Hand one frame over; False if no further one may be, or not in this turn."""
        transport = self.transport
        if frame._first & CONTROL or transport._awaits_pong:
            self._deliver_control(frame)
        else:
            try:
                self._listener.on_ws_frame(transport, frame)
            except Exception as exc:
                self._fail_callback(exc, "on_ws_frame", self._options.disconnect_on_exception)
        if transport._input_is_over or transport._is_reading_paused:
            if self._parser is not None:
                self._parser.is_suspended = not transport._input_is_over
            return False
        return True

    def _deliver_control(self, frame: WSFrame) -> None:
        """A control frame, or any frame while a pong is awaited (an application may have pongs of its own)."""
        transport, listener = self.transport, self._listener
        if frame._msg_type is PING and self._auto_pong:
            transport._answer_ping(frame._payload)
            return
        if frame._msg_type is CLOSE:
            transport._close_record()._record_received(WSCloseInfo(*parse_close_payload(frame._payload)))
            transport._input_is_over = True
        try:
            if transport._awaits_pong and listener.is_user_specific_pong(frame):
                transport.notify_user_specific_pong_received()
            else:
                listener.on_ws_frame(transport, frame)
        except Exception as exc:
            self._fail_callback(exc, "on_ws_frame", self._options.disconnect_on_exception)
        if frame._msg_type is CLOSE and (self._options.enable_auto_close or transport._hangs_up):
            self._answer_close()

    def _answer_close(self) -> None:
        """The peer closes and the listener has not answered: echo its code; the server then hangs up (RFC 6455
        7.1.1)."""
        transport = self.transport
        if transport is None:  # connection_lost came from within the callback
            return
        received = transport._close_record()._recv
        if received is not None and not transport._is_sealed:
            transport.send_close(received.code, received.reason)
        if not self._options.is_client_side:
            transport._hang_up()

    # --- failures ---

    def _fail(self, exc: WSProtocolError) -> None:
        """The peer broke the protocol (RFC 6455 7.1.7)."""
        transport = self.transport
        if transport is None:
            return
        say_farewell = transport._farewell
        if hasattr(self._listener, "_on_violation"):  # a message layer, which has words of its own
            exc = self._listener._on_violation(exc)
            say_farewell = self._listener._say_farewell
        transport._log(logging.ERROR, "protocol error, closing with %d: %s", exc.code, exc)
        # Its traceback shows only the parser, and would keep the connection alive until a garbage collection.
        self._remember(exc.with_traceback(None))
        say_farewell(exc.code, truncated_reason(str(exc)))

    def _fail_callback(self, exc: Exception, callback: str, is_fatal: bool) -> None:
        """A callback raised. A WSProtocolError is a request to close with its code, whatever the options say."""
        transport = self.transport
        if transport is None:  # connection_lost came from within the callback
            return
        if not is_fatal and not isinstance(exc, WSProtocolError):
            transport._log(logging.ERROR, "%s raised", callback, exc_info=exc)
            return
        code, reason = close_after(exc)
        level = self._remember_raised(exc)
        # A warning's traceback comes out of wait_disconnected.
        exc_info = exc if level == logging.ERROR else None
        transport._log(level, "%s raised %r, closing with %d", callback, exc, code, exc_info=exc_info)
        transport._farewell(code, reason)

    def _remember_raised(self, exc: Exception) -> int:
        """Keep what a callback raised. The level to log it at: a client's first failure is raised by
        wait_disconnected."""
        return logging.WARNING if self._remember(exc) and self._options.is_client_side else logging.ERROR

    def _remember(self, exc: BaseException) -> bool:
        """Keep the first failure for wait_disconnected; True if this is it."""
        transport = self.transport
        if transport is None or transport._failure is not None:
            return False
        transport._failure = exc
        return True

    def _call_disconnected(self, listener: EngineListener) -> None:
        transport = self.transport
        try:
            listener.on_ws_disconnected(transport)
        except Exception as exc:
            transport._log(self._remember_raised(exc), "on_ws_disconnected raised", exc_info=exc)


class WSProtocol(_Connection, asyncio.BufferedProtocol):
    """The protocol for loops that read into the protocol's buffer.

    Args:
        loop: the loop that the connection belongs to.
        options: validated options of this side.
        opening: drives the opening handshake.
        registry: a set that holds the WSTransport of each open connection.
    """

    __slots__ = ()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the loop reads into: a large pending frame's own buffer, else the thread's."""
        if get_ident() != self._thread_id:
            self._follow_loop()
        parser = self._parser
        if parser is not None and parser.pending is not None and (pending := self._pending_in_place()) is not None:
            return pending.rest
        return self._own_view or self._pool.read_view

    def _pending_in_place(self) -> Optional[Pending]:
        """The frame whose rest is read into place. The last bytes of one are not worth a read of their own."""
        pending: Optional[Pending] = None if self._parser is None else self._parser.pending
        return pending if pending is not None and len(pending.rest) > _SMALL_REST else None

    def buffer_updated(self, nbytes: int) -> None:
        """`nbytes` bytes were read."""
        pool = self._pool
        if pool.in_read:  # by a callback in the middle of another read
            self._on_read(nbytes)
            return
        pool.in_read = True
        try:
            self._on_read(nbytes)
        finally:
            pool.end_read()

    def _on_read(self, nbytes: int) -> None:
        parser = self._parser
        if parser is not None and parser.pending is not None and self._pending_in_place() is not None:
            self._process(b"", nbytes)
            return
        data = bytes((self._own_view or self._pool.read_view)[:nbytes])
        if parser is None or self._is_debug:
            self._receive(data)
        else:
            self._process(data)


def _tune_socket(transport: asyncio.BaseTransport) -> None:
    """No Nagle: a frame is never worth waiting for. Acknowledge at once where that can be asked for."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in _INET:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_QUICKACK"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
