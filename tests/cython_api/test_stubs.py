"""The stubs of the compiled modules: they are what is there, and type checkers can work with them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULES = ["buffers", "closing", "frame", "listener", "protocol", "transport"]

pytestmark = pytest.mark.timeout(120)


def run_mypy(*arguments: object) -> None:
    """Run one of mypy's tools in the repository, with its settings."""
    pytest.importorskip("mypy", reason="needs mypy")
    # mypy has a path of its own, and both may be relative to where the tests were started
    path = os.pathsep.join(map(os.path.abspath, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))))
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "MYPYPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_stubs_say_what_is_there(core: Any) -> None:
    names = [f"picows.core.{name}" for name in MODULES]
    allowed = HERE / "stubtest_allowlist.txt"
    run_mypy("mypy.stubtest", *names, "--concise", "--allowlist", allowed, "--ignore-unused-allowlist")


def test_stubs_can_be_worked_with(core: Any) -> None:
    run_mypy("mypy", "--strict", HERE / "typed_use.py")
