"""The C kernels of picows-core, without Python: compiled here in several ways, each set run by its name.

The checks are in the `.c` and `.h` files beside this one. Foreign architectures run under qemu's user mode where that
and a cross compiler are installed.
"""

from __future__ import annotations

import codecs
import ctypes
import functools
import itertools
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Tuple

import pytest
from fixtures.wheels import ROOT

HERE = Path(__file__).parent
SOURCES = ROOT / "packages/picows-core/src/picows/core/csrc"
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SANITIZE = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the checks need mmap and mprotect")


class Build(NamedTuple):
    """A way to compile and run."""

    compiler: str
    flags: Tuple[str, ...] = ("-O3",)
    #: What runs the program, if not this machine.
    runner: Tuple[str, ...] = ()
    #: The Debian packages that have what is needed.
    packages: str = ""
    is_x86: bool = False


BUILDS = {
    "gcc": Build("gcc", packages="gcc"),
    "sanitized": Build("gcc", ("-O1", *SANITIZE), packages="gcc"),
    "clang": Build("clang", packages="clang"),
    "aarch64": Build(
        "aarch64-linux-gnu-gcc",
        ("-O3", "-static"),
        ("qemu-aarch64-static",),
        "gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static",
    ),
    "big-endian": Build(
        "s390x-linux-gnu-gcc",
        ("-O3", "-static"),
        ("qemu-s390x-static",),
        "gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user-static",
    ),
    "no-avx": Build(
        "gcc", runner=("qemu-x86_64-static", "-cpu", "qemu64"), packages="gcc qemu-user-static", is_x86=True
    ),
}
#: Programs about what is in header files, without kernels.
HEADERS_ONLY = ("test_frame_codec", "test_upgrade")
NATIVE_SETS = ("generic", "sse2", "avx2", "avx512", "neon")
#: What is run: build, set, and whether quickly. Emulators and sanitizers leave out what is alike.
CASES = [
    *(("gcc", name, False) for name in NATIVE_SETS),
    *(("sanitized", name, True) for name in NATIVE_SETS),
    *(("clang", name, True) for name in NATIVE_SETS),
    ("aarch64", "neon", True),
    ("aarch64", "generic", True),
    ("big-endian", "generic", True),
    ("no-avx", "sse2", True),
]

Compile = Callable[[str, str], Path]


def run(*command: object) -> str:
    """Run a program that must succeed. Returns what it printed."""
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"{done.args[0]} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@functools.cache
def why_impossible(build: Build) -> Optional[str]:
    """What a build lacks here, or None."""
    if build.is_x86 and platform.machine() not in ("x86_64", "AMD64"):
        return "this is not an x86-64"
    missing = [tool for tool in (build.compiler, *build.runner[:1]) if shutil.which(tool) is None]
    return f"{' and '.join(missing)} not installed: apt-get install {build.packages}" if missing else None


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """compiled(build, name) is NAME.c of this directory with all kernels, and "shared" the kernels as a library."""
    directory = tmp_path_factory.mktemp("kernels")

    @functools.cache
    def make_once(compiler: str, flags: Tuple[str, ...], name: str) -> Path:
        kernels = [] if name in HEADERS_ONLY else sorted(SOURCES.rglob("*.c"))
        what = ["-shared", "-fPIC"] if name == "shared" else [HERE / f"{name}.c"]
        target = directory / f"{name}-{len(list(directory.iterdir()))}"
        run(compiler, *STRICT, *flags, "-I", SOURCES, *what, *kernels, "-o", target)
        return target

    def make(build_name: str, name: str) -> Path:
        build = BUILDS[build_name]
        reason = why_impossible(build)
        if reason is not None:
            pytest.skip(reason)
        return make_once(build.compiler, build.flags, name)

    return make


def sets_of(build: Build, program: Path) -> List[str]:
    """The sets that run; best first."""
    return [name for name in run(*build.runner, program, "list").split() if not name.startswith("[")]


@pytest.mark.parametrize(("build", "name", "is_quick"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES])
def test_W11_D5_kernels_stay_within_their_payload(compiled: Compile, build: str, name: str, is_quick: bool) -> None:
    runner = BUILDS[build].runner
    program = compiled(build, "test_kernels")
    sets = sets_of(BUILDS[build], program)
    if name not in sets:
        assert not runner, f"{build} has {', '.join(sets)}"
        pytest.skip(f"this processor runs {', '.join(sets)}")
    run(*runner, program, name, *(["quick"] if is_quick else []))


@pytest.mark.parametrize("name", HEADERS_ONLY)
@pytest.mark.parametrize("build", [name for name in BUILDS if name != "no-avx"])
def test_headers_alone(compiled: Compile, build: str, name: str) -> None:
    run(*BUILDS[build].runner, compiled(build, name))


def test_without_avx_the_best_set_is_sse2(compiled: Compile) -> None:
    program = compiled("no-avx", "test_kernels")
    listed = run(*BUILDS["no-avx"].runner, program, "list").split()
    assert listed == ["[avx512]", "[avx2]", "sse2", "generic"]


@pytest.mark.parametrize(("build", "best"), [("aarch64", "neon"), ("big-endian", "generic")])
def test_the_best_set_of_other_architectures(compiled: Compile, build: str, best: str) -> None:
    assert sets_of(BUILDS[build], compiled(build, "test_kernels"))[0] == best


class _State(ctypes.Structure):
    _fields_ = [("missing", ctypes.c_uint8), ("lowest", ctypes.c_uint8), ("highest", ctypes.c_uint8)]


class _Kernels(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("mask", ctypes.c_void_p),
        ("validate_utf8", ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.POINTER(_State), ctypes.c_char_p, ctypes.c_size_t)),
    ]


Verdict = Tuple[int, bool]
Validate = Callable[[bytes], Verdict]


@pytest.fixture(scope="session")
def validate(compiled: Compile) -> Validate:
    """Validate with the best set: (index of the first bad byte or the size, whether the text is good and complete)."""
    library = ctypes.CDLL(str(compiled("gcc", "shared")))
    library.picows_kernels_select.restype = ctypes.POINTER(_Kernels)
    kernels = library.picows_kernels_select(None, None).contents

    def validate_text(text: bytes) -> Verdict:
        state = _State()
        at = kernels.validate_utf8(state, text, len(text))
        return at, at == len(text) and state.missing == 0

    return validate_text


def decode_stepwise(text: bytes) -> Verdict:
    """The same from the interpreter's decoder."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for at in range(len(text)):
        try:
            decoder.decode(text[at : at + 1])
        except UnicodeDecodeError:
            return at, False
        # For the sake of "surrogatepass" it waits for the third byte of a surrogate in all error modes.
        if b"\xed\xa0" <= decoder.getstate()[0] < b"\xee":
            return at, False
    return len(text), not decoder.getstate()[0]


def test_every_character_is_valid(validate: Validate) -> None:
    text = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000)))).encode()
    assert validate(text) == (len(text), True)


def test_the_interpreter_finds_the_same_byte(validate: Validate) -> None:
    leads = b"\x41\x80\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff"
    others = b"\x41\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc2\xe0\xed\xf0\xf4\xff"
    for text in map(bytes, itertools.product(leads, others, others, others)):
        assert validate(text) == decode_stepwise(text), text.hex()
