"""The threading API has the names, signatures and defaults of websockets 17.4."""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
theirs = pytest.importorskip("websockets", reason="websockets is not installed: nothing to compare with")
if theirs.__version__ != "17.4":
    pytest.skip(f"websockets 17.4 is emulated, {theirs.__version__} is installed", allow_module_level=True)

MODULES = ["client", "server", "connection", "router", "messages", "utils"]
#: Methods of theirs that are how, not what: `link` and `keepalive` do that here.
INTERNAL = {
    "Connection": {
        "acknowledge_pings", "close_socket", "keepalive", "recv_events", "send_context", "send_data",
        "start_keepalive", "terminate_pending_pings",
    },
    "ClientConnection": {"process_event", "recv_events"},
    "ServerConnection": {"process_event", "recv_events"},
}  # fmt: skip


def modules(name: str) -> tuple[Any, Any]:
    return importlib.import_module(f"picows.websockets.sync.{name}"), importlib.import_module(f"websockets.sync.{name}")


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [
        (p.name, p.kind, repr(p.default) if callable(p.default) is False else getattr(p.default, "__name__", "?"))
        for p in inspect.signature(function).parameters.values()
    ]


CALLABLES = [(name, export) for name in MODULES for export in modules(name)[1].__all__]
METHODS = [
    (name, export, method)
    for name, export in CALLABLES
    for method, value in vars(getattr(modules(name)[1], export)).items()
    if inspect.isclass(getattr(modules(name)[1], export))
    and inspect.isfunction(value)
    and (not method.startswith("_") or method in ("__enter__", "__exit__", "__iter__"))
    and method not in INTERNAL.get(export, ())
]


@pytest.mark.parametrize("name", MODULES)
def test_modules_export_the_same(name: str) -> None:
    ours, their = modules(name)
    assert list(ours.__all__) == list(their.__all__)


@pytest.mark.parametrize(("name", "export"), CALLABLES)
def test_signatures(name: str, export: str) -> None:
    ours, their = (getattr(module, export) for module in modules(name))
    if export == "Assembler":  # whose defaults are functions
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(their).parameters)
    else:
        assert parameters(ours) == parameters(their)


@pytest.mark.parametrize(("name", "export", "method"), METHODS)
def test_methods(name: str, export: str, method: str) -> None:
    ours, their = (getattr(getattr(module, export), method) for module in modules(name))
    assert parameters(ours) == parameters(their)


@pytest.mark.parametrize("name", ["connect", "unix_connect", "reconnect", "unix_reconnect", "MAX_REDIRECTS"])
def test_client_names(name: str) -> None:
    ours, their = modules("client")
    assert hasattr(ours, name)
    assert type(getattr(ours, name)) is type(getattr(their, name))


@pytest.mark.parametrize("name", ["Connection", "ClientConnection", "ServerConnection", "Server"])
def test_properties(name: str) -> None:
    module = {"Connection": "connection", "ClientConnection": "client"}.get(name, "server")
    ours, their = (getattr(part, name) for part in modules(module))
    for attribute, value in vars(their).items():
        if isinstance(value, property):
            assert isinstance(getattr(ours, attribute), property), attribute
