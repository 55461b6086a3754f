"""Streams of alpaca-py, which uses the API before websockets 14: trades in MessagePack, orders in JSON."""

from __future__ import annotations

import asyncio
import datetime
import json
from typing import Any

import msgpack
from alpaca.data.live import StockDataStream
from alpaca.trading.stream import TradingStream
from websockets.asyncio.server import ServerConnection, serve

TRADE = {
    "T": "t", "S": "ABC", "i": 1, "x": "V", "p": 1.5, "s": 10, "z": "A", "c": ["@"],
    "t": msgpack.Timestamp.from_datetime(datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)),
}  # fmt: skip


async def market(websocket: ServerConnection) -> None:
    headers = websocket.request.headers
    print("market got", headers["Content-Type"], headers["X-Mine"])

    async def say(*messages: Any) -> None:
        await websocket.send(msgpack.packb(list(messages)))

    await say({"T": "success", "msg": "connected"})
    print("market got", msgpack.unpackb(await websocket.recv()))
    await say({"T": "success", "msg": "authenticated"})
    print("market got", msgpack.unpackb(await websocket.recv())["action"])
    for _ in range(3):
        await say(TRADE, TRADE)
    await websocket.wait_closed()
    print("market saw", websocket.close_code)


async def orders(websocket: ServerConnection) -> None:
    print("orders got", json.loads(await websocket.recv())["action"])
    await websocket.send(json.dumps({"stream": "authorization", "data": {"status": "authorized"}}).encode())
    print("orders got", json.loads(await websocket.recv())["action"])
    await websocket.send(json.dumps({"stream": "trade_updates", "data": {"event": "new", "price": "1"}}).encode())
    await websocket.wait_closed()
    print("orders saw", websocket.close_code)


async def main() -> None:
    async with serve(market, "127.0.0.1", 0) as server, serve(orders, "127.0.0.1", 0) as other:
        port, other_port = (each.sockets[0].getsockname()[1] for each in (server, other))
        params = {"extra_headers": {"X-Mine": "yes"}, "ping_interval": 10, "max_queue": 1024}
        stream = StockDataStream("key", "secret", url_override=f"ws://127.0.0.1:{port}", websocket_params=params)
        done = asyncio.Event()
        count = 0

        async def on_trade(trade: Any) -> None:
            nonlocal count
            count += 1
            if count == 6:
                print(trade.symbol, trade.price, trade.timestamp)
                await stream.stop_ws()

        stream.subscribe_trades(on_trade, "ABC")
        await asyncio.wait_for(stream._run_forever(), 15)
        print(count)

        updates = TradingStream("key", "secret", paper=True, raw_data=True, url_override=f"ws://127.0.0.1:{other_port}")

        async def on_update(update: Any) -> None:
            print(update)
            await updates.stop_ws()
            done.set()

        updates.subscribe_trade_updates(on_update)
        running = asyncio.ensure_future(updates._run_forever())
        await asyncio.wait_for(done.wait(), 15)
        await asyncio.wait_for(running, 15)


asyncio.run(main())
