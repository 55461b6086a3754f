"""permessage-deflate of our Sans-I/O layer against that of websockets 17.4: negotiation, and data both ways.

Where ours does something else, the case says why and what.
"""

from __future__ import annotations

import itertools
import sys
import tracemalloc
import zlib
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
theirs = pytest.importorskip("websockets", reason="websockets is not installed: nothing to compare with")
if theirs.__version__ != "17.4":
    pytest.skip(f"websockets 17.4 is emulated, {theirs.__version__} is installed", allow_module_level=True)

from fixtures.sansio import EOF, Library, cut, frame, record, show_event, show_exception, total  # noqa: E402

from picows.websockets import fast_zlib  # noqa: E402

OURS, THEIRS = Library("picows.websockets"), Library("websockets")
TEXT, CONT, PING = 1, 0, 9
NAMES = "server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits"
HELLO = bytes.fromhex("f248cdc9c90700")


def outcome(call: Any) -> Any:
    try:
        result = call()
    except Exception as exc:
        return show_exception(exc)
    return repr(result)


VALUES = (None, "", "1", "7", "8", "9", "12", "15", "16", "010", "+9", "\u0669", "9.0")
PARAMS = [
    [],
    [("foo", None)],
    *([(name, value)] for name in NAMES for value in VALUES),
    *([(name, None)] * 2 for name in NAMES),
    *([(name, "10")] * 2 for name in NAMES),
    [(NAMES[0], None), (NAMES[0], "1")],
    [(NAMES[2], "10"), (NAMES[2], "x")],
    [(NAMES[0], None), (NAMES[1], None), (NAMES[2], "10"), (NAMES[3], "11")],
    [(NAMES[0], None), (NAMES[2], "12")],
    [(NAMES[0], None), (NAMES[2], "9"), (NAMES[3], "8")],
    [(NAMES[0], None), (NAMES[2], "8"), (NAMES[3], "9")],
    [(NAMES[3], None), (NAMES[2], "8")],
]


@pytest.mark.parametrize("bits", [(None, None), (None, True), (9, 9), (12, 12), (15, True), (8, 10)])
@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=2)))
def test_client_negotiates(flags: tuple[bool, bool], bits: tuple[Any, Any]) -> None:
    def run(library: Library) -> list[Any]:
        factory = library.deflate.ClientPerMessageDeflateFactory(*flags, *bits)
        taken = library.deflate.PerMessageDeflate(False, False, 15, 15)
        answers = [outcome(lambda p=p: factory.process_response_params(p, [])) for p in PARAMS]
        return [factory.get_request_params(), outcome(lambda: factory.process_response_params([], [taken])), *answers]

    assert run(OURS) == run(THEIRS)


@pytest.mark.parametrize("bits", [(None, None), (9, 9), (12, 12), (15, 8), (None, 10), (10, None)])
@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=3)))
def test_server_negotiates(flags: tuple[bool, bool, bool], bits: tuple[Any, Any]) -> None:
    def run(library: Library) -> list[Any]:
        try:
            factory = library.deflate.ServerPerMessageDeflateFactory(*flags[:2], *bits, None, flags[2])
        except ValueError as exc:
            return [str(exc)]
        taken = library.deflate.PerMessageDeflate(False, False, 15, 15)
        answers = [outcome(lambda p=p: factory.process_request_params(p, [])) for p in PARAMS]
        return [outcome(lambda: factory.process_request_params([("x", None)], [taken])), *answers]

    assert run(OURS) == run(THEIRS)


@pytest.mark.parametrize("name", ["ClientPerMessageDeflateFactory", "ServerPerMessageDeflateFactory"])
@pytest.mark.parametrize(
    "arguments",
    [
        *({name: bits} for name in NAMES[2:] for bits in (7, 8, 9, 15, 16, "9", True, False)),
        {"compress_settings": {"wbits": 9}},
        {"compress_settings": {"level": 1}},
        {"compress_settings": {}},
    ],
)
def test_factories_check_their_arguments(name: str, arguments: dict[str, Any]) -> None:
    def run(library: Library) -> Any:
        return outcome(lambda: vars(getattr(library.deflate, name)(**arguments)))

    assert run(OURS) == run(THEIRS)


