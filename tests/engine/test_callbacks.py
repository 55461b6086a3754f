"""Exceptions out of callbacks, the order of callbacks, and what they may do to the connection they are called for."""

from __future__ import annotations

import asyncio
import logging
import socket
import weakref
from typing import Any

import pytest
from fixtures.clock import ClockLoop
from fixtures.wire import CLOSE, PING, PONG, TEXT, FakeOpening, FakeTransport, Received, close_payload, recorder

from picows.enums import WSMsgType
from picows.errors import WSMessageTooBigError, WSProtocolError
from picows.options import ConnectionOptions

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


class Mine(Exception):
    """An error of the application's own."""


def raising(error: BaseException) -> Any:
    def handler(*args: Any) -> None:
        raise error

    return handler


def levels(caplog: Any) -> list[tuple[int, bool]]:
    """Level of each record, and whether it has a traceback."""
    return [(record.levelno, record.exc_info is not None) for record in caplog.records]


def check_closed(connection: Any, code: int, reason: bytes = b"") -> None:
    assert connection.plain() == [(CLOSE, close_payload(code, reason))]
    connection.loop.settle()
    assert connection.wire.calls == ["write_eof", "close"]
    assert connection.events[-1] == "disconnected"


#: id -> (what is raised, close code, reason)
ERRORS: dict[str, tuple[Exception, int, bytes]] = {
    "Exception": (Mine("boom"), 1011, b""),
    "WSProtocolError": (WSProtocolError(4001, "because"), 4001, b"because"),
    "subclass": (WSMessageTooBigError("too long", 5, 4), 1009, b"too long"),
    "unsendable code": (WSProtocolError(1006, "because"), 1011, b"because"),
    "long text": (WSProtocolError(3000, "x" * 200), 3000, b"x" * 123),
}
CLIENT_LEVELS = [(logging.WARNING, False)]
SERVER_LEVELS = [(logging.ERROR, True)]


@SIDES
@pytest.mark.parametrize("disconnects", [True, False])
@pytest.mark.parametrize(("error", "code", "reason"), ERRORS.values(), ids=ERRORS)
def test_on_ws_connected(
    connect: Any, client: bool, disconnects: bool, error: Exception, code: int, reason: bytes, caplog: Any
) -> None:
    """`disconnect_on_exception` is about frames. No frame is delivered afterwards."""
    connection = connect(
        client=client, opens=False, disconnect_on_exception=disconnects, handlers={"on_ws_connected": raising(error)}
    )
    connection.opening._remainder = connection.frame(TEXT, b"x")
    connection.opening.open()
    connection.feed_frame(TEXT, b"y")
    assert connection.events == ["connected"]
    check_closed(connection, code, reason)
    assert connection.events == ["connected", "disconnected"]
    assert connection.ending() is (error if client else None)
    assert levels(caplog) == (CLIENT_LEVELS if client else SERVER_LEVELS)


@SIDES
@pytest.mark.parametrize(("error", "code", "reason"), ERRORS.values(), ids=ERRORS)
def test_P3_on_ws_frame(connect: Any, client: bool, error: Exception, code: int, reason: bytes, caplog: Any) -> None:
    connection = connect(client=client, handlers={"on_ws_frame": raising(error)})
    connection.feed(connection.frame(TEXT, b"a") + connection.frame(PING, b"b") + connection.frame(TEXT, b"c"))
    connection.feed_frame(TEXT, b"d")
    assert [message.payload for message in connection.messages] == [b"a"]
    check_closed(connection, code, reason)
    assert connection.ending() is (error if client else None)
    assert levels(caplog) == (CLIENT_LEVELS if client else SERVER_LEVELS)
    assert "on_ws_frame" in caplog.records[0].getMessage()


