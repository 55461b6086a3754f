"""Tests of this directory are coroutine functions on real sockets: see `fixtures.sockets`."""

from __future__ import annotations

import gc
from typing import Iterator, Optional

import pytest
from fixtures.sockets import local, net, run_async_test, tcp

__all__ = ["local", "net", "tcp"]


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Optional[bool]:
    """Run coroutine functions."""
    return run_async_test(pyfuncitem)


@pytest.fixture(scope="session", autouse=True)
def cheap_collections() -> Iterator[None]:
    """Each test collects garbage, which need not look at all of pytest every time."""
    if not hasattr(gc, "freeze"):  # PyPy
        yield
        return
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
