"""Programs that are compiled: the references in C and C++, and the benchmark of the kernels.

They go into build/peers/programs, and are compiled again when sources, flags or compiler have changed. One that cannot
be compiled here is left out of the run, with the reason.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional, Tuple

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build/peers/programs"
KERNELS = ROOT / "packages/picows-core/src/picows/core/csrc"
REFERENCE = Path(__file__).resolve().parent / "reference"
C11 = ("-std=c11", "-O3", "-Wall", "-Wextra", f"-I{KERNELS}")
CPP17 = ("-std=c++17", "-O2", "-Wall", "-Wextra", "-pthread")


class Unavailable(Exception):
    """Why a program cannot be had on this machine."""


@dataclasses.dataclass(frozen=True)
class Program:
    """How one program is compiled."""

    compiler: Tuple[str, str]
    """The environment variable that names the compiler, and the default."""
    flags: Tuple[str, ...]
    sources: Tuple[Path, ...]
    headers: Tuple[Path, ...] = ()
    with_kernels: bool = True
    needs: str = ""
    """A header that must be there."""
    without: str = ""
    """What to say if it is not."""

    def inputs(self) -> List[Path]:
        """Returns: every file of ours that this program is made of."""
        kernels = sorted(KERNELS.rglob("*.[ch]")) if self.with_kernels else []
        return [*self.sources, *self.headers, *kernels]


CC, CXX = ("CC", "gcc"), ("CXX", "g++")
BENCH = REFERENCE / "bench.h"
BOOST_MISSING = "no Boost headers (a package like libboost-dev has them; CPATH may name another place)"
PROGRAMS: Dict[str, Program] = {
    "c_epoll": Program(CC, C11, tuple(REFERENCE / name for name in ("c_epoll.c", "connection.c", "upgrade.c")),
                       (BENCH, REFERENCE / "connection.h", REFERENCE / "upgrade.h")),
    "beast": Program(CXX, CPP17, (REFERENCE / "beast.cpp",), (BENCH,), with_kernels=False,
                     needs="boost/beast/websocket.hpp", without=BOOST_MISSING),
    "bench_kernels": Program(CC, C11, (ROOT / "benchmarks/kernels/bench_kernels.c",)),
}  # fmt: skip


def build(name: str) -> Path:
    """Returns: the program, compiled if need be. Raises: Unavailable; RuntimeError with what the compiler said."""
    program = PROGRAMS[name]
    compiler = os.environ.get(program.compiler[0]) or program.compiler[1]
    missing = [str(path.relative_to(ROOT)) for path in program.inputs() if not path.exists()]
    if missing:
        raise Unavailable(f"{', '.join(missing)} is not there")
    version = _output([*compiler.split(), "--version"])
    if version is None:
        raise Unavailable(f"no compiler: {compiler!r} does not run ({program.compiler[0]} may name another one)")
    include = f"#include <{program.needs}>\n"
    if program.needs and _output([*compiler.split(), "-E", "-x", "c++", "-"], include) is None:
        raise Unavailable(program.without)
    binary, stamp = HOME / name, HOME / f"{name}.stamp"
    wanted = _fingerprint(program, version)
    if not binary.exists() or not stamp.exists() or stamp.read_text() != wanted:
        HOME.mkdir(parents=True, exist_ok=True)
        print(f"compiling {binary.relative_to(ROOT)}", file=sys.stderr, flush=True)
        kernels = sorted(KERNELS.rglob("*.c")) if program.with_kernels else []
        sources = [str(source) for source in (*program.sources, *kernels)]
        _compile([*compiler.split(), *program.flags, *sources, "-o", str(binary)])
        stamp.write_text(wanted)
    return binary


def sets_that_run() -> List[str]:
    """Returns: names of the kernel sets that this processor runs, and memcpy. Raises: as `build`."""
    listed = _output([str(build("bench_kernels")), "list"])
    return ["memcpy", *(listed or "").split()]


def _fingerprint(program: Program, version: str) -> str:
    place = os.environ.get("CPATH", "") if program.needs else ""
    digest = hashlib.sha256("\n".join((version, *program.flags, place)).encode())
    for path in program.inputs():
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _output(command: List[str], stdin: str = "") -> Optional[str]:
    """Returns: what a command printed, None if it failed or is not there."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout


def _compile(command: List[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
