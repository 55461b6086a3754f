"""W6: whatever is wrong with the arguments is a TypeError or a ValueError, and nothing was opened."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from typing import Any

import pytest
from fixtures.sockets import Net, Recorder, unix_only

from picows import WSInvalidURL, ws_connect, ws_create_server

URL = "ws://127.0.0.1:1/"

# Of both functions.
COMMON = [
    ("max_frame_size", 0, ValueError),
    ("max_frame_size", -1, ValueError),
    ("max_frame_size", 1.5, TypeError),
    ("max_frame_size", None, TypeError),
    ("max_frame_size", True, TypeError),
    ("read_buffer_init_size", 0, ValueError),
    ("read_buffer_init_size", "1", TypeError),
    ("max_write_buffer_size", 0, ValueError),
    ("max_write_buffer_size", 1.0, TypeError),
    ("close_timeout", 0, ValueError),
    ("close_timeout", -1, ValueError),
    ("close_timeout", float("nan"), ValueError),
    ("close_timeout", "10", TypeError),
    ("websocket_handshake_timeout", 0, ValueError),
    ("websocket_handshake_timeout", -0.5, ValueError),
    ("websocket_handshake_timeout", float("nan"), ValueError),
    ("websocket_handshake_timeout", "5", TypeError),
    ("websocket_handshake_timeout", True, TypeError),
    ("open_timeout", 0, ValueError),
    ("open_timeout", b"5", TypeError),
    ("auto_ping_strategy", 0, ValueError),
    ("auto_ping_strategy", 3, ValueError),
    ("auto_ping_strategy", "idle", ValueError),
    ("auto_ping_idle_timeout", 0, ValueError),
    ("auto_ping_idle_timeout", "1", TypeError),
    ("auto_ping_reply_timeout", -1, ValueError),
    ("auto_ping_reply_timeout", [], TypeError),
    ("logger_name", 5, TypeError),
    ("logger_name", b"name", TypeError),
]

CLIENT = [
    *COMMON,
    ("extra_headers", b"X: y", TypeError),
    ("extra_headers", "X: y", TypeError),
    ("extra_headers", [("X", "y", "z")], TypeError),
    ("extra_headers", ["Xy"], TypeError),
    ("extra_headers", {b"X": "y"}, TypeError),
    ("extra_headers", {"X": b"y"}, TypeError),
    ("extra_headers", {"X": None}, TypeError),
    ("extra_headers", 5, TypeError),
    ("extra_headers", {"X": "a\r\nY: b"}, ValueError),
    ("extra_headers", {"X": "a\nb"}, ValueError),
    ("extra_headers", {"X": "a\0b"}, ValueError),
    ("extra_headers", {"X\r\nY": "a"}, ValueError),
    ("extra_headers", {"X Y": "a"}, ValueError),
    ("extra_headers", {"": "a"}, ValueError),
    ("extra_headers", [("Host", "a"), ("host", "b")], ValueError),
    ("extra_headers", {"Sec-WebSocket-Extensions": "a;;b"}, ValueError),
    ("max_redirects", -1, ValueError),
    ("max_redirects", 1.5, TypeError),
    ("max_redirects", None, TypeError),
    ("proxy", "ftp://127.0.0.1:1", ValueError),
    ("proxy", 5, TypeError),
    ("proxy_ssl_context", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ValueError),
    ("proxy_ssl_context", 5, TypeError),
    ("ssl", True, TypeError),
    ("sock", None, TypeError),
    ("host", "127.0.0.1", TypeError),
    ("port", 80, TypeError),
    ("all_errors", True, TypeError),
    ("protocol_factory", None, TypeError),
    ("ssl_context", 5, TypeError),
    ("ssl_context", True, TypeError),
    ("socket_factory", 5, TypeError),
    ("path", 5, TypeError),
    ("server_hostname", "target.test", ValueError),
    ("ssl_handshake_timeout", 5, ValueError),
]

SERVER = [*COMMON, ("path", 5, TypeError)]


def ids(table: list[Any]) -> list[str]:
    return [
        f"{name}={type(value).__name__ if isinstance(value, ssl.SSLContext) else repr(value)}"
        for name, value, _ in table
    ]


@pytest.fixture
def no_sockets(local: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way to a connection fails, so that a bad argument which is noticed late is noticed here."""

    async def open_nothing(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a connection was opened")

    loop = local.new_loop()
    loop.close()
    loop_class = type(loop)
    for name in ("create_connection", "create_server", "create_unix_connection", "create_unix_server", "getaddrinfo"):
        monkeypatch.setattr(loop_class, name, open_nothing)


@pytest.mark.parametrize(("name", "value", "error"), CLIENT, ids=ids(CLIENT))
async def test_W6_client(local: Net, no_sockets: None, name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        await ws_connect(Recorder, URL, use_aiofastnet=False, **{name: value})
    assert type(caught.value) in (TypeError, ValueError, WSInvalidURL)


@pytest.mark.parametrize(("name", "value", "error"), SERVER, ids=ids(SERVER))
async def test_W6_server(local: Net, no_sockets: None, name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        address = () if name == "path" else ("127.0.0.1", 0)
        await ws_create_server(lambda request: None, *address, use_aiofastnet=False, **{name: value})
    assert type(caught.value) in (TypeError, ValueError)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "127.0.0.1",
        "ws://",
        "ws:///path",
        "ws://a:70000/",
        "ws://a:x/",
        "ws://a/#fragment",
        "ws://a/\r\nX: y",
        "ws://a b/",
        "ws://[::1/",
        "ws://u:p%zz@a/",
    ],
)
async def test_W6_W8_url(local: Net, no_sockets: None, url: str) -> None:
    with pytest.raises(WSInvalidURL):
        await ws_connect(Recorder, url, use_aiofastnet=False)


@pytest.mark.parametrize("url", [b"ws://127.0.0.1/", None, 5])
async def test_W6_url_type(local: Net, no_sockets: None, url: Any) -> None:
    with pytest.raises(TypeError):
        await ws_connect(Recorder, url, use_aiofastnet=False)


@pytest.mark.parametrize("factory", [None, 5, "Recorder"])
async def test_W6_factory_that_cannot_be_called(local: Net, no_sockets: None, factory: Any) -> None:
    with pytest.raises(TypeError):
        await ws_connect(factory, URL, use_aiofastnet=False)
    with pytest.raises(TypeError):
        await ws_create_server(factory, "127.0.0.1", 0, use_aiofastnet=False)


@pytest.mark.parametrize("value", [5, 5.0, None, 7])
async def test_P6_both_names_of_the_timeout(local: Net, no_sockets: None, value: Any) -> None:
    """Also where both are the same, or the value is the default."""
    both = {"websocket_handshake_timeout": value, "open_timeout": value}
    with pytest.raises(TypeError, match="two names"):
        await ws_connect(Recorder, URL, **both)
    with pytest.raises(TypeError, match="two names"):
        await ws_create_server(lambda request: None, "127.0.0.1", 0, **both)


async def test_W6_reply_timeout_above_the_idle_timeout(local: Net, no_sockets: None) -> None:
    options: Any = {"enable_auto_ping": True, "auto_ping_idle_timeout": 1, "auto_ping_reply_timeout": 2}
    with pytest.raises(ValueError, match="reply_timeout"):
        await ws_connect(Recorder, URL, **options)
    with pytest.raises(ValueError, match="reply_timeout"):
        await ws_create_server(lambda request: None, "127.0.0.1", 0, **options)


async def test_W6_path_excludes_other_ways(local: Net, no_sockets: None) -> None:
    for name, value in (("proxy", "http://127.0.0.1:1"), ("socket_factory", lambda url: None)):
        with pytest.raises(ValueError, match="path"):
            await ws_connect(Recorder, URL, path="/nowhere", **{name: value})
    with pytest.raises(ValueError, match="path"):
        await ws_create_server(lambda request: None, "127.0.0.1", 0, path="/nowhere", use_aiofastnet=False)


@pytest.mark.parametrize("way", ["direct", "path", "socket_factory", "proxy"])
@pytest.mark.parametrize("name", ["server_hostname", "ssl_handshake_timeout", "ssl_shutdown_timeout"])
async def test_W6_tls_arguments_for_a_plain_url(local: Net, no_sockets: None, name: str, way: str) -> None:
    """Refused alike, whichever way leads to the server; None is the default of all of them."""
    ways: Any = {"path": "/nowhere", "socket_factory": no_socket, "proxy": "http://127.0.0.1:1"}
    options = {} if way == "direct" else {way: ways[way]}
    with pytest.raises(ValueError, match=f"{name} is about TLS: it needs a wss URL, got 'ws://127.0.0.1:1/'"):
        await ws_connect(Recorder, URL, use_aiofastnet=False, **options, **{name: 5})
    with pytest.raises(AssertionError, match="a connection was opened"):
        await ws_connect(Recorder, URL, use_aiofastnet=False, **options, **{name: None})


def no_socket(url: Any) -> None:
    raise AssertionError("a connection was opened")


async def test_W6_aiofastnet_that_is_missing(local: Net, no_sockets: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from picows import transports

    monkeypatch.setattr(transports, "_import_aiofastnet", lambda: None)
    with pytest.raises(ValueError, match="aiofastnet"):
        await ws_connect(Recorder, URL, use_aiofastnet=True)
    with pytest.raises(ValueError, match="aiofastnet"):
        await ws_create_server(lambda request: None, "127.0.0.1", 0, use_aiofastnet=True)


async def test_the_deprecated_argument_is_taken(local: Net) -> None:
    server = await local.serve(lambda request: Recorder())
    await local.connect(Recorder, server, zero_copy_unsafe_ssl_write=True)


@unix_only
async def test_bad_arguments_open_nothing(local: Net, tmp_path: Any) -> None:
    """The same without a fixture that forbids it: a server that would see the connection."""
    seen = []
    path = str(tmp_path / "s")
    server = await local.serve(lambda request: seen.append(request), path=path, use_aiofastnet=False)
    with pytest.raises(TypeError):
        await ws_connect(Recorder, URL, path=path, extra_headers={"X": b"y"})
    with pytest.raises(ValueError):
        await ws_connect(Recorder, URL, path=path, auto_ping_strategy=9)
    assert not seen
    assert not server.connections


PROGRAM = """
import asyncio, sys
from picows import WSListener, ws_connect, ws_create_server
assert False, "not with -O"
CASES = [("max_frame_size", 0), ("auto_ping_strategy", 7), ("close_timeout", "x"), ("extra_headers", b"x"),
         ("ssl", True), ("open_timeout", -1), ("max_redirects", -1), ("proxy", "x://y"), ("sock", None),
         ("all_errors", True)]
async def main():
    for name, value in CASES:
        try:
            await ws_connect(WSListener, "ws://127.0.0.1:1/", **{name: value})
        except (TypeError, ValueError):
            print("ok", name)
    for name, value in CASES[:3]:
        try:
            await ws_create_server(WSListener, "127.0.0.1", 0, **{name: value})
        except (TypeError, ValueError):
            print("ok", name)
asyncio.run(main())
"""


def test_W6_without_asserts() -> None:
    """`python -O` removes assert statements; no check may be one of them."""
    result = subprocess.run(
        [sys.executable, "-O", "-W", "error", "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.stderr == ""
    assert result.stdout.count("ok ") == 13
