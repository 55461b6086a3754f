"""D: masking. Keys nobody can foresee, kernels that stay within their buffers, and buffers of the caller's that stay as
they are."""

from __future__ import annotations

import ctypes
import importlib
import mmap
import os
import sys
from typing import Any, Iterator, List, Tuple

import pytest
from fixtures.feeding import (
    bytewise,
    close_code,
    drop_in,
    drop_in_protocol,
    drop_in_server,
    in_process,
    need_drop_in,
    ways,
)
from fixtures.messages import SIDES, Talk, send
from fixtures.wire import BINARY, CLOSE, KEY, PING, TEXT, build, take_apart, xor

from picows.pure.mask import mask as pure_mask

FRAMES = 10_000


def check_keys(keys: List[bytes]) -> None:
    """Distinct but for chance, and each bit as often set as not."""
    assert len(set(keys)) >= len(keys) - 3
    numbers = [int.from_bytes(key, "big") for key in keys]
    for bit in range(32):
        assert 0.45 < sum(number >> bit & 1 for number in numbers) / len(numbers) < 0.55


# --- D1 ---


def test_d1_keys(connect: Any) -> None:
    connection = connect(client=True)
    for _ in range(FRAMES):
        connection.transport.send(BINARY, b"\0\0\0\0")
    check_keys([frame.key for frame in connection.sent()])


def test_d1_drop_in() -> None:
    protocol = drop_in_protocol(client=True)
    for _ in range(FRAMES):
        protocol.send_binary(b"\0\0\0\0")
    check_keys([frame.key or b"" for frame in take_apart(b"".join(protocol.data_to_send()))])


KEYS_SCRIPT = """
    import os
    from fixtures.wire import BINARY, Connection
    from picows import _engine

    connection = Connection(_engine.load(sys.argv[1]), client=True)

    def draw(count):
        for _ in range(count):
            connection.transport.send(BINARY, b"x")
        return b"".join(frame.key for frame in connection.sent())

    print(draw(50).hex())
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, draw(200))
        os._exit(0)
    os.wait()
    print(draw(200).hex())
    print(os.read(reader, 1000).hex())
    connection.shut()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_d1_processes_and_forks(engine: Any) -> None:
    """Two processes have no prefix in common; parent and child go different ways."""
    first, second = ([bytes.fromhex(line) for line in in_process(KEYS_SCRIPT, engine.name).split()] for _ in range(2))
    assert first[0][:4] != second[0][:4]
    for lines in (first, second):
        keys = [key for line in lines for key in bytewise(line, 4)]
        assert len(keys) == 450
        assert len(set(keys)) >= 449


def draw_from(connection: Any, monkeypatch: pytest.MonkeyPatch, source: Any) -> List[int]:
    """Let keys come from a source until those that were drawn before are used up; the sizes that it was asked for."""
    asked: List[int] = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return source(size)  # type: ignore[no-any-return]

    with monkeypatch.context() as patch:
        patch.setattr(os, "urandom", urandom)
        while not asked:
            connection.transport.send(BINARY, b"")
    connection.written()
    return asked


def test_d1_the_operating_system_is_the_source(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks: one call for many keys."""
    connection = connect(client=True)
    known = bytes(range(256)) * 64
    (size,) = draw_from(connection, monkeypatch, lambda size: known[:size])
    assert 256 <= size <= 16_384
    for _ in range(4, size, 4):
        connection.transport.send(BINARY, b"x")
    assert [frame.key for frame in connection.sent()] == bytewise(known[4:size], 4)


# --- D2, D3 ---


