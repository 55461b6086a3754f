"""Whose transports carry a connection: asked for, found, or neither."""

from __future__ import annotations

import functools
import importlib
import ssl
from types import SimpleNamespace
from typing import Any, Iterator, Optional

import pytest

from picows import transports
from picows.transports import ADDRESS_OPTIONS, loop_method, resolve_aiofastnet


@pytest.fixture(params=[True, False], ids=["aiofastnet is there", "aiofastnet is missing"])
def is_there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """aiofastnet can be imported, or not; what was found before is forgotten, and afterwards again."""
    found = request.param
    fake = SimpleNamespace(create_connection=lambda loop, *args, **kwargs: ("aiofastnet", loop, args, kwargs))

    def import_module(name: str) -> Any:
        assert name == "aiofastnet"
        if not found:
            raise ImportError("no module")
        return fake

    monkeypatch.setattr(transports, "importlib", SimpleNamespace(import_module=import_module))
    transports._import_aiofastnet.cache_clear()
    yield found
    transports._import_aiofastnet.cache_clear()


def test_none_uses_it_where_it_is(is_there: bool) -> None:
    assert resolve_aiofastnet(None) is is_there


def test_false_never_uses_it(is_there: bool) -> None:
    assert resolve_aiofastnet(False) is False


def test_true_needs_it(is_there: bool) -> None:
    """W6: a ValueError also under -O."""
    if is_there:
        assert resolve_aiofastnet(True) is True
    else:
        with pytest.raises(ValueError, match="aiofastnet cannot be imported: pip install aiofastnet"):
            resolve_aiofastnet(True)


def test_it_has_no_tls_that_calls_python(is_there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    plain, special = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2))
    special.sni_callback = lambda connection, name, context: None
    assert resolve_aiofastnet(None, (None, True, plain)) is is_there
    assert resolve_aiofastnet(None, (plain, special)) is False
    monkeypatch.setenv("SSLKEYLOGFILE", "keys")
    assert resolve_aiofastnet(None, (plain,)) is is_there
    assert resolve_aiofastnet(None, (plain, None)) is False


@pytest.mark.parametrize("value", [1, 0, "yes", []], ids=repr)
def test_anything_else_is_refused(is_there: bool, value: Any) -> None:
    with pytest.raises(TypeError, match="use_aiofastnet must be True, False or None, got "):
        resolve_aiofastnet(value)


def test_it_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(transports, "importlib", SimpleNamespace(import_module=calls.append))
    transports._import_aiofastnet.cache_clear()
    try:
        for _ in range(3):
            resolve_aiofastnet(None)
        assert calls == ["aiofastnet"]
    finally:
        transports._import_aiofastnet.cache_clear()


class FakeLoop:
    def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """As a loop's, but says what it was called with."""
        return "loop", args, kwargs


@pytest.mark.parametrize(
    ("is_there", "use_aiofastnet"), [(True, True), (True, False), (False, False)], indirect=["is_there"]
)
def test_loop_method(is_there: bool, use_aiofastnet: bool) -> None:
    loop: Any = FakeLoop()
    method = loop_method(loop, "create_connection", use_aiofastnet)
    expected: Any = ("aiofastnet", loop, (1,), {"ssl": 2}) if use_aiofastnet else ("loop", (1,), {"ssl": 2})
    assert method(1, ssl=2) == expected
    assert isinstance(method, functools.partial) is use_aiofastnet


def find_aiofastnet() -> Optional[Any]:
    try:
        return importlib.import_module("aiofastnet")
    except ImportError:
        return None


def test_the_real_one_has_the_functions_that_are_asked_for() -> None:
    aiofastnet = find_aiofastnet()
    if aiofastnet is None:
        pytest.skip("aiofastnet is not installed")
    for name in ("create_connection", "create_server", "create_unix_connection", "create_unix_server", "start_tls"):
        assert callable(getattr(aiofastnet, name)), name


def test_address_options_are_arguments_of_create_connection() -> None:
    import asyncio
    import inspect

    known = set(inspect.signature(asyncio.BaseEventLoop.create_connection).parameters)
    assert known >= ADDRESS_OPTIONS - {"all_errors"}  # since Python 3.12
