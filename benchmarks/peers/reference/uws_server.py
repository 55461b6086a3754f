"""uWebSockets as a server, through socketify: an outside reference, its callbacks in Python and all else in C++.

The process under test of server rows, in the environment `uws`. It waits in libuv, as uWebSockets is made to: the loop
that `App.run()` starts belongs to asyncio and asks libuv again and again instead, which handlers without coroutines do
not need, and which would count as CPU here. usage: uws_server.py SPEC (the JSON of spec.py)
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import platform
import random
import resource
import signal
import sys
from pathlib import Path
from typing import Any, Dict

from socketify import App, AppListenOptions, CompressOptions, OpCode

sys.path.append(str(Path(__file__).resolve().parents[1]))

from spec import MESSAGE_LIMIT, Spec

TOPIC = "all"
QUEUE = 256 * 1024 * 1024
"""Bytes that may wait for one connection, more than any row sends: what is above is dropped without a word."""
COMPRESSION = CompressOptions.DEDICATED_COMPRESSOR_32KB | CompressOptions.DEDICATED_DECOMPRESSOR_32KB
"""A context of its own for each connection, 12 bits of window and memory level 5, as websockets has by default."""
WAKE_MS = 50


def behaviour(spec: Spec, app: Any) -> Dict[str, Any]:
    """Returns: what socketify's `ws` takes: handlers and limits."""
    message = random.randbytes(spec.size)

    def opened(socket: Any) -> None:
        socket.subscribe(TOPIC)

    def echo(socket: Any, data: Any, opcode: Any) -> None:
        socket.send(data, opcode, spec.deflate)

    def broadcast(socket: Any, data: Any, opcode: Any) -> None:
        for _ in range(spec.repeat):
            app.publish(TOPIC, message, OpCode.BINARY, False)

    return {
        "compression": COMPRESSION if spec.deflate else CompressOptions.DISABLED,
        "max_payload_length": MESSAGE_LIMIT,
        "max_backpressure": QUEUE,
        "idle_timeout": 0,
        "message": broadcast if spec.server == "broadcast" else echo,
        **({"open": opened} if spec.server == "broadcast" else {}),
    }


def facts(spec: Spec) -> Dict[str, Any]:
    """Returns: versions and settings."""
    version = importlib.metadata.version("socketify")
    return {
        "library": f"uWebSockets, through socketify {version}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "loop": "libuv of the system, waiting in the kernel",
        "compression": "12 bits, memory level 5, a context for each connection" if spec.deflate else None,
        "max_payload_length": MESSAGE_LIMIT,
        "idle_timeout": 0,
        "backlog": "512, fixed",
        "broadcast": "publish",
    }


def main() -> None:
    """Pins itself, listens, and serves until it is terminated."""
    spec = Spec.from_json(sys.argv[1])
    os.sched_setaffinity(0, {spec.cpu})
    signal.alarm(int(60 + 5 * spec.seconds))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    app = App()
    app.ws("/*", behaviour(spec, app))

    def listening(config: Any) -> None:
        print(json.dumps({"port": config.port, "pid": os.getpid(), "facts": facts(spec)}), flush=True)

    app.listen(AppListenOptions(port=spec.port, host="127.0.0.1"), listening)
    loop = app.loop.uv_loop
    if spec.row.startswith("memory"):
        # The generator asks for a collection by signal, and Python takes signals when it runs.
        signal.signal(signal.SIGUSR1, lambda *_: gc.collect() and None)
        app.waker = loop.create_timer(WAKE_MS, WAKE_MS, lambda _: None, None)
    loop.run()


if __name__ == "__main__":
    main()
