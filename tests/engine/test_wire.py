"""Writing straight to the socket: what it does not take goes to the transport, in order; its errors end the connection.

The engine sees one end of a socket pair as the socket of its (recording) asyncio transport.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fixtures.wire import BINARY, CLOSE, PING, TEXT, take_apart

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
pytestmark = [
    pytest.mark.skipif(not hasattr(socket, "MSG_NOSIGNAL"), reason="without MSG_NOSIGNAL all goes to the transport"),
    pytest.mark.skipif(sys.implementation.name == "pypy", reason="PyPy cannot borrow a descriptor"),
    pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs socket pairs"),
]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our socket and the peer's."""
    ours, peers = socket.socketpair()
    ours.setblocking(False)
    peers.setblocking(False)
    with ours, peers:
        yield ours, peers


def take(sock: socket.socket) -> bytes:
    """Everything that has arrived."""
    data = b""
    while True:
        try:
            piece = sock.recv(1 << 20)
        except BlockingIOError:
            return data
        if not piece:
            return data
        data += piece


def fill(sock: socket.socket) -> bytes:
    """Make the socket take nothing more."""
    data = b""
    for size in (65536, 1):
        try:
            while True:
                data += b"-" * sock.send(b"-" * size)
        except BlockingIOError:
            pass
    return data


def sizes(data: bytes) -> list[int]:
    return [len(frame.payload) for frame in take_apart(data)]


