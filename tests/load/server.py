"""The server of the scripts of this directory: echoes messages, and answers commands that come in by stdin.

Messages are compressed where a client offers it. With --certificate there is a second port, which speaks TLS.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import gc
import json
import logging
import os
import resource
import socket
import ssl
import struct
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fixtures.places import rss_bytes

from picows import WSUpgradeResponse, WSUpgradeResponseWithListener, _engine, ws_create_server
from picows.deflate import DeflateCodec, DeflateOptions, negotiate
from picows.errors import WSConnectionClosed

EXTENSIONS = "Sec-WebSocket-Extensions"


def message_echo(engine: Any) -> Any:
    """A listener class that echoes messages."""

    class Echo(engine.WSMessageListener):  # type: ignore[misc, name-defined]
        def on_ws_connected(self, transport: Any) -> None:
            super().on_ws_connected(transport)
            asyncio.ensure_future(echo(self))

    return Echo


def frame_echo(engine: Any, send_buffer: int) -> Any:
    """A listener class that echoes frames. The kernel keeps at most `send_buffer` bytes for it, if that is not 0."""

    class Echo(engine.WSListener):  # type: ignore[misc, name-defined]
        def on_ws_connected(self, transport: Any) -> None:
            if send_buffer:
                sock = transport.underlying_transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == 8:
                transport.send_close(frame.get_close_code())
                transport.disconnect()
            else:
                transport.send(frame.msg_type, frame.get_payload_as_bytes())

    return Echo


def accept(request: Any, listener_class: Any) -> Any:
    """The answer to a request: with permessage-deflate if it is offered to a listener of messages."""
    if not hasattr(listener_class, "recv"):
        return listener_class()  # without a look at the headers: they are parsed when somebody does, and take 1 KiB
    offered = request.headers.getall(EXTENSIONS, [])
    agreed = negotiate(DeflateOptions(), offered) if offered else None
    if agreed is None:
        return listener_class()
    response = WSUpgradeResponse.create_101_response({EXTENSIONS: agreed[0]})
    codec = DeflateCodec(agreed[1], is_client_side=False)
    return WSUpgradeResponseWithListener(response, listener_class(codec=codec))


async def broadcast(server: Any, engine: Any, seconds: float, interval: float, size: int) -> dict[str, Any]:
    """Send the time to all connections, again and again. Returns how often, and what that took of memory."""
    sent = rss = buffered = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        at = time.monotonic()
        engine.ws_broadcast(server.connections, 2, struct.pack("<d", at) + bytes(size - 8))
        sent += 1
        buffered = max(buffered, *(each.write_buffer_size for each in server.connections), 0)
        rss = max(rss, rss_bytes() or 0)
        await asyncio.sleep(max(0.0, at + interval - time.monotonic()))
    return {"sent": sent, "rss": rss, "buffered": buffered, "connections": len(server.connections)}


class MeasuredLoop(asyncio.SelectorEventLoop):
    """Knows how long it was busy in one turn at most, by the clock of its thread, which other processes do not move."""

    slowest = 0.0

    def _run_once(self) -> None:
        began = time.thread_time()
        super()._run_once()  # type: ignore[misc]
        self.slowest = max(self.slowest, time.thread_time() - began)


async def echo(listener: Any) -> None:
    """Until the connection ends."""
    with contextlib.suppress(WSConnectionClosed):
        async for message in listener:
            await listener.send(message)


def stats(servers: list[Any], engine: Any, reports: list[str]) -> dict[str, Any]:
    """What this process holds, and what has reached the loop's exception handler."""
    connections = sum(len(server.connections) for server in servers)
    # By exact type: isinstance() would ask weak proxies of what is gone.
    kinds = (engine.WSTransport, engine.WSProtocol, engine.WSMessageListener)
    left = sum(issubclass(type(one), kinds) for one in gc.get_objects()) if not connections else -1
    fds = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    return {
        "rss": rss_bytes() or 0,
        "connections": connections,
        "objects": left,
        "fds": fds,
        "tasks": len(asyncio.all_tasks()) - 1,
        "loggers": len(logging.root.manager.loggerDict),
        "reports": reports[:5],
        "turn": getattr(asyncio.get_running_loop(), "slowest", 0.0),
    }


async def serve(options: argparse.Namespace) -> None:
    """Until stdin ends."""
    engine = _engine.load(options.engine)
    listener = frame_echo(engine, options.send_buffer) if options.layer == "frames" else message_echo(engine)
    listen = functools.partial(
        ws_create_server,
        lambda request: accept(request, listener),
        "127.0.0.1",
        0,
        engine=engine,
        backlog=4096,
        use_aiofastnet=False,
        open_timeout=options.open_timeout,
        close_timeout=options.close_timeout,
        enable_auto_ping=options.ping > 0,
        auto_ping_idle_timeout=options.ping or 20,
        auto_ping_reply_timeout=options.ping or 20,
        max_write_buffer_size=options.write_limit or None,
        logger_name=logging.Logger("silent", logging.CRITICAL + 1),
    )
    server = await listen()
    servers = [server]
    ready = {"port": server.sockets[0].getsockname()[1]}
    if options.certificate:
        # Of TLS after a reset asyncio logs every write, and until then is_closing() of the transport is false.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate)
        servers.append(await listen(ssl=context))
        ready["tls_port"] = servers[1].sockets[0].getsockname()[1]
    print(json.dumps(ready), flush=True)
    loop = asyncio.get_running_loop()
    reports: list[str] = []
    loop.set_exception_handler(lambda _, context: reports.append(str(context)))
    while True:
        command = (await loop.run_in_executor(None, sys.stdin.readline)).strip()
        if not command:
            break
        answer: dict[str, Any] = {}
        if command == "reset":
            loop.slowest = 0.0  # type: ignore[attr-defined]
        elif command == "nogc":
            gc.collect()
            gc.disable()
        elif command == "collect":
            gc.collect()
            answer = stats(servers, engine, reports)
        elif command.startswith("broadcast "):
            seconds, interval, size = command.split()[1:]
            answer = await broadcast(server, engine, float(seconds), float(interval), int(size))
        elif command == "close":
            began = time.monotonic()
            await server.close(1001, close_timeout=30)
            answer = {"seconds": time.monotonic() - began}
        else:
            answer = stats(servers, engine, reports)
        print(json.dumps(answer), flush=True)
    for each in servers:
        each.abort_clients()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--loop", required=True)
    parser.add_argument("--layer", default="messages", choices=["frames", "messages"])
    parser.add_argument("--open-timeout", type=float, default=10)
    parser.add_argument("--close-timeout", type=float, default=10)
    parser.add_argument("--ping", type=float, default=0)
    parser.add_argument("--write-limit", type=int, default=0, help="max_write_buffer_size; 0 is none")
    parser.add_argument("--send-buffer", type=int, default=0, help="of the kernel, with --layer frames; 0 as it likes")
    parser.add_argument("--certificate", default="", help="a file with key and certificates")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.loop == "uvloop":
        import uvloop

        loop = uvloop.new_event_loop()
    else:
        loop = MeasuredLoop()
    loop.run_until_complete(serve(options))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


if __name__ == "__main__":
    main()
