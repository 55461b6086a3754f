"""A7 to A9: finite defaults, lengths in a longer form, lengths around the borders of their forms."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import mmap
import os
from typing import Any

import pytest
from fixtures.feeding import (
    bytewise,
    close_code,
    drop_in,
    drop_in_server,
    need_drop_in,
    ways,
)
from fixtures.messages import SIDES, Talk, recv
from fixtures.places import Place
from fixtures.wire import BINARY, CLOSE, CONT, KEY, TEXT, Connection, Received, build, header, take_apart

from picows import _engine, ws_connect, ws_create_server
from picows.enums import WSMsgType
from picows.head import MAX_HEAD_SIZE, MAX_HEADERS, MAX_LINE_LENGTH
from picows.options import DEFAULT_HANDSHAKE_TIMEOUT, ConnectionOptions

KIB, MIB = 1024, 1024 * 1024

# --- A7 ---


def defaults(function: Any) -> dict[str, Any]:
    """The defaults of a function's arguments."""
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


@pytest.mark.parametrize("function", [ws_create_server, ws_connect], ids=lambda function: function.__name__)
def test_a7_defaults_are_finite(function: Any) -> None:
    """10 MiB, which users know; the write buffer has the transport's watermark, and `send` waits for it."""
    values = defaults(function)
    assert (values["max_frame_size"], values["close_timeout"]) == (10 * MIB, 10)
    assert values["websocket_handshake_timeout"] is DEFAULT_HANDSHAKE_TIMEOUT
    assert DEFAULT_HANDSHAKE_TIMEOUT == 5
    options = ConnectionOptions(is_client_side=False, logger=logging.getLogger("picows.test"))
    assert (options.max_frame_size, options.close_timeout) == (10 * MIB, 10)
    listener = defaults(_engine.load("pure").WSMessageListener)  # compiled classes have no signature: see below
    assert (listener["max_message_size"], listener["max_queue"]) == (10 * MIB, 16)
    assert listener["max_fragments"] is None  # memory is bounded without it, see B1
    assert (MAX_LINE_LENGTH, MAX_HEADERS, MAX_HEAD_SIZE) == (8192, 128, 16384)


def test_a7_the_defaults_hold(talk: Talk) -> None:
    connection = talk()
    connection.feed(connection.frame(BINARY, bytes(5 * MIB), fin=False) + header(CONT, 5 * MIB + 1, key=KEY))
    assert close_code(connection) == 1009
    full = talk()
    for _ in range(17):
        full.feed_frame(TEXT, b"x")
    assert full.wire.calls == ["pause_reading"]


def test_a7_send_waits_by_default(place: Place) -> None:
    """A peer that does not read: `send` stops at the transport's watermark."""

    async def main() -> None:
        listeners: list[Any] = []

        async def handler(listener: Any) -> None:
            listeners.append(listener)
            while True:
                await listener.send(bytes(65_536))

        await place.deaf_client(await place.serve_messages(handler))
        while not (listeners and listeners[0].transport.write_buffer_size):
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert listeners[0].transport.write_buffer_size <= 64 * KIB + 2 * 65_536

    place.run(main)


@pytest.mark.parametrize("name", ["asyncio", "sync"])
@pytest.mark.parametrize("role", ["server", "client"])
def test_a7_drop_in(name: str, role: str) -> None:
    module = need_drop_in()
    values = defaults(getattr(module(f"{name}.{role}"), "serve" if role == "server" else "connect"))
    assert values["max_size"] == MIB
    assert values["max_queue"] == 16
    assert (values["open_timeout"], values["close_timeout"]) == (10, 10)
    assert (values["ping_interval"], values["ping_timeout"]) == (20, 20)
    if name == "asyncio":
        assert values["write_limit"] == 32_768
    http11 = module("http11")
    assert (http11.MAX_LINE_LENGTH, http11.MAX_NUM_HEADERS) == (8192, 128)


# --- A8 ---


