"""How far a connection is, and how it ended: its state, and what the two CLOSE frames say (RFC 6455 7.1)."""

from __future__ import annotations

import enum

from ._named import Named
from .exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, InvalidState
from .frames import OK_CLOSE_CODES, Close, CloseCode


class State(enum.IntEnum):
    """How far the connection is (RFC 6455 4.1 and 7.1)."""

    CONNECTING, OPEN, CLOSING, CLOSED = range(4)


CONNECTING = State.CONNECTING
OPEN = State.OPEN
CLOSING = State.CLOSING
CLOSED = State.CLOSED


class Lifecycle(Named):
    """Has a state, and an outcome once that is CLOSED. The attributes are those of Protocol."""

    debug: bool
    _state: State
    close_rcvd: Close | None = None
    close_sent: Close | None = None
    close_rcvd_then_sent: bool | None = None
    parser_exc: Exception | None = None

    @property
    def state(self) -> State:
        """How far the connection is."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        if self.debug:
            self.logger.debug("= connection is %s", state.name)
        self._state = state

    @property
    def close_code(self) -> int | None:
        """The code of the peer's CLOSE frame, 1006 if there was none; None until the connection is closed."""
        if self._state is not CLOSED:
            return None
        return CloseCode.ABNORMAL_CLOSURE if self.close_rcvd is None else self.close_rcvd.code

    @property
    def close_reason(self) -> str | None:
        """The reason in the peer's CLOSE frame, "" if there was none; None until the connection is closed."""
        if self._state is not CLOSED:
            return None
        return "" if self.close_rcvd is None else self.close_rcvd.reason

    @property
    def close_exc(self) -> ConnectionClosed:
        """What to raise when a closed connection is used. Raises InvalidState while it is not closed."""
        if self._state is not CLOSED:
            raise InvalidState("connection isn't closed yet")
        cls = ConnectionClosedOK if self._is_closed_well() else ConnectionClosedError
        exc = cls(self.close_rcvd, self.close_sent, self.close_rcvd_then_sent)
        exc.__cause__ = self.parser_exc
        return exc

    def _is_closed_well(self) -> bool:
        received, sent = self.close_rcvd, self.close_sent
        return received is not None and sent is not None and {received.code, sent.code} <= OK_CLOSE_CODES
