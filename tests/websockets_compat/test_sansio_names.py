"""Constants of the Sans-I/O modules, and the environment that sets them. For all names see test_names.py."""

from __future__ import annotations

import importlib
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


def load(root: str, module: str) -> Any:
    return importlib.import_module(f"{root}.{module}")


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
