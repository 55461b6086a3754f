"""What is done to every byte of a payload, by each set of kernels and by picows.pure."""

from __future__ import annotations

import importlib
import os
from typing import Any, Callable

from .setting import LEVELS, Timed, kernels

#: By name: what is repeated. ASCII; two bytes each; three bytes each; one character of two bytes in 64.
TEXTS = {
    "ascii": "The quick brown fox jumps.",
    "cyrillic": "Съешь ещё этих булок",
    "chinese": "天地玄黃宇宙洪荒",
    "mixed": "é" + "a" * 62,
}
KEY = b"\x37\xfa\x21\x3d"


def text(kind: str, size: int) -> bytes:
    """At most so many bytes of whole characters."""
    unit = TEXTS[kind].encode()
    return (unit * (size // len(unit) + 1))[:size].decode(errors="ignore").encode()


class Mask(Timed):
    """Masking in place (picows.pure: into new bytes)."""

    params = (["pure", *LEVELS], [64, 4096, 1 << 20])
    param_names = ("kernels", "size")

    def setup(self, level: str, size: int) -> None:
        data: Any = os.urandom(size)
        if level == "pure":
            mask = importlib.import_module("picows.pure.mask").mask_integer
            key = int.from_bytes(KEY, "little")
            self.call: Callable[[], Any] = lambda: mask(data, key)
        else:
            mask_into, data = kernels(level).mask_into, bytearray(data)
            self.call = lambda: mask_into(level, data, data, KEY)

    def time_mask(self, level: str, size: int) -> None:
        self.call()


class Utf8(Timed):
    """Validating a text (picows.pure: decoding it)."""

    params = (["pure", *LEVELS], list(TEXTS), [64, 4096, 1 << 18])
    param_names = ("kernels", "text", "size")

    def setup(self, level: str, kind: str, size: int) -> None:
        data = text(kind, size)
        if level == "pure":
            self.call: Callable[[], Any] = data.decode
        else:
            validate = kernels(level).validate_utf8
            if validate(level, data) != len(data):
                raise ValueError(f"{level} refuses valid text")
            self.call = lambda: validate(level, data)

    def time_validate(self, level: str, kind: str, size: int) -> None:
        self.call()
