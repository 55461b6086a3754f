"""The C kernels as Python calls them: each set by its name, and which of them a process uses.

What the kernels themselves promise, byte by byte and within guard pages, is checked in C, by `test_kernels.py`.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from typing import Any, Optional

import pytest

try:
    _kernels: Any = importlib.import_module("picows.core._kernels")
except ModuleNotFoundError as exc:
    pytest.skip(f"picows.core is not built: {exc}", allow_module_level=True)

SETS = [name for name, _ in _kernels.available()]
RUNNING = [name for name, runs_here in _kernels.available() if runs_here]
KEY = b"\x01\x20\xa4\xff"
#: Text, its size if it is valid, -1 if it ends within a character, or where it goes wrong.
TEXTS = {
    "nothing": (b"", 0),
    "ascii": (b"a" * 1000, 1000),
    "all lengths of characters": ("aä€😀".encode() * 50, 500),
    "ends within a character": ("ä".encode() * 100 + b"\xf0\x9f\x98", -1),
    "stray continuation": (b"a" * 100 + b"\x80" + b"a" * 100, 100),
    "missing continuation": (b"a" * 200 + b"\xe2\x82a", 202),
    "overlong": (b"\xc0\x80", 0),
    "surrogate": (b"ab\xed\xa0\x80", 3),
    "above U+10FFFF": (b"\xf4\x90\x80\x80", 1),
}

each_set = pytest.mark.parametrize("name", SETS)


def require(name: str) -> None:
    if name not in RUNNING:
        pytest.skip(f"this processor runs {', '.join(RUNNING)}")


def masked(data: bytes) -> bytes:
    return bytes(byte ^ KEY[at % 4] for at, byte in enumerate(data))


@each_set
def test_mask(name: str) -> None:
    require(name)
    data = os.urandom(600)
    for size in range(300):
        for start in (0, 1, 3, 64, 65):
            part = data[start : start + size]
            assert _kernels.mask(name, memoryview(data)[start : start + size], KEY) == masked(part), (start, size)


@each_set
def test_mask_into(name: str) -> None:
    require(name)
    data, to = os.urandom(1000), bytearray(1002)
    _kernels.mask_into(name, memoryview(to)[1:-1], data, KEY)
    assert to == b"\x00" + masked(data) + b"\x00"
    _kernels.mask_into(name, memoryview(to)[1:-1], memoryview(to)[1:-1], KEY)
    assert to == b"\x00" + data + b"\x00"


@each_set
@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS)
def test_validate_utf8(name: str, text: bytes, expected: int) -> None:
    require(name)
    assert _kernels.validate_utf8(name, text) == expected


def test_misuse_of_mask() -> None:
    with pytest.raises(ValueError, match="a masking key has 4 bytes .*, this one 3"):
        _kernels.mask("generic", b"", b"abc")
    with pytest.raises(TypeError):
        _kernels.mask("generic", "text", KEY)
    with pytest.raises(ValueError, match=f"no kernels 'sse9': this build has {', '.join(SETS)}; .* runs .*generic"):
        _kernels.mask("sse9", b"", KEY)


def test_misuse_of_mask_into() -> None:
    buffer = bytearray(20)
    with pytest.raises(ValueError, match="3 bytes cannot be masked into a buffer of 20"):
        _kernels.mask_into("generic", buffer, b"abc", KEY)
    with pytest.raises(BufferError):
        _kernels.mask_into("generic", b"abc", b"abc", KEY)
    with pytest.raises(ValueError, match="overlap in part"):
        _kernels.mask_into("generic", memoryview(buffer)[1:11], memoryview(buffer)[:10], KEY)
    assert buffer == bytes(20)


def imported(wanted: Optional[str]) -> subprocess.CompletedProcess[str]:
    """Import the kernels in a process of their own, which prints the set that it uses."""
    variables = {name: value for name, value in os.environ.items() if name != "PICOWS_SIMD"}
    variables["PICOWS_IMPL"] = "pure"
    if wanted is not None:
        variables["PICOWS_SIMD"] = wanted
    # As here: without a console's start-up file, the path that pytest runs with
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-c", "from picows.core import _kernels; print(_kernels.simd())"]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("wanted", [None, ""], ids=["unset", "empty"])
def test_the_best_set_is_used(wanted: Optional[str]) -> None:
    done = imported(wanted)
    assert (done.stdout.strip(), done.stderr) == (RUNNING[0], "")


@each_set
def test_a_set_can_be_asked_for(name: str) -> None:
    require(name)
    done = imported(name)
    assert (done.stdout.strip(), done.stderr) == (name, "")


@pytest.mark.parametrize("wanted", ["sse9", "AVX2", *(name for name in SETS if name not in RUNNING)])
def test_what_cannot_be_had_is_an_import_error(wanted: str) -> None:
    error = imported(wanted).stderr.splitlines()[-1]
    assert error.startswith(f"ImportError: PICOWS_SIMD={wanted}, but ")
    assert f"this build has {', '.join(SETS)}; this processor runs {', '.join(RUNNING)}" in error
