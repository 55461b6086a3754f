"""Calls that the engines refuse in the same words, and what they write. (Names: test_parity.)"""

from __future__ import annotations

import array
import logging
import threading
from typing import Any

import pytest
from fixtures.twins import Twins, answers
from fixtures.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, Connection, close_payload, take_apart

from picows.enums import WSCloseCode
from picows.options import ConnectionOptions

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])

# --- refused ---


STRIDED = memoryview(b"abcdef")[::2]
BACKWARDS = memoryview(b"abcdef")[::-1]
#: id -> (method of the transport, arguments): ValueError, TypeError or BufferError.
BAD_CALLS: dict[str, tuple[str, tuple[Any, ...]]] = {
    **{f"send opcode {opcode}": ("send", (opcode, b"x")) for opcode in (-1, 16, 255, 8)},
    **{f"send_in_place opcode {n}": ("send_reuse_external_bytearray", (n, bytearray(20), 14)) for n in (-1, 16, 255)},
    **{f"send opcode {n} of 126 bytes": ("send", (n, bytes(126))) for n in (9, 10, 11, 15)},
    **{f"send opcode {n} in fragments": ("send", (n, b"", False)) for n in (9, 10, 11, 15)},
    "send_ping of 126 bytes": ("send_ping", (bytes(126),)),
    "send_pong of 126 bytes": ("send_pong", (bytes(126),)),
    "send_ping of 126 bytes of text": ("send_ping", ("\xe9" * 63,)),
    **{
        f"{method} {type(value).__name__}": (method, (*before, value))
        for method, before in (("send", (BINARY,)), ("send_ping", ()), ("send_pong", ()), ("send_close", (1000,)))
        for value in (5, 1.5, [1], {}, object(), (b"x",))
    },
    **{
        f"{method} {what}": (method, (*before, value))
        for method, before in (("send", (BINARY,)), ("send_ping", ()), ("send_close", (1000,)))
        for what, value in (("strided", STRIDED), ("backwards", BACKWARDS), ("half a surrogate", "\ud800"))
    },
    **{f"send_close {code}": ("send_close", (code,)) for code in (-1, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999)},
    **{f"send_close {code}": ("send_close", (code,)) for code in (5000, 65535, 65536, WSCloseCode.ABNORMAL_CLOSURE)},
    "send_close reason without code": ("send_close", (0, b"bye")),
    "send_close reason of 124 bytes": ("send_close", (1000, bytes(124))),
    "send_close reason of 62 umlauts": ("send_close", (1000, "\xe4" * 62)),
    "send_close reason not UTF-8": ("send_close", (1000, b"\xc0\x80")),
    "send_in_place None": ("send_reuse_external_bytearray", (BINARY, None, 14)),
    "send_in_place bytes": ("send_reuse_external_bytearray", (BINARY, bytes(20), 14)),
    "send_in_place memoryview": ("send_reuse_external_bytearray", (BINARY, memoryview(bytearray(20)), 14)),
    **{f"send_in_place at {n}": ("send_reuse_external_bytearray", (BINARY, bytearray(20), n)) for n in (-1, 0, 13, 21)},
    "send_in_place without room": ("send_reuse_external_bytearray", (BINARY, bytearray(5), 5)),
    "send_in_place CLOSE": ("send_reuse_external_bytearray", (CLOSE, bytearray(20), 14)),
    "send_in_place PING of 126 bytes": ("send_reuse_external_bytearray", (PING, bytearray(140), 14)),
    "send_in_place PING in fragments": ("send_reuse_external_bytearray", (PING, bytearray(20), 14, False)),
}


@SIDES
@pytest.mark.parametrize(("method", "args"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_errors_of_bad_calls(twins: Twins, client: bool, method: str, args: tuple[Any, ...]) -> None:
    """Type and text, and that nothing has happened."""
    result, sent, is_close_sent = twins.same(
        lambda engine: answers(engine, client, lambda connection: getattr(connection.transport, method)(*args))
    )
    assert issubclass(result[0], (ValueError, TypeError, BufferError))
    assert (sent, is_close_sent) == ([], False)


#: id -> what is no opcode, size or code at all: the interpreter's own words differ from version to version.
WRONG_TYPES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "send str": ("send", ("text", b"")),
    "send None": ("send", (None, b"")),
    "send_close str": ("send_close", ("1000",)),
    "send_close None": ("send_close", (None,)),
    "send_in_place at str": ("send_reuse_external_bytearray", (BINARY, bytearray(20), "14")),
    "no arguments": ("send", ()),
    "too many arguments": ("flush", (1,)),
}


@pytest.mark.parametrize(("method", "args"), WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_arguments_of_a_wrong_type(twins: Twins, method: str, args: tuple[Any, ...]) -> None:
    for engine in twins:
        result, sent, is_close_sent = answers(
            engine, False, lambda connection: getattr(connection.transport, method)(*args)
        )
        assert result is not None
        assert result[0] is TypeError
        assert (sent, is_close_sent) == ([], False)


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("send", (TEXT, b"x")),
        ("send_ping", ()),
        ("send_pong", ()),
        ("send_close", ()),
        ("send_reuse_external_bytearray", (BINARY, bytearray(20), 14)),
        ("flush", ()),
        ("disconnect", ()),
        ("notify_user_specific_pong_received", ()),
    ],
)
def test_errors_of_a_wrong_thread(twins: Twins, method: str, args: tuple[Any, ...]) -> None:
    """They differ in the numbers of the threads."""

    def call(connection: Connection) -> list[str]:
        texts: list[str] = []

        def work() -> None:
            try:
                getattr(connection.transport, method)(*args)
            except RuntimeError as exc:
                texts.append(str(exc).replace(str(threading.get_ident()), "wrong"))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return [text.replace(str(threading.get_ident()), "right") for text in texts]

    ((text,), sent, _) = twins.same(lambda engine: answers(engine, False, call))
    assert text == (
        f"WSTransport.{method} called from a wrong thread: wrong instead of right; use loop.call_soon_threadsafe"
    )
    assert sent == []


