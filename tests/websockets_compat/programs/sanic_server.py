"""A Sanic application: echo, a subprotocol, the end of the handler."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from sanic import Sanic
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

application = Sanic("compat", configure_logging=False)
application.config.MOTD = False


@application.websocket("/echo", subprotocols=["chat"])
async def echo(request: Any, websocket: Any) -> None:
    print("handler has subprotocol", websocket.subprotocol)
    async for message in websocket:
        if message == "end":
            return
        await websocket.send(message)


async def converse(port: int) -> None:
    async with connect(f"ws://127.0.0.1:{port}/echo", subprotocols=["other", "chat"]) as websocket:
        print(websocket.subprotocol, websocket.protocol.extensions)
        for message in ("", "h\xe9" * 3000, b"\x00\xff" * 70_000):
            await websocket.send(message)
            print(await websocket.recv() == message)
        await (await websocket.ping(b"alive"))
        await websocket.send("end")
        try:
            await websocket.recv()
        except ConnectionClosed as exc:
            print(exc)


async def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    server = await application.create_server(sock=listening, return_asyncio_server=True)
    await server.startup()
    await server.start_serving()
    await converse(listening.getsockname()[1])
    server.close()


asyncio.run(main())
