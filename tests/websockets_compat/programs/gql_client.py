"""A query and a subscription of gql, to a server of the protocol graphql-transport-ws."""

from __future__ import annotations

import asyncio
import json

from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport
from websockets.asyncio.server import ServerConnection, serve


async def graphql(websocket: ServerConnection) -> None:
    print("server got", websocket.request.headers["X-Token"], websocket.subprotocol)
    async for text in websocket:
        message = json.loads(text)
        if message["type"] == "connection_init":
            await websocket.send(json.dumps({"type": "connection_ack"}))
        elif message["type"] == "subscribe":
            names = range(3) if "subscription" in message["payload"]["query"] else range(1)
            for number in names:
                data = {"type": "next", "id": message["id"], "payload": {"data": {"number": number}}}
                await websocket.send(json.dumps(data))
            await websocket.send(json.dumps({"type": "complete", "id": message["id"]}))
    print("server saw", websocket.close_code, websocket.close_reason)


async def main() -> None:
    async with serve(graphql, "127.0.0.1", 0, subprotocols=["graphql-transport-ws"]) as server:
        port = server.sockets[0].getsockname()[1]
        transport = WebsocketsTransport(url=f"ws://127.0.0.1:{port}/", headers={"X-Token": "secret"})
        async with Client(transport=transport) as session:
            print(await session.execute(gql("{ number }")))
            async for result in session.subscribe(gql("subscription { number }")):
                print(result)


asyncio.run(main())
