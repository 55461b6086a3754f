"""Runs the tests on a picows-core that is built to find mistakes, beside the working tree's own, which it leaves alone.

    python .ci/core.py asan [PYTEST ARGUMENTS]      with the address and undefined behaviour sanitizers (gcc, Linux)
    python .ci/core.py trace [PYTEST ARGUMENTS]     with line tracing: coverage of the .pyx, as text and HTML

The wheel of that mode is unpacked into `build/core-MODE`, which comes first on the path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "packages/picows-core"
#: Where picows.core runs. `unit` and `docs` are about Python only; `cli` and `examples` start programs of their own.
TESTS = [
    f"tests/{name}"
    for name in (
        "kernels/test_by_name.py",
        "engine",
        "property",
        "conformance",
        "asyncio_api",
        "interop",
        "reliability",
        "websockets_compat",
        "cython_api",
    )
]
COVERAGE = [sys.executable, "-m", "coverage"]
COVERAGE_SETTINGS = f"--rcfile={ROOT / '.ci/coverage-core.ini'}"


def unpacked(mode: str) -> Path:
    """Build in a mode. Returns a directory with what is in the wheel."""
    site = ROOT / f"build/core-{mode}"
    shutil.rmtree(site, ignore_errors=True)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(site / "wheel")]
    subprocess.run(command, cwd=PROJECT, env={**os.environ, "PICOWS_BUILD": mode}, check=True)
    (wheel,) = (site / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def variables(site: Path) -> dict[str, str]:
    """An environment in which `picows.core` is the unpacked one."""
    path = [str(site), str(ROOT / "packages/picows-pure/src"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PICOWS_IMPL": "core", "PYTHONPATH": os.pathsep.join(filter(None, path))}


def check(site: Path, environment: dict[str, str]) -> None:
    """Fail if something else would be tested."""
    question = "import picows.core._kernels as k; print(k.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", question], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    if site not in Path(done.stdout.strip()).parents:
        sys.exit(f"picows.core is {done.stdout.strip()}, not the one in {site}")


def asan(tests: list[str]) -> int:
    """Run tests with the sanitizers' libraries loaded before everything else."""
    libraries = [
        subprocess.run(
            [os.environ.get("CC", "gcc"), f"-print-file-name={name}"], stdout=subprocess.PIPE, text=True, check=True
        )
        for name in ("libasan.so", "libubsan.so")
    ]
    site = unpacked("asan")
    environment = {
        **variables(site),
        "LD_PRELOAD": " ".join(done.stdout.strip() for done in libraries),
        "PYTHONMALLOC": "malloc",  # or a write past the end of an object stays within Python's own arena
        # No search for leaks at the end: CPython leaves thousands of blocks to the end of the process, interned strings
        # and types among them, and the compilers that tests start have more. What picows.core itself keeps is counted
        # after each test (the fixture live_objects), and lost references are what `hatch run refleak` is for.
        # What there is no memory for is tested, too.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    check(site, environment)
    # Some tests take several times as long
    command = [sys.executable, "-m", "pytest", "-o", "timeout=300", *tests]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


def trace(tests: list[str]) -> int:
    """Run tests and report which lines of the .pyx they reached."""
    site = unpacked("trace")
    environment = variables(site)
    check(site, environment)
    # From the directory that Cython ran in: the names of files in the modules are relative to it
    tests = [str(ROOT / test) if (ROOT / test.partition("::")[0]).exists() else test for test in tests]
    outcome = subprocess.run(
        [*COVERAGE, "run", COVERAGE_SETTINGS, "-m", "pytest", *tests], cwd=PROJECT, env=environment
    ).returncode
    for report in (["report"], ["html"]):
        subprocess.run([*COVERAGE, *report, COVERAGE_SETTINGS], cwd=PROJECT, env=environment, check=True)
    return outcome


def main(arguments: list[str]) -> int:
    modes = {"asan": asan, "trace": trace}
    if arguments[:1] == [] or arguments[0] not in modes:
        sys.exit(f"usage: core.py {'|'.join(modes)} [PYTEST ARGUMENTS]")
    tests = arguments[1:]
    return modes[arguments[0]](tests if any(not test.startswith("-") for test in tests) else [*TESTS, *tests])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
