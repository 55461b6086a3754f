"""picows-core: what is in its wheel and its sdist, and that what is installed is found. All of it works offline."""

from __future__ import annotations

import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
from fixtures.wheels import ROOT, Wheel, build_wheel_offline, make_environment, run

if sys.implementation.name != "cpython":
    pytest.skip("picows-core is for CPython", allow_module_level=True)

pytestmark = pytest.mark.timeout(300)  # the first test builds the wheel, if need be
PROJECT = ROOT / "packages/picows-core"
SOURCE = PROJECT / "src"
CORE = SOURCE / "picows/core"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def sources(*suffixes: str) -> set[str]:
    """The files of the package that are to be published, as the wheel names them."""
    files = {path for suffix in suffixes for path in (SOURCE / "picows").rglob(f"*{suffix}")}
    generated = set(CORE.glob("*.c"))
    return {path.relative_to(SOURCE).as_posix() for path in files - generated}


def test_the_wheel_has_a_module_for_each_pyx(wheels: dict[str, Wheel]) -> None:
    modules = {name for name in wheels["picows-core"].payload if name.endswith((".so", ".pyd"))}
    assert modules == {f"picows/core/{path.stem}{SUFFIX}" for path in CORE.glob("*.pyx")}
    assert f"picows/core/_kernels{SUFFIX}" in modules


def test_the_wheel_has_what_others_read_and_no_other_source(wheels: dict[str, Wheel]) -> None:
    others = {name for name in wheels["picows-core"].payload if not name.endswith(SUFFIX)}
    assert others == sources(".py", ".pxd", ".pyi", "py.typed")
    assert {"picows/core/py.typed", "picows/core/_kernels.pyi", "picows/core/_kernels.pxd"} <= others


def test_the_wheel_is_for_this_interpreter_alone(wheels: dict[str, Wheel]) -> None:
    tag = wheels["picows-core"].path.stem.split("-", 2)[2]
    version = "cp{}{}".format(*sys.version_info[:2])
    assert tag.startswith(f"{version}-{version}")
    (metadata,) = (text for name, text in wheels["picows-core"].files.items() if name.endswith("/WHEEL"))
    assert b"Root-Is-Purelib: false" in metadata


def test_the_sdist_has_every_source_and_nothing_that_was_built(sdists: dict[str, Path]) -> None:
    with tarfile.open(sdists["picows-core"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    packaged = {name.removeprefix("src/") for name in names if name.startswith("src/")}
    assert packaged == sources(".py", ".pxd", ".pyx", ".pyi", ".c", ".h", "py.typed")
    assert {"LICENSE", "README.md", "PKG-INFO", "hatch_build.py", "pyproject.toml"} <= names


def test_the_sdist_builds_the_same_wheel(wheels: dict[str, Wheel], sdists: dict[str, Path], tmp_path: Path) -> None:
    with tarfile.open(sdists["picows-core"]) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path)
    (source,) = tmp_path.iterdir()
    # One module, for the sake of time: that the sources of all are there is the test above
    for module in (source / "src/picows/core").glob("*.pyx"):
        if module.stem != "_kernels":
            module.unlink()
    wheel = build_wheel_offline(source, tmp_path / "wheel")
    assert wheel.path.name == wheels["picows-core"].path.name
    same = {f for f in wheels["picows-core"].payload if not f.endswith(SUFFIX)} | {f"picows/core/_kernels{SUFFIX}"}
    assert {f: wheel.files[f] for f in wheel.payload} == {f: wheels["picows-core"].files[f] for f in same}


class Environment:
    """An environment of its own, which borrows what third parties wrote from the one that the tests run in."""

    def __init__(self, directory: Path) -> None:
        self.python = make_environment(directory)
        site = run(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        # Of a directory named in a .pth the .pth files are not read: editable installs are not borrowed
        Path(site, "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")

    def pip(self, *arguments: object) -> str:
        return run(sys.executable, "-m", "pip", "-q", "--python", self.python, *arguments)

    def install(self, *what: object) -> None:
        self.pip("install", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed", *what)

    def evaluate(self, expression: str) -> str:
        return run(
            self.python, "-W", "error", "-c", f"import picows, picows.core._kernels; print({expression})"
        ).strip()


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "venv")


def test_an_editable_install_finds_the_modules_beside_their_sources(environment: Environment) -> None:
    environment.install("-e", ROOT / "packages/picows-pure", "-e", PROJECT)
    assert Path(environment.evaluate("picows.core._kernels.__file__")) == CORE / f"_kernels{SUFFIX}"


@pytest.mark.parametrize("way", ["wheels", "editable core", "editable pure"])
def test_an_installed_core_is_what_runs(environment: Environment, wheels: dict[str, Wheel], way: str) -> None:
    packages = {name: (wheels[name].path,) for name in ("picows-pure", "picows-core")}
    if way != "wheels":
        name = way.replace("editable ", "picows-")
        packages[name] = ("-e", ROOT / "packages" / name)
    environment.install(*(argument for arguments in packages.values() for argument in arguments))
    assert environment.evaluate("picows.__impl__") == "core"


def test_without_core_it_is_pure_again(environment: Environment, wheels: dict[str, Wheel]) -> None:
    environment.install(wheels["picows-pure"].path, wheels["picows-core"].path)
    environment.pip("uninstall", "-y", "picows-core")
    assert run(environment.python, "-W", "error", "-c", "import picows; print(picows.__impl__)").strip() == "pure"
