"""Masking (RFC 6455 5.3) of one payload at a time, for the Sans-I/O layer.

`picows.core` selects its kernels by name in every call, which costs tens of microseconds: they pay for large payloads
only. Connections do not come here, their engine masks where the bytes are.
"""

from __future__ import annotations

from collections.abc import Callable

from picows import _engine
from picows.pure.mask import mask as _mask_integer

from .typing import BytesLike

_KERNEL_SIZE = 16 * 1024


def _find_kernel() -> Callable[[BytesLike, bytes], bytes] | None:
    if _engine.engine.name != "core":
        return None
    from picows.core import _kernels

    name = _kernels.simd()
    return lambda data, key: _kernels.mask(name, data, key)


_kernel = _find_kernel()


def apply(data: BytesLike, key: bytes) -> bytes:
    """Mask or unmask.

    Args:
        data: a C-contiguous buffer of bytes; it is not changed.
        key: four bytes.
    """
    if _kernel is not None and len(data) >= _KERNEL_SIZE:
        return _kernel(data, key)
    return _mask_integer(data, int.from_bytes(key, "little"))