@SIDES
@pytest.mark.parametrize("form", [16, 64])
def test_a8_lengths_in_a_longer_form(connect: Any, talk: Talk, client: bool, form: int) -> None:
    """Accepted; 1002 in strict mode. Messages are as lenient as the other libraries of Python."""
    key = None if client else KEY
    data = build(BINARY, b"hello", form=form, key=key)
    for pieces in ways(data):
        frames, strict, messages = connect(client=client), connect(client=client, strict=True), talk(client=client)
        for connection in (frames, strict, messages):
            connection.feed(*pieces)
        assert frames.messages == [Received(WSMsgType.BINARY, b"hello")]
        assert (strict.messages, close_code(strict)) == ([], 1002)
        assert recv(messages) == b"hello"
        assert drop_in(pieces, client).received == [b"hello"]
    if not client:
        outcome = drop_in_server(data + build(CLOSE, key=KEY))
        assert (outcome.received, outcome.code) == ([b"hello"], 1005)


# --- A9 ---


@SIDES
@pytest.mark.parametrize("size", [65_535, 65_536, 65_537])
def test_a9_round_trip(connect: Any, client: bool, size: int) -> None:
    payload = hashlib.shake_128(b"a9").digest(size)
    sender, receiver = connect(client=client), connect(client=not client)
    sender.transport.send(BINARY, payload)
    data = sender.written()
    (frame,) = take_apart(data)
    assert frame.plain == (BINARY, payload)
    receiver.feed(data)
    assert receiver.messages == [Received(WSMsgType.BINARY, payload)]
    assert receiver.listener.frames[0].payload_size == size


@SIDES
@pytest.mark.parametrize("size", [(1 << 31) - 1, 1 << 31, (1 << 31) + 7, (1 << 32) + 5, (1 << 63) - 1], ids=hex)
def test_a9_all_bits_of_a_length_are_read(connect: Any, client: bool, size: int) -> None:
    """As the error of one byte too many says. (The pure engine would take memory for one that is allowed, see A4.)"""
    connection = connect(client=client, max_frame_size=size - 1)
    connection.feed(*bytewise(header(BINARY, size, key=None if client else KEY)))
    assert close_code(connection) == 1009
    error: Any = connection.ending()
    assert error is None if not client else (error.size, error.limit) == (size, size - 1)


@SIDES
def test_a9_nothing_beyond_a_frame_is_read_into_it(connect: Any, client: bool) -> None:
    """What the connection asks the loop for is at most what is missing."""
    size = (1 << 20) + 7
    connection = connect(client=client)
    connection.feed(header(BINARY, size, key=None if client else KEY) + bytes(1000))
    assert 0 < len(memoryview(connection.protocol.get_buffer(-1))) <= size - 1000


LARGE = "PICOWS_TEST_LARGE"


@pytest.mark.skipif(LARGE not in os.environ, reason=f"takes 10 GiB of memory and a minute: set {LARGE}=1")
@pytest.mark.timeout(600)
@SIDES
def test_a9_two_gib(engine: Any, client: bool) -> None:
    """2^31 + 7 bytes out of a file of holes, both ways."""
    size = (1 << 31) + 7
    with mmap.mmap(-1, size) as payload:
        payload[-7:] = b"the end"
        payload[:9] = b"beginning"
        sender = Connection(engine, client=client)
        sender.transport.send(BINARY, payload)
        expected = hashlib.sha1(payload).digest()
    chunks, sender.wire.chunks = list(sender.wire.chunks), []
    sender.shut()
    seen: list[Any] = []

    def look(transport: Any, frame: Any) -> None:
        seen.append((frame.payload_size, hashlib.sha1(frame.get_payload_as_memoryview()).digest()))

    receiver = Connection(engine, client=not client, max_frame_size=1 << 32, listener=_Looker.make(engine, look))
    while chunks:
        chunk = memoryview(chunks.pop(0))
        for at in range(0, len(chunk), MIB):
            receiver.feed(bytes(chunk[at : at + MIB]))
        del chunk
    receiver.shut()
    assert seen == [(size, expected)]


class _Looker:
    """A listener that keeps nothing of a frame."""

    @staticmethod
    def make(engine: Any, look: Any) -> Any:
        class Listener(engine.WSListener):  # type: ignore[misc]
            def on_ws_frame(self, transport: Any, frame: Any) -> None:
                look(transport, frame)

        return Listener()
