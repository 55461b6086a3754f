"""Frames (RFC 6455 5) and close codes (RFC 6455 7.4), as the Sans-I/O API shows them.

Connections do not use this parser, they use the engine's; it is for who drives a Protocol, or writes an extension.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import re
import secrets
import struct
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from .exceptions import PayloadTooBig, ProtocolError
from .typing import BytesLike
from .utils import apply_mask

if TYPE_CHECKING:
    from .extensions.base import Extension

__all__ = ["Opcode", "CloseCode", "Frame", "Close"]


class Opcode(enum.IntEnum):
    """What a frame is (RFC 6455 5.2)."""

    CONT, TEXT, BINARY = 0x0, 0x1, 0x2
    CLOSE, PING, PONG = 0x8, 0x9, 0xA


CONT = Opcode.CONT
TEXT = Opcode.TEXT
BINARY = Opcode.BINARY
CLOSE = Opcode.CLOSE
PING = Opcode.PING
PONG = Opcode.PONG

DATA_OPCODES = CONT, TEXT, BINARY
CTRL_OPCODES = CLOSE, PING, PONG


class CloseCode(enum.IntEnum):
    """Why a connection is closed (RFC 6455 7.4.1 and the IANA registry)."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RCVD = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015


#: The words in which errors and logs say a close code.
CLOSE_CODE_EXPLANATIONS: dict[int, str] = {
    CloseCode.NORMAL_CLOSURE: "OK",
    CloseCode.GOING_AWAY: "going away",
    CloseCode.PROTOCOL_ERROR: "protocol error",
    CloseCode.UNSUPPORTED_DATA: "unsupported data",
    CloseCode.NO_STATUS_RCVD: "no status received [internal]",
    CloseCode.ABNORMAL_CLOSURE: "abnormal closure [internal]",
    CloseCode.INVALID_DATA: "invalid frame payload data",
    CloseCode.POLICY_VIOLATION: "policy violation",
    CloseCode.MESSAGE_TOO_BIG: "message too big",
    CloseCode.MANDATORY_EXTENSION: "mandatory extension",
    CloseCode.INTERNAL_ERROR: "internal error",
    CloseCode.SERVICE_RESTART: "service restart",
    CloseCode.TRY_AGAIN_LATER: "try again later",
    CloseCode.BAD_GATEWAY: "bad gateway",
    CloseCode.TLS_HANDSHAKE: "TLS handshake failure [internal]",
}

#: Never in a CLOSE frame (RFC 6455 7.4.1): they tell the application that there was none, or none with a code.
_INTERNAL_CLOSE_CODES = {CloseCode.NO_STATUS_RCVD, CloseCode.ABNORMAL_CLOSURE, CloseCode.TLS_HANDSHAKE}
#: The codes below 3000 that a CLOSE frame may have.
EXTERNAL_CLOSE_CODES = set(CloseCode) - _INTERNAL_CLOSE_CODES
#: What ends iteration over a connection without an exception.
OK_CLOSE_CODES = {CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD}

_MAX_CONTROL_SIZE = 125  # RFC 6455 5.5
_ASCII_TEXT = re.compile(rb"[\t-\r -~]*")
# Characters that no text has, and that would be escaped in a log: control characters, no-break space, soft hyphen.
_NOT_TEXT = re.compile("[^\t\n\r -~\xa1-\xac\xae-\U0010ffff]")