@SIDES
@pytest.mark.parametrize(("error", "code", "reason"), ERRORS.values(), ids=ERRORS)
def test_on_ws_frame_without_disconnect_on_exception(
    connect: Any, client: bool, error: Exception, code: int, reason: bytes, caplog: Any
) -> None:
    """Exceptions are logged and the next frame is delivered; a WSProtocolError closes all the same."""
    connection = connect(client=client, disconnect_on_exception=False, handlers={"on_ws_frame": raising(error)})
    connection.feed(connection.frame(TEXT, b"a") + connection.frame(TEXT, b"b"))
    connection.feed_frame(TEXT, b"c")
    if isinstance(error, WSProtocolError):
        assert len(connection.messages) == 1
        check_closed(connection, code, reason)
        assert connection.ending() is (error if client else None)
        return
    assert len(connection.messages) == 3
    assert connection.written() == b""
    assert levels(caplog) == [(logging.ERROR, True)] * 3
    connection.lose()
    assert connection.ending() is None


@SIDES
@pytest.mark.parametrize("opcode", [CLOSE, PONG])
def test_on_ws_frame_raises_for_a_control_frame(connect: Any, client: bool, opcode: int) -> None:
    error = Mine()
    connection = connect(client=client, handlers={"on_ws_frame": raising(error)})
    connection.feed_frame(opcode)
    check_closed(connection, 1011)
    assert connection.ending() is (error if client else None)


@SIDES
@pytest.mark.parametrize("disconnects", [True, False])
def test_is_user_specific_pong_raises(connect: Any, client: bool, disconnects: bool, caplog: Any) -> None:
    error = Mine()
    connection = connect(client=client, disconnect_on_exception=disconnects)
    connection.listener.is_user_specific_pong = raising(error)
    measuring = connection.loop.create_task(connection.transport.measure_roundtrip_time(1))
    connection.loop.settle()
    connection.written()
    connection.feed_frame(TEXT, b"x")
    assert connection.messages == []
    if disconnects:
        check_closed(connection, 1011)
        assert connection.ending() is (error if client else None)
    else:
        assert connection.written() == b""
        connection.lose()
    connection.loop.settle()
    assert isinstance(measuring.exception(), ConnectionResetError)


@SIDES
def test_on_ws_disconnected_raises(connect: Any, client: bool, caplog: Any) -> None:
    error = Mine()
    connection = connect(client=client, handlers={"on_ws_disconnected": raising(error)})
    connection.lose()
    assert connection.ending() is (error if client else None)
    assert levels(caplog) == [(logging.WARNING if client else logging.ERROR, True)]
    assert "on_ws_disconnected" in caplog.records[0].getMessage()


@SIDES
def test_the_first_failure_counts(connect: Any, client: bool, caplog: Any) -> None:
    first, second = Mine("first"), Mine("second")
    handlers = {"on_ws_frame": raising(first), "on_ws_disconnected": raising(second)}
    connection = connect(client=client, handlers=handlers)
    connection.feed_frame(TEXT)
    connection.loop.advance(1)
    assert connection.ending() is (first if client else None)
    assert [record.levelno for record in caplog.records] == [
        logging.WARNING if client else logging.ERROR,
        logging.ERROR,
    ]


@SIDES
def test_a_violation_by_the_peer_comes_before_a_failure_of_ours(connect: Any, client: bool) -> None:
    connection = connect(client=client, handlers={"on_ws_disconnected": raising(Mine())})
    connection.feed_frame(3)
    connection.loop.advance(1)
    error = connection.ending()
    assert isinstance(error, WSProtocolError if client else type(None))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), asyncio.CancelledError(), GeneratorExit()])
@pytest.mark.parametrize("callback", ["on_ws_connected", "on_ws_frame", "on_ws_disconnected"])
def test_M3_other_base_exceptions_escape_into_the_loop(connect: Any, callback: str, error: BaseException) -> None:
    connection = connect(opens=False, handlers={callback: raising(error)})
    with pytest.raises(type(error)):
        connection.opening.open()
        connection.feed_frame(TEXT, b"x")
        connection.lose()
    assert connection.written() == b""
    if callback == "on_ws_disconnected":
        assert connection.ending() is None


