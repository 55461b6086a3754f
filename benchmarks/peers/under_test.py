"""The process under test: pins itself, makes the event loop, plays its role, prints JSON lines.

Runs inside the environment of the library it measures. Protocol with the parent: a server prints `{"port", "pid",
"facts"}` and serves until it is terminated; the other roles print one line with what they measured.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import platform
import resource
import signal
import ssl
import sys
import sysconfig
import time
from typing import Any, Dict

from drivers.common import Driver, Marks, timed
from loads.clock import cpu_clock_of
from spec import Spec


def say(**fields: Any) -> None:
    """Prints one line of JSON to the parent."""
    print(json.dumps(fields), flush=True)


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """Returns: a new event loop of the kind asked for."""
    if name == "asyncio":
        return asyncio.SelectorEventLoop()
    return importlib.import_module(name).new_event_loop()  # type: ignore[no-any-return]


def python_build() -> str:
    """Returns: whether this Python was compiled with profile-guided optimisation, which pure-Python code gains from."""
    flags = f"{sysconfig.get_config_var('CONFIG_ARGS')} {sysconfig.get_config_var('PY_CORE_CFLAGS')}"
    return "PGO" if "--enable-optimizations" in flags or "-fprofile-use" in flags else "no PGO"


async def play(driver: Driver, spec: Spec) -> Dict[str, Any]:
    """Plays the role of the process under test. Returns: what it measured."""
    if spec.role == "receive":
        marks = Marks(spec.consume_us)
        await driver.receive(spec.port, marks)
        return {"cpu_s": marks.cpu_s, "wall_s": marks.wall_s, "peak_kib": marks.peak_kib()}
    if spec.role == "client":
        other = cpu_clock_of(spec.pid)
        return await timed(await driver.connect_echo(spec.port), spec, lambda: time.process_time() + other())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port = await driver.serve()
    if spec.role == "echo":
        return await timed(await driver.connect_echo(port), spec, time.process_time)
    # The generator of the memory row asks for a collection, so that garbage of the handshakes is not counted.
    signal.signal(signal.SIGUSR1, lambda *_: gc.collect() and None)
    say(port=port, pid=os.getpid(), facts=driver.facts)
    await asyncio.get_running_loop().create_future()
    return {}


def main() -> None:
    """Reads the measurement from argv and makes it."""
    spec = Spec.from_json(sys.argv[1])
    os.sched_setaffinity(0, {spec.cpu})
    signal.alarm(int(60 + 5 * spec.seconds))
    driver: Driver = importlib.import_module("drivers." + spec.driver).Driver(spec)
    loop = new_loop(spec.loop)
    used = type(loop)
    version = getattr(importlib.import_module(spec.loop), "__version__", "of this Python")
    driver.facts.update(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        python_build=python_build(),
        openssl=ssl.OPENSSL_VERSION,
        loop=f"{used.__module__}.{used.__qualname__} {version}",
    )
    measured = loop.run_until_complete(play(driver, spec))
    driver.facts["numpy"] = "numpy" in sys.modules
    if driver.facts["numpy"] and os.environ.get("PICOWS_NUMPY") == "0":
        raise RuntimeError("numpy was imported in spite of PICOWS_NUMPY=0")
    say(**measured, facts=driver.facts)
    sys.stdout.flush()
    os._exit(0)  # an orderly shutdown of connections is no part of any row


if __name__ == "__main__":
    main()
