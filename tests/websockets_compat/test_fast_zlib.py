"""Compression with each library that may do it: what it must do as zlib does, and what it cannot do.

The other side is websockets 17.4, which always uses the zlib of the standard library.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import subprocess
import sys
import threading
import zlib
from typing import Any

import pytest
from fixtures.compat import OURS, THEIRS, Library, run, skip_unless_comparable

skip_unless_comparable()

from picows.websockets import fast_zlib  # noqa: E402

NAMES = ("zlib-ng", "isal", "zlib")
PACKAGES = {"zlib-ng": "zlib_ng", "isal": "isal", "zlib": "zlib"}
#: Where the classes of each library come from.
HOMES = {"zlib-ng": "zlib_ng", "isal": "isal_zlib", "zlib": "zlib"}


def load(name: str) -> Any:
    """A library by its name; skips the test where it is missing."""
    pytest.importorskip(PACKAGES[name], reason=f"{name} is not installed: pip install {name}")
    return fast_zlib._LOADERS[name]()[0]


@pytest.fixture(params=NAMES)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The library that compresses in a test; what is returned is its name."""
    name: str = request.param
    monkeypatch.setattr(fast_zlib, "library", load(name))
    return name


def deflate(side: Library) -> Any:
    """The module for one of the two websockets libraries."""
    return side.module("extensions.permessage_deflate")


def encode(side: Library, extension: Any, payload: bytes) -> bytes:
    """The payload of the frame of one message."""
    frames = side.module("frames")
    frame = extension.encode(frames.Frame(frames.Opcode.BINARY, payload))
    assert frame.rsv1
    return bytes(frame.data)


def decode(side: Library, extension: Any, payload: bytes, max_size: int | None = None) -> bytes:
    """A message of one frame."""
    frames = side.module("frames")
    frame = frames.Frame(frames.Opcode.BINARY, payload, rsv1=True)
    return bytes(extension.decode(frame, max_size=max_size).data)


def far(distance: int, count: int = 3) -> bytes:
    """Bytes that repeat after `distance`, and not before."""
    return random.Random(distance).randbytes(distance) * count


MESSAGES = [b"", b"a", b"hello " * 40, far(200), far(500), far(4000), far(30_000), b"", b"x" * 200_000, far(500)]
FLAGS = list(itertools.product([False, True], repeat=2))


# --- which one it is ---


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in another process, which prints its warnings."""
    own = (fast_zlib.ENVIRONMENT_VARIABLE, "PYTHONWARNINGS")
    environment = {key: value for key, value in os.environ.items() if key not in own}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment | variables, capture_output=True, text=True, timeout=60)


SHOW = "from picows.websockets import fast_zlib; print(fast_zlib.name, fast_zlib.describe())"
HIDE = """
import importlib.abc, sys
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {hidden}:
            raise {error}(f"no " + name, name=name)
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("name", NAMES)
def test_the_environment_chooses(name: str) -> None:
    load(name)
    shown = python(SHOW, PICOWS_ZLIB=name).stdout.split()
    assert shown[:2] == [name, name]
    assert shown[2][0].isdigit()


@pytest.mark.parametrize(
    ("hidden", "expected"),
    [((), "zlib-ng"), (("zlib_ng",), "isal"), (("zlib_ng", "isal"), "zlib")],
    ids=["all", "no zlib-ng", "none"],
)
def test_what_is_installed_is_used(hidden: tuple[str, ...], expected: str) -> None:
    load(expected)
    result = python(HIDE.format(hidden=hidden, error="ModuleNotFoundError") + SHOW)
    assert result.stdout.split()[0] == expected
    assert result.stderr == ""


def test_a_broken_library_is_talked_about() -> None:
    result = python(HIDE.format(hidden=("zlib_ng", "isal"), error="ImportError") + SHOW)
    assert result.stdout.split()[0] == "zlib"
    for name, package in (("zlib-ng", "zlib_ng"), ("isal", "isal")):
        assert f"RuntimeWarning: {name} is installed but cannot be used: no {package}" in result.stderr


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("zlib-ng", "PICOWS_ZLIB=zlib-ng, but no zlib_ng"),
        ("isal", "PICOWS_ZLIB=isal, but no isal"),
        ("zlib-gn", "PICOWS_ZLIB is 'zlib-gn', it may be zlib-ng, isal, zlib"),
    ],
)
def test_what_was_asked_for_runs_or_fails(wanted: str, text: str) -> None:
    hide = HIDE.format(hidden=("zlib_ng", "isal"), error="ModuleNotFoundError")
    result = python(hide + SHOW, PICOWS_ZLIB=wanted)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == f"ImportError: {text}"


