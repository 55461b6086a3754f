"""The tables of what peers get wrong, with our answers. Tests on real sockets are coroutine functions."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from fixtures.places import Place
from fixtures.sockets import cheap_collections, local, run_async_test

__all__ = ["cheap_collections", "local"]


@pytest.fixture
def place(engine: Any) -> Place:
    """asyncio, each engine, without TLS."""
    return Place("asyncio", engine)


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Optional[bool]:
    """Run coroutine functions."""
    return run_async_test(pyfuncitem)
