"""What tests of the message layer share, and both engines for those that compare them."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from fixtures.twins import twins

__all__ = ["talk", "twins"]

#: Arguments of WSMessageListener; all others are for the connection.
LISTENER_ARGUMENTS = {"max_message_size", "max_fragments", "max_queue", "codec"}


@pytest.fixture
def talk(engine: Any, connect: Callable[..., Any]) -> Callable[..., Any]:
    """Make a connection of messages: a `fixtures.wire.Connection` whose listener is a WSMessageListener."""

    def make(listener_type: Any = None, **arguments: Any) -> Any:
        own = {name: arguments.pop(name) for name in LISTENER_ARGUMENTS & arguments.keys()}
        return connect(listener=(listener_type or engine.WSMessageListener)(**own), **arguments)

    return make