@dataclasses.dataclass
class Frame:
    """A frame.

    Attributes:
        opcode: what it is.
        data: the payload, unmasked.
        fin: whether it ends the message.
        rsv1: reserved bit 1; extensions use it.
        rsv2: reserved bit 2.
        rsv3: reserved bit 3.
    """

    opcode: Opcode
    data: BytesLike
    fin: bool = True
    rsv1: bool = False
    rsv2: bool = False
    rsv3: bool = False

    #: How many characters of a payload go into a log.
    MAX_LOG_SIZE: ClassVar[int] = int(os.environ.get("WEBSOCKETS_MAX_LOG_SIZE", "75"))

    def __str__(self) -> str:
        content, kind = _show(Opcode(self.opcode), self.data, self.fin, self.MAX_LOG_SIZE)
        size = len(self.data)
        notes = [kind, f"{size} byte{'' if size == 1 else 's'}", "" if self.fin else "continued"]
        return f"{Opcode(self.opcode).name} {content} [{', '.join(filter(None, notes))}]"

    @classmethod
    def parse(
        cls,
        read_exact: Callable[[int], Generator[None, None, bytes | bytearray]],
        *,
        mask: bool,
        max_size: int | None = None,
        extensions: Sequence[Extension] | None = None,
    ) -> Generator[None, None, Frame]:
        """Read a frame; a generator that returns it.

        Args:
            read_exact: a generator function that reads that many bytes, such as `StreamReader.read_exact`.
            mask: whether the frame must be masked, as those of clients are, or must not.
            max_size: how large the payload may be, in bytes; None for no limit.
            extensions: applied to the frame, last one first.

        Raises:
            EOFError: the stream ends within the frame.
            PayloadTooBig: it is larger than `max_size`.
            ProtocolError: RFC 6455 does not allow it.
        """
        first, second = yield from read_exact(2)
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError as exc:
            raise ProtocolError("invalid opcode") from exc
        if bool(second & 0x80) is not mask:
            raise ProtocolError("incorrect masking")
        fin = bool(first & 0x80)
        size = second & 0x7F
        if size > _MAX_CONTROL_SIZE:
            extended = yield from read_exact(2 if size == 126 else 8)
            size = int.from_bytes(extended, "big")
        if max_size is not None and size > max_size:
            raise PayloadTooBig(size, max_size)
        if opcode in CTRL_OPCODES:
            _check_control(size, fin)  # now, because an attacker's size may be anything
        key = (yield from read_exact(4)) if mask else b""
        data: BytesLike = yield from read_exact(size)
        if mask:
            data = apply_mask(data, key)
        frame = cls(opcode, data, fin, bool(first & 0x40), bool(first & 0x20), bool(first & 0x10))
        for extension in reversed(extensions or ()):
            frame = extension.decode(frame, max_size=max_size)
        frame.check()
        return frame

    def serialize(self, *, mask: bool, extensions: Sequence[Extension] | None = None) -> bytes:
        """The bytes for the wire.

        Args:
            mask: whether to mask it, as clients must.
            extensions: applied to the frame, first one first.

        Raises:
            ProtocolError: RFC 6455 does not allow this frame.
        """
        self.check()
        frame = self
        for extension in extensions or ():
            frame = extension.encode(frame)
        bits = frame.fin << 7 | frame.rsv1 << 6 | frame.rsv2 << 5 | frame.rsv3 << 4 | frame.opcode
        size = len(frame.data)
        masked = 0x80 if mask else 0
        if size < 126:
            head = struct.pack("!BB", bits, masked | size)
        elif size < 65536:
            head = struct.pack("!BBH", bits, masked | 126, size)
        else:
            head = struct.pack("!BBQ", bits, masked | 127, size)
        if not mask:
            return b"".join((head, frame.data))
        key = secrets.token_bytes(4)
        return b"".join((head, key, apply_mask(frame.data, key)))

    def check(self) -> None:
        """Raise ProtocolError if RFC 6455 does not allow this frame, extensions aside."""
        if self.rsv1 or self.rsv2 or self.rsv3:
            raise ProtocolError("reserved bits must be 0")
        if self.opcode in CTRL_OPCODES:
            _check_control(len(self.data), self.fin)


