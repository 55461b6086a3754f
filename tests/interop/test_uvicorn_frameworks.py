"""Starlette and FastAPI over picows.websockets.uvicorn, and over uvicorn's own implementations: the same is seen."""

from __future__ import annotations

import json
from typing import Any, List

import pytest
from fixtures.asgi import Scenarios, Side, close_of, outcome_of
from fixtures.sockets import until

pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install uvicorn")
pytest.importorskip("wsproto", reason="wsproto is not installed: pip install wsproto")
pytest.importorskip("starlette", reason="starlette is not installed: pip install starlette")
theirs = pytest.importorskip("websockets.asyncio.client", reason="websockets is not installed: pip install websockets")
ours = pytest.importorskip("picows.websockets.asyncio.client", reason="picows-websockets is not installed")

from starlette.applications import Starlette  # noqa: E402
from starlette.endpoints import WebSocketEndpoint  # noqa: E402
from starlette.exceptions import HTTPException, WebSocketException  # noqa: E402
from starlette.responses import JSONResponse, StreamingResponse  # noqa: E402
from starlette.routing import Mount, WebSocketRoute  # noqa: E402
from starlette.websockets import WebSocket, WebSocketDisconnect  # noqa: E402

scenarios = Scenarios({"our-client": ours.connect, "their-client": theirs.connect})
seen = scenarios.seen


def app_of(endpoint: Any, path: str = "/") -> Starlette:
    return Starlette(routes=[WebSocketRoute(path, endpoint)])


# --- Starlette ---


@seen(["text", b"bytes", '{"a":[1]}', b'{"a":[1]}'])
async def every_kind(side: Side) -> Any:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.send_bytes(await websocket.receive_bytes())
        await websocket.send_json(await websocket.receive_json())
        await websocket.send_json(await websocket.receive_json(mode="binary"), mode="binary")
        await websocket.close()

    async with side.serve(app_of(endpoint)) as served, side.connect(served.url()) as client:
        for message in ("text", b"bytes", '{"a": [1]}', b'{"a": [1]}'):
            await client.send(message)
        return [message async for message in client]


@seen([["a", "b"], 1001])
async def iterate(side: Side) -> Any:
    got: List[Any] = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        got.append([message async for message in websocket.iter_text()])

    async with side.serve(app_of(endpoint)) as served:
        async with side.connect(served.url()) as client:
            await client.send("a")
            await client.send("b")
            await client.close(1001)
        await until(lambda: got)
        return [*got, client.close_code]


@seen((1000, "done", [3001, "why"]))
async def disconnects(side: Side) -> Any:
    got: List[Any] = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        if websocket.query_params.get("close"):
            await websocket.close(reason="done")
            return
        try:
            await websocket.receive_text()
        except WebSocketDisconnect as exc:
            got.append([exc.code, exc.reason])

    async with side.serve(app_of(endpoint)) as served:
        async with side.connect(served.url("/?close=1")) as client:
            code, reason = await close_of(client)
        async with side.connect(served.url()) as client:
            await client.close(3001, "why")
        await until(lambda: got)
        return code, reason, *got


@seen(((401, {"detail": "who"}), (403, b""), (1008, "not here")))
async def exceptions(side: Side) -> Any:
    async def endpoint(websocket: WebSocket) -> None:
        if websocket.path_params["how"] == "http":
            raise HTTPException(401, "who")
        if websocket.path_params["how"] == "accepted":
            await websocket.accept()
        raise WebSocketException(1008, "not here")

    async def answer(websocket: WebSocket, exc: Exception) -> None:
        await websocket.send_denial_response(JSONResponse({"detail": "who"}, 401))

    app = Starlette(routes=[WebSocketRoute("/{how}", endpoint)], exception_handlers={HTTPException: answer})
    async with side.serve(app) as served:
        status, body = await outcome_of(side.connect(served.url("/http")))
        before = await outcome_of(side.connect(served.url("/early")))
        async with side.connect(served.url("/accepted")) as client:
            return (status, json.loads(body)), before, await close_of(client)


