"""The environments of the contenders: virtual environments under build/peers, made on first use, versions pinned.

All are made from one Python, so that a ratio never compares two interpreters. `ours` holds only what our packages
depend on: picows-pure and picows-websockets run from the source tree through PYTHONPATH. `core` has our packages built
and installed anew at the start of each run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Tuple

from contenders import Contender

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "build" / "peers"
PURE_SRC = ROOT / "packages/picows-pure/src"
CORE_SRC = ROOT / "packages/picows-core/src"
DROPIN_SRC = ROOT / "packages/picows-websockets/src"

UVLOOP = "uvloop==0.23.0"
AIOFASTNET = "aiofastnet==1.2.0"
SHARED = ("multidict==7.2.1", "python-socks[asyncio]==3.2.1")
OURS = (*SHARED, AIOFASTNET, "numpy==2.4.6", UVLOOP)

REQUIREMENTS: Dict[str, Tuple[str, ...]] = {
    "websockets": ("websockets==17.4", UVLOOP),
    "picows": ("picows==2.3.1", *SHARED, AIOFASTNET, UVLOOP),
    "aiohttp": ("aiohttp==3.14.5", "multidict==7.2.1", UVLOOP),
    "ours": OURS,
    "core": OURS,
    "chart": ("matplotlib==3.11.2",),
}


class Environments:
    """Interpreters by environment name.

    Args: python: interpreter that makes the environments. given: interpreters to use as they are, with whatever is
    installed in them, by environment name.
    """

    def __init__(self, python: str, given: Mapping[str, str]) -> None:
        unknown = set(given) - set(REQUIREMENTS)
        if unknown:
            raise ValueError(f"--use names {', '.join(sorted(unknown))}; there are {', '.join(REQUIREMENTS)}")
        self._python = python
        self._given = dict(given)
        self._ready: Dict[str, str] = {}

    def python_for(self, name: str) -> str:
        """Returns: the interpreter of an environment, which is made if it is missing or outdated."""
        if name not in self._ready:
            self._ready[name] = self._given.get(name) or self._make(name)
        return self._ready[name]

    def environ_for(self, contender: Contender) -> Dict[str, str]:
        """Returns: the environment variables of a process under test."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("PICOWS_", "PYTHON"))}
        environ.update(contender.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONHASHSEED="0")
        if contender.environment == "ours" and "ours" not in self._given:
            environ["PYTHONPATH"] = os.pathsep.join(map(str, (PURE_SRC, DROPIN_SRC)))
        return environ

    def missing(self, contender: Contender) -> Optional[str]:
        """Returns: why a contender of ours cannot run yet, None if it can."""
        if not contender.ours or contender.environment in self._given:
            return None
        needed = [PURE_SRC / "picows/__init__.py"]
        if contender.environment == "core":
            needed.append(CORE_SRC / "picows/core/__init__.py")
        if contender.driver == "websockets_like":
            needed.append(DROPIN_SRC / "picows/websockets/__init__.py")
        absent = [str(path.relative_to(ROOT)) for path in needed if not path.exists()]
        return f"{', '.join(absent)} is not there" if absent else None

    def _make(self, name: str) -> str:
        home = BASE / name
        python, stamp = home / "bin" / "python", home / "requirements.txt"
        wanted = "\n".join((f"# {self._python} {_version_of(self._python)}", *REQUIREMENTS[name], ""))
        if not stamp.exists() or stamp.read_text() != wanted:
            print(f"making {home.relative_to(ROOT)}: {', '.join(REQUIREMENTS[name])}", file=sys.stderr, flush=True)
            shutil.rmtree(home, ignore_errors=True)
            _run([self._python, "-m", "venv", str(home)])
            _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *REQUIREMENTS[name]])
            stamp.write_text(wanted)
        if name == "core":
            self._install_ours(str(python))
        return str(python)

    def _install_ours(self, python: str) -> None:
        print("building and installing our packages from the source tree", file=sys.stderr, flush=True)
        sources = [source.parent for source in (PURE_SRC, CORE_SRC, DROPIN_SRC)]
        packages = [str(source) for source in sources if (source / "pyproject.toml").exists()]
        options = ["-q", "--disable-pip-version-check", "--no-deps", "--force-reinstall"]
        _run([python, "-m", "pip", "install", *options, *packages])


def _version_of(python: str) -> str:
    return _run([python, "-c", "import platform; print(platform.python_version())"]).strip()


def _run(command: List[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def certificate() -> Tuple[Path, Path]:
    """Makes a self-signed P-256 certificate for 127.0.0.1 with the openssl command. Returns: certificate and key."""
    BASE.mkdir(parents=True, exist_ok=True)
    cert, key = BASE / "cert.pem", BASE / "key.pem"
    kind = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    _run(["openssl", *kind.split(), "-addext", names, "-keyout", str(key), "-out", str(cert)])
    return cert, key
