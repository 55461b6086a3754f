"""picows.websockets.uvicorn beside uvicorn's own implementations: what an application and its clients see is the same,
but for what each scenario says, with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Dict, List

import pytest
from fixtures.asgi import App, Scenarios, Session, Side, close_of, outcome_of
from fixtures.peers import request_head
from fixtures.sockets import until
from fixtures.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT

pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install uvicorn")
pytest.importorskip("wsproto", reason="wsproto is not installed: pip install wsproto")
theirs = pytest.importorskip("websockets.asyncio.client", reason="websockets is not installed: pip install websockets")
ours = pytest.importorskip("picows.websockets.asyncio.client", reason="picows-websockets is not installed")

scenarios = Scenarios({"our client": ours.connect, "their client": theirs.connect})
seen = scenarios.seen


# --- the request ---


@seen(
    {
        "type": "websocket",
        "http_version": "1.1",
        "scheme": "ws",
        "root_path": "/root",
        "path": "/root/p a/\u20ac",
        "raw_path": b"/root/p%20a/%E2%82%AC",
        "query_string": b"q=%20b&c",
        "subprotocols": ["chat", "v2"],
        "state": {},
        "extensions": {"websocket.http.response": {}},
        "headers": [(b"x-one", b"1"), (b"x-one", b"2"), (b"x-raw", b"\xe9")],
        "addresses": True,
    }
)
async def scope(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.accept()
        session.app.note(session.scope.copy())

    app = App(script)
    app.note = app.notes.append  # type: ignore[method-assign]
    async with side.serve(app, root_path="/root") as served, served.raw_client() as peer:
        lines = "X-One: 1", "x-ONE: 2", "X-Raw: \xe9", "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: v2"
        await peer.upgrade(*lines, target="/p%20a/%E2%82%AC?q=%20b&c")
        await app.has_ended.wait()
        (found,) = app.notes
        addresses = peer.writer.get_extra_info("peername"), peer.writer.get_extra_info("sockname")
        found["addresses"] = (found.pop("server"), found.pop("client")) == addresses
        found["headers"] = [(name, value) for name, value in found["headers"] if name.startswith(b"x-")]
        assert found.pop("asgi")["version"] == "3.0"
        return found


@seen([("/50%", b"/50%"), ("/%zz\ufffd", b"/%zz%ff"), ("/a", b"/a")])
async def lone_percent_signs(side: Side) -> Any:
    """RFC 3986 2.1 does not allow them; browsers leave them alone."""

    async def script(session: Session) -> None:
        session.app.note((session.scope["path"], session.scope["raw_path"]))
        await session.accept()

    found = []
    for target in ("/50%", "/%zz%ff", "/a?50%"):
        app = App(script)
        async with side.serve(app) as served, served.raw_client() as peer:
            await peer.upgrade(target=target)
            await app.has_ended.wait()
            found += app.notes
    return found


# RFC 6455 4.4 asks for 426, and 4.2.1 for a key of 16 bytes.
@seen(
    [(400, []), (426, []), (400, [])],
    sansio=[(400, []), (400, []), (400, [])],
    wsproto=[(400, []), (426, []), (101, ["asked"])],
)
async def no_handshake(side: Side) -> Any:
    """The application does not hear of it."""

    async def script(session: Session) -> None:
        session.app.note("asked")
        await session.accept()
        await session.receive_event()

    found = []
    for key, version in (("", "13"), ("dGhlIHNhbXBsZSBub25jZQ==", "12"), ("dGhl", "13")):
        app = App(script)
        async with side.serve(app) as served, served.raw_client() as peer:
            lines = ["GET / HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade"]
            lines += [f"Sec-WebSocket-Key: {key}"] if key else []
            peer.write("\r\n".join([*lines, f"Sec-WebSocket-Version: {version}", "", ""]).encode())
            found.append((int((await peer.read_head()).split()[1]), app.notes))
    return found


# --- the answer ---


@seen(("v2", ["a", "b"], "uvicorn", True, None))
async def accept(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.accept(subprotocol="v2", headers=[(b"x-a", b"a"), (b"x-a", b"b")])
        await session.drain()

    async with side.serve(App(script)) as served, side.connect(served.url(), subprotocols=["v1", "v2"]) as client:
        headers = client.response.headers
        extensions = headers.get("Sec-WebSocket-Extensions")
        return client.subprotocol, headers.get_all("x-a"), headers["Server"], "Date" in headers, extensions


@seen((["mine"], False, ["1"]))
async def default_headers(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.accept()
        await session.drain()

    options: Dict[str, Any] = {"date_header": False, "headers": [("Server", "mine"), ("X-Default", "1")]}
    async with side.serve(App(script), **options) as served, side.connect(served.url()) as client:
        headers = client.response.headers
        return headers.get_all("Server"), "Date" in headers, headers.get_all("X-Default")


@seen(((403, b""), [("connect",), ("disconnect", 1006)]))
async def reject(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.receive()
        await session.send("close", code=4000)
        await session.receive()

    app = App(script)
    async with side.serve(app) as served:
        return await outcome_of(side.connect(served.url())), app.notes


@seen((404, b"there is nothing here", "yes"))
async def denial(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.receive()
        headers = [(b"x-denied", b"yes"), (b"content-length", b"21")]
        await session.send("http.response.start", status=404, headers=headers)
        await session.send("http.response.body", body=b"there is ", more_body=True)
        await session.send("http.response.body", body=b"nothing here")

    async with side.serve(App(script)) as served, served.raw_client() as peer:
        peer.write(request_head())
        head, _, body = (await peer.read_rest()).partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        return int(head.split()[1]), body, fields[b"x-denied"].decode()


@seen([RuntimeError, RuntimeError])
async def denial_out_of_order(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.receive_event()
        with contextlib.suppress(RuntimeError):
            await session.send("http.response.body", body=b"first")
        await session.send("http.response.start", status=403, headers=[])
        await session.send("accept")

    app = App(script)
    async with side.serve(app) as served, served.raw_client() as peer:
        peer.write(request_head())
        await peer.read_rest()
        return app.notes


async def _crash(session: Session) -> None:
    raise ZeroDivisionError


async def _return(session: Session) -> None:
    await session.receive()


async def _send_first(session: Session) -> None:
    await session.send("send", text="too early")


@seen([(500, b"Internal Server Error")] * 3)
async def no_answer(side: Side) -> Any:
    outcomes = []
    for script in (_crash, _return, _send_first):
        async with side.serve(App(script)) as served:
            outcomes.append(await outcome_of(side.connect(served.url())))
    return outcomes


# --- messages ---


@seen(["", b"", "text \u20ac", b"\0\xff", "x" * 126, b"y" * 70_000])
async def echo(side: Side) -> Any:
    got = []
    async with side.serve(App(_echo)) as served, side.connect(served.url()) as client:
        for message in ("", b"", "text \u20ac", b"\0\xff", "x" * 126, b"y" * 70_000):
            await client.send(message)
            got.append(await client.recv())
    return got


async def _echo(session: Session) -> None:
    await session.accept()
    event = await session.receive()
    while event["type"] == "websocket.receive":
        text, data = event.get("text"), event.get("bytes")
        await session.send("send", **({"bytes": data} if text is None else {"text": text}))
        event = await session.receive()


@seen((list(range(200)), 1))
async def in_order(side: Side) -> Any:
    """More than uvicorn's queue holds, sent before any was answered; a ping is answered meanwhile."""
    async with side.serve(App(_echo)) as served, side.connect(served.url()) as client:
        for number in range(200):
            await client.send(str(number))
        pong = await client.ping(b"x")
        numbers = [int(await client.recv()) for _ in range(200)]
        await pong
        return numbers, 1


