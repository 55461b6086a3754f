"""Instructions that the processor executes for one message, connection or call of a kernel, counted by callgrind.

The same on every run of the same code, so a tenth of a percent means something. The call from Python is in it. What
callgrind cannot run is n/a: AVX-512, and everything where there is no valgrind.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List

from .probe import COUNT, MARKS_PER_CASE, MESSAGES
from .setting import BENCHMARKS, ENGINES, LAYERS, LEVELS

TIMEOUT_S = 300


def count(engine: str, group: str) -> Dict[str, float]:
    """Instructions of each case of a group of `probe`, by its name. Empty where valgrind is missing."""
    if shutil.which("valgrind") is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "valgrind",
            "--tool=callgrind",
            "--dump-before=getppid",
            f"--callgrind-out-file={folder}/count",
            sys.executable,
            "-m",
            "suites.probe",
            engine,
            group,
        ]
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PICOWS_IMPL": engine}
        environment.pop("PICOWS_SIMD", None)  # valgrind's processor may not have it
        if "PYTHONPATH" in environment:
            folders = environment["PYTHONPATH"].split(os.pathsep)
            environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, folders))
        done = subprocess.run(
            command, cwd=BENCHMARKS, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        return _per_case(json.loads(done.stdout.splitlines()[-1]), _totals(Path(folder)))


def _totals(folder: Path) -> List[int]:
    """What was counted before each mark, in order; the last file, without a number, is the end of the program."""
    numbered = {int(path.suffix[1:]): path for path in folder.glob("count.*")}
    return [
        int(line.split()[1])
        for _, path in sorted(numbered.items())
        for line in path.read_text().splitlines()
        if line.startswith("totals:")
    ]


def _per_case(names: List[str], totals: List[int]) -> Dict[str, float]:
    if len(totals) != MARKS_PER_CASE * len(names):
        raise RuntimeError(f"{len(totals)} marks for {len(names)} cases, wanted {MARKS_PER_CASE} for each")
    once, twice = totals[1::MARKS_PER_CASE], totals[2::MARKS_PER_CASE]
    return {name: (two - one) / COUNT for name, one, two in zip(names, once, twice)}


class _Counted:
    unit = "instructions"
    timeout = TIMEOUT_S


class FrameInstructions(_Counted):
    """One message of 16 through the engine, without sockets, with the kernels that the engine chooses."""

    params = (ENGINES, ["parse", "send"], ["client", "server"], [64, 4096])
    param_names = ("engine", "path", "side", "size")

    def setup_cache(self) -> Dict[str, Dict[str, float]]:
        return {engine: count(engine, "frames") for engine in ENGINES}

    setup_cache.timeout = 2 * TIMEOUT_S  # type: ignore[attr-defined]

    def setup(self, counts: Dict[str, Dict[str, float]], engine: str, path: str, side: str, size: int) -> None:
        self.count = _look_up(counts[engine], f"{path} {size} {side}") / MESSAGES

    def track_instructions(self, counts: Any, engine: str, path: str, side: str, size: int) -> float:
        return self.count


class KernelInstructions(_Counted):
    """One call of one kernel."""

    params = (["mask", "utf8"], LEVELS, [64, 4096])
    param_names = ("kernel", "kernels", "size")

    def setup_cache(self) -> Dict[str, float]:
        return count("core", "kernels")

    setup_cache.timeout = TIMEOUT_S  # type: ignore[attr-defined]

    def setup(self, counts: Dict[str, float], kernel: str, level: str, size: int) -> None:
        self.count = _look_up(counts, f"{kernel} {size} {level}")

    def track_instructions(self, counts: Any, kernel: str, level: str, size: int) -> float:
        return self.count


class ServerInstructions(_Counted):
    """One connection that comes and goes; one message of 16 that a waiting coroutine sends back. Without sockets.

    The message is read, wakes the coroutine and is answered in one turn of the loop: what a turn costs is in it.
    """

    params = (ENGINES, LAYERS, ["accept", "wake 64", "wake 4096"])
    param_names = ("engine", "layer", "work")

    def setup_cache(self) -> Dict[str, Dict[str, float]]:
        return {engine: count(engine, "servers") for engine in ENGINES}

    setup_cache.timeout = 2 * TIMEOUT_S  # type: ignore[attr-defined]

    def setup(self, counts: Dict[str, Dict[str, float]], engine: str, layer: str, work: str) -> None:
        self.count = _look_up(counts[engine], f"{work} {layer}") / (1 if work == "accept" else MESSAGES)

    def track_instructions(self, counts: Any, engine: str, layer: str, work: str) -> float:
        return self.count


def _look_up(counts: Dict[str, float], name: str) -> float:
    if name not in counts:
        raise NotImplementedError("not here: no valgrind, or it does not run this")
    return counts[name]
