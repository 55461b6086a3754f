"""Hooks of threading servers while clients leave or the server shuts down: the same as with websockets 17.4."""

from __future__ import annotations

import logging
import select
import socket
import struct
import threading
from typing import Any

import pytest
from fixtures.compat import skip_unless_comparable

skip_unless_comparable()

from fixtures.sync_api import OURS, TIMEOUT_S, ask, both, read_head, read_to_end, serving, stable  # noqa: E402

GET = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
OUTCOMES = ["accepts", "refuses", "raises"]
HOOKS = ["process_request", "process_response"]


class _Bug(Exception):
    """What a hook raises."""


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says, each line once: `running` connects once more."""
    return sorted({stable(record.getMessage()) for record in caplog.records})


def answered(connection: Any, outcome: str) -> Any:
    """What a hook makes of a request."""
    if outcome == "raises":
        raise _Bug
    return connection.respond(403, "no") if outcome == "refuses" else None


def leave(sock: socket.socket, by: str) -> None:
    """Close a connection, or one direction, or have it reset."""
    if by == "half":
        sock.shutdown(socket.SHUT_WR)
        return
    if by == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def see_it_leave(lib: Any, connection: Any) -> None:
    """Wait until the client of this connection has left; in theirs a thread reads that already."""
    if lib.name == OURS:
        assert select.select([connection.socket], [], [], TIMEOUT_S)[0]
    else:
        assert connection.wait_closed(TIMEOUT_S)


@pytest.mark.parametrize("by", ["end", "half", "reset"])
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("during", HOOKS)
def test_a_client_that_leaves_during_a_hook(
    during: str, outcome: str, by: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def scenario(lib: Any) -> Any:
        caplog.clear()
        seen: list[Any] = []
        has_begun = threading.Event()

        def outlive(connection: Any) -> Any:
            has_begun.set()
            see_it_leave(lib, connection)
            return answered(connection, outcome)

        def process_request(connection: Any, request: Any) -> Any:
            seen.append(connection)
            return outlive(connection) if during == "process_request" else None

        def process_response(connection: Any, request: Any, response: Any) -> Any:
            seen.append(response.status_code)
            return outlive(connection) if during == "process_response" else None

        def handler(connection: Any) -> None:
            seen.append("a handler ran")

        hooks = {"process_request": process_request, "process_response": process_response}
        with serving(lib, handler, **hooks) as serves:
            with socket.create_connection(("127.0.0.1", serves.port), TIMEOUT_S) as sock:
                sock.sendall(GET)
                assert has_begun.wait(TIMEOUT_S)
                leave(sock, by)
                answer = read_to_end(sock) if by == "half" else b""
        connection = seen.pop(0)
        seen.append((connection.state.name, connection.close_code, connection.close_reason))
        return seen, answer, logged(caplog)

    both(scenario)
    assert not any("connection open" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("close_connections", [True, False])
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("during", HOOKS)
def test_shutdown_lets_hooks_finish(
    during: str, outcome: str, close_connections: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def scenario(lib: Any) -> Any:
        caplog.clear()
        seen: list[Any] = []
        answers: list[bytes] = []
        has_begun, go_on = threading.Event(), threading.Event()

        def decide(connection: Any) -> Any:
            has_begun.set()
            assert go_on.wait(TIMEOUT_S)
            seen.append("decided")
            return answered(connection, outcome)

        def process_request(connection: Any, request: Any) -> Any:
            seen.append(connection)
            return decide(connection) if during == "process_request" else None

        def process_response(connection: Any, request: Any, response: Any) -> Any:
            seen.append(response.status_code)
            return decide(connection) if during == "process_response" else None

        server = lib.server.serve(
            lambda connection: None, "127.0.0.1", 0, process_request=process_request, process_response=process_response
        )
        port = server.socket.getsockname()[1]
        threads = [
            threading.Thread(target=server.serve_forever),
            threading.Thread(target=lambda: answers.append(ask(port))),
            threading.Thread(target=server.shutdown, args=(close_connections,)),
        ]
        for thread in threads[:2]:
            thread.start()
        assert has_begun.wait(TIMEOUT_S)
        threads[2].start()
        threads[0].join(TIMEOUT_S)  # it does not accept any more
        go_on.set()
        for thread in threads:
            thread.join(TIMEOUT_S)
        connection = seen.pop(0)
        seen.append((connection.response.status_code, connection.close_code))
        return answers, seen, logged(caplog)

    both(scenario)


@pytest.mark.parametrize("size", [5, 200_000])
def test_what_is_sent_ahead_is_received(size: int) -> None:
    """What a hurried client sends while a hook decides; in part before, and in part after we stop looking."""
    message = b"x" * size
    head = b"\x82\x85" if size == 5 else b"\x82\xff" + struct.pack("!Q", size)

    def scenario(lib: Any) -> Any:
        received: list[Any] = []
        has_begun, go_on, is_done = threading.Event(), threading.Event(), threading.Event()

        def process_request(connection: Any, request: Any) -> None:
            has_begun.set()
            assert go_on.wait(TIMEOUT_S)

        def handler(connection: Any) -> None:
            received.append(connection.recv(TIMEOUT_S))
            is_done.set()

        with serving(lib, handler, process_request=process_request) as serves:
            with socket.create_connection(("127.0.0.1", serves.port), TIMEOUT_S) as sock:
                sock.sendall(GET)
                assert has_begun.wait(TIMEOUT_S)
                sock.sendall(head + bytes(4) + message[:1000])
                go_on.set()
                sock.sendall(message[1000:])
                assert read_head(sock).startswith(b"HTTP/1.1 101 ")
                assert is_done.wait(TIMEOUT_S)
        return received

    both(scenario)