@seen((402, b"0123456789"))
async def streamed_denial(side: Side) -> Any:
    async def digits() -> Any:
        for digit in range(10):
            yield str(digit)

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.send_denial_response(StreamingResponse(digits(), 402, {"content-length": "10"}))

    async with side.serve(app_of(endpoint)) as served:
        return await outcome_of(side.connect(served.url()))


@seen([(403, b""), (101, b"")])
async def routes(side: Side) -> Any:
    async def endpoint(websocket: WebSocket) -> None:
        assert websocket.url.path == f"/sub/{websocket.path_params['name']}"
        await websocket.accept()

    app = Starlette(routes=[Mount("/sub", routes=[WebSocketRoute("/{name}", endpoint)])])
    async with side.serve(app) as served:
        return [await outcome_of(side.connect(served.url(path))) for path in ("/nowhere", "/sub/a%20b")]


@seen((["connect", "HELLO"], ("disconnect", 1000), "v1"))
async def class_of_endpoints(side: Side) -> Any:
    ends: List[Any] = []

    class Shout(WebSocketEndpoint):
        encoding = "text"

        async def on_connect(self, websocket: WebSocket) -> None:
            await websocket.accept(websocket.scope["subprotocols"][0])
            await websocket.send_text("connect")

        async def on_receive(self, websocket: WebSocket, data: Any) -> None:
            await websocket.send_text(data.upper())

        async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
            ends.append(("disconnect", close_code))

    async with side.serve(app_of(Shout)) as served:
        async with side.connect(served.url(), subprotocols=["v1"]) as client:
            await client.send("hello")
            got = [await client.recv(), await client.recv()]
        await until(lambda: ends)
        return got, *ends, client.subprotocol


@seen([True, True])
async def send_to_nobody(side: Side) -> Any:
    """The client is gone, and the application does not receive: sending says so."""
    got: List[Any] = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text("x" * 1000)
        except WebSocketDisconnect as exc:
            got.append(exc.code == 1006)
            got.append(websocket.application_state.name == "DISCONNECTED")

    async with side.serve(app_of(endpoint)) as served, served.raw_client() as peer:
        await peer.upgrade()
        await peer.read_frame()
        peer.reset()
        await until(lambda: got)
    return got


# --- FastAPI ---


@seen([{"item": 7, "token": "secret", "q": "x"}, (403, b""), 1008])
async def fastapi(side: Side) -> Any:
    module = pytest.importorskip("fastapi", reason="fastapi is not installed: pip install fastapi")

    async def check(websocket: Any, token: Any = None) -> Any:
        if token is None:
            raise module.WebSocketException(code=1008)
        return token

    check.__annotations__ = {"websocket": module.WebSocket, "token": "str | None"}
    app = module.FastAPI()

    async def endpoint(websocket: Any, item: int, token: Any = module.Depends(check), q: Any = None) -> None:  # noqa: B008
        await websocket.accept()
        await websocket.send_json({"item": item, "token": token, "q": q})
        await websocket.receive_text()
        raise module.WebSocketException(code=1008)

    endpoint.__annotations__ = {"websocket": module.WebSocket, "item": int, "token": str, "q": "str | None"}
    app.websocket("/items/{item}")(endpoint)
    async with side.serve(app) as served:
        refused = await outcome_of(side.connect(served.url("/items/7")))
        async with side.connect(served.url("/items/7?token=secret&q=x")) as client:
            first = json.loads(await client.recv())
            await client.send("go on")
            code, _ = await close_of(client)
        return [first, refused, code]


@pytest.mark.parametrize(("name", "side"), scenarios.cases())
async def test_the_same(name: str, side: Side) -> None:
    scenario, expected = scenarios.get(name, side)
    assert await scenario(side) == expected
