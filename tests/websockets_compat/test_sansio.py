"""Our Sans-I/O protocols and those of websockets 17.4 do the same with the same frames, calls and ends of streams.

Where ours do something else, the case says why and what. The handshakes are in test_sansio_server.py and
test_sansio_client.py, compression in test_sansio_deflate.py.
"""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
theirs = pytest.importorskip("websockets", reason="websockets is not installed: nothing to compare with")
if theirs.__version__ != "17.4":
    pytest.skip(f"websockets 17.4 is emulated, {theirs.__version__} is installed", allow_module_level=True)

from fixtures.sansio import EOF, Library, Notes, cut, frame, record, total  # noqa: E402

OURS, THEIRS = Library("picows.websockets"), Library("websockets")
SERVER, CLIENT = 0, 1
TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def run(library: Library, side: int, steps: list[Any], debug: bool, **arguments: Any) -> list[dict[str, Any]]:
    notes = Notes() if debug else None
    protocol = library.protocol.Protocol(library.protocol.Side(side), logger=notes and notes.logger, **arguments)
    return record(library, protocol, steps, notes)


def receive(*args: Any, **kwargs: Any) -> tuple[str, bytes]:
    return "receive_data", frame(*args, **kwargs)


def text(data: bytes, fin: bool = True) -> tuple[str, bytes]:
    return receive(TEXT, data, fin=fin)


def cont(data: bytes, fin: bool = True) -> tuple[str, bytes]:
    return receive(CONT, data, fin=fin)


def raw(*data: int) -> tuple[str, bytes]:
    return "receive_data", bytes(data)


