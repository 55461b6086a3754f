"""The Cython module of the guide compiles as a user would do it, and its program runs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from picows import _engine

PAGE = (Path(__file__).parents[2] / "docs/howto/cython.md").read_text("utf-8")


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(text)


def run(directory: Path, *command: object) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}"


def test_the_module_compiles_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("Cython", reason="Cython is not installed: pip install Cython")
    try:
        core = _engine.load("core")
    except ModuleNotFoundError as exc:
        pytest.skip(f"needs picows.core: {exc}")
    link = shlex.split(sysconfig.get_config_var("LDSHARED") or "")
    headers = sysconfig.get_path("include")
    if not link or shutil.which(link[0]) is None or not Path(headers, "Python.h").exists():
        pytest.skip("needs the C compiler and the headers of this Python")
    assert core.name == "core"
    monkeypatch.setenv("PYTHONPATH", ":".join(str(Path(path).absolute()) for path in sys.path if path))
    monkeypatch.setenv("PICOWS_IMPL", "core")
    (tmp_path / "ticks.pyx").write_text(block("cython"))
    (tmp_path / "program.py").write_text(block("python"))
    run(tmp_path, sys.executable, "-m", "cython", "-3", "ticks.pyx")
    flags = ["-fPIC", "-O0", "-w", f"-I{headers}"]
    run(tmp_path, *link, *flags, "ticks.c", "-o", f"ticks{sysconfig.get_config_var('EXT_SUFFIX')}")
    run(tmp_path, sys.executable, "-W", "error", "program.py")
