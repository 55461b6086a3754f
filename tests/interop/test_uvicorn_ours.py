"""picows.websockets.uvicorn by itself: loops and TLS, back-pressure, what a client sends ahead, the command line."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from typing import Any, Iterator, List

import pytest
from fixtures.asgi import OURS, App, Session, Side
from fixtures.peers import request_head
from fixtures.sockets import Net, have, until
from fixtures.wire import CLOSE, KEY, TEXT, build

pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install uvicorn")
ours = pytest.importorskip("picows.websockets.asyncio.client", reason="picows-websockets is not installed")

MANY = 1000


@pytest.fixture(params=["asyncio-tcp", "asyncio-tls", "uvloop-tcp", "uvloop-tls"])
def net(request: pytest.FixtureRequest) -> Net:
    """uvicorn uses the loop's own transports."""
    loop, wire = request.param.split("-")
    if loop == "uvloop" and not have("uvloop"):
        pytest.skip("uvloop is not installed")
    net = Net(loop, False, wire == "tls")
    if net.is_secure:
        net.load_certificates()
    return net


@pytest.fixture
def side(net: Net) -> Side:
    """Ours, on this loop."""
    return Side("ours", ours.connect, net.certificates)


@pytest.fixture
def simple() -> Side:
    """Ours, for what depends on no loop."""
    return Side("ours", ours.connect)


async def echo(session: Session) -> None:
    await session.accept()
    event = await session.receive()
    while event["type"] == "websocket.receive":
        text, data = event.get("text"), event.get("bytes")
        await session.send("send", **({"bytes": data} if text is None else {"text": text}))
        event = await session.receive()


# --- loops and TLS ---


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_messages(net: Net, side: Side, http: str) -> None:
    if http == "httptools" and not have("httptools"):
        pytest.skip("httptools is not installed: pip install httptools")
    app = App(echo)
    async with side.serve(app, http=http) as served:
        async with side.connect(served.url(), max_size=None) as client:
            for message in ("", b"", "\u20ac", b"x" * 125, "y" * 65_536, b"z" * 1_000_000):
                await client.send(message)
                assert await client.recv() == message
            await client.close(4000, "bye")
        await app.has_ended.wait()
    assert app.notes[-1] == ("disconnect", 4000, "bye")


async def test_ends(net: Net, side: Side) -> None:
    """A CLOSE of the application's, a shutdown, and a client that vanishes."""

    async def script(session: Session) -> None:
        await session.accept()
        if session.scope["path"] == "/close":
            await session.send("close", code=4001)
        await session.receive()

    app = App(script)
    async with side.serve(app) as served:
        async with side.connect(served.url("/close")) as client:
            with pytest.raises(Exception, match="4001"):
                await client.recv()
        async with side.connect(served.url("/shutdown")) as client:
            (connection,) = served.server.server_state.connections
            connection.shutdown()
            with pytest.raises(Exception, match="1012"):
                await client.recv()
        async with served.raw_client() as peer:
            await peer.upgrade()
            peer.reset()
            await until(lambda: len(app.notes) == 3)
        assert app.notes == [("disconnect", 4001), ("disconnect", 1012), ("disconnect", 1006)]
        await until(lambda: not served.server.server_state.connections)


async def test_denial(net: Net, side: Side) -> None:
    """More than the socket takes, sent on while the client reads."""
    part = b"x" * 100_000

    async def script(session: Session) -> None:
        await session.receive_event()
        await session.send("http.response.start", status=400, headers=[(b"content-type", b"text/plain")])
        for number in range(50):
            await session.send("http.response.body", body=part, more_body=number < 49)

    async with side.serve(App(script)) as served, served.raw_client() as peer:
        peer.write(request_head())
        head, _, body = (await peer.read_rest()).partition(b"\r\n\r\n")
        assert b"connection: close" in head.lower()
        assert b"content-length" not in head.lower()
        assert body == part * 50


# --- back-pressure ---


