"""Frames out of bytes (RFC 6455 5.2): the hot path of receiving.

`feed` takes what one read brought and calls `deliver(frame)` for each complete frame, in order, until that returns
False. A frame is delivered only when it is known whether another complete one follows it in the same read
(`last_in_buffer`), that is one header late.

Between reads a connection keeps nothing but what it must: a few bytes of a header or of a small frame (`_tail`), or,
for a larger frame, a buffer of exactly its size (`Pending`) into which the event loop reads directly.

A read may bring thousands of tiny frames. After FRAMES_PER_TURN of them, or when the listener pauses reading, the rest
waits in the tail for another turn of the loop, and nothing is read until then.
"""

from __future__ import annotations

import sys
from typing import Callable, Optional, Tuple

from ..abc import FrameRules
from ..closing import MAX_CONTROL_PAYLOAD
from ..enums import WSCloseCode, WSMsgType
from ..errors import WSMessageTooBigError, WSProtocolError
from ..options import FRAMES_PER_TURN
from .frame import CONTROL, FIN, MESSAGE_TYPES, TEXT, WSFrame, make_frame
from .mask import REPEAT, SHORT, mask
from .pending import Pending
from .strict import MessageState

#: An incomplete frame up to this size is completed by a copy: that saves a read. It also bounds what is copied when
#: a peer sends single bytes.
_SMALL = 4096
_MASK_BIT = 0x80


