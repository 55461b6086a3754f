# cython: binding=False, embedsignature.format=clinic
"""The life of one connection: what it knows of itself, how it pings, how it ends.

`FrameWriter` and `WSTransport` add the sending. Everything runs in the thread of the connection's loop; a call from
another thread is a RuntimeError. Once our CLOSE was sent or `disconnect()` was called nothing more reaches the wire: all
`send*` methods are then silent no-ops.
"""

import asyncio
import logging
import sys

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from .closing cimport WSCloseHandshake
from .enums cimport WSMsgType
from .pool cimport Pool, current_pool

from picows.closing import MAX_DISCARDED, QUIET_S
from picows.enums import PICOWS_DEBUG_LL
from picows.enums import WSCloseCode as _WSCloseCode
from picows.options import ConnectionOptions, connection_logger
from picows.pinger import AutoPinger
from picows.resuming import resume_reading
from picows.roundtrip import RoundTrips


cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    unsigned long PyThread_get_thread_ident() noexcept


_running_loop = asyncio._get_running_loop


cdef class Connection(Wire):
    """State and life of one connection; see `WSTransport` for the arguments."""

    def __init__(self, bint is_client_side, underlying_transport, logger, loop, options=None):
        self._options = options or ConnectionOptions(is_client_side=is_client_side, logger=logger)
        limit = self._options.max_write_buffer_size
        self._max_write_buffer_size = -1 if limit is None else min(limit, <object>PY_SSIZE_T_MAX)
        self.is_client_side = is_client_side
        self._logger = logger
        self._thread_id = PyThread_get_thread_ident()
        self._open_wire(underlying_transport, loop, current_pool(), self._options.write_coalescing)

    @property
    def is_secure(self):
        """True over TLS."""
        return <bint>self._is_secure

    @property
    def write_buffer_size(self):
        """How many bytes were accepted by `send` and not yet given to the operating system."""
        return 0 if self._is_lost else self._pending_size()

    # --- pressure ---

    cdef int _check_write_buffer(self) except -1:
        cdef Py_ssize_t size
        if self._max_write_buffer_size < 0 or self._is_sealed:
            return 0
        size = self._pending_size()
        if size > self._max_write_buffer_size and self._outbox_size:
            self._flush()  # what nobody has tried to send does not say that the peer is slow
            size = 0 if self._is_sealed else self._pending_size()
        if size > self._max_write_buffer_size:
            self._log(
                logging.WARNING,
                "%d bytes wait to be sent, %d are allowed: closing the connection",
                size,
                self._max_write_buffer_size,
            )
            self._farewell(
                _WSCloseCode.POLICY_VIOLATION, f"write buffer exceeds {self._max_write_buffer_size} bytes".encode()
            )
        return 0

    cdef int _on_pause_writing(self) except -1:
        self._is_writing_paused = True
        return 0

    cdef int _on_resume_writing(self) except -1:
        self._is_writing_paused = False
        return 0

    cdef int _pause_reading(self) except -1:
        """The listener has enough: nothing is read, and what was read waits (see `parser`)."""
        self._is_reading_paused = True
        if not self._is_severed:
            self._is_held = True
            self.underlying_transport.pause_reading()
        return 0

    cdef int _resume_reading(self) except -1:
        self._is_reading_paused = False
        if self._is_severed:
            return 0
        if self._go_on is not None:
            self._loop.call_soon(self._go_on)
        else:
            self._is_held = False
            resume_reading(self.underlying_transport, self._loop)
        return 0

    cdef int _suspend_reading(self, go_on) except -1:
        """Not everything that was read is parsed: read nothing before `go_on` was called, in another turn of the
        loop. If the listener has paused reading, that is when it resumes."""
        self._go_on = go_on
        if not self._is_reading_paused and not self._is_severed:
            # Somebody may have paused the transport itself: then that is not ours to resume.
            if self.underlying_transport.is_reading():
                self._is_held = True
                self.underlying_transport.pause_reading()
            self._loop.call_soon(go_on)
        return 0

    cdef bint _may_go_on(self) except -1:
        """True if parsing may go on; reading then does."""
        if self._go_on is None or self._is_reading_paused:
            return False
        self._go_on = None
        if self._is_held:
            self._is_held = False
            resume_reading(self.underlying_transport, self._loop)
        return True

    cdef int _seal(self) except -1:
        """The event loop's transport has ended: nothing that is sent from now on reaches the wire."""
        self._is_severed = self._is_sealed = True
        self._drop_output()
        return 0

    # --- pings ---

    @cython.binding(True)
    async def measure_roundtrip_time(self, rounds, timeout=None):
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

    cpdef notify_user_specific_pong_received(self):
        """Tell that the awaited pong was received, where only the application can know; no-op if none is awaited."""
        self._check_thread("notify_user_specific_pong_received")
        if self._awaits_pong:
            self._awaits_pong = False
            if self._auto_pinger is not None:
                self._auto_pinger.on_pong()
            if self._roundtrips is not None:
                self._roundtrips.on_pong()

    @property
    def _is_measuring(self):
        return self._roundtrips is not None and self._roundtrips.is_busy

    cdef int _start_auto_ping(self) except -1:
        if self._options.auto_ping is not None and not self._is_sealed:
            self._auto_pinger = AutoPinger(self._loop, self, self._options.auto_ping)
        return 0

    cdef int _stop_auto_ping(self) except -1:
        if self._auto_pinger is not None:
            self._auto_pinger.stop()
            self._auto_pinger = None
        return 0

    def _ping(self):
        """Send a ping and wait for its pong. What the listener raises is the caller's to handle."""
        listener = self._listener
        if listener is None:
            raise ConnectionResetError("the connection is closed")
        self._awaits_pong = True
        listener.send_user_specific_ping(self)

    def _auto_ping(self):
        """Ping for auto-ping; False if that ended the connection."""
        try:
            self._ping()
        except Exception:
            self._log(logging.ERROR, "send_user_specific_ping failed", exc_info=True)
            self._farewell(_WSCloseCode.INTERNAL_ERROR, b"an exception occurred in auto-ping loop")
            return False
        return not self._is_sealed

    # --- the end ---

    cpdef disconnect(self, bint graceful=True):
        """End the connection without sending a CLOSE; idempotent.

        Args:
            graceful: True lets what was sent before leave first (for at most `close_timeout` seconds), False drops it.
        """
        self._check_thread("disconnect")
        if self._is_lost or (self.is_disconnected and graceful):
            return
        if graceful:
            self._flush()
        self.is_disconnected = self._is_sealed = self._input_is_over = True
        self._stop_auto_ping()
        if graceful:
            # The peer's EOF may have closed the transport already: what waits to be sent then may wait for ever, too.
            if not self.underlying_transport.is_closing():
                self.underlying_transport.close()
            self._start_close_timer()
        else:
            self._is_aborted = True
            self.underlying_transport.abort()
            if self._protocol is not None:
                self._start_close_timer()
        self._drop_output()

    @cython.binding(True)
    async def wait_disconnected(self):
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
        if self.is_client_side and self._failure is not None:
            raise self._failure

    cdef WSCloseHandshake _close_record(self):
        if self.close_handshake is None:
            self.close_handshake = WSCloseHandshake()
        return self.close_handshake

    def _farewell(self, code, reason):
        """Send CLOSE, deliver nothing more, and end the connection."""
        self._input_is_over = True
        if not self._is_sealed:
            self.send_close(code, reason)
        self._linger()

    cdef int _hang_up(self) except -1:
        """Both CLOSE frames are there: end the connection (RFC 6455 7.1.1)."""
        if self._has_unread_input():
            self._linger()
        else:
            self.disconnect()
        return 0

    cdef int _linger(self) except -1:
        """End our direction, and drop what still arrives until the peer ends its own, or is quiet for QUIET_S, or
        `close_timeout` is over.

        Closing a socket with unread input resets the connection, and a reset overtakes our CLOSE.
        """
        transport = self.underlying_transport
        self._input_is_over = True
        self._stop_auto_ping()
        if self.is_disconnected or transport.is_closing():
            self.disconnect()
            return 0
        self._flush()
        self._drop_output()
        self._start_close_timer()
        resume_reading(transport, self._loop)
        if transport.can_write_eof():  # TLS cannot end one direction
            try:
                transport.write_eof()
            except OSError:  # the peer has reset the connection, and nobody has read that yet
                self._abort()
                return 0
        self._loop.call_later(QUIET_S, self._disconnect_when_quiet, self._discarded)
        return 0

    def _disconnect_when_quiet(self, discarded):
        if not self._is_lost:
            if self._discarded == discarded:
                self.disconnect()
            else:
                self._loop.call_later(QUIET_S, self._disconnect_when_quiet, self._discarded)

    cdef int _discard(self, Py_ssize_t size) except -1:
        """Bytes arrived after the end of our input."""
        self._discarded += size
        if self._discarded > MAX_DISCARDED:
            self._log(logging.WARNING, "the peer goes on sending after the end: %d bytes were dropped", self._discarded)
            self._abort()
        return 0

    def _close_and_hang_up(self, code, reason):
        """Say goodbye: send CLOSE, and disconnect as soon as the peer answers it."""
        self._hangs_up = True
        if not self._is_sealed:
            self.send_close(code, reason)
        if self.close_handshake is not None and self.close_handshake.recv is not None:
            self._hang_up()

    cdef int _start_close_timer(self) except -1:
        timeout = self._options.close_timeout
        if timeout is not None and self._close_deadlines is None:
            self._close_deadlines = self._pool.closing.get(self._loop, timeout, Connection._on_close_timeout)
            self._close_deadlines.add(self)
        return 0

    def _on_close_timeout(self):
        self._close_deadlines = None
        timeout = self._options.close_timeout
        if not self._is_aborted:
            self._log(logging.INFO, "the peer has not closed within %s s: disconnecting", timeout)
            self._abort()
        elif self._protocol is not None:
            # Whoever waits for the end must not depend on the event loop's transport.
            self._log(logging.WARNING, "the transport has not ended %s s after abort(): it is given up", timeout)
            self._protocol.connection_lost(None)

    def _abort(self):
        if not self._is_severed:
            self.disconnect(graceful=False)

    cdef int _on_lost(self) except -1:
        """The connection is gone: free everything that waits for it, and every reference that would keep it alive."""
        self._is_lost = self._is_severed = self.is_disconnected = self._is_sealed = self._input_is_over = True
        self._awaits_pong = False
        self._listener = self._protocol = None
        self._pending_pong = self._go_on = None
        self._stop_auto_ping()
        self._drop_output()
        if sys.version_info < (3, 11) and self._is_secure:
            # asyncio's TLS transports of old warn that they were not closed where only the peer has closed.
            self.underlying_transport.close()
        if self._close_deadlines is not None:
            self._close_deadlines.discard(self)
            self._close_deadlines = None
        roundtrips, self._roundtrips = self._roundtrips, None
        if roundtrips is not None:
            roundtrips.on_lost()
        return 0

    cdef int _release_waiters(self) except -1:
        if self._lost_waiter is not None and not self._lost_waiter.done():
            self._lost_waiter.set_result(None)
        return 0

    # --- checks and logs ---

    cdef int _check_thread(self, str method) except -1:
        if PyThread_get_thread_ident() != self._thread_id and not self._follows_loop():
            raise RuntimeError(
                f"WSTransport.{method} called from a wrong thread: {PyThread_get_thread_ident()} instead of"
                f" {self._thread_id}; use loop.call_soon_threadsafe"
            )
        return 0

    cdef bint _follows_loop(self) except -1:
        """Whether the loop runs in this thread, which is another one than before."""
        if _running_loop() is not self._loop:
            return False
        self._change_thread()
        return True

    cdef int _change_thread(self) except -1:
        """The loop runs in this thread: share what its connections share, and nothing of the thread before."""
        cdef Pool before = self._pool
        if self._is_gathering:  # in a batch that its thread has not ended
            if self in before.gathering:
                before.gathering.remove(self)
            self._end_batch(False)
        self._pool = current_pool()
        self._batch = 0
        self._thread_id = PyThread_get_thread_ident()
        return 0

    cdef int _log_sealed(self, str method) except -1:
        what = "disconnect" if self.is_disconnected else "CLOSE"
        self._log(logging.DEBUG, "%s after %s is ignored", method, what)
        return 0

    def _log(self, level, message, *args, exc_info=None):
        """Log under the connection's own name, which is made only when something is logged."""
        if self._options.logger.isEnabledFor(level):
            if self._logger is self._options.logger:
                sock = self.underlying_transport.get_extra_info("socket")
                self._logger = connection_logger(self._logger, None if sock is None else sock.fileno())
            self._logger.log(level, message, *args, exc_info=exc_info)

    def _log_bytes(self, what, data):
        self._log(PICOWS_DEBUG_LL, "%s: %r", what, data)