async def test_send_waits(net: Net, side: Side) -> None:
    """The client does not read: sending waits, and goes on when it reads."""
    sent: List[int] = []

    async def script(session: Session) -> None:
        await session.accept()
        for number in range(MANY):
            await session.send("send", bytes=bytes(100_000))
            sent.append(number)
        await session.send("close")

    app = App(script)
    async with side.serve(app) as served, served.raw_client() as peer:
        await peer.upgrade()
        peer.writer.transport.pause_reading()
        count = -1
        while count != len(sent):  # it stands still
            count = len(sent)
            await asyncio.sleep(0.1)
        assert 0 < count < MANY // 2
        peer.writer.transport.resume_reading()
        for _ in range(MANY):
            assert len((await peer.read_frame()).payload) == 100_000
        assert (await peer.read_frame()).opcode == CLOSE
        await app.has_ended.wait()


async def test_a_blocked_sender_hears_of_the_end(net: Net, side: Side) -> None:
    async def script(session: Session) -> None:
        await session.accept()
        while True:
            await session.send("send", bytes=bytes(100_000))

    app = App(script)
    async with side.serve(app) as served, served.raw_client() as peer:
        await peer.upgrade()
        peer.writer.transport.pause_reading()
        (task,) = served.server.server_state.tasks
        await until(lambda: _is_waiting(task))
        peer.reset()
        await app.has_ended.wait()
    assert app.notes == [OSError]


def _is_waiting(task: Any) -> bool:
    """For a future that is not done."""
    waiter = getattr(task, "_fut_waiter", None)
    return waiter is not None and not waiter.done()


async def test_reading_pauses(net: Net, side: Side) -> None:
    """The application does not receive: the client cannot send for ever; nothing is lost when it does."""
    go_on = asyncio.Event()
    count = 0

    async def script(session: Session) -> None:
        nonlocal count
        await session.accept()
        await go_on.wait()
        while (await session.receive_event())["type"] == "websocket.receive":
            count += 1

    app = App(script)
    async with side.serve(app, ws_max_queue=4) as served, served.raw_client() as peer:
        await peer.upgrade()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_send_many(peer), 1)
        go_on.set()
        await peer.writer.drain()
        peer.send_close()
        assert (await peer.read_frame()).opcode == CLOSE
        await app.has_ended.wait()
        assert count == peer.sent  # type: ignore[attr-defined]


async def _send_many(peer: Any) -> None:
    peer.sent = 0
    while True:
        peer.sent += 1
        peer.send(TEXT, b"x" * 100_000)
        await asyncio.sleep(0)  # drain does not always
        await peer.writer.drain()


# --- the opening ---


async def test_sent_ahead(net: Net, side: Side) -> None:
    """A client may send before it has the answer; up to a limit that is read, beyond it waits."""
    go_on = asyncio.Event()
    lengths: List[int] = []

    async def script(session: Session) -> None:
        await go_on.wait()
        await session.accept()
        for _ in range(3):
            lengths.append(len((await session.receive_event())["bytes"]))

    app = App(script)
    async with side.serve(app) as served, served.raw_client() as peer:
        peer.write(request_head())
        await until(lambda: served.server.server_state.tasks)
        for size in (10, 100_000, 1_000_000):
            peer.write(build(2, bytes(size), key=KEY))
        (connection,) = served.server.server_state.connections
        await until(lambda: connection._is_reading_paused)
        go_on.set()
        await app.has_ended.wait()
    assert lengths == [10, 100_000, 1_000_000]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
async def test_eager_tasks(net: Net, side: Side) -> None:
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    async with side.serve(App(echo)) as served, side.connect(served.url()) as client:
        await client.send("hello")
        assert await client.recv() == "hello"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"headers": [(b"x-a", b"1\r\nx-b: 2")]}, ValueError),
        ({"headers": [(b"x a", b"1")]}, ValueError),
        ({"subprotocol": "a\nb"}, ValueError),
    ],
    ids=["value", "name", "subprotocol"],
)
async def test_bad_headers(simple: Side, fields: Any, error: Any) -> None:
    """The application hears of it, and can still answer."""

    async def script(session: Session) -> None:
        with contextlib.suppress(ValueError):
            await session.accept(**fields)
        await session.send("accept")
        await session.receive_event()

    app = App(script)
    async with simple.serve(app) as served, simple.connect(served.url()):
        assert app.notes == [error]


