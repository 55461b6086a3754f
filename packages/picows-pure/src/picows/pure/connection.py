"""The life of one connection: what it knows of itself, how it pings, how it ends.

`WSTransport` adds the sending. Everything runs in the thread of the connection's loop; a call from another thread is a
RuntimeError.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from threading import get_ident
from typing import TYPE_CHECKING, Any, Callable, List, Optional, cast

from ..abc import EngineListener, EngineTransport, WSBuffer
from ..closing import MAX_DISCARDED, QUIET_S
from ..deadlines import Deadlines
from ..enums import PICOWS_DEBUG_LL, WSCloseCode
from ..options import AnyLogger, ConnectionOptions, connection_logger
from ..pinger import AutoPinger
from ..resuming import resume_reading
from ..roundtrip import RoundTrips
from .closing import WSCloseHandshake
from .pool import current_pool
from .threads import ThreadBound
from .wire import Wire, is_secure

if TYPE_CHECKING:
    from ..http import WSUpgradeRequest, WSUpgradeResponse


class Connection(ThreadBound):
    """State and life of one connection; see `WSTransport` for the arguments."""

    __slots__ = (
        "__weakref__",
        "_auto_pinger",
        "_close_deadlines",
        "_close_handshake",
        "_discarded",
        "_failure",
        "_go_on",
        "_hangs_up",
        "_input_is_over",
        "_is_aborted",
        "_is_client_side",
        "_is_close_frame_sent",
        "_is_disconnected",
        "_is_held",
        "_is_lost",
        "_is_reading_paused",
        "_is_sealed",
        "_is_severed",
        "_is_writing_paused",
        "_listener",
        "_logger",
        "_lost_waiter",
        "_max_write_buffer_size",
        "_options",
        "_pending_pong",
        "_protocol",
        "_request",
        "_response",
        "_roundtrips",
        "_underlying_transport",
        "_awaits_pong",
    )

    def __init__(
        self,
        is_client_side: bool,
        underlying_transport: Any,
        logger: AnyLogger,
        loop: asyncio.AbstractEventLoop,
        options: Optional[ConnectionOptions] = None,
    ) -> None:
        self._underlying_transport = underlying_transport
        self._options = options or ConnectionOptions(is_client_side=is_client_side, logger=logger)
        self._max_write_buffer_size = self._options.max_write_buffer_size
        self._is_client_side = is_client_side
        self._loop = loop
        self._logger = logger
        self._thread_id = get_ident()
        self._pool = current_pool()
        self._wire = Wire(underlying_transport, loop, self._pool, self._options.write_coalescing)
        self._request: Optional[WSUpgradeRequest] = None
        self._response: Optional[WSUpgradeResponse] = None
        self._listener: Optional[EngineListener] = None
        # Whose `connection_lost` ends it, once the opening handshake is complete.
        self._protocol: Any = None
        self._close_handshake: Optional[WSCloseHandshake] = None
        self._close_deadlines: Optional[Deadlines[Connection]] = None
        self._auto_pinger: Optional[AutoPinger] = None
        self._roundtrips: Optional[RoundTrips] = None
        self._lost_waiter: Optional[asyncio.Future[None]] = None
        self._failure: Optional[BaseException] = None
        self._pending_pong: Optional[bytes] = None
        # A pong is awaited: the parser asks the listener about every frame.
        self._awaits_pong = False
        # No further frame is delivered.
        self._input_is_over = False
        # No further frame is sent.
        self._is_sealed = False
        self._is_close_frame_sent = False
        self._is_disconnected = False
        # The event loop's transport has ended, and may not even know whether it reads.
        self._is_severed = False
        self._is_lost = False
        self._is_writing_paused = False
        # The listener has enough.
        self._is_reading_paused = False
        # We have paused the event loop's transport.
        self._is_held = False
        # Goes on with what was read and not yet parsed; None if there is no such thing.
        self._go_on: Optional[Callable[[], None]] = None
        # Bytes that were dropped because the input was over.
        self._discarded = 0
        # Disconnect when the peer's CLOSE comes.
        self._hangs_up = False
        self._is_aborted = False

    @property
    def underlying_transport(self) -> asyncio.Transport:
        """The asyncio transport. Writing to it directly breaks the connection."""
        return cast(asyncio.Transport, self._underlying_transport)

    @property
    def request(self) -> Optional[WSUpgradeRequest]:
        """The opening request."""
        return self._request

    @property
    def response(self) -> Optional[WSUpgradeResponse]:
        """The opening response."""
        return self._response

    @property
    def close_handshake(self) -> Optional[WSCloseHandshake]:
        """The CLOSE frames so far; None before the first."""
        return self._close_handshake

    @property
    def is_client_side(self) -> bool:
        """True on a client."""
        return self._is_client_side

    @property
    def is_secure(self) -> bool:
        """True over TLS."""
        return is_secure(self._underlying_transport)

    @property
    def is_close_frame_sent(self) -> bool:
        """True once our CLOSE was sent."""
        return self._is_close_frame_sent

    @property
    def is_disconnected(self) -> bool:
        """True once `disconnect()` was called or the connection was lost."""
        return self._is_disconnected

    @property
    def write_buffer_size(self) -> int:
        """How many bytes were accepted by `send` and not yet given to the operating system."""
        return 0 if self._is_lost else self._wire.pending_size

    if TYPE_CHECKING:

        def send_close(self, close_code: int = 0, close_message: Optional[WSBuffer] = None) -> None:
            """See WSTransport."""

    def disconnect(self, graceful: bool = True) -> None:
        """End the connection without sending a CLOSE; idempotent.

        Args:
            graceful: True lets what was sent before leave first (for at most `close_timeout` seconds), False drops it.
        """
        self._check_thread("disconnect")
        if self._is_lost or (self._is_disconnected and graceful):
            return
        if graceful:
            self._wire.flush()
        self._is_disconnected = self._is_sealed = self._input_is_over = True
        self._stop_auto_ping()
        if graceful:
            # The peer's EOF may have closed the transport already: what waits to be sent then may wait for ever, too.
            if not self._underlying_transport.is_closing():
                self._underlying_transport.close()
            self._start_close_timer()
        else:
            self._is_aborted = True
            self._underlying_transport.abort()
            if self._protocol is not None:
                self._start_close_timer()
        self._wire.drop()

    async def wait_disconnected(self) -> None:
        """Wait until the connection has ended and `on_ws_disconnected` was called.

        Raises:
            BaseException: on a client, what ended the connection if that was local: the first exception out of a
                callback, or the WSProtocolError with which we failed the connection. The peer's CLOSE, EOF or reset
                raise nothing.
        """
        self._check_thread("wait_disconnected")
        if not self._is_lost:
            if self._lost_waiter is None:
                self._lost_waiter = self._loop.create_future()
            await asyncio.shield(self._lost_waiter)
        if self._is_client_side and self._failure is not None:
            raise self._failure

    async def measure_roundtrip_time(self, rounds: int, timeout: Optional[float] = None) -> List[float]:
        """Ping the peer and time the pongs; concurrent measurements take turns.

        Args:
            rounds: how many pings, one after the other.
            timeout: seconds to wait for each pong, None for as long as the connection lives.

        Returns:
            Seconds from each ping to its pong.

        Raises:
            ConnectionError: the connection is closed, or closes meanwhile.
            asyncio.TimeoutError: a pong did not come in time.
        """
        self._check_thread("measure_roundtrip_time")
        if self._is_lost:
            raise ConnectionResetError("the connection is closed")
        if self._roundtrips is None:
            self._roundtrips = RoundTrips(self)
        return await self._roundtrips.measure(rounds, timeout)

    def notify_user_specific_pong_received(self) -> None:
        """Tell that the awaited pong was received, where only the application can know; no-op if none is awaited."""
        self._check_thread("notify_user_specific_pong_received")
        if self._awaits_pong:
            self._awaits_pong = False
            if self._auto_pinger is not None:
                self._auto_pinger.on_pong()
            if self._roundtrips is not None:
                self._roundtrips.on_pong()

    # --- pings ---

    @property
    def _is_measuring(self) -> bool:
        return self._roundtrips is not None and self._roundtrips.is_busy

    def _start_auto_ping(self) -> None:
        if self._options.auto_ping is not None and not self._is_sealed:
            self._auto_pinger = AutoPinger(self._loop, cast(EngineTransport, self), self._options.auto_ping)

    def _stop_auto_ping(self) -> None:
        if self._auto_pinger is not None:
            self._auto_pinger.stop()
            self._auto_pinger = None

    def _ping(self) -> None:
        """Send a ping and wait for its pong. What the listener raises is the caller's to handle."""
        listener = self._listener
        if listener is None:
            raise ConnectionResetError("the connection is closed")
        self._awaits_pong = True
        listener.send_user_specific_ping(self)

    def _auto_ping(self) -> bool:
        """Ping for auto-ping; False if that ended the connection."""
        try:
            self._ping()
        except Exception:
            self._log(logging.ERROR, "send_user_specific_ping failed", exc_info=True)
            self._farewell(WSCloseCode.INTERNAL_ERROR, b"an exception occurred in auto-ping loop")
            return False
        return not self._is_sealed

    # --- reading in turns ---

    def _pause_reading(self) -> None:
        """The listener has enough: nothing is read, and what was read waits (see `parser`)."""
        self._is_reading_paused = True
        if not self._is_severed:
            self._is_held = True
            self._underlying_transport.pause_reading()

    def _resume_reading(self) -> None:
        self._is_reading_paused = False
        if self._is_severed:
            return
        if self._go_on is not None:
            self._loop.call_soon(self._go_on)
        else:
            self._is_held = False
            resume_reading(self._underlying_transport, self._loop)

    def _suspend_reading(self, go_on: Callable[[], None]) -> None:
        """Not everything that was read is parsed: read nothing before `go_on` was called, in another turn of the loop.
        If the listener has paused reading, that is when it resumes."""
        self._go_on = go_on
        if not self._is_reading_paused and not self._is_severed:
            # Somebody may have paused the transport itself: then that is not ours to resume.
            if self._underlying_transport.is_reading():
                self._is_held = True
                self._underlying_transport.pause_reading()
            self._loop.call_soon(go_on)

    def _may_go_on(self) -> bool:
        """True if parsing may go on; reading then does."""
        if self._go_on is None or self._is_reading_paused:
            return False
        self._go_on = None
        if self._is_held:
            self._is_held = False
            resume_reading(self._underlying_transport, self._loop)
        return True

    def _seal(self) -> None:
        """The event loop's transport has ended: nothing that is sent from now on reaches the wire."""
        self._is_severed = self._is_sealed = True
        self._wire.drop()

    # --- the end ---

    def _close_record(self) -> WSCloseHandshake:
        if self._close_handshake is None:
            self._close_handshake = WSCloseHandshake()
        return self._close_handshake

    def _farewell(self, code: int, reason: bytes) -> None:
        """Send CLOSE, deliver nothing more, and end the connection."""
        self._input_is_over = True
        if not self._is_sealed:
            self.send_close(code, reason)
        self._linger()

    def _hang_up(self) -> None:
        """Both CLOSE frames are there: end the connection (RFC 6455 7.1.1)."""
        if self._wire.has_unread_input():
            self._linger()
        else:
            self.disconnect()

    def _linger(self) -> None:
        """End our direction, and drop what still arrives until the peer ends its own, or is quiet for QUIET_S, or
        `close_timeout` is over. Closing a socket with unread input resets the connection: that overtakes our CLOSE.
        """
        transport = self._underlying_transport
        self._input_is_over = True
        self._stop_auto_ping()
        if self._is_disconnected or transport.is_closing():
            self.disconnect()
            return
        self._wire.flush()
        self._wire.drop()
        self._start_close_timer()
        resume_reading(transport, self._loop)
        if transport.can_write_eof():  # TLS cannot end one direction
            try:
                transport.write_eof()
            except OSError:  # the peer has reset the connection, and nobody has read that yet
                self._abort()
                return
        self._loop.call_later(QUIET_S, self._disconnect_when_quiet, self._discarded)

    def _disconnect_when_quiet(self, discarded: int) -> None:
        if not self._is_lost:
            if self._discarded == discarded:
                self.disconnect()
            else:
                self._loop.call_later(QUIET_S, self._disconnect_when_quiet, self._discarded)

    def _discard(self, size: int) -> None:
        """Bytes arrived after the end of our input."""
        self._discarded += size
        if self._discarded > MAX_DISCARDED:
            self._log(logging.WARNING, "the peer goes on sending after the end: %d bytes were dropped", self._discarded)
            self._abort()

    def _close_and_hang_up(self, code: int, reason: str) -> None:
        """Say goodbye: send CLOSE, and disconnect as soon as the peer answers it."""
        self._hangs_up = True
        if not self._is_sealed:
            self.send_close(code, reason)
        if self._close_handshake is not None and self._close_handshake._recv is not None:
            self._hang_up()

    def _start_close_timer(self) -> None:
        timeout = self._options.close_timeout
        if timeout is not None and self._close_deadlines is None:
            self._close_deadlines = self._pool.closing.get(self._loop, timeout, Connection._on_close_timeout)
            self._close_deadlines.add(self)

    def _on_close_timeout(self) -> None:
        self._close_deadlines = None
        timeout = self._options.close_timeout
        if not self._is_aborted:
            self._log(logging.INFO, "the peer has not closed within %s s: disconnecting", timeout)
            self._abort()
        elif self._protocol is not None:
            # Whoever waits for the end must not depend on the event loop's transport.
            self._log(logging.WARNING, "the transport has not ended %s s after abort(): it is given up", timeout)
            self._protocol.connection_lost(None)

    def _abort(self) -> None:
        if not self._is_severed:
            self.disconnect(graceful=False)

    def _on_lost(self) -> None:
        """The connection is gone: free everything that waits for it, and every reference that would keep it alive."""
        self._is_lost = self._is_severed = self._is_disconnected = self._is_sealed = self._input_is_over = True
        self._awaits_pong = False
        self._listener = self._protocol = None
        self._pending_pong = self._go_on = None
        self._stop_auto_ping()
        self._wire.drop()
        if sys.version_info < (3, 11) and self.is_secure:
            # asyncio's TLS transports of old warn that they were not closed where only the peer has closed.
            self._underlying_transport.close()
        if self._close_deadlines is not None:
            self._close_deadlines.discard(self)
            self._close_deadlines = None
        roundtrips, self._roundtrips = self._roundtrips, None
        if roundtrips is not None:
            roundtrips.on_lost()

    def _release_waiters(self) -> None:
        if self._lost_waiter is not None and not self._lost_waiter.done():
            self._lost_waiter.set_result(None)

    # --- logs ---

    def _log_sealed(self, method: str) -> None:
        what = "disconnect" if self._is_disconnected else "CLOSE"
        self._log(logging.DEBUG, "%s after %s is ignored", method, what)

    def _log(self, level: int, message: str, *args: object, exc_info: Any = None) -> None:
        """Log under the connection's own name, which is made only when something is logged."""
        if self._options.logger.isEnabledFor(level):
            if self._logger is self._options.logger:
                sock = self._underlying_transport.get_extra_info("socket")
                self._logger = connection_logger(self._logger, None if sock is None else sock.fileno())
            self._logger.log(level, message, *args, exc_info=exc_info)

    def _log_bytes(self, what: str, data: bytes) -> None:
        self._log(PICOWS_DEBUG_LL, "%s: %r", what, data)
