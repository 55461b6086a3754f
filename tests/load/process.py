"""What the server and the clients of the load scripts share: what their processes hold, and how connections end."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import resource
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fixtures.drop_in import load_drop_in
from fixtures.places import rss_bytes

__all__ = ["load_drop_in", "rss_bytes"]  # for the scripts, which must not look for fixtures themselves

SILENT = logging.Logger("silent", logging.CRITICAL + 1)
RUBBISH = b"\xff" * 50
#: How one side ends a connection.
ENDS = ("CLOSE", "FIN", "RST", "violation")
#: What belongs to one connection of the drop-in, beside the engine's classes. By name: the modules may be copies.
_OF_A_CONNECTION = {"ClientProtocol", "ServerProtocol", "ClientOpening", "ServerOpening", "Keepalive", "Pings"}


class MeasuredLoop(asyncio.SelectorEventLoop):
    """Knows how long it was busy in one turn at most, by the clock of its thread, which other processes do not move."""

    slowest = 0.0

    def _run_once(self) -> None:
        began = time.thread_time()
        super()._run_once()  # type: ignore[misc]
        self.slowest = max(self.slowest, time.thread_time() - began)


def make_loop(options: argparse.Namespace) -> asyncio.AbstractEventLoop:
    """The loop that was asked for, in a process with as many descriptors as it may have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.loop == "uvloop":
        import uvloop

        return uvloop.new_event_loop()  # type: ignore[no-any-return]
    return MeasuredLoop()


def objects_of_connections(engine: Any) -> int:
    """How many objects of connections there are, alive or in cycles."""
    # By exact type: isinstance() would ask weak proxies of what is gone.
    kinds = (engine.WSTransport, engine.WSProtocol, engine.WSListener, engine.WSMessageListener)
    return sum(
        issubclass(kind, kinds) or (kind.__name__ in _OF_A_CONNECTION and kind.__module__.startswith("picows."))
        for kind in map(type, gc.get_objects())
    )


def stats(engine: Any, connections: int, reports: List[str]) -> Dict[str, Any]:
    """What this process holds, and what has reached the loop's exception handler."""
    return {
        "rss": rss_bytes() or 0,
        "connections": connections,
        "objects": -1 if connections else objects_of_connections(engine),
        "fds": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
        "tasks": len(asyncio.all_tasks()) - 1,
        "loggers": len(logging.root.manager.loggerDict),
        "reports": reports[:5],
        "turn": getattr(asyncio.get_running_loop(), "slowest", 0.0),
    }


async def end(how: str, connection: Any, transport: Any) -> None:
    """End a connection.

    Args:
        how: one of ENDS.
        connection: has `close`.
        transport: of asyncio.
    """
    if how == "CLOSE":
        await connection.close()
    elif how == "FIN":
        transport.close()
    elif how == "RST":
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.write(RUBBISH)