def test_it_is_really_used(library: str) -> None:
    extension = deflate(OURS).PerMessageDeflate(False, False, 15, 15, {"memLevel": 5})
    decode(OURS, extension, encode(OURS, extension, b"hello" * 100))
    for used in (extension._compressor, extension._codec._inflater):
        assert HOMES[library] in type(used).__module__


def test_connections_really_use_it(library: str) -> None:
    async def scenario() -> list[str]:
        async with OURS.serve() as server, OURS.connect(server) as connection:
            await connection.send("hello" * 100)
            assert await connection.recv() == "hello" * 100
            codec = connection._deflate
            return [type(used).__module__ for used in (codec._compressor, codec._inflater)]

    assert all(HOMES[library] in home for home in run(scenario()))


# --- what they must do as zlib does ---


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("forgets", FLAGS, ids=str)
def test_both_ways_with_zlib(library: str, forgets: tuple[bool, bool], bits: int) -> None:
    """Context takeover and windows, each way; our window and the peer's are not the same."""
    other = 24 - bits
    ours = deflate(OURS).PerMessageDeflate(*forgets, other, bits, {"memLevel": 5})
    theirs = deflate(THEIRS).PerMessageDeflate(forgets[1], forgets[0], bits, other, {"memLevel": 5})
    for message in MESSAGES * 2:
        assert decode(THEIRS, theirs, encode(OURS, ours, message)) == message
        assert decode(OURS, ours, encode(THEIRS, theirs, message), len(message)) == message


@pytest.mark.parametrize("bits", range(9, 16))
def test_nothing_refers_beyond_the_window(library: str, bits: int) -> None:
    """zlib checks that only for what it has not just put out, so it puts out one byte at a time."""
    extension = deflate(OURS).PerMessageDeflate(False, False, 15, bits)
    inflater = zlib.decompressobj(-bits)
    for distance in (200, (1 << bits) - 1, 1 << bits, (1 << bits) + 1, 2 << bits):
        message = far(min(distance, 40_000), 2)[:50_000]
        source, found = encode(OURS, extension, message) + b"\x00\x00\xff\xff", bytearray()
        while source:
            found += inflater.decompress(source, 1)
            source = inflater.unconsumed_tail
        while byte := inflater.decompress(b"", 1):
            found += byte
        assert found == message


@pytest.mark.parametrize("mem_level", range(1, 10))
def test_memory_levels(library: str, mem_level: int) -> None:
    for bits in (9, 12, 15):
        ours = deflate(OURS).PerMessageDeflate(False, False, 15, bits, {"memLevel": mem_level})
        theirs = deflate(THEIRS).PerMessageDeflate(False, False, bits, 15)
        for message in MESSAGES:
            assert decode(THEIRS, theirs, encode(OURS, ours, message)) == message


@pytest.mark.parametrize("settings", [{}, *({"level": level} for level in range(-1, 10)), {"strategy": 2}], ids=str)
def test_settings(library: str, settings: dict[str, int]) -> None:
    ours = deflate(OURS).PerMessageDeflate(False, False, 15, 15, settings)
    theirs = deflate(THEIRS).PerMessageDeflate(False, False, 15, 15)
    for message in MESSAGES:
        assert decode(THEIRS, theirs, encode(OURS, ours, message)) == message


@pytest.mark.parametrize("settings", [{"level": 99}, {"foo": 1}, {"memLevel": 9, "strategy": 77}], ids=str)
def test_wrong_settings_fail_early(library: str, settings: dict[str, int]) -> None:
    with pytest.raises((ValueError, TypeError)):
        deflate(OURS).PerMessageDeflate(False, False, 15, 15, settings)


class Counting:
    """An inflater that adds up what it puts out."""

    total = 0

    def __init__(self, inflater: Any) -> None:
        self._inflater = inflater

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inflater, name)

    def decompress(self, data: Any, limit: int) -> bytes:
        """As that of zlib, with a limit always."""
        assert limit > 0
        found: bytes = self._inflater.decompress(data, limit)
        Counting.total += len(found)
        return found


class CountingLibrary:
    """A library whose inflaters are counted."""

    def __init__(self, module: Any) -> None:
        self.compressobj, self.error, self._module = module.compressobj, module.error, module

    def decompressobj(self, *args: Any, **options: Any) -> Counting:
        """As that of zlib."""
        return Counting(self._module.decompressobj(*args, **options))


