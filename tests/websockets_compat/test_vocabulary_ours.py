"""What surrounds the vocabulary of picows.websockets: lazy modules, proxies of the environment, bases of exceptions."""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
import types
from collections.abc import Iterator

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")

import picows.websockets as ours
from picows.websockets import exceptions
from picows.websockets.frames import Close, Frame, Opcode
from picows.websockets.proxy import get_proxy
from picows.websockets.uri import parse_uri


def run(program: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_importing_the_package_imports_no_module_of_it() -> None:
    program = "import picows.websockets, sys; print([m for m in sys.modules if m.startswith('picows.websockets.')])"
    assert run(program).strip() == "['picows.websockets.imports', 'picows.websockets.version']"


def test_modules_are_there_without_an_import() -> None:
    program = "import picows.websockets as w; print(w.exceptions.ConnectionClosed is w.ConnectionClosed, w.frames.TEXT)"
    assert run(program).strip() == "True 1"


@pytest.mark.parametrize("name", ["nope", "_nope", "__nope__"])
def test_what_is_not_there_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"^module 'picows.websockets' has no attribute '{name}'$"):
        getattr(ours, name)


def test_the_old_name_of_the_protocol_module() -> None:
    protocol = pytest.importorskip("picows.websockets.protocol", reason="comes with the Sans-I/O API")
    sys.modules.pop("picows.websockets.connection", None)
    with pytest.warns(DeprecationWarning, match="was renamed to websockets.protocol and Connection"):
        connection = importlib.import_module("picows.websockets.connection")
    assert connection.Connection is protocol.Protocol
    assert connection.State is protocol.State
    assert connection.Side is protocol.Side


@pytest.fixture
def library() -> Iterator[types.ModuleType]:
    """A library with three exceptions of the same names, as the real one has them; afterwards ours are alone again."""

    class WebSocketException(Exception):
        pass

    class InvalidState(WebSocketException, AssertionError):
        pass

    class InvalidURI(WebSocketException):
        def __init__(self, needs: int, many: int, arguments: int) -> None:
            raise RuntimeError("their constructor is not to be called")

    module = types.ModuleType("library")
    vars(module).update(WebSocketException=WebSocketException, InvalidState=InvalidState, InvalidURI=InvalidURI)
    yield module
    exceptions.derive_from(None)


def test_exceptions_derive_from_those_of_a_library(library: types.ModuleType) -> None:
    exceptions.derive_from(library)
    error = exceptions.InvalidState("text")
    assert isinstance(error, library.InvalidState)
    assert isinstance(error, AssertionError)
    assert isinstance(exceptions.ProtocolError(), library.WebSocketException)
    assert str(error) == "text"
    with pytest.raises(library.InvalidURI, match="^uri isn't a valid URI: message$"):
        raise exceptions.InvalidURI("uri", "message")


def test_that_can_be_undone_and_repeated(library: types.ModuleType) -> None:
    before = [getattr(exceptions, name).__mro__ for name in exceptions.__all__]
    for module in (library, library, None, library, exceptions):
        exceptions.derive_from(module)
    assert [getattr(exceptions, name).__mro__ for name in exceptions.__all__] == before


@pytest.mark.usefixtures("library")
def test_exceptions_derive_from_those_of_websockets() -> None:
    theirs = pytest.importorskip("websockets.exceptions", reason="websockets is not installed")
    exceptions.derive_from(theirs)
    for name in exceptions.__all__:
        assert issubclass(getattr(exceptions, name), getattr(theirs, name)), name
    closed = exceptions.ConnectionClosedOK(Close(1000, "bye"), None)
    with pytest.raises(theirs.ConnectionClosed) as caught:
        raise closed
    assert str(caught.value) == "received 1000 (OK) bye; no close frame sent"
    assert str(pickle.loads(pickle.dumps(closed))) == str(closed)
    assert str(exceptions.TooManyFragments(7)) == str(theirs.TooManyFragments(7))
    assert str(exceptions.InvalidUpgrade("Upgrade")) == "missing Upgrade header"


