"""What the suites are parametrised over, and how one value of each is had.

The lists are the same on every machine, so that results of several stand side by side; what a machine does not have
raises NotImplementedError, which asv shows as n/a.

Not every suite has every axis, where it could only show the same figure again:

    kernels   Mask, Utf8, Parse, Send, Echo, Pipeline, Flood: their payloads pass a kernel for each message. A broadcast
              is not masked and not checked. Handshakes, waking and memory have no payload to speak of. The drop-in is
              Echo with Python around it, and with compression zlib takes the time.
    loop, TLS whatever has sockets. Parse, Send, the suites of kernels and messages, and instruction counts have none.
    size      whatever has payloads. Connect and Accept have none.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import ssl
import sys
from pathlib import Path
from typing import Any, Tuple

BENCHMARKS = Path(__file__).resolve().parents[1]
#: `loads.wire`: raw sockets and prebuilt frames; `fixtures.wire`: connections without a network.
for _folder in (BENCHMARKS / "peers", BENCHMARKS.parent / "tests"):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))

#: Sets of kernels, as PICOWS_SIMD spells them.
LEVELS = ["generic", "sse2", "avx2", "avx512", "neon"]
ENGINES = ["pure", "core"]
#: picows.pure, and picows.core with each set of kernels.
ENGINES_BY_LEVEL = ["pure", *(f"core-{level}" for level in LEVELS)]
LOOPS = ["asyncio", "uvloop"]
LINKS = ["tcp", "tls"]
#: Whose transports: the event loop's own, or those of aiofastnet, which picows-core takes by default.
TRANSPORTS = ["own", "aiofastnet"]
#: APIs of a server: callbacks, coroutines on messages, and `picows.websockets`.
LAYERS = ["listener", "messages", "drop-in"]


class Timed:
    """How long asv measures one case: about a second."""

    repeat = (3, 10, 0.7)
    sample_time = 0.02
    warmup_time = 0.05
    timeout = 60


def use(name: str) -> Any:
    """An engine, with its kernels.

    Args:
        name: one of ENGINES or ENGINES_BY_LEVEL.

    Raises:
        NotImplementedError: this processor has no such kernels, or this process has imported picows with others.
    """
    implementation, _, level = name.partition("-")
    os.environ["PICOWS_IMPL"] = implementation
    if level:
        os.environ["PICOWS_SIMD"] = level
    try:
        engine: Any = importlib.import_module("picows._engine").load(implementation)
    except ImportError as exc:
        if level and "PICOWS_SIMD=" in str(exc):
            raise NotImplementedError(str(exc)) from exc
        raise
    if level and engine.simd() != level:
        raise NotImplementedError(f"this process runs the kernels {engine.simd()}, not {level}")
    return engine


def use_for_all(name: str) -> None:
    """Make it the engine that `picows` and `picows.websockets` take by themselves; raises as `use`."""
    use(name)
    running = importlib.import_module("picows").__impl__
    if running != name:
        raise NotImplementedError(f"this process runs {running}, not {name}")


def kernels(level: str) -> Any:
    """The module that calls kernels by name. Raises NotImplementedError if these do not run here."""
    module = importlib.import_module("picows.core._kernels")
    if (level, True) not in module.available():
        raise NotImplementedError(f"this processor does not run {level}")
    return module


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """An event loop. Raises NotImplementedError where it is not installed."""
    if name == "asyncio":
        return asyncio.SelectorEventLoop()
    try:
        return importlib.import_module(name).new_event_loop()  # type: ignore[no-any-return]
    except ModuleNotFoundError as exc:
        raise NotImplementedError(str(exc)) from exc


@functools.lru_cache(maxsize=1)
def contexts() -> Tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts of the server and of a client that trusts it. NotImplementedError where trustme is missing."""
    try:
        import trustme
    except ModuleNotFoundError as exc:
        raise NotImplementedError("trustme makes the certificates and is not installed") from exc
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client