@pytest.mark.parametrize("name", ["client", "server"])
def test_enable(name: str) -> None:
    def run(library: Library) -> list[Any]:
        module = library.deflate
        enable = getattr(module, f"enable_{name}_permessage_deflate")
        factory = getattr(module, f"{name.title()}PerMessageDeflateFactory")()
        other = type("Other", (), {"name": "x"})()
        given: list[Any] = [None, [], [factory], (factory,), [other], (other, factory)]
        made = [enable(extensions) for extensions in given]
        return [
            ([(f.name, vars(f)) for f in extensions], extensions is before, type(extensions))
            for extensions, before in zip(made, given, strict=True)
        ]

    assert run(OURS) == run(THEIRS)


@pytest.mark.parametrize("bits", [(7, 15), (16, 15), (15, 8), (15, 16), (0, 0)])
def test_windows_out_of_range(bits: tuple[int, int]) -> None:
    """On purpose: websockets has assert statements there, which -O removes."""
    with pytest.raises(ValueError, match="max_window_bits must be between"):
        OURS.deflate.PerMessageDeflate(False, False, *bits)
    with pytest.raises(AssertionError):
        THEIRS.deflate.PerMessageDeflate(False, False, *bits)


@pytest.mark.parametrize(
    "settings",
    [{"level": 99}, {"foo": 1}, {"memLevel": 9, "strategy": 1}, *({"memLevel": level} for level in (0, 10, "5", 5.0))],
    ids=str,
)
def test_wrong_settings_fail_early(settings: dict[str, Any]) -> None:
    def run(library: Library) -> Any:
        return outcome(lambda: library.deflate.PerMessageDeflate(False, False, 15, 15, settings))

    assert run(OURS) == run(THEIRS)


MESSAGES: list[list[bytes]] = [
    [b"hello"],
    [b"hello"],
    [b""],
    [b""],
    [b"x" * 100_000],
    [b"hel", b"lo"],
    [b"", b"", b""],
    [b"hel", b"", b"lo", b""],
    [bytes(range(256)) * 50],
    [b"hello" * 7000, b"hello" * 7000],
]
COMBINATIONS = [
    *itertools.product([False, True], [False, True], [15], [15]),
    *itertools.product([False, True], [False], [9, 8], [9]),
    (False, False, 12, 12),
    (True, True, 9, 15),
]


def frames(library: Library, parts: list[bytes]) -> list[Any]:
    opcodes = [TEXT] + [CONT] * (len(parts) - 1)
    return [
        library.frames.Frame(library.frames.Opcode(opcode), part, index == len(parts) - 1)
        for index, (opcode, part) in enumerate(zip(opcodes, parts, strict=True))
    ]


@pytest.mark.parametrize("settings", [None, {"memLevel": 5}, {"level": 1}])
@pytest.mark.parametrize("combination", COMBINATIONS)
def test_same_bytes(combination: tuple[Any, ...], settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_zlib, "library", zlib)  # others compress to other bytes

    def run(library: Library) -> list[Any]:
        extension = library.deflate.PerMessageDeflate(*combination, settings)
        encoded = [extension.encode(plain) for parts in MESSAGES for plain in frames(library, parts)]
        return [show_event(sent) for sent in encoded]

    assert run(OURS) == run(THEIRS)


@pytest.mark.parametrize("pair", [(OURS, THEIRS), (THEIRS, OURS), (OURS, OURS)], ids=["to", "from", "ours"])
@pytest.mark.parametrize("combination", COMBINATIONS)
def test_one_reads_what_the_other_writes(combination: tuple[Any, ...], pair: tuple[Library, Library]) -> None:
    sender_forgets, receiver_forgets, sender_bits, receiver_bits = combination
    sender_bits = max(sender_bits, 9)
    sends, receives = pair
    sender = sends.deflate.PerMessageDeflate(receiver_forgets, sender_forgets, receiver_bits, sender_bits)
    receiver = receives.deflate.PerMessageDeflate(sender_forgets, receiver_forgets, sender_bits, receiver_bits)
    for parts in MESSAGES * 2:
        for plain in frames(sends, parts):
            sent = sender.encode(plain)
            opcode = receives.frames.Opcode(sent.opcode)
            received = receives.frames.Frame(opcode, sent.data, sent.fin, sent.rsv1)
            found = receiver.decode(received, max_size=200_000)
            assert bytes(found.data) == plain.data
            assert (found.fin, found.rsv1) == (plain.fin, False)


