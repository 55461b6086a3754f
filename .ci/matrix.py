"""Runs the tests of environment `py` (hatch.toml) on each interpreter that exists, and names those that do not.

    python .ci/matrix.py [--others] [PYTEST ARGUMENTS]

`--others` is what fits into the time that CI has: the compiled engine on the oldest Python, without what is about other
libraries. Of the pure one some runs on the newest in tests/packaging/test_wheels.py, from its wheel. Hatch can skip a
missing interpreter only where it would not rather download one, so the choice is made here.
"""

from __future__ import annotations

import os
import subprocess
import sys

VERSIONS = ["3.9", "3.10", "3.11", "3.12", "3.13"]
#: What `--others` runs, and where.
OTHERS = {"3.9": "core"}
OTHERS_TESTS = ["tests/unit", "tests/engine", "tests/asyncio_api"]


def outside_environment() -> dict[str, str]:
    """The variables without those of the environment that runs this script, whose `python3.X` hides the machine's."""
    own = os.path.dirname(sys.executable)
    variables = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    variables["PATH"] = os.pathsep.join(d for d in os.environ["PATH"].split(os.pathsep) if d != own)
    return variables


def why_not(version: str, variables: dict[str, str]) -> str | None:
    """Why there is no such interpreter, or None where there is one. pyenv has shims for versions that do not run."""
    try:
        done = subprocess.run(
            [f"python{version}", "-c", "pass"], env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except OSError:
        return f"no python{version} on the PATH"
    return (
        None if done.returncode == 0 else f"python{version} does not run: {done.stderr.strip().partition(chr(10))[0]}"
    )


def main(arguments: list[str]) -> int:
    variables = outside_environment()
    absent = {version: reason for version in VERSIONS if (reason := why_not(version, variables))}
    for reason in absent.values():
        print(f"skipped: {reason}", flush=True)
    versions = [version for version in VERSIONS if version not in absent]
    implementations = dict.fromkeys(versions, ("pure", "core"))
    if arguments[:1] == ["--others"]:
        implementations = {version: (OTHERS[version],) for version in versions if version in OTHERS}
        arguments = arguments[1:] or OTHERS_TESTS
    if not implementations:
        print("no interpreter is left to test on")
    codes = [
        subprocess.run(["hatch", "run", f"py.py{version}-{name}:test", *arguments], env=variables).returncode
        for version, names in implementations.items()
        for name in names
    ]
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
