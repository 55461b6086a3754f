"""Frames out: what each send method puts on the wire, and the arguments that it refuses."""

from __future__ import annotations

import array
import ctypes
import logging
import mmap
import threading
from typing import Any, Callable

import pytest
from fixtures.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, Sent, close_payload

from picows.deflate import DeflateParameters
from picows.enums import WSCloseCode, WSMsgType

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
SIZES = [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 1000, 1023, 1024, 1025, 4095, 4096, 4097, 8191, 8192, 8193]
LARGE_SIZES = [32767, 32768, 32769, 65534, 65535, 65536, 65537, 100_001, 1_000_003]


def payload_of(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@SIDES
def test_every_small_size(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    for size in range(301):
        connection.transport.send(BINARY, payload_of(size))
        assert connection.plain() == [(BINARY, payload_of(size))]


@SIDES
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("size", SIZES + LARGE_SIZES)
def test_sizes(connect: Any, client: bool, secure: bool, size: int) -> None:
    """A9: the length is in its shortest form (`take_apart` checks that)."""
    connection = connect(client=client, secure=secure)
    assert connection.transport.is_secure is secure
    for kind in (bytes, bytearray, memoryview):
        connection.transport.send(BINARY, kind(payload_of(size)))
        assert connection.plain() == [(BINARY, payload_of(size))]


@SIDES
@pytest.mark.parametrize("bits", range(16))
@pytest.mark.parametrize("opcode", [CONT, TEXT, BINARY, 3, 7])
def test_bits(connect: Any, client: bool, opcode: int, bits: int) -> None:
    connection = connect(client=client)
    fin, rsv1, rsv2, rsv3 = (bool(bits & bit) for bit in (8, 4, 2, 1))
    connection.transport.send(opcode, b"x", fin, rsv1, rsv2, rsv3)
    room = bytearray(14) + b"x"
    connection.transport.send_reuse_external_bytearray(opcode, room, 14, fin=fin, rsv1=rsv1, rsv2=rsv2, rsv3=rsv3)
    first, second = connection.sent()
    assert first._replace(key=None) == second._replace(key=None) == Sent(opcode, b"x", fin, bits & 7)


@SIDES
@pytest.mark.parametrize("opcode", [PING, PONG, 11, 15])
def test_control_frames(connect: Any, client: bool, opcode: int) -> None:
    connection = connect(client=client)
    for size in (0, 1, 125):
        connection.transport.send(opcode, bytes(size))
        assert connection.plain() == [(opcode, bytes(size))]


def _mapped() -> mmap.mmap:
    region = mmap.mmap(-1, 5)
    region[:] = b"hello"
    return region


MESSAGES: dict[str, tuple[Callable[[], Any], bytes]] = {
    "None": (lambda: None, b""),
    "empty str": (lambda: "", b""),
    "str": (lambda: "käse", "käse".encode()),
    "bytes": (lambda: b"hello", b"hello"),
    "bytearray": (lambda: bytearray(b"hello"), b"hello"),
    "memoryview": (lambda: memoryview(b"hello"), b"hello"),
    "empty memoryview": (lambda: memoryview(b""), b""),
    "slice": (lambda: memoryview(b"say hello")[4:], b"hello"),
    "array of 4-byte items": (lambda: array.array("I", [1, 2, 3]), array.array("I", [1, 2, 3]).tobytes()),
    "empty array": (lambda: array.array("I"), b""),
    "two dimensions": (lambda: memoryview(bytes(range(6))).cast("B", (2, 3)), bytes(range(6))),
    "ctypes array": (lambda: (ctypes.c_uint16 * 2)(258, 772), bytes((ctypes.c_uint16 * 2)(258, 772))),
    "mmap": (_mapped, b"hello"),
}


@SIDES
@pytest.mark.parametrize(("make", "payload"), MESSAGES.values(), ids=MESSAGES)
def test_kinds_of_messages(connect: Any, client: bool, make: Callable[[], Any], payload: bytes) -> None:
    connection = connect(client=client)
    connection.transport.send(BINARY, make())
    connection.transport.send_ping(make())
    connection.transport.send_pong(make())
    assert connection.plain() == [(BINARY, payload), (PING, payload), (PONG, payload)]


@SIDES
@pytest.mark.parametrize("size", [1, 100, 1000, 5000, 40_000, 70_000])
@pytest.mark.parametrize("stalled", [False, True], ids=["free", "stalled"])
@pytest.mark.parametrize("in_batch", [False, True], ids=["alone", "gathered"])
def test_W13_G5_D6_the_buffer_may_be_changed_after_send(
    connect: Any, client: bool, size: int, stalled: bool, in_batch: bool
) -> None:
    """The wire keeps what was sent, the caller's buffer what the caller put there."""
    buffers = [bytearray(payload_of(size)) for _ in range(3)]

    def send(transport: Any, frame: Any) -> None:
        for buffer in buffers:
            transport.send(BINARY, buffer)
            assert buffer == payload_of(size)
            buffer[:] = b"\xaa" * size
            buffer.clear()  # BufferError if it were still exported
        view = bytearray(payload_of(size))
        transport.send(BINARY, memoryview(view))
        view[:] = b"\xaa" * size

    connection = connect(client=client, handlers={"on_ws_frame": send})
    connection.wire.stalled = stalled
    if in_batch:
        connection.feed_frame(TEXT)
    else:
        send(connection.transport, None)
    assert connection.plain() == [(BINARY, payload_of(size))] * 4


@SIDES
@pytest.mark.parametrize("offset", [14, 15, 100])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 5000, 65536])
def test_send_reuse_external_bytearray(connect: Any, client: bool, offset: int, size: int) -> None:
    connection = connect(client=client)
    buffer = bytearray(offset) + payload_of(size)
    connection.transport.send_reuse_external_bytearray(BINARY, buffer, offset)
    buffer[:] = bytes(len(buffer))
    assert connection.plain() == [(BINARY, payload_of(size))]