#: What a client receives. Servers get the same, masked.
RECEIVED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "text": ([text(b"hi")], {}),
    "text not UTF-8": ([text(b"\xff")], {}),
    "binary": ([receive(BINARY, b"\0\1")], {}),
    "empty": ([text(b""), receive(BINARY)], {}),
    "126 bytes": ([receive(BINARY, b"x" * 126)], {}),
    "65536 bytes": ([receive(BINARY, b"x" * 65536)], {}),
    "several in one piece": ([("receive_data", frame(TEXT, b"a") + frame(BINARY, b"b") + frame(PING, b"c"))], {}),
    "size in more bytes than needed": ([("receive_data", b"\x82\x7e\0\1x\x82\x7f\0\0\0\0\0\0\0\1x\x89\x7e\0\1x")], {}),
    "ping": ([receive(PING, b"p"), receive(PING), receive(PING, b"x" * 125)], {}),
    "pong": ([receive(PONG, b"q")], {}),
    "fragments": ([text(b"a", False), cont(b"b", False), cont(b"", False), cont(b"c"), text(b"d")], {}),
    "control frames between fragments": ([text(b"a", False), receive(PING, b"x"), receive(PONG), cont(b"c")], {}),
    "continuation of nothing": ([cont(b"a"), text(b"x"), EOF], {}),
    "continuation of a whole message": ([text(b"a"), cont(b"b"), EOF], {}),
    "text in a fragmented message": ([text(b"a", False), text(b"b"), EOF], {}),
    "binary in a fragmented message": ([text(b"a", False), receive(BINARY, b"b", fin=False), EOF], {}),
    "close in a fragmented message": ([text(b"a", False), receive(CLOSE), EOF], {}),
    **{f"opcode {code}": ([receive(code, b"x"), EOF], {}) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    **{f"reserved bits {bits}": ([receive(TEXT, b"x", rsv=bits), EOF], {}) for bits in (1, 2, 3, 4, 7)},
    "reserved bit of a ping": ([receive(PING, b"x", rsv=4), EOF], {}),
    "reserved bit of a continuation": ([text(b"a", False), receive(CONT, b"x", rsv=4), EOF], {}),
    "opcode and reserved bits": ([receive(3, b"x", rsv=7), EOF], {}),
    "ping of 126 bytes": ([receive(PING, b"x" * 126), EOF], {}),
    "fragmented ping": ([receive(PING, b"x", fin=False), EOF], {}),
    "fragmented close": ([receive(CLOSE, b"", fin=False), EOF], {}),
    "fragmented ping of 126 bytes": ([receive(PING, b"x" * 126, fin=False), EOF], {}),
    "close": ([receive(CLOSE, b"\x03\xe8bye"), text(b"ignored"), EOF], {}),
    "close without a code": ([receive(CLOSE), EOF], {}),
    "close with one byte": ([receive(CLOSE, b"x"), EOF], {}),
    "close with an error code": ([receive(CLOSE, b"\x03\xf3oops"), EOF], {}),
    "close with a private code": ([receive(CLOSE, b"\x0f\xa0"), EOF], {}),
    **{
        f"close with {code}": ([receive(CLOSE, code.to_bytes(2, "big") + b"bye"), EOF], {})
        for code in (0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 65535)
    },
    "close reason not UTF-8": ([receive(CLOSE, b"\x03\xe8\xff"), EOF], {}),
    "close reason cut within a character": ([receive(CLOSE, b"\x03\xe8abc\xc3"), EOF], {}),
    "close twice": ([("receive_data", frame(CLOSE, b"\x03\xe8a") + frame(CLOSE, b"\x03\xe9b")), EOF], {}),
    "rubbish after close": ([("receive_data", frame(CLOSE) + b"\xff" * 9), EOF], {}),
    "too big": ([text(b"x" * 11), EOF], {"max_size": 10}),
    "as big as allowed": ([text(b"x" * 10)], {"max_size": 10}),
    "max_size 0": ([text(b""), text(b"x"), EOF], {"max_size": 0}),
    "too big together": ([text(b"x" * 6, False), cont(b"x" * 5), EOF], {"max_size": 10}),
    "as big as allowed together": (
        [text(b"x" * 6, False), cont(b"x" * 4, False), cont(b"", False), cont(b"x"), EOF],
        {"max_size": 10},
    ),
    "limits of message and fragment": ([text(b"x" * 5, False), cont(b"x" * 5)], {"max_size": (10, 5)}),
    "fragment too big": ([text(b"x" * 6), EOF], {"max_size": (10, 5)}),
    "later fragment too big": ([text(b"x" * 5, False), cont(b"x" * 6), EOF], {"max_size": (100, 5)}),
    "message too big, fragment not": ([text(b"x" * 5, False), cont(b"x" * 6), EOF], {"max_size": (10, 8)}),
    "limit of fragments only": ([text(b"x" * 5, False), cont(b"x" * 6), EOF], {"max_size": (None, 5)}),
    "limit of messages only": ([text(b"x" * 5, False), cont(b"x" * 6), EOF], {"max_size": (10, None)}),
    "no limit": ([text(b"x" * 99, False), cont(b"x" * 99)], {"max_size": None}),
    "no limits": ([text(b"x" * 99, False), cont(b"x" * 99)], {"max_size": (None, None)}),
    "ping above the limit": ([receive(PING, b"x" * 11), EOF], {"max_size": 10}),
    "size of 2**62": ([raw(0x82, 0x7F, 0x40, 0, 0, 0, 0, 0, 0, 0), EOF], {}),
    "size of 2**63, no limit": ([raw(0x82, 0x7F, 0x80, 0, 0, 0, 0, 0, 0, 0)], {"max_size": None}),
}


def masked(step: Any) -> Any:
    """The step with its frames masked."""
    if step[0] != "receive_data":
        return step
    data, out = step[1], b""
    while data:
        size, at = data[1] & 127, 2
        if size > 125:
            at = 4 if size == 126 else 10
            size = int.from_bytes(data[2:at], "big")
        if data[0] == data[1] == 255:  # rubbish
            return step[0], out + data
        payload, opcode = data[at : at + size], data[0]
        again = frame(opcode & 15, payload, fin=opcode > 127, rsv=opcode >> 4 & 7, masked=True)
        head = data[:1] + bytes([data[1] | 0x80]) + data[2:at] + b"\1\2\3\4"
        out += head + again[len(again) - len(payload) :] if payload else head
        data = data[at + size :]
    return step[0], out