class FrameParser:
    """The receiving half of one connection.

    Args:
        is_client_side: True expects unmasked frames, False masked ones (RFC 6455 5.1).
        max_frame_size: limit of a data frame's payload in bytes.
        deliver: takes a frame; returns False if nothing more may be delivered.
        rules: those of strict mode, None for the bare frame layer.
    """

    __slots__ = (
        "_deliver",
        "_masked",
        "_limit",
        "_state",
        "_quick",
        "_key_size",
        "_tail",
        "is_suspended",
        "is_torn",
        "pending",
    )

    def __init__(
        self, is_client_side: bool, max_frame_size: int, deliver: Callable[[WSFrame], bool], rules: Optional[FrameRules]
    ) -> None:
        self._deliver = deliver
        self._masked = 0 if is_client_side else _MASK_BIT
        # A header announces up to 2^64-1 bytes; no buffer has more than this.
        self._limit = min(max_frame_size, sys.maxsize)
        self._quick = min(MAX_CONTROL_PAYLOAD, max_frame_size)
        self._key_size = 0 if is_client_side else 4
        self._state = None if rules is None else MessageState(rules)
        self._tail = b""
        self.pending: Optional[Pending] = None
        #: There are frames for another turn: feed it again, be it with nothing.
        self.is_suspended = False
        #: A callback has raised what is no Exception, and frames behind its own are lost.
        self.is_torn = False

    def feed(self, data: bytes) -> None:
        """Process what a read brought: FRAMES_PER_TURN frames of it, or, where somebody sets `is_suspended` and then
        returns False, no more than one further frame. The others wait in the tail.

        Raises:
            WSProtocolError: the peer broke the protocol; the frames before that were delivered.
        """
        frame: Optional[WSFrame] = None
        if self.pending is not None:
            frame, data = self._fill_pending(self.pending, data)
            if frame is None:
                return
        elif self._tail:
            data = self._tail + data
            self._tail = b""
        deliver, state, masked, quick = self._deliver, self._state, self._masked, self._quick
        key_size, limit = self._key_size, self._limit
        from_bytes, repeat = int.from_bytes, REPEAT
        pos, end = 0, len(data)
        total, budget = end, FRAMES_PER_TURN
        is_text = self.is_suspended = False
        try:
            while end - pos > 1:
                first = data[pos]
                # With the right mask bit this is the 7-bit length, with the wrong one it is above 127.
                size = data[pos + 1] ^ masked
                body = pos + 2 + key_size
                msg_type = MESSAGE_TYPES[first]
                if size > quick or msg_type is None:
                    # The most frequent of the longer forms without a call; what is wrong with a frame is found out
                    # there.
                    length = data[pos + 2] << 8 | data[pos + 3] if size == 126 and end - pos > 3 else 0
                    if 125 < length <= limit and msg_type is not None and not first & CONTROL:
                        size = length
                        body += 2
                    else:
                        size, body = self._parse_header(data, pos, first, size)
                if body > end:
                    break
                if state is not None:
                    is_text = state.admit(first, size)
                stop = body + size
                if stop > end:
                    if state is not None or size > _SMALL:
                        self._begin(data, body, first, size, is_text)
                        pos = end
                    break
                if frame is not None:
                    ready, frame = frame, None
                    budget -= 1
                    if not deliver(ready):
                        if not self.is_suspended:
                            return
                        budget = 0
                    if not budget:
                        # This frame is known to the state of the message already: it is the last of this turn.
                        end = stop
                payload = data[body:stop]
                if masked:
                    key = from_bytes(data[body - 4 : body], "little")
                    if size <= SHORT:  # mask_short without its call
                        words = (size + 3) >> 2
                        bits = from_bytes(payload, "little") ^ key * repeat[words]
                        payload = bits.to_bytes(words << 2, "little")[:size]
                    else:
                        payload = mask(payload, key)
                text = self._check_text(payload, first) if is_text else None
                frame = WSFrame()
                frame._text = text
                frame._first = first
                frame._msg_type = msg_type  # type: ignore[assignment]
                frame._payload = payload
                frame._tail_size = total - stop
                frame._last_in_buffer = 0
                pos = stop
            if frame is None or self._deliver_last(frame) or self.is_suspended:
                self._tail = data[pos:]
                self.is_suspended = pos == end < total
        except WSProtocolError:
            if frame is not None and not self._deliver_last(frame) and not self.is_suspended:
                return
            raise
        except BaseException:
            self.is_torn = pos < total
            raise

    def add(self, data: bytes) -> None:
        """Data arrived although it is suspended."""
        self._tail += data

    def _deliver_last(self, frame: WSFrame) -> bool:
        frame._last_in_buffer = 1
        return self._deliver(frame)

    def advance_pending(self, count: int) -> None:
        """`count` bytes were read into `pending.rest`, and nothing else was read."""
        pending = self.pending
        if pending is not None and pending.advance(count):
            self._deliver(self._finish(pending))
            self.is_suspended = False

    def _fill_pending(self, pending: Pending, data: bytes) -> Tuple[Optional[WSFrame], bytes]:
        """Copy what belongs to `pending` into it: (the frame, if that completes it, and what is left of the data)."""
        count = min(len(pending.rest), len(data))
        pending.rest[:count] = data[:count]
        if not pending.advance(count):
            return None, b""
        rest = data[count:]
        frame = self._finish(pending, len(rest))
        frame._last_in_buffer = 0  # as `feed` expects of a frame that is not delivered yet
        return frame, rest

    def _finish(self, pending: Pending, tail_size: int = 0) -> WSFrame:
        self.pending = None
        msg_type = WSMsgType(pending.first & 0x0F)
        return make_frame(pending.first, msg_type, pending.finish(), tail_size=tail_size)

    def _check_text(self, payload: bytes, first: int) -> Optional[str]:
        """Validate text; the text itself, if the frame is the whole message."""
        state = self._state
        text = None if state is None else state.decode(payload, first > 127)
        return text if first & 0x8F == FIN | TEXT else None

    def _begin(self, data: bytes, body: int, first: int, size: int, is_text: bool) -> None:
        key = int.from_bytes(data[body - 4 : body], "little") if self._masked else None
        count = len(data) - body
        pending = self.pending = Pending(first, key, size, count, self._state if is_text else None)
        pending.rest[:count] = data[body:]
        pending.advance(count)

    def _parse_header(self, data: bytes, pos: int, first: int, size: int) -> Tuple[int, int]:
        """All headers but the shortest and most frequent: (size, where the payload begins).

        The second is beyond the data where the header is not complete.
        """
        if MESSAGE_TYPES[first] is None:
            if MESSAGE_TYPES[first | FIN] is None:
                raise _violation(f"frame with reserved opcode {first & 0x0F}")
            raise _violation("fragmented control frame")
        if size > 127:
            raise _violation("masked frame from the server" if not self._masked else "unmasked frame from the client")
        if first & CONTROL:
            if size > MAX_CONTROL_PAYLOAD:
                raise _violation(f"control frame with more than {MAX_CONTROL_PAYLOAD} bytes")
            return size, pos + 2 + self._key_size
        body = pos + 2
        if size > 125:
            length_size, smallest = (2, 126) if size == 126 else (8, 65536)
            body += length_size
            if body > len(data):
                return size, len(data) + 1
            size = int.from_bytes(data[pos + 2 : body], "big")
            if size < smallest and self._state is not None and self._state.rules.minimal_lengths:
                raise _violation(f"length {size} is not encoded in the fewest bytes")
        if size > self._limit:
            raise WSMessageTooBigError(f"frame of {size} bytes, {self._limit} are allowed", size, self._limit)
        return size, body + self._key_size


def _violation(message: str) -> WSProtocolError:
    return WSProtocolError(WSCloseCode.PROTOCOL_ERROR, message)
