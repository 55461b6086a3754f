"""Fuzzes every target for some seconds, and says how many inputs were tried.

    python tests/fuzz/run.py [--seconds N] [--jobs N] [TARGET ...]

Three targets are in C, under libFuzzer with the address and undefined behaviour sanitizers; the others are in Python,
under atheris. The seeds are in `corpus`; what is found beyond them is kept in `build/fuzz/corpus`, for the next run.

Exit status 1 after a crash: its input is in `build/fuzz/crashes`, and belongs into `corpus` once it is mended. What
cannot run here is named, and is no failure.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Optional

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CORPUS = HERE / "corpus"
BUILD = ROOT / "build/fuzz"
KERNELS = ROOT / "packages/picows-core/src/picows/core/csrc"
#: Target -> the longest input that is made. Those in C come first: they are compiled while others run.
IN_C = {"kernels": 512, "frame_codec": 256, "upgrade": 1024}
IN_PYTHON = {
    "frames": 512,
    "messages": 300,
    "twins": 300,
    "drop_in": 300,
    "drop_in_head": 1024,
    "request": 1024,
    "response": 1024,
    "head": 512,
    "url": 256,
    "deflate": 512,
}
#: Whose seeds a target uses beside its own.
SHARED = {"twins": ["messages"], "drop_in": ["messages"], "head": ["request", "response"]}
#: The package that a target is about, if that is not picows-pure's.
NEEDS = {"twins": "picows.core", "drop_in": "picows.websockets", "drop_in_head": "picows.websockets"}
#: An input that takes longer is a crash.
_HANG_S = 5
_CLANG = "needs clang with libFuzzer: apt-get install clang libclang-rt-14-dev"
_ATHERIS = "needs atheris (CPython 3.11 to 3.13, Linux): pip install atheris"


class Result(NamedTuple):
    """What came of fuzzing one target."""

    target: str
    inputs: int = 0
    seconds: float = 0
    #: Blocks of code that were reached.
    coverage: int = 0
    crash: str = ""
    skipped: str = ""


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=7, help="for each target")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at a time")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join([*IN_C, *IN_PYTHON]))
    options = parser.parse_args(arguments)
    unknown = set(options.targets) - {*IN_C, *IN_PYTHON}
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    return options


def compile_target(target: str) -> Path:
    """The program of a target in C."""
    program = BUILD / target
    kernels = sorted(KERNELS.rglob("*.c")) if target == "kernels" else []
    flags = ["-std=c11", "-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    command = ["clang", *flags, "-I", KERNELS, HERE / f"{target}.c", *kernels, "-o", program]
    subprocess.run([str(word) for word in command], check=True)
    return program


def lacks(target: str) -> bool:
    """Whether what a target is about is not installed."""
    spec = importlib.util.find_spec(NEEDS.get(target, "picows"))
    return spec is None or spec.origin is None


def command_for(target: str) -> tuple[list[str], str]:
    """The command that fuzzes a target, or why there is none."""
    if target in IN_PYTHON:
        if importlib.util.find_spec("atheris") is None:
            return [], _ATHERIS
        if lacks(target):
            return [], f"needs {NEEDS[target]}"
        return [sys.executable, str(HERE / "atheris_target.py"), target], ""
    probe = ["clang", "-fsanitize=fuzzer,address", "-x", "c", "-", "-o", os.devnull]
    empty = "int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { (void)d; (void)n; return 0; }"
    try:
        subprocess.run(probe, input=empty, text=True, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return [], _CLANG
    return [str(compile_target(target))], ""


def seeds(target: str) -> list[Path]:
    """The directories with what a target begins with."""
    return [CORPUS / name for name in (target, *SHARED.get(target, ())) if (CORPUS / name).is_dir()]


def fuzz(target: str, seconds: int) -> Result:
    """Fuzz one target."""
    command, missing = command_for(target)
    if missing:
        return Result(target, skipped=missing)
    found, crashes = BUILD / "corpus" / target, BUILD / "crashes"
    found.mkdir(parents=True, exist_ok=True)
    size = {**IN_C, **IN_PYTHON}[target]
    options = {"max_total_time": seconds, "max_len": size, "timeout": _HANG_S, "print_final_stats": 1}
    arguments = [*(f"-{name}={value}" for name, value in options.items()), f"-artifact_prefix={crashes}/{target}-"]
    path = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), "ASAN_OPTIONS": "detect_leaks=1"}
    began = time.monotonic()
    done = subprocess.run(
        [*command, *arguments, str(found), *map(str, seeds(target))],
        env=variables,
        cwd=BUILD,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    (BUILD / f"{target}.log").write_text(done.stdout)
    inputs = _last_number(r"stat::number_of_executed_units: +([0-9]+)", done.stdout)
    coverage = _last_number(r"cov: ([0-9]+)", done.stdout)
    crash = _what_crashed(done.stdout, target) if done.returncode else ""
    return Result(target, inputs or 0, time.monotonic() - began, coverage or 0, crash)


def _last_number(pattern: str, text: str) -> Optional[int]:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else None


def _what_crashed(output: str, target: str) -> str:
    where = re.search(r"Test unit written to (.*)", output)
    reason = re.search(r"^.*(?:Broken|Error|ERROR|SUMMARY|runtime error).*$", output, re.MULTILINE)
    text = reason[0].strip()[:300] if reason else output[-300:]
    return f"{text}\n    input: {where[1] if where else 'none'}; all of it in {BUILD / f'{target}.log'}"


def show(result: Result) -> None:
    """Print the row of a target."""
    if result.skipped:
        print(f"{result.target:12} skipped: {result.skipped}", flush=True)
        return
    rate = result.inputs / result.seconds if result.seconds else 0
    verdict = "CRASH" if result.crash else "ok"
    numbers = f"{result.inputs:>12,}{result.seconds:>9.1f}{rate:>12,.0f}{result.coverage:>10,}"
    print(f"{result.target:12}{numbers}  {verdict}", flush=True)
    if result.crash:
        print(f"    {result.crash}", flush=True)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    shutil.rmtree(BUILD / "crashes", ignore_errors=True)
    (BUILD / "crashes").mkdir(parents=True)
    targets = options.targets or [*IN_C, *IN_PYTHON]
    began = time.monotonic()
    print(f"{'target':12}{'inputs':>12}{'seconds':>9}{'per second':>12}{'coverage':>10}", flush=True)
    results = []
    with ThreadPoolExecutor(options.jobs) as executor:
        for result in executor.map(lambda target: fuzz(target, options.seconds), targets):
            show(result)
            results.append(result)
    crashes = sum(bool(result.crash) for result in results)
    inputs, seconds = sum(result.inputs for result in results), time.monotonic() - began
    print(f"fuzz: {inputs:,} inputs in {seconds:.0f} s, {crashes or 'no'} crash{'es' if crashes > 1 else ''}")
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
