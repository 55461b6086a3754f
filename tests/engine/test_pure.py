"""What only the pure engine has: a protocol for loops that hand over bytes, its masking with and without numpy, its
keys after fork, the memory of its large frames."""

from __future__ import annotations

import asyncio
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from fixtures.wire import BINARY, KEY, TEXT, Connection, header

from picows import pure
from picows.pure import describe, pending
from picows.pure import mask as masking
from picows.pure import pool as pools


@pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
@pytest.mark.parametrize("followers", [0, 1, 2])
def test_last_in_buffer_of_a_large_frame_that_others_follow(client: bool, followers: int) -> None:
    """Only a loop that hands over its own buffer reads beyond the end of a pending frame."""
    connection = Connection(pure, client=client, reading="stream")
    assert not isinstance(connection.protocol, asyncio.BufferedProtocol)
    large, small = connection.frame(BINARY, bytes(10_000)), connection.frame(TEXT, b"small")
    connection.feed(large[:5000], large[5000:] + small * followers + small[:3])
    frames = connection.listener.frames
    assert [frame.last_in_buffer for frame in frames] == [0] * followers + [1]
    assert [frame.tail_size for frame in frames] == [len(small) * left + 3 for left in range(followers, -1, -1)]
    connection.shut()


@pytest.mark.parametrize("wanted", [None, "1", "0"])
def test_PICOWS_NUMPY(monkeypatch: pytest.MonkeyPatch, wanted: Any) -> None:
    numpy = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "numpy", numpy)
    if wanted is None:
        monkeypatch.delenv("PICOWS_NUMPY", raising=False)
    else:
        monkeypatch.setenv("PICOWS_NUMPY", wanted)
    assert masking._load_numpy() is (None if wanted == "0" else numpy)


def test_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PICOWS_NUMPY", raising=False)
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert masking._load_numpy() is None


@pytest.mark.parametrize("accelerator", [None, "numpy 9.9"])
def test_describe_says_what_masks_large_payloads(monkeypatch: pytest.MonkeyPatch, accelerator: Any) -> None:
    monkeypatch.setattr(masking, "accelerator", accelerator)
    rows = dict(describe())
    assert ("numpy 9.9" in rows.values()) is (accelerator is not None)
    assert all(isinstance(value, str) for value in rows.values())


def test_W3_the_child_of_a_fork_draws_new_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """What os.fork does in the child; tests/engine/test_masking_keys.py really forks."""
    blocks: list[int] = []

    def urandom(size: int) -> bytes:
        blocks.append(size)
        return bytes([len(blocks)]) * size

    monkeypatch.setattr(os, "urandom", urandom)
    pool = pools.Pool()
    assert [pool.next_key()[0] for _ in range(2)] == [0x01010101] * 2
    pools._forget_all_keys()
    assert [pool.next_key()[0] for _ in range(2)] == [0x02020202] * 2
    pools._forget_all_keys()  # other pools have drawn from the fake, too
    assert len(set(blocks)) == 1


def test_W3_keys_come_from_the_operating_system_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    block = bytes(range(256)) * 4
    drawn: list[int] = []

    def urandom(size: int) -> bytes:
        drawn.append(size)
        return block[:size]

    monkeypatch.setattr(os, "urandom", urandom)
    pool = pools.Pool()
    keys = [pool.next_key() for _ in range(257)]
    assert drawn == [1024, 1024]
    for index, (little, big) in enumerate(keys):
        four = block[4 * index % 1024 :][:4]
        assert (little, big) == (int.from_bytes(four, "little"), int.from_bytes(four, "big"))
    pools._forget_all_keys()


@pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
def test_a_thread_keeps_the_last_mapping(monkeypatch: pytest.MonkeyPatch, client: bool) -> None:
    """The next frame of about its size arrives in it, and shows nothing of the one before."""
    made: list[int] = []
    new_mapping = pending.new_mapping
    monkeypatch.setattr(pending, "new_mapping", lambda size: made.append(size) or new_mapping(size))
    connection = Connection(pure, client=client)
    connection.protocol._pool._spare = None
    payloads = [b"1" * 300_000, b"2" * 200_000, b"3" * 200_001, b"4" * 90_000, b"5" * 3_000_000, b"6" * 90_000]
    for payload in payloads:
        data = connection.frame(BINARY, payload)
        connection.feed(data[:1000], data[1000:-1], data[-1:])
    assert [message.payload for message in connection.messages] == payloads
    assert made == [300_000, 90_000, 3_000_000]
    connection.shut()


def test_a_mapping_of_a_connection_that_ends_is_not_kept() -> None:
    connection = Connection(pure)
    connection.protocol._pool._spare = None
    connection.feed(connection.frame(BINARY, bytes(300_000))[:1000])
    assert connection.protocol._parser.pending is not None
    connection.shut()
    assert pools.current_pool()._spare is None


def test_where_there_are_no_mappings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mmap", None)
    assert pending._load_mapping() is bytearray
    monkeypatch.setattr(pending, "new_mapping", bytearray)
    connection = Connection(pure, max_frame_size=(1 << 63) - 1)
    data = connection.frame(BINARY, b"x" * 300_000)
    connection.feed(data[:1000], data[1000:])
    assert [message.payload for message in connection.messages] == [b"x" * 300_000]
    connection.feed(header(BINARY, (1 << 63) - 1, key=KEY))
    assert connection.sent()[-1].payload[:2] == b"\x03\xf1"
    connection.shut()
