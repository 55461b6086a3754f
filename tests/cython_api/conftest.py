"""Compiles `users_module.pyx` the way a user does: Cython and a C compiler, and no path to anything of picows."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from picows import _engine

SOURCE = Path(__file__).with_name("users_module.pyx")
#: What users cimport from.
PACKAGES = ("picows.picows", "picows", "picows.core")


@pytest.fixture(scope="session")
def core() -> Any:
    """The compiled engine."""
    try:
        return _engine.load("core")
    except ModuleNotFoundError as exc:
        pytest.skip(f"needs picows.core: {exc}")


@pytest.fixture
def engine(core: Any) -> Any:
    """What `connect` makes connections of: here there is but one engine."""
    return core


def linker() -> list[str]:
    """The command that compiles and links a module in one go; skips where there is none."""
    configured = shlex.split(sysconfig.get_config_var("LDSHARED") or "")
    if not configured or shutil.which(configured[0]) is None:
        pytest.skip(f"needs the C compiler of this Python, {configured[:1] or 'which does not say what it is'}")
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").exists():
        pytest.skip("needs the headers of Python")
    position = shlex.split(sysconfig.get_config_var("CCSHARED") or "")
    return [*configured, *position, "-O0", "-g0", "-w", f"-I{include}"]


def run(*command: object) -> None:
    """Run in this directory: PYTHONPATH may be relative to it."""
    arguments = [str(part) for part in command]
    done = subprocess.run(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    # Cython's warnings are about the .pxd files that users see as well
    assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stdout}"
    assert done.stdout == ""


def compiled(package: str, directory: Path, link: list[str]) -> Path:
    """The module that cimports from one of the packages; made unless it is there."""
    text = SOURCE.read_text("utf-8")
    assert text.count("from picows.picows cimport") == 1
    source = directory / f"users_module_{package.replace('.', '_')}.pyx"
    library = source.with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
    if not library.exists():
        source.write_text(text.replace("from picows.picows cimport", f"from {package} cimport"), "utf-8")
        run(sys.executable, "-m", "cython", source)
        run(*link, source.with_suffix(".c"), "-o", library)
    return library


def load(library: Path) -> Any:
    """Import a module. Where a struct is not what its .pxd says, Cython warns, and warnings are errors."""
    spec = importlib.util.spec_from_file_location(library.name.partition(".")[0], library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def workshop(factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that the processes of pytest-xdist share, for one of them at a time."""
    import fcntl

    base = factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cython_api"
    directory.mkdir(exist_ok=True)
    with open(directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield directory


@pytest.fixture(scope="session")
def modules(core: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The module by the package that it cimports from."""
    pytest.importorskip("Cython", reason="needs Cython")
    link = linker()
    with workshop(tmp_path_factory) as directory, ThreadPoolExecutor(2) as pool:
        libraries = list(pool.map(lambda package: compiled(package, directory, link), PACKAGES))
    return {package: load(library) for package, library in zip(PACKAGES, libraries)}


@pytest.fixture(params=PACKAGES)
def user(request: pytest.FixtureRequest, modules: dict[str, Any]) -> Any:
    """The user's module, nothing counted yet."""
    module = modules[request.param]
    module.take_calls()
    return module
