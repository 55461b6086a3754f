"""permessage-deflate (RFC 7692): what two sides agree on, and the compression that follows from it.

Negotiation is strings in, `DeflateParameters` out: a client calls `offer` and `accept_response`, a server `negotiate`.
A server declines what it cannot accept (the connection goes on uncompressed), a client fails the handshake.

`DeflateCodec` is driven by the message layer with one message or fragment at a time. Its rules:
- Output is bounded by a budget and produced in chunks, so that a bomb costs what it is allowed to cost.
- Input is fed in slices, because zlib copies what it did not consume: the work is linear in input plus output.
- A final block (BFINAL=1) ends a DEFLATE stream, not the message. The next stream gets an inflater of its own that
  knows the last window, which is why the window is kept here: zlib does not give it back.
- zlib contexts are made on first use and can be dropped while the connection idles.

Rejected: windows of 8 bits. RFC 7692 allows them, but zlib uses 9 bits when asked for 8, or refuses.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

from .enums import WSCloseCode
from .errors import WSInvalidHeaderError, WSMessageTooBigError, WSProtocolError
from .extensions import HEADER_NAME, ExtensionParameter, build_extension, parse_extensions

EXTENSION_NAME = "permessage-deflate"

MIN_WINDOW_BITS = 9
MAX_WINDOW_BITS = 15

#: A message may consist of this many DEFLATE streams; each costs an inflater.
MAX_STREAMS = 1024

#: The end of a sync flush. It is not transmitted (RFC 7692 7.2.1).
_TAIL = b"\x00\x00\xff\xff"
#: zlib's module allocates 32 KiB at first: chunks of that size are neither grown nor joined.
_OUTPUT_CHUNK = 32 * 1024
_INPUT_SLICE = 32 * 1024
#: Below this size the tail is joined to the message, because a copy costs less than a second call.
_JOIN_LIMIT = 4096
#: After a final block the slices start small again: each stream copies what is left of its slice.
_INPUT_SLICE_AFTER_FINAL = 64

_SERVER_NO_CONTEXT = "server_no_context_takeover"
_CLIENT_NO_CONTEXT = "client_no_context_takeover"
_SERVER_BITS = "server_max_window_bits"
_CLIENT_BITS = "client_max_window_bits"

_WINDOW_BITS = re.compile(r"[1-9][0-9]?")


@dataclass(frozen=True)
class DeflateParameters:
    """What both sides agreed on (RFC 7692 7.1). Window sizes are the base-2 logarithm of bytes."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = MAX_WINDOW_BITS
    client_max_window_bits: int = MAX_WINDOW_BITS


