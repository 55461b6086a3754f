"""E5 to E8: close codes and reasons, what follows a CLOSE."""

from __future__ import annotations

import asyncio
from typing import Any, Dict, List

import pytest
from fixtures.feeding import bytewise, close_code, drop_in, drop_in_protocol, drop_in_server, need_drop_in, ways
from fixtures.messages import SIDES, Talk, closed
from fixtures.places import Place
from fixtures.wire import BINARY, CLOSE, KEY, PING, PONG, TEXT, build, close_payload

from picows.errors import WSProtocolError

# --- E5, E6 ---

GOOD_CODES = [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999]
BAD_CODES = [0, 1, 999, *range(1004, 1007), 1015, 1016, 1100, 2000, 2999, 5000, 65_535]


@SIDES
@pytest.mark.parametrize("reason", [b"", "gr\xfc\xdfe".encode(), b"x" * 123], ids=["none", "text", "longest"])
def test_e5_good_codes_are_echoed(talk: Talk, connect: Any, client: bool, reason: bytes) -> None:
    """With the reason. The drop-in echoes what websockets does: the same."""
    for code in GOOD_CODES:
        data = build(CLOSE, close_payload(code, reason), key=None if client else KEY)
        for pieces in ways(data, 8):
            for connection in (talk(client=client), connect(client=client, enable_auto_close=True)):
                connection.feed(*pieces)
                assert connection.plain() == [(CLOSE, close_payload(code, reason))]
                connection.shut()
            assert [frame.plain for frame in drop_in(pieces, client).sent] == [(CLOSE, close_payload(code, reason))]


@SIDES
@pytest.mark.parametrize("code", BAD_CODES)
def test_e5_bad_codes(talk: Talk, connect: Any, client: bool, code: int) -> None:
    data = build(CLOSE, close_payload(code), key=None if client else KEY)
    for pieces in ways(data):
        for connection in (talk(client=client), connect(client=client), connect(client=client, strict=True)):
            connection.feed(*pieces)
            assert close_code(connection) == 1002
            connection.shut()
        assert drop_in(pieces, client).code == 1002


#: Payload of CLOSE -> the code that is answered.
PAYLOADS = {
    "empty": (b"", 1005),
    "one byte": (b"\x03", 1002),
    "reason not UTF-8": (close_payload(1000, b"\xc0\x80"), 1007),
    "reason cut short": (close_payload(1000, b"a\xe2\x82"), 1007),
    "reason with a surrogate": (close_payload(1000, b"\xed\xa0\x80"), 1007),
}


@SIDES
@pytest.mark.parametrize(("payload", "code"), PAYLOADS.values(), ids=PAYLOADS)
def test_e5_other_payloads(talk: Talk, connect: Any, client: bool, payload: bytes, code: int) -> None:
    data = build(CLOSE, payload, key=None if client else KEY)
    for pieces in ways(data):
        for connection in (talk(client=client), connect(client=client, enable_auto_close=True)):
            connection.feed(*pieces)
            assert close_code(connection) == code
            connection.shut()
        assert drop_in(pieces, client).code == code
    if not client:
        assert drop_in_server(data).code == code


def test_e5_on_sockets(place: Place) -> None:
    """The server echoes, and then hangs up without a reset."""

    async def main() -> None:
        server = await place.serve_messages()
        for payload, code in [(close_payload(4999, b"bye"), None), *PAYLOADS.values()]:
            client = await place.raw_client(server)
            await client.upgrade(then=build(CLOSE, payload, key=KEY))
            frame = await client.read_frame()
            assert frame.payload == payload if code is None else close_code_of(frame.payload) == code
            assert await client.read_rest() == b""

    place.run(main)


def close_code_of(payload: bytes) -> int:
    """1005 where there is none."""
    return int.from_bytes(payload[:2], "big") if payload else 1005


@SIDES
def test_e6_long_reasons(talk: Talk, connect: Any, client: bool) -> None:
    """Refused, not cut: ValueError before anything is sent, and the connection goes on."""
    frames, messages = connect(client=client), talk(client=client)
    for reason in ("x" * 124, "\xfc" * 62, "\N{GRINNING FACE}" * 31):
        with pytest.raises(ValueError, match="123"):
            frames.transport.send_close(1000, reason)
        with pytest.raises(ValueError, match="123"):
            messages.run(messages.listener.close(1000, reason))
    assert frames.written() == messages.written() == b""
    frames.transport.send_close(1000, "\xfc" * 61)
    assert frames.plain() == [(CLOSE, close_payload(1000, ("\xfc" * 61).encode()))]


def test_e6_our_own_reasons_are_cut_between_characters(connect: Any) -> None:
    def fail(transport: Any, frame: Any) -> None:
        raise WSProtocolError(4000, "\N{EURO SIGN}" * 100)

    connection = connect(handlers={"on_ws_frame": fail})
    connection.feed_frame(TEXT, b"x")
    assert connection.plain() == [(CLOSE, close_payload(4000, ("\N{EURO SIGN}" * 41).encode()))]


class Indexable:
    """What bytes() would make uninitialised memory or zeros of."""

    def __index__(self) -> int:
        return 50


