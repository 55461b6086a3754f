"""The part of the opening handshake that both sides share: read an HTTP message, then leave the rest to the frames.

The asyncio API uses it without the frames: after `_leave_frames()` the protocol stops behind the handshake, and
`_take_remainder()` has the bytes that are the engine's.
"""

from __future__ import annotations

import functools
from collections.abc import Generator, Sequence
from typing import Any

from ._failures import drop_tracebacks
from .datastructures import Headers, MultipleValuesError
from .exceptions import InvalidHeader, InvalidUpgrade
from .headers import parse_connection, parse_extension, parse_upgrade
from .protocol import DISCARD, FRAMES, LEFT, Protocol
from .streams import StreamReader
from .typing import BytesLike, ExtensionHeader


class OpeningProtocol(Protocol):
    """A Protocol that begins with a handshake unless its `state` says that this is over."""

    _has_opening = True
    _leaves_frames = False
    _stream: StreamReader | None = None
    _message: Generator[None, None, Any] | None = None

    def _leave_frames(self) -> None:
        """Read the opening handshake only: bytes after it are kept for `_take_remainder`."""
        self._leaves_frames = True
        if self._phase == FRAMES:
            self._phase = LEFT

    def _take_remainder(self) -> bytes:
        """Take the bytes that came after the opening handshake and were not read as frames."""
        remainder = self._reader.remainder
        self._reader.clear()
        return remainder

    def _read_message(self, stream: StreamReader) -> Generator[None, None, Any]:
        """What reads the peer's part of the handshake."""
        raise TypeError(f"{type(self).__name__} must override _read_message()")

    def _message_received(self, message: Any) -> None:
        """Act on the peer's part of the handshake."""
        raise TypeError(f"{type(self).__name__} must override _message_received()")

    def _message_failed(self, exc: Exception) -> None:
        """The peer's part of the handshake is not such a message."""
        raise TypeError(f"{type(self).__name__} must override _message_failed()")

    def _read_whole(self, data: bytes) -> tuple[Any, int] | None:
        """The same, if it is all there and plain: the message and its size."""
        return None

    def _receive_handshake(self, data: BytesLike) -> None:
        if self._stream is None:
            data = bytes(memoryview(data))
            whole = self._read_whole(data)
            if whole is not None:
                self._message_received(whole[0])
                self._end_handshake(data[whole[1] :])
                return
            self._stream = StreamReader()
        self._stream.buffer += data
        self._advance(self._stream)

    def _receive_handshake_eof(self) -> None:
        if self._stream is None:
            self._stream = StreamReader()
        self._stream.feed_eof()
        self._advance(self._stream)

    def _advance(self, stream: StreamReader) -> None:
        if self._message is None:
            self._message = self._read_message(stream)
        try:
            next(self._message)
            return
        except StopIteration as stop:
            message, self._message, self._stream = stop.value, None, None
        except Exception as exc:
            self._message = self._stream = None
            self._message_failed(exc)
            drop_tracebacks(exc)
            self._discard()
            return
        self._message_received(message)
        self._end_handshake(bytes(stream.buffer))

    def _end_handshake(self, remainder: bytes) -> None:
        """The handshake was read; frames follow, unless it failed."""
        if self._phase == DISCARD:
            return
        self._expect_frames(LEFT if self._leaves_frames else FRAMES)
        if remainder:
            self._reader.feed(remainder)
            if self._phase == FRAMES:
                self._read_frames()

    def _fail_handshake(self) -> None:
        """Read nothing more, and shut down the writing side."""
        if not self.eof_sent:
            self.send_eof()
        self._discard()

    def _log_head(self, arrow: str, start_line: str, headers: Headers, body: BytesLike = b"") -> None:
        if self.debug:
            self.logger.debug("%s %s", arrow, start_line)
            for name, value in headers.raw_items():
                self.logger.debug("%s %s: %s", arrow, name, value)
            if body:
                self.logger.debug("%s [body] (%d bytes)", arrow, len(body))


def single(headers: Headers, name: str) -> str | None:
    """The value of a header that may appear once; None if it is missing.

    Raises:
        InvalidHeader: it appears more often.
    """
    try:
        return headers[name]
    except KeyError:
        return None
    except MultipleValuesError:
        raise InvalidHeader(name, "multiple values") from None


def required(headers: Headers, name: str) -> str:
    """The value of a header that must appear once. Raises InvalidHeader if it does not."""
    value = single(headers, name)
    if value is None:
        raise InvalidHeader(name) from None
    return value


def parse_extensions(headers: Headers) -> list[ExtensionHeader]:
    """The elements of Sec-WebSocket-Extensions. Raises InvalidHeaderFormat if it is malformed."""
    values = headers.get_all("Sec-WebSocket-Extensions")
    return [(name, list(params)) for value in values for name, params in _parse_extension(value)]


# Browsers and libraries send the same few values again and again.
@functools.lru_cache(maxsize=32)
def _parse_extension(value: str) -> list[ExtensionHeader]:
    return parse_extension(value)


def check_upgrade(headers: Headers) -> None:
    """Check what RFC 6455 4.1 and 4.2.1 demand of both sides.

    Raises:
        InvalidUpgrade: `Connection` does not say upgrade, or `Upgrade` says something else than websocket.
    """
    if headers.get_all("Connection") == ["Upgrade"] and headers.get_all("Upgrade") == ["websocket"]:
        return  # nearly always
    options = [option for value in headers.get_all("Connection") for option in parse_connection(value)]
    if not any(option.lower() == "upgrade" for option in options):
        raise InvalidUpgrade("Connection", _listed(options))
    protocols = [protocol for value in headers.get_all("Upgrade") for protocol in parse_upgrade(value)]
    if len(protocols) != 1 or protocols[0].lower() != "websocket":
        raise InvalidUpgrade("Upgrade", _listed(protocols))


def _listed(elements: Sequence[str]) -> str | None:
    return ", ".join(elements) if elements else None
