"""What pip has installed works: the distributions in each combination from wheels, and all from sdists. Offline."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fixtures.wheels import ROOT, BorrowingEnvironment, Wheel, bare_variables, extract, run

import picows

if sys.implementation.name != "cpython":
    pytest.skip("picows-core is for CPython", allow_module_level=True)

pytestmark = pytest.mark.timeout(300)  # the first test builds the wheels, if need be
COMBINATIONS = [
    ("picows-pure",),
    ("picows-pure", "picows-websockets"),  # with picows-core alone: test_core.py
    ("picows-pure", "picows-core", "picows-websockets"),
]


@pytest.fixture
def environment(tmp_path: Path) -> BorrowingEnvironment:
    return BorrowingEnvironment(tmp_path / "venv")


def command(environment: BorrowingEnvironment, *arguments: str, **variables: str) -> str:
    """Run the script `picows`, as a user types it."""
    return run(next(environment.python.parent.glob("picows*")), *arguments, **variables)


def check(environment: BorrowingEnvironment, names: tuple[str, ...]) -> None:
    """Import what was installed, ask it who it is, and use it."""
    root = environment.python.parents[1]
    for name in names:
        module = {"picows-pure": "picows", "picows-core": "picows.core", "picows-websockets": "picows.websockets"}[name]
        program = f"import {module} as m, importlib.metadata as d; print(m.__file__, d.version({name!r}), sep='|')"
        file, version = run(environment.python, "-W", "error", "-c", program).strip().split("|")
        assert root in Path(file).parents
        assert version == picows.__version__
    has_core = "picows-core" in names
    report: dict[str, Any] = json.loads(command(environment, "doctor", "--json"))
    assert report["engine"]["implementation"] == ("core" if has_core else "pure")
    assert [report["distributions"][name] for name in names] == [picows.__version__] * len(names)
    assert report["distributions"]["owner of picows/__init__.py"] == "picows-pure"
    assert report["warnings"] == []
    program = "import picows; print(picows.__impl__, picows.__version__)"
    for wanted in ("pure", "core"):
        if wanted == "pure" or has_core:
            printed = run(environment.python, "-W", "error", "-c", program, PICOWS_IMPL=wanted).split()
            assert printed == [wanted, picows.__version__]
        else:
            done = subprocess.run(
                [environment.python, "-c", program],
                env={**bare_variables(), "PICOWS_IMPL": wanted},
                cwd=root,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 1
            assert done.stderr.splitlines()[-1].startswith("ImportError: PICOWS_IMPL=core")
    if "picows-websockets" in names:
        assert run(environment.python, "-m", "picows.websockets", "--version") == "websockets 17.4\n"


def echo(environment: BorrowingEnvironment) -> str:
    """Serve and connect, both by what is installed. Returns what the server has sent back."""
    script = next(environment.python.parent.glob("picows*"))
    with subprocess.Popen(
        [script, "serve", "--port", "0", "--quiet"], env=bare_variables(), stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split(" on ")[1].strip()
        try:
            return command(environment, "connect", url, "--send", "hello", "--count", "1")
        finally:
            server.kill()


@pytest.mark.parametrize("names", COMBINATIONS, ids=lambda names: " ".join(names))
def test_from_wheels(environment: BorrowingEnvironment, wheels: dict[str, Wheel], names: tuple[str, ...]) -> None:
    if sys.version_info < (3, 11) and "picows-websockets" in names:
        pytest.skip("picows-websockets needs Python 3.11, as websockets 17 does")
    environment.install(*(wheels[name].path for name in names))
    check(environment, names)
    assert echo(environment) == "hello\n"


def test_from_sdists(
    environment: BorrowingEnvironment, wheels: dict[str, Wheel], sdists: dict[str, Path], tmp_path: Path
) -> None:
    """Of picows-core what the compiler has made for its wheel is taken: test_core.py lets it run, on one module."""
    assert wheels["picows-core"].path.exists()
    core = extract(sdists["picows-core"], tmp_path / "core")
    shutil.copytree(ROOT / "packages/picows-core/build/release", core / "build/release", symlinks=True)
    environment.install(sdists["picows-pure"], core, sdists["picows-websockets"])
    check(environment, COMBINATIONS[-1])
    assert echo(environment) == "hello\n"