@SIDES
@pytest.mark.parametrize("size", [0, 5, 126, 32_768, 32_769, 60_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_frames_go_to_the_socket(connect: Any, pair: Any, client: bool, size: int, kind: Any) -> None:
    ours, peers = pair
    connection = connect(client=client, sock=ours)
    connection.transport.send(BINARY, kind(b"x" * size))
    connection.transport.send(TEXT, b"next")
    assert connection.written() == b""
    assert [frame.payload for frame in take_apart(take(peers))] == [b"x" * size, b"next"]


@SIDES
def test_over_TLS_everything_goes_to_the_transport(connect: Any, pair: Any, client: bool) -> None:
    ours, peers = pair
    connection = connect(client=client, sock=ours, secure=True)
    for size in (5, 40_000, 6):
        connection.transport.send(BINARY, bytes(size))
    assert take(peers) == b""
    assert sizes(connection.written()) == [5, 40_000, 6]


@SIDES
def test_what_waits_in_the_transport_goes_first(connect: Any, pair: Any, client: bool) -> None:
    ours, peers = pair
    connection = connect(client=client, sock=ours)
    connection.wire.stalled = True
    connection.wire.write(b"HTTP/1.1 101")
    connection.transport.send(BINARY, bytes(5))
    connection.transport.send(BINARY, bytes(50_000))
    assert take(peers) == b""
    waited = connection.written()
    assert waited.startswith(b"HTTP/1.1 101")
    assert sizes(waited[12:]) == [5, 50_000]
    connection.wire.drain()
    connection.transport.send(BINARY, bytes(7))
    assert connection.written() == b""
    assert sizes(take(peers)) == [7]


def test_the_default_timeout_of_sockets_is_not_ours(connect: Any, pair: Any) -> None:
    """Somebody else's socket.setdefaulttimeout(): a full socket must not block the loop for that long."""
    ours, _ = pair
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.01)
    try:
        connection = connect(sock=ours)
    finally:
        socket.setdefaulttimeout(before)
    fill(ours)
    connection.transport.send(BINARY, bytes(10))
    assert connection.wire.calls == []
    assert sizes(connection.written()) == [10]


@SIDES
@pytest.mark.parametrize("size", [10, 200, 40_000, 1_000_000])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_full_socket(connect: Any, pair: Any, client: bool, size: int, kind: Any) -> None:
    """EAGAIN: the transport gets what is left, which its owner may change at once (W13)."""
    ours, peers = pair
    connection = connect(client=client, sock=ours)
    filled = fill(ours)
    connection.wire.stalled = True
    message = kind(b"x" * size)
    for _ in range(3):
        connection.transport.send(BINARY, message)
    if kind is bytearray:
        message[:] = b"y" * size
    assert connection.transport.write_buffer_size == len(b"".join(connection.wire.chunks))
    assert take(peers) == filled
    frames = take_apart(connection.written())
    assert [frame.payload for frame in frames] == [b"x" * size] * 3


@SIDES
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [250, 30_000, 40_000, 500_000, 2_000_000])
def test_G5_a_frame_that_the_socket_takes_in_part(connect: Any, pair: Any, client: bool, kind: Any, size: int) -> None:
    """Each byte leaves once and in order, and the part that waits does not change (W13)."""
    ours, peers = pair
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection = connect(client=client, sock=ours)
    payload = bytes(range(250)) * (size // 250)
    message = kind(payload)
    connection.transport.send(BINARY, message)
    if kind is bytearray:
        message[:] = bytes(len(message))
    arrived = take(peers)
    left = connection.written()
    assert len(arrived) > 0
    assert len(left) > 0 or size < 30_000
    (frame,) = take_apart(arrived + left)
    assert frame.payload == payload


@SIDES
@pytest.mark.parametrize("kind", [bytes, bytearray, "in place"])
@pytest.mark.parametrize("gathered", [10, 60_000])
@pytest.mark.parametrize("room", [4096, 300_000])
def test_G5_a_large_frame_behind_gathered_ones_that_the_socket_takes_in_part(
    connect: Any, pair: Any, client: bool, kind: Any, gathered: int, room: int
) -> None:
    """Wherever the cut is: in what was gathered, in the frame's header or payload, in one of its pieces."""
    ours, peers = pair
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
    payload = bytes(range(250)) * 4000

    def answer(transport: Any, frame: Any) -> None:
        transport.send(TEXT, b"first")
        transport.send(BINARY, b"g" * gathered)
        if kind == "in place":
            transport.send_reuse_external_bytearray(BINARY, bytearray(14) + payload, 14)
            return
        message = kind(payload)
        transport.send(BINARY, message)
        if kind is bytearray:
            message[:] = bytes(len(message))

    connection = connect(client=client, sock=ours, handlers={"on_ws_frame": answer})
    connection.feed_frame(TEXT)
    arrived, left = take(peers), connection.written()
    assert len(arrived) > len(b"first") + 6
    assert len(left) > 0
    assert [frame.payload for frame in take_apart(arrived + left)] == [b"first", b"g" * gathered, payload]


def refuse(data: Any) -> None:
    raise MemoryError


@SIDES
@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize("size", [30_000, 500_000, 2_000_000])
def test_G5_no_memory_for_the_rest_of_a_frame(connect: Any, pair: Any, client: bool, kind: Any, size: int) -> None:
    """The peer has got its beginning, and would read the next frame as the rest of it."""
    ours, peers = pair
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection = connect(client=client, sock=ours)
    connection.wire.write = refuse
    with pytest.raises(MemoryError):
        for _ in range(100):
            connection.transport.send(BINARY, kind(size))
    assert len(take(peers)) > 0
    assert connection.wire.calls == ["abort"]
    connection.loop.settle()
    assert connection.events == ["connected", "disconnected"]


@SIDES
def test_G5_no_memory_for_a_whole_frame(connect: Any, pair: Any, client: bool) -> None:
    """Nothing of it was sent: whoever has sent it is told so, and the connection goes on."""
    ours, peers = pair
    connection = connect(client=client, sock=ours)
    filled = fill(ours)
    write, connection.wire.write = connection.wire.write, refuse
    with pytest.raises(MemoryError):
        connection.transport.send(BINARY, b"lost")
    connection.wire.write = write
    connection.transport.send(BINARY, b"next")
    assert connection.wire.calls == []
    assert (take(peers), [frame.payload for frame in take_apart(connection.written())]) == (filled, [b"next"])


@SIDES
@pytest.mark.parametrize("size", [4, 40_000])
def test_F2_no_memory_for_what_was_gathered(connect: Any, pair: Any, client: bool, size: int) -> None:
    """Whoever has sent it was told that it is sent: it does not get lost in silence."""
    ours, _ = pair
    errors = []

    def answer(transport: Any, frame: Any) -> None:
        transport.send(TEXT, b"first")
        fill(ours)
        transport.send(TEXT, b"gathered")
        connection.wire.write = refuse
        try:
            transport.send(BINARY, bytes(size))
            transport.flush()
        except MemoryError as exc:
            errors.append(exc)

    connection = connect(client=client, sock=ours, handlers={"on_ws_frame": answer})
    connection.feed_frame(TEXT)
    assert len(errors) == 1
    assert connection.wire.calls == ["abort"]
    connection.loop.settle()
    assert connection.events[-1] == "disconnected"


@SIDES
@pytest.mark.parametrize("size", [5, 50_000])
def test_G7_W15_an_error_of_the_socket_ends_the_connection_once(
    connect: Any, pair: Any, client: bool, size: int
) -> None:
    """EPIPE, without the signal."""
    ours, peers = pair
    connection = connect(client=client, sock=ours)
    peers.close()
    for _ in range(3):
        connection.transport.send(BINARY, bytes(size))
    connection.transport.send_close()
    connection.loop.settle()
    connection.loop.advance(20)
    assert connection.events == ["connected", "disconnected"]
    assert connection.written() == b""
    connection.transport.send(BINARY, bytes(size))
    assert connection.ending() is None


@SIDES
@pytest.mark.parametrize("graceful", [True, False])
def test_W15_the_socket_is_not_written_to_after_the_end(connect: Any, pair: Any, client: bool, graceful: bool) -> None:
    ours, peers = pair

    def react(transport: Any, frame: Any) -> None:
        for _ in range(3):
            transport.send(TEXT, b"x")
        transport.disconnect(graceful)

    connection = connect(client=client, sock=ours, handlers={"on_ws_frame": react})
    connection.feed_frame(TEXT)
    connection.transport.send(TEXT, b"y")
    connection.transport.send_close()
    connection.transport.flush()
    connection.loop.settle()
    assert len(take_apart(take(peers))) == (3 if graceful else 1)
    assert connection.written() == b""


@SIDES
@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("size", [5, 50_000, 1_000_000])
def test_a_transport_that_was_lent_gets_what_is_sent_after_its_end(
    connect: Any, pair: Any, client: bool, end: str, size: int
) -> None:
    """It drops that; the socket, which is still open in this turn of the loop, must not get it."""
    ours, peers = pair
    connection = connect(client=client, sock=ours)
    connection.transport._lend_transport()
    connection.transport.send(BINARY, b"before")
    getattr(connection.wire, end)()
    connection.transport.send(BINARY, bytes(size))
    connection.transport.send_ping()
    connection.transport.send_close()
    assert [frame.payload for frame in take_apart(take(peers))] == [b"before"]
    late = take_apart(b"".join(connection.wire.written_late))
    assert [frame.opcode for frame in late] == [BINARY, PING, CLOSE]
    connection.wire.written_late.clear()


@SIDES
@pytest.mark.parametrize("end", ["close", "abort"])
def test_what_is_gathered_leaves_before_the_end_of_a_transport_that_was_lent(
    connect: Any, pair: Any, client: bool, end: str
) -> None:
    """As if each had been sent at once."""
    ours, peers = pair
    arrived: list[int] = []

    def react(transport: Any, frame: Any) -> None:
        for _ in range(3):
            transport.send(TEXT, b"gathered")
        transport._lend_transport()
        arrived.append(len(take_apart(take(peers))))
        for _ in range(3):
            transport.send(TEXT, b"gathered again")
        getattr(connection.wire, end)()
        transport.send(TEXT, b"late")

    connection = connect(client=client, sock=ours, handlers={"on_ws_frame": react})
    connection.feed_frame(TEXT)
    assert arrived == [3]
    assert [frame.payload for frame in take_apart(take(peers))] == [b"gathered again"] * 3
    assert [frame.payload for frame in take_apart(b"".join(connection.wire.written_late))] == [b"late"]
    connection.wire.written_late.clear()


@SIDES
def test_nothing_is_gathered_that_a_lent_transport_would_drop(connect: Any, client: bool) -> None:
    """TLS: after its end nothing can be sent but what it has."""

    def react(transport: Any, frame: Any) -> None:
        transport._lend_transport()
        for _ in range(3):
            transport.send(TEXT, b"early")
        connection.wire.close()

    connection = connect(client=client, secure=True, handlers={"on_ws_frame": react})
    connection.feed_frame(TEXT)
    assert connection.plain() == [(TEXT, b"early")] * 3
    assert connection.wire.written_late == []


def test_a_transport_is_lent_to_another_thread(connect: Any, pair: Any) -> None:
    """Which sends nothing there: what was gathered leaves where it was."""
    ours, peers = pair
    arrived: list[bytes] = []

    def react(transport: Any, frame: Any) -> None:
        for _ in range(3):
            transport.send(TEXT, b"x")
        thread = threading.Thread(target=transport._lend_transport)
        thread.start()
        thread.join()
        arrived.append(take(peers))

    connection = connect(sock=ours, handlers={"on_ws_frame": react})
    connection.feed_frame(TEXT)
    assert [len(take_apart(data)) for data in (arrived[0], take(peers))] == [1, 2]


@SIDES
def test_F2_gathered_frames_are_one_write(connect: Any, client: bool) -> None:
    ours, peers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, peers:
        peers.setblocking(False)

        def react(transport: Any, frame: Any) -> None:
            for _ in range(4):
                transport.send(TEXT, b"x")

        connection = connect(client=client, sock=ours, handlers={"on_ws_frame": react})
        connection.feed(connection.frame(TEXT) * 2)
        packets = [peers.recv(1000), peers.recv(1000)]
        with pytest.raises(BlockingIOError):
            peers.recv(1000)
        assert [len(take_apart(packet)) for packet in packets] == [1, 7]


def test_the_socket_stays_the_transports(connect: Any, pair: Any) -> None:
    """Its descriptor is borrowed, never closed."""
    ours, peers = pair
    connection = connect(sock=ours)
    connection.transport.send_close()
    connection.transport.disconnect()
    connection.shut()
    del connection
    ours.send(b"still mine")
    assert take(peers).endswith(b"still mine")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_tcp_sockets_are_tuned(connect: Any, family: int) -> None:
    try:
        sock = socket.socket(family)
    except OSError as exc:
        pytest.skip(f"no such sockets here: {exc}")
    with sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        connect(sock=sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_close_leaves_through_the_socket(connect: Any, pair: Any) -> None:
    ours, peers = pair
    connection = connect(sock=ours)
    connection.feed_frame(3)
    (frame,) = take_apart(take(peers))
    assert frame.opcode == CLOSE
