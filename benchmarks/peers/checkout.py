"""Builds our packages from the checkout and installs them, as users would have them: wheels, nothing editable.

The sources are copied first, and built in the copy: a benchmark must not touch the objects of a developer's editable
build, and what was built the last time is still there. Nothing is done if no source has changed.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Callable, Dict, List

import tomllib

PACKAGES = ("picows-pure", "picows-core", "picows-websockets")
LEFT_OUT = ("build", "dist", "__pycache__", ".*", "*.egg-info", "*.so", "*.pyd", "*.pyc")
SOURCES = (".py", ".pyi", ".pyx", ".pxd", ".c", ".h", ".toml", ".md")

Runner = Callable[[List[str]], str]
"""Runs a command, raises RuntimeError with its output if it fails."""


def install(python: str, packages: Path, copy: Path, run: Runner) -> None:
    """Brings what is installed in an environment up to date.

    Args: python: its interpreter. packages: the folder of that name in the checkout. copy: where to build.
    """
    names = [name for name in PACKAGES if (packages / name / "pyproject.toml").exists()]
    files = {path.relative_to(packages): path for name in names for path in _files(packages / name)}
    stamp, wanted = Path(python).parent / "installed.stamp", _fingerprint(files)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"building and installing {', '.join(names)} from the checkout", file=sys.stderr, flush=True)
    stamp.unlink(missing_ok=True)
    _mirror(files, copy)
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    requires = [tomllib.loads((packages / name / "pyproject.toml").read_text()) for name in names]
    run([*pip, *sorted({need for table in requires for need in table["build-system"]["requires"]})])
    options = ["--no-build-isolation", "--no-deps", "--no-cache-dir", "--force-reinstall"]
    run([*pip, *options, *(str(copy / name) for name in names)])
    stamp.write_text(wanted)


def _files(package: Path) -> List[Path]:
    found = []
    for path in package.rglob("*"):
        parts = path.relative_to(package).parts
        if path.is_file() and not any(Path(part).match(pattern) for part in parts for pattern in LEFT_OUT):
            found.append(path)
    return found


def _fingerprint(files: Dict[Path, Path]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\n".encode() + files[name].read_bytes())
    return digest.hexdigest()


def _mirror(files: Dict[Path, Path], copy: Path) -> None:
    """Copies what changed and removes sources that are gone; what was built there stays."""
    for name, path in files.items():
        target = copy / name
        if not target.exists() or target.read_bytes() != path.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)  # not its time: a build takes what is newer than its products
    for old in list(copy.rglob("*")):
        name = old.relative_to(copy)
        if "build" not in name.parts and old.suffix in SOURCES and name not in files:
            old.unlink()
