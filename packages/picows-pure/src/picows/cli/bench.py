"""`picows bench`: one run of a load, with its progress on the terminal, and its result.

`picows connect URL --bench` is two short runs of the same.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import sys
import time
from typing import Any, Callable, Iterator, Optional

from ..url import parse_url
from .faults import Failure
from .load import Load, Settings
from .opening import connection_arguments
from .report import Result, quick_text

_DURATION_S = 5.0
_TICK_S = 0.25
#: `connect --bench`: how long each of its runs is counted, how long it is warmed up, what it sends.
_QUICK_S = 1.0
_QUICK_WARMUP_S = 0.2
_QUICK_SIZE = 256
_QUICK_DEPTH = 64

Show = Callable[[float, str], None]


async def bench(options: argparse.Namespace) -> int:
    """Run the verb. Returns the exit code."""
    depth = options.depth or (1 if options.rate is None else None)
    settings = Settings(options.connections, options.size, depth, options.rate, options.text)
    duration = None if options.messages is not None else (options.duration or _DURATION_S)
    result = await _measure(options, settings, options.warmup, duration, options.messages)
    print(result.as_json() if options.json else result.as_text("" if _has_blocks() else "#"), flush=True)
    worst_ms = result.latencies.percentile(99) / 1e6
    if options.fail_above is not None and worst_ms > options.fail_above:
        raise Failure(f"the 99th percentile is {worst_ms:.3f} ms, above {options.fail_above:g} ms (--fail-above)")
    return 0


async def quick_bench(options: argparse.Namespace) -> int:
    """`connect --bench`: how long one message takes, then how many go through. Returns the exit code."""
    results = []
    for depth in (1, _QUICK_DEPTH):
        settings = Settings(1, _QUICK_SIZE, depth, None, is_text=True)
        results.append(await _measure(options, settings, _QUICK_WARMUP_S, _QUICK_S))
    print(quick_text(*results), flush=True)
    return 0


async def _measure(
    options: argparse.Namespace,
    settings: Settings,
    warmup_s: float,
    duration_s: Optional[float],
    limit: Optional[int] = None,
) -> Result:
    """Connect, warm up, and count for a time or up to a number of messages.

    Raises:
        Failure: nothing was answered, or not by an echo.
    """
    load = Load(settings, limit)
    try:
        await load.open(connection_arguments(options))
        with _progress() as show:
            load.start()
            await _run_phase(load, warmup_s, options.timeout, lambda share: show(0, "warming up"))
            load.count()
            started = time.perf_counter()
            await _run_phase(load, duration_s, options.timeout, lambda share: show(share, _so_far(load, started)))
            seconds = time.perf_counter() - started
            unanswered = load.stop()
    finally:
        await load.close()
    if not load.latencies.count:
        raise Failure(
            "no message was answered while it was counted: bench needs a server that echoes (picows serve),"
            " and a slow one a longer --duration"
        )
    loop = getattr(options, "loop", "asyncio")
    return Result(parse_url(options.url).safe_url, loop, settings, seconds, load.latencies, load.opening, unanswered)


async def _run_phase(load: Load, duration: Optional[float], patience_s: float, show: Callable[[float], None]) -> None:
    """Until the time is over or the load has ended; fails if the server is silent for too long."""
    started = heard = time.perf_counter()
    answers = load.answers
    while True:
        now = time.perf_counter()
        if duration is not None and now - started >= duration:
            return
        left = _TICK_S if duration is None else min(_TICK_S, started + duration - now)
        await asyncio.wait([load.ended], timeout=left)
        if load.ended.done():
            load.ended.result()
            return
        if load.answers != answers:
            answers, heard = load.answers, time.perf_counter()
        elif time.perf_counter() - heard > max(patience_s, _interval_s(load)):
            raise Failure(f"no answer for {patience_s:g} s: bench needs a server that echoes (picows serve)")
        if duration is not None:
            show((time.perf_counter() - started) / duration)
        elif load.limit is not None:
            show(load.latencies.count / load.limit)


def _interval_s(load: Load) -> float:
    """At a slow rate silence is no fault."""
    return 0.0 if load.settings.rate is None else 2 / load.settings.rate


def _so_far(load: Load, started: float) -> str:
    found = load.latencies
    per_second = found.count / max(time.perf_counter() - started, 1e-9)
    median, worse = found.percentile(50) / 1000, found.percentile(99) / 1000
    return f"{per_second:,.0f}/s  p50 {median:,.1f} us  p99 {worse:,.1f} us"


def _has_blocks() -> bool:
    """Whether stdout can show more than ASCII."""
    try:
        "█▏".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


@contextlib.contextmanager
def _progress() -> Iterator[Show]:
    """A display on stderr that is gone at the end; none without a terminal or without rich."""
    try:
        progress: Any = importlib.import_module("rich.progress") if sys.stderr.isatty() else None
    except ModuleNotFoundError:
        progress = None
    if progress is None:
        yield lambda share, text: None
        return
    console = importlib.import_module("rich.console").Console(stderr=True)
    columns = (progress.BarColumn(), progress.TextColumn("{task.description}"))
    with progress.Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("", total=1.0)
        yield lambda share, text: display.update(task, completed=share, description=text)
