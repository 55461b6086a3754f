"""MemoryBuffer, which upstream exposes."""

from __future__ import annotations

import sys
from typing import Any

import pytest


def test_sizes(engine: Any) -> None:
    buffer = engine.MemoryBuffer(10)
    assert (buffer.size, buffer.capacity) == (0, 10)
    buffer.resize(7)
    assert (buffer.size, buffer.capacity) == (7, 10)
    buffer.resize(3)
    assert (buffer.size, buffer.capacity) == (3, 10)
    buffer.resize(100)
    assert buffer.size == 100
    assert buffer.capacity >= 100


def test_it_grows_from_nothing(engine: Any) -> None:
    buffer = engine.MemoryBuffer()
    for size in range(1, 300, 7):
        buffer.resize(size)
        assert buffer.size == size <= buffer.capacity


def test_a_negative_size(engine: Any) -> None:
    with pytest.raises(ValueError, match="-1"):
        engine.MemoryBuffer(4).resize(-1)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ is new in Python 3.12")
def test_its_content_stays(engine: Any) -> None:
    buffer = engine.MemoryBuffer(4)
    buffer.resize(4)
    view = memoryview(buffer)
    view[:] = b"kept"
    view.release()
    buffer.resize(1000)
    assert bytes(memoryview(buffer)[:4]) == b"kept"
    assert memoryview(buffer).nbytes == 1000
