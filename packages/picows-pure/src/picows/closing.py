"""What a CLOSE frame carries (RFC 6455 5.5.1, 7.4): its payload built, taken apart, and chosen for a failure."""

from __future__ import annotations

from typing import Optional, Tuple, Union

from .enums import WSCloseCode, close_code, is_sendable_close_code
from .errors import WSProtocolError

#: Bytes of payload that a control frame may carry (RFC 6455 5.5).
MAX_CONTROL_PAYLOAD = 125
#: Bytes of a close reason.
MAX_REASON = MAX_CONTROL_PAYLOAD - 2
#: Seconds without input after which a peer that we have told to go is not waited for any longer.
QUIET_S = 0.25
#: Bytes that a peer may go on sending after the end.
MAX_DISCARDED = 64 * 1024 * 1024

# Almost every CLOSE has a code with a name and no reason.
_PLAIN = {int(code): int(code).to_bytes(2, "big") for code in WSCloseCode if is_sendable_close_code(code)}
_PARSED = {payload: (WSCloseCode(code), "") for code, payload in _PLAIN.items()}


def close_payload(code: int, message: Union[bytes, bytearray, memoryview]) -> bytes:
    """The payload of a CLOSE frame to send: nothing for NO_INFO.

    Raises:
        ValueError: the code may not be sent (RFC 6455 7.4), there is a reason without a code, or it has more than
            123 bytes.
        UnicodeDecodeError: the reason is not UTF-8.
    """
    if not message and code in _PLAIN:
        return _PLAIN[code]
    if code == WSCloseCode.NO_INFO:
        if message:
            raise ValueError("a CLOSE frame without a code cannot carry a message")
        return b""
    if not is_sendable_close_code(code):
        raise ValueError(f"close code {int(code)} must not be sent: 1000-1003, 1007-1014 and 3000-4999 may be")
    if len(message) > MAX_REASON:
        raise ValueError(f"a close message has at most {MAX_REASON} bytes, got {len(message)}")
    bytes(message).decode()
    return int(code).to_bytes(2, "big") + message


def parse_close_payload(payload: Union[bytes, bytearray]) -> Tuple[WSCloseCode, Optional[str]]:
    """Code and reason of the peer's CLOSE frame: NO_INFO and None if it is empty.

    Raises:
        WSProtocolError: RFC 6455 5.5.1 or 7.4 forbids it.
    """
    plain = _PARSED.get(bytes(payload))
    if plain is not None:
        return plain
    if not payload:
        return WSCloseCode.NO_INFO, None
    if len(payload) == 1:
        raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "CLOSE frame with a payload of 1 byte")
    code = int.from_bytes(payload[:2], "big")
    if not is_sendable_close_code(code):
        raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, f"CLOSE frame with invalid code {code}")
    try:
        return close_code(code), payload[2:].decode()
    except UnicodeDecodeError as exc:
        error = WSProtocolError(WSCloseCode.INVALID_TEXT, "CLOSE frame whose reason is not UTF-8")
        error.__cause__ = exc.with_traceback(None)  # which would keep whoever called us
    raise error


def close_after(exc: BaseException) -> Tuple[int, bytes]:
    """Code and reason with which a connection closes after an exception out of a callback.

    A WSProtocolError asks for its own code, as far as that can be sent; anything else is our internal error, of which
    the peer learns nothing.
    """
    if not isinstance(exc, WSProtocolError):
        return WSCloseCode.INTERNAL_ERROR, b""
    code = exc.code if is_sendable_close_code(exc.code) else WSCloseCode.INTERNAL_ERROR
    return code, truncated_reason(str(exc))


def truncated_reason(text: str) -> bytes:
    """A reason cut to the 123 bytes that fit into a CLOSE frame, at a character boundary."""
    return text.encode("utf-8", "replace")[:MAX_REASON].decode("utf-8", "ignore").encode()
