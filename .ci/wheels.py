"""A dry run of .github/workflows/wheels.yml: what cibuildwheel would build, and for this interpreter the whole way.

    python .ci/wheels.py [--list]

Lists the builds of each system. Then builds the sdist of each distribution, and from that its wheel, isolated as pip
does it; installs all in an empty environment; and runs there what cibuildwheel is told to run (`before-test`,
`test-requires` and `test-command` in packages/picows-core/pyproject.toml). What it makes is left in build/wheels.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build/wheels"
DISTRIBUTIONS = ("picows-pure", "picows-core", "picows-websockets")
#: System and architecture of each runner of the workflow.
RUNNERS = (
    ("linux", "x86_64"),
    ("linux", "aarch64"),
    ("macos", "arm64"),
    ("macos", "x86_64"),
    ("windows", "AMD64"),
)


def identifiers(system: str, architecture: str) -> list[str]:
    """What cibuildwheel would build there."""
    command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", "--platform", system]
    done = subprocess.run(
        [*command, "--archs", architecture, "packages/picows-core"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def run(*command: object) -> None:
    """Show and run a command, away from our sources."""
    parts = [str(part) for part in command]
    print("+", shlex.join(parts), flush=True)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PICOWS_"))}
    subprocess.run(parts, cwd=OUT, env=variables, check=True)


def build() -> list[Path]:
    """Build sdists, and wheels from them. Returns the wheels."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    sdist = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", OUT]
    for name in DISTRIBUTIONS:
        subprocess.run(sdist, cwd=ROOT / "packages" / name, check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "-q", "--no-deps", "-w", OUT, *sorted(OUT.glob("*.tar.gz")))
    return sorted(OUT.glob("*.whl"))


def test(wheels: Sequence[Path]) -> None:
    """Install them in an empty environment, and test there."""
    with (ROOT / "packages/picows-core/pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)["tool"]["cibuildwheel"]
    venv.create(OUT / "venv", with_pip=True)
    python = OUT / ("venv/Scripts/python.exe" if os.name == "nt" else "venv/bin/python")
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wheels, *settings["test-requires"])
    run(python.with_name("picows"), "doctor")
    for command in settings["test-command"]:
        parts = shlex.split(command.replace("{project}", str(ROOT)))
        run(*(python if part == "python" else part for part in parts))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="wheels.py", description="A dry run of the release's wheels.")
    parser.add_argument("--list", action="store_true", help="only list what cibuildwheel would build")
    options = parser.parse_args(arguments)
    for system, architecture in RUNNERS:
        print(f"{system} {architecture}: {' '.join(identifiers(system, architecture))}", flush=True)
    if not options.list:
        test(build())


if __name__ == "__main__":
    main()
