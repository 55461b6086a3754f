"""Tests of this directory are coroutine functions on real sockets: see `fixtures.sockets`."""

from __future__ import annotations

from typing import Optional

import pytest
from fixtures.sockets import cheap_collections, local, net, run_async_test, tcp
from fixtures.tunnels import certificates, run

__all__ = ["certificates", "cheap_collections", "local", "net", "run", "tcp"]


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Optional[bool]:
    """Run coroutine functions."""
    return run_async_test(pyfuncitem)
