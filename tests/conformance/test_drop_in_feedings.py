"""The tables, to the Sans-I/O protocols of picows.websockets: whole, byte by byte and cut everywhere.

Its connections on asyncio read the opening handshake with these protocols, those of the threading and Trio APIs frames
too. What it answers is what websockets answers, which a test compares.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
from fixtures.conformance_frames import DEFLATED, NO_CODE, PLAIN, Case, answer_of, encode
from fixtures.conformance_handshakes import COMPAT_RESPONSES, EOF, HALF, REQUESTS, RESPONSES, Request
from fixtures.messages import SIDES
from fixtures.sansio import KEY, Library, show_exception
from fixtures.wire import CLOSE, FEEDINGS, TEXT, build, take_apart
from fixtures.wire import KEY as MASKING_KEY

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")

OURS = Library("picows.websockets")
FEEDING = pytest.mark.parametrize("feeding", FEEDINGS)
#: Statuses for a request that was not read to its end, and so is no event.
TOO_LONG = (414, 431)
SILENT = logging.Logger("silent", logging.CRITICAL + 1)


def written(protocol: Any) -> tuple[bytes, bool]:
    """What is to be sent, and whether the end of the stream comes after it."""
    writes = protocol.data_to_send()
    ends = bool(writes) and writes[-1] == OURS.protocol.SEND_EOF
    assert OURS.protocol.SEND_EOF not in writes[:-1]
    return b"".join(writes), ends


# --- frames ---


def is_about_text(case: Case) -> bool:
    """UTF-8 of messages is the business of whoever reads them: the protocol delivers bytes."""
    return answer_of(case, "compat").code == 1007 and case.frames[-1].opcode != CLOSE


def open_protocol(client: bool, deflated: bool) -> Any:
    protocol = OURS.protocol.Protocol(OURS.protocol.Side(int(client)), logger=SILENT)
    if deflated:
        protocol.extensions = [OURS.deflate.PerMessageDeflate(False, False, 15, 15)]
    return protocol


def check_messages(protocol: Any, case: Case) -> None:
    """The events are frames: those of whole messages make what is to be received."""
    messages: list[bytes] = []
    pieces: list[bytes] = []
    for frame in protocol.events_received():
        if frame.opcode < CLOSE:
            pieces.append(bytes(frame.data))
            if frame.fin:
                messages.append(b"".join(pieces))
                pieces.clear()
    if is_about_text(case):
        with pytest.raises(UnicodeDecodeError):
            b"".join(messages + pieces).decode()
    else:
        received = answer_of(case, "compat").received
        assert messages == [text.encode() if isinstance(text, str) else text for text in received]


def check_end(protocol: Any, case: Case, client: bool) -> None:
    """One CLOSE or none, the end of the stream where that is up to us, and nothing after it."""
    answer = answer_of(case, "compat")
    code = None if is_about_text(case) else answer.code
    data, ends = written(protocol)
    closes = [] if code is None else [(CLOSE, b"" if code == NO_CODE else code.to_bytes(2, "big"))]
    assert [(frame.opcode, frame.payload[:2]) for frame in take_apart(data)] == closes
    assert ends is (code is not None and not client)
    # Its CLOSE is read, and answered as a violation.
    is_within_message = case is PLAIN["close within a message"]
    assert (protocol.parser_exc is not None) is (code is not None and (answer.is_failure or is_within_message))
    if code is not None:
        protocol.receive_data(build(TEXT, b"too late", key=None if client else MASKING_KEY))
        assert protocol.events_received() == []
    protocol.receive_eof()
    assert written(protocol) == (b"", not ends)
    assert protocol.state is OURS.protocol.CLOSED
    last = case.frames[-1]
    if code is None or last.opcode != CLOSE or answer.is_failure:
        assert protocol.close_code == 1006
    else:
        assert protocol.close_code == (int.from_bytes(last.payload[:2], "big") or 1005)
    assert protocol.close_sent is None if code is None else protocol.close_sent.code == (code or 1005)


@FEEDING
@SIDES
@pytest.mark.parametrize("case", {**PLAIN, **DEFLATED}.values(), ids={**PLAIN, **DEFLATED})
def test_frames(case: Case, client: bool, feeding: str) -> None:
    deflated = any(case is other for other in DEFLATED.values())
    for pieces in FEEDINGS[feeding](encode(case, client)):
        protocol = open_protocol(client, deflated)
        for piece in pieces:
            protocol.receive_data(piece)
        check_messages(protocol, case)
        check_end(protocol, case, client)


# --- handshakes ---


@FEEDING
@pytest.mark.parametrize("line", REQUESTS.values(), ids=REQUESTS)
def test_server(line: Request, feeding: str) -> None:
    for pieces in FEEDINGS[feeding](line.data):
        protocol = OURS.server.ServerProtocol(logger=SILENT)
        for piece in pieces:
            protocol.receive_data(piece)
        if protocol.events and protocol.handshake_exc is None:
            protocol.send_response(protocol.accept(protocol.events[0]))
        check_answer(protocol, line)


def check_answer(protocol: Any, line: Request) -> None:
    """The head that is sent, the events, and the end of what is refused."""
    if line.compat_status == EOF and protocol.handshake_exc is None:
        assert written(protocol) == (b"", False)  # no line has ended
        protocol.receive_eof()
    data, ends = written(protocol)
    if line.compat_status == EOF:
        assert (data, ends) == (b"", True)
        assert protocol.events_received() == []
        return
    assert data.startswith(f"HTTP/1.1 {line.compat_status} ".encode())
    is_accepted = line.compat_status == 101
    assert ends is not is_accepted
    assert (protocol.handshake_exc is None) is is_accepted
    events = protocol.events_received()
    assert [event.path for event in events[:1]] == ([] if line.compat_status in TOO_LONG else [target_of(line)])
    behind = line.data.partition(b"\r\n\r\n")[2]
    assert [bytes(frame.data) for frame in events[1:]] == ([b"x"] if behind and is_accepted else [])


def target_of(line: Request) -> str:
    return line.data.split(b" ")[1].decode()


def dialing(library: Library) -> Any:
    protocol = library.client.ClientProtocol(library.uri.parse_uri("ws://h/"), logger=SILENT)
    protocol.key = KEY
    return protocol


def shown(protocol: Any) -> str:
    """Why the handshake failed, with its causes."""
    return (show_exception(protocol.handshake_exc) or "").replace("picows.websockets", "websockets")


@FEEDING
@pytest.mark.parametrize("name", RESPONSES)
def test_client(name: str, feeding: str) -> None:
    error, words = COMPAT_RESPONSES.get(name, ("", ""))
    data = RESPONSES[name].data
    for pieces in FEEDINGS[feeding](data):
        protocol = dialing(OURS)
        for piece in pieces:
            protocol.receive_data(piece)
        if name == "TLS":  # no line has ended
            assert written(protocol) == (b"", False)
            protocol.receive_eof()
        if error:
            check_failure(protocol, error, words)
        else:
            assert shown(protocol) == ""
            response, *frames = protocol.events_received()
            assert response.status_code == 101
            check_behind(protocol, name, frames)


def check_failure(protocol: Any, error: str, words: str) -> None:
    """It says why, hangs up, and makes nothing of what still comes."""
    assert type(protocol.handshake_exc).__name__ == error
    assert words in shown(protocol)
    assert written(protocol) == (b"", True)
    assert [event for event in protocol.events_received() if not hasattr(event, "status_code")] == []
    protocol.receive_eof()
    assert written(protocol) == (b"", False)
    assert protocol.state is OURS.protocol.CLOSED


def check_behind(protocol: Any, name: str, frames: list[Any]) -> None:
    """What comes after a response with status 101 are frames, whatever it says of a body (RFC 9110 15.2)."""
    assert [bytes(frame.data) for frame in frames] == ([b"x"] if name == "frame in the same segment" else [])
    is_open = name != "Content-Length: 5"  # whose body is no frame
    assert (protocol.state is OURS.protocol.OPEN) is is_open
    assert (protocol.parser_exc is None) is is_open


@FEEDING
@pytest.mark.parametrize("side", HALF)
def test_half_a_handshake(side: str, feeding: str) -> None:
    for pieces in FEEDINGS[feeding](HALF[side]):
        protocol = OURS.server.ServerProtocol(logger=SILENT) if side == "server" else dialing(OURS)
        for piece in pieces:
            protocol.receive_data(piece)
        assert written(protocol) == (b"", False)
        assert protocol.handshake_exc is None
        protocol.receive_eof()
        assert "EOFError: connection closed while reading HTTP headers" in shown(protocol)
        assert written(protocol) == (b"", True)
        assert protocol.events_received() == []


@pytest.mark.parametrize("name", RESPONSES)
def test_the_answers_of_clients_are_those_of_websockets(name: str) -> None:
    theirs = pytest.importorskip("websockets", reason="websockets is not installed: nothing to compare with")
    if theirs.__version__ != "17.4":
        pytest.skip(f"websockets 17.4 is emulated, {theirs.__version__} is installed")
    seen = []
    for library in (Library("websockets"), OURS):
        protocol = dialing(library)
        protocol.receive_data(RESPONSES[name].data)
        protocol.receive_eof()
        seen.append((protocol.state.name, shown(protocol), len(protocol.events_received())))
    assert seen[0] == seen[1]
    assert COMPAT_RESPONSES.get(name, ("", ""))[0] == seen[0][1].partition(":")[0]
