"""Inflating what is not simple, and what the codecs of all engines have in common.

A codec (`picows.codec`, and its twin in `picows.core`) inflates an ordinary message by itself: one frame, little of it,
one call of zlib. Everything else is done here, once for all of them:
- Output is bounded by a budget and produced in chunks, so that a bomb costs what it is allowed to cost.
- Input is fed in slices, because zlib copies what it did not consume: the work is linear in input plus output.
- A final block (BFINAL=1) ends a DEFLATE stream, not the message. The next stream gets an inflater of its own that
  knows the last window, which is why the window is kept here: zlib does not give it back.
"""

from __future__ import annotations

import zlib
from typing import Any, List, Optional, Protocol

from .enums import WSCloseCode
from .errors import WSMessageTooBigError, WSProtocolError

#: A message may consist of this many DEFLATE streams; each costs an inflater.
MAX_STREAMS = 1024

#: The end of a sync flush. It is not transmitted (RFC 7692 7.2.1).
TAIL = b"\x00\x00\xff\xff"
#: zlib's module allocates 32 KiB at first: chunks of that size are neither grown nor joined.
OUTPUT_CHUNK = 32 * 1024
_INPUT_SLICE = 32 * 1024
#: Below this size the tail is joined to the message, because a copy costs less than a second call.
JOIN_LIMIT = 4096
#: After a final block the slices start small again: each stream copies what is left of its slice.
_INPUT_SLICE_AFTER_FINAL = 64
#: Messages that a window refers to before they become one: short ones would cost more than their bytes.
MAX_CHUNKS = 64


class Window(Protocol):
    """The end of what went through one direction: at least its last bytes that the peer may refer to."""

    def add(self, chunk: bytes) -> None:
        """Append what was sent or received."""

    def trim(self) -> bytes:
        """The window itself; nothing else is kept."""
        ...


class Codec(Protocol):
    """The state of a codec."""

    _zlib: Any
    _level: int
    _mem_level: int
    #: Direction by direction: the window's bits, negative as zlib wants them without a header.
    _sends_wbits: int
    _receives_wbits: int
    _receives_no_context: bool
    _compressor: Any
    _inflater: Any
    _sent: Any
    _received: Any
    #: Of the message that is arriving: what it has inflated to, and how many of its streams have ended.
    _message_size: int
    _streams: int
    #: Input was given to the inflater since the message began or its last stream ended.
    _needs_tail: bool


def new_compressor(codec: Codec) -> Any:
    """A compressor that goes on where the last one ended."""
    window = codec._sent.trim()
    presets = {"zdict": window} if window else {}
    return codec._zlib.compressobj(codec._level, zlib.DEFLATED, codec._sends_wbits, codec._mem_level, **presets)


def new_inflater(codec: Codec) -> Any:
    """An inflater that goes on where the last one ended."""
    window = codec._received.trim()
    presets = {"zdict": window} if window else {}
    return codec._zlib.decompressobj(codec._receives_wbits, **presets)


def damaged(exc: Exception) -> WSProtocolError:
    """What zlib's error is to a connection."""
    return WSProtocolError(WSCloseCode.PROTOCOL_ERROR, f"compressed message is damaged: {exc}")


def release(codec: Codec) -> None:
    """Free the contexts, except the inflater in the middle of a message, and what is no longer in the windows."""
    codec._compressor = None
    codec._sent.trim()
    if not codec._message_size and not codec._streams and not codec._needs_tail:
        codec._inflater = None
        codec._received.trim()


def inflate(
    codec: Codec, data: Any, tail: int, fin: bool, budget: Optional[int], first: Optional[bytes] = None
) -> bytes:
    """Inflate a fragment.

    Args:
        codec: whose.
        data: what was received, followed by `tail` bytes of TAIL.
        tail: 0, or all of them.
        fin: True for the last fragment of the message.
        budget: as for `DeflateCodec.decompress`.
        first: what the inflater has already made of `data`, which is no more than one slice then.

    Raises:
        WSMessageTooBigError, WSProtocolError: as for `DeflateCodec.decompress`.
    """
    chunks: List[bytes] = []
    try:
        budget = _inflate(codec, data, tail, budget, chunks, first)
        if fin:
            # A message of 0 bytes needs no tail: it would begin a block there.
            if not tail and codec._needs_tail:
                _inflate(codec, TAIL, len(TAIL), budget, chunks)
            _end_message(codec)
    except codec._zlib.error as exc:
        raise damaged(exc) from exc
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _inflate(
    codec: Codec, data: Any, tail: int, budget: Optional[int], chunks: List[bytes], first: Optional[bytes] = None
) -> Optional[int]:
    """Append the output of `data`, whose last `tail` bytes are ours, to `chunks`; return the rest of the budget."""
    view = memoryview(data)
    position, step = 0, _INPUT_SLICE
    while position < len(view):
        if codec._inflater is None:
            codec._inflater = new_inflater(codec)
        inflater = codec._inflater
        source: Any = view[position : position + step]
        position += len(source)
        codec._needs_tail = True
        size = limit = OUTPUT_CHUNK
        # A chunk that was filled may have left output inside zlib, even with all of the input consumed.
        while first is not None or (size == limit and not inflater.eof):
            limit = OUTPUT_CHUNK if budget is None else min(OUTPUT_CHUNK, budget + 1)
            chunk = inflater.decompress(source, limit) if first is None else first
            first = None
            source = inflater.unconsumed_tail
            size = len(chunk)
            if budget is not None:
                if size > budget:
                    allowed = codec._message_size + budget
                    raise WSMessageTooBigError(f"message inflates to over {allowed} bytes", allowed + 1, allowed)
                budget -= size
            if size:
                codec._message_size += size
                if not codec._receives_no_context:
                    codec._received.add(chunk)
                chunks.append(chunk)
        step = min(2 * step, _INPUT_SLICE)
        if inflater.eof:
            position -= len(inflater.unused_data)
            step = _INPUT_SLICE_AFTER_FINAL
            _end_stream(codec)
            if len(view) - position <= tail:  # a stream that ends with the message needs no tail
                break
    return budget


def _end_stream(codec: Codec) -> None:
    codec._inflater = None
    codec._needs_tail = False
    codec._streams += 1
    if codec._streams > MAX_STREAMS:
        raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, f"message has over {MAX_STREAMS} final DEFLATE blocks")


def _end_message(codec: Codec) -> None:
    codec._message_size = 0
    codec._streams = 0
    codec._needs_tail = False
    if codec._receives_no_context:
        codec._inflater = None
