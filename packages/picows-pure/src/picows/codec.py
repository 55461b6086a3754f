"""The messages of permessage-deflate (RFC 7692 7.2): the codec of `picows.pure`, and of whoever has no engine.

A codec is driven by the message layer with one message or fragment at a time. zlib's contexts are made on first use
and can be given back while the connection idles: what they knew of earlier messages is kept as the windows that they
are made again with. `picows.core.codec` is its twin; what both leave to others is in `inflate`.
"""

from __future__ import annotations

import zlib
from typing import Any, List, Optional

from .deflate_options import CLIENT_DEFLATE, DeflateOptions, DeflateParameters
from .inflate import JOIN_LIMIT, MAX_CHUNKS, OUTPUT_CHUNK, TAIL, damaged, inflate, new_compressor, new_inflater
from .inflate import release as _release


class Window:
    """The end of a stream of bytes, as references to the messages that they came in.

    Args:
        size: how many bytes of it matter.
    """

    __slots__ = ("_chunks", "_kept", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._chunks: List[bytes] = []
        self._kept = 0

    def __len__(self) -> int:
        """How many bytes are kept."""
        return self._kept

    def add(self, chunk: Any) -> None:
        """Append what is bytes-like; of many bytes only the end is kept."""
        size = len(chunk)
        if size > self._size:
            self._chunks = [bytes(chunk[-self._size :])]
            self._kept = self._size
        else:
            self._chunks.append(bytes(chunk))
            self._kept += size
            if self._kept > 2 * self._size:  # twice, so that this is rare
                self._forget()
            if len(self._chunks) > MAX_CHUNKS:
                self.trim()

    def trim(self) -> bytes:
        """The window itself; nothing else is kept."""
        window = b"".join(self._chunks)[-self._size :]
        self._chunks = [window]
        self._kept = len(window)
        return window

    def _forget(self) -> None:
        """Drop the chunks of which nothing is in the window."""
        count = 0
        while self._kept - len(self._chunks[count]) >= self._size:
            self._kept -= len(self._chunks[count])
            count += 1
        del self._chunks[:count]


class DeflateCodec:
    """Compresses and decompresses the messages of one connection (RFC 7692 7.2). Unusable after an error.

    Args:
        parameters: what was agreed.
        is_client_side: which side we are.
        options: level, mem_level and threshold of our compressor.
        zlib_module: zlib, or a module with the same interface.
    """

    # fmt: off
    __slots__ = (
        "_zlib", "_level", "_mem_level", "_threshold", "_sends_no_context", "_sends_wbits", "_compressor", "_sent",
        "_receives_no_context", "_receives_wbits", "_inflater", "_received", "_message_size", "_streams",
        "_needs_tail", "_is_used",
    )
    # fmt: on

    def __init__(
        self,
        parameters: DeflateParameters,
        is_client_side: bool,
        options: DeflateOptions = CLIENT_DEFLATE,
        zlib_module: Any = zlib,
    ) -> None:
        client = parameters.client_no_context_takeover, -parameters.client_max_window_bits
        server = parameters.server_no_context_takeover, -parameters.server_max_window_bits
        self._sends_no_context, self._sends_wbits = client if is_client_side else server
        self._receives_no_context, self._receives_wbits = server if is_client_side else client
        self._level = options.level
        self._mem_level = options.mem_level
        self._threshold = options.threshold
        self._zlib = zlib_module
        self._compressor: Any = None
        self._inflater: Any = None
        self._sent = Window(1 << -self._sends_wbits)
        self._received = Window(1 << -self._receives_wbits)
        self._message_size = 0
        self._streams = 0
        self._needs_tail = False
        self._is_used = False

    def _on_use(self) -> None:
        """It is used, and `_is_used` was False. Layers above override this."""
        self._is_used = True

    def should_compress(self, size: int) -> bool:
        """True if a message of `size` bytes is worth compressing; the others are sent without RSV1."""
        return size >= self._threshold

    def compress(self, payload: Any) -> bytes:
        """Compress one message.

        Args:
            payload: a bytes-like object. What is bytes may be kept as long as the peer may refer to it.

        Returns:
            The payload of the frame that has RSV1 set. A message of 0 bytes is one byte 00 (RFC 7692 7.2.3.6).
        """
        if not len(payload):
            return b"\x00"  # zlib itself returns nothing for the second of two empty messages
        if not self._is_used:
            self._on_use()
        compressor = self._compressor
        if compressor is None:
            compressor = new_compressor(self)
        try:
            head: bytes = compressor.compress(payload)
            body: bytes = compressor.flush(zlib.Z_SYNC_FLUSH)
        except BaseException:
            self._compressor = None  # it has taken a part of what the peer will never get
            raise
        if not self._sends_no_context:
            self._compressor = compressor
            self._sent.add(payload)
        return b"".join((head, memoryview(body)[: -len(TAIL)])) if head else body[: -len(TAIL)]

    def decompress(self, data: Any, fin: bool, budget: Optional[int] = None) -> bytes:
        """Decompress one fragment, or a message that is not fragmented.

        Args:
            data: payload of the frame, a bytes-like object; it is not kept.
            fin: True for the last fragment of the message.
            budget: how many bytes the rest of the message may inflate to, this fragment included. None: no limit. At
                most budget + 1 bytes are inflated.

        Raises:
            WSMessageTooBigError: the message inflates to more than it may (1009).
            WSProtocolError: the data is not DEFLATE, or refers to bytes outside the agreed window (1002).
            ValueError: budget is negative.
        """
        if budget is not None and budget < 0:
            raise ValueError(f"budget must be at least 0, got {budget}")
        if not self._is_used:
            self._on_use()
        if not fin or not 0 < len(data) < JOIN_LIMIT:
            return inflate(self, data, 0, fin, budget)
        data = b"".join((data, TAIL))
        if self._needs_tail or self._streams:
            return inflate(self, data, len(TAIL), fin, budget)
        if self._inflater is None:
            self._inflater = new_inflater(self)
        inflater = self._inflater
        # Nearly all messages are this: one call of zlib, which has room for what comes.
        limit = OUTPUT_CHUNK if budget is None or budget >= OUTPUT_CHUNK else budget + 1
        try:
            chunk: bytes = inflater.decompress(data, limit)
        except self._zlib.error as exc:
            raise damaged(exc) from exc
        if len(chunk) == limit or inflater.eof:
            return inflate(self, data, len(TAIL), fin, budget, chunk)
        if self._receives_no_context:
            self._inflater = None
        else:
            self._received.add(chunk)
        return chunk

    def release(self) -> None:
        """Give the memory of the zlib contexts back, while the connection idles. They are made again when needed.

        What remains is the window of each direction (2**bits bytes) where context takeover was agreed. The inflater of
        a message of which only a part was received is kept.
        """
        _release(self)