ROOM = bytearray(20)
#: id -> (error, words, method, arguments)
REFUSED: dict[str, tuple[type[Exception], str, str, tuple[Any, ...]]] = {
    "P2 opcode 16": (ValueError, "0 to 15, got 16", "send", (16, b"")),
    "P2 opcode 256": (ValueError, "0 to 15, got 256", "send", (256, b"")),
    "P2 opcode -1": (ValueError, "0 to 15, got -1", "send", (-1, b"")),
    "P2 CLOSE": (ValueError, "send_close", "send", (CLOSE, b"\x03\xe8")),
    "P2 CLOSE member": (ValueError, "send_close", "send", (WSMsgType.CLOSE, None)),
    "P2 PING of 126": (ValueError, "at most 125 bytes, got 126", "send", (PING, bytes(126))),
    "P2 opcode 11 of 126": (ValueError, "at most 125 bytes, got 126", "send", (11, bytes(126))),
    "P2 PING in fragments": (ValueError, "fragmented", "send", (PING, b"", False)),
    "P2 send_ping of 126": (ValueError, "at most 125 bytes, got 126", "send_ping", (bytes(126),)),
    "P2 send_ping of 126 in UTF-8": (ValueError, "at most 125 bytes, got 126", "send_ping", ("ä" * 63,)),
    "P2 send_pong of 126": (ValueError, "at most 125 bytes, got 126", "send_pong", (bytes(126),)),
    "an int": (TypeError, "str, bytes-like or None, got int", "send", (BINARY, 5)),
    "a list": (TypeError, "str, bytes-like or None, got list", "send", (BINARY, [1])),
    "a float to send_ping": (TypeError, "str, bytes-like or None, got float", "send_ping", (1.5,)),
    "an int to send_pong": (TypeError, "str, bytes-like or None, got int", "send_pong", (5,)),
    "an object to send_close": (TypeError, "str, bytes-like or None, got object", "send_close", (1000, object())),
    "every other byte": (BufferError, "C-contiguous", "send", (BINARY, memoryview(b"abcdef")[::2])),
    "backwards": (BufferError, "C-contiguous", "send_ping", (memoryview(b"abcdef")[::-1],)),
    "half a surrogate": (UnicodeEncodeError, "surrogates", "send", (TEXT, "\ud800")),
    "an opcode that is a str": (TypeError, "str|integer", "send", ("text", b"")),
    "P1 code 1005": (ValueError, "1005 must not be sent: 1000-1003, 1007-1014 and 3000-4999", "send_close", (1005,)),
    **{f"P1 code {code}": (ValueError, str(code), "send_close", (code,)) for code in (1, 999, 1004, 1006, 1015, 1016)},
    **{f"P1 code {code}": (ValueError, str(code), "send_close", (code,)) for code in (2999, 5000, 65535, 65536, -1)},
    "P1 reason without a code": (ValueError, "without a code", "send_close", (0, b"bye")),
    "E6 reason of 124": (ValueError, "at most 123 bytes, got 124", "send_close", (1000, bytes(124))),
    "E6 reason of 62 umlauts": (ValueError, "at most 123 bytes, got 124", "send_close", (1000, "ä" * 62)),
    "reason not UTF-8": (UnicodeDecodeError, "utf-8", "send_close", (1000, b"\xc0\x80")),
    "no buffer": (ValueError, "None", "send_reuse_external_bytearray", (BINARY, None, 14)),
    "bytes": (TypeError, "bytearray, got bytes", "send_reuse_external_bytearray", (BINARY, bytes(20), 14)),
    "offset 13": (ValueError, "14 to 20 .*, got 13", "send_reuse_external_bytearray", (BINARY, ROOM, 13)),
    "offset -1": (ValueError, "14 to 20 .*, got -1", "send_reuse_external_bytearray", (BINARY, ROOM, -1)),
    "offset 21": (ValueError, "14 to 20 .*, got 21", "send_reuse_external_bytearray", (BINARY, ROOM, 21)),
    "no room": (ValueError, "14 to 5 ", "send_reuse_external_bytearray", (BINARY, bytearray(5), 5)),
    "CLOSE in place": (ValueError, "send_close", "send_reuse_external_bytearray", (CLOSE, ROOM, 14)),
    "opcode 16 in place": (ValueError, "got 16", "send_reuse_external_bytearray", (16, ROOM, 14)),
    "PING in place in fragments": (ValueError, "frag", "send_reuse_external_bytearray", (PING, ROOM, 14, False)),
}