@pytest.mark.parametrize("debug", [True, False], ids=["debug", "quiet"])
@pytest.mark.parametrize("side", [CLIENT, SERVER], ids=["client", "server"])
@pytest.mark.parametrize("name", RECEIVED)
def test_receiving(name: str, side: int, debug: bool) -> None:
    steps, arguments = RECEIVED[name]
    if side == SERVER:
        steps = [masked(step) for step in steps]
    assert run(OURS, side, steps, debug, **arguments) == run(THEIRS, side, steps, debug, **arguments)


@pytest.mark.parametrize("side", [CLIENT, SERVER], ids=["client", "server"])
@pytest.mark.parametrize("name", [name for name in RECEIVED if "65536" not in name])
def test_receiving_byte_by_byte(name: str, side: int) -> None:
    """In the end it comes to the same; ours may refuse a frame with its header, before its payload came."""
    steps, arguments = RECEIVED[name]
    pieces: list[Any] = []
    for step in steps:
        step = masked(step) if side == SERVER else step
        pieces += cut(step[1]) if step[0] == "receive_data" else [step]
    assert total(run(OURS, side, pieces, True, **arguments)) == total(run(THEIRS, side, pieces, True, **arguments))


@pytest.mark.parametrize("mask", [True, False], ids=["masked", "unmasked"])
@pytest.mark.parametrize("opcode", [TEXT, PING, CLOSE, 3])
def test_wrong_masking(opcode: int, mask: bool) -> None:
    side = CLIENT if mask else SERVER
    steps = [receive(opcode, b"", masked=mask), receive(TEXT, b"x", masked=not mask), EOF]
    assert run(OURS, side, steps, True) == run(THEIRS, side, steps, True)


@pytest.mark.parametrize("side", [CLIENT, SERVER], ids=["client", "server"])
def test_end_of_the_stream_at_each_byte(side: int) -> None:
    frames = [frame(TEXT, b"ab"), frame(BINARY, b"x" * 130, fin=False), frame(PING, b"p"), frame(CONT, b"\0" * 66000)]
    steps = [("receive_data", data) for data in [*frames, frame(CLOSE, b"\x03\xe8")]]
    stream = b"".join((masked(step) if side == SERVER else step)[1] for step in steps)
    ends = [at for at in range(len(stream) + 1) if at < 170 or at > len(stream) - 20]
    for at in ends:
        case: list[Any] = [("receive_data", stream[:at]), EOF, EOF, ("receive_data", b"")]
        assert run(OURS, side, case, True) == run(THEIRS, side, case, True), at


@pytest.mark.parametrize("early", ["reserved bits", "opcode", "long ping", "fragmented ping", "size", "masking"])
def test_refuses_with_the_header(early: str) -> None:
    """On purpose: what follows such a header is the peer's choice, and websockets waits for all of it."""
    header = {
        "reserved bits": b"\xc2\x7f\0\0\0\0\0\xff\xff\xff",
        "opcode": b"\x83\1",
        "long ping": b"\x89\x7e\0\x7e",
        "fragmented ping": b"\x09\1",
        "size": b"\x82\x7e\xff\xff",
        "masking": b"\x82\xfe",
    }[early]
    protocol = OURS.protocol.Protocol(OURS.protocol.CLIENT, max_size=2**32 if early == "reserved bits" else 1000)
    protocol.receive_data(header)
    assert protocol.parser_exc is not None
    assert protocol.state is OURS.protocol.CLOSING


def test_fragments_are_counted_by_connections_not_here() -> None:
    """WEBSOCKETS_MAX_FRAGMENTS limits what an assembler keeps; a protocol keeps nothing."""
    steps = [("receive_data", frame(TEXT, b"x", fin=False) + frame(CONT, b"x", fin=False) * 5000 + frame(CONT, b""))]
    (ours,) = run(OURS, CLIENT, steps, False)
    (other,) = run(THEIRS, CLIENT, steps, False)
    assert ours == other
    assert len(ours["events"]) == 5002


