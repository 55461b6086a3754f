"""Bad frames: each line of `fixtures.conformance_frames`, whole, byte by byte and cut everywhere, for both roles."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from fixtures.clock import LOOPS
from fixtures.conformance_frames import DEFLATED, LIMIT, NO_CODE, PLAIN, Answer, Case, answer_of, encode
from fixtures.messages import SIDES, closed, recv
from fixtures.wire import CLOSE, FEEDINGS, TEXT, Connection, close_payload

from picows.deflate import DeflateCodec, DeflateParameters
from picows.errors import WSProtocolError

FEEDING = pytest.mark.parametrize("feeding", FEEDINGS)
#: Layers that look at frames: name -> arguments of the connection.
FRAME_LAYERS = {"strict": {"strict": True}, "frames_api": {}}


def table(cases: dict[str, Case]) -> Any:
    return pytest.mark.parametrize("case", cases.values(), ids=cases)


def check_close(connection: Any, answer: Answer) -> None:
    """We sent nothing, or one CLOSE; then nothing is read or sent any more, and we hang up when it is our turn."""
    expected = [] if answer.code is None else [(CLOSE, b"" if answer.code == NO_CODE else close_payload(answer.code))]
    assert [(opcode, payload[:2]) for opcode, payload in connection.plain()] == expected
    assert connection.transport.is_close_frame_sent is (answer.code is not None)
    hangs_up = answer.code is not None and (answer.is_failure or not connection.is_client)
    if answer.is_failure:
        assert connection.wire.calls == ["write_eof"]
        connection.loop.settle()
        assert connection.wire.calls == ["write_eof", "close"]
    else:
        assert connection.wire.calls == (["close"] if hangs_up else [])
    if answer.code is not None:
        connection.feed_frame(TEXT, "too late")
        assert connection.written() == b""


def check_end(connection: Any, answer: Answer) -> None:
    """wait_disconnected raises what a client has failed with."""
    if not connection.wire.calls:
        connection.eof()
    error = connection.ending()
    if answer.is_failure and connection.is_client:
        assert isinstance(error, WSProtocolError)
        assert error.code == answer.code
    else:
        assert error is None


def check_messages(connection: Any, answer: Answer) -> None:
    """What recv returns, and what it raises in the end."""
    assert tuple(recv(connection) for _ in answer.received) == answer.received
    check_close(connection, answer)
    if answer.code is None:
        connection.eof()
    error = closed(connection)
    if answer.is_failure:
        assert error.code == 1006
        assert isinstance(error.__cause__, WSProtocolError)
        assert error.__cause__.code == answer.code
    else:
        assert error.code == (1006 if answer.code is None else answer.code)
        assert error.__cause__ is None


def run_splits(case: Case, client: bool, feeding: str, check_one: Callable[[Any, list[bytes]], None]) -> None:
    """Every way in which a connection reads; one loop for all connections of a case."""
    for loop_type in LOOPS.values():
        loop = loop_type()
        try:
            for pieces in FEEDINGS[feeding](encode(case, client)):
                check_one(loop, pieces)
        finally:
            loop.close()


@FEEDING
@SIDES
@table({**PLAIN, **DEFLATED})
def test_messages(engine: Any, client: bool, case: Case, feeding: str) -> None:
    is_deflated = case in DEFLATED.values()

    def check_one(loop: Any, pieces: list[bytes]) -> None:
        codec = DeflateCodec(DeflateParameters(), client) if is_deflated else None
        listener = engine.WSMessageListener(max_message_size=LIMIT, codec=codec)
        connection = Connection(engine, client=client, loop=loop, listener=listener)
        connection.feed(*pieces)
        check_messages(connection, answer_of(case, "messages"))
        check_end(connection, answer_of(case, "messages"))
        connection.lose()

    run_splits(case, client, feeding, check_one)


@FEEDING
@SIDES
@pytest.mark.parametrize("layer", FRAME_LAYERS)
@table(PLAIN)
def test_frames(engine: Any, client: bool, case: Case, layer: str, feeding: str) -> None:
    answer = answer_of(case, layer)

    def check_one(loop: Any, pieces: list[bytes]) -> None:
        connection = Connection(
            engine, client=client, loop=loop, max_frame_size=LIMIT, enable_auto_close=True, **FRAME_LAYERS[layer]
        )
        connection.feed(*pieces)
        check_close(connection, answer)
        check_end(connection, answer)
        connection.lose()
        assert connection.events[-1] == "disconnected"
        assert tuple(frame.payload for frame in connection.messages if frame.msg_type != CLOSE) == answer.received

    run_splits(case, client, feeding, check_one)