@SIDES
@pytest.mark.parametrize("opens", [True, False])
def test_on_ws_disconnected_is_called_once_and_only_after_on_ws_connected(
    connect: Any, client: bool, opens: bool
) -> None:
    connection = connect(client=client, opens=opens)
    waiter = connection.loop.create_task(connection.transport.wait_disconnected())
    connection.lose(ConnectionResetError("reset"))
    connection.loop.settle()
    assert connection.events == (["connected", "disconnected"] if opens else [])
    assert waiter.result() is None
    if not opens:
        (name, exc) = connection.opening.calls[-1]
        assert name == "connection_lost"
        assert isinstance(exc, ConnectionResetError)


@SIDES
def test_callbacks_get_the_transport_of_the_connection(connect: Any, client: bool) -> None:
    seen: list[Any] = []
    handlers = {name: lambda transport, *rest: seen.append(transport) for name in ("on_ws_connected", "on_ws_frame")}
    handlers["on_ws_disconnected"] = handlers["on_ws_frame"]
    connection = connect(client=client, handlers=handlers)
    connection.feed_frame(TEXT)
    connection.lose()
    assert seen == [connection.transport] * 3
    assert connection.transport.is_client_side is client


@SIDES
@pytest.mark.parametrize("end", ["disconnect", "abort", "send_close"])
def test_M2_ending_it_in_on_ws_connected(connect: Any, client: bool, end: str) -> None:
    """P3: after disconnect() the frames that came with the handshake are not delivered; after send_close() they are."""

    def react(transport: Any) -> None:
        if end == "send_close":
            transport.send_close()
        else:
            transport.disconnect(end == "disconnect")

    connection = connect(client=client, opens=False, handlers={"on_ws_connected": react})
    connection.opening._remainder = connection.frame(TEXT, b"x")
    connection.opening.open()
    expected = ["connected"]
    assert connection.events == ([*expected, Received(WSMsgType.TEXT, b"x")] if end == "send_close" else expected)
    connection.loop.settle()
    assert ("disconnected" in connection.events) is (end != "send_close")


def test_M2_sending_in_on_ws_disconnected_does_nothing(connect: Any) -> None:
    def react(transport: Any) -> None:
        transport.send(TEXT, b"x")
        transport.send_close()
        transport.disconnect()
        transport.disconnect(False)
        transport.flush()
        transport.notify_user_specific_pong_received()

    connection = connect(handlers={"on_ws_disconnected": react})
    connection.lose()
    assert connection.written() == b""
    assert connection.wire.calls == []
    assert connection.events == ["connected", "disconnected"]


@SIDES
@pytest.mark.parametrize(
    "error", [Mine("boom"), WSProtocolError(4001, "because")], ids=["Exception", "WSProtocolError"]
)
def test_a_callback_that_raises_after_the_loss(connect: Any, client: bool, error: Exception) -> None:
    """No transport of asyncio's calls connection_lost from within one of our calls; another one may."""

    def lose(transport: Any, frame: Any) -> None:
        connection.lose()
        raise error

    connection = connect(client=client, handlers={"on_ws_frame": lose})
    connection.feed_frame(TEXT, b"x")
    assert connection.events[-1] == "disconnected"
    assert connection.written() == b""


@SIDES
@pytest.mark.parametrize("hangs_up", [False, True], ids=["auto close", "closing"])
def test_a_close_whose_callback_brings_the_loss(connect: Any, client: bool, hangs_up: bool) -> None:
    """Nothing is left that could be answered."""
    connection = connect(
        client=client, enable_auto_close=not hangs_up, handlers={"on_ws_frame": lambda *_: connection.lose()}
    )
    if hangs_up:
        connection.transport._close_and_hang_up(1000, "")
        connection.written()
    connection.feed_frame(CLOSE, close_payload(1000))
    assert connection.events[-1] == "disconnected"
    assert connection.written() == b""