@dataclass(frozen=True)
class DeflateOptions:
    """What one side wants. The defaults suit a client; `SERVER_DEFLATE` suits a server.

    Attributes:
        server_no_context_takeover: the server forgets its window after each message.
        client_no_context_takeover: the client forgets its window after each message.
        server_max_window_bits: limit of the server's window, 9 to 15. None: no limit is asked for.
        client_max_window_bits: limit of the client's window, 9 to 15. On a client None means that the server may not
            limit it and True that it may; on a server both mean that no limit is asked for.
        require_client_max_window_bits: a server declines clients whose window it cannot limit.
        level: zlib's compression level, -1 (zlib's choice) to 9.
        mem_level: zlib's memory level, 1 to 9. A compressor takes 2**(window bits + 2) + 2**(mem_level + 9) bytes.
        threshold: messages shorter than this many bytes are sent uncompressed.

    Raises:
        TypeError: an option is of the wrong type.
        ValueError: an option is out of range.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: Optional[int] = None
    client_max_window_bits: Union[int, bool, None] = True
    require_client_max_window_bits: bool = False
    level: int = zlib.Z_DEFAULT_COMPRESSION
    mem_level: int = 5
    threshold: int = 0

    def __post_init__(self) -> None:
        for name in (_SERVER_NO_CONTEXT, _CLIENT_NO_CONTEXT, "require_client_max_window_bits"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, got {type(getattr(self, name)).__name__}")
        if self.server_max_window_bits is not None:
            _check_int(_SERVER_BITS, self.server_max_window_bits, MIN_WINDOW_BITS, MAX_WINDOW_BITS)
        if self.client_max_window_bits is not None and self.client_max_window_bits is not True:
            _check_int(_CLIENT_BITS, self.client_max_window_bits, MIN_WINDOW_BITS, MAX_WINDOW_BITS)
        _check_int("level", self.level, -1, 9)
        _check_int("mem_level", self.mem_level, 1, 9)
        _check_int("threshold", self.threshold, 0, None)
        if self.require_client_max_window_bits and _limit(self.client_max_window_bits) is None:
            got = self.client_max_window_bits
            raise ValueError(f"require_client_max_window_bits needs a number as {_CLIENT_BITS}, got {got}")


def _check_int(name: str, value: object, low: int, high: Optional[int]) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if value < low or (high is not None and value > high):
        allowed = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"{name} must be {allowed}, got {value}")


def _limit(bits: Union[int, bool, None]) -> Optional[int]:
    """The number in a window option, or None where it asks for no limit."""
    return None if bits is None or bits is True else int(bits)


CLIENT_DEFLATE = DeflateOptions()
#: Windows of 4 KiB, because a server has many connections.
SERVER_DEFLATE = DeflateOptions(server_max_window_bits=12, client_max_window_bits=12)


def _build(values: dict[str, Union[int, bool, None]]) -> str:
    """Our own extension, from the parameters that are neither None nor False."""
    given = [(key, value) for key, value in values.items() if value is not None and value is not False]
    return build_extension(EXTENSION_NAME, [(key, None if value is True else str(value)) for key, value in given])


def _interpret(parameters: Sequence[ExtensionParameter], is_offer: bool) -> dict[str, Union[int, bool]]:
    """Validate the parameters of RFC 7692 7.1; ValueError says what is wrong. One without value becomes True."""
    result: dict[str, Union[int, bool]] = {}
    for name, value in parameters:
        if name in result:
            raise ValueError(f"{name} is repeated")
        if name in (_SERVER_NO_CONTEXT, _CLIENT_NO_CONTEXT):
            if value is not None:
                raise ValueError(f"{name} takes no value, got {_short(value)}")
            result[name] = True
        elif name == _CLIENT_BITS and value is None and is_offer:
            result[name] = True
        elif name in (_SERVER_BITS, _CLIENT_BITS):
            result[name] = _parse_window_bits(name, value)
        else:
            raise ValueError(f"{_short(name)} is not a parameter of {EXTENSION_NAME}")
    return result


def _parse_window_bits(name: str, value: Optional[str]) -> int:
    # int() alone would accept "+9", "09", "1_0" and digits of other scripts.
    if value is None or _WINDOW_BITS.fullmatch(value) is None or not MIN_WINDOW_BITS <= int(value) <= MAX_WINDOW_BITS:
        got = "no value" if value is None else _short(value)
        raise ValueError(f"{name} must be {MIN_WINDOW_BITS} to {MAX_WINDOW_BITS}, got {got}")
    return int(value)


def _short(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:40] + "...")


def offer(options: DeflateOptions) -> str:
    """The value of the Sec-WebSocket-Extensions header with which a client offers permessage-deflate."""
    return _build(
        {
            _SERVER_NO_CONTEXT: options.server_no_context_takeover,
            _CLIENT_NO_CONTEXT: options.client_no_context_takeover,
            _SERVER_BITS: options.server_max_window_bits,
            _CLIENT_BITS: options.client_max_window_bits,
        }
    )


def accept_response(options: DeflateOptions, header_value: Optional[str]) -> Optional[DeflateParameters]:
    """Check a server's answer to `offer(options)`.

    Args:
        options: what was offered.
        header_value: the server's Sec-WebSocket-Extensions, several joined with commas, or None if there is none.

    Returns:
        What was agreed, or None where the server declined.

    Raises:
        WSInvalidHeaderError: the answer is malformed, does not fit the offer, or names another extension.
    """
    if header_value is None:
        return None
    extensions = parse_extensions(header_value)
    try:
        for name, _ in extensions:
            if name != EXTENSION_NAME:
                raise ValueError(f"{_short(name)} was not offered")
        if len(extensions) > 1:
            raise ValueError(f"{EXTENSION_NAME} is accepted {len(extensions)} times")
        return _agree(options, _interpret(extensions[0][1], is_offer=False))
    except ValueError as exc:
        description = f"{HEADER_NAME} of the server is not acceptable: {exc}"
        raise WSInvalidHeaderError(description, HEADER_NAME, header_value) from exc


def _agree(options: DeflateOptions, response: dict[str, Union[int, bool]]) -> DeflateParameters:
    if options.server_no_context_takeover and _SERVER_NO_CONTEXT not in response:
        raise ValueError(f"{_SERVER_NO_CONTEXT} was asked for and is missing (RFC 7692 7.1.1.1)")
    if options.server_max_window_bits is not None:
        if _SERVER_BITS not in response:
            raise ValueError(f"{_SERVER_BITS} was asked for and is missing (RFC 7692 7.1.2.1)")
        if response[_SERVER_BITS] > options.server_max_window_bits:
            limit = options.server_max_window_bits
            raise ValueError(f"{_SERVER_BITS} must be at most {limit}, got {response[_SERVER_BITS]}")
    own_limit = _limit(options.client_max_window_bits)
    if _CLIENT_BITS in response:
        if options.client_max_window_bits is None:
            raise ValueError(f"{_CLIENT_BITS} was not offered (RFC 7692 7.1.2.2)")
        if own_limit is not None and response[_CLIENT_BITS] > own_limit:
            raise ValueError(f"{_CLIENT_BITS} must be at most {own_limit}, got {response[_CLIENT_BITS]}")
    return DeflateParameters(
        server_no_context_takeover=_SERVER_NO_CONTEXT in response,
        # What the offer said about ourselves binds us even where the answer does not repeat it.
        client_no_context_takeover=_CLIENT_NO_CONTEXT in response or options.client_no_context_takeover,
        server_max_window_bits=response.get(_SERVER_BITS, MAX_WINDOW_BITS),
        client_max_window_bits=response.get(_CLIENT_BITS, own_limit or MAX_WINDOW_BITS),
    )


def negotiate(options: DeflateOptions, header_values: Sequence[str]) -> Optional[tuple[str, DeflateParameters]]:
    """Choose among a client's offers: the first that is valid and acceptable. Nothing in the offers is an error.

    Args:
        options: what the server wants.
        header_values: the values of the request's Sec-WebSocket-Extensions headers, in order.

    Returns:
        The value of the response's header and what is agreed, or None where no offer is acceptable. Malformed headers,
        offers with unknown, repeated or invalid parameters, and windows of 8 bits are passed over.
    """
    for value in header_values:
        try:
            extensions = parse_extensions(value)
        except WSInvalidHeaderError:
            continue
        for name, parameters in extensions:
            if name != EXTENSION_NAME:
                continue
            try:
                wanted = _interpret(parameters, is_offer=True)
            except ValueError:
                continue
            if options.require_client_max_window_bits and _CLIENT_BITS not in wanted:
                continue
            return _answer(options, wanted)
    return None


def _answer(options: DeflateOptions, wanted: dict[str, Union[int, bool]]) -> tuple[str, DeflateParameters]:
    server_bits = _smallest(options.server_max_window_bits, wanted.get(_SERVER_BITS))
    client_bits = None
    if _CLIENT_BITS in wanted:  # otherwise the client must not be sent it (RFC 7692 7.1.2.2)
        client_bits = _smallest(options.client_max_window_bits, wanted[_CLIENT_BITS])
    parameters = DeflateParameters(
        server_no_context_takeover=options.server_no_context_takeover or _SERVER_NO_CONTEXT in wanted,
        client_no_context_takeover=options.client_no_context_takeover or _CLIENT_NO_CONTEXT in wanted,
        server_max_window_bits=server_bits or MAX_WINDOW_BITS,
        client_max_window_bits=client_bits or MAX_WINDOW_BITS,
    )
    response = _build(
        {
            _SERVER_NO_CONTEXT: parameters.server_no_context_takeover,
            _CLIENT_NO_CONTEXT: parameters.client_no_context_takeover,
            _SERVER_BITS: server_bits,
            _CLIENT_BITS: client_bits,
        }
    )
    return response, parameters


def _smallest(*limits: Union[int, bool, None]) -> Optional[int]:
    numbers = [_limit(bits) for bits in limits]
    return min((bits for bits in numbers if bits is not None), default=None)


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
        "_zlib", "_level", "_mem_level", "_threshold", "_sends_no_context", "_sends_wbits", "_compressor",
        "_receives_no_context", "_receives_wbits", "_window", "_inflater", "_history", "_message_size", "_streams",
        "_needs_tail",
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
        self._window = 1 << -self._receives_wbits
        #: At least the last window of output, where the peer may refer to it.
        self._history = bytearray()
        self._message_size = 0
        self._streams = 0
        #: Input was given to the inflater since the message began or its last stream ended.
        self._needs_tail = False

    def should_compress(self, size: int) -> bool:
        """True if a message of `size` bytes is worth compressing; the others are sent without RSV1."""
        return size >= self._threshold

    def compress(self, payload: Any) -> bytes:
        """Compress one message.

        Args:
            payload: a bytes-like object; it is not kept.

        Returns:
            The payload of the frame that has RSV1 set. A message of 0 bytes is one byte 00 (RFC 7692 7.2.3.6).
        """
        if not len(payload):
            return b"\x00"  # zlib itself returns nothing for the second of two empty messages
        compressor = self._compressor
        if compressor is None:
            compressor = self._zlib.compressobj(self._level, zlib.DEFLATED, self._sends_wbits, self._mem_level)
        head: bytes = compressor.compress(payload)
        body: bytes = compressor.flush(zlib.Z_SYNC_FLUSH)
        self._compressor = None if self._sends_no_context else compressor
        return b"".join((head, memoryview(body)[: -len(_TAIL)])) if head else body[: -len(_TAIL)]

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
        chunks: list[bytes] = []
        try:
            if fin and 0 < len(data) < _JOIN_LIMIT:
                data = b"".join((data, _TAIL))
                if self._needs_tail or self._streams:
                    self._inflate(data, len(_TAIL), budget, chunks)
                else:
                    inflater = self._inflater
                    if inflater is None:
                        inflater = self._inflater = self._new_inflater()
                    # Nearly all messages are this: one call of zlib, which has room for what comes.
                    limit = _OUTPUT_CHUNK if budget is None or budget >= _OUTPUT_CHUNK else budget + 1
                    chunk: bytes = inflater.decompress(data, limit)
                    if len(chunk) < limit and not inflater.eof:
                        if self._receives_no_context:
                            self._inflater = None
                        else:
                            self._history += chunk if len(chunk) <= self._window else chunk[-self._window :]
                            if len(self._history) > 2 * self._window:
                                del self._history[: -self._window]
                        return chunk
                    self._inflate(data, len(_TAIL), budget, chunks, chunk)
            else:
                budget = self._inflate(data, 0, budget, chunks)
                # A message of 0 bytes needs no tail: it would begin a block there.
                if fin and self._needs_tail:
                    self._inflate(_TAIL, len(_TAIL), budget, chunks)
            if fin:
                self._end_message()
        except self._zlib.error as exc:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, f"compressed message is damaged: {exc}") from exc
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def release(self) -> None:
        """Give the memory of the zlib contexts back, while the connection idles. They are made again when needed.

        What remains is the window of the peer (2**bits bytes) where context takeover was agreed. The inflater of a
        message of which only a part was received is kept.
        """
        self._compressor = None
        if not self._message_size and not self._streams and not self._needs_tail:
            self._inflater = None
            self._history = bytearray(self._history[-self._window :])

    def _inflate(
        self, data: Any, tail: int, budget: Optional[int], chunks: list[bytes], first: Optional[bytes] = None
    ) -> Optional[int]:
        """Append the output of `data`, whose last `tail` bytes are ours, to `chunks`; return the rest of the budget.

        `first`: what the inflater has already made of `data`, which is no more than one slice then.
        """
        view = memoryview(data)
        position, step = 0, _INPUT_SLICE
        while position < len(view):
            if self._inflater is None:
                self._inflater = self._new_inflater()
            inflater = self._inflater
            source: Any = view[position : position + step]
            position += len(source)
            self._needs_tail = True
            size = limit = _OUTPUT_CHUNK
            # A chunk that was filled may have left output inside zlib, even with all of the input consumed.
            while first is not None or (size == limit and not inflater.eof):
                limit = _OUTPUT_CHUNK if budget is None else min(_OUTPUT_CHUNK, budget + 1)
                chunk = inflater.decompress(source, limit) if first is None else first
                first = None
                source = inflater.unconsumed_tail
                size = len(chunk)
                if budget is not None:
                    if size > budget:
                        allowed = self._message_size + budget
                        raise WSMessageTooBigError(f"message inflates to over {allowed} bytes", allowed + 1, allowed)
                    budget -= size
                if size:
                    self._remember(chunk)
                    chunks.append(chunk)
            step = min(2 * step, _INPUT_SLICE)
            if inflater.eof:
                position -= len(inflater.unused_data)
                step = _INPUT_SLICE_AFTER_FINAL
                self._end_stream()
                if len(view) - position <= tail:  # a stream that ends with the message needs no tail
                    break
        return budget

    def _new_inflater(self) -> Any:
        window = {"zdict": bytes(self._history[-self._window :])} if self._history else {}
        return self._zlib.decompressobj(self._receives_wbits, **window)

    def _remember(self, chunk: bytes) -> None:
        self._message_size += len(chunk)
        if not self._receives_no_context:
            self._history += chunk[-self._window :]
            if len(self._history) > 2 * self._window:  # twice, so that short messages move the window rarely
                del self._history[: -self._window]

    def _end_stream(self) -> None:
        self._inflater = None
        self._needs_tail = False
        self._streams += 1
        if self._streams > MAX_STREAMS:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, f"message has over {MAX_STREAMS} final DEFLATE blocks")

    def _end_message(self) -> None:
        self._message_size = 0
        self._streams = 0
        self._needs_tail = False
        if self._receives_no_context:
            self._inflater = None
