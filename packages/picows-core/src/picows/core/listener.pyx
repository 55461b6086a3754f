# cython: nonecheck=True
"""The base class of users' listeners, in Python or in Cython."""

from .enums cimport WSMsgType


cdef class WSListener:
    """Derive from it and override what you need. All methods are called in the loop's thread and must not block.

    An exception out of `on_ws_connected` or `on_ws_frame` closes the connection with 1011 (unless
    `disconnect_on_exception=False`), a `WSProtocolError` with its code. In Cython, methods overridden as `cpdef` are
    called without going through Python.
    """

    #: What the message layer asks of the frame parser; None for everybody else.
    _frame_rules = None

    cpdef on_ws_connected(self, WSTransport transport):
        """The opening handshake is complete; no frame was delivered yet."""

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        """A frame was received.

        Frame, payload and views of it may be kept after the call.
        """

    cpdef on_ws_disconnected(self, WSTransport transport):
        """The connection has ended. Called once, only after `on_ws_connected`."""

    cpdef send_user_specific_ping(self, WSTransport transport):
        """Send a ping for auto-ping or `measure_roundtrip_time`; override it where the application has pings of its
        own."""
        transport.send_ping()

    cpdef is_user_specific_pong(self, WSFrame frame):
        """Tell whether a frame answers the ping. Asked only while a pong is awaited; True swallows the frame."""
        return frame.msg_type == WSMsgType.PONG

    cpdef pause_writing(self):
        """The write buffer is above its high watermark: the peer reads slower than you send."""

    cpdef resume_writing(self):
        """The write buffer is below its low watermark again."""

    cdef bint _receives_natively(self) except -1:
        """True if frames may go to `_receive`: nobody has overridden `on_ws_frame`."""
        return False

    cdef int _receive(self, WSTransport transport, WSFrame frame) except -1:
        self.on_ws_frame(transport, frame)
        return 0


cdef bint overrides(WSListener listener, str method) except -1:
    """True if a listener's class (or the object itself) replaces a method of the base class."""
    own = getattr(type(listener), method)
    if own is not getattr(WSListener, method):
        return True
    return method in getattr(listener, "__dict__", ())