def test_a_last_callback_that_raises_after_another_loss(connect: Any, caplog: Any) -> None:
    def lose_again(transport: Any) -> None:
        connection.protocol.connection_lost(None)
        raise Mine("boom")

    connection = connect(handlers={"on_ws_disconnected": lose_again})
    connection.lose()
    assert levels(caplog) == [(logging.ERROR, True)]
    assert connection.events == ["connected", "disconnected"]


def test_the_base_listener_ignores_everything(connect: Any, engine: Any) -> None:
    connection = connect(listener=engine.WSListener())
    connection.feed_frame(TEXT, b"x")
    connection.feed_frame(PING, b"y")
    connection.protocol.pause_writing()
    engine.WSListener().resume_writing()
    engine.WSListener().pause_writing()
    connection.protocol.resume_writing()
    connection.feed_frame(CLOSE)
    connection.lose()
    assert connection.plain() == [(PONG, b"y")]


def test_listeners_can_be_referred_to_weakly(engine: Any) -> None:
    listener: Any = engine.WSListener()
    reference: Any = weakref.ref(listener)
    assert reference() is listener
    with pytest.raises(AttributeError):
        listener.name = "the base class has no __dict__"


# --- the opening handshake, as far as the engine has a part in it ---


class FailingSocket:
    """A socket whose options cannot be set."""

    def __init__(self, family: int) -> None:
        self.family = family

    def setsockopt(self, *args: Any) -> None:
        raise OSError(22, "Invalid argument")

    def fileno(self) -> int:
        return -1


@SIDES
def test_W1_a_failure_in_connection_made_reaches_the_opening(engine: Any, client: bool) -> None:
    loop = ClockLoop()
    options = ConnectionOptions(is_client_side=client, logger=logging.getLogger("picows.test"))
    listener = recorder(engine)
    opening = FakeOpening(listener, b"", True)
    protocol = engine.make_protocol(loop, options, opening)
    transport = FakeTransport(loop, FailingSocket(socket.AF_INET), False)
    transport.protocol = protocol
    protocol.connection_made(transport)
    ((name, exc),) = opening.calls
    assert name == "connection_lost"
    assert isinstance(exc, OSError)
    assert transport.calls == []  # aiofastnet's cannot be aborted here, see tests/asyncio_api/test_opening.py
    loop.settle()
    assert transport.calls == ["abort"]
    assert len(opening.calls) == 1
    assert listener.events == []
    loop.close()


def test_eof_before_the_handshake_is_complete(connect: Any) -> None:
    connection = connect(opens=False)
    connection.eof()
    connection.loop.settle()
    assert connection.opening.calls == ["connection_made", "eof_received", ("connection_lost", None)]
    assert connection.wire.calls == ["close"]


def test_abandoning_an_opening_handshake(connect: Any) -> None:
    connection = connect(opens=False)
    connection.protocol.abandon()
    connection.loop.settle()
    assert connection.wire.calls == ["abort"]
    assert connection.events == []


def test_W5_abandoning_an_open_connection(connect: Any) -> None:
    """Its last callback comes at once, and none later."""
    connection = connect()
    connection.protocol.abandon()
    assert connection.events == ["connected", "disconnected"]
    connection.feed_frame(TEXT, b"x")
    connection.loop.settle()
    assert connection.wire.calls == ["abort"]
    assert connection.events == ["connected", "disconnected"]


def test_abandoning_before_there_is_a_connection(engine: Any) -> None:
    loop = ClockLoop()
    options = ConnectionOptions(is_client_side=True, logger=logging.getLogger("picows.test"))
    protocol = engine.make_protocol(loop, options, FakeOpening(engine.WSListener(), b"", True))
    protocol.abandon()
    assert protocol.transport is None
    loop.close()


@pytest.mark.parametrize("name", ["send_user_specific_ping", "is_user_specific_pong"])
def test_callbacks_called_with_nothing(engine: Any, name: str) -> None:
    """An error, in compiled code too, where it could be a crash."""
    with pytest.raises(AttributeError, match="NoneType"):
        getattr(engine.WSListener(), name)(None)
