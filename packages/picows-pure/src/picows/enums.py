"""The numbers of RFC 6455 under their names.

Every parameter that takes one of these enums takes a plain int as well, and a number that has no name
(an application's own close code 3000, say) becomes a nameless pseudo-member instead of an error, because it is
the peer who chooses it.
"""

from __future__ import annotations

import enum
from typing import Any

#: Log level below DEBUG: raw handshakes and buffer events.
PICOWS_DEBUG_LL = 9


class _OpenIntEnum(enum.IntEnum):
    """An IntEnum in which numbers without a name are pseudo-members: equal to their int, never stored."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        member = int.__new__(cls, value)
        member._name_ = None  # type: ignore[assignment]
        member._value_ = value
        return member

    def __repr__(self) -> str:
        if self._name_ is None:
            return f"<{type(self).__name__}: {self._value_}>"
        return f"<{type(self).__name__}.{self._name_}: {self._value_}>"


class WSMsgType(_OpenIntEnum):
    """Opcode of a frame (RFC 6455 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class WSCloseCode(_OpenIntEnum):
    """Why a connection is closed (RFC 6455 7.4 and the IANA registry).

    NO_INFO and ABNORMAL_CLOSURE never appear on the wire: the first means that a CLOSE frame carried no code, the
    second that no CLOSE frame came at all.
    """

    NO_INFO = 0
    OK = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    ABNORMAL_CLOSURE = 1006
    INVALID_TEXT = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014


_CLOSE_CODES = {int(code): code for code in WSCloseCode}


def close_code(code: int) -> WSCloseCode:
    """`WSCloseCode(code)` in a fifth of the time where the code has a name."""
    member = _CLOSE_CODES.get(code)
    return WSCloseCode(code) if member is None else member


class WSAutoPingStrategy(enum.IntEnum):
    """When auto-ping sends its ping."""

    #: Only after nothing was received for `auto_ping_idle_timeout` seconds.
    PING_WHEN_IDLE = 1
    #: Every `auto_ping_idle_timeout` seconds, whatever was received.
    PING_PERIODICALLY = 2


def is_sendable_close_code(code: int) -> bool:
    """True for the codes that may stand in a CLOSE frame (RFC 6455 7.4): 1000-1003, 1007-1014, 3000-4999."""
    return 3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))