@SIDES
@pytest.mark.parametrize(
    "payload", [50, 1.5, Indexable(), [1, 2], object], ids=["int", "float", "index", "list", "type"]
)
def test_e6_payloads_of_wrong_types(talk: Talk, connect: Any, client: bool, payload: Any) -> None:
    """TypeError, and nothing is sent. None is an empty payload for frames, and no message."""
    frames, messages = connect(client=client), talk(client=client)
    transport = frames.transport
    for send in (transport.send_ping, transport.send_pong, lambda value: transport.send(BINARY, value)):
        with pytest.raises(TypeError):
            send(payload)
    with pytest.raises(TypeError):
        transport.send_close(1000, payload)
    for message in (payload, None):
        with pytest.raises(TypeError):
            messages.run(messages.listener.send(message))
    with pytest.raises(TypeError):
        messages.run(messages.listener.close(1000, payload))
    assert frames.written() == messages.written() == b""
    transport.send_ping(None)
    assert frames.plain() == [(PING, b"")]


@SIDES
def test_e6_drop_in(client: bool) -> None:
    """ProtocolError for reasons and codes, TypeError for types."""
    error = need_drop_in()("exceptions").ProtocolError
    protocol = drop_in_protocol(client)
    for reason in ("x" * 124, "\xfc" * 62):
        with pytest.raises(error):
            protocol.send_close(1000, reason)
    for code in BAD_CODES[:-2]:
        with pytest.raises(error):
            protocol.send_close(code)
    for payload in (50, 1.5, Indexable(), [1, 2], None):
        for send in (protocol.send_ping, protocol.send_pong, protocol.send_text, protocol.send_binary):
            with pytest.raises(TypeError):
                send(payload)
    assert protocol.data_to_send() == []


def test_e6_drop_in_on_sockets() -> None:
    need_drop_in()
    from fixtures import compat

    async def scenario() -> Any:
        async with compat.OURS.serve() as server:
            async with compat.OURS.connect(server) as connection:
                for payload in (50, 1.5, Indexable()):
                    for send in (connection.send, connection.ping, connection.pong):
                        with pytest.raises(TypeError):
                            await send(payload)
                with pytest.raises(TypeError):
                    await connection.send(None)
                with pytest.raises(compat.OURS.exceptions.ProtocolError):
                    await connection.close(1000, "x" * 124)
                await connection.send("still open")
                return await connection.recv()

    assert compat.run(scenario()) == "still open"


# --- E7, E8 ---


@SIDES
def test_e7_close_within_a_message(talk: Talk, client: bool) -> None:
    """Our own API echoes it; the drop-in fails with 1002, as websockets does."""
    key = None if client else KEY
    data = build(TEXT, b"half", fin=False, key=key) + build(CLOSE, close_payload(1000), key=key)
    for pieces in ways(data):
        connection = talk(client=client)
        connection.feed(*pieces)
        assert connection.plain() == [(CLOSE, close_payload(1000))]
        connection.lose()
        assert closed(connection).code == 1000  # and the half of a message is not delivered
        connection.shut()
        assert drop_in(pieces, client).code == 1002
    if not client:
        outcome = drop_in_server(data)
        assert (outcome.received, outcome.code) == ([], 1002)


#: What comes after a CLOSE.
LATE: Dict[str, List[bytes]] = {
    "data": [build(TEXT, b"late", key=KEY), build(PING, b"late", key=KEY)],
    "another CLOSE": [build(CLOSE, close_payload(1001), key=KEY)],
    "bad opcode": [build(3, b"", key=KEY)],
    "unmasked": [build(TEXT, b"late")],
    "garbage": [b"\xff" * 1000],
    "half a frame": [build(BINARY, bytes(70_000), key=KEY)[:-1]],
    "silence": [],
}


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_e8_after_the_peers_close(talk: Talk, connect: Any, late: List[bytes]) -> None:
    """Ignored: not delivered, not answered, no violation."""
    close = build(CLOSE, close_payload(1000), key=KEY)
    for data in ([close, *late], [b"".join([close, *late])], [close, *bytewise(b"".join(late)[:100])]):
        for connection in (talk(), connect(enable_auto_close=True), connect(enable_auto_close=True, strict=True)):
            connection.feed(*data)
            assert connection.plain() == [(CLOSE, close_payload(1000))]
            assert len(getattr(connection.listener, "frames", [None])) == 1
            connection.loop.advance(11)
            assert connection.transport.is_disconnected
            connection.shut()
        outcome = drop_in(data)
        assert [frame.plain for frame in outcome.sent] == [(CLOSE, close_payload(1000))]
        assert outcome.received == []


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_e8_after_our_close(talk: Talk, late: List[bytes]) -> None:
    """Whatever comes, or does not, the connection ends within close_timeout, and no second CLOSE is sent."""
    connection = talk(close_timeout=3)
    task = connection.loop.create_task(connection.listener.close())
    connection.loop.settle()
    connection.feed(*late)
    connection.loop.advance(3.1)
    assert task.done()
    assert connection.transport.is_disconnected
    sent = connection.plain()
    assert sent[0] == (CLOSE, close_payload(1000))
    assert [opcode for opcode, _ in sent].count(CLOSE) == 1
    assert {opcode for opcode, _ in sent} <= {CLOSE, PONG}


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_e8_drop_in_on_sockets(late: List[bytes]) -> None:
    """A client that has sent CLOSE and gets this (unmasked, from the server) is closed after close_timeout."""
    need_drop_in()
    from fixtures import compat

    async def script(reader: Any, writer: Any) -> None:
        await compat.read_frames(reader)  # its CLOSE
        for data in late:
            writer.write(data)
        await reader.read()

    async def scenario() -> Any:
        async with compat.raw_server(script) as port:
            connection = await compat.OURS.connect(port, compression=None, close_timeout=0.05, logger=compat.silent())
            await connection.close()
            await asyncio.wait_for(connection.wait_closed(), 5)
            return connection.state.name

    assert compat.run(scenario()) == "CLOSED"
