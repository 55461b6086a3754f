"""Compiles `users_module.pyx` the way a user does: Cython and a C compiler, and no path to anything of picows."""

from __future__ import annotations

import importlib.util
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


def compile_and_load(package: str, directory: Path, link: list[str]) -> Any:
    """The module that cimports from one of the packages."""
    name = "users_module_" + package.replace(".", "_")
    text = SOURCE.read_text("utf-8")
    assert text.count("from picows.picows cimport") == 1
    source = directory / f"{name}.pyx"
    source.write_text(text.replace("from picows.picows cimport", f"from {package} cimport"), "utf-8")
    run(sys.executable, "-m", "cython", source)
    library = source.with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
    run(*link, source.with_suffix(".c"), "-o", library)
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where a struct is not what the .pxd says, Cython warns, and warnings are errors
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def modules(core: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The module by the package that it cimports from."""
    pytest.importorskip("Cython", reason="needs Cython")
    link = linker()
    directory = tmp_path_factory.mktemp("cython_api")
    with ThreadPoolExecutor(2) as pool:
        made = {package: pool.submit(compile_and_load, package, directory, link) for package in PACKAGES}
        yield {package: future.result() for package, future in made.items()}


@pytest.fixture(params=PACKAGES)
def user(request: pytest.FixtureRequest, modules: dict[str, Any]) -> Any:
    """The user's module, nothing counted yet."""
    module = modules[request.param]
    module.take_calls()
    return module
