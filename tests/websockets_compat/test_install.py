"""`install()` puts picows.websockets in the place of websockets, in every way in which programs reach that, and back.

Each test has a process of its own: what is under test is the state of the import system.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")

needs_library = pytest.mark.skipif(not importlib.util.find_spec("websockets"), reason="websockets is not installed")

#: Before `install()`: the library is not installed.
ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "websockets":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    def find_distributions(self, context=None):
        return ()
sys.meta_path[:] = [Absent(), *sys.meta_path]
"""
INSTALL = "import sys, picows.websockets as ours\nours.install()\n"


def run(*arguments: Any, code: int = 0, cwd: Path | None = None) -> str:
    """Run Python. Returns what it printed."""
    command = [sys.executable, "-W", "error", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd, timeout=50)
    assert done.returncode == code, done.stdout
    return done.stdout


MODULES = """
import websockets
assert websockets is ours
import websockets.asyncio.client, websockets.frames as frames
from websockets.exceptions import ConnectionClosed
from websockets import connect, Headers
import picows.websockets.asyncio.client, picows.websockets.frames
assert websockets.asyncio.client is picows.websockets.asyncio.client
assert frames is picows.websockets.frames
assert connect is picows.websockets.asyncio.client.connect
assert websockets.frames.__spec__.name == frames.__name__ == "picows.websockets.frames"
"""
FOUND = """
import importlib, importlib.util
assert importlib.util.find_spec("websockets").loader is not None
origins = [importlib.util.find_spec(name).origin for name in ("websockets.http11", "picows.websockets.http11")]
assert origins[0] == origins[1]
assert importlib.import_module(".http11", "websockets").__name__ == "picows.websockets.http11"
assert importlib.util.find_spec("websockets.nowhere") is None
"""
METADATA = """
from importlib import metadata
assert metadata.version("websockets") == metadata.version("Websockets") == ours.__version__
assert metadata.metadata("websockets")["Name"] == "websockets"
assert next(d.version for d in metadata.distributions() if d.metadata["Name"] == "websockets") == ours.__version__
assert metadata.version("multidict")
"""
PICKLES = """
import pickle
theirs = b"cwebsockets.exceptions\\nInvalidURI\\n(Vuri\\nVmsg\\ntR."
error = pickle.loads(theirs)
assert type(error) is ours.InvalidURI, type(error)
assert str(pickle.loads(pickle.dumps(error))) == str(error)
"""
MISSING = """
try:
    import websockets.nowhere
except ModuleNotFoundError as exc:
    assert exc.name == "websockets.nowhere"
else:
    raise AssertionError("imported")
"""
FROM_HERE_ON = """
import websockets
ours.install()
assert sys.meta_path.count(sys.meta_path[0]) == 1
import picows.websockets.install
assert callable(ours.install) and websockets is ours
ours.install()
"""


@pytest.mark.parametrize(
    "before", [pytest.param("", marks=needs_library, id="library"), pytest.param(ABSENT, id="none")]
)
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(MODULES, id="modules-have-one-identity"),
        pytest.param(FOUND, id="importlib"),
        pytest.param(METADATA, id="metadata"),
        pytest.param(PICKLES, id="pickles"),
        pytest.param(MISSING, id="what-is-missing-is-missing"),
        pytest.param(FROM_HERE_ON, id="twice"),
    ],
)
def test_installed(before: str, program: str) -> None:
    run("-c", before + INSTALL + program)


@needs_library
def test_what_was_imported_from_the_library_catches_ours() -> None:
    program = """
import websockets.asyncio.client
from websockets.exceptions import ConnectionClosed, WebSocketException
import picows.websockets as ours
ours.install()
import websockets
assert websockets.exceptions.ConnectionClosed is not ConnectionClosed
assert issubclass(ours.ConnectionClosedOK, ConnectionClosed) and issubclass(ours.InvalidURI, WebSocketException)
ours.uninstall()
assert not issubclass(ours.ConnectionClosedOK, ConnectionClosed)
"""
    run("-c", program)