@pytest.mark.parametrize("sides", [(OURS, THEIRS), (THEIRS, OURS)], ids=["our client", "our server"])
@pytest.mark.parametrize(
    "client",
    [(), (True,), (False, True), (False, False, 9), (False, False, None, 9), (True, True, 10, 11), (0, 0, None, None)],
)
@pytest.mark.parametrize(
    "server", [(), (True, True), (False, False, 12, 12), (False, False, None, 9), (True, False, 9)]
)
def test_both_ways_over_a_handshake(sides: tuple[Library, Library], client: Any, server: Any) -> None:
    dials, serves = sides
    uri = dials.uri.parse_uri("ws://h")
    factory = dials.deflate.ClientPerMessageDeflateFactory(*client)
    left = dials.client.ClientProtocol(uri, extensions=[factory])
    right = serves.server.ServerProtocol(extensions=[serves.deflate.ServerPerMessageDeflateFactory(*server)])
    left.send_request(left.connect())
    right.receive_data(b"".join(left.data_to_send()))
    (request,) = right.events_received()
    right.send_response(right.accept(request))
    left.receive_data(b"".join(right.data_to_send()))
    assert (left.state.name, right.state.name) == ("OPEN", "OPEN")
    left.events_received()
    assert len(left.extensions) == len(right.extensions) == 1
    for sender, receiver in ((left, right), (right, left)) * 2:
        for parts in MESSAGES:
            sender.send_binary(parts[0], fin=len(parts) == 1)
            for index, part in enumerate(parts[1:], 2):
                sender.send_continuation(part, fin=index == len(parts))
            receiver.receive_data(b"".join(sender.data_to_send()))
            assert b"".join(bytes(event.data) for event in receiver.events_received()) == b"".join(parts)
    assert (left.parser_exc, right.parser_exc) == (None, None)


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


