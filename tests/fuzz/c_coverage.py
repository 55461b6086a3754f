"""How much of the C of picows-core its fuzzing targets reach: lines and branches, file by file.

    python tests/fuzz/c_coverage.py [--fail-under PERCENT] [--lines] [TARGET ...]

Each target runs once over the corpus in git, and over what `run.py` has found since in `build/fuzz/corpus`. A function
that it does not call counts as missed. Kernels of other processors are not compiled. Which kernels are chosen depends
on the processor too, and is shown without a verdict: tests/kernels forces every choice.

Exit status 1 if a file has less than the share of its branches that is asked for. Needs clang and LLVM's tools.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import run

#: T11: of the branches of each file.
TARGET_PERCENT = 95
#: What chooses the kernels.
UNJUDGED = {"cpu.c", "dispatch.c", "picows_kernels.h", "platform.h"}
_FLAGS = ["-std=c11", "-g", "-O0", "-fprofile-instr-generate", "-fcoverage-mapping"]


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fail-under", type=float, default=TARGET_PERCENT, metavar="PERCENT")
    parser.add_argument("--lines", action="store_true", help="show the lines, with what was not reached")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(run.IN_C))
    options = parser.parse_args(arguments)
    unknown = set(options.targets) - set(run.IN_C)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    return options


def tool(name: str) -> str:
    """The path of an LLVM tool that belongs to clang."""
    done = subprocess.run(["clang", f"-print-prog-name={name}"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def profile(target: str, place: Path, places: list[Path]) -> tuple[Path, Path]:
    """Compile a target into a directory, and run it over directories. Returns the program and what was counted."""
    place.mkdir(parents=True, exist_ok=True)
    program, raw, counts = place / target, place / f"{target}.profraw", place / f"{target}.profdata"
    kernels = sorted(run.KERNELS.rglob("*.c")) if target == "kernels" else []
    sources = [run.HERE / f"{target}.c", run.HERE / "replay.c", *kernels]
    subprocess.run(["clang", *_FLAGS, "-I", str(run.KERNELS), *map(str, sources), "-o", str(program)], check=True)
    inputs = [str(path) for place in places if place.is_dir() for path in sorted(place.iterdir())]
    variables = {**os.environ, "LLVM_PROFILE_FILE": str(raw)}
    subprocess.run([str(program), *inputs], env=variables, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([tool("llvm-profdata"), "merge", "-sparse", str(raw), "-o", str(counts)], check=True)
    print(f"{target}: {len(inputs):,} inputs", flush=True)
    return program, counts


def summaries(program: Path, counts: Path) -> dict[str, Any]:
    """File of picows-core -> what llvm-cov says of it."""
    command = [tool("llvm-cov"), "export", "-summary-only", f"-instr-profile={counts}", str(program)]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    files = report["data"][0]["files"]
    return {
        str(Path(file["filename"]).relative_to(run.KERNELS)): file["summary"]
        for file in files
        if run.KERNELS in Path(file["filename"]).parents
    }


def share(summary: dict[str, Any]) -> float:
    """Percent of the branches, or of the lines where there is no branch."""
    kind = "branches" if summary["branches"]["count"] else "lines"
    return float(summary[kind]["percent"])


def show(name: str, summary: dict[str, Any], limit: float) -> bool:
    """Print a file's row. Returns whether it has what is asked for."""
    numbers = "".join(
        f"{summary[kind]['covered']:>8} of {summary[kind]['count']:<5}{summary[kind]['percent']:>6.1f} %"
        for kind in ("lines", "branches")
    )
    is_enough = name in UNJUDGED or share(summary) >= limit
    verdict = "" if name in UNJUDGED else "ok" if is_enough else "MISSED"
    print(f"  {name:20}{numbers}  {verdict}".rstrip(), flush=True)
    return is_enough


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    enough = []
    print(f"  {'file':20}{'lines':>22}{'branches':>22}", flush=True)
    for target in options.targets or run.IN_C:
        places = [*run.seeds(target), run.BUILD / "corpus" / target]
        program, counts = profile(target, run.BUILD / "coverage", places)
        for name, summary in summaries(program, counts).items():
            if summary["lines"]["count"]:  # or it is made of another file, which has a row
                enough.append(show(name, summary, options.fail_under))
        if options.lines:
            show_lines = [tool("llvm-cov"), "show", "-show-branches=count", f"-instr-profile={counts}", str(program)]
            subprocess.run([*show_lines, str(run.KERNELS)], check=True)
    return 0 if all(enough) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