@needs_library
def test_uninstall_restores_the_modules_of_the_library() -> None:
    program = """
import sys
import websockets.asyncio.client, websockets.frames
def theirs():
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "websockets"}
before, finders = theirs(), list(sys.meta_path)
import picows.websockets as ours
ours.install()
import websockets.http11, websockets.uri
assert not set(map(id, before.values())) & set(map(id, theirs().values()))
ours.uninstall()
assert theirs() == before and sys.meta_path == finders
import websockets
assert websockets is before["websockets"] and websockets.connect.__module__ == "websockets.asyncio.client"
ours.uninstall()
ours.install()
import websockets.uri
assert websockets.uri.__name__ == "picows.websockets.uri"
"""
    run("-c", program)


@pytest.mark.parametrize(
    "before", [pytest.param("", marks=needs_library, id="library"), pytest.param(ABSENT, id="none")]
)
def test_uninstall_leaves_nothing_where_nothing_was(before: str) -> None:
    program = """
import importlib.util, websockets.frames
ours.uninstall()
assert not [name for name in sys.modules if name.partition(".")[0] == "websockets"]
try:
    import websockets.frames
except ModuleNotFoundError:
    print("absent")
else:
    print(websockets.frames.__name__)
"""
    assert run("-c", before + INSTALL + program) == ("absent\n" if before else "websockets.frames\n")


@pytest.mark.parametrize("before", [pytest.param("", marks=needs_library), ABSENT], ids=["library", "no library"])
def test_legacy_is_ours_too(before: str) -> None:
    program = """
import warnings
warnings.simplefilter("ignore")
import websockets.legacy.server, websockets.auth
assert websockets.legacy.server.__name__ == "picows.websockets.legacy.server"
assert websockets.legacy.server is sys.modules["picows.websockets.legacy.server"]
assert websockets.auth.basic_auth_protocol_factory is websockets.basic_auth_protocol_factory
"""
    run("-c", before + INSTALL + program)


@needs_library
def test_who_has_imported_old_exceptions_before_catches_ours() -> None:
    program = """
import sys, warnings
warnings.simplefilter("ignore")
from websockets.exceptions import InvalidHandshake, InvalidStatusCode
warnings.simplefilter("error")
import picows.websockets as ours
ours.install()
warnings.simplefilter("ignore")
from websockets.exceptions import InvalidStatusCode as Today
assert Today is not InvalidStatusCode
exc = Today(403, {})
assert isinstance(exc, InvalidStatusCode) and isinstance(exc, InvalidHandshake)
assert str(exc) == str(InvalidStatusCode(403, {}))
ours.uninstall()
assert not isinstance(exc, InvalidStatusCode) and not isinstance(exc, InvalidHandshake)
"""
    run("-c", program)


PROGRAM = """
import sys
import websockets
import helper
print(__name__, websockets.__name__, sys.argv[1:], sys.argv[0].rpartition("/")[2], helper.VALUE)
sys.exit(7)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "helper.py").write_text("VALUE = 5\n")
    return tmp_path


@pytest.mark.parametrize("as_module", [False, True], ids=["script", "module"])
def test_a_program_runs_unchanged(directory: Path, tmp_path_factory: pytest.TempPathFactory, as_module: bool) -> None:
    what = ["-m", "program"] if as_module else [directory / "program.py"]
    cwd = directory if as_module else tmp_path_factory.mktemp("elsewhere")
    printed = run("-m", "picows.websockets.install", *what, "-m", "--version", "x y", code=7, cwd=cwd)
    assert printed == "__main__ picows.websockets ['-m', '--version', 'x y'] program.py 5\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows compares paths in another way")
def test_a_program_finds_what_python_gives_it(directory: Path) -> None:
    program = "import sys\nprint(sys.path, sys.argv, __name__, __file__, __spec__, sys.modules['__main__'])\n"
    (directory / "program.py").write_text(program)
    ours, theirs = (run(*how, "program.py", "a", cwd=directory) for how in ((), ("-m", "picows.websockets.install")))
    assert ours == theirs


def test_a_program_that_does_not_exist() -> None:
    assert "cannot read" in run("-m", "picows.websockets.install", "nowhere.py", code=1)


def test_their_command_is_ours() -> None:
    import picows.websockets

    printed = run("-m", "picows.websockets.install", "-m", "websockets", "--version")
    assert printed == f"websockets {picows.websockets.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code"), [([], 2), (["-x"], 2), (["-m"], 2), (["--help"], 0)], ids=["none", "option", "-m", "help"]
)
def test_usage(arguments: list[str], code: int) -> None:
    assert run("-m", "picows.websockets.install", *arguments, code=code).startswith("usage: ")
