"""T14 is about every public coroutine: what there is, and which test cancels it, or why none does.

A coroutine function is public if neither its name nor that of its class begins with an underscore, and if one of the
modules below defines it or exports its class. Of the special methods those count that are awaited.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import warnings
from pathlib import Path
from typing import Any, Dict, Iterator, List, Set, Tuple

import pytest

HERE = Path(__file__).parent
CORE = ["picows", "picows.client", "picows.server", "picows.proxy"]
DROP_IN = [f"picows.websockets.asyncio.{name}" for name in ("client", "server", "connection", "router")]
TRIO = [f"picows.websockets.trio.{name}" for name in ("client", "server", "connection", "router")]
LEGACY = [f"picows.websockets.legacy.{name}" for name in ("client", "server", "protocol", "auth")]
SPECIAL = {"__aenter__", "__aexit__", "__aiter__", "__anext__", "__await__"}

CONNECTIONS, SERVERS = "test_cancellation.py", "test_cancellation_servers.py"
ENDS, OPENINGS = "test_cancellation_drop_in.py", "test_cancellation_openings.py"
ON_TRIO, ON_LEGACY = "test_cancellation_trio.py", "test_cancellation_legacy.py"
#: Name of a coroutine -> file, test, and the call that the test must have.
CORE_TESTS: Dict[str, Tuple[str, str, str]] = {
    "WSMessageListener.__aiter__": (CONNECTIONS, "iterating", "async for message in scene.listener"),
    "WSMessageListener.close": (CONNECTIONS, "close", "scene.listener.close()"),
    "WSMessageListener.recv": (CONNECTIONS, "recv", "scene.listener.recv()"),
    "WSMessageListener.recv_streaming": (CONNECTIONS, "recv_streaming", "scene.listener.recv_streaming()"),
    "WSMessageListener.send": (CONNECTIONS, "send", "scene.listener.send(message)"),
    "WSMessageListener.send_fragments": (CONNECTIONS, "send_fragments", "scene.listener.send_fragments("),
    "WSServer.__aenter__": (SERVERS, "async_with", "async with await room.open() as server"),
    "WSServer.__aexit__": (SERVERS, "async_with", "async with await room.open() as server"),
    "WSServer.close": (CONNECTIONS, "server_close", "server.close(close_timeout=5)"),
    "WSServer.serve_forever": (SERVERS, "serve_forever", "server.serve_forever()"),
    "WSServer.start_serving": (SERVERS, "start_serving", "server.start_serving()"),
    "WSServer.wait_closed": (SERVERS, "wait_closed", "run_cancelled(server.wait_closed()"),
    "WSTransport.measure_roundtrip_time": (CONNECTIONS, "measure_roundtrip_time", "measure_roundtrip_time(5, 3)"),
    "WSTransport.wait_disconnected": (CONNECTIONS, "wait_disconnected", "transport.wait_disconnected()"),
    "connect_via_proxy": (SERVERS, "ws_connect_through_a_proxy", "'proxy': proxy.url()"),
    "ws_connect": (CONNECTIONS, "ws_connect", "ws_connect("),
    "ws_create_server": (CONNECTIONS, "ws_create_server", "ws_create_server("),
}
DROP_IN_TESTS: Dict[str, Tuple[str, str, str]] = {
    "Connection.__aenter__": (ENDS, "session", "async with stage.connect() as connection"),
    "Connection.__aexit__": (ENDS, "session", "async with stage.connect() as connection"),
    "Connection.__aiter__": (ENDS, "iterating", "async for message in connection"),
    "Connection.close": (ENDS, "closing", "getattr(connection, method)()"),
    "Connection.ping": (ENDS, "ping", "connection.ping('the same')"),
    "Connection.pong": (OPENINGS, "pong", "connection.pong("),
    "Connection.recv": (ENDS, "recv", "connection.recv()"),
    "Connection.recv_streaming": (ENDS, "recv_streaming", "connection.recv_streaming()"),
    "Connection.send": (ENDS, "send", "connection.send(message)"),
    "Connection.wait_closed": (ENDS, "closing", "getattr(connection, method)()"),
    "ClientConnection.handshake": (ENDS, "connect", "stage.connect()"),
    "Server.__aenter__": (OPENINGS, "unix_serve", "async with library.unix_serve("),
    "Server.__aexit__": (OPENINGS, "unix_serve", "async with library.unix_serve("),
    "Server.__await__": (ENDS, "serve", "await library.serve("),
    "Server.serve_forever": (ENDS, "server_ends", "server.serve_forever()"),
    "Server.start_serving": (OPENINGS, "start_serving", "server.start_serving()"),
    "Server.wait_closed": (ENDS, "server_ends", "server.wait_closed()"),
    "connect.__aenter__": (ENDS, "session", "async with stage.connect() as connection"),
    "connect.__aexit__": (ENDS, "session", "async with stage.connect() as connection"),
    "connect.__aiter__": (OPENINGS, "connecting_again", "async for connection in them"),
    "connect.__await__": (ENDS, "connect", "await stage.connect()"),
    "connect.connect": (ENDS, "connect", "await stage.connect()"),  # which __await__ is
    "connect.open_tcp_connection": (OPENINGS, "connect_through_a_proxy", "stage.connect(proxy=proxy.url())"),
    # Not coroutine functions themselves: what they return is awaited.
    "unix_connect": (OPENINGS, "unix_connect", "library.unix_connect(path"),
    "unix_serve": (OPENINGS, "unix_serve", "library.unix_serve("),
    "serve(process_request=)": (OPENINGS, "hooks", "process_request"),
    "serve(process_response=)": (OPENINGS, "hooks", "{hook: wait}"),
    "basic_auth(check_credentials=)": (OPENINGS, "hooks", "check_credentials=wait"),
}
_SESSION = (ON_TRIO, "trio_session", "async with stage.connect(point, ssl=")
TRIO_TESTS: Dict[str, Tuple[str, str, str]] = {
    "Connection.__aenter__": _SESSION,
    "Connection.__aexit__": _SESSION,
    "Connection.__aiter__": (ON_TRIO, "trio_recv", "async for message in connection"),
    "Connection.aclose": (ON_TRIO, "trio_closing", "getattr(connection, method)()"),
    "Connection.ping": (ON_TRIO, "trio_pings", "await connection.ping("),
    "Connection.pong": (ON_TRIO, "trio_pings", "connection.pong("),
    "Connection.recv": (ON_TRIO, "trio_recv", "await connection.recv()"),
    "Connection.recv_streaming": (ON_TRIO, "trio_recv_streaming", "connection.recv_streaming()"),
    "Connection.send": (ON_TRIO, "trio_send", "connection.send(message)"),
    "Connection.wait_closed": (ON_TRIO, "trio_closing", "getattr(connection, method)()"),
    "ClientConnection.handshake": _SESSION,
    "ServerConnection.handshake": (ON_TRIO, "trio_hooks", "{hook: wait}"),
    "Server.__aenter__": (ON_TRIO, "trio_server_closing", "async with server"),
    "Server.__aexit__": (ON_TRIO, "trio_server_closing", "async with server"),
    "Server.aclose": (ON_TRIO, "trio_server_closing", "server.aclose()"),
    "Server.serve_forever": (ON_TRIO, "trio_serve", "LIB.server.serve("),  # the last that `serve` awaits
    "broadcast": (ON_TRIO, "trio_broadcast", "LIB.server.broadcast("),
    "connect.__aenter__": _SESSION,
    "connect.__aexit__": _SESSION,
    "connect.__aiter__": (ON_TRIO, "trio_connecting_again", "async for connection in them"),
    "connect.connect": _SESSION,
    "connect.enable_tls": _SESSION,
    "connect.open_connection": _SESSION,
    "connect.open_tcp_stream": (ON_TRIO, "trio_connect_through_a_proxy", "stage.connect(point, proxy=proxy)"),
    "serve": (ON_TRIO, "trio_serve", "LIB.server.serve("),
}
_OLD_SESSION = (ON_LEGACY, "legacy_session", "async with client(server, point) as connection")
#: Those of every class of connections, of `connect` and of `serve`, which have two names each, and of the server.
LEGACY_TESTS: Dict[str, Tuple[str, str, str]] = {
    "connection.__aiter__": (ON_LEGACY, "legacy_recv", "async for message in connection"),
    "connection.close": (ON_LEGACY, "legacy_closing", "getattr(connection, method)()"),
    "connection.handshake": _OLD_SESSION,
    "connection.ping": (ON_LEGACY, "legacy_pings", "connection.ping()"),
    "connection.pong": (ON_LEGACY, "legacy_pings", "connection.pong("),
    "connection.process_request": (ON_LEGACY, "legacy_session", "{hook: slow}"),
    "connection.recv": (ON_LEGACY, "legacy_recv", "connection.recv()"),
    "connection.send": (ON_LEGACY, "legacy_send", "connection.send(part)"),
    "connection.wait_closed": (ON_LEGACY, "legacy_closing", "getattr(connection, method)()"),
    "connect.__aenter__": _OLD_SESSION,
    "connect.__aexit__": _OLD_SESSION,
    "connect.__aiter__": (ON_LEGACY, "legacy_connecting_again", "async for connection in them"),
    "connect.__await__": _OLD_SESSION,  # which __aenter__ awaits
    "serve.__aenter__": (ON_LEGACY, "legacy_servers", "async with legacy(OURS).server.serve("),
    "serve.__aexit__": (ON_LEGACY, "legacy_servers", "async with legacy(OURS).server.serve("),
    "serve.__await__": (ON_LEGACY, "legacy_servers", "async with legacy(OURS).server.serve("),  # the same
    "server.serve_forever": (ON_LEGACY, "legacy_servers", "serve_forever(server)"),
    "server.wait_closed": (ON_LEGACY, "legacy_servers", "server.wait_closed()"),
}
_STEP = "a step of a method that is cancelled at each of its awaits: test_t14_legacy_session, test_t14_legacy_closing"
LEGACY_WITHOUT_TEST: Dict[str, str] = {
    **dict.fromkeys([f"connection.{name}" for name in ("close_connection", "close_transport", "drain")], _STEP),
    **dict.fromkeys([f"connection.{name}" for name in ("ensure_open", "wait_for_connection_lost")], _STEP),
    **dict.fromkeys([f"connection.read_http_{name}" for name in ("request", "response")], _STEP),
    "connection.handler": "awaits the user's handler and nothing else",
    "connection.check_credentials": "the user's, called by process_request",
    "server.__aenter__": "returns itself",
    "server.__aexit__": "close, then wait_closed",
    "server.start_serving": "the asyncio server's own",
}
#: What no test of T14 calls by its name, and why.
WITHOUT_TEST: Dict[str, str] = {
    "Connection.send_fragments": "what Connection.send does with an iterable: test_t14_send_fragments",
    "Router.handler": "awaits the user's handler and nothing else; N9 and test_t14_server_ends cancel handlers",
    "hand_over": "the last step of ws_connect through a proxy: test_t14_ws_connect_through_a_proxy",
    "open_socket": "a step of ws_connect to a proxy, of the same file: test_t14_ws_connect_through_a_proxy",
    "route": "prepares a Router and awaits serve: test_t14_trio_serve",
    "socket_from_factory": "a step of ws_connect, whose factory is the user's: tests/asyncio_api/test_cancelling.py",
}


def defined(module: Any) -> Iterator[str]:
    """The public coroutines of a module."""
    exported = set(getattr(module, "__all__", ()))
    for name, value in vars(module).items():
        is_own = getattr(value, "__module__", None) == module.__name__
        if name.startswith("_") or not (name in exported or is_own):
            continue
        if not inspect.isclass(value):
            if is_coroutine_function(value):
                yield name
            continue
        for method, function in inspect.getmembers(value):
            if method in SPECIAL or (not method.startswith("_") and is_coroutine_function(function)):
                yield f"{name}.{method}"


def is_coroutine_function(value: Any) -> bool:
    """Whether calling it makes something to wait for."""
    return inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value)


def collect(modules: List[str]) -> Set[str]:
    """The public coroutines of some modules; what a connection of one side has, under the name of the common class."""
    names = {name for module in modules for name in defined(importlib.import_module(module))}
    common = {name.partition(".")[2] for name in names if name.startswith("Connection.")}
    sides = {f"{side}.{name}" for side in ("ClientConnection", "ServerConnection") for name in common}
    return names - sides


def need_drop_in(with_trio: bool = False) -> None:
    """Skip where there is none."""
    if sys.version_info < (3, 11):
        pytest.skip("picows.websockets needs Python 3.11")
    pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
    if with_trio:
        pytest.importorskip("trio", reason="trio is not installed: pip install trio")


def test_t14_all_of_the_core_api() -> None:
    assert collect(CORE) - CORE_TESTS.keys() - WITHOUT_TEST.keys() == set()
    assert CORE_TESTS.keys() - collect(CORE) == {"WSServer.close"}  # returns an awaitable


def test_t14_all_of_the_drop_in() -> None:
    need_drop_in()
    assert collect(DROP_IN) - DROP_IN_TESTS.keys() - WITHOUT_TEST.keys() == set()
    others = {name for name in DROP_IN_TESTS if name.startswith("unix_") or name.endswith("=)")}
    assert DROP_IN_TESTS.keys() - collect(DROP_IN) == others


def test_t14_all_of_trio() -> None:
    need_drop_in(with_trio=True)
    assert collect(TRIO) - TRIO_TESTS.keys() - WITHOUT_TEST.keys() == set()
    assert TRIO_TESTS.keys() - collect(TRIO) == set()


def test_t14_all_of_the_old_api() -> None:
    need_drop_in()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        names = collect(LEGACY)
    found = set()
    for name in names:
        kind, _, method = name.partition(".")
        kind = "connection" if kind.endswith("Protocol") else kind.replace("WebSocketServer", "server").lower()
        found.add(f"{kind}.{method}")
    assert found == LEGACY_TESTS.keys() | LEGACY_WITHOUT_TEST.keys()


def test_t14_reasons_are_for_what_there_is() -> None:
    need_drop_in(with_trio=True)
    assert WITHOUT_TEST.keys() - collect([*CORE, *DROP_IN, *TRIO]) == set()


ALL_TESTS = [*CORE_TESTS.items(), *DROP_IN_TESTS.items(), *TRIO_TESTS.items(), *LEGACY_TESTS.items()]


@pytest.mark.parametrize(("name", "place"), ALL_TESTS, ids=[f"{place[0][18:-3]}-{name}" for name, place in ALL_TESTS])
def test_t14_the_test_is_there(name: str, place: Tuple[str, str, str]) -> None:
    file, test, call = place
    tree = ast.parse((HERE / file).read_text("utf-8"))
    functions = [node for node in tree.body if getattr(node, "name", "") == f"test_t14_{test}"]
    assert len(functions) == 1, f"test_t14_{test} is not in {file}"
    assert call in ast.unparse(functions[0]), f"test_t14_{test} does not have {call}"
