"""What only the pure engine has: a protocol for loops that hand over bytes, its masking with and without numpy, its
keys after fork."""

from __future__ import annotations

import asyncio
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from fixtures.wire import BINARY, TEXT, Connection

from picows import pure
from picows.pure import describe
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