@pytest.mark.parametrize(
    ("opcode", "message"),
    [(CLOSE, b""), (16, b""), (-1, b""), (PING, bytes(126)), (TEXT, 5), (BINARY, STRIDED)],
    ids=["CLOSE", "16", "-1", "long PING", "int", "strided"],
)
def test_errors_of_broadcasts(twins: Twins, opcode: int, message: Any) -> None:
    def observe(engine: Any) -> Any:
        return answers(engine, False, lambda c: engine.ws_broadcast([c.transport], opcode, message))

    result, sent, _ = twins.same(observe)
    assert issubclass(result[0], (ValueError, TypeError, BufferError))
    assert sent == []


def test_errors_of_frames_that_are_no_close(twins: Twins) -> None:
    def observe(engine: Any, opcode: int, method: str) -> Any:
        def use(connection: Connection) -> Any:
            connection.feed_frame(opcode, b"\x03\xe8")
            return getattr(connection.listener.frames[0], method)()

        return answers(engine, False, use)

    for opcode in (CONT, TEXT, BINARY, PONG):
        for method in ("get_close_code", "get_close_message", "get_close_reason"):
            result, _, _ = twins.same(lambda engine, o=opcode, m=method: observe(engine, o, m))
            assert result[0] is ValueError


def test_errors_of_memory_buffers(twins: Twins) -> None:
    def observe(engine: Any) -> str:
        with pytest.raises(ValueError) as caught:
            engine.MemoryBuffer(4).resize(-1)
        return str(caught.value)

    assert "-1" in twins.same(observe)


@pytest.mark.parametrize("method", ["send", "close", "recv"])
def test_errors_of_the_message_layer(twins: Twins, method: str) -> None:
    """After the end."""

    def observe(engine: Any) -> Any:
        connection = Connection(engine, listener=engine.WSMessageListener())
        connection.feed_frame(CLOSE, close_payload(1001, b"bye"))
        connection.lose()
        connection.loop.settle()
        arguments = {"send": (b"x",), "close": (1005,), "recv": ()}[method]
        try:
            return connection.run(getattr(connection.listener, method)(*arguments))
        except Exception as exc:
            return type(exc), str(exc), repr(exc.__cause__)
        finally:
            connection.shut()

    result = twins.same(observe)
    assert result is None or issubclass(result[0], Exception)


# --- the same bytes out ---

MESSAGES: dict[str, Any] = {
    "None": None,
    "str": "k\xe4se",
    "empty": b"",
    "bytes": b"hello",
    "bytearray": bytearray(b"hello"),
    "memoryview": memoryview(b"say hello")[4:],
    "array": array.array("H", [258, 772]),
    "two dimensions": memoryview(bytes(range(6))).cast("B", (2, 3)),
    **{f"{size} bytes": bytes(size) for size in (125, 126, 32_768, 32_769, 65_535, 65_536, 100_000)},
}


@SIDES
@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_what_is_written(twins: Twins, client: bool, message: Any) -> None:
    """Bits included, and whether bytes remain what they were."""

    def use(connection: Connection) -> int:
        transport = connection.transport
        for bits in range(16):
            flags = [bool(bits & bit) for bit in (8, 4, 2, 1)]
            transport.send(bits % 3, message, *flags)
            content = message.encode() if isinstance(message, str) else b"" if message is None else bytes(message)
            transport.send_reuse_external_bytearray(bits % 3, bytearray(20) + content, 20, *flags)
        connection.loop.settle()
        return len(connection.wire.chunks)

    _, sent, _ = twins.same(lambda engine: answers(engine, client, lambda c: use(c) > 0))
    assert len(sent) == 32


def test_servers_write_the_same_bytes(twins: Twins) -> None:
    def observe(engine: Any) -> bytes:
        connection = Connection(engine)
        for message in MESSAGES.values():
            connection.transport.send(BINARY, message)
        connection.transport.send_close(4999, "x" * 123)
        data = connection.written()
        connection.shut()
        return data

    assert len(take_apart(twins.same(observe))) == len(MESSAGES) + 1


def test_transports_made_by_hand(twins: Twins) -> None:
    def observe(engine: Any) -> Any:
        connection = Connection(engine)
        options = ConnectionOptions(False, logging.getLogger("picows.test"), max_write_buffer_size=5)
        made = [
            engine.WSTransport(False, connection.wire, logging.getLogger("picows.test"), connection.loop),
            engine.WSTransport(
                is_client_side=False,
                underlying_transport=connection.wire,
                logger=logging.getLogger("picows.test"),
                loop=connection.loop,
                options=options,
            ),
        ]
        for transport in made:
            transport.send(TEXT, b"x")
        facts = [(t.is_client_side, t.request, t.response, t.close_handshake, t.is_disconnected) for t in made]
        data = connection.written()
        connection.shut()
        return facts, data

    assert twins.same(observe)[1] == b"\x81\x01x" * 2
