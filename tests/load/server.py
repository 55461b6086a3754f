"""The server of the scripts of this directory: echoes messages, and answers commands that come in by stdin.

Messages are compressed where a client offers it. A message "end: HOW" ends its connection (see `process.end`). With
--certificate there is a second port, which speaks TLS.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import socket
import ssl
import struct
import sys
import time
from typing import Any

import drop_in
from process import SILENT, end, make_loop, rss_bytes, stats

from picows import WSUpgradeResponse, WSUpgradeResponseWithListener, _engine, ws_create_server
from picows.deflate import DeflateCodec, DeflateOptions, negotiate
from picows.errors import WSConnectionClosed

EXTENSIONS = "Sec-WebSocket-Extensions"
END = "end: "


def message_echo(engine: Any, options: argparse.Namespace) -> Any:
    """A listener class that echoes messages."""
    limits = {"max_message_size": options.max_size} if options.max_size else {}

    class Echo(engine.WSMessageListener):  # type: ignore[misc, name-defined]
        def __init__(self, codec: Any = None) -> None:
            super().__init__(codec=codec, **limits)

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
            elif frame.msg_type == 1 and frame.get_payload_as_bytes().startswith(END.encode()):
                how = frame.get_payload_as_utf8_text()[len(END) :]
                if how == "CLOSE":
                    transport.send_close(1000)
                else:
                    asyncio.ensure_future(end(how, None, transport.underlying_transport))
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
    is_drop_in = isinstance(server, drop_in.DropInServer)
    end_at = time.monotonic() + seconds
    while time.monotonic() < end_at:
        at = time.monotonic()
        message = struct.pack("<d", at) + bytes(size - 8)
        if is_drop_in:
            server.broadcast(message)
            buffers = [each.transport.get_write_buffer_size() for each in server.connections]
        else:
            engine.ws_broadcast(server.connections, 2, message)
            buffers = [each.write_buffer_size for each in server.connections]
        sent += 1
        buffered = max(buffered, *buffers, 0)
        rss = max(rss, rss_bytes() or 0)
        await asyncio.sleep(max(0.0, at + interval - time.monotonic()))
    return {"sent": sent, "rss": rss, "buffered": buffered, "connections": len(server.connections)}


async def echo(listener: Any) -> None:
    """Until the connection ends."""
    with contextlib.suppress(WSConnectionClosed):
        async for message in listener:
            if isinstance(message, str) and message.startswith(END):
                await end(message[len(END) :], listener, listener.transport.underlying_transport)
            else:
                await listener.send(message)


async def echo_drop_in(connection: Any) -> None:
    """The same, for picows.websockets."""
    async for message in connection:
        if isinstance(message, str) and message.startswith(END):
            await end(message[len(END) :], connection, connection.transport)
        else:
            await connection.send(message)


async def listen(engine: Any, options: argparse.Namespace, ssl_context: Any = None) -> Any:
    """A server of the layer that was asked for."""
    if options.layer == "drop-in":
        return await drop_in.listen(engine, options, echo_drop_in, ssl_context)
    listener = frame_echo(engine) if options.layer == "frames" else message_echo(engine, options)
    return await ws_create_server(
        lambda request: accept(request, listener),
        "127.0.0.1",
        0,
        ssl=ssl_context,
        engine=engine,
        backlog=4096,
        use_aiofastnet=False,
        open_timeout=options.open_timeout,
        close_timeout=options.close_timeout,
        enable_auto_ping=options.ping > 0,
        auto_ping_idle_timeout=options.ping or 20,
        auto_ping_reply_timeout=options.ping or 20,
        max_write_buffer_size=options.write_limit or None,
        logger_name=SILENT,
        **({"max_frame_size": options.max_size} if options.max_size else {}),
    )


async def serve(options: argparse.Namespace) -> None:
    """Until stdin ends."""
    engine = _engine.load(options.engine)
    server = await listen(engine, options)
    servers = [server]
    if options.kernel_buffer:  # connections inherit it
        for direction in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            server.sockets[0].setsockopt(socket.SOL_SOCKET, direction, options.kernel_buffer)
    ready = {"port": server.sockets[0].getsockname()[1]}
    if options.certificate:
        # Of TLS after a reset asyncio logs every write, and until then is_closing() of the transport is false.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate)
        servers.append(await listen(engine, options, context))
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
            answer = stats(engine, sum(len(each.connections) for each in servers), reports)
        elif command.startswith("broadcast "):
            seconds, interval, size = command.split()[1:]
            answer = await broadcast(server, engine, float(seconds), float(interval), int(size))
        elif command == "close":
            began = time.monotonic()
            await server.close(1001, close_timeout=30)
            answer = {"seconds": time.monotonic() - began}
        else:
            answer = stats(engine, sum(len(each.connections) for each in servers), reports)
        print(json.dumps(answer), flush=True)
    for each in servers:
        each.abort_clients()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--loop", required=True)
    parser.add_argument("--layer", default="messages", choices=["frames", "messages", "drop-in"])
    parser.add_argument("--open-timeout", type=float, default=10)
    parser.add_argument("--close-timeout", type=float, default=10)
    parser.add_argument("--ping", type=float, default=0)
    parser.add_argument("--max-size", type=int, default=0, help="of frames and messages; 0 is what the layer has")
    parser.add_argument("--write-limit", type=int, default=0, help="max_write_buffer_size; 0 is none")
    parser.add_argument("--kernel-buffer", type=int, default=0, help="bytes, each way; 0 is as the kernel likes")
    parser.add_argument("--certificate", default="", help="a file with key and certificates")
    options = parser.parse_args()
    loop = make_loop(options)
    loop.run_until_complete(serve(options))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


if __name__ == "__main__":
    main()
