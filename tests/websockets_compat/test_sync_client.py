"""A client of the threading API, ours and that of websockets 17.4, against peers written by hand: the same happens."""

from __future__ import annotations

import socket
import struct
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
theirs = pytest.importorskip("websockets", reason="websockets is not installed: nothing to compare with")
if theirs.__version__ != "17.4":
    pytest.skip(f"websockets 17.4 is emulated, {theirs.__version__} is installed", allow_module_level=True)

from fixtures.api_cases import ANSWERS, BINARY, CLOSE, CONT, FRAGMENTS, PONG, RECEIVED, TEXT  # noqa: E402
from fixtures.sync_api import (  # noqa: E402
    OURS,
    THEIRS,
    TIMEOUT_S,
    both,
    connect,
    echo,
    ending,
    frame,
    library,
    outcome,
    peer,
    read_frame,
    read_head,
    read_to_end,
    sends,
    serving,
    upgrade,
)


@pytest.mark.parametrize(("frames", "arguments"), RECEIVED.values(), ids=list(RECEIVED))
def test_receiving(frames: list[bytes], arguments: dict[str, Any]) -> None:
    def scenario(lib: Any) -> Any:
        def script(sock: socket.socket) -> None:
            sends(*frames, frame(CLOSE, b"\x03\xe8"))(sock)

        with peer(script) as uri:
            connection = connect(lib, uri, **arguments)
            seen = [outcome(connection.recv)]
            while seen[-1][0] == "returned":
                seen.append(outcome(connection.recv))
            # Their cause depends on who is first: their close_timeout, or the peer's end.
            connection.close()
            return [what[:3] for what in seen], ending(connection)

    both(scenario)


def test_invalid_text() -> None:
    def scenario(lib: Any) -> Any:
        with peer(sends(frame(TEXT, b"\xff"))) as uri:
            connection = connect(lib, uri)
            return outcome(connection.recv), ending(connection)

    both(scenario)


def test_decode() -> None:
    def scenario(lib: Any) -> Any:
        messages = [frame(TEXT, b"a"), frame(BINARY, b"b"), frame(TEXT, b"c"), frame(TEXT, b"d", fin=False)]
        with peer(sends(*messages, frame(CONT, b"e"))) as uri, connect(lib, uri) as connection:
            whole = connection.recv(decode=False), connection.recv(decode=True), connection.recv(TIMEOUT_S)
            return whole, list(connection.recv_streaming(decode=False))

    both(scenario)


def drop(sock: socket.socket) -> None:
    upgrade(sock)
    sock.sendall(frame(TEXT, b"a"))


def reset(sock: socket.socket) -> None:
    upgrade(sock)
    sock.recv(100)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_dropped() -> None:
    def scenario(lib: Any) -> Any:
        with peer(drop) as uri:
            connection = connect(lib, uri)
            seen = [outcome(call) for call in (connection.recv, connection.recv)]
            assert connection.wait_closed(TIMEOUT_S)
            return seen, outcome(connection.send, "x"), outcome(connection.ping), ending(connection)

    both(scenario)


def test_reset() -> None:
    def scenario(lib: Any) -> Any:
        with peer(reset) as uri:
            connection = connect(lib, uri)
            connection.send("x")
            return outcome(connection.recv), ending(connection)

    both(scenario)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=list(ANSWERS))
def test_refused(answer: bytes) -> None:
    def scenario(lib: Any) -> Any:
        def script(sock: socket.socket) -> None:
            read_head(sock)
            sock.sendall(answer)

        with peer(script) as uri:
            return outcome(connect, lib, uri)

    both(scenario)


def read_to_end_only(sock: socket.socket) -> None:
    read_to_end(sock)


def test_opening_timeout() -> None:
    def scenario(lib: Any) -> Any:
        with peer(read_to_end_only) as uri:
            return outcome(connect, lib, uri, open_timeout=0.1)

    both(scenario)


ARGUMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "uri": ("http://127.0.0.1/", {}),
    "compression": ("ws://127.0.0.1:1/", {"compression": "zip"}),
    "subprotocols": ("ws://127.0.0.1:1/", {"subprotocols": "abc"}),
    "ssl": ("ws://127.0.0.1:1/", {"ssl": __import__("ssl").create_default_context()}),
    "proxy": ("ws://127.0.0.1:1/", {"proxy": "ftp://127.0.0.1:1"}),
    "proxy_ssl": ("ws://127.0.0.1:1/", {"proxy": "http://h", "proxy_ssl": __import__("ssl").create_default_context()}),
    "unknown": ("ws://127.0.0.1:1/", {"foo": 1}),
    "nobody there": ("ws://127.0.0.1:1/", {}),
}


@pytest.mark.parametrize(("uri", "arguments"), ARGUMENTS.values(), ids=list(ARGUMENTS))
def test_arguments(uri: str, arguments: dict[str, Any]) -> None:
    both(lambda lib: outcome(connect, lib, uri, **arguments))


def test_unix_needs_a_path() -> None:
    both(lambda lib: outcome(lib.client.unix_connect, legacy=True))


def test_misuse() -> None:
    def scenario(lib: Any) -> Any:
        with serving(lib, echo) as server, connect(lib, server.uri) as connection:
            calls = [
                outcome(connection.send, {}),
                outcome(connection.send, 1),
                outcome(connection.ping, {}),
                outcome(connection.pong, 1),
                outcome(connection.ping, b"x" * 126),
                outcome(connection.close, 5),
                outcome(connection.close, 1000, "x" * 124),
                outcome(connection.send, []),
            ]
            return calls, connection.state.name

    both(scenario)


@pytest.mark.parametrize("fragments", FRAGMENTS.values(), ids=list(FRAGMENTS))
def test_sending_fragments(fragments: Callable[[], Any]) -> None:
    def scenario(lib: Any) -> Any:
        with peer(sends()) as uri:
            connection = connect(lib, uri)
            seen = outcome(connection.send, fragments())
            connection.close()
            return seen, ending(connection)

    both(scenario)


def test_legacy_warning() -> None:
    def scenario(lib: Any) -> Any:
        said = []
        with serving(lib, echo) as server, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for use in ("send", "recv", "ping", "pong", "close", "wait_closed"):
                connection = lib.client.connect(server.uri, proxy=None)
                if use == "wait_closed":
                    connection.wait_closed(0)
                else:
                    getattr(connection, use)(*{"send": ["x"], "recv": [0]}.get(use, [])) if use != "recv" else outcome(
                        connection.recv, 0
                    )
                said.append([(str(w.message), w.category.__name__, w.filename == __file__) for w in caught])
                connection.close()
                caught.clear()
            with lib.client.connect(server.uri, proxy=None) as connection:
                connection.send("x")
            connector = lib.client.connect(server.uri, proxy=None, legacy=False)
            with connector as connection:
                connection.send("x")
            return said, len(caught), type(connector).__name__

    both(scenario)


@pytest.mark.parametrize("name", [OURS, THEIRS])
def test_concurrent_receiving(name: str) -> None:
    lib = library(name)
    with serving(lib, echo) as server, connect(lib, server.uri) as connection:
        connection.send("a")
        stream = connection.recv_streaming()
        assert next(stream) == "a"
        text = "cannot call recv while another thread is already running recv or recv_streaming"
        with pytest.raises(lib.exceptions.ConcurrencyError, match=text):
            connection.recv()
        text = text.replace("recv while", "recv_streaming while")
        with pytest.raises(lib.exceptions.ConcurrencyError, match=text):
            next(connection.recv_streaming())
        list(stream)


def test_pings() -> None:
    def scenario(lib: Any) -> Any:
        asked = threading.Event()

        def script(sock: socket.socket) -> None:
            upgrade(sock)
            for _ in range(3):
                read_frame(sock)
            assert asked.wait(TIMEOUT_S)
            sock.sendall(frame(PONG, b"b") + frame(PONG, b"?") + frame(TEXT, b"x"))
            read_to_end(sock)

        with peer(script) as uri:
            connection = connect(lib, uri, close_timeout=0.1)
            first, second = connection.ping("a"), connection.ping(b"b")
            third = connection.ping("c", ack_on_close=True)
            twice = outcome(connection.ping, "c")
            asked.set()
            assert connection.recv() == "x"
            before = first.is_set(), second.is_set(), third.is_set()
            latency = connection.latency > 0
            connection.close()
            return twice, before, latency, third.is_set(), ending(connection)

    both(scenario)