@pytest.mark.parametrize("limit", [0, 1, 1000, 32 * 1024 - 1, 32 * 1024, 100_000])
def test_never_past_max_size(library: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_zlib, "library", CountingLibrary(fast_zlib.library))
    ours = deflate(OURS).PerMessageDeflate(False, False, 15, 15)
    theirs = deflate(THEIRS).PerMessageDeflate(False, False, 15, 15)
    assert decode(OURS, ours, encode(THEIRS, theirs, b"\0" * limit), limit) == b"\0" * limit
    Counting.total = 0
    with pytest.raises(OURS.exceptions.PayloadTooBig):
        decode(OURS, ours, encode(THEIRS, theirs, b"\0" * 20_000_000), limit)
    assert Counting.total == limit + 1


@pytest.mark.parametrize(
    "data", [b"\xff" * 10, b"\x07" * 40, b"\x00\x05\x00\x00\x00", far(300, 1)], ids=["ff", "07", "stored", "any"]
)
def test_garbage_is_a_protocol_error(library: str, data: bytes) -> None:
    with pytest.raises(OURS.exceptions.ProtocolError, match="decompression failed"):
        decode(OURS, deflate(OURS).PerMessageDeflate(False, False, 15, 15), data)


@pytest.mark.parametrize("flags", FLAGS, ids=str)
@pytest.mark.parametrize("bits", [(None, True), (9, 9), (12, 10), (15, 15), (10, True)], ids=str)
@pytest.mark.parametrize("sides", [(OURS, THEIRS), (THEIRS, OURS), (OURS, OURS)], ids=["client", "server", "both"])
def test_connections(library: str, sides: tuple[Library, Library], flags: Any, bits: tuple[Any, Any]) -> None:
    """All four parameters, asked for by the client, over a real connection."""
    client, server = sides
    factory = deflate(client).ClientPerMessageDeflateFactory(*flags, *bits, {"memLevel": 5})

    async def scenario() -> None:
        async with (
            server.serve() as listening,
            client.connect(listening, extensions=[factory], compression=None) as connection,
        ):
            assert "permessage-deflate" in connection.response.headers["Sec-WebSocket-Extensions"]
            for message in MESSAGES * 2:
                await connection.send(message)
                assert await connection.recv() == message
            sending = asyncio.gather(*(connection.send(b"message %d " % number * 20) for number in range(20)))
            assert [await connection.recv() for _ in range(20)] == [b"message %d " % n * 20 for n in range(20)]
            await sending

    run(scenario())


def test_threads(library: str) -> None:
    connect, serve = OURS.module("sync.client").connect, OURS.module("sync.server").serve
    with serve(lambda connection: [connection.send(message) for message in connection], "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with connect(f"ws://127.0.0.1:{server.socket.getsockname()[1]}", proxy=None) as connection:
                for message in MESSAGES:
                    connection.send(message)
                    assert connection.recv() == message
        finally:
            server.shutdown()
            thread.join()


# --- what they cannot do ---


@pytest.mark.parametrize(
    ("settings", "home"),
    [
        ({}, "isal_zlib"),
        ({"level": -1}, "isal_zlib"),
        ({"level": 1, "memLevel": 9}, "isal_zlib"),
        ({"level": 3}, "isal_zlib"),
        ({"level": 0}, "zlib"),
        ({"level": 4}, "zlib"),
        ({"level": 9}, "zlib"),
        ({"strategy": 0}, "zlib"),
    ],
    ids=str,
)
def test_levels_that_isal_does_not_have(settings: dict[str, int], home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_zlib, "library", load("isal"))
    extension = deflate(OURS).PerMessageDeflate(False, False, 15, 15, settings)
    encode(OURS, extension, b"hello")
    assert type(extension._compressor).__module__.rpartition(".")[2] == home


def test_a_peer_that_exceeds_its_window(library: str) -> None:
    """zlib and zlib-ng refuse it; isal, whose window always has 15 bits, reads it."""
    theirs = deflate(THEIRS).PerMessageDeflate(False, False, 15, 15)
    ours = deflate(OURS).PerMessageDeflate(False, False, 9, 15)
    first, second = far(2000, 1), far(2000, 1)[:1000]
    assert decode(OURS, ours, encode(THEIRS, theirs, first)) == first
    sent = encode(THEIRS, theirs, second)
    if library == "isal":
        assert decode(OURS, ours, sent) == second
    else:
        with pytest.raises(OURS.exceptions.ProtocolError, match="decompression failed"):
            decode(OURS, ours, sent)
