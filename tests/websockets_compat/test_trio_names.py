"""The trio API has the names, signatures and defaults of websockets 17.4, and needs trio."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from typing import Any

import pytest
from fixtures.compat import skip_unless_comparable
from fixtures.signatures import methods, parameters

skip_unless_comparable()
pytest.importorskip("trio", reason="trio is not installed: pip install trio")

MODULES = ["client", "server", "connection", "router", "messages", "utils"]
SPECIAL = ("__aenter__", "__aexit__", "__aiter__")
#: Methods of theirs that are how, not what: `link` and `writing` do that here.
INTERNAL = {
    "acknowledge_pending_pings", "acknowledge_pings", "close_stream", "keepalive", "pause_reading", "recv_events",
    "resume_reading", "send_context", "send_data", "start_keepalive",
}  # fmt: skip


def modules(name: str) -> tuple[Any, Any]:
    return importlib.import_module(f"picows.websockets.trio.{name}"), importlib.import_module(f"websockets.trio.{name}")


EXPORTS = [(name, export) for name in MODULES for export in modules(name)[1].__all__]
METHODS = [
    (name, export, method)
    for name, export in EXPORTS
    if inspect.isclass(getattr(modules(name)[1], export))
    for method in methods(getattr(modules(name)[1], export), SPECIAL)
    if method not in INTERNAL
]


@pytest.mark.parametrize("name", MODULES)
def test_modules_export_the_same(name: str) -> None:
    ours, their = modules(name)
    assert list(ours.__all__) == list(their.__all__)


@pytest.mark.parametrize(("name", "export"), EXPORTS)
def test_signatures(name: str, export: str) -> None:
    ours, their = (getattr(module, export) for module in modules(name))
    assert inspect.iscoroutinefunction(ours) is inspect.iscoroutinefunction(their)
    if export == "Assembler":  # whose defaults are functions
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(their).parameters)
    else:
        assert parameters(ours) == parameters(their)


@pytest.mark.parametrize(("name", "export", "method"), METHODS)
def test_methods(name: str, export: str, method: str) -> None:
    ours, their = (getattr(getattr(module, export), method) for module in modules(name))
    assert parameters(ours) == parameters(their)
    assert inspect.iscoroutinefunction(ours) is inspect.iscoroutinefunction(their)


@pytest.mark.parametrize(("name", "export"), EXPORTS)
def test_properties(name: str, export: str) -> None:
    ours, their = (getattr(module, export) for module in modules(name))
    for attribute, value in vars(their).items() if inspect.isclass(their) else ():
        if isinstance(value, property):
            assert isinstance(getattr(ours, attribute), property), attribute


@pytest.mark.parametrize("export", ["Connection", "ClientConnection", "ServerConnection", "Server"])
def test_resources(export: str) -> None:
    import trio

    module = {"Connection": "connection", "ClientConnection": "client"}.get(export, "server")
    assert all(issubclass(getattr(part, export), trio.abc.AsyncResource) for part in modules(module))


def test_client_names() -> None:
    ours, their = modules("client")
    assert ours.MAX_REDIRECTS == their.MAX_REDIRECTS
    assert ours.process_exception.__name__ == their.process_exception.__name__
    assert not hasattr(ours.connect, "__await__")


PROGRAM = """
import sys
import picows.websockets
assert not hasattr(picows.websockets.sync, "trio") and "trio" not in sys.modules
sys.modules["trio"] = None
try:
    import picows.websockets.trio.client
except ImportError as exc:
    print(exc)
"""


def test_without_trio() -> None:
    output = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert output == "picows.websockets.trio needs trio: pip install picows-websockets[trio]\n"


INSTALLED = """
import picows.websockets
picows.websockets.install()
import picows.websockets.trio.server, websockets.trio.client, websockets.trio.server
assert websockets.trio.client.connect.__module__ == "picows.websockets.trio.client"
assert websockets.trio.server is picows.websockets.trio.server
print(websockets.trio.server.serve.__name__)
"""


def test_under_the_name_of_the_library() -> None:
    output = subprocess.run([sys.executable, "-c", INSTALLED], capture_output=True, text=True, check=True).stdout
    assert output == "serve\n"