@pytest.mark.parametrize("name", [OURS, THEIRS])
def test_close_interrupts_recv(name: str) -> None:
    lib = library(name)
    seen: list[Any] = []
    with serving(lib, echo) as server, connect(lib, server.uri) as connection:
        thread = threading.Thread(target=lambda: seen.append(outcome(connection.recv)))
        thread.start()
        connection.close(4001, "why")
        thread.join(TIMEOUT_S)
    assert seen[0][:2] == ("raised", "ConnectionClosedError")
    assert "sent 4001 (private use) why" in seen[0][2]


def silent(sock: socket.socket) -> None:
    upgrade(sock)
    read_to_end(sock)


def test_close_timeout() -> None:
    def scenario(lib: Any) -> Any:
        with peer(silent) as uri:
            connection = connect(lib, uri, close_timeout=0.1)
            return outcome(connection.close), ending(connection), outcome(connection.recv)

    both(scenario)


def test_keepalive_gives_up() -> None:
    def scenario(lib: Any) -> Any:
        with peer(silent) as uri:
            connection = connect(lib, uri, ping_interval=0.05, ping_timeout=0.05, close_timeout=0.1)
            return outcome(connection.recv)[:3], ending(connection)

    both(scenario)


@pytest.mark.parametrize("name", [OURS, THEIRS])
def test_keepalive_measures(name: str) -> None:
    pinged = threading.Event()

    def script(sock: socket.socket) -> None:
        upgrade(sock)
        _, payload = read_frame(sock)
        pinged.set()
        sock.sendall(frame(PONG, payload) + frame(TEXT, b"x") + frame(CLOSE))
        read_to_end(sock)

    with peer(script) as uri, connect(library(name), uri, ping_interval=0.2, close_timeout=0.1) as connection:
        assert connection.latency == 0
        assert connection.recv() == "x"
        assert pinged.is_set()
        assert 0 < connection.latency < TIMEOUT_S


def test_messages_before_close_are_received() -> None:
    def scenario(lib: Any) -> Any:
        with peer(sends(*(frame(TEXT, b"%d" % i) for i in range(5)))) as uri:
            connection = connect(lib, uri)
            first = connection.recv()
            connection.close()
            return first, [connection.recv() for _ in range(4)], outcome(connection.recv)

    both(scenario)


def test_full_queue_stops_reading_and_close_goes_on() -> None:
    """Theirs waits for close_timeout here, because it does not read any more."""
    lib = library(OURS)
    with peer(sends(*(frame(TEXT, b"%d" % i) for i in range(50)))) as uri:
        connection = connect(lib, uri, max_queue=(4, 2))
        assert connection.recv() == "0"
        connection.close()
        rest = [outcome(connection.recv) for _ in range(50)]
    assert [what[1] for what in rest[:49]] == [str(i) for i in range(1, 50)]
    assert rest[49][1] == "ConnectionClosedError"  # the peer hangs up without a CLOSE frame


@pytest.mark.parametrize("name", [OURS, THEIRS])
def test_full_queue_pauses(name: str) -> None:
    lib = library(name)
    paused, size = threading.Event(), 64 * 1024
    sent: list[int] = []

    def script(sock: socket.socket) -> None:
        upgrade(sock)
        sock.settimeout(0.3)
        try:
            while True:
                sock.sendall(frame(BINARY, bytes(size)))
                sent.append(1)
        except TimeoutError:
            paused.set()

    with peer(script) as uri:
        connection = connect(lib, uri, max_queue=2, close_timeout=0.1)
        assert paused.wait(TIMEOUT_S)
        connection.close()
    assert len(sent) < 1000
