"""The names of the asyncio modules are those of websockets 17.4, with the same signatures.

What differs on purpose stands in a table with its reason; an entry that has stopped being true fails too.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from typing import Any

import pytest
from fixtures.compat import skip_unless_comparable

skip_unless_comparable()

MODULES = ("client", "server", "connection", "router", "messages")
_CONNECTIONS = ("client.ClientConnection", "server.ServerConnection", "connection.Connection")
_OF_THE_PROTOCOL = (
    *("acknowledge_pings", "drain", "keepalive", "process_event", "send_context", "send_data"),
    *("set_connection_exc", "start_keepalive", "terminate_pending_pings"),
)
#: Undocumented names that we do not have.
MISSING = {
    **{f"{owner}.{name}": "the engine does that" for owner in _CONNECTIONS for name in _OF_THE_PROTOCOL},
    **{
        f"{owner}.{name}": "a connection is not an asyncio protocol: the engine has one"
        for owner in _CONNECTIONS
        for name in vars(asyncio.Protocol) | vars(asyncio.BaseProtocol)
        if not name.startswith("_") and name not in ("pause_writing", "resume_writing")
    },
    "server.ServerConnection.handshake": "driven by the bytes that arrive, without a task",
    "client.connect_socks_proxy": "see picows.proxy",
    "client.connect_http_proxy": "see asyncio.tunnel",
    "client.HTTPProxyConnection": "see asyncio.tunnel",
    "messages.SimpleQueue": "a deque does",
    "messages.T": "a type variable",
}
#: Dunder methods that count.
SPECIAL = ("__init__", "__aiter__", "__await__", "__aenter__", "__aexit__")


def load(root: str, module: str) -> Any:
    return importlib.import_module(f"{root}.asyncio.{module}")


def names(module: Any) -> dict[str, Any]:
    """What a module defines itself, with the members of its classes."""
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        found[name] = value
        if inspect.isclass(value):
            for member in dir(value):
                if member in SPECIAL or not member.startswith("_"):
                    found[f"{name}.{member}"] = getattr(value, member)
    return found


def find(module: Any, path: str) -> Any:
    value = module
    for name in path.split("."):
        if value is None:
            return None
        value = getattr(value, name, None)
    return value


@pytest.mark.parametrize("module", MODULES)
def test_all(module: str) -> None:
    assert load("picows.websockets", module).__all__ == load("websockets", module).__all__


def test_names() -> None:
    missing = {
        f"{module}.{name}"
        for module in MODULES
        for name in names(load("websockets", module))
        if find(load("picows.websockets", module), name) is None
        and f"{module}.{name.partition('.')[0]}" not in MISSING.keys() - {f"{module}.{name}"}
    }
    assert missing == set(MISSING)


def signature(function: Any) -> Any:
    """Parameters, with their defaults; None where there is none to see."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [(each.name, each.kind, _default(each.default)) for each in parameters]


def _default(value: Any) -> str:
    return getattr(value, "__qualname__", None) or repr(value)


@pytest.mark.parametrize("module", MODULES)
def test_signatures(module: str) -> None:
    ours = load("picows.websockets", module)
    for name, theirs in names(load("websockets", module)).items():
        mine = find(ours, name)
        if mine is None or not callable(theirs) or name.endswith("__aiter__"):
            continue
        if inspect.isclass(theirs):
            continue
        assert signature(mine) == signature(theirs), name
        assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(theirs), name


@pytest.mark.parametrize("name", ["MAX_REDIRECTS", "backoff", "process_exception"])
def test_other_names_that_are_imported(name: str) -> None:
    assert hasattr(load("picows.websockets", "client"), name)
    assert hasattr(load("picows.websockets", "connection"), "broadcast")
