"""What only the compiled engine does: for a peer with many frames in flight the first answer waits for the others."""

from __future__ import annotations

import os
import time
from typing import Any, List

import pytest
from fixtures.wire import TEXT, take_apart

pytest.importorskip("picows.core", reason="picows-core is not installed")
pytestmark = [
    pytest.mark.skipif(os.environ.get("PICOWS_IMPL") == "pure", reason="PICOWS_IMPL asks for the pure engine alone"),
    pytest.mark.parametrize("engine", ["core"], indirect=True),
    pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="with AddressSanitizer no batch is short"),
]

MANY = 8
TRIES = 200


def echo(transport: Any, frame: Any) -> None:
    transport.send(TEXT, frame.get_payload_as_bytes())


def answers_per_write(connection: Any, count: int) -> List[int]:
    """How many frames each write has that answers `count` frames of one read."""
    connection.wire.chunks.clear()
    connection.feed(b"".join(connection.frame(TEXT, b"%d" % number) for number in range(count)))
    answers = [take_apart(chunk) for chunk in connection.wire.chunks]
    assert [frame.payload for chunk in answers for frame in chunk] == [b"%d" % number for number in range(count)]
    return [len(chunk) for chunk in answers]


def test_all_answers_leave_together_while_batches_are_short(connect: Any) -> None:
    connection = connect(handlers={"on_ws_frame": echo})
    assert answers_per_write(connection, MANY + 1) == [1, MANY]
    # A busy machine may interrupt a batch for longer than a batch may take.
    assert any(answers_per_write(connection, MANY) == [MANY] for _ in range(TRIES))


@pytest.mark.parametrize("count", [1, 2, MANY])
def test_few_answers_end_it(connect: Any, count: int) -> None:
    connection = connect(handlers={"on_ws_frame": echo})
    assert any(answers_per_write(connection, MANY + 1) == [MANY + 1] for _ in range(TRIES))
    if count == 1:
        # Nothing to wait for.
        assert answers_per_write(connection, 1) == [1]
    else:
        answers_per_write(connection, MANY - 1)
        assert answers_per_write(connection, count) == [1, count - 1]


def test_never_while_batches_take_long(connect: Any) -> None:
    def slow(transport: Any, frame: Any) -> None:
        echo(transport, frame)
        time.sleep(0.0001)

    connection = connect(handlers={"on_ws_frame": slow})
    for _ in range(5):
        assert answers_per_write(connection, MANY + 1) == [1, MANY]


def test_not_without_gathering(connect: Any) -> None:
    connection = connect(handlers={"on_ws_frame": echo}, write_coalescing=False)
    for _ in range(5):
        assert answers_per_write(connection, MANY + 1) == [1] * (MANY + 1)


def test_flush_ends_it_early(connect: Any) -> None:
    written: List[int] = []

    def flush_each(transport: Any, frame: Any) -> None:
        echo(transport, frame)
        transport.flush()
        written.append(len(connection.wire.chunks))

    connection = connect(handlers={"on_ws_frame": flush_each})
    for _ in range(3):
        written.clear()
        assert answers_per_write(connection, MANY + 1) == [1] * (MANY + 1)
        assert written == list(range(1, MANY + 2))
