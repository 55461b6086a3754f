"""Transports called from Cython: the bytes that reach the wire, arguments that are refused, a real connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fixtures.wire import BINARY, CLOSE, PING, PONG, TEXT, Sent, close_payload, xor

from picows import WSAutoPingStrategy, WSCloseCode, WSMsgType, ws_connect, ws_create_server

pytestmark = pytest.mark.timeout(120)  # the first test compiles
SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
SIZES = [0, 1, 13, 125, 126, 65_535, 65_536, 300_000]


def without_key(frames: list[Sent]) -> list[Sent]:
    return [frame._replace(key=None) for frame in frames]


@SIDES
def test_bits_of_send(connect: Any, user: Any, client: bool) -> None:
    connection = connect(client=client)
    user.send_defaults(connection.transport, "a")
    user.send_positional(connection.transport, b"b")
    user.send_keywords(connection.transport, bytearray(b"c"))
    user.send_through_python(connection.transport, None)
    assert without_key(connection.sent()) == [
        Sent(TEXT, b"a"),
        Sent(TEXT, b"b", fin=False, rsv=5),
        Sent(TEXT, b"c", fin=False, rsv=2),
        Sent(TEXT, b"", rsv=1),
    ]


@SIDES
def test_control_frames(connect: Any, user: Any, client: bool) -> None:
    connection = connect(client=client)
    user.send_controls(connection.transport)
    user.close(connection.transport)
    assert connection.plain() == [(PING, b""), (PING, b"ping"), (PONG, b"pong"), (CLOSE, close_payload(1001, b"bye"))]


@pytest.mark.parametrize("size", SIZES)
def test_a_client_masks_in_place(connect: Any, user: Any, size: int) -> None:
    connection = connect(client=True)
    message = bytes(range(251)) * (size // 251) + bytes(range(size % 251))
    after = user.send_in_place(connection.transport, message)
    (frame,) = connection.sent()
    assert frame._replace(key=None) == Sent(BINARY, message)
    assert frame.key is not None
    assert after == xor(message, frame.key)


@pytest.mark.parametrize("size", SIZES)
def test_a_server_sends_as_it_is(connect: Any, user: Any, size: int) -> None:
    connection = connect()
    message = b"\xa5" * size
    assert user.send_in_place(connection.transport, message) == message
    assert connection.sent() == [Sent(BINARY, message)]


@SIDES
def test_bits_of_a_message_in_place(connect: Any, user: Any, client: bool) -> None:
    connection = connect(client=client)
    user.send_in_place_with_bits(connection.transport, b"abc")
    user.send_bytearray(connection.transport, b"def")
    assert without_key(connection.sent()) == [
        Sent(TEXT, b"abc", fin=False, rsv=2),
        Sent(TEXT, b"abc", fin=False, rsv=4),
        Sent(TEXT, b"def"),
    ]


@SIDES
@pytest.mark.parametrize(
    ("size", "opcode", "message"),
    [(2, CLOSE, "send_close"), (2, 16, "0 to 15"), (2, -1, "0 to 15"), (126, PING, "at most 125")],
)
def test_messages_in_place_that_are_refused(
    connect: Any, user: Any, client: bool, size: int, opcode: int, message: str
) -> None:
    """The exception comes through the C function's return value."""
    connection = connect(client=client)
    with pytest.raises(ValueError, match=message):
        user.send_in_place(connection.transport, b"x" * size, opcode)
    with pytest.raises(ValueError, match="pointer"):
        user.send_from_nowhere(connection.transport)
    assert connection.written() == b""


@SIDES
def test_nothing_is_sent_after_close(connect: Any, user: Any, client: bool) -> None:
    connection = connect(client=client)
    user.close(connection.transport)
    connection.written()
    assert user.send_in_place(connection.transport, b"late") == b"late"
    user.send_defaults(connection.transport, b"late")
    assert connection.written() == b""


def test_broadcast(connect: Any, user: Any) -> None:
    first = connect()
    others = [connect(loop=first.loop), connect(loop=first.loop, client=True)]
    user.broadcast([connection.transport for connection in (first, *others)], b"to all")
    for connection in (first, *others):
        assert connection.plain() == [(BINARY, b"to all")]


def test_constants(user: Any) -> None:
    """They are those of Python, all of them."""
    constants = user.constants()
    for enum in (WSMsgType, WSCloseCode, WSAutoPingStrategy):
        assert constants.pop(enum.__name__) == [int(member) for member in enum]
    assert constants == {}


def test_a_real_connection(core: Any, user: Any) -> None:
    """Both ends in Cython; the client's questions leave from `on_ws_connected`."""
    questions = [bytes([number % 256]) * size for number, size in enumerate([0, 1, 125, 126, 40_000, 70_000, 1 << 20])]

    async def talk() -> Any:
        server = await ws_create_server(lambda request: user.Echo(), "127.0.0.1", 0, engine=core)
        try:
            port = server.sockets[0].getsockname()[1]
            url = f"ws://127.0.0.1:{port}/"
            transport, listener = await ws_connect(lambda: user.Asking(questions), url, engine=core)
            await asyncio.wait_for(transport.wait_disconnected(), 20)
            assert listener.transport is transport
            return listener.answers, transport.close_handshake
        finally:
            await server.close()

    answers, record = asyncio.run(talk())
    assert answers == questions
    assert (record.sent.code, record.sent.reason, record.recv_then_sent) == (1000, "enough", False)
    assert (record.recv.code, record.recv.reason) == (1000, "enough")
