"""The base class of users' listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from ..abc import FrameRules
from ..enums import WSMsgType

if TYPE_CHECKING:
    from .frame import WSFrame
    from .transport import WSTransport


class WSListener:
    """Derive from it and override what you need. All methods are called in the loop's thread and must not block.

    An exception out of `on_ws_connected` or `on_ws_frame` closes the connection with 1011 (unless
    `disconnect_on_exception=False`), a `WSProtocolError` with its code.
    """

    __slots__ = ("__weakref__",)

    #: What the message layer asks of the frame parser; None for everybody else.
    _frame_rules: Optional[FrameRules] = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The opening handshake is complete; no frame was delivered yet."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame was received.

        Frame, payload and views of it may be kept after the call.
        """

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection has ended. Called once, only after `on_ws_connected`."""

    def send_user_specific_ping(self, transport: WSTransport) -> None:
        """Send a ping for auto-ping or `measure_roundtrip_time`; override it where the application has pings of its
        own."""
        transport.send_ping()

    def is_user_specific_pong(self, frame: WSFrame) -> bool:
        """Tell whether a frame answers the ping. Asked only while a pong is awaited; True swallows the frame."""
        return frame.msg_type is WSMsgType.PONG

    def pause_writing(self) -> None:
        """The write buffer is above its high watermark: the peer reads slower than you send."""

    def resume_writing(self) -> None:
        """The write buffer is below its low watermark again."""


def overrides(listener: WSListener, method: str) -> bool:
    """True if a listener's class (or the object itself) replaces a method of the base class."""
    return getattr(getattr(listener, method), "__func__", None) is not getattr(WSListener, method)
