"""Tests against other libraries are coroutine functions on real sockets: see `fixtures.sockets`."""

from __future__ import annotations

from typing import Optional

import pytest
from fixtures.places import place, secure_place
from fixtures.sockets import cheap_collections, local, net, run_async_test, tcp

__all__ = ["cheap_collections", "local", "net", "place", "secure_place", "tcp"]


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Optional[bool]:
    """Run coroutine functions."""
    return run_async_test(pyfuncitem)
