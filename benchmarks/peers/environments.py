"""The environments of the contenders: virtual environments under build/peers, made on first use, versions pinned.

All but that of Node are made from one Python, so that a ratio never compares two interpreters. `ours` holds only what
our packages depend on: picows-pure and picows-websockets run from the source tree through PYTHONPATH. `core` has our
packages built and installed, anew where a source has changed. Contenders with a program of their own have none.
"""

from __future__ import annotations

import ctypes.util
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import checkout
import native
from contenders import Contender

ROOT = native.ROOT
BASE = ROOT / "build" / "peers"
HERE = Path(__file__).resolve().parent
PACKAGES = ROOT / "packages"
PURE_SRC = PACKAGES / "picows-pure/src"
CORE_SRC = PACKAGES / "picows-core/src"
DROPIN_SRC = PACKAGES / "picows-websockets/src"

UVLOOP = "uvloop==0.23.0"
AIOFASTNET = "aiofastnet==1.2.0"
SHARED = ("multidict==7.2.1", "python-socks[asyncio]==3.2.1")
OURS = (*SHARED, AIOFASTNET, "numpy==2.4.6", UVLOOP)
CYTHON = ("Cython==3.3.1", "setuptools==80.9.0")

REQUIREMENTS: Dict[str, Tuple[str, ...]] = {
    "websockets": ("websockets==17.4", UVLOOP),
    "picows": ("picows==2.3.1", *SHARED, AIOFASTNET, UVLOOP),
    "aiohttp": ("aiohttp==3.14.5", "multidict==7.2.1", UVLOOP),
    "ours": OURS,
    "core": OURS,
    "uws": ("socketify==0.0.31",),
    "chart": ("matplotlib==3.11.2",),
}

NODE: Dict[str, Tuple[str, ...]] = {"ws": ("ws@8.23.0", "bufferutil@4.1.0")}
"""The environments that are folders of npm, and what is in them."""

CIMPORT_FROM = {"core": "picows.core", "picows": "picows.picows"}
"""What a listener in Cython cimports its base class from, by environment."""


class Environments:
    """Interpreters by environment name, and the commands that start processes under test.

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
        self._listeners: Dict[str, Path] = {}

    def python_for(self, name: str) -> str:
        """Returns: the interpreter of an environment, which is made if it is missing or outdated."""
        if name not in self._ready:
            self._ready[name] = self._given.get(name) or self._make(name)
        return self._ready[name]

    def prepare(self, contender: Contender) -> None:
        """Makes and compiles whatever a contender needs, so that nothing of it happens between measurements."""
        self.command_for(contender)
        self.environ_for(contender)

    def command_for(self, contender: Contender) -> List[str]:
        """Returns: the command of a process under test, without the words that say what to measure."""
        if contender.program:
            return [str(native.build(contender.program))]
        script = HERE / "reference" / contender.script
        if contender.environment in NODE:
            _node_packages(contender.environment)
            return ["node", "--expose-gc", str(script)]
        if contender.script:
            return [self.python_for(contender.environment), str(script)]
        return [self.python_for(contender.environment), str(HERE / "under_test.py")]

    def environ_for(self, contender: Contender) -> Dict[str, str]:
        """Returns: the environment variables of a process under test."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("PICOWS_", "PYTHON"))}
        environ.update(contender.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONHASHSEED="0")
        if contender.environment in NODE:
            environ["NODE_PATH"] = str(BASE / contender.environment / "node_modules")
        paths: List[Path] = []
        if contender.environment == "ours" and "ours" not in self._given:
            paths += PURE_SRC, DROPIN_SRC
        if contender.driver == "cython_like":
            paths.append(self._listener_for(contender.environment))
        if paths:
            environ["PYTHONPATH"] = os.pathsep.join(map(str, paths))
        return environ

    def missing(self, contender: Contender) -> Optional[str]:
        """Returns: why a contender cannot run here or not yet, None if it can."""
        if contender.program:
            return _missing_program(contender)
        if contender.script:
            return _missing_for_script(contender)
        if not contender.ours or contender.environment in self._given:
            return None
        needed = [PURE_SRC / "picows/__init__.py"]
        if contender.environment == "core":
            needed.append(CORE_SRC / "picows/core/__init__.py")
        if contender.driver == "cython_like":
            needed.append(CORE_SRC / "picows/core/__init__.pxd")
        if contender.driver == "websockets_like":
            needed.append(DROPIN_SRC / "picows/websockets/__init__.py")
        absent = [str(path.relative_to(ROOT)) for path in needed if not path.exists()]
        return f"{', '.join(absent)} is not there" if absent else None

    def _make(self, name: str) -> str:
        python = _virtual_environment(name, self._python, REQUIREMENTS[name])
        if name == "core":
            checkout.install(python, PACKAGES, BASE / "checkout", run)
        return python

    def _listener_for(self, name: str) -> Path:
        """Returns: the folder with the listener in Cython for an environment, compiled against its .pxd files."""
        if name not in self._listeners:
            self._listeners[name] = _compile_listener(self.python_for(name), name)
        return self._listeners[name]


