"""The server of the scripts of this directory: echoes messages, and answers commands that come in by stdin."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fixtures.places import rss_bytes

from picows import _engine, ws_create_server
from picows.errors import WSConnectionClosed


def message_echo(engine: Any) -> Any:
    """A listener class that echoes messages."""

    class Echo(engine.WSMessageListener):  # type: ignore[misc, name-defined]
        def on_ws_connected(self, transport: Any) -> None:
            super().on_ws_connected(transport)
            asyncio.ensure_future(echo(self))

    return Echo


def frame_echo(engine: Any) -> Any:
    """A listener class that echoes frames."""

    class Echo(engine.WSListener):  # type: ignore[misc, name-defined]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == 8:
                transport.send_close(frame.get_close_code())
                transport.disconnect()
            else:
                transport.send(frame.msg_type, frame.get_payload_as_bytes())

    return Echo


async def echo(listener: Any) -> None:
    """Until the connection ends."""
    with contextlib.suppress(WSConnectionClosed):
        async for message in listener:
            await listener.send(message)


def stats(server: Any, engine: Any) -> dict[str, Any]:
    """What this process holds."""
    # By exact type: isinstance() would ask weak proxies of what is gone.
    kinds = (engine.WSTransport, engine.WSProtocol, engine.WSMessageListener)
    left = sum(issubclass(type(one), kinds) for one in gc.get_objects()) if not server.connections else -1
    fds = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    return {
        "rss": rss_bytes() or 0,
        "connections": len(server.connections),
        "objects": left,
        "fds": fds,
        "tasks": len(asyncio.all_tasks()) - 1,
        "loggers": len(logging.root.manager.loggerDict),
    }


async def serve(options: argparse.Namespace) -> None:
    """Until stdin ends."""
    engine = _engine.load(options.engine)
    listener = frame_echo(engine) if options.layer == "frames" else message_echo(engine)
    server = await ws_create_server(
        lambda request: listener(),
        "127.0.0.1",
        0,
        engine=engine,
        backlog=4096,
        use_aiofastnet=False,
        open_timeout=options.open_timeout,
        enable_auto_ping=options.ping > 0,
        auto_ping_idle_timeout=options.ping or 20,
        auto_ping_reply_timeout=options.ping or 20,
        logger_name=logging.Logger("silent", logging.CRITICAL + 1),
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    loop = asyncio.get_running_loop()
    while True:
        command = (await loop.run_in_executor(None, sys.stdin.readline)).strip()
        if not command:
            break
        answer: dict[str, Any] = {}
        if command == "nogc":
            gc.collect()
            gc.disable()
        elif command == "collect":
            gc.collect()
            answer = stats(server, engine)
        elif command == "close":
            began = time.monotonic()
            await server.close(1001, close_timeout=30)
            answer = {"seconds": time.monotonic() - began}
        else:
            answer = stats(server, engine)
        print(json.dumps(answer), flush=True)
    server.abort_clients()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--loop", required=True)
    parser.add_argument("--layer", default="messages", choices=["frames", "messages"])
    parser.add_argument("--open-timeout", type=float, default=10)
    parser.add_argument("--ping", type=float, default=0)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.loop == "uvloop":
        import uvloop

        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    loop.run_until_complete(serve(options))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


if __name__ == "__main__":
    main()
