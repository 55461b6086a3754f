"""picows-core: what is in its wheel and its sdist, and that what is installed is found. All of it works offline."""

from __future__ import annotations

import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
from fixtures.wheels import ROOT, BorrowingEnvironment, Wheel, build_wheel_offline, extract, run

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


def test_the_modules_hold_no_debug_information(wheels: dict[str, Wheel]) -> None:
    modules = {name: content for name, content in wheels["picows-core"].files.items() if name.endswith(SUFFIX)}
    assert modules
    assert not [name for name, content in modules.items() if b".debug_info" in content or b"__debug_info" in content]
    assert sum(map(len, modules.values())) < 6 * 1024 * 1024


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
    source = extract(sdists["picows-core"], tmp_path)
    # One module, for the sake of time: that the sources of all are there is the test above
    for module in (source / "src/picows/core").glob("*.pyx"):
        if module.stem != "_kernels":
            module.unlink()
    wheel = build_wheel_offline(source, tmp_path / "wheel")
    assert wheel.path.name == wheels["picows-core"].path.name
    same = {f for f in wheels["picows-core"].payload if not f.endswith(SUFFIX)} | {f"picows/core/_kernels{SUFFIX}"}
    assert {f: wheel.files[f] for f in wheel.payload} == {f: wheels["picows-core"].files[f] for f in same}


@pytest.fixture
def environment(tmp_path: Path) -> BorrowingEnvironment:
    return BorrowingEnvironment(tmp_path / "venv")


def test_an_editable_install_finds_the_modules_beside_their_sources(environment: BorrowingEnvironment) -> None:
    environment.install("-e", ROOT / "packages/picows-pure", "-e", PROJECT)
    assert Path(environment.evaluate("picows.core._kernels.__file__")) == CORE / f"_kernels{SUFFIX}"


@pytest.mark.parametrize("way", ["wheels", "editable core", "editable pure"])
def test_an_installed_core_is_what_runs(environment: BorrowingEnvironment, wheels: dict[str, Wheel], way: str) -> None:
    packages = {name: (wheels[name].path,) for name in ("picows-pure", "picows-core")}
    if way != "wheels":
        name = way.replace("editable ", "picows-")
        packages[name] = ("-e", ROOT / "packages" / name)
    environment.install(*(argument for arguments in packages.values() for argument in arguments))
    assert environment.evaluate("picows.__impl__") == "core"


def test_without_core_it_is_pure_again(environment: BorrowingEnvironment, wheels: dict[str, Wheel]) -> None:
    environment.install(wheels["picows-pure"].path, wheels["picows-core"].path)
    environment.pip("uninstall", "-y", "picows-core")
    assert run(environment.python, "-W", "error", "-c", "import picows; print(picows.__impl__)").strip() == "pure"
