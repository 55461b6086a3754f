"""What an exception means for a connection, and how it is kept."""

from __future__ import annotations

from picows.closing import truncated_reason

from .exceptions import PayloadTooBig, ProtocolError
from .frames import Close, CloseCode


def close_after(exc: Exception) -> Close | None:
    """What to say in the CLOSE frame after an exception while reading (RFC 6455 7.1.7).

    Returns:
        Code and reason, which is cut to what a CLOSE frame may carry. ABNORMAL_CLOSURE if the stream is over. None if
        it is our fault, of which the peer learns nothing.
    """
    if isinstance(exc, ProtocolError):
        code, reason = CloseCode.PROTOCOL_ERROR, str(exc)
    elif isinstance(exc, PayloadTooBig):
        code, reason = CloseCode.MESSAGE_TOO_BIG, str(exc)
    elif isinstance(exc, UnicodeDecodeError):
        code, reason = CloseCode.INVALID_DATA, f"{exc.reason} at position {exc.start}"
    elif isinstance(exc, EOFError):
        code, reason = CloseCode.ABNORMAL_CLOSURE, ""
    else:
        return None
    return Close(code, truncated_reason(reason).decode())


def drop_tracebacks(exc: BaseException | None) -> None:
    """Make an exception that is kept refer to no frame of the interpreter, and so not to its owner."""
    while exc is not None:
        exc.__traceback__ = None
        exc = exc.__cause__ or exc.__context__