LONG = "x" * 124
SENT: dict[str, list[Any]] = {
    "frames": [
        ("send_text", b"a"),
        ("send_binary", b"b"),
        ("send_ping", b"p"),
        ("send_pong", b"q"),
        ("send_text", b""),
        ("send_binary", b"x" * 125),
        ("send_binary", b"x" * 126),
        ("send_binary", b"x" * 65535),
        ("send_binary", b"x" * 65536),
    ],
    "kinds of bytes": [
        ("send_text", bytearray(b"a")),
        ("send_text", memoryview(b"a")),
        ("send_ping", bytearray(b"a")),
        ("send_pong", memoryview(b"abcdef")[2:]),
        ("send_text", "a"),
        ("send_text", None),
        ("send_ping", "a"),
    ],
    "fragments": [
        ("send_text", b"c", False),
        ("send_text", b"d"),
        ("send_binary", b"d"),
        ("send_ping", b"x"),
        ("send_continuation", b"x", False),
        ("send_continuation", b"x", True),
        ("send_continuation", b"y", True),
        ("send_binary", b"c", False),
        ("send_close", 1000),
        ("send_text", b"d"),
        ("send_continuation", b"x", True),
    ],
    "ping too long": [("send_ping", b"x" * 126), ("send_pong", b"x" * 126), ("send_ping", b"x" * 125)],
    **{f"close with {code}": [("send_close", code)] for code in (0, 999, 1000, 1004, 1005, 1006, 1014, 1015, 1016)},
    **{f"close with {code}": [("send_close", code)] for code in (2999, 3000, 4999, 5000, None)},
    "close with a reason": [("send_close", 1000, "bye")],
    "close with a reason of 124 bytes": [("send_close", 1000, LONG), ("send_close", 1000, "x" * 123)],
    "close with a reason of 62 characters": [("send_close", 1000, "é" * 62)],
    "close with a reason only": [("send_close", None, "x")],
    "close with a str": [("send_close", "1000")],
    "frames after our close": [
        ("send_close",),
        ("send_text", b"x"),
        ("send_binary", b"x"),
        ("send_close", 1000),
        ("send_ping", b"x"),
        ("send_pong", b"x"),
    ],
    "our close is answered": [
        ("send_close", 1001, "a"),
        text(b"y"),
        receive(PING, b"y"),
        receive(CLOSE, b"\x03\xe8b"),
        receive(PING),
        EOF,
        EOF,
        ("send_ping", b""),
        ("send_pong", b""),
        ("send_text", b""),
        ("send_close",),
        ("send_continuation", b"", True),
    ],
    "our close without a code is answered": [("send_close",), receive(CLOSE), EOF],
    "our close is not answered": [("send_close", 1000), EOF],
    "our close is answered by rubbish": [("send_close", 1000), receive(3), EOF],
    "we answer, then send": [
        receive(CLOSE, b"\x03\xe8"),
        ("send_text", b"x"),
        ("send_close", 1000),
        ("send_ping", b"x"),
        EOF,
    ],
    "we answer amid our fragments": [("send_text", b"x", False), receive(CLOSE, b"\x03\xe8"), EOF],
    "fail": [("fail", 1002, "because"), receive(CLOSE), EOF],
    "fail with 1006": [("fail", 1006), EOF],
    "fail with 999": [("fail", 999), ("fail", 1011), EOF],
    "fail with a long reason": [("fail", 1002, LONG), EOF],
    "fail twice": [("fail", 1002), ("fail", 1011), EOF],
    "fail after our close": [("send_close", 1000), ("fail", 1002), receive(CLOSE), EOF],
    "fail after their close": [receive(CLOSE), ("fail", 1002), EOF],
    "end of the stream": [EOF, ("send_text", b"x"), text(b"x"), EOF],
    "wrong kinds of data": [("receive_data", "x"), ("receive_data", None), ("receive_data", 3), text(b"x")],
    "data in a memoryview": [("receive_data", memoryview(frame(PING, b"x")))],
}


