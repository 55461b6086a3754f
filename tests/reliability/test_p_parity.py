"""P: twin parity. Both engines, every kernel and the drop-in's origin do the same with the same bytes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, List

import pytest
from fixtures.streams import QUICK, any_frames, cut_at, cuts, encode
from fixtures.twins import Twins
from fixtures.wire import BINARY, Connection, build, xor
from hypothesis import given
from hypothesis import strategies as st

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


def life(engine: Any, client: bool, pieces: List[bytes], strict: bool, messages: bool) -> Any:
    """Everything that can be observed of a connection that receives these reads."""
    listener = engine.WSMessageListener(max_message_size=6000, max_fragments=8, max_queue=4) if messages else None
    connection = Connection(engine, client=client, listener=listener, strict=strict, max_frame_size=6000)
    try:
        connection.feed(*pieces)
        connection.loop.advance(1)
        events: Any = []
        if messages:
            try:
                while True:
                    task = connection.loop.create_task(connection.listener.recv())
                    connection.loop.settle()
                    if not task.done():
                        task.cancel()
                        connection.loop.settle()
                        break
                    events.append(task.result())
            except Exception as exc:
                events.append((type(exc), str(exc), getattr(exc, "code", None), str(exc.__cause__)))
        else:
            events = [event if isinstance(event, str) else event[:2] for event in connection.events]
        handshake = connection.transport.close_handshake
        return (
            events,
            [frame._replace(key=None) for frame in connection.sent()],
            connection.wire.calls,
            None if handshake is None else (str(handshake.recv), str(handshake.sent)),
            connection.transport.write_buffer_size,
        )
    finally:
        connection.shut()


@SIDES
@pytest.mark.parametrize("layer", ["frames", "strict", "messages"])
def test_p1_twins(twins: Twins, client: bool, layer: str) -> None:
    """Valid, mutated and random streams in random reads: the same events, errors, answers and end."""

    @QUICK
    @given(any_frames, cuts, st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3))
    def check(frames: Any, places: Any, mutations: Any) -> None:
        data = bytearray(encode(frames, client))
        for at, value in mutations:
            if data:
                data[at % len(data)] = value
        pieces = cut_at(bytes(data), places)
        twins.same(lambda engine: life(engine, client, pieces, layer == "strict", layer == "messages"))

    check()


@SIDES
def test_p1_random_bytes(twins: Twins, client: bool) -> None:
    @QUICK
    @given(st.binary(max_size=300), cuts)
    def check(data: bytes, places: Any) -> None:
        twins.same(lambda engine: life(engine, client, cut_at(data, places), True, False))

    check()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="picows.websockets needs Python 3.11")
@pytest.mark.parametrize("side", ["server", "client"])
def test_p2_the_sans_io_protocols_of_websockets(side: str) -> None:
    """The same streams through ours and theirs. Intended differences are listed by fixtures.vocabulary_explained."""
    from fixtures import compat, sansio

    compat.skip_unless_comparable()

    @QUICK
    @given(any_frames, cuts)
    def check(frames: Any, places: Any) -> None:
        is_client = side == "client"
        pieces = cut_at(encode(frames, is_client), places)
        logs = []
        for name in ("websockets", "picows.websockets"):
            library = sansio.Library(name)
            protocol = library.protocol.Protocol(library.protocol.Side[side.upper()], max_size=6000)
            steps = [*[("receive_data", piece) for piece in pieces], sansio.EOF]
            logs.append(sansio.total(sansio.record(library, protocol, steps)))
        theirs, ours = logs
        assert ours == theirs

    check()


def test_p3_every_kernel_gives_the_same_bytes() -> None:
    """Each set of kernels that this processor runs; tests/kernels compares all of them in C, within guard pages."""
    kernels = pytest.importorskip("picows.core._kernels", reason="picows.core is not built")
    names = [name for name, runs_here in kernels.available() if runs_here]
    data = bytes(value * 7 % 251 for value in range(70_000))
    for size in (*range(300), 65_535, 65_536, 70_000):
        payload, key = data[:size], b"\x01\x20\xa4\xff"
        expected = xor(payload, key) if size else b""
        assert {kernels.mask(name, payload, key) for name in names} == {expected}


@pytest.mark.parametrize("size", [*range(70), 125, 126, 127, 1023, 65535, 65536])
def test_p3_kernels_against_the_pure_twin(twins: Twins, size: int) -> None:
    payload = bytes(value * 7 % 251 for value in range(size))
    for phase in range(4):
        key = bytes([1, 2, 3, 250][phase:] + [1, 2, 3, 250][:phase])

        def read(engine: Any, key: bytes = key) -> Any:
            connection = Connection(engine)
            try:
                connection.feed(b"".join(build(BINARY, payload, key=key) for _ in range(2)))
                return connection.messages
            finally:
                connection.shut()

        assert [message.payload for message in twins.same(read)] == [payload] * 2


def test_p4_without_the_extension() -> None:
    """The package imports and says which engine it uses, and why; the environment variable forces pure."""
    program = (
        "import sys; sys.path[:0] = {paths!r}; {block}; import picows; from picows import _engine;"
        " print(_engine.engine.name, '|', _engine.reason)"
    )
    cases = {
        "missing": ("sys.modules['picows.core'] = None", {}, "pure"),
        "forced": ("pass", {"PICOWS_IMPL": "pure"}, "pure"),
    }
    for block, extra, expected in cases.values():
        code = program.format(paths=sys.path, block=block)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=extra, timeout=30
        )
        assert done.returncode == 0, done.stderr
        name, _, reason = done.stdout.partition("|")
        assert name.strip() == expected
        assert reason.strip()
