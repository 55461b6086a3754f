"""Names and levels of what a connection logs."""

from __future__ import annotations

import gc
import logging
import socket
from typing import Any

import pytest
from fixtures.wire import BINARY, TEXT

from picows.enums import PICOWS_DEBUG_LL
from picows.options import resolve_logger


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, "picows.server"),
        ("mine", "picows.mine"),
        (logging.getLogger("application.sockets"), "application.sockets"),
    ],
    ids=["default", "name", "logger"],
)
def test_each_connection_has_a_child_logger(connect: Any, given: Any, name: str, caplog: Any) -> None:
    """Named after the descriptor, and unknown to the logging module, which would keep it for ever."""
    caplog.set_level(logging.INFO)
    ours, peers = socket.socketpair()
    with ours, peers:
        connection = connect(sock=ours, logger=resolve_logger(given, "server"))
        connection.feed_frame(3)
        connection.lose()
        expected = f"{name}.{ours.fileno()}"
    assert {record.name for record in caplog.records} == {expected}
    assert {record.levelno for record in caplog.records} == {logging.INFO, logging.ERROR}
    assert expected not in logging.root.manager.loggerDict


def test_without_a_descriptor_it_is_the_logger_itself(connect: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    connect().feed_frame(3)
    assert {record.name for record in caplog.records} == {"picows.test"}


def test_an_adapter_is_used_as_it_is(connect: Any, caplog: Any) -> None:
    class Adapter(logging.LoggerAdapter):  # type: ignore[type-arg]
        def process(self, msg: Any, kwargs: Any) -> Any:
            return f"[{self.extra['user']}] {msg}", kwargs  # type: ignore[index]

    caplog.set_level(logging.INFO)
    ours, peers = socket.socketpair()
    with ours, peers:
        adapter = Adapter(logging.getLogger("application"), {"user": "ann"})
        connection = connect(sock=ours, logger=adapter)
        connection.feed_frame(3)
        connection.lose()
    assert {record.name for record in caplog.records} == {"application"}
    assert all(record.getMessage().startswith("[ann] ") for record in caplog.records)


def test_what_is_logged(connect: Any, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    connection = connect(client=True)
    connection.feed_frame(3)
    connection.transport.send(TEXT, b"x")
    connection.transport.send_close()
    connection.transport.disconnect()
    connection.transport.send_ping()
    connection.lose(ConnectionResetError("reset by peer"))
    messages = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in messages] == ["INFO", "ERROR", "DEBUG", "DEBUG", "DEBUG", "INFO"]
    assert "127.0.0.1" in messages[0][1]
    assert "plain" in messages[0][1]
    assert "1002" in messages[1][1]
    assert "opcode 3" in messages[1][1]
    assert "send after CLOSE" in messages[2][1]
    assert "send_close after CLOSE" in messages[3][1]
    assert "send_ping after disconnect" in messages[4][1]
    assert "reset by peer" in messages[5][1]


def test_tls_is_mentioned(connect: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    connect(secure=True)
    assert "TLS" in caplog.records[0].getMessage()


def test_K4_one_record_for_a_peer_that_sends_rubbish(connect: Any, caplog: Any) -> None:
    connection = connect()
    for _ in range(1000):
        connection.feed(b"\xff" * 50)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("reading", ["buffered", "stream"])
@pytest.mark.parametrize("opens", [True, False])
def test_bytes_are_logged_at_level_9(connect: Any, reading: str, opens: bool, caplog: Any) -> None:
    caplog.set_level(PICOWS_DEBUG_LL)
    connection = connect(reading=reading, opens=opens)
    caplog.clear()
    data = connection.frame(TEXT, b"x" * 20)
    connection.feed(data)
    (record,) = caplog.records
    assert record.levelno == PICOWS_DEBUG_LL
    assert repr(data)[2:-1] in record.getMessage()


@pytest.mark.parametrize("reading", ["buffered", "stream"])
def test_W9_credentials_that_come_in_two_reads_are_not_logged(connect: Any, reading: str, caplog: Any) -> None:
    caplog.set_level(PICOWS_DEBUG_LL)
    head = b"GET /path HTTP/1.1\r\nAuthorization: Basic SECRET\r\nX-Shown: one\r\nCookie: SECRET\r\nX-Too: two\r\n"
    for cut in range(1, len(head)):
        caplog.clear()
        connection = connect(reading=reading, opens=False)
        connection.feed(head[:cut], head[cut:])
        connection.loop.settle()
        logged = "".join(record.getMessage() for record in caplog.records)
        assert not any(part in logged for part in ("SEC", "CRE", "RET")), cut
        assert "one" in logged or "two" in logged


@pytest.mark.parametrize("reading", ["buffered", "stream"])
def test_logging_bytes_does_not_change_what_is_read(connect: Any, reading: str, caplog: Any) -> None:
    caplog.set_level(PICOWS_DEBUG_LL)
    connection = connect(reading=reading)
    large = connection.frame(BINARY, bytes(10_000))
    connection.feed(connection.frame(TEXT, b"a") + large[:6000], large[6000:], connection.frame(TEXT, b"b"))
    assert [len(message.payload) for message in connection.messages] == [1, 10_000, 1]


def test_nothing_is_logged_above_info_in_a_quiet_life(connect: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    connection = connect()
    connection.feed_frame(TEXT, b"x")
    connection.transport.send(TEXT, b"x")
    connection.feed_frame(8)
    connection.transport.send_close()
    connection.transport.disconnect()
    connection.loop.settle()
    gc.collect(0)
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.INFO]
