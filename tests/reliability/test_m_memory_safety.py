"""M: memory safety of the native core; the pure engine must pass the same tests. Under ASan they are run by `asan`."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from typing import Any, Callable, Dict, List

import pytest
from fixtures.wire import BINARY, CLOSE, PING, TEXT, close_payload

from picows.errors import WSProtocolError

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


@SIDES
@pytest.mark.parametrize("reading", ["buffered", "stream", "own-buffer"])
@pytest.mark.parametrize("size", [1, 125, 4096, 70_000])
def test_m1_a_view_outlives_its_callback(connect: Any, client: bool, reading: str, size: int) -> None:
    """Megabytes later it still has the same bytes; and after the end of the connection."""

    def keep(transport: Any, frame: Any) -> None:
        if frame.payload_size == size:
            views.append(frame.get_payload_as_memoryview())
            frames.append(frame)

    views: List[memoryview] = []
    frames: List[Any] = []
    connection = connect(client=client, reading=reading, handlers={"on_ws_frame": keep})
    contents = [bytes([number]) * size for number in range(4)]
    for content in contents:
        connection.feed(connection.frame(BINARY, content) + connection.frame(TEXT, b"xy" * 3))
    noise = connection.frame(BINARY, b"\xff" * 1023)
    connection.feed(*[noise * 50] * 20)
    assert [bytes(view) for view in views] == contents
    connection.lose()
    connection.loop.settle()
    assert [bytes(view) for view in views] == contents
    assert [frame.get_payload_as_bytes() for frame in frames] == contents


CALLBACKS = ["on_ws_connected", "on_ws_frame", "on_ws_disconnected"]
ACTIONS: Dict[str, Callable[[Any], Any]] = {
    "nothing": lambda connection: None,
    "send": lambda connection: connection.transport.send(TEXT, b"answer"),
    "send large": lambda connection: connection.transport.send(BINARY, bytes(70_000)),
    "ping": lambda connection: connection.transport.send_ping(b"p"),
    "close": lambda connection: connection.transport.send_close(1000),
    "disconnect": lambda connection: connection.transport.disconnect(),
    "abort": lambda connection: connection.transport.disconnect(graceful=False),
    "feed": lambda connection: connection.feed_frame(TEXT, b"inner"),
    "feed half": lambda connection: connection.feed(connection.frame(TEXT, b"inner half")[:5]),
    "feed wrong": lambda connection: connection.feed_frame(3),
    "feed close": lambda connection: connection.feed_frame(CLOSE, close_payload(1000)),
    "pause": lambda connection: connection.protocol.pause_writing(),
    "resume": lambda connection: connection.protocol.resume_writing(),
    "flush": lambda connection: connection.transport.flush(),
    "abandon": lambda connection: connection.protocol.abandon(),
    "raise": lambda connection: (_ for _ in ()).throw(WSProtocolError(4000, "mine")),
}


def acting(state: Dict[str, Any], actions: List[Any]) -> Any:
    """A callback that does this to the connection in `state`, but not within itself for ever."""

    def handler(*args: Any) -> None:
        if "connection" in state and state["depth"] <= 2:
            state["depth"] += 1
            for action in actions:
                action(state["connection"])

    return handler


@SIDES
@pytest.mark.parametrize("action", ACTIONS)
def test_m2_callbacks_may_do_anything(connect: Any, client: bool, action: str, caplog: Any) -> None:
    """Each two actions in each two callbacks, over 2,000 in all: what is delivered stays in order, and the end comes
    once. (A read within a read is the caller's fault; it must do no harm.)"""
    for first_name, other in itertools.product(CALLBACKS, ACTIONS):
        for second_name in CALLBACKS[1:]:
            state: Dict[str, Any] = {"depth": 0}
            plan = [(first_name, ACTIONS[action]), (second_name, ACTIONS[other])]
            handlers = {name: acting(state, [act for when, act in plan if when == name]) for name in CALLBACKS}
            connection = connect(client=client, handlers=handlers, opens=False)
            state["connection"] = connection
            connection.opening.open()
            try:
                data = connection.frame(TEXT, b"0") + connection.frame(PING, b"p") + connection.frame(TEXT, b"1")
                connection.feed(data + connection.frame(TEXT, b"2"))
            except AssertionError:  # in a debug build picows.core finds a read within a read
                pass
            connection.lose()
            connection.loop.settle()
            order = [message.payload for message in connection.messages if message.payload.isdigit()]
            assert order == [b"0", b"1", b"2"][: len(order)]
            assert connection.events.count("disconnected") <= 1
            connection.shut()


class Custom(BaseException):
    """Neither an Exception nor one of those that end the process."""


@SIDES
@pytest.mark.parametrize("error", [ValueError, MemoryError, GeneratorExit, KeyboardInterrupt, SystemExit, Custom])
@pytest.mark.parametrize("callback", CALLBACKS)
def test_m3_exceptions_of_users(connect: Any, client: bool, error: Any, callback: str, caplog: Any) -> None:
    """An Exception closes with 1011 and is reported once; what is none goes on into the loop. Others are untouched."""

    def handler(*args: Any) -> None:
        raise error("mine")

    other = connect(client=client)
    connection = connect(client=client, handlers={callback: handler}, opens=False, loop=other.loop)
    try:
        connection.opening.open()
        connection.feed_frame(TEXT, b"x")
        connection.lose()
    except BaseException as exc:
        escaped: Any = type(exc)
        exc.__traceback__ = None
    else:
        escaped = None
    if issubclass(error, Exception):
        assert escaped is None
        assert len(caplog.records) == 1
        sent = connection.plain()
        assert sent == ([] if callback == "on_ws_disconnected" else [(CLOSE, close_payload(1011))])
    else:
        assert escaped is error
    other.feed_frame(TEXT, b"alive")
    assert [message.payload for message in other.messages] == [b"alive"]


@pytest.mark.parametrize(
    "use",
    [
        lambda transport, engine: transport.send(TEXT, b"x"),
        lambda transport, engine: transport.send_ping(),
        lambda transport, engine: transport.send_pong(),
        lambda transport, engine: transport.send_close(),
        lambda transport, engine: transport.disconnect(),
        lambda transport, engine: transport.flush(),
        lambda transport, engine: transport.send_reuse_external_bytearray(TEXT, bytearray(20), 14),
        lambda transport, engine: engine.ws_broadcast([transport], TEXT, b"x"),
    ],
    ids=["send", "ping", "pong", "close", "disconnect", "flush", "in place", "broadcast"],
)
def test_m4_another_thread_is_refused(connect: Any, engine: Any, use: Any) -> None:
    def run() -> None:
        try:
            use(connection.transport, engine)
        except RuntimeError as exc:
            errors.append(str(exc))

    errors: List[str] = []
    connection = connect()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert "thread" in errors[0]
    assert connection.written() == b""
    connection.feed_frame(TEXT, b"alive")
    assert connection.events[-1].payload == b"alive"


NO_MEMORY = """
import _testcapi, gc, logging, sys
sys.path[:0] = {paths!r}
logging.disable(logging.CRITICAL)
from picows import _engine
from fixtures.wire import Connection, BINARY, TEXT, PING, CLOSE, CONT
engine = _engine.load({engine!r})
failed = 0
for start in range(0, {count}):
    connection = Connection(engine, listener=engine.WSMessageListener())
    data = connection.frame(TEXT, b"a") + connection.frame(PING, b"p")
    data += connection.frame(BINARY, bytes(200), fin=False) + connection.frame(CONT, bytes(70_000))
    half = connection.frame(BINARY, bytes(9000))
    pieces = [data, half[:5000], half[5000:]]
    wire = connection.wire
    try:
        _testcapi.set_nomemory(start, start + 1)
        try:
            for piece in pieces:
                connection.feed(piece)
            connection.transport.send(TEXT, b"x" * 500)
        finally:
            _testcapi.remove_mem_hooks()
    except BaseException as exc:
        exc.__traceback__ = None
        failed += 1
    try:
        connection.shut()
    except BaseException as exc:
        exc.__traceback__ = None
    del connection
gc.collect()
print("survived", failed)
"""


def test_m5_allocations_that_fail(engine: Any) -> None:
    """The n-th allocation of a session fails, for each n: an error or an end, and no crash."""
    pytest.importorskip("_testcapi", reason="this Python has no _testcapi, which makes allocations fail")
    program = NO_MEMORY.format(paths=sys.path, engine=engine.name, count=400)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr[-2000:]
    word, count = done.stdout.split()
    assert word == "survived"
    assert int(count) > 0


def test_m6_connections_of_different_threads_share_nothing(engine: Any) -> None:
    """Eight connections in eight threads, without loops, as far as one lock lets them: bytes are their owner's."""
    from fixtures.wire import Connection

    def run(number: int) -> None:
        connection = Connection(engine)
        try:
            for count in range(200):
                content = bytes([number, count]) * 50
                connection.feed_frame(BINARY, content)
                connection.transport.send(BINARY, content)
                if connection.messages[-1].payload != content or connection.plain() != [(BINARY, content)]:
                    wrong.append((number, count))
        finally:
            connection.shut()
        done.append(number)

    wrong: List[Any] = []
    done: List[int] = []
    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(done) == 8
