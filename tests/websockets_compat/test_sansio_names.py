"""The names of the Sans-I/O modules are those of websockets 17.4, with the same signatures.

What differs on purpose stands in a table with its reason; an entry that has stopped being true fails too.
"""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
theirs = pytest.importorskip("websockets", reason="websockets is not installed: nothing to compare with")
if theirs.__version__ != "17.4":
    pytest.skip(f"websockets 17.4 is emulated, {theirs.__version__} is installed", allow_module_level=True)

MODULES = ("protocol", "client", "server", "extensions", "extensions.base", "extensions.permessage_deflate")
PROTOCOLS = (
    "protocol.Protocol",
    *("client.ClientProtocol", "client.ClientConnection"),
    *("server.ServerProtocol", "server.ServerConnection"),
)
#: Names that we do not have.
MISSING = {
    f"{protocol}.{name}": "our parser is no generator; no documentation mentions this one"
    for protocol in PROTOCOLS
    for name in ("parse", "discard")
}


def load(root: str, module: str) -> Any:
    return importlib.import_module(f"{root}.{module}")


def public(module: Any) -> dict[str, Any]:
    """What a module defines itself, its classes' members included."""
    names: dict[str, Any] = {}
    for name, value in vars(module).items():
        if name.startswith("_") or inspect.ismodule(value) or getattr(value, "__module__", None) != module.__name__:
            continue
        names[name] = value
        if inspect.isclass(value):
            members = inspect.getmembers(value)
            names.update({f"{name}.{key}": member for key, member in members if not key.startswith("_")})
            names[f"{name}.__init__"] = value.__init__
    return names


@pytest.mark.parametrize("module", MODULES)
def test_all(module: str) -> None:
    ours, other = load("picows.websockets", module), load("websockets", module)
    assert sorted(getattr(ours, "__all__", [])) == sorted(getattr(other, "__all__", []))


def test_names() -> None:
    missing = {
        f"{module}.{name}"
        for module in MODULES
        for name in public(load("websockets", module))
        if is_missing(load("picows.websockets", module), name)
    }
    assert missing == set(MISSING)


def is_missing(module: Any, name: str) -> bool:
    value = module
    for part in name.split("."):
        if not hasattr(value, part):
            return True
        value = getattr(value, part)
    return False


@pytest.mark.parametrize("module", MODULES)
def test_signatures(module: str) -> None:
    ours, other = load("picows.websockets", module), load("websockets", module)
    for name, value in public(other).items():
        if inspect.isfunction(value) and f"{module}.{name}" not in MISSING:
            found = ours
            for part in name.split("."):
                found = getattr(found, part)
            parameters = [
                [(p.name, p.kind, repr(p.default)) for p in inspect.signature(function).parameters.values()]
                for function in (found, value)
            ]
            assert parameters[0] == parameters[1], name


@pytest.mark.parametrize("name", ["Side", "State"])
def test_enumerations(name: str) -> None:
    ours, other = (getattr(load(root, "protocol"), name) for root in ("picows.websockets", "websockets"))
    assert [(member.name, member.value) for member in ours] == [(member.name, member.value) for member in other]


def test_constants() -> None:
    ours, other = load("picows.websockets", "protocol"), load("websockets", "protocol")
    names = ("SEND_EOF", "CLIENT", "SERVER", "CONNECTING", "OPEN", "CLOSING", "CLOSED")
    assert [getattr(ours, name) for name in names] == [getattr(other, name) for name in names]
    assert [event.__name__ for event in ours.Event.__args__] == [event.__name__ for event in other.Event.__args__]


@pytest.mark.parametrize("name", ["INITIAL_DELAY", "MIN_DELAY", "MAX_DELAY", "FACTOR"])
def test_backoff_is_set_by_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = []
    for root in ("picows.websockets", "websockets"):
        module = load(root, "client")
        values.append((getattr(module, f"BACKOFF_{name}"), read_backoff(root, name)))
    assert values[0] == values[1]
    assert values[0][1] == 7.5


def read_backoff(root: str, name: str) -> float:
    code = f"import {root}.client as client; print(client.BACKOFF_{name})"
    environment = {**os.environ, f"WEBSOCKETS_BACKOFF_{name}": "7.5"}
    return float(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)