def _missing_program(contender: Contender) -> Optional[str]:
    try:
        native.build(contender.program)
        if contender.program == "bench_kernels" and contender.module not in native.sets_that_run():
            return "this processor does not run it"
    except native.Unavailable as error:
        return str(error)
    return None


def _missing_for_script(contender: Contender) -> Optional[str]:
    if contender.environment in NODE:
        absent = [name for name in ("node", "npm", "taskset") if shutil.which(name) is None]
        return f"no {', no '.join(absent)} on the PATH" if absent else None
    if ctypes.util.find_library("uv") is None:
        return "no libuv, which socketify loads (a package like libuv1 has it)"
    return None


def _node_packages(name: str) -> None:
    """Makes a folder with packages of npm, or makes it anew if others are wanted. Scripts of packages are not run."""
    home = BASE / name
    stamp, wanted = home / "requirements.txt", "\n".join((*NODE[name], ""))
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"making {home.relative_to(ROOT)}: {', '.join(NODE[name])}", file=sys.stderr, flush=True)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    options = ["--prefix", str(home), "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--silent"]
    run(["npm", "install", *options, *NODE[name]])
    stamp.write_text(wanted)


def _virtual_environment(name: str, maker: str, requirements: Sequence[str]) -> str:
    """Makes an environment, or makes it anew if it is outdated. Returns: its interpreter."""
    home = BASE / name
    python, stamp = home / "bin" / "python", home / "requirements.txt"
    wanted = "\n".join((f"# {maker} {_version_of(maker)}", *requirements, ""))
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making {home.relative_to(ROOT)}: {', '.join(requirements)}", file=sys.stderr, flush=True)
        shutil.rmtree(home, ignore_errors=True)
        run([maker, "-m", "venv", str(home)])
        run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements])
        stamp.write_text(wanted)
    return str(python)


def _compile_listener(python: str, name: str) -> Path:
    asked = "import json, picows; print(json.dumps(list(picows.__path__)))"
    folders = [Path(path) for path in json.loads(run([python, "-c", asked]))]
    source = HERE / "drivers/listener"
    inputs = [*source.glob("*.py*"), *(path for folder in folders for path in sorted(folder.rglob("*.pxd")))]
    wanted = hashlib.sha256(f"{CYTHON} {_version_of(python)}".encode() + b"".join(map(Path.read_bytes, inputs)))
    home = BASE / "listeners" / name
    stamp = home / "stamp"
    if not stamp.exists() or stamp.read_text() != wanted.hexdigest():
        print(f"compiling the listener in Cython for {name}", file=sys.stderr, flush=True)
        shutil.rmtree(home, ignore_errors=True)
        cython = _virtual_environment(f"cython-{_version_of(python)}", python, CYTHON)
        include = [str(folder.parent) for folder in folders]
        run([cython, str(source / "build.py"), CIMPORT_FROM[name], str(home), *include])
        stamp.write_text(wanted.hexdigest())
    return home


def _version_of(python: str) -> str:
    return run([python, "-c", "import platform; print(platform.python_version())"]).strip()


def run(command: List[str]) -> str:
    """Returns: what a command printed. Raises: RuntimeError with all of its output if it failed."""
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
    run(["openssl", *kind.split(), "-addext", names, "-keyout", str(key), "-out", str(cert)])
    return cert, key
