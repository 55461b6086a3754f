"""What every test gets: the engines, connections without a network, and a failure for what asyncio only logs."""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Callable

import pytest

from picows import _engine

if importlib.util.find_spec("hypothesis"):
    import hypothesis

    # Its limit of 200 ms for an example is one of the machine's, which others use meanwhile: pytest-timeout has ours
    examples = int(os.environ.get("PICOWS_EXAMPLES", 100))  # of each property test; `hatch run properties` has more
    hypothesis.settings.register_profile("picows", deadline=None, max_examples=examples)
    hypothesis.settings.load_profile("picows")


def _is_installed(name: str) -> bool:
    """Whether there is such an engine, be it broken: that is for its tests to show."""
    spec = importlib.util.find_spec(f"picows.{name}")
    return spec is not None and spec.origin is not None


#: The engines that tests run on: those that are installed, or the one that PICOWS_IMPL names.
ENGINES = [
    name
    for name in ("pure", "core")
    if (os.environ.get(_engine.ENVIRONMENT_VARIABLE) or name) == name and _is_installed(name)
]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Which implementation runs, with which kernels, on which loops."""
    kernels = "; ".join(f"{what}: {value}" for what, value in _engine.engine.describe())
    loops = [name for name in ("asyncio", "uvloop", "winloop", "aiofastnet") if importlib.util.find_spec(name)]
    return [
        f"picows: {_engine.engine.name} ({_engine.reason}); engines under test: {', '.join(ENGINES) or 'none'}",
        f"picows kernels: {kernels}",
        f"picows loops: {', '.join(loops)}; {sys.implementation.name} {sys.version.split()[0]}",
    ]


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Any:
    """An engine."""
    return _engine.load(request.param)


@pytest.fixture
def connect(engine: Any) -> Iterator[Callable[..., Any]]:
    """Make a `fixtures.wire.Connection` of the engine; it is shut at the end of the test."""
    from fixtures.wire import Connection

    connections: list[Any] = []

    def make(**arguments: Any) -> Any:
        connections.append(Connection(engine, **arguments))
        return connections[-1]

    yield make
    while connections:  # pytest keeps `make`, and so the list, until after the last fixture
        connection = connections.pop(0)
        connection.shut()
        assert not connection.wire.written_late, "W15: written after disconnect"
        vars(connection).clear()  # as long as pytest keeps `make` it keeps what another fixture has made with it, too


#: `hatch run strict`: warnings of asyncio count too, and what is left in cycles is freed after each test.
STRICT = bool(os.environ.get("PICOWS_STRICT"))
#: What asyncio warns of in its debug mode that is about the machine, and not about us.
_SLOW = ("Executing ", "poll ", "Getting address info ")


def pytest_collection_finish() -> None:
    """Collections after each test need not look at what is there before the first.

    Programs that tests start are not in asyncio's debug mode: it says on stderr how slow the machine is.
    """
    if STRICT:
        os.environ.pop("PYTHONASYNCIODEBUG", None)
        os.environ.pop("PYTHONDEVMODE", None)  # stays on in this process, and so does the other for its new loops
        if hasattr(gc, "freeze"):
            gc.collect()
            gc.freeze()


class _Collector(logging.Handler):
    """Keeps what asyncio logs as an error: exceptions in callbacks, futures whose exception nobody retrieved."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING if STRICT else logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        text = record.getMessage()
        if record.levelno < logging.ERROR and text.startswith(_SLOW):
            return
        if record.exc_info:
            text += f"\n{record.exc_info[1]!r}"
        self.messages.append(text)


@pytest.fixture(autouse=True)
def asyncio_errors() -> Iterator[list[str]]:
    """What asyncio and its loops reported as errors; a test fails if anything is left in it at its end."""
    collector = _Collector()
    logger = logging.getLogger("asyncio")
    logger.addHandler(collector)
    try:
        yield collector.messages
        if sys.implementation.name == "cpython" and "asyncio" in sys.modules:
            # Futures report their exception when they are freed; the young generations hold what the test has made.
            gc.collect(2 if STRICT else 1)
    finally:
        logger.removeHandler(collector)
    assert not collector.messages, "asyncio reported:\n" + "\n".join(collector.messages)


def _live_objects() -> Any:
    """What a debug build of picows.core counts, less what the thread keeps for its next batch; None without one."""
    core = sys.modules.get("picows.core")
    if core is None or core._kernels.live_objects() is None:
        return None
    core.pool._drop_caches()
    counts = core._kernels.live_objects()
    counts["read buffers"] -= counts.pop("pools")  # each thread's shared one
    return counts


@pytest.fixture(autouse=True)
def live_objects(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """In a debug build of picows.core: every object and block of memory that a test made is gone at its end."""
    before = _live_objects()
    yield
    if before is None or before == _live_objects():
        return
    for phase in ("setup", "call"):  # what was logged holds exceptions, and they what has raised them
        caplog.get_records(phase).clear()
    for value in getattr(request.node, "callspec", SimpleNamespace(params={})).params.values():
        if isinstance(value, BaseException):  # raised by the test, and kept by pytest until the end
            value.__traceback__ = None
    gc.collect()
    after = _live_objects()
    left = {kind: count - before[kind] for kind, count in after.items() if count > before[kind]}
    assert not left, f"objects of picows.core are left: {left}"
