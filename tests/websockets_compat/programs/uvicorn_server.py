"""An ASGI application on uvicorn: echo, a subprotocol, a close code, a refusal. Argument: uvicorn's `--ws`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


async def application(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if scope["path"] == "/refused":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0], "headers": [(b"x-app", b"1")]})
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "as asked"})
        else:
            await send({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})
    print("application got", event)


async def converse(port: int) -> None:
    async with connect(f"ws://127.0.0.1:{port}/echo?a=b", subprotocols=["first", "second"]) as websocket:
        print(websocket.subprotocol, websocket.response.headers["x-app"], websocket.protocol.extensions)
        for message in ("", "h\xe9" * 3000, b"\x00\xff" * 70_000):
            await websocket.send(message)
            print(await websocket.recv() == message)
        await websocket.close(4002, "client")
    async with connect(f"ws://127.0.0.1:{port}/", subprotocols=["first"], compression=None) as websocket:
        await websocket.send("close")
        try:
            await websocket.recv()
        except ConnectionClosed as exc:
            print(exc)
    try:
        await connect(f"ws://127.0.0.1:{port}/refused")
    except InvalidStatus as exc:
        print(exc)


async def main(protocol: Any) -> None:
    config = uvicorn.Config(application, port=0, ws=protocol, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    await converse(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    await serving


asyncio.run(main(sys.argv[1]))
