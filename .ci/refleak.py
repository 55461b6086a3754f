"""Looks for references that are lost, on a debug Python: its tests run again and again, see tests/fixtures/refleaks.py.

    python .ci/refleak.py [PYTEST ARGUMENTS]

Debug builds count references only in code that is compiled for them, so picows-core is built for that interpreter (with
its own checks, too), into an environment under `build/refleak`, multidict is used without its extension, and numpy not
at all. Where there is no debug Python that is said, and is no failure; `PICOWS_DEBUG_PYTHON` names one elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "build/refleak"
TESTS = ["tests/engine"]
VERSIONS = ("3.14", "3.13", "3.12", "3.11", "3.10", "3.9")
PACKAGES = [
    "Cython==3.3.*",
    "aiofastnet",
    "async-timeout",
    "hatchling",
    "hypothesis",
    "multidict",
    "pytest>=8",
    "pytest-timeout",
    "python-socks[asyncio]",
    "setuptools>=77",
    "trustme",
]
HOW_TO = "no debug Python is here: apt-get install python3-dbg python3-dev, or pyenv install --debug 3.13"


def find() -> str | None:
    """A debug interpreter."""
    names = [f"python{version}{ending}" for version in VERSIONS for ending in ("-dbg", "d")]
    for name in filter(None, [os.environ.get("PICOWS_DEBUG_PYTHON"), *names]):
        question = "import sys, venv; sys.gettotalrefcount(); print(sys.executable)"
        try:
            done = subprocess.run([name, "-c", question], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        except OSError:
            continue
        if done.returncode == 0:
            return done.stdout.strip()
    return None


def environment(debug: str) -> Path:
    """The environment's interpreter."""
    python = HOME / "venv/bin/python"
    mark = HOME / "venv/complete"
    if not mark.exists() or mark.read_text() != f"{debug} {PACKAGES}":
        shutil.rmtree(HOME, ignore_errors=True)
        subprocess.run([debug, "-m", "venv", "--without-pip", HOME / "venv"], check=True)
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "-qq", "--disable-pip-version-check"]
        quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}  # a debug Python shows what pip does not close
        subprocess.run([*pip, *PACKAGES], env=quiet, check=True)
        mark.write_text(f"{debug} {PACKAGES}")
    return python


def core(python: Path, variables: dict[str, str]) -> Path:
    """Build picows-core for the interpreter. Returns the directory that it is in."""
    site = HOME / "core"
    shutil.rmtree(site, ignore_errors=True)
    command = [python, "-m", "hatchling", "build", "-t", "wheel", "-d", HOME / "wheel"]
    shutil.rmtree(HOME / "wheel", ignore_errors=True)
    subprocess.run(command, cwd=ROOT / "packages/picows-core", env={**variables, "PICOWS_BUILD": "debug"}, check=True)
    (wheel,) = (HOME / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def main(arguments: list[str]) -> int:
    debug = find()
    if debug is None:
        print(f"refleak: skipped: {HOW_TO}")
        return 0
    python = environment(debug)
    variables = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    path = [core(python, variables), ROOT / "packages/picows-pure/src", ROOT / "tests"]
    variables |= {"MULTIDICT_NO_EXTENSIONS": "1", "PYTHONPATH": os.pathsep.join(map(str, path))}
    tests = arguments if any(not argument.startswith("-") for argument in arguments) else [*arguments, *TESTS]
    command = [python, "-m", "pytest", "-q", "-p", "fixtures.refleaks", "-o", "timeout=600", *tests]
    return subprocess.run(command, cwd=ROOT, env=variables).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
