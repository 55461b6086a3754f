"""What threading connections and servers do when something is out of the ordinary: errors, limits, signals."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from typing import Any

import pytest
from fixtures.compat import skip_unless_comparable

skip_unless_comparable()

from fixtures.sync_api import (  # noqa: E402
    OURS,
    TIMEOUT_S,
    both,
    connect,
    echo,
    ending,
    library,
    outcome,
    running,
    serving,
)


@pytest.mark.parametrize("fragments", [[], ["a"], ["a", "b"]], ids=["none", "one", "two"])
def test_another_connection_ends_while_its_messages_are_passed_on(fragments: list[str]) -> None:
    """The iterable raises ConnectionClosed, but this connection is open: it cannot stay in the middle of a message."""

    def scenario(lib: Any) -> Any:
        def passed_on() -> Any:
            yield from fragments
            raise lib.exceptions.ConnectionClosedError(None, None)

        with serving(lib, echo) as serves:
            with connect(lib, serves.uri) as connection:
                facts = [outcome(connection.send, passed_on()), outcome(connection.send, "next"), ending(connection)]
                facts.append(outcome(connection.recv, TIMEOUT_S))
        return facts

    both(scenario)


@pytest.mark.parametrize("option", ["open_timeout", "close_timeout", "ping_interval", "ping_timeout"])
def test_very_long_timeouts(option: str) -> None:
    """poll(2) takes at most 24 days."""

    def scenario(lib: Any) -> Any:
        with serving(lib, echo, **{option: 1e8}) as serves:
            with connect(lib, serves.uri, **{option: 1e8}) as connection:
                connection.send("x")
                assert connection.recv(TIMEOUT_S) == "x"
            return connection.close_code

    both(scenario)


def test_a_server_whose_file_descriptor_is_large() -> None:
    """select(2) takes numbers below 1024."""
    if sys.platform == "win32":
        pytest.skip("Windows has no such numbers")
    import fcntl
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (-1, resource.RLIM_INFINITY) and hard < 2048:
        pytest.skip(f"only {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))

    def scenario(lib: Any) -> Any:
        with socket.create_server(("127.0.0.1", 0)) as low:
            sock = socket.socket(fileno=fcntl.fcntl(low.fileno(), fcntl.F_DUPFD_CLOEXEC, 1100))
            server = lib.server.serve(echo, sock=sock)
            with running(server), connect(lib, f"ws://127.0.0.1:{sock.getsockname()[1]}/") as connection:
                connection.send("x")
                return connection.recv(TIMEOUT_S)

    try:
        both(scenario)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- ours alone: there the server of websockets ends, hangs, or closes nothing ---


def test_a_server_goes_on_where_there_are_too_many_threads(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("picows.websockets.sync.server._ACCEPT_DELAY_S", 0)
    lib = library(OURS)
    start, failures = threading.Thread.start, [RuntimeError("can't start new thread")]

    def start_or_fail(thread: threading.Thread) -> None:
        if thread.name == "websocket-handler" and failures:
            raise failures.pop()
        start(thread)

    with serving(lib, echo) as serves:
        monkeypatch.setattr(threading.Thread, "start", start_or_fail)
        assert outcome(connect, lib, serves.uri)[1] == "InvalidMessage"
        with connect(lib, serves.uri) as connection:
            connection.send("x")
            assert connection.recv(TIMEOUT_S) == "x"
    assert "failed to serve a connection: can't start new thread" in caplog.messages


@pytest.mark.parametrize("goodbye", [(1006, ""), (999, ""), (1000, "x" * 124)], ids=["1006", "999", "long"])
def test_a_shutdown_that_cannot_be_told_does_nothing(goodbye: tuple[int, str]) -> None:
    lib = library(OURS)
    with serving(lib, echo) as serves:
        with connect(lib, serves.uri) as connection:
            assert outcome(serves.server.shutdown, True, *goodbye)[1] == "ProtocolError"
            connection.send("x")
            assert connection.recv(TIMEOUT_S) == "x"


def test_shutdown_in_a_signal_handler() -> None:
    if not hasattr(signal, "SIGUSR1"):
        pytest.skip("Windows has no such signals")
    lib = library(OURS)
    codes: list[int] = []

    def handler(connection: Any) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert connection.wait_closed(TIMEOUT_S)

    def client() -> None:
        connection = connect(lib, f"ws://127.0.0.1:{server.socket.getsockname()[1]}/")
        assert connection.wait_closed(TIMEOUT_S)
        codes.append(connection.close_code)

    server = lib.server.serve(handler, "127.0.0.1", 0)
    before = signal.signal(signal.SIGUSR1, lambda *args: server.shutdown())
    thread = threading.Thread(target=client)
    try:
        thread.start()
        server.serve_forever()
    finally:
        signal.signal(signal.SIGUSR1, before)
    thread.join(TIMEOUT_S)
    assert codes == [1001]
