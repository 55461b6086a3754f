"""The catalogue of what goes wrong with WebSockets: each test is named after its row, see README.md."""

from __future__ import annotations

from typing import Any, Callable, Optional

import pytest
from fixtures.places import LISTENER_ARGUMENTS, place, secure_place
from fixtures.sockets import cheap_collections, local, net, run_async_test, tcp
from fixtures.tunnels import certificates, run
from fixtures.twins import twins

__all__ = ["certificates", "cheap_collections", "local", "net", "place", "run", "secure_place", "tcp", "twins"]


@pytest.fixture
def talk(engine: Any, connect: Callable[..., Any]) -> Callable[..., Any]:
    """Make a connection of messages: a `fixtures.wire.Connection` whose listener is a WSMessageListener."""

    def make(listener_type: Any = None, **arguments: Any) -> Any:
        own = {name: arguments.pop(name) for name in LISTENER_ARGUMENTS & arguments.keys()}
        return connect(listener=(listener_type or engine.WSMessageListener)(**own), **arguments)

    return make


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Optional[bool]:
    """Run coroutine functions."""
    return run_async_test(pyfuncitem)