@pytest.mark.parametrize("debug", [True, False], ids=["debug", "quiet"])
@pytest.mark.parametrize("side", [CLIENT, SERVER], ids=["client", "server"])
@pytest.mark.parametrize("name", SENT)
def test_sending(name: str, side: int, debug: bool) -> None:
    steps = SENT[name]
    if side == SERVER:
        steps = [masked(step) if step[0] == "receive_data" and type(step[1]) is bytes else step for step in steps]
    assert run(OURS, side, steps, debug) == run(THEIRS, side, steps, debug)


@pytest.mark.parametrize("side", [CLIENT, SERVER], ids=["client", "server"])
@pytest.mark.parametrize("method", ["send_text", "send_binary", "send_ping", "send_pong"])
def test_views_with_gaps_can_be_sent(method: str, side: int) -> None:
    """On purpose: websockets raises BufferError or TypeError, depending on the side and on the logger."""
    (entry,) = run(OURS, side, [(method, memoryview(b"abcdef")[::2])], True)
    assert entry["result"] == "None"
    assert entry["writes"][0][-1] in (b"ace", b"e"[0])


@pytest.mark.parametrize("steps", [[EOF, ("fail", 1000)], [("send_eof",), ("send_eof",)]], ids=["fail", "eof"])
def test_misuse_has_words(steps: list[Any]) -> None:
    """On purpose: websockets raises an AssertionError without a text. InvalidState is one, with a text."""
    result = run(OURS, CLIENT, steps, False)[-1]["result"]
    assert run(THEIRS, CLIENT, steps, False)[-1]["result"] == "raises AssertionError: "
    assert result.startswith("raises InvalidState: ")
    assert issubclass(OURS.exceptions.InvalidState, AssertionError)


@pytest.mark.parametrize("state", ["CONNECTING", "OPEN", "CLOSING", "CLOSED"])
@pytest.mark.parametrize("side", [CLIENT, SERVER], ids=["client", "server"])
def test_states_set_from_outside(side: int, state: str) -> None:
    def set_state(library: Library, protocol: Any, received: list[Any]) -> None:
        protocol.state = library.protocol.State[state]

    steps = [set_state, receive(TEXT, b"x", masked=side == SERVER), ("send_text", b"x"), ("close_expected",)]
    ours, other = (run(library, side, steps, True) for library in (OURS, THEIRS))
    assert ours == other


class Spy:
    """An extension that appends a letter on one side and removes it on the other, or raises."""

    def __init__(self, library: Library, name: str, exc: Exception | None = None) -> None:
        self.frame, self.name, self.exc, self.seen = library.frames.Frame, name, exc, []

    def __repr__(self) -> str:
        return f"Spy({self.name}, {self.seen})"

    def encode(self, frame: Any) -> Any:
        self.seen.append(str(frame))
        return self.frame(frame.opcode, bytes(frame.data) + self.name.encode(), frame.fin, rsv2=True)

    def decode(self, frame: Any, *, max_size: int | None = None) -> Any:
        self.seen.append((str(frame), max_size))
        if self.exc is not None:
            raise self.exc
        return self.frame(frame.opcode, frame.data[:-1], frame.fin)


@pytest.mark.parametrize("side", [CLIENT, SERVER], ids=["client", "server"])
def test_extensions_apply_in_order(side: int) -> None:
    def install(library: Library, protocol: Any, received: list[Any]) -> None:
        protocol.extensions = [Spy(library, "a"), Spy(library, "b")]

    steps: list[Any] = [install, ("send_text", b"x"), ("send_ping", b"x"), ("send_text", b"x", False)]
    for opcode, fin in ((TEXT, True), (PING, True), (BINARY, False), (CONT, True), (CLOSE, True)):
        steps.append(receive(opcode, b"\x03\xe8yz", fin=fin, rsv=2, masked=side == SERVER))
    ours, other = (run(library, side, steps, True, max_size=(20, 9)) for library in (OURS, THEIRS))
    assert ours == other


