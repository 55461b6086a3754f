"""The record of the closing handshake (RFC 6455 7)."""

from __future__ import annotations

from typing import NamedTuple, Optional

from ..enums import WSCloseCode


class WSCloseInfo(NamedTuple):
    """One CLOSE frame: its code (NO_INFO if it had none) and its reason (None if a received one had no code)."""

    code: WSCloseCode
    reason: Optional[str]


class WSCloseHandshake:
    """The CLOSE frames of a connection so far."""

    __slots__ = ("_recv", "_sent", "_recv_then_sent")

    def __init__(self) -> None:
        self._recv: Optional[WSCloseInfo] = None
        self._sent: Optional[WSCloseInfo] = None
        self._recv_then_sent = False

    @property
    def recv(self) -> Optional[WSCloseInfo]:
        """The peer's CLOSE, or None."""
        return self._recv

    @property
    def sent(self) -> Optional[WSCloseInfo]:
        """Our CLOSE, or None."""
        return self._sent

    @property
    def recv_then_sent(self) -> bool:
        """True if the peer's CLOSE arrived before ours was sent."""
        return self._recv_then_sent

    def __repr__(self) -> str:
        return f"WSCloseHandshake(recv={self._recv}, sent={self._sent}, recv_then_sent={self._recv_then_sent})"

    def _record_received(self, info: WSCloseInfo) -> None:
        self._recv = info
        self._recv_then_sent = self._sent is None

    def _record_sent(self, info: WSCloseInfo) -> None:
        self._sent = info