@SIDES
@pytest.mark.parametrize(("error", "words", "method", "args"), REFUSED.values(), ids=REFUSED)
def test_P2_refused_arguments(
    connect: Any, client: bool, error: type[Exception], words: str, method: str, args: tuple[Any, ...]
) -> None:
    """They are errors before anything has changed, on an open connection as on a closed one."""
    connection = connect(client=client)
    with pytest.raises(error, match=words):
        getattr(connection.transport, method)(*args)
    assert connection.written() == b""
    assert not connection.transport.is_close_frame_sent
    assert connection.transport.close_handshake is None
    connection.transport.send(TEXT, "still open")
    assert connection.plain() == [(TEXT, b"still open")]
    connection.transport.disconnect()
    with pytest.raises(error, match=words):
        getattr(connection.transport, method)(*args)
    assert bytes(20) == ROOM


#: Names of the methods that belong to the loop's thread, with arguments.
THREAD_BOUND: dict[str, tuple[Any, ...]] = {
    "send": (TEXT, b"x"),
    "send_ping": (),
    "send_pong": (),
    "send_close": (),
    "send_reuse_external_bytearray": (BINARY, bytearray(20), 14),
    "flush": (),
    "disconnect": (),
    "wait_disconnected": (),
    "measure_roundtrip_time": (1,),
    "notify_user_specific_pong_received": (),
}


@pytest.mark.parametrize(("method", "args"), THREAD_BOUND.items(), ids=THREAD_BOUND)
def test_M4_wrong_thread(connect: Any, method: str, args: tuple[Any, ...]) -> None:
    connection = connect()
    errors: list[BaseException] = []

    def call() -> None:
        try:
            result = getattr(connection.transport, method)(*args)
            if result is not None:
                result.send(None)
        except BaseException as exc:
            errors.append(exc)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    (error,) = errors
    assert type(error) is RuntimeError
    assert str(error).startswith(f"WSTransport.{method} called from a wrong thread")
    assert "call_soon_threadsafe" in str(error)
    assert connection.written() == b""
    assert not connection.transport.is_disconnected
    assert connection.wire.calls == []


@pytest.mark.parametrize("other", [None, 1, "transport"])
def test_F4_broadcast_to_something_else(engine: Any, other: Any) -> None:
    with pytest.raises(TypeError, match=f"WSTransport objects, got {type(other).__name__}"):
        engine.ws_broadcast([other], TEXT, "x")


