"""The record of the closing handshake (RFC 6455 7). What a CLOSE frame may carry is in `picows.closing`."""


cdef class WSCloseInfo:
    """One CLOSE frame: its code (NO_INFO if it had none) and its reason (None if a received one had no code).

    Args:
        code: a WSCloseCode.
        reason: the reason, or None.
    """

    def __init__(self, code, reason):
        self.code = code
        self.reason = reason

    def __iter__(self):
        return iter((self.code, self.reason))

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return (self.code, self.reason)[index]

    def __eq__(self, other):
        if isinstance(other, WSCloseInfo):
            return self.code == other.code and self.reason == other.reason
        if isinstance(other, tuple):
            return (self.code, self.reason) == other
        return NotImplemented

    def __hash__(self):
        return hash((self.code, self.reason))

    def __repr__(self):
        return f"WSCloseInfo(code={self.code!r}, reason={self.reason!r})"


cdef class WSCloseHandshake:
    """The CLOSE frames of a connection so far."""

    def __repr__(self):
        return (
            f"WSCloseHandshake(recv={self.recv}, sent={self.sent}, recv_then_sent={bool(self.recv_then_sent)})"
        )