@pytest.mark.parametrize("status", [101, 199, 600])
async def test_bad_status_of_a_denial(simple: Side, status: int) -> None:
    async def script(session: Session) -> None:
        await session.receive_event()
        with contextlib.suppress(ValueError):
            await session.send("http.response.start", status=status, headers=[])
        await session.send("close")

    app = App(script)
    async with simple.serve(app) as served, served.raw_client() as peer:
        peer.write(request_head())
        assert (await peer.read_head()).startswith(b"HTTP/1.1 403 ")
    assert app.notes == [ValueError]


@pytest.mark.parametrize(
    ("fields", "error"),
    [({}, TypeError), ({"text": b"bytes"}, TypeError), ({"bytes": 1}, TypeError)],
    ids=["nothing", "text", "bytes"],
)
async def test_bad_messages(simple: Side, fields: Any, error: Any) -> None:
    """Refused before anything is sent; the connection goes on."""

    async def script(session: Session) -> None:
        await session.accept()
        with contextlib.suppress(TypeError):
            await session.send("send", **fields)
        await session.send("send", text="still here")

    app = App(script)
    async with simple.serve(app) as served, simple.connect(served.url()) as client:
        assert await client.recv() == "still here"
        assert app.notes == [error]


@pytest.mark.parametrize(("code", "reason"), [(1006, ""), (999, ""), (1000, "x" * 124)], ids=["1006", "999", "long"])
async def test_bad_close(simple: Side, code: int, reason: str) -> None:
    async def script(session: Session) -> None:
        await session.accept()
        with contextlib.suppress(ValueError):
            await session.send("close", code=code, reason=reason)
        await session.send("close", code=4000)

    app = App(script)
    async with simple.serve(app) as served, simple.connect(served.url()) as client:
        with pytest.raises(Exception, match="4000"):
            await client.recv()
        assert app.notes == [ValueError]


async def test_cancelled_by_the_server(simple: Side) -> None:
    """timeout_graceful_shutdown: the application does not end by itself."""

    async def script(session: Session) -> None:
        await session.accept()
        await asyncio.Event().wait()

    app = App(script)
    async with simple.serve(app, timeout_graceful_shutdown=1) as served, simple.connect(served.url()) as client:
        shutting_down = asyncio.ensure_future(served.server.shutdown())
        with pytest.raises(Exception, match="1012"):
            await client.recv()
        await shutting_down
        await app.has_ended.wait()


# --- the command line ---


@pytest.fixture
def command() -> Iterator[Any]:
    """`uvicorn --ws OURS` with an application of Starlette's, in a process of its own."""
    pytest.importorskip("starlette", reason="starlette is not installed: pip install starlette")
    text = (
        "import sys, types, uvicorn.main\n"
        "from starlette.applications import Starlette\n"
        "from starlette.routing import WebSocketRoute\n"
        "async def endpoint(websocket):\n"
        "    await websocket.accept()\n"
        "    await websocket.send_text(await websocket.receive_text())\n"
        "    await websocket.receive_text()\n"
        "sys.modules['application'] = types.SimpleNamespace(app=Starlette(routes=[WebSocketRoute('/', endpoint)]))\n"
        f"uvicorn.main.main(['--ws', '{OURS}', '--port', '0', 'application:app'])\n"
    )
    with subprocess.Popen([sys.executable, "-c", text], stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_command_line(simple: Side, command: Any) -> None:
    lines: List[str] = []
    while not lines or "running on" not in lines[-1]:
        lines.append(await asyncio.to_thread(command.stderr.readline))
        assert lines[-1], "\n".join(lines)
    found = re.search(r"127\.0\.0\.1:(\d+)", lines[-1])
    assert found is not None
    async with simple.connect(f"ws://127.0.0.1:{found[1]}/") as client:
        await client.send("hello")
        assert await client.recv() == "hello"
        command.terminate()
        with pytest.raises(Exception, match="1012"):
            await client.recv()
    rest = await asyncio.to_thread(command.stderr.read)
    assert '"WebSocket /" [accepted]' in rest
    assert "Finished server process" in rest
