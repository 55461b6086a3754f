"""What the three wheels contain, and that picows-pure's works alone.

Two distributions that ship the same file overwrite each other, and uninstalling one breaks the other: so no
file is in two.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from fixtures.wheels import DISTRIBUTIONS, ROOT, Wheel, build_wheel_offline, make_environment, newest_python, run

import picows

pytestmark = pytest.mark.timeout(300)  # the first test builds the wheels, if need be
#: Where each distribution may put files.
OWNED = {
    "picows-pure": r"picows/(?!core/|websockets/)(.*\.py|(.*/)?py\.typed)",
    "picows-core": r"picows/core/.*|picows/(__init__|picows)\.pxd",
    "picows-websockets": r"picows/websockets/.*",
}
#: What the suite needs besides picows; pytest-xdist and the peers are not among it.
TEST_TOOLS = ["hypothesis", "pytest>=8", "pytest-timeout", "trustme"]

SOME_TESTS = {
    "unit": ["deflate", "handshake", "http", "url"],
    "engine": ["callbacks", "closing", "frame_object", "messages", "wire"],
    "asyncio_api": ["echo", "opening", "sockets"],
}


def alone(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test of the environment `bare_python`: these run one after the other, in one worker."""
    for mark in (pytest.mark.wheel, pytest.mark.timeout(400), pytest.mark.xdist_group("wheel")):
        test = mark(test)
    return test


@pytest.mark.parametrize(("one", "other"), list(combinations(DISTRIBUTIONS, 2)))
def test_no_file_is_in_two_wheels(wheels: dict[str, Wheel], one: str, other: str) -> None:
    assert not wheels[one].files.keys() & wheels[other].files.keys()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_each_wheel_stays_in_its_place(wheels: dict[str, Wheel], name: str) -> None:
    strays = {file for file in wheels[name].payload if not re.fullmatch(OWNED[name], file)}
    assert not strays


def test_pure_owns_the_package(wheels: dict[str, Wheel]) -> None:
    assert [name for name in DISTRIBUTIONS if "picows/__init__.py" in wheels[name].files] == ["picows-pure"]
    assert {"picows/py.typed", "picows/_version.py", "picows/pure/__init__.py"} <= wheels["picows-pure"].payload


def test_pure_ships_every_source_file(wheels: dict[str, Wheel]) -> None:
    source = ROOT / "packages/picows-pure/src"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    assert wheels["picows-pure"].payload == files | {"picows/py.typed"}


def test_websockets_ships_every_source_file(wheels: dict[str, Wheel]) -> None:
    source = ROOT / "packages/picows-websockets/src"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    assert wheels["picows-websockets"].payload == files | {"picows/websockets/py.typed"}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_each_wheel_is_typed(wheels: dict[str, Wheel], name: str) -> None:
    """PEP 561: each distribution marks its own package, and says so where packages are looked for."""
    package = {"picows-pure": "picows", "picows-core": "picows/core", "picows-websockets": "picows/websockets"}[name]
    assert wheels[name].files[f"{package}/py.typed"] == b""
    assert "Typing :: Typed" in wheels[name].metadata.get_all("Classifier", [])


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_licence_and_description_are_in_every_wheel(wheels: dict[str, Wheel], name: str) -> None:
    wheel = wheels[name]
    licences = [content for file, content in wheel.files.items() if file.endswith("/licenses/LICENSE")]
    assert licences == [(ROOT / "LICENSE").read_bytes()]
    assert wheel.metadata["License-Expression"] == "MIT"
    assert f"# {name}" in wheel.metadata.get_payload()


def test_one_version_and_exact_pins(wheels: dict[str, Wheel]) -> None:
    assert {wheel.metadata["Version"] for wheel in wheels.values()} == {picows.__version__}
    pin = f"picows-pure=={picows.__version__}"
    assert sorted(wheels["picows-core"].requirements) == ["aiofastnet", pin]
    assert sorted(wheels["picows-websockets"].requirements) == [
        f"picows-core=={picows.__version__}; extra == 'core'",
        pin,
        "trio>=0.27; extra == 'trio'",
        "zlib-ng; extra == 'fast-zlib'",
    ]
    assert sorted(wheels["picows-pure"].requirements) == [
        "async-timeout; python_version < '3.11'",
        "multidict",
        "numpy; extra == 'speed'",
        "prompt-toolkit>=3; extra == 'cli'",
        "python-socks[asyncio]",
        "rich>=13; extra == 'cli'",
    ]


@pytest.mark.parametrize(
    ("name", "python"), [("picows-pure", ">=3.9"), ("picows-core", ">=3.9"), ("picows-websockets", ">=3.11")]
)
def test_python_versions(wheels: dict[str, Wheel], name: str, python: str) -> None:
    assert wheels[name].metadata["Requires-Python"] == python


@pytest.mark.parametrize("name", ["picows-pure", "picows-websockets"])  # picows-core: test_core.py
def test_the_sdist_builds_the_same_wheel(
    wheels: dict[str, Wheel], sdists: dict[str, Path], name: str, tmp_path: Path
) -> None:
    assert build_wheel_offline(sdists[name], tmp_path).files == wheels[name].files


@pytest.fixture(scope="session")
def bare_python(wheels: dict[str, Wheel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with picows-pure's wheel, what it requires, and the tools of the suite.

    It is the newest Python's, on which the gate tries the pure engine nowhere else (.ci/matrix.py).
    """
    python = make_environment(tmp_path_factory.mktemp("bare") / "venv", newest_python())
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-qq", "--disable-pip-version-check"]
    run(*pip, wheels["picows-pure"].path, *TEST_TOOLS)
    return python


@alone
def test_the_bare_environment_runs_the_wheel(bare_python: Path) -> None:
    implementation, file = run(bare_python, "-c", "import picows; print(picows.__impl__, picows.__file__)").split()
    assert implementation == "pure"
    assert bare_python.parents[1] in Path(file).parents


@alone
@pytest.mark.parametrize(
    "tests",
    [[f"{place}/test_{name}.py" for name in names] for place, names in SOME_TESTS.items()],
    ids=list(SOME_TESTS),
)
def test_the_wheel_alone_passes(bare_python: Path, tests: list[str]) -> None:
    """All of them on the wheel's Python is `./dev test-all`'s: here some of what takes long is enough."""
    last_line = run(bare_python, "-m", "pytest", "-q", *[f"tests/{name}" for name in tests]).splitlines()[-1]
    assert re.search(r"\b[1-9]\d* passed", last_line)


@alone
def test_the_demo_runs_on_the_wheel_alone(bare_python: Path) -> None:
    printed = run(bare_python, "-W", "error", "examples/demo.py", "--seconds", "1")
    assert "implementation pure" in printed
    assert "round trips in" in printed
