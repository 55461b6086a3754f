"""Where the Autobahn suite runs: a virtual environment of Python 2.7, made once and kept in `build/autobahn`.

The suite needs CPython 2.7, which few systems still have. Where there is none nothing can be run, and that is said and
is no failure.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HOME = Path(os.environ.get("PICOWS_AUTOBAHN_HOME") or ROOT / "build/autobahn")
SUITE = HERE / "suite.py"
_REQUIREMENTS = HERE / "requirements.txt"
#: The last that makes environments of Python 2.7, with what it must not be newer than.
_VIRTUALENV = ["virtualenv==20.15.1", "filelock<3.13", "platformdirs<3", "distlib<0.4"]
#: Needed to build the others, which are old enough not to say so.
_BUILD_TOOLS = ["setuptools==44.0.0", "wheel==0.36.2", "incremental==16.10.1", "Cython==0.29.37"]


class Unavailable(Exception):
    """There is no Python 2.7, or what it needs cannot be installed."""


def python() -> Path:
    """The environment's interpreter; the environment is made if it is not there as it should be.

    Raises:
        Unavailable: with the reason.
    """
    place = HOME / "python2.7"
    mark = place / f"complete-{hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()[:16]}"
    if not mark.exists():
        old = _find_python()
        print(f"autobahn: setting up the suite in {HOME} (a minute)", flush=True)
        shutil.rmtree(place, ignore_errors=True)
        _make(place, old)
        mark.touch()
    return place / "bin/python"


def _find_python() -> str:
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    question = "import platform, sys; sys.exit(platform.python_implementation() + sys.version[:3] != 'CPython2.7')"
    for candidate in (*sorted(glob.glob(f"{pyenv}/versions/2.7.*/bin/python")), "python2.7", "python2"):
        try:
            done = subprocess.run([candidate, "-c", question], stdin=subprocess.DEVNULL, capture_output=True)
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    raise Unavailable("there is no CPython 2.7 here, which the suite needs: pyenv install 2.7.18")


def _make(place: Path, old: str) -> None:
    tools = HOME / "tools"
    shutil.rmtree(tools, ignore_errors=True)
    _run(sys.executable, "-m", "venv", tools)
    _run(tools / "bin/python", "-m", "pip", "install", *_VIRTUALENV)
    bundled = [word for name in ("pip", "setuptools", "wheel") for word in (f"--{name}", "bundle")]
    _run(tools / "bin/python", "-m", "virtualenv", "--no-download", *bundled, "-p", old, place)
    install = place / "bin/python", "-m", "pip", "install"
    _run(*install, *_BUILD_TOOLS)
    _run(*install, "--no-deps", "--no-build-isolation", "-r", _REQUIREMENTS)


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    variables = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_PYTHON_VERSION_WARNING": "1"}
    done = subprocess.run(
        words, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise Unavailable(f"`{' '.join(words)}` failed:\n{done.stdout[-2000:]}")


def case_numbers(interpreter: Path) -> list[str]:
    """All cases of the suite, in its order."""
    done = subprocess.run([interpreter, SUITE, "cases"], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.split()


if __name__ == "__main__":  # ahead of run.py, while something else is tested
    try:
        python()
    except Unavailable as exc:
        print(exc)
