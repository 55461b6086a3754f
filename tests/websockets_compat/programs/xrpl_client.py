"""A request of xrpl-py, and messages that it did not ask for."""

from __future__ import annotations

import asyncio
import json

from websockets.asyncio.server import ServerConnection, serve
from xrpl.asyncio.clients import AsyncWebsocketClient
from xrpl.models.requests import Fee


async def ledger(websocket: ServerConnection) -> None:
    async for text in websocket:
        request = json.loads(text)
        print("server got", request["command"])
        answer = {"id": request["id"], "status": "success", "type": "response", "result": {"levels": [1, 2]}}
        await websocket.send(json.dumps(answer))
        await websocket.send(json.dumps({"type": "ledgerClosed", "ledger_index": 7, "filler": "x" * 100_000}))
    print("server saw", websocket.close_code)


async def main() -> None:
    async with serve(ledger, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncWebsocketClient(f"ws://127.0.0.1:{port}/") as client:
            print((await client.request(Fee())).result, client.is_open())
            async for message in client:
                if message["type"] == "ledgerClosed":
                    print(message["ledger_index"], len(message["filler"]))
                    break
        print(client.is_open())


asyncio.run(main())
