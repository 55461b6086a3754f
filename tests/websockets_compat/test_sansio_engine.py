"""What our Sans-I/O protocols add to those of websockets: the handshake without the frames, and its shortcuts."""

from __future__ import annotations

import gc
import sys
import time
import weakref
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")

from fixtures.sansio import EOF, KEY, Library, accept, cut, frame, show_event
from fixtures.sansio_http import MASKED, UNMASKED, request, response, serve

OURS = Library("picows.websockets")


def make_client() -> Any:
    protocol = OURS.client.ClientProtocol(OURS.uri.parse_uri("ws://h"))
    protocol.key = KEY
    return protocol


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("side", ["server", "client"])
def test_handshake_without_frames(side: str, size: int) -> None:
    protocol = OURS.server.ServerProtocol() if side == "server" else make_client()
    head, data = (request(), MASKED) if side == "server" else (response(), UNMASKED)
    protocol._leave_frames()
    for method, piece in cut(head + data * 3, size):
        getattr(protocol, method)(piece)
    (event,) = protocol.events_received()
    if side == "server":
        protocol.send_response(protocol.accept(event))
    assert protocol.state is OURS.protocol.OPEN
    assert protocol._take_remainder() == data * 3
    assert protocol._take_remainder() == b""
    protocol.receive_data(data)
    assert protocol.events_received() == []
    assert protocol._take_remainder() == data
    for state in (OURS.protocol.CLOSING, OURS.protocol.CLOSED):
        protocol.state = state
        assert protocol.state is state
    assert protocol.close_code == 1006


def test_nothing_remains_of_a_refused_request() -> None:
    protocol = OURS.server.ServerProtocol(origins=["http://a"])
    protocol._leave_frames()
    protocol.receive_data(request() + MASKED)
    (event,) = protocol.events_received()
    protocol.send_response(protocol.accept(event))
    protocol.receive_data(MASKED)
    assert protocol.data_to_send()[-1] == OURS.protocol.SEND_EOF
    assert isinstance(protocol.handshake_exc, OURS.exceptions.InvalidOrigin)


def test_engine_may_take_over_in_the_middle() -> None:
    protocol = OURS.server.ServerProtocol()
    protocol.receive_data(request() + MASKED + b"\x81")
    protocol._leave_frames()
    assert len(protocol.events_received()) == 2
    assert protocol._take_remainder() == b"\x81"


HEADS = [
    "A: b",
    "A:b",
    "A:",
    "A: \t b \t ",
    "A : b",
    " A: b",
    "A",
    ": b",
    "A: b\x01",
    "A\x01B: c",
    "A: b\rC: d",
    "A: b\nC: d",
    "A: b\r",
    "A: \xe9",
    "\xe9: a",
    "A: b: c",
    "A: b\r\nA: c",
    "Content-Length: 0",
    "content-length: 1",
    "transfer-encoding: chunked",
    "A: " + "x" * 7000 + "\r\nB: " + "y" * 7000,
    "\r\n".join(["A: b"] * 130),
]


@pytest.mark.parametrize("line", HEADS, ids=lambda line: ascii(line[:20]))
def test_whole_heads_are_read_as_in_pieces(line: str) -> None:
    """The shortcut for heads that come in one piece decides nothing on its own."""
    for head, make in ((request(line), OURS.server.ServerProtocol), (response(line), make_client)):
        seen = []
        for size in (len(head), 100):
            protocol = make()
            for _, piece in cut(head, size):
                protocol.receive_data(piece)
            events = [show_event(event) for event in protocol.events_received()]
            seen.append((events, str(protocol.handshake_exc), str(getattr(protocol.handshake_exc, "__cause__", None))))
        assert seen[0] == seen[1]


@pytest.mark.parametrize("line", ["A: " + "\t" * 7000, "A" * 7000, "A:\r\n" * 1500, ":" * 7000, "\r" * 7000])
def test_heads_take_linear_time(line: str) -> None:
    start = time.process_time()
    serve(OURS, [("receive_data", request(line))], debug=False)
    assert time.process_time() - start < 0.5


def test_small_pieces_of_a_large_frame_take_linear_time() -> None:
    protocol = OURS.protocol.Protocol(OURS.protocol.SERVER, max_size=None)
    start = time.process_time()
    for _, piece in cut(frame(2, b"x" * 500_000, masked=True), 10):
        protocol.receive_data(piece)
    (event,) = protocol.events_received()
    assert bytes(event.data) == b"x" * 500_000
    assert time.process_time() - start < 5  # quadratic work would take minutes


@pytest.mark.parametrize(
    "data", [request(), request(Upgrade="x"), b"G" * 9000, b"rubbish\r\n\r\n", request()[:50]], ids=range(5)
)
def test_protocols_need_no_garbage_collector(data: bytes) -> None:
    gc.disable()
    try:
        protocol = OURS.server.ServerProtocol()
        received: list[Any] = []
        protocol.receive_data(data)
        received += protocol.events_received()
        accept(OURS, protocol, received)
        protocol.receive_eof()
        gone = weakref.ref(protocol)
        del protocol
        assert gone() is None or sys.implementation.name != "cpython"
    finally:
        gc.enable()


def test_accepted_extensions_are_not_shared() -> None:
    """The header's parser has a cache; what a factory does to the parameters must not reach the next request."""

    class Greedy:
        name = "x"

        def process_request_params(self, params: Any, accepted: Any) -> Any:
            params.append(("more", None))
            return params, OURS.deflate.PerMessageDeflate(False, False, 15, 15)

    answers = []
    for _ in range(2):
        log = serve(
            OURS,
            [("receive_data", request("Sec-WebSocket-Extensions: x; a")), accept, EOF],
            extensions=lambda library: [Greedy()],
        )
        answers.append(log[1]["writes"])
    assert answers[0] == answers[1]
