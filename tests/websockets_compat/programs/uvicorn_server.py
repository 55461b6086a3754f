"""An ASGI application on uvicorn: echo, a subprotocol, a close code, refusals, failures, the end of the server.

Argument: uvicorn's `--ws`.
"""

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
    if scope["path"] == "/denied":
        await send({"type": "websocket.http.response.start", "status": 402, "headers": [(b"x-why", b"money")]})
        await send({"type": "websocket.http.response.body", "body": b"pay", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b" first"})
        return
    if scope["path"] == "/fails":
        raise KeyError("before accept")
    if scope["path"] != "/":
        await converse_with(scope, receive, send)
        return
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0], "headers": [(b"x-app", b"1")]})
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "as asked"})
        else:
            await send({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})
    print("application got", event)


async def converse_with(scope: Any, receive: Any, send: Any) -> None:
    """By path: answer two messages and return, fail, or wait for the end."""
    await send({"type": "websocket.accept"})
    if scope["path"] == "/returns":
        for _ in range(2):
            await send({"type": "websocket.send", "text": (await receive())["text"].upper()})
    elif scope["path"] == "/raises":
        await receive()
        raise KeyError("after accept")
    else:
        print("the server says", await receive())


async def ends(uri: str, *messages: str, opened: asyncio.Event | None = None) -> None:
    """Send messages; print what comes and how it ends."""
    async with connect(uri) as websocket:
        if opened is not None:
            opened.set()
        for message in messages:
            await websocket.send(message)
        try:
            while True:
                print(uri.rpartition("/")[2], await websocket.recv())
        except ConnectionClosed as exc:
            print(uri.rpartition("/")[2], exc)


async def converse(port: int) -> None:
    for path in ("denied", "fails"):
        try:
            await connect(f"ws://127.0.0.1:{port}/{path}")
        except InvalidStatus as exc:
            print(exc, exc.response.body, exc.response.headers.get("x-why"))
    await ends(f"ws://127.0.0.1:{port}/returns", "one", "two")
    await ends(f"ws://127.0.0.1:{port}/raises", "one")
    async with connect(f"ws://127.0.0.1:{port}/?a=b", subprotocols=["first", "second"]) as websocket:
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
    config = uvicorn.Config(application, port=0, ws=protocol, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    await converse(port)
    opened = asyncio.Event()
    waiting = asyncio.create_task(ends(f"ws://127.0.0.1:{port}/waits", opened=opened))
    await opened.wait()
    server.should_exit = True
    await asyncio.gather(serving, waiting)


asyncio.run(main(sys.argv[1]))
