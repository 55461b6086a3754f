"""Why connections end that have a Sans-I/O protocol: what the protocol knows, and what only the network does."""

from __future__ import annotations

from ._failures import drop_tracebacks
from .exceptions import ConnectionClosed
from .protocol import Protocol


class Causes:
    """A mixin.

    Attributes:
        connection_exc: what went wrong outside of the protocol, or None.
    """

    protocol: Protocol
    connection_exc: BaseException | None = None

    @property
    def close_exc(self) -> ConnectionClosed:
        """What `recv` and `send` raise once the connection is closed. Raises InvalidState before."""
        exc = self.protocol.close_exc
        # That the stream ended is how a time limit and a broken network look to the protocol.
        if self.connection_exc is not None and (exc.__cause__ is None or isinstance(exc.__cause__, EOFError)):
            exc.__cause__ = self.connection_exc
        return exc

    def set_connection_exc(self, exc: BaseException | None) -> None:
        """Note why the connection ends, if that is not known yet."""
        if self.connection_exc is None and exc is not None:
            drop_tracebacks(exc)
            self.connection_exc = exc
