"""Listeners in Cython: how they are called, what they see of frames, and what becomes of their exceptions."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fixtures.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, Connection, close_payload

from picows.errors import WSProtocolError

pytestmark = pytest.mark.timeout(120)  # the first test compiles
SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


# --- how they are called ---


@SIDES
def test_a_final_class_is_called_through_the_vtable(connect: Any, user: Any, client: bool) -> None:
    """Python cannot even see its methods."""
    connection = connect(client=client, listener=user.Final())
    assert user.take_calls() == 1
    connection.feed(connection.frame(TEXT, b"a") + connection.frame(BINARY, b"b"))
    connection.feed_frame(BINARY, b"c" * 200_000)
    assert user.take_calls() == 3
    assert connection.events == ["connected", b"a", b"b", b"c" * 200_000]
    with pytest.raises(TypeError, match="NoneType"):
        connection.listener.on_ws_frame(None, None)
    connection.lose()
    assert connection.events[-1] == "disconnected"


def test_is_user_specific_pong_is_called_through_the_vtable(connect: Any, user: Any) -> None:
    connection = connect(listener=user.Final())
    task = connection.loop.create_task(connection.transport.measure_roundtrip_time(1))
    connection.loop.settle()
    user.take_calls()
    connection.feed_frame(TEXT, b"data")
    assert user.take_calls() == 2
    connection.feed_frame(TEXT, b"pong!")
    connection.loop.settle()
    assert user.take_calls() == 1
    assert connection.events == ["connected", b"data"]
    assert len(task.result()) == 1


@SIDES
def test_every_callback_can_be_overridden(connect: Any, user: Any, client: bool, caplog: Any) -> None:
    connection = connect(client=client, listener=user.Open())
    connection.feed_frame(BINARY, b"data")
    connection.protocol.pause_writing()
    connection.protocol.resume_writing()
    task = connection.loop.create_task(connection.transport.measure_roundtrip_time(1))
    connection.loop.settle()
    assert connection.plain() == [(TEXT, b"ping?")]
    connection.feed_frame(PONG, b"other")
    connection.feed_frame(TEXT, b"pong!")
    connection.loop.settle()
    assert len(task.result()) == 1
    connection.lose()
    assert connection.events == [
        "connected",
        b"data",
        "pause",
        "resume",
        "ping",
        ("pong?", b"other"),
        b"other",
        ("pong?", b"pong!"),
        "disconnected",
    ]
    assert user.take_calls() == len(connection.events)
    assert caplog.records == []


@pytest.mark.parametrize(
    "method", ["on_ws_connected", "on_ws_frame", "on_ws_disconnected", "is_user_specific_pong", "pause_writing"]
)
def test_a_python_subclass_overrides_one_method(connect: Any, user: Any, method: str) -> None:
    """That one is Python's, the others are called as before."""
    seen = []

    def own(self: Any, *arguments: Any) -> bool:
        seen.append(arguments)
        return True

    def use(listener: Any) -> tuple[list[Any], Any]:
        connection = connect(listener=listener)
        connection.feed_frame(TEXT, b"data")
        connection.protocol.pause_writing()
        task = connection.loop.create_task(connection.transport.measure_roundtrip_time(1))
        connection.loop.settle()
        connection.feed_frame(TEXT, b"pong!")
        connection.loop.settle()
        assert len(task.result()) == 1
        connection.lose()
        return connection.events, connection.transport

    everything, _ = use(user.Open())
    derived = type("Derived", (user.Open,), {method: own})
    rest, transport = use(derived())
    theirs = {
        "on_ws_connected": ["connected"],
        "on_ws_frame": [b"data"],
        "on_ws_disconnected": ["disconnected"],
        "is_user_specific_pong": [("pong?", b"pong!")],
        "pause_writing": ["pause"],
    }[method]
    assert rest == [event for event in everything if event not in theirs]
    assert len(seen) == 1
    assert seen[0][:1] in [(), (transport,)] or method == "is_user_specific_pong"


def test_a_python_subclass_may_call_what_it_overrides(connect: Any, user: Any) -> None:
    class Derived(user.Open):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            self.events.append(transport is connection.transport)
            super().on_ws_frame(transport, frame)

    connection = connect(listener=Derived())
    connection.feed_frame(TEXT, b"a")
    assert connection.events == ["connected", True, b"a"]


def test_a_python_subclass_without_overrides(connect: Any, user: Any) -> None:
    connection = connect(listener=type("Derived", (user.Open,), {})())
    connection.feed_frame(TEXT, b"a")
    connection.feed_frame(TEXT, b"b")
    assert connection.events == ["connected", b"a", b"b"]
    assert user.take_calls() == 3


def test_the_message_layer_can_be_derived_from(connect: Any, user: Any) -> None:
    connection = connect(listener=user.Chat())
    connection.feed_frame(TEXT, "h\u00e9", fin=False)
    connection.feed_frame(CONT, "llo")
    assert user.take_calls() == 2
    assert connection.run(connection.listener.recv()) == "h\u00e9llo"


# --- what they see of a frame ---


