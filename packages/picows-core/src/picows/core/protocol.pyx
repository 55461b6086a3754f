"""The asyncio protocol of one connection: what happens around each frame (see `parser`).

Until the opening handshake is complete everything is passed on to the `Opening`.
"""

import asyncio
import logging
import sys
import types

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.string cimport memcpy

from ._kernels cimport LIVE_RECEIVER, PICOWS_IS_DEBUG, count_live
from .buffers cimport HEADROOM, ReadBuffer, new_read_buffer
from .closing cimport WSCloseHandshake, WSCloseInfo
from .enums cimport WSMsgType
from .listener cimport overrides
from .parser cimport PICOWS_CONTROL
from .pool cimport Pool
from .strict cimport MessageState
from .transport cimport WSTransport
from .wire cimport tune_socket

from picows.abc import FrameRules
from picows.closing import close_after, parse_close_payload, truncated_reason
from picows.enums import PICOWS_DEBUG_LL
from picows.errors import WSProtocolError
from picows.http import hide_credentials, hide_rest_of_line


cdef extern from "method_cache.h":
    int picows_call_method(void* method, object name, PyObject** args, size_t nargs) noexcept


cdef extern from *:
    """
    #ifndef PICOWS_AIOFASTNET
    #  define PICOWS_AIOFASTNET ""
    #endif
    """
    # The version of aiofastnet that was there when this was compiled.
    const char* PICOWS_AIOFASTNET


cdef str _ON_WS_FRAME = "on_ws_frame"
cdef type _function = types.FunctionType


