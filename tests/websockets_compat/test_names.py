"""Every module of websockets 17.4 has a twin with the same names, bases, parameters, kinds of methods and constants.

What differs stands in `fixtures.names_explained` with its reason; a line there that has stopped being true fails too.
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest
from fixtures.compat import skip_unless_comparable

skip_unless_comparable()

from fixtures.names import OURS, all_modules, differences, get, load, own_names  # noqa: E402
from fixtures.names_explained import EXPLAINED  # noqa: E402

MODULES = all_modules()


def module_of(line: str) -> str:
    """The module that a line of the table is about: the longest that it begins with."""
    return max(
        (module for module in MODULES if f"{line} ".startswith((f"{module}.", f"{module} "))), key=len, default=""
    )


def load_or_skip(module: str) -> Any:
    try:
        return load("websockets", module)
    except ModuleNotFoundError as exc:
        pytest.skip(f"{exc.name} is not installed: pip install {exc.name}")


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module or "top level")
def test_every_difference_is_explained(module: str) -> None:
    load_or_skip(module)
    assert set(differences(module)) == {line for line in EXPLAINED if module_of(line) == module}


def test_the_walk_sees_something() -> None:
    """That it has found all there is to find: modules, names, members of classes."""
    assert {"asyncio.client", "sync.utils", "trio.server", "extensions.base", "legacy.protocol", "speedups"} <= set(
        MODULES
    )
    assert {name for name, _ in own_names(load("websockets", "asyncio.client"))} >= {"connect", "ClientConnection"}
    assert len(list(own_names(load("websockets", "")))) >= 66
    assert "legacy.protocol.WebSocketCommonProtocol.read_frame is missing" in set(differences("legacy.protocol"))


OLD_NAMES = [
    ("", "AbortHandshake", "exceptions"),
    ("", "BasicAuthWebSocketServerProtocol", "auth"),
    ("", "InvalidStatusCode", "exceptions"),
    ("", "RedirectHandshake", "exceptions"),
    ("", "WebSocketClientProtocol", "client"),
    ("", "WebSocketCommonProtocol", "protocol"),
    ("", "WebSocketProtocolError", "exceptions"),
    ("", "WebSocketServer", "server"),
    ("", "WebSocketServerProtocol", "server"),
    ("", "basic_auth_protocol_factory", "auth"),
    ("client", "WebSocketClientProtocol", "client"),
    ("client", "connect", "client"),
    ("client", "unix_connect", "client"),
    ("exceptions", "AbortHandshake", "exceptions"),
    ("exceptions", "InvalidStatusCode", "exceptions"),
    ("exceptions", "RedirectHandshake", "exceptions"),
    ("exceptions", "WebSocketProtocolError", "exceptions"),
    ("server", "WebSocketServer", "server"),
    ("server", "WebSocketServerProtocol", "server"),
    ("server", "broadcast", "server"),
    ("server", "serve", "server"),
    ("server", "unix_serve", "server"),
]


@pytest.mark.parametrize(("module", "name", "home"), OLD_NAMES)
def test_names_before_14_warn_and_lead_to_what_they_were(module: str, name: str, home: str) -> None:
    """With the same text on both, as programs filter by it."""
    for library in ("websockets", OURS):
        where, target = load(library, module), load(library, f"legacy.{home}")
        old_name = f"websockets.{module}.{name}" if module else f"websockets.{name}"
        with pytest.warns(DeprecationWarning, match=f"^{old_name} is deprecated$"):
            assert getattr(where, name) is getattr(target, name)


@pytest.mark.parametrize("module", ["asyncio.connection", "sync.connection"])
def test_names_that_users_import_from_where_they_are_not_defined(module: str) -> None:
    assert all(get(load(library, module), "broadcast") for library in ("websockets", OURS))


CONNECTIONS = [
    (api, module, name)
    for api in ("asyncio", "sync", "trio")
    for module, name in (("client", "ClientConnection"), ("server", "ServerConnection"), ("server", "Server"))
]


@pytest.mark.parametrize(("api", "module", "name"), CONNECTIONS)
def test_nothing_public_of_ours_hides_a_name_of_theirs(api: str, module: str, name: str) -> None:
    """Members that the engine's classes have beyond theirs are no methods that theirs have with another meaning."""
    theirs, ours = get(load_or_skip(f"{api}.{module}"), name), get(load(OURS, f"{api}.{module}"), name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shared = [each for each in dir(theirs) if not each.startswith("_") and hasattr(ours, each)]
    assert shared
    for each in shared:
        value, found = (inspect.getattr_static(owner, each) for owner in (theirs, ours))
        assert isinstance(value, property) == isinstance(found, property), each
        assert callable(value) == callable(found), each