@SIDES
def test_frames_in_c(connect: Any, user: Any, client: bool) -> None:
    connection = connect(client=client, listener=user.Reader(), enable_auto_pong=False)
    tail = connection.frame(PING, b"\x01") + connection.frame(CONT, b"")
    connection.feed(connection.frame(TEXT, b"\xff\x01\x02", fin=False, rsv=5) + tail)
    connection.feed_frame(BINARY, b"\xff" * 100_000)
    assert connection.listener.frames == [
        ("text", False, 1, 0, 1, 0, len(tail), 0x102),
        ("opcode 9", True, 0, 0, 0, 0, len(connection.frame(CONT, b"")), 1),
        ("continuation", True, 0, 0, 0, 1, 0, 0),
        ("opcode 2", True, 0, 0, 0, 1, 0, 25_500_000),
    ]


def test_payload_getters(connect: Any, user: Any) -> None:
    connection = connect(listener=user.Getters())
    connection.feed(connection.frame(TEXT, b"hello") + connection.frame(TEXT, b""))
    assert connection.listener.payloads == [(b"hello", "hello", "hello", b"hello"), (b"", "", "", b"")]
    assert all(payload[3].readonly for payload in connection.listener.payloads)


@pytest.mark.parametrize(("payload", "encoding"), [(b"\xff", "utf-8"), (b"\xc3\xa9", "ascii")])
def test_payload_that_cannot_be_decoded(connect: Any, user: Any, payload: bytes, encoding: str) -> None:
    connection = connect(client=True, listener=user.Getters())
    connection.feed_frame(TEXT, payload)
    error = connection.ending()
    assert isinstance(error, UnicodeDecodeError)
    assert error.encoding.replace("utf8", "utf-8") == encoding


def test_W12_frames_can_be_kept(connect: Any, user: Any) -> None:
    connection = connect(listener=user.Keeper())
    payloads = [bytes([number]) * 50 for number in range(20)]
    connection.feed(b"".join(connection.frame(BINARY, payload) for payload in payloads[:10]))
    for payload in payloads[10:]:
        connection.feed_frame(BINARY, payload)
    connection.feed_frame(BINARY, b"x" * 100_000)
    connection.lose()
    assert connection.listener.payloads == [*payloads, b"x" * 100_000]


def test_a_frame_for_tests(user: Any) -> None:
    payload, frame = user.make_frame()
    assert payload == b"made"
    listener = user.Open()
    listener.on_ws_frame(None, frame)
    assert listener.events == [b"made"]


@SIDES
def test_the_closing_handshake_in_c(connect: Any, user: Any, client: bool) -> None:
    connection = connect(client=client, listener=user.Closing())
    connection.feed_frame(CLOSE, close_payload(1001, b"bye"))
    assert connection.listener.recorded == (True, True, "bye", True, True, True)
    assert connection.plain() == [(CLOSE, close_payload(1001, b"bye"))]
    assert connection.wire.calls == ["close"]


# --- exceptions ---


def outcome(core: Any, listener: Any, method: str, client: bool, caplog: Any, **options: Any) -> Any:
    """What a connection writes, does, raises and logs when one of the listener's methods raises."""
    caplog.clear()
    connection = Connection(core, client=client, listener=listener, **options)
    try:
        connection.feed_frame(TEXT, b"a")
        connection.feed_frame(TEXT, b"b")
        if method.endswith(("pong", "ping")):
            task = connection.loop.create_task(connection.transport.measure_roundtrip_time(1))
            connection.loop.settle()
            connection.feed_frame(TEXT, b"c")
            task.add_done_callback(lambda task: task.exception())
        plain = connection.plain()
        connection.loop.advance(1)
        connection.lose()
        error = connection.ending()
        logs = [(record.levelno, record.exc_info is not None) for record in caplog.records]
        return plain, connection.wire.calls, error, logs
    finally:
        connection.shut()


@SIDES
@pytest.mark.parametrize("disconnects", [True, False], ids=["disconnects", "goes on"])
@pytest.mark.parametrize("error", [ValueError("mine"), WSProtocolError(4001, "because")], ids=["Exception", "protocol"])
@pytest.mark.parametrize(
    "method",
    ["on_ws_connected", "on_ws_frame", "on_ws_disconnected", "is_user_specific_pong", "send_user_specific_ping"],
)
def test_exceptions_do_what_those_of_python_do(
    core: Any, user: Any, method: str, error: Exception, client: bool, disconnects: bool, caplog: Any
) -> None:
    caplog.set_level(logging.WARNING)

    def fail(*arguments: Any) -> None:
        raise error

    def ping(self: Any, transport: Any) -> None:
        transport.send(TEXT, "ping?")

    def pong(self: Any, frame: Any) -> bool:
        return frame.payload_size == 5  # type: ignore[no-any-return]

    methods = {"send_user_specific_ping": ping, "is_user_specific_pong": pong, method: fail}
    in_python = type("InPython", (core.WSListener,), methods)()
    in_cython = user.Open()
    in_cython.errors[method] = error
    results = [
        outcome(core, listener, method, client, caplog, disconnect_on_exception=disconnects)
        for listener in (in_python, in_cython)
    ]
    assert results[0] == results[1]
    plain, calls, raised, logs = results[1]
    assert plain or logs or raised or method == "send_user_specific_ping"


def test_exceptions_keep_the_traceback_into_cython(connect: Any, user: Any) -> None:
    connection = connect(client=True, listener=user.Open())
    connection.listener.errors["on_ws_frame"] = ValueError("mine")
    connection.feed_frame(TEXT, b"a")
    with pytest.raises(ValueError, match="mine") as caught:
        connection.run(connection.transport.wait_disconnected())
    assert any("users_module" in str(entry.path) for entry in caught.traceback)
