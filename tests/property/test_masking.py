"""The pure engine's masking kernels against RFC 6455 5.3 byte by byte. (The compiled ones: tests/kernels.)"""

from __future__ import annotations

from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows.pure import mask as kernels
from picows.pure.pending import _rotate

Kernel = Callable[[Any, int], bytes]
KERNELS: dict[str, Kernel] = {"chosen": kernels.mask, "integer": kernels.mask_integer}
try:
    import numpy
except ImportError:
    pass
else:
    KERNELS["numpy"] = kernels.make_numpy_mask(numpy)

EACH = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
KEYS = [b"\x37\xfa\x21\x3d", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\x01\x00\x00\x00"]
EDGES = [n + d for n in (1024, 4096, 8192, 12_288, 16_384, 65_536) for d in range(-9, 10)] + [100_003, 262_144]
source = bytes((place * 7 + (place >> 8) * 13) & 255 for place in range(262_144))


def naive(payload: bytes, key: bytes, phase: int = 0) -> bytes:
    return bytes(byte ^ key[(place + phase) & 3] for place, byte in enumerate(payload))


def as_number(key: bytes) -> int:
    return int.from_bytes(key, "little")


@EACH
@pytest.mark.parametrize("key", KEYS, ids=bytes.hex)
def test_every_short_length(kernel: Kernel, key: bytes) -> None:
    for size in range(301):
        masked = kernel(source[:size], as_number(key))
        assert type(masked) is bytes
        assert masked == naive(source[:size], key)


@EACH
@pytest.mark.parametrize("size", EDGES)
def test_lengths_at_the_edges(kernel: Kernel, size: int) -> None:
    key = KEYS[0]
    masked = kernel(source[:size], as_number(key))
    assert masked == naive(source[:size], key)
    assert kernel(masked, as_number(key)) == source[:size]


@EACH
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [0, 1, 5, 1024, 1025, 1027, 4096, 4099, 8193])
def test_kinds_of_buffers(kernel: Kernel, kind: Any, size: int) -> None:
    payload = kind(source[:size])
    assert kernel(payload, as_number(KEYS[0])) == naive(source[:size], KEYS[0])
    assert payload == source[:size]


@EACH
@pytest.mark.parametrize("offset", [0, 1, 2, 3, 5, 7, 63])
@pytest.mark.parametrize("size", [7, 300, 1025, 4097])
def test_W11_only_the_slice_of_a_larger_buffer(kernel: Kernel, offset: int, size: int) -> None:
    view = memoryview(source)[offset : offset + size]
    assert kernel(view, as_number(KEYS[0])) == naive(source[offset : offset + size], KEYS[0])


@EACH
@pytest.mark.parametrize("size", [*range(0, 301, 7), 1024, 1031, 4096, 4101, 8200])
def test_the_key_goes_on_wherever_the_payload_is_cut(kernel: Kernel, size: int) -> None:
    key = KEYS[0]
    expected = naive(source[:size], key)
    for cut in {0, 1, 2, 3, 4, 5, 63, 64, 65, size // 2, size - 1, size} & set(range(size + 1)):
        head, tail = source[:cut], source[cut:size]
        assert kernel(head, as_number(key)) + kernel(tail, _rotate(as_number(key), cut & 3)) == expected


@EACH
@given(payload=st.binary(max_size=1500), key=st.binary(min_size=4, max_size=4), times=st.integers(1, 8))
def test_any_payload(kernel: Kernel, payload: bytes, key: bytes, times: int) -> None:
    assert kernel(payload * times, as_number(key)) == naive(payload * times, key)


@pytest.mark.parametrize("count", range(4))
def test_rotating_a_key(count: int) -> None:
    for key in KEYS:
        assert _rotate(as_number(key), count) == as_number(key[count:] + key[:count])
