"""Masking (RFC 6455 5.3) of one payload at a time, for the Sans-I/O layer.

Connections do not come here, their engine masks where the bytes are.
"""

from __future__ import annotations

from collections.abc import Callable

from picows import _engine

from .typing import BytesLike


def _choose() -> Callable[[BytesLike, bytes], bytes]:
    """With the fastest kernel of picows.core, where that runs: from the first byte on, 0.1 against 0.7 us for 16.

    Only the engine that runs is imported: picows.pure takes 12 ms of a program's start, 150 ms where there is numpy.
    """
    if _engine.engine.name == "core":
        from picows.core import _kernels

        name, mask = _kernels.simd(), _kernels.mask
        return lambda data, key: mask(name, data, key)
    from picows.pure.mask import mask as mask_integer

    return lambda data, key: mask_integer(data, int.from_bytes(key, "little"))


_mask = _choose()


def apply(data: BytesLike, key: bytes) -> bytes:
    """Mask or unmask.

    Args:
        data: a C-contiguous buffer of bytes; it is not changed.
        key: four bytes.
    """
    return _mask(data, key)