BOMB = deflated(b"\0" * 1000)
#: What arrives, and max_size.
RECEIVED: dict[str, tuple[list[bytes], Any]] = {
    "message": ([frame(TEXT, HELLO, rsv=4)], 5),
    "message not compressed": ([frame(TEXT, b"Hello")], 5),
    "message too big": ([frame(TEXT, BOMB, rsv=4)], 999),
    "message as big as allowed": ([frame(TEXT, BOMB, rsv=4)], 1000),
    "wire too big": ([frame(TEXT, HELLO, rsv=4)], 6),
    "fragments": ([frame(TEXT, HELLO[:3], rsv=4, fin=False), frame(PING, b"x"), frame(CONT, HELLO[3:])], 7),
    "fragments too big": (
        [frame(TEXT, BOMB[:4], rsv=4, fin=False), frame(CONT, BOMB[4:8], fin=False), frame(CONT, BOMB[8:])],
        999,
    ),
    "fragment too big": ([frame(TEXT, BOMB, rsv=4)], (5000, 999)),
    "later fragment too big": (
        [frame(TEXT, HELLO[:-1], rsv=4, fin=False), frame(CONT, HELLO[-1:] + deflated(b"x" * 60))],
        (5000, 50),
    ),
    "RSV1 in a continuation": ([frame(TEXT, HELLO[:3], rsv=4, fin=False), frame(CONT, HELLO[3:], rsv=4)], None),
    "RSV1 in a continuation, not compressed": ([frame(TEXT, b"a", fin=False), frame(CONT, b"b", rsv=4)], None),
    "RSV1 in a ping": ([frame(PING, b"x", rsv=4)], None),
    "RSV2": ([frame(TEXT, HELLO, rsv=6)], None),
    "not DEFLATE": ([frame(TEXT, b"\xff\xff", rsv=4)], None),
    "not DEFLATE in a fragment": ([frame(TEXT, HELLO[:3], rsv=4, fin=False), frame(CONT, b"\xff" * 9)], None),
    "bytes outside the window": ([frame(TEXT, zlib.compress(b"x" * 99)[4:-4], rsv=4)], None),
    "empty": ([frame(TEXT, b"\0", rsv=4), frame(TEXT, HELLO, rsv=4)], None),
    "no bytes": ([frame(TEXT, b"", rsv=4)], None),
    "continuation of nothing": ([frame(CONT, HELLO)], None),
    "text in a compressed message": ([frame(TEXT, HELLO[:3], rsv=4, fin=False), frame(TEXT, HELLO, rsv=4)], None),
}


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("name", RECEIVED)
def test_receiving(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if fast_zlib.name == "isal":  # it has other words for what is damaged, and they are compared too
        monkeypatch.setattr(fast_zlib, "library", zlib)
    data, max_size = RECEIVED[name]
    steps = [*(step for piece in data for step in cut(piece, size)), EOF]

    def run(library: Library) -> Any:
        protocol = library.protocol.Protocol(library.protocol.CLIENT, max_size=max_size)
        protocol.extensions = [library.deflate.PerMessageDeflate(False, False, 15, 15)]
        return total(record(library, protocol, steps))

    assert run(OURS) == run(THEIRS)


@pytest.mark.parametrize("forgets", [False, True])
def test_final_blocks(forgets: bool) -> None:
    """On purpose: with context takeover websockets reads every message after a final block as empty.

    RFC 7692 7.2.3.4 and 7.2.3.5 allow final blocks.
    """
    final = bytes.fromhex("f348cdc9c9070000")
    receiver = OURS.deflate.PerMessageDeflate(forgets, False, 15, 15)
    text = OURS.frames.Opcode.TEXT
    for data in (final, HELLO, final, HELLO):
        assert receiver.decode(OURS.frames.Frame(text, data, rsv1=True)).data == b"Hello"


def test_messages_of_no_bytes() -> None:
    """On purpose: after one with RSV1 and no payload, which needs no tail, websockets cannot read the next."""
    receiver = OURS.deflate.PerMessageDeflate(False, False, 15, 15)
    text = OURS.frames.Opcode.TEXT
    for data, expected in ((b"", b""), (HELLO, b"Hello"), (b"", b""), (HELLO, b"Hello")):
        assert receiver.decode(OURS.frames.Frame(text, data, rsv1=True)).data == expected


def test_max_size_0_is_a_limit() -> None:
    """On purpose: websockets inflates without a limit then."""
    for library in (OURS, THEIRS):
        receiver = library.deflate.PerMessageDeflate(False, False, 15, 15)
        message = library.frames.Frame(library.frames.Opcode.TEXT, HELLO, rsv1=True)
        if library is THEIRS:
            assert receiver.decode(message, max_size=0).data == b"Hello"
        else:
            with pytest.raises(library.exceptions.PayloadTooBig, match="frame exceeds limit of 0 bytes"):
                receiver.decode(message, max_size=0)


def test_bomb_costs_what_it_may_cost() -> None:
    bomb = deflated(b"\0" * 50_000_000)
    receiver = OURS.deflate.PerMessageDeflate(False, False, 15, 15)
    message = OURS.frames.Frame(OURS.frames.Opcode.TEXT, bomb, rsv1=True)
    tracemalloc.start()
    try:
        with pytest.raises(OURS.exceptions.PayloadTooBig):
            receiver.decode(message, max_size=100_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_idle_extensions_hold_no_contexts() -> None:
    def cost(library: Library) -> int:
        tracemalloc.start()
        try:
            kept = [library.deflate.PerMessageDeflate(False, False, 12, 12, {"memLevel": 5}) for _ in range(20)]
            return tracemalloc.get_traced_memory()[0] // len(kept)
        finally:
            tracemalloc.stop()

    assert cost(OURS) < 2000