cdef class Receiver(Parser):
    """Everything of WSProtocol. The class of its own is there because asyncio tells a BufferedProtocol by its type."""

    def __cinit__(self):
        if PICOWS_IS_DEBUG:
            count_live(LIVE_RECEIVER, 1)

    def __init__(self, loop, options, opening, registry=None):
        self._loop = loop
        self._options = options
        self._auto_pong = options.enable_auto_pong
        self._open_parser(options.is_client_side, options.max_frame_size)
        self._opening = opening
        self._registry = registry

    def __dealloc__(self):
        if PICOWS_IS_DEBUG:
            count_live(LIVE_RECEIVER, -1)

    @property
    def transport(self):
        """The WSTransport, from `connection_made` until `connection_lost`."""
        return self._transport

    # --- asyncio calls these ---

    def connection_made(self, transport):
        """The connection exists: tune the socket and start the opening handshake."""
        options = self._options
        try:
            self._transport = WSTransport(options.is_client_side, transport, options.logger, self._loop, options)
            tune_socket(transport, self._transport._fd)
            if _is_aiofastnets(transport):
                _adopt(self, transport)
            if options.logger.isEnabledFor(logging.INFO):
                self._is_debug = options.logger.isEnabledFor(PICOWS_DEBUG_LL)
                self._transport._log(
                    logging.INFO,
                    "connected, local %s, peer %s, %s",
                    transport.get_extra_info("sockname"),
                    transport.get_extra_info("peername"),
                    "TLS" if self._transport.is_secure else "plain",
                )
            if self._opening is not None:
                self._opening.connection_made(self)
        except Exception as exc:
            opening, self._opening = self._opening, None
            if opening is not None:
                opening.connection_lost(exc)
            # Not at once: aiofastnet (1.2) would go on to wait for the descriptor, which is closed then.
            self._loop.call_soon(transport.abort)

    def is_buffered_protocol(self):
        """aiofastnet asks for this first."""
        return True

    def eof_received(self):
        """The peer has finished sending: the transport closes itself."""
        if self._opening is not None:
            self._opening.eof_received()
            return
        self._follow_loop()
        if self._backlog is not None:
            self._drain()
        if hasattr(self._listener, "_bid_farewell"):
            self._listener._bid_farewell()
        if self._transport is not None and self._transport.write_buffer_size:
            self._transport._start_close_timer()  # it closes itself when that has left, which may be never

    def connection_lost(self, exc):
        """The connection is gone: tell the listener, then those who wait."""
        cdef WSTransport transport = self._transport
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.connection_lost(exc)
        if transport is None:
            return
        self._follow_loop()
        try:
            if self._backlog is not None:
                transport._seal()
                self._drain()
        finally:
            self._end(transport, exc)

    def _end(self, WSTransport transport, exc):
        """Nothing comes any more: free what belongs to the connection, and tell everybody."""
        transport._on_lost()
        if self._registry is not None:
            self._registry.discard(transport)
        listener, self._listener = self._listener, None
        self._is_open = False
        self._pending = None
        self._state = None
        self._free_tail()
        try:
            if listener is not None:
                transport._log(logging.INFO, "disconnected%s", f": {exc!r}" if exc else "")
                self._call_disconnected(listener)
        finally:
            transport._release_waiters()
            # The TLS transports of asyncio and uvloop keep bound methods of ours for ever, and `_transport` keeps them.
            self._transport = None

    def pause_writing(self):
        """The write buffer is above its high watermark."""
        if self._transport is not None:
            self._transport._on_pause_writing()
            self._report_pressure(
                "pause_writing", "the peer reads slower than is sent: write buffer above its high watermark"
            )

    def resume_writing(self):
        """The write buffer is below its low watermark."""
        if self._transport is not None:
            self._follow_loop()
            self._transport._on_resume_writing()
            self._report_pressure("resume_writing", "write buffer below its low watermark again")

    def _report_pressure(self, method, message):
        if self._listener is None:
            return
        if overrides(self._listener, method):
            getattr(self._listener, method)()
        else:
            self._transport._log(logging.WARNING, message)

    cpdef buffer_updated(self, Py_ssize_t nbytes):
        """`nbytes` bytes were read."""
        cdef Pool pool = self._pool
        if pool.in_read:  # by a callback in the middle of another read
            self._on_read(nbytes)
            return
        pool.in_read = True
        try:
            self._on_read(nbytes)
        finally:
            pool.end_read()

    cdef int _on_read(self, Py_ssize_t nbytes) except -1:
        cdef ReadBuffer buffer
        if self._reads_in_place():
            return self._process(None, NULL, nbytes)
        buffer = self._pool.read_buffer if self._own_buffer is None else self._own_buffer
        if self._is_debug:
            received = PyBytes_FromStringAndSize(buffer.data + HEADROOM, nbytes)
            if self._opening is not None:
                received = (hide_rest_of_line if self._has_part_of_head else hide_credentials)(received)
                self._has_part_of_head = True
            self._transport._log_bytes("received", received)
        if self._is_open:
            self._unpack(buffer, nbytes)
        elif self._opening is not None:
            self._opening.data_received(PyBytes_FromStringAndSize(buffer.data + HEADROOM, nbytes))
        return 0

    # --- the opening calls this ---

    def open(self, WSListener listener not None, request, response, bytes remainder not None):
        """The handshake is complete: from now on frames go to `listener`, those in `remainder` first."""
        cdef WSTransport transport = self._transport
        cdef ReadBuffer buffer
        if transport is None:
            raise RuntimeError("there is no connection that could be opened")
        self._opening = None
        self._listener = transport._listener = listener
        transport._protocol = self
        self._calls_python = isinstance(getattr(type(listener), _ON_WS_FRAME), _function)
        self._calls_natively = listener._receives_natively()
        transport.request, transport.response = request, response
        rules = listener._frame_rules
        if rules is None and self._options.strict:
            rules = FrameRules()
        if rules is not None:
            self._state = MessageState(rules)
        self._is_open = True
        if self._registry is not None:
            self._registry.add(transport)
        try:
            listener.on_ws_connected(transport)
        except Exception as exc:
            self._fail_callback(exc, "on_ws_connected", True)
            return
        transport._start_auto_ping()
        if remainder and not transport._input_is_over:
            # It is unmasked in place, which bytes cannot be.
            buffer = new_read_buffer(PyBytes_GET_SIZE(remainder), 0)
            memcpy(buffer.data, PyBytes_AS_STRING(remainder), PyBytes_GET_SIZE(remainder))
            self._process(buffer, buffer.data, PyBytes_GET_SIZE(remainder))

    def abandon(self):
        """Whoever asked for this connection has gone: the last callback runs now, none later."""
        listener, self._listener = self._listener, None
        if self._transport is not None:
            self._transport._abort()
            if listener is not None:
                self._call_disconnected(listener)

    # --- frames to the listener ---

    cdef int _deliver(self, WSFrame frame) except -1:
        """Hand one frame over."""
        cdef WSTransport transport = self._transport
        cdef WSListener listener = self._listener
        cdef PyObject* args[3]
        if frame._first & PICOWS_CONTROL or transport._awaits_pong:
            return self._deliver_control(frame)
        if not self._calls_python:
            return self._deliver_in_c(listener, frame)
        # As `listener.on_ws_frame(transport, frame)`, without a bound method and a try statement in between.
        args[0] = <PyObject*>listener
        args[1] = <PyObject*>transport
        args[2] = <PyObject*>frame
        if picows_call_method(self._on_ws_frame, _ON_WS_FRAME, args, 3) < 0:
            return self._on_frame_callback_raised()
        return 0

    cdef int _deliver_in_c(self, WSListener listener, WSFrame frame) except -1:
        """Through the vtable: the listener is written in Cython, or does not override `on_ws_frame`."""
        try:
            if self._calls_natively:
                listener._receive(self._transport, frame)
            else:
                listener.on_ws_frame(self._transport, frame)
        except Exception as exc:
            self._fail_callback(exc, "on_ws_frame", self._options.disconnect_on_exception)
        return 0

    cdef int _on_frame_callback_raised(self) except -1:
        """An exception is set."""
        try:
            raise_current()
        except Exception as exc:
            self._fail_callback(exc, "on_ws_frame", self._options.disconnect_on_exception)
        return 0

    cdef int _deliver_control(self, WSFrame frame) except -1:
        """A control frame, or any frame while a pong is awaited (an application may have pongs of its own)."""
        cdef WSTransport transport = self._transport
        cdef WSListener listener = self._listener
        cdef WSMsgType msg_type = frame.msg_type
        cdef WSCloseHandshake record
        if msg_type == WSMsgType.PING and self._auto_pong:
            return transport._answer_ping(frame.payload_ptr, frame.payload_size)
        if msg_type == WSMsgType.CLOSE:
            code, reason = parse_close_payload(frame.get_payload_as_bytes())
            record = transport._close_record()
            record.recv = WSCloseInfo(code, reason)
            record.recv_then_sent = record.sent is None
            transport._input_is_over = True
        try:
            if transport._awaits_pong and listener.is_user_specific_pong(frame):
                transport.notify_user_specific_pong_received()
            else:
                listener.on_ws_frame(transport, frame)
        except Exception as exc:
            self._fail_callback(exc, "on_ws_frame", self._options.disconnect_on_exception)
        if msg_type == WSMsgType.CLOSE and (self._options.enable_auto_close or transport._hangs_up):
            self._answer_close()
        return 0

    cdef int _answer_close(self) except -1:
        """The peer closes and the listener has not answered: echo its code; the server then hangs up (RFC 6455
        7.1.1)."""
        cdef WSTransport transport = self._transport
        if transport is None:  # connection_lost came from within the callback
            return 0
        received = transport._close_record().recv
        if received is not None and not transport._is_sealed:
            transport.send_close(received.code, received.reason)
        if not self._options.is_client_side:
            transport._hang_up()
        return 0

    # --- failures ---

    cdef int _fail(self, exc) except -1:
        """The peer broke the protocol (RFC 6455 7.1.7)."""
        cdef WSTransport transport = self._transport
        if transport is None:
            return 0
        say_farewell = transport._farewell
        if hasattr(self._listener, "_on_violation"):  # a message layer, which has words of its own
            exc = self._listener._on_violation(exc)
            say_farewell = self._listener._say_farewell
        transport._log(logging.ERROR, "protocol error, closing with %d: %s", exc.code, exc)
        # Its traceback would keep the connection alive until a garbage collection.
        exc.__context__ = None
        self._remember(exc.with_traceback(None))
        say_farewell(exc.code, truncated_reason(str(exc)))
        return 0

    def _fail_callback(self, exc, callback, is_fatal):
        """A callback raised. A WSProtocolError is a request to close with its code, whatever the options say."""
        cdef WSTransport transport = self._transport
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

    def _remember_raised(self, exc):
        """Keep what a callback raised. The level to log it at: a client's first failure is raised by
        wait_disconnected."""
        return logging.WARNING if self._remember(exc) and self._options.is_client_side else logging.ERROR

    def _remember(self, exc):
        """Keep the first failure for wait_disconnected; True if this is it."""
        cdef WSTransport transport = self._transport
        if transport is None or transport._failure is not None:
            return False
        transport._failure = exc
        return True

    def _call_disconnected(self, listener):
        cdef WSTransport transport = self._transport
        try:
            listener.on_ws_disconnected(transport)
        except Exception as exc:
            transport._log(self._remember_raised(exc), "on_ws_disconnected raised", exc_info=exc)


