"""O1: after a failure our CLOSE must arrive, so the socket is not closed while the peer still sends."""

from __future__ import annotations

import errno
import logging
from typing import Any

import pytest
from fixtures.wire import CLOSE, PING, TEXT, close_payload

SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


def failed(connect: Any, **arguments: Any) -> Any:
    """A connection whose peer has just broken the protocol, and goes on."""
    connection = connect(**arguments)
    connection.wire.answers_eof = False
    connection.feed_frame(3)
    assert connection.plain()[0][0] == CLOSE
    return connection


@SIDES
def test_what_still_arrives_is_dropped_until_the_peers_eof(connect: Any, client: bool) -> None:
    connection = failed(connect, client=client)
    for _ in range(100):
        connection.loop.advance(0.05)
        connection.feed(connection.frame(TEXT, b"x" * 1000) + connection.frame(PING))
    assert connection.wire.calls == ["write_eof"]
    assert connection.messages == []
    assert connection.events == ["connected"]
    connection.eof()
    connection.loop.settle()
    assert connection.events == ["connected", "disconnected"]
    assert connection.written() == b""
    assert "abort" not in connection.wire.calls


@SIDES
def test_no_longer_than_close_timeout(connect: Any, client: bool) -> None:
    connection = failed(connect, client=client, close_timeout=3)
    for _ in range(29):
        connection.loop.advance(0.1)
        connection.feed(b"noise")
    assert connection.wire.calls == ["write_eof"]
    connection.loop.advance(0.11)
    assert connection.wire.calls == ["write_eof", "abort"]
    assert connection.events == ["connected", "disconnected"]


def test_no_more_than_64_MiB(connect: Any, caplog: Any) -> None:
    connection = failed(connect)
    caplog.clear()
    chunk = bytes(64 * 1024)
    for _ in range(1024):
        connection.feed(chunk)
    assert connection.wire.calls == ["write_eof"]
    connection.feed(b"x")
    connection.loop.settle()
    assert connection.wire.calls == ["write_eof", "abort"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "67108865" in record.getMessage()


@SIDES
def test_a_peer_that_answers_our_close_is_not_waited_for_longer(connect: Any, client: bool) -> None:
    """Its CLOSE is dropped with everything else: what counts is its EOF."""
    connection = failed(connect, client=client)
    connection.feed_frame(CLOSE, close_payload(1002))
    assert connection.wire.calls == ["write_eof"]
    connection.eof()
    connection.loop.settle()
    assert connection.transport.is_disconnected


@SIDES
def test_a_peer_that_has_reset_the_connection_meanwhile(connect: Any, client: bool, caplog: Any) -> None:
    """shutdown(2) is the first to hear of it."""
    connection = connect(client=client)

    def write_eof() -> None:
        connection.wire.calls.append("write_eof")
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    connection.wire.write_eof = write_eof
    connection.feed_frame(3)
    connection.loop.settle()
    assert connection.wire.calls == ["write_eof", "abort"]
    assert connection.events == ["connected", "disconnected"]
    assert not [record for record in caplog.records if record.exc_info and record.levelno >= logging.ERROR]


def test_what_was_gathered_leaves_before_eof(connect: Any) -> None:
    """Within a read the CLOSE is gathered behind the answers."""
    order: list[str] = []

    def echo(transport: Any, frame: Any) -> None:
        transport.send(TEXT, frame.get_payload_as_bytes())

    connection = connect(handlers={"on_ws_frame": echo})
    write_eof, write = connection.wire.write_eof, connection.wire.write
    connection.wire.write_eof = lambda: (order.append("eof"), write_eof())
    connection.wire.write = lambda data: (order.append("write"), write(data))
    connection.feed(connection.frame(TEXT, b"a") * 3 + connection.frame(3))
    assert order == ["write", "write", "eof"]
    assert [opcode for opcode, _ in connection.plain()] == [TEXT, TEXT, TEXT, CLOSE]
    assert not connection.wire.written_late


def test_reading_goes_on_where_the_listener_had_paused_it(connect: Any) -> None:
    def pause(transport: Any, frame: Any) -> None:
        transport.underlying_transport.pause_reading()
        raise ValueError("mine")

    connection = connect(handlers={"on_ws_frame": pause})
    connection.feed_frame(TEXT)
    assert connection.wire.is_reading()


@SIDES
def test_disconnect_ends_it(connect: Any, client: bool) -> None:
    connection = failed(connect, client=client)
    connection.transport.disconnect()
    connection.loop.settle()
    assert connection.wire.calls == ["write_eof", "close"]
    assert connection.events == ["connected", "disconnected"]


@SIDES
def test_over_tls_until_nothing_arrives_any_more(connect: Any, client: bool) -> None:
    connection = failed(connect, client=client, secure=True)
    for _ in range(5):
        connection.loop.advance(0.2)
        connection.feed(b"noise")
    assert connection.wire.calls == []
    connection.loop.advance(0.51)
    # Below Python 3.11 the lost connection closes its transport once more, which would warn otherwise.
    assert set(connection.wire.calls) == {"close"}
    assert connection.events == ["connected", "disconnected"]


@SIDES
def test_a_quiet_peer_is_not_waited_for(connect: Any, client: bool) -> None:
    connection = failed(connect, client=client)
    connection.loop.advance(0.24)
    assert connection.wire.calls == ["write_eof"]
    connection.loop.advance(0.02)
    assert connection.wire.calls == ["write_eof", "close"]
    assert connection.events == ["connected", "disconnected"]


def test_a_connection_that_is_lost_meanwhile(connect: Any) -> None:
    connection = failed(connect, secure=True)
    connection.lose(ConnectionResetError())
    connection.loop.advance(1)
    assert connection.events == ["connected", "disconnected"]