def test_d2_a_key_of_zeros_is_a_key(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame has the mask bit and four zeros, and is read as what was sent."""
    connection = connect(client=True)
    (size,) = draw_from(connection, monkeypatch, bytes)
    sizes = [0, 1, 5, 125, 126, 1025, 5000, 65_536, 70_000]
    for length in sizes:
        connection.transport.send(BINARY, b"x" * length)
    buffer = bytearray(14) + b"in place"
    connection.transport.send_reuse_external_bytearray(BINARY, buffer, 14)
    connection.transport.send_ping(b"ping")
    data = connection.written()
    frames = take_apart(data)
    assert {frame.key for frame in frames} == {bytes(4)}
    assert [len(frame.payload) for frame in frames[:-2]] == sizes
    assert [frame.payload for frame in frames[-2:]] == [b"in place", b"ping"]
    server = connect(enable_auto_pong=False)
    server.feed(data)
    assert [message.payload for message in server.messages] == [frame.payload for frame in frames]
    for _ in range(size // 4):  # the thread's zeros are not for other tests
        connection.transport.send(BINARY, b"")
    assert connection.sent()[-1].key != bytes(4)


def test_d2_drop_in(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = drop_in_protocol(client=True)
    monkeypatch.setattr(os, "urandom", bytes)
    protocol.send_text(b"text")
    data = b"".join(protocol.data_to_send())
    assert data == b"\x81\x84\0\0\0\0text"
    assert drop_in([data]).received == [b"text"]


@SIDES
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_d3_wrongly_masked_frames(connect: Any, talk: Talk, client: bool, opcode: int) -> None:
    """1002 with the header; the payload is neither delivered nor answered."""
    data = build(opcode, b"\x03\xe8" if opcode == CLOSE else b"hello", key=KEY if client else None)
    for pieces in ways(data):
        for connection in (connect(client=client), talk(client=client)):
            connection.feed(*pieces)
            assert close_code(connection) == 1002
            assert not getattr(connection.listener, "frames", None)
            connection.shut()
        outcome = drop_in(pieces, client)
        assert (outcome.received, outcome.opcodes, outcome.code) == ([], [CLOSE], 1002)
    connection = talk(client=client)
    connection.feed(data[:2])
    assert close_code(connection) == 1002
    if not client:
        on_sockets = drop_in_server(data)
        assert (on_sockets.received, on_sockets.opcodes, on_sockets.code) == ([], [CLOSE], 1002)


# --- D4, D5 ---


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5])
def test_d4_keys_of_another_length(size: int) -> None:
    apply_mask = need_drop_in()("utils").apply_mask
    for data in (b"", b"x" * 100):
        with pytest.raises(ValueError, match="4"):
            apply_mask(data, bytes(size))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5])
def test_d4_kernels(size: int) -> None:
    kernels = kernels_of_core()
    with pytest.raises(ValueError, match=f"4 bytes .*, this one {size}"):
        kernels.mask("generic", b"x" * 100, bytes(size))


def kernels_of_core() -> Any:
    """picows.core's kernels by name; skips the test where it is not built."""
    return pytest.importorskip("picows.core._kernels", reason="picows.core is not built")


class Guarded:
    """A page between two that must not be touched."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, 3 * mmap.PAGESIZE)
        self._keep = ctypes.c_char.from_buffer(self._map)
        self._address = ctypes.addressof(self._keep)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._protect(0)
        self.page = memoryview(self._map)[mmap.PAGESIZE : 2 * mmap.PAGESIZE]

    def _protect(self, rights: int) -> None:
        for page in (0, 2):
            address = ctypes.c_void_p(self._address + page * mmap.PAGESIZE)
            if self._libc.mprotect(address, mmap.PAGESIZE, rights):
                raise OSError(ctypes.get_errno(), "mprotect")

    def close(self) -> None:
        """Give it back."""
        self._protect(3)
        self.page.release()
        del self._keep
        self._map.close()


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    """A page with guards."""
    if sys.platform != "linux":
        pytest.skip("needs mprotect")
    memory = Guarded()
    yield memory
    memory.close()


def running_kernels() -> List[str]:
    """Names of those that this processor runs."""
    try:
        kernels = importlib.import_module("picows.core._kernels")
    except ImportError:
        return []
    return [name for name, runs_here in kernels.available() if runs_here]


@pytest.mark.parametrize("name", running_kernels())
def test_d5_masking_next_to_guard_pages(guarded: Guarded, name: str) -> None:
    """Lengths 0 to 300 at offsets 0 to 63, at both ends of the page, into a copy and in place, against the pure twin.

    `tests/kernels` has the same in C, with AddressSanitizer, other processors and each way to compile.
    """
    kernels, page = kernels_of_core(), guarded.page
    key = b"\x01\x7f\x80\xfe"
    number = int.from_bytes(key, "little")
    source = bytes(range(256)) * 2
    expected = [pure_mask(source[:size], number) for size in range(301)]
    assert expected[300] == xor(source[:300], key)
    target = bytearray(400)
    for size in range(301):
        places = {0, len(page) - size, *(range(1, 64) if size % 16 in (0, 1, 15) else (size % 63,))}
        for at in places | {len(page) - size - offset for offset in (1, 7, 63)}:
            part = page[at : at + size]
            part[:] = source[:size]
            into = memoryview(target)[at % 64 : at % 64 + size]
            kernels.mask_into(name, into, part, key)
            assert into == expected[size]
            kernels.mask_into(name, part, part, key)
            assert part == expected[size]


@pytest.mark.parametrize("name", running_kernels())
def test_d5_validation_next_to_guard_pages(guarded: Guarded, name: str) -> None:
    """The same for UTF-8, against the interpreter."""
    kernels, page = kernels_of_core(), guarded.page
    text = "a\N{GREEK SMALL LETTER KAPPA}\N{EURO SIGN}\N{GRINNING FACE}".encode() * 31
    for size in range(301):
        good, verdict = text[:size], size
        try:
            good.decode()
        except UnicodeDecodeError:
            verdict = -1  # cut within a character
        for at in {0, len(page) - size, len(page) - size - size % 63, size % 64}:
            part = page[at : at + size]
            part[:] = good
            assert kernels.validate_utf8(name, part) == verdict
            if size:
                part[size // 2] = 0xFF
                assert kernels.validate_utf8(name, part) == size // 2


# --- D6 ---


def kinds(payload: bytes) -> List[Tuple[str, Any]]:
    """A payload as what may be sent."""
    writable = bytearray(payload)
    inside = memoryview(bytearray(b"<<" + payload + b">>"))[2:-2]
    return [
        ("bytes", payload),
        ("bytearray", writable),
        ("view", memoryview(bytearray(payload))),
        ("read-only view", memoryview(payload)),
        ("slice", inside),
    ]


@SIDES
@pytest.mark.parametrize("size", [0, 1, 125, 126, 1000, 5000, 70_000])
@pytest.mark.parametrize("is_stalled", [False, True], ids=["free", "stalled"])
def test_d6_buffers_stay_as_they_are(talk: Talk, connect: Any, client: bool, size: int, is_stalled: bool) -> None:
    """Whatever they are, and while they wait to be written."""
    payload = (bytes(range(256)) * (size // 256 + 1))[:size]
    frames, messages = connect(client=client), talk(client=client)
    frames.wire.stalled = messages.wire.stalled = is_stalled
    for name, buffer in kinds(payload):
        frames.transport.send(BINARY, buffer)
        send(messages, buffer)
        assert bytes(buffer) == payload, name
    assert frames.plain() == messages.plain() == [(BINARY, payload)] * 5


@SIDES
def test_d6_views_that_are_not_contiguous(connect: Any, client: bool) -> None:
    """BufferError, as for upstream's users, and nothing is sent."""
    connection = connect(client=client)
    for view in (memoryview(b"abcdef")[::2], memoryview(b"abcdef")[::-1]):
        with pytest.raises(BufferError):
            connection.transport.send(BINARY, view)
    assert connection.written() == b""


@pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
def test_d6_drop_in(client: bool) -> None:
    protocol = drop_in_protocol(client)
    payload = bytes(range(256)) * 20
    for name, buffer in kinds(payload):
        before = bytes(buffer)
        protocol.send_binary(buffer)
        assert bytes(buffer) == before, name
        assert [frame.payload for frame in take_apart(b"".join(protocol.data_to_send()))] == [before]
    strided = memoryview(payload)[::3]
    protocol.send_binary(strided)
    assert [frame.payload for frame in take_apart(b"".join(protocol.data_to_send()))] == [bytes(strided)]


def test_d6_drop_in_on_sockets() -> None:
    """Both ways through an echo. What is not contiguous is a BufferError, and the connection goes on."""
    need_drop_in()
    from fixtures import compat

    payload = bytes(range(256)) * 300

    async def scenario() -> Any:
        async with compat.OURS.serve() as server:
            async with compat.OURS.connect(server) as connection:
                received = []
                with pytest.raises(BufferError):
                    await connection.send(memoryview(payload)[::3])
                for name, buffer in kinds(payload):
                    before = bytes(buffer)
                    await connection.send(buffer)
                    assert bytes(buffer) == before, name
                    received.append(await connection.recv() == before)
                return received

    assert compat.run(scenario()) == [True] * 5
