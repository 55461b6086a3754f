"""Programs on other people's packages that import websockets run unchanged on picows.websockets.

Each of them, in `programs`, talks to itself over loopback and prints what it observes. It runs twice, with the
websockets library and after `picows.websockets.install()`, and has to print the same.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
pytest.importorskip("websockets", reason="websockets is not installed: nothing to compare with")

PROGRAMS = Path(__file__).parent / "programs"
#: After the program, into the other stream: which library it has used.
WRAPPER = """
import runpy, sys
program = sys.argv[1]
del sys.argv[0]
runpy.run_path(program, run_name="__main__")
print("used", sys.modules["websockets"].__name__, file=sys.stderr)
"""


def observed(program: str, *arguments: str, ours: bool) -> list[str]:
    """Run a program on one of the libraries. Returns its lines, sorted: tasks take turns as they like."""
    package = program.partition("_")[0]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: hatch run third-party:test")
    before = "import picows.websockets\npicows.websockets.install()" if ours else ""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", before + WRAPPER, PROGRAMS / f"{program}.py", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.splitlines()[-1] == ("used picows.websockets" if ours else "used websockets"), done.stderr
    return sorted(done.stdout.splitlines())


def compare(program: str, *arguments: str) -> None:
    theirs = observed(program, *arguments, ours=False)
    assert theirs
    assert observed(program, *arguments, ours=True) == theirs


@pytest.mark.timeout(100)
@pytest.mark.parametrize("protocol", ["websockets-sansio", "websockets"])
def test_uvicorn(protocol: str) -> None:
    compare("uvicorn_server", protocol)


@pytest.mark.timeout(100)
@pytest.mark.parametrize(
    "program",
    ["alpaca_stream", "gql_client", "pygls_pair", "sanic_server", "web3_client", "xrpl_client"],
    ids=lambda name: name,
)
def test_program(program: str) -> None:
    compare(program)
