"""The build of picows-core, on a small project: what is rebuilt when, and what it says where it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.wheels import ROOT, bare_variables

if sys.implementation.name != "cpython":
    pytest.skip("picows-core is for CPython", allow_module_level=True)

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("core-build")]
CORE = ROOT / "packages/picows-core"
PACKAGE = "src/picows/core"
#: A package of the same shape, quicker to compile.
SOURCES = {
    "_kernels.pxd": 'cdef extern from "kernels.h":\n    int first()\n    int second()\n',
    "_kernels.pyx": "def both():\n    return first(), second()\n",
    "csrc/kernels.h": "int first(void);\nint second(void);\n",
    "csrc/one.c": '#include "kernels.h"\nint first(void) { return 1; }\n',
    "csrc/x86/two.c": '#include "kernels.h"\nint second(void) { return 2; }\n',
}


class Project:
    """A working tree with this repository's build, of other sources."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "picows-core"
        self.package = self.root / PACKAGE
        self.package.mkdir(parents=True)
        for name in ("hatch_build.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy2(CORE / name, self.root)
        version = directory / "picows-pure/src/picows"
        version.mkdir(parents=True)
        shutil.copy2(ROOT / "packages/picows-pure/src/picows/_version.py", version)
        for name, text in SOURCES.items():
            path = self.package / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def build(self, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel:editable", "--hooks-only"]
        return subprocess.run(
            command,
            cwd=self.root,
            env={**bare_variables(), "PICOWS_BUILD": "debug", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def rebuilt(self, **variables: str) -> set[str]:
        """Build. Returns the names of the objects and modules that were made anew, without their suffixes."""
        before = self._times()
        done = self.build(**variables)
        assert done.returncode == 0, done.stdout
        return {path.name.partition(".")[0] for path, time in self._times().items() if before.get(path) != time}

    def _times(self) -> dict[Path, int]:
        made = [path for path in self.root.rglob("*") if path.suffix in (".o", ".obj", ".so", ".pyd", ".c")]
        return {path: path.stat().st_mtime_ns for path in made}

    def touch(self, name: str) -> None:
        os.utime(self.package / name)

    def modules(self) -> set[str]:
        return {path.name.partition(".")[0] for pattern in ("*.so", "*.pyd") for path in self.package.glob(pattern)}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One that is built; each test leaves it built."""
    project = Project(tmp_path_factory.mktemp("build"))
    assert "_kernels" in project.rebuilt()
    return project


def test_nothing_is_rebuilt_without_a_reason(project: Project) -> None:
    assert project.rebuilt() == set()


def test_a_changed_kernel_is_compiled_alone(project: Project) -> None:
    project.touch("csrc/x86/two.c")
    assert project.rebuilt() == {"two", "_kernels"}


def test_a_changed_header_is_for_all(project: Project) -> None:
    project.touch("csrc/kernels.h")
    assert project.rebuilt() == {"one", "two", "_kernels"}


@pytest.mark.parametrize("changed", ["_kernels.pyx", "_kernels.pxd"])
def test_a_changed_declaration_makes_its_modules_anew(project: Project, changed: str) -> None:
    project.touch(changed)
    assert project.rebuilt() == {"_kernels"}


def test_other_flags_rebuild(project: Project) -> None:
    flags = "-DPICOWS_TEST_OF_FLAGS"
    assert project.rebuilt(CFLAGS=flags) == {"one", "two", "_kernels"}
    assert project.rebuilt(CFLAGS=flags) == set()
    project.rebuilt()


def test_modules_come_and_go_with_their_source(project: Project) -> None:
    source = project.package / "another.pyx"
    source.write_text("def answer():\n    return 42\n")
    assert project.rebuilt() == {"another"}
    assert project.modules() == {"_kernels", "another"}
    source.unlink()
    project.rebuilt()
    assert project.modules() == {"_kernels"}


def test_what_cython_rejected_once_is_tried_again(project: Project) -> None:
    source = project.package / "broken.pyx"
    source.write_text("cdef int f(:\n")
    for _ in range(2):
        done = project.build()
        assert done.returncode != 0
        assert done.stdout.splitlines()[-1].endswith(f"cannot be built: Cython rejects {Path(PACKAGE, 'broken.pyx')}")
    source.unlink()
    project.rebuilt()


@pytest.mark.skipif(sys.platform == "win32", reason="there it is not CC that names the compiler")
def test_without_a_compiler_it_names_picows_pure(project: Project, tmp_path: Path) -> None:
    done = project.build(CC=str(tmp_path / "no-such-compiler"))
    assert done.returncode != 0
    assert "It needs a C compiler and the headers of Python. Install picows-pure instead" in done.stdout
    assert "Traceback" not in done.stdout
    project.rebuilt()


def test_a_mode_that_does_not_exist(project: Project) -> None:
    done = project.build(PICOWS_BUILD="fast")
    assert done.returncode != 0
    assert "PICOWS_BUILD is 'fast', it may be release, debug, trace, asan" in done.stdout


def test_another_interpreter_is_told_about_picows_pure(project: Project, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.implementation.name = 'pypy'\n")
    done = project.build(PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert "it is for CPython, this is pypy. Install picows-pure instead" in done.stdout