@pytest.mark.parametrize("limit", [-1, 0, 1, 5, 6, 7, 20, 75])
@pytest.mark.parametrize(
    "payload", [b"text" * 100, bytes(range(256)), "é".encode() * 100], ids=["ascii", "binary", "utf8"]
)
def test_a_log_never_shows_more_than_the_limit(limit: int, payload: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Frame, "MAX_LOG_SIZE", limit)
    shown = str(Frame(Opcode.BINARY, payload)).removeprefix("BINARY ").rpartition(" [")[0]
    assert len(shown) <= max(limit, 3)
    assert "..." in shown


def test_a_log_shows_only_bytes_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Frame, "MAX_LOG_SIZE", 21)
    assert str(Frame(Opcode.BINARY, bytes(range(256)))) == "BINARY 00 01 02 03 ... fe ff [256 bytes]"


VARIABLES: list[dict[str, str]] = [
    {},
    {"ws_proxy": "http://a"},
    {"wss_proxy": "http://a"},
    {"socks_proxy": "socks5://x"},
    {"socks_proxy": "http://x:1"},
    {"socks_proxy": "x:1"},
    {"https_proxy": "http://x"},
    {"http_proxy": "http://x"},
    {"HTTPS_PROXY": "http://x"},
    {"https_proxy": ""},
    {"http_proxy": "h", "https_proxy": "s", "socks_proxy": "k", "ws_proxy": "w", "wss_proxy": "ww", "all_proxy": "a"},
    {"https_proxy": "s", "socks_proxy": "http://k"},
    {"http_proxy": "h", "https_proxy": "s"},
    {"http_proxy": "h", "all_proxy": "a", "https_proxy": "s"},
    {"https_proxy": "s", "no_proxy": "*"},
    {"https_proxy": "s", "no_proxy": "h.ex"},
    {"https_proxy": "s", "no_proxy": ".ex,other"},
    {"https_proxy": "s", "no_proxy": "h.ex:81"},
    {"https_proxy": "s", "no_proxy": "h.ex:443"},
    {"https_proxy": "s", "NO_PROXY": "h.ex"},
    {"https_proxy": "s", "no_proxy": "::1"},
    {"https_proxy": "s", "no_proxy": "other"},
]
TARGETS = ["ws://h.ex/", "wss://h.ex/", "ws://h.ex:81/", "wss://[::1]/"]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    "variables", VARIABLES, ids=lambda variables: ",".join(map("=".join, variables.items())) or "none"
)
def test_the_environment_names_the_same_proxy(variables: dict[str, str], environment: pytest.MonkeyPatch) -> None:
    theirs = pytest.importorskip("websockets.proxy", reason="websockets is not installed")
    for name, value in variables.items():
        environment.setenv(name, value)
    for target in TARGETS:
        assert get_proxy(parse_uri(target)) == theirs.get_proxy(
            importlib.import_module("websockets.uri").parse_uri(target)
        )


@pytest.mark.parametrize("name", ["all_proxy", "ALL_PROXY"])
def test_all_proxy_is_the_last_resort(name: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv(name, "http://a")
    assert get_proxy(parse_uri("ws://h/")) == get_proxy(parse_uri("wss://h/")) == "http://a"
    environment.setenv("https_proxy", "http://s")
    assert get_proxy(parse_uri("ws://h/")) == "http://s"
    environment.setenv("no_proxy", "h")
    assert get_proxy(parse_uri("ws://h/")) is None


@pytest.mark.parametrize("no_proxy", ["::1", "[::1]", "[::1]:80"])
def test_no_proxy_knows_ipv6_addresses_as_urls_have_them(no_proxy: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("http_proxy", "http://a")
    environment.setenv("no_proxy", no_proxy)
    assert get_proxy(parse_uri("ws://[::1]/")) is None
    assert get_proxy(parse_uri("ws://[::2]/")) == "http://a"
