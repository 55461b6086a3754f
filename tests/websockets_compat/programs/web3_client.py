"""Requests and a subscription of web3, to a server that answers as a node of Ethereum does."""

from __future__ import annotations

import asyncio
import json

from web3 import AsyncWeb3, WebSocketProvider
from websockets.asyncio.server import ServerConnection, serve

RESULTS = {"eth_chainId": "0x1", "eth_blockNumber": "0x10", "eth_subscribe": "0xabc", "eth_unsubscribe": True}


async def node(websocket: ServerConnection) -> None:
    async for text in websocket:
        request = json.loads(text)
        print("server got", request["method"])
        answer = {"jsonrpc": "2.0", "id": request["id"], "result": RESULTS[request["method"]]}
        await websocket.send(json.dumps(answer))
        if request["method"] == "eth_subscribe":
            params = {"subscription": "0xabc", "result": "0x" + "12" * 32}
            await websocket.send(json.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": params}))
    print("server saw", websocket.close_code)


async def main() -> None:
    async with serve(node, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncWeb3(WebSocketProvider(f"ws://127.0.0.1:{port}/")) as web3:
            print(await web3.is_connected(), await web3.eth.chain_id, await web3.eth.block_number)
            await web3.eth.subscribe("newPendingTransactions")
            async for notification in web3.socket.process_subscriptions():
                print(notification)
                break


asyncio.run(main())