def test_F4_broadcast_from_a_wrong_thread(connect: Any, engine: Any) -> None:
    connection = connect()
    errors: list[BaseException] = []

    def call() -> None:
        try:
            engine.ws_broadcast([connection.transport], TEXT, b"x")
        except BaseException as exc:
            errors.append(exc)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert type(errors[0]) is RuntimeError
    assert "wrong thread" in str(errors[0])
    assert connection.written() == b""


@SIDES
@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 4999])
def test_P1_close_codes(connect: Any, client: bool, code: int) -> None:
    connection = connect(client=client)
    connection.transport.send_close(code, "grüße")
    assert connection.plain() == [(CLOSE, close_payload(code, "grüße".encode()))]
    info = connection.transport.close_handshake.sent
    assert isinstance(info.code, WSCloseCode)
    assert (info.code, info.reason) == (code, "grüße")


@SIDES
def test_P1_close_without_a_code_is_empty(connect: Any, client: bool) -> None:
    connection = connect(client=client)
    connection.transport.send_close()
    assert connection.plain() == [(CLOSE, b"")]
    sent = connection.transport.close_handshake.sent
    assert (sent.code, sent.reason) == (WSCloseCode.NO_INFO, "")


@SIDES
@pytest.mark.parametrize("reason", ["x" * 123, b"x" * 123, bytearray(b"x" * 123), memoryview(b"x" * 123)])
def test_longest_reason(connect: Any, client: bool, reason: Any) -> None:
    connection = connect(client=client)
    connection.transport.send_close(WSCloseCode.OK, reason)
    assert connection.plain() == [(CLOSE, close_payload(1000, b"x" * 123))]
    assert connection.transport.close_handshake.sent.reason == "x" * 123


SILENT = {name: args for name, args in THREAD_BOUND.items() if name.startswith("send")}


@SIDES
@pytest.mark.parametrize(("method", "args"), SILENT.items(), ids=SILENT)
@pytest.mark.parametrize("how", ["send_close", "disconnect", "abort", "lost"])
def test_W15_nothing_is_sent_after_the_end(
    connect: Any, client: bool, how: str, method: str, args: tuple[Any, ...]
) -> None:
    """`written_late`, which the fixture looks at, is what came after close() or abort() of the asyncio transport."""
    connection = connect(client=client)
    transport = connection.transport
    if how == "send_close":
        transport.send_close()
    elif how == "lost":
        connection.lose()
    else:
        transport.disconnect(graceful=how == "disconnect")
    record = transport.close_handshake
    connection.written()
    getattr(transport, method)(*args)
    transport.flush()
    assert connection.written() == b""
    assert transport.close_handshake is record


def test_attributes_are_read_only(connect: Any, engine: Any) -> None:
    connection = connect()
    names = ["underlying_transport", "request", "response", "close_handshake", "is_client_side", "is_secure"]
    names += ["is_close_frame_sent", "is_disconnected", "write_buffer_size"]
    for name in names:
        with pytest.raises(AttributeError):
            setattr(connection.transport, name, None)
    with pytest.raises(AttributeError):
        connection.transport.other = 1


def test_a_transport_can_be_made_by_hand(connect: Any, engine: Any) -> None:
    """The constructor of upstream: side, asyncio transport, logger, loop."""
    connection = connect()
    transport = engine.WSTransport(True, connection.wire, logging.getLogger("picows.test"), connection.loop)
    assert transport.is_client_side
    assert transport.underlying_transport is connection.wire
    assert transport.request is transport.response is transport.close_handshake is None
    transport.send(TEXT, b"x")
    assert connection.written()[:2] == b"\x81\x81"


def test_who_may_be_sent_a_broadcast_as_it_is(engine: Any, connect: Any) -> None:
    def listener(**arguments: Any) -> Any:
        return engine.WSMessageListener(**arguments)

    plain, closed, streaming, tapped, client = (
        connect(listener=listener(), client=is_client) for is_client in (False, False, False, False, True)
    )
    compressing = connect(listener=listener(codec=engine.DeflateCodec(DeflateParameters(), False)))
    closed.transport.send_close(1000)
    streaming.listener._stream_lock = object()
    tapped.listener._is_tapped = True
    unopened, stranger = listener(), object()
    others = [closed.listener, streaming.listener, tapped.listener, compressing.listener, unopened, stranger]
    transports, rest = engine.sort_for_broadcast(iter([plain.listener, *others, client.listener]))
    assert transports == [plain.transport, client.transport]
    assert rest == others
    assert engine.sort_for_broadcast([]) == ([], [])