class WSProtocol(Receiver, asyncio.BufferedProtocol):
    """The asyncio protocol of one connection.

    Args:
        loop: the loop that the connection belongs to.
        options: validated options of this side.
        opening: drives the opening handshake.
        registry: a set that holds the WSTransport of each open connection.
    """

    __slots__ = ()


def make_protocol(loop, options, opening, registry=None, is_plain=True):
    """The protocol for this loop.

    Args:
        loop: as for WSProtocol; likewise options, opening and registry.
        options: see WSProtocol.
        opening: see WSProtocol.
        registry: see WSProtocol.
        is_plain: True if the transport is the loop's own, without TLS. It makes no difference here.
    """
    protocol = WSProtocol(loop, options, opening, registry)
    if _keeps_buffers(loop):
        (<Receiver>protocol)._own_buffer = new_read_buffer(HEADROOM + options.read_buffer_init_size, HEADROOM)
    return protocol


# What is known of the classes of loops and transports: every connection asks.
cdef dict _loops = {}
cdef dict _transports = {}


cdef bint _keeps_buffers(loop) except -1:
    """Completion-based loops keep the buffer while they wait for data."""
    known = _loops.get(type(loop))
    if known is None:
        kind = type(loop)
        known = _loops[kind] = "Proactor" in kind.__name__ or kind.__module__.startswith("winloop")
    return known


cdef bint _is_aiofastnets(transport) except -1:
    known = _transports.get(type(transport))
    if known is None:
        known = _transports[type(transport)] = type(transport).__module__.startswith("aiofastnet")
    return known


def _adopt(receiver, transport):
    """Use aiofastnet's C interface if it is the one that we were compiled against."""
    global _adopt
    aiofastnet = sys.modules["aiofastnet"]
    if aiofastnet.__version__ == PICOWS_AIOFASTNET.decode():
        from ._fastnet import adopt
    else:
        def adopt(receiver, transport):
            pass
    _adopt = adopt
    adopt(receiver, transport)


cdef int raise_current() except -1:
    """Raise the exception that C code has left."""
    return -1