@seen([("receive", "ab\u20ac"), ("receive", b"123"), ("disconnect", 1005)])
async def fragments(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.accept()
        await session.drain()

    app = App(script)
    async with side.serve(app) as served, served.raw_client() as peer:
        await peer.upgrade()
        euro = "\u20ac".encode()
        for opcode, payload, fin in ((TEXT, b"a", False), (CONT, b"b" + euro[:1], False)):
            peer.send(opcode, payload, fin)
        peer.send(PING, b"between")
        peer.send(CONT, euro[1:])
        assert (await peer.read_frame()).opcode == PONG
        for opcode, payload, fin in ((BINARY, b"1", False), (CONT, b"2", False), (CONT, b"3", True)):
            peer.send(opcode, payload, fin)
        peer.send(CLOSE)
        assert (await peer.read_frame()).opcode == CLOSE
        await app.has_ended.wait()
        return app.notes


@seen(["a" * 5000, True])
async def compressed(side: Side) -> Any:
    async with side.serve(App(_echo)) as served, side.connect(served.url(), compression="deflate") as client:
        for _ in range(3):
            await client.send("a" * 5000)
            message = await client.recv()
        return [message, "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]]


@seen(None)
async def not_compressed(side: Side) -> Any:
    options = {"ws_per_message_deflate": False}
    async with side.serve(App(_echo), **options) as served, side.connect(served.url(), compression="deflate") as client:
        return client.response.headers.get("Sec-WebSocket-Extensions")


# --- the end ---


@seen(((4001, "bye"), [("disconnect", 4001, "bye"), RuntimeError]))
async def close_by_app(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.accept()
        await session.send("close", code=4001, reason="bye")
        await session.receive()
        with contextlib.suppress(RuntimeError):
            await session.send("send", text="more")

    app = App(script)
    async with side.serve(app) as served, side.connect(served.url()) as client:
        closed = await close_of(client)
        await app.has_ended.wait()
        return closed, app.notes


@seen([("receive", "first"), ("disconnect", 1000)])
async def receive_after_own_close(side: Side) -> Any:
    """What was received before is there; what comes later is not, and does not keep the peer's CLOSE away."""
    is_sent = asyncio.Event()

    async def script(session: Session) -> None:
        await session.accept()
        await is_sent.wait()
        await until(lambda: True)
        await session.send("close")
        await session.drain()

    app = App(script)
    async with side.serve(app) as served, served.raw_client() as peer:
        await peer.upgrade()
        peer.send(TEXT, b"first")
        peer.send(PING)
        assert (await peer.read_frame()).opcode == PONG
        is_sent.set()
        assert (await peer.read_frame()).opcode == CLOSE
        for _ in range(100):
            peer.send(TEXT, b"late")
        peer.send_close()
        assert await peer.read_rest() == b""
        await app.has_ended.wait()
        return app.notes


@seen([("disconnect", 4002)])
async def close_while_receiving(side: Side) -> Any:
    """Another task of the application waits for a message: it need not wait for the peer."""

    async def script(session: Session) -> None:
        await session.accept()
        receiving = asyncio.ensure_future(session.receive())
        await asyncio.sleep(0)
        await session.send("close", code=4002)
        await receiving

    app = App(script)
    async with side.serve(app) as served, served.raw_client() as peer:
        await peer.upgrade()
        await app.has_ended.wait()
        return app.notes


@seen([[("disconnect", 1000)], [("disconnect", 3000, "bye")], [("disconnect", 1005)]])
async def close_by_client(side: Side) -> Any:
    seen_by_app: List[Any] = []

    async def script(session: Session) -> None:
        await session.accept()
        await session.drain()

    for code, reason in ((1000, b""), (3000, b"bye"), (None, b"")):
        app = App(script)
        async with side.serve(app) as served, served.raw_client() as peer:
            await peer.upgrade()
            if code is None:
                peer.send(CLOSE)
            else:
                peer.send_close(code, reason)
            assert (await peer.read_frame()).opcode == CLOSE
            assert await peer.read_rest() == b""
            await app.has_ended.wait()
            seen_by_app.append(app.notes)
    return seen_by_app


# RFC 6455 7.1.5 has a code for it: 1005 says that there was a CLOSE.
@seen([("disconnect", 1006), OSError], sansio=[("disconnect", 1005), OSError], wsproto=[("disconnect", 1005), OSError])
async def client_vanishes(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.accept()
        await session.drain()
        await session.send("send", text="nobody is there")

    app = App(script)
    async with side.serve(app) as served, served.raw_client() as peer:
        await peer.upgrade()
        peer.reset()
        await app.has_ended.wait()
        return app.notes


@seen([("disconnect", 1006)])
async def client_vanishes_before_accept(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.receive_event()
        await session.receive()

    app = App(script)
    async with side.serve(app) as served:
        async with served.raw_client() as peer:
            peer.write(request_head())
            await until(lambda: served.server.server_state.tasks)
            peer.hang_up()
            await app.has_ended.wait()
        return app.notes


@seen([(1006, "")] * 3)
async def end_without_close(side: Side) -> Any:
    """uvicorn sends no CLOSE for an application that fails, or has not sent one."""

    async def crash(session: Session) -> None:
        await session.accept()
        raise ZeroDivisionError

    async def accept_twice(session: Session) -> None:
        await session.accept()
        await session.send("accept")

    found = []
    for script in (Session.accept, crash, accept_twice):
        async with side.serve(App(script)) as served, side.connect(served.url()) as client:
            found.append(await close_of(client))
    return found


# The client of wsproto's reads no CLOSE for the first two.
@seen([(1007, 1007), (1002, 1002), (1009, 1009)], wsproto=[(1006, 1007), (1006, 1002), (1009, 1009)])
async def violations(side: Side) -> Any:
    """The code that the client reads, and the one of the application's disconnect."""
    found = []

    async def script(session: Session) -> None:
        await session.accept()
        await session.drain()

    for opcode, payload in ((TEXT, b"\xff"), (3, b""), (BINARY, bytes(2000))):
        app = App(script)
        async with side.serve(app, ws_max_size=1000) as served, served.raw_client() as peer:
            await peer.upgrade()
            peer.send(opcode, payload)
            frames = await peer.read_rest()
            peer.hang_up()
            await app.has_ended.wait()
            found.append((int.from_bytes(frames[2:4], "big") or 1006, app.notes[-1][1]))
    return found


@seen((1012, [("disconnect", 1012)]))
async def shutdown(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.accept()
        await session.drain()

    app = App(script)
    async with side.serve(app) as served, side.connect(served.url()) as client:
        for connection in list(served.server.server_state.connections):
            connection.shutdown()
        code, _ = await close_of(client)
        await app.has_ended.wait()
        return code, app.notes


@seen(((500, b"Internal Server Error"), [("disconnect", 1006)]))
async def shutdown_before_accept(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.receive_event()
        await session.receive()

    app = App(script)
    async with side.serve(app) as served:
        connecting = asyncio.ensure_future(outcome_of(side.connect(served.url())))
        await until(lambda: served.server.server_state.tasks)
        for connection in list(served.server.server_state.connections):
            connection.shutdown()
        outcome = await connecting
        await app.has_ended.wait()
        return outcome, app.notes


@seen([(PING, 4), (PING, 4), (CLOSE, 1011, b"keepalive ping timeout")])
async def keepalive(side: Side) -> Any:
    """The first ping is answered, and so is a third one with nothing of ours; the second is not."""
    found: List[Any] = []
    options = {"ws_ping_interval": 0.1, "ws_ping_timeout": 0.2}

    async def script(session: Session) -> None:
        await session.accept()
        await session.drain()

    async with side.serve(App(script), **options) as served, served.raw_client() as peer:
        await peer.upgrade()
        frame = await peer.read_frame()
        while frame.opcode == PING:
            found.append((PING, len(frame.payload)))
            peer.send(PONG, frame.payload if len(found) == 1 else b"none of yours")
            frame = await peer.read_frame()
        found.append((frame.opcode, int.from_bytes(frame.payload[:2], "big"), frame.payload[2:]))
        peer.hang_up()
        return [*found[:2], found[-1]]


@seen(['"WebSocket /a%20b?c=d" [accepted]', '"WebSocket /no" 403', '"WebSocket /denied" 418'])
async def access_log(side: Side) -> Any:
    async def script(session: Session) -> None:
        await session.receive_event()
        if session.scope["path"] == "/no":
            await session.send("close")
        elif session.scope["path"] == "/denied":
            await session.send("http.response.start", status=418, headers=[])
            await session.send("http.response.body", body=b"")
        else:
            await session.send("accept")

    lines: List[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("uvicorn.error")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        async with side.serve(App(script)) as served:
            for path in ("/a%20b?c=d", "/no", "/denied"):
                await outcome_of(side.connect(served.url(path)))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return [line.partition(" - ")[2] for line in lines if "WebSocket /" in line]


# --- all of them ---


@pytest.mark.parametrize(("name", "side"), scenarios.cases())
async def test_the_same(name: str, side: Side) -> None:
    scenario, expected = scenarios.get(name, side)
    assert await scenario(side) == expected