@pytest.mark.parametrize(
    "make",
    [
        lambda library: ZeroDivisionError("x"),
        lambda library: MemoryError(),
        lambda library: library.exceptions.ProtocolError("x"),
        lambda library: library.exceptions.PayloadTooBig(None, 5),
        lambda library: library.exceptions.TooManyFragments(3),
        lambda library: UnicodeDecodeError("utf8", b"x", 3, 4, "why"),
        lambda library: EOFError("x"),
    ],
    ids=["error", "memory", "protocol", "size", "fragments", "unicode", "end"],
)
@pytest.mark.parametrize("fin", [True, False])
def test_extension_that_raises(make: Any, fin: bool) -> None:
    def install(library: Library, protocol: Any, received: list[Any]) -> None:
        protocol.extensions = [Spy(library, "a", make(library))]
        protocol.current_size = None if fin else 3

    steps = [install, receive(TEXT if fin else CONT, b"xyz", rsv=2), text(b"more"), EOF]
    assert run(OURS, CLIENT, steps, True) == run(THEIRS, CLIENT, steps, True)


def test_long_text_of_an_extension_is_cut() -> None:
    """On purpose: websockets raises ProtocolError("control frame too long") out of receive_data."""
    protocol = OURS.protocol.Protocol(OURS.protocol.CLIENT)
    protocol.extensions = [Spy(OURS, "a", OURS.exceptions.ProtocolError("é" * 100))]
    protocol.receive_data(frame(TEXT, b"x"))
    assert protocol.close_sent == OURS.frames.Close(1002, "é" * 61)


@pytest.mark.parametrize("size", [0, 5, None, (3, 4), (None, 2), [3, 4], True, (1,), "x", 1.5])
def test_max_size(size: Any) -> None:
    def limits(library: Library) -> Any:
        try:
            protocol = library.protocol.Protocol(library.protocol.CLIENT, max_size=size)
        except Exception as exc:
            return type(exc)
        return protocol.max_message_size, protocol.max_fragment_size

    assert limits(OURS) == limits(THEIRS)


def test_identity_and_logger() -> None:
    module = OURS.protocol
    protocol = module.Protocol(module.SERVER)
    assert protocol.id == protocol.id != module.Protocol(module.SERVER).id
    protocol.id = 1
    assert protocol.id == 1
    for side in (SERVER, CLIENT):
        loggers = [library.protocol.Protocol(library.protocol.Side(side)).logger for library in (OURS, THEIRS)]
        assert loggers[0] is loggers[1]


def test_close_exc_of_an_open_connection() -> None:
    for library in (OURS, THEIRS):
        protocol = library.protocol.Protocol(library.protocol.CLIENT)
        with pytest.raises(AssertionError, match="connection isn't closed yet"):
            _ = protocol.close_exc


@pytest.mark.parametrize("data", [b"\x83\1x", frame(TEXT, b"x", rsv=1), b"\x81\x05abc"], ids=["opcode", "bits", "end"])
def test_failed_protocols_need_no_garbage_collector(data: bytes) -> None:
    gc.disable()
    try:
        protocol = OURS.protocol.Protocol(OURS.protocol.CLIENT)
        protocol.receive_data(data)
        protocol.receive_eof()
        assert isinstance(protocol.close_exc.__cause__, (OURS.exceptions.ProtocolError, EOFError))
        gone = weakref.ref(protocol)
        del protocol
        assert gone() is None or sys.implementation.name != "cpython"
    finally:
        gc.enable()


def test_old_names() -> None:
    sys.modules.pop("picows.websockets.connection", None)  # another test of this process may have imported it already
    with pytest.warns(DeprecationWarning, match="websockets.connection was renamed to websockets.protocol"):
        connection = OURS.connection
    assert connection.Connection is OURS.protocol.Protocol
    with pytest.warns(DeprecationWarning, match="ServerConnection was renamed to ServerProtocol"):
        assert isinstance(OURS.server.ServerConnection(), OURS.server.ServerProtocol)
    with pytest.warns(DeprecationWarning, match="ClientConnection was renamed to ClientProtocol"):
        OURS.client.ClientConnection(OURS.uri.parse_uri("ws://h"))