@dataclasses.dataclass
class Close:
    """The content of a CLOSE frame (RFC 6455 5.5.1).

    Attributes:
        code: why the connection is closed.
        reason: the same in words, or "".
    """

    code: CloseCode | int
    reason: str

    def __str__(self) -> str:
        if 3000 <= self.code < 4000:
            explanation = "registered"
        elif 4000 <= self.code < 5000:
            explanation = "private use"
        else:
            explanation = CLOSE_CODE_EXPLANATIONS.get(self.code, "unknown")
        text = f"{self.code:d} ({explanation})"
        return f"{text} {self.reason}" if self.reason else text

    @classmethod
    def parse(cls, data: BytesLike) -> Self:
        """Read the payload of a CLOSE frame. Without one, the code is NO_STATUS_RCVD.

        Raises:
            ProtocolError: it is one byte, or the code may not stand there.
            UnicodeDecodeError: the reason is not UTF-8.
        """
        content = bytes(data)
        if not content:
            return cls(CloseCode.NO_STATUS_RCVD, "")
        if len(content) < 2:
            raise ProtocolError("close frame too short")
        close = cls(int.from_bytes(content[:2], "big"), content[2:].decode())
        close.check()
        return close

    def serialize(self) -> bytes:
        """The payload of a CLOSE frame.

        Raises:
            ProtocolError: the code may not stand there.
        """
        self.check()
        return int(self.code).to_bytes(2, "big") + self.reason.encode()

    def check(self) -> None:
        """Raise ProtocolError if the code may not stand in a CLOSE frame (RFC 6455 7.4)."""
        if self.code not in EXTERNAL_CLOSE_CODES and not 3000 <= self.code < 5000:
            raise ProtocolError("invalid status code")


def _check_control(size: int, fin: bool) -> None:
    """RFC 6455 5.5."""
    if size > _MAX_CONTROL_SIZE:
        raise ProtocolError("control frame too long")
    if not fin:
        raise ProtocolError("fragmented control frame")


def _show(opcode: Opcode, data: BytesLike, fin: bool, limit: int) -> tuple[str, str]:
    """A payload for a log, and "text" or "binary" if it is shown otherwise than its opcode suggests."""
    if not data:
        return "''", ""
    text = _show_text(opcode, data, fin, limit)
    if opcode in (TEXT, CLOSE):
        kind = "binary" if text is None else ""
    elif opcode is BINARY:
        kind = "" if text is None else "text"
    else:
        kind = "binary" if text is None else "text"
    return _elide(_hexadecimal(data, limit) if text is None else text, limit), kind


def _one_line(text: str) -> str:
    """A peer's reason without what would begin a line of the log, or colour it. (websockets shows it as it is.)"""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _show_text(opcode: Opcode, data: BytesLike, fin: bool, limit: int) -> str | None:
    if opcode is CLOSE:
        try:
            return _one_line(str(Close.parse(data)))
        except (ProtocolError, UnicodeDecodeError):
            return None
    if opcode in CTRL_OPCODES:
        content = bytes(data)
        return repr(content.decode("ascii")) if _ASCII_TEXT.fullmatch(content) else None
    text = _decode(data, opcode is CONT, not fin, limit)
    return None if text is None or _NOT_TEXT.search(text) else repr(text)


def _decode(data: BytesLike, cut_before: bool, cut_after: bool, limit: int) -> str | None:
    """The beginning and the end of a text, of which a fragment has only a part; None if it is not UTF-8."""
    third = max(limit, 3) // 3
    head, tail = 8 * third, 4 * third  # a character has up to four bytes; the elision keeps 2/3 and 1/3
    if len(data) <= head + tail:
        return _decode_part(bytes(data), cut_before, cut_after)
    first = _decode_part(bytes(data[:head]), cut_before, True)
    last = _decode_part(bytes(data[-tail:]), True, cut_after)
    return None if first is None or last is None else first + last


def _decode_part(data: bytes, cut_before: bool, cut_after: bool) -> str | None:
    start, end = 0, len(data)
    while cut_before and start < min(end, 3) and data[start] & 0xC0 == 0x80:
        start += 1
    try:
        data[start:end].decode()
    except UnicodeDecodeError as exc:
        if not (cut_after and exc.reason == "unexpected end of data"):
            return None
    return data.decode("utf-8", "replace")


def _hexadecimal(data: BytesLike, limit: int) -> str:
    if 3 * len(data) - 1 <= limit:
        return bytes(data).hex(" ")
    # Each byte has three characters: more of them than are shown, and not all of a large payload.
    shown = max(limit, 3) // 3 + 1
    return f"{bytes(data[: 2 * shown]).hex(' ')} {bytes(data[-shown:]).hex(' ')}"


def _elide(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    third = max(limit // 3 - 1, 0)  # room for the dots
    return f"{text[: 2 * third]}...{text[len(text) - third :]}"
