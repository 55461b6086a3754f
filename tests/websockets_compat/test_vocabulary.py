"""What test_names.py does not compare: the top level, order of bases, numbers, types, old names, the environment."""

from __future__ import annotations

import enum
import importlib
import json
import os
import subprocess
import sys
import warnings
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
theirs = pytest.importorskip("websockets", reason="websockets is not installed: nothing to compare with")
if theirs.__version__ != "17.4":
    pytest.skip(f"websockets 17.4 is emulated, {theirs.__version__} is installed", allow_module_level=True)

from fixtures.names import parameters  # noqa: E402
from fixtures.vocabulary import LIBRARIES, MODULES  # noqa: E402

import picows.websockets as ours  # noqa: E402

#: Class of ours that is between others in the order of bases.
OWN_BASES = {"_Root": "without it Python refuses to change the bases of WebSocketException (derive_from)"}


def both(module: str) -> tuple[Any, Any]:
    """A module of each library."""
    their, our = (importlib.import_module(f"{library}.{module}") for library in LIBRARIES)
    return their, our


EXCEPTIONS = both("exceptions")[0].__all__


def test_the_top_level_has_the_same_names() -> None:
    assert ours.__all__ == theirs.__all__
    assert ours.__version__ == theirs.__version__


def test_dir_knows_the_top_level() -> None:
    assert set(theirs.__all__) - set(dir(ours)) == set()


@pytest.mark.parametrize("module", MODULES)
def test_the_top_level_leads_to_the_modules(module: str) -> None:
    loaded = both(module)[1]
    for name in set(ours.__all__) & set(getattr(loaded, "__all__", ())):
        assert getattr(ours, name) is getattr(loaded, name), name


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_exceptions_have_the_same_bases(name: str) -> None:
    their, our = (getattr(loaded, name) for loaded in both("exceptions"))
    assert [c.__name__ for c in our.__mro__ if c.__name__ not in OWN_BASES] == [c.__name__ for c in their.__mro__]


@pytest.mark.parametrize("name", ["Opcode", "CloseCode"])
def test_enumerations_have_the_same_members(name: str) -> None:
    their, our = (getattr(loaded, name) for loaded in both("frames"))
    assert issubclass(our, enum.IntEnum)
    assert {member.name: member.value for member in our} == {member.name: member.value for member in their}


@pytest.mark.parametrize(
    "name",
    [
        "BINARY",
        "CLOSE",
        "CLOSE_CODE_EXPLANATIONS",
        "CONT",
        "CTRL_OPCODES",
        "DATA_OPCODES",
        "EXTERNAL_CLOSE_CODES",
        "OK_CLOSE_CODES",
        "PING",
        "PONG",
        "TEXT",
    ],
)
def test_constants_of_frames_are_equal(name: str) -> None:
    their, our = both("frames")
    assert getattr(our, name) == getattr(their, name)
    assert type(getattr(our, name)).__name__ == type(getattr(their, name)).__name__


@pytest.mark.parametrize("name", [name for name in both("typing")[0].__all__ if name != "LoggerLike"])
def test_types_mean_the_same(name: str) -> None:
    their, our = (getattr(loaded, name) for loaded in both("typing"))
    assert repr(our).replace("picows.", "").replace("collections.abc.", "typing.") == repr(their)


def test_the_logger_type_is_equal() -> None:
    their, our = both("typing")
    assert our.LoggerLike == their.LoggerLike


@pytest.mark.parametrize("library", ["exceptions", ""])
def test_deprecated_names_warn_and_lead_somewhere(library: str) -> None:
    their, our = both("exceptions") if library else (theirs, ours)
    for package in ("websockets.legacy", "picows.websockets.legacy"):  # which warn themselves, when they are imported
        with warnings.catch_warnings(action="ignore"):
            importlib.import_module(package)
    deprecated = set(dir(their)) - set(vars(their)) - set(their.__all__)
    assert deprecated <= set(dir(our))
    old = {"AbortHandshake", "InvalidStatusCode", "RedirectHandshake", "WebSocketProtocolError"}
    for name in deprecated & old:
        with pytest.warns(DeprecationWarning, match=f"^{their.__name__}.{name} is deprecated$"):
            found = getattr(our, name)
        with pytest.warns(DeprecationWarning, match=f"^{their.__name__}.{name} is deprecated$"):
            counterpart = getattr(their, name)
        assert parameters(found) == parameters(counterpart)
        assert issubclass(found, ours.WebSocketException)


@pytest.mark.parametrize(
    "arguments",
    [
        ("InvalidStatusCode", 403, {}),
        ("AbortHandshake", 503, {"a": "b"}, b"body"),
        ("RedirectHandshake", "ws://host"),
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_deprecated_exceptions_say_the_same(arguments: tuple[Any, ...]) -> None:
    name, *rest = arguments
    assert str(getattr(ours, name)(*rest)) == str(getattr(theirs, name)(*rest))


PROGRAM = """
import importlib, json
frames, http11 = (importlib.import_module(f"{library}.{name}") for name in ("frames", "http11"))
Frame, Opcode = frames.Frame, frames.Opcode
print(json.dumps([
    http11.SERVER, http11.USER_AGENT, http11.MAX_LINE_LENGTH, http11.MAX_NUM_HEADERS, http11.MAX_BODY_SIZE,
    Frame.MAX_LOG_SIZE, str(Frame(Opcode.TEXT, b"0123456789" * 50)), str(Frame(Opcode.BINARY, bytes(range(256)))),
]))
"""


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {
            "WEBSOCKETS_SERVER": "server/1",
            "WEBSOCKETS_USER_AGENT": "client/1",
            "WEBSOCKETS_MAX_LINE_LENGTH": "100",
            "WEBSOCKETS_MAX_NUM_HEADERS": "7",
            "WEBSOCKETS_MAX_BODY_SIZE": "1_000",
            "WEBSOCKETS_MAX_LOG_SIZE": "30",
        },
        {"WEBSOCKETS_SERVER": "", "WEBSOCKETS_USER_AGENT": ""},
    ],
    ids=["none", "all", "empty"],
)
def test_environment_variables_do_the_same(variables: dict[str, str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WEBSOCKETS_")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))

    def run(library: str) -> Any:
        command = [sys.executable, "-c", f"library = {library!r}\n{PROGRAM}"]
        done = subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    assert run("picows.websockets") == run("websockets")
