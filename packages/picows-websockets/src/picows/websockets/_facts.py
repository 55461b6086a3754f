"""What connections of every API know of themselves through their protocol."""

from __future__ import annotations

import uuid

from .protocol import Protocol, State
from .typing import Subprotocol


class Facts:
    """A mixin: what it says is what `protocol` says."""

    __slots__ = ()

    protocol: Protocol

    @property
    def id(self) -> uuid.UUID:
        """A UUID, for logs, or what a program has put here."""
        return self.protocol.id

    @id.setter
    def id(self, value: uuid.UUID) -> None:
        self.protocol.id = value

    @property
    def state(self) -> State:
        """How far the connection is. To know whether a message arrives, send it and look for ConnectionClosed."""
        return self.protocol.state

    @property
    def subprotocol(self) -> Subprotocol | None:
        """What the opening handshake agreed on."""
        return self.protocol.subprotocol

    @property
    def close_code(self) -> int | None:
        """The code of the peer's CLOSE frame, 1005 if it had none, 1006 without such a frame; None while open."""
        return self.protocol.close_code

    @property
    def close_reason(self) -> str | None:
        """The reason in the peer's CLOSE frame, or ""; None while the connection is open."""
        return self.protocol.close_reason
