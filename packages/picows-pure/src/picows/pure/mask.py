"""Masking (RFC 6455 5.3) in Python: XOR of one big integer with another.

A payload read as a little-endian integer is XORed with the key repeated as often as needed, which is the key times
0x...00000001_00000001. Beyond a few KiB this is done in chunks that stay in the processor's cache: integers of 100
KB cost a page fault for every 4 KiB. Where numpy can be imported, payloads of 1 KiB and more go through it
(`PICOWS_NUMPY=0` prevents that).

Rejected: bytes.translate on four strided slices (three passes over the data, slower up to 100 KB), an XOR with `key
* n` read by from_bytes (a second conversion that costs as much as the payload's own).
"""

from __future__ import annotations

import os
from typing import Any, Callable, List, Optional, Union

Buffer = Union[bytes, bytearray, memoryview]

_CHUNK = 4096
#: _REPEAT[n] * key is the key repeated n times.
_REPEAT = [int.from_bytes(b"\1\0\0\0" * words, "little") for words in range(_CHUNK // 4 + 1)]
#: The same for short payloads, whose masking the parser does without a call.
REPEAT = tuple(_REPEAT[:257])
SHORT = 1024
_REPEAT_CHUNK = _REPEAT[-1]
del _REPEAT


def mask_short(payload: Buffer, key: int) -> bytes:
    """Mask at most 1,024 bytes; `key` is the four bytes of the key read as a little-endian integer."""
    size = len(payload)
    words = (size + 3) >> 2
    masked = int.from_bytes(payload, "little") ^ key * REPEAT[words]
    return masked.to_bytes(words << 2, "little")[:size]


def _mask_chunks(payload: Buffer, key: int) -> List[bytes]:
    size = len(payload)
    view = memoryview(payload)
    repeated = key * _REPEAT_CHUNK
    from_bytes = int.from_bytes
    whole = size - size % _CHUNK
    chunks = [
        (from_bytes(view[at : at + _CHUNK], "little") ^ repeated).to_bytes(_CHUNK, "little")
        for at in range(0, whole, _CHUNK)
    ]
    if rest := size - whole:
        key_bits = repeated & ((1 << (rest << 3)) - 1)
        chunks.append((from_bytes(view[whole:], "little") ^ key_bits).to_bytes(rest, "little"))
    return chunks


def mask_integer(payload: Buffer, key: int) -> bytes:
    """Mask any number of bytes with nothing but integers."""
    if len(payload) <= SHORT:
        return mask_short(payload, key)
    return b"".join(_mask_chunks(payload, key))


def _load_numpy() -> Optional[Any]:
    if os.environ.get("PICOWS_NUMPY", "1") == "0":
        return None
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def make_numpy_mask(numpy: Any) -> Callable[[Buffer, int], bytes]:
    """A masking function for any size that leaves large payloads to numpy."""
    frombuffer, word = numpy.frombuffer, numpy.dtype("<u4")

    def mask_numpy(payload: Buffer, key: int) -> bytes:
        size = len(payload)
        if size <= SHORT:
            return mask_short(payload, key)
        words = size >> 2
        masked: bytes = (frombuffer(payload, word, words) ^ word.type(key)).astype(word, copy=False).tobytes()
        rest = size & 3
        return masked + mask_short(bytes(payload[size - rest :]), key) if rest else masked

    return mask_numpy


_numpy = _load_numpy()
#: What makes large masks fast, or None.
accelerator: Optional[str] = None if _numpy is None else f"numpy {_numpy.__version__}"
#: mask(payload, key) -> bytes for any size.
mask: Callable[[Buffer, int], bytes] = mask_integer if _numpy is None else make_numpy_mask(_numpy)
