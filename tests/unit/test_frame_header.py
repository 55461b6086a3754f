"""Headers of frames (RFC 6455 5.2), at the borders of the three widths that a length has."""

from __future__ import annotations

from typing import Any

import pytest

from picows import frame_header as module
from picows.frame_header import frame_header

LENGTHS = {
    0: "00",
    125: "7d",
    126: "7e 007e",
    65535: "7e ffff",
    65536: "7f 0000000000010000",
    2**63 - 1: "7f 7fffffffffffffff",
}


@pytest.mark.parametrize(("size", "length"), LENGTHS.items(), ids=map(str, LENGTHS))
@pytest.mark.parametrize("first", [0x00, 0x82, 0xFF], ids=hex)
def test_without_a_mask(first: int, size: int, length: str) -> None:
    assert frame_header(first, size) == bytes([first]) + bytes.fromhex(length)


@pytest.mark.parametrize(
    ("pack", "fields", "expected"),
    [
        (module.pack_7_key, (0x80 | 125,), "82 fd 01020304"),
        (module.pack_16_key, (0x80 | 126, 65535), "82 fe ffff 01020304"),
        (module.pack_64_key, (0x80 | 127, 65536), "82 ff 0000000000010000 01020304"),
    ],
    ids=["7", "16", "64"],
)
def test_with_a_mask(pack: Any, fields: Any, expected: str) -> None:
    assert pack(0x82, *fields, 0x01020304) == bytes.fromhex(expected)
