"""Servers in the API before websockets 14, on both libraries: requests and hooks as bytes, the log, the server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from pathlib import Path
from typing import Any

import pytest
from fixtures.certificates import make_certificates
from fixtures.compat import (
    REQUEST,
    UPGRADE,
    Library,
    Lines,
    ask,
    assert_same,
    attempt,
    silent,
    skip_unless_comparable,
)

skip_unless_comparable()

from fixtures.legacy_api import connect, ending, legacy, serve, warned  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:declare process_request as a coroutine:DeprecationWarning")


async def close(websocket: Any) -> None:
    """A handler that ends at once."""


def without(*names: bytes) -> bytes:
    """The headers of an upgrade without some."""
    return b"".join(line + b"\r\n" for line in UPGRADE.split(b"\r\n")[:-1] if not line.startswith(names))


DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"


def subprotocols(offered: bytes) -> bytes:
    return b"Sec-WebSocket-Protocol: " + offered + b"\r\n"


#: Headers of the request, or all of it where it does not begin with ours; and arguments of `serve`.
REQUESTS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "plain": (UPGRADE, {}),
    "POST": (b"POST / HTTP/1.1\r\n\r\n", {}),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", {}),
    "not HTTP": (b"hello\r\n\r\n", {}),
    "a header without colon": (b"GET / HTTP/1.1\r\nhello\r\n\r\n", {}),
    "a long line": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", {}),
    "a line without end": (b"GET /" + b"x" * 70_000, {}),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 129 + b"\r\n", {}),
    "no upgrade": (b"", {}),
    "another upgrade": (without(b"Upgrade:") + b"Upgrade: h2c\r\n", {}),
    "upgrade without connection": (without(b"Connection:"), {}),
    "version 12": (without(b"Sec-WebSocket-Version:") + b"Sec-WebSocket-Version: 12\r\n", {}),
    "no key": (without(b"Sec-WebSocket-Key:"), {}),
    "two keys": (UPGRADE + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", {}),
    "short key": (without(b"Sec-WebSocket-Key:") + b"Sec-WebSocket-Key: AAAA\r\n", {}),
    "origin: good": (UPGRADE + b"Origin: good\r\n", {"origins": ["good"]}),
    "origin: evil": (UPGRADE + b"Origin: evil\r\n", {"origins": ["good"]}),
    "origin: missing": (UPGRADE, {"origins": ["good"]}),
    "origin: may be missing": (UPGRADE, {"origins": ["good", None]}),
    "origin: twice": (UPGRADE + b"Origin: good\r\nOrigin: good\r\n", {"origins": ["good"]}),
    "origin: any": (UPGRADE + b"Origin: evil\r\n", {}),
    "subprotocol: common": (UPGRADE + subprotocols(b"a, b"), {"subprotocols": ["b", "c"]}),
    "subprotocol: best of both": (UPGRADE + subprotocols(b"x, c, b, a"), {"subprotocols": ["c", "a", "b"]}),
    "subprotocol: two headers": (UPGRADE + subprotocols(b"x") + subprotocols(b"a"), {"subprotocols": ["a"]}),
    "subprotocol: twice": (UPGRADE + subprotocols(b"b, a, a"), {"subprotocols": ["b", "a"]}),
    "subprotocol: none in common": (UPGRADE + subprotocols(b"a"), {"subprotocols": ["b"]}),
    "subprotocol: none offered": (UPGRADE, {"subprotocols": ["b"]}),
    "subprotocol: none here": (UPGRADE + subprotocols(b"a"), {}),
    "subprotocol: malformed": (UPGRADE + subprotocols(b"a b"), {"subprotocols": ["b"]}),
    "extension": (UPGRADE + DEFLATE, {}),
    "extension: off": (UPGRADE + DEFLATE, {"compression": None}),
    "extension: unknown parameter": (UPGRADE + b"Sec-WebSocket-Extensions: permessage-deflate; x\r\n", {}),
    "extension: malformed": (UPGRADE + b"Sec-WebSocket-Extensions: ;\r\n", {}),
    "no server header": (UPGRADE, {"server_header": None}),
    "another server header": (UPGRADE, {"server_header": "me"}),
}


def request(headers: bytes) -> bytes:
    """A request out of that table."""
    are_headers = not headers or headers.startswith((b"Upgrade", b"Connection", b"Sec-"))
    return REQUEST + headers + b"\r\n" if are_headers else headers


async def answer(library: Library, data: bytes, handler: Any = close, **options: Any) -> Any:
    """What a server says to a request, up to the end of the head if it accepts, and the last it logs about it."""
    lines = Lines()
    async with serve(library, handler, logger=lines.logger, **options) as server:
        head = await ask(server, data, b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            head = await ask(server, data)
    # Two requests at most, whose last lines are not in a certain order.
    return head, sorted({line for line in lines.lines if "connection" in line or "handshake" in line})


@pytest.mark.parametrize("name", REQUESTS)
def test_requests(name: str) -> None:
    headers, options = REQUESTS[name]
    assert_same(lambda library: answer(library, request(headers), **options))


def test_half_a_request() -> None:
    async def scenario(library: Library) -> Any:
        lines = Lines()
        async with serve(library, close, logger=lines.logger) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"GET / HT")
            writer.write_eof()
            seen = await reader.read()
            writer.close()
        return seen, sorted(line for line in lines.lines if "connection" in line)

    assert_same(scenario)


def test_a_request_that_takes_too_long() -> None:
    assert_same(lambda library: answer(library, b"GET / HT", open_timeout=0.05))


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("response", [None, (403, [], b"no")], ids=["accepted", "refused"])
def test_a_client_that_goes_while_a_hook_is_awaited(how: str, response: Any) -> None:
    async def scenario(library: Library) -> Any:
        lines = Lines()
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def process_request(path: str, headers: Any) -> Any:
            asked.set()
            await go_on.wait()
            return response

        async with serve(library, stay, process_request=process_request, logger=lines.logger) as server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(request(UPGRADE))
            await asked.wait()
            (websocket,) = server.websockets
            writer.close() if how == "close" else writer.transport.abort()
            await websocket.wait_closed()
            go_on.set()
            while server.websockets:
                await asyncio.sleep(0.001)
        return lines.lines

    assert "INFO connection open" not in assert_same(scenario)


class Raises:
    """A hook that raises."""

    def __init__(self, exc: Exception | None = None) -> None:
        self.exc = KeyError("hook") if exc is None else exc

    def __call__(self, *args: Any) -> Any:
        raise self.exc


async def gives_none(*args: Any) -> Any:
    return None


async def gives_response(*args: Any) -> Any:
    return 418, {"X-A": "b"}, b"body\n"


async def gives_headers(*args: Any) -> Any:
    return 200, [("Content-Type", "text/html"), ("Server", "mine"), ("Date", "now"), ("Connection", "x")], b""


HOOKS: dict[str, dict[str, Any]] = {
    "request: None": {"process_request": gives_none},
    "request: response": {"process_request": gives_response},
    "request: headers of its own": {"process_request": gives_headers},
    "request: not a coroutine": {"process_request": lambda path, headers: (403, [], path.encode())},
    "request: not a coroutine, None": {"process_request": lambda path, headers: None},
    "request: error": {"process_request": Raises()},
    "request: TimeoutError": {"process_request": Raises(TimeoutError())},
    "request: ConnectionError": {"process_request": Raises(ConnectionResetError())},
    "request: OSError": {"process_request": Raises(OSError("hook"))},
    "request: no such status": {"process_request": lambda path, headers: (99, [], b"")},
    "request: nonsense": {"process_request": lambda path, headers: 3},
    "select": {"subprotocols": ["b", "c"], "select_subprotocol": lambda client, server: client[0]},
    "select: None": {"subprotocols": ["b", "c"], "select_subprotocol": lambda client, server: None},
    "select: error": {"subprotocols": ["b", "c"], "select_subprotocol": Raises()},
    "select: no subprotocols": {"select_subprotocol": Raises()},
    "headers": {"extra_headers": {"X-A": "b"}},
    "headers: pairs": {"extra_headers": [("X-A", "b"), ("X-A", "c"), ("Server", "mine"), ("Date", "now")]},
    "headers: function": {"extra_headers": lambda path, headers: [("X-A", path + headers["Host"])]},
    "headers: function, None": {"extra_headers": lambda path, headers: None},
    "headers: error": {"extra_headers": Raises()},
    "headers: nonsense": {"extra_headers": lambda path, headers: 3},
    "headers: line break": {"extra_headers": [("A", "b\r\nc")]},
}


@pytest.mark.parametrize("name", HOOKS)
def test_hooks(name: str) -> None:
    assert_same(lambda library: answer(library, request(UPGRADE + subprotocols(b"a, b")), **HOOKS[name]))


def test_a_response_of_process_request_needs_no_upgrade() -> None:
    """As health checks of load balancers, which are why most servers have that hook."""
    assert_same(lambda library: answer(library, request(b""), process_request=gives_response))


def subclass(library: Library) -> Any:
    """Every hook as a method; each adds to a header of the response."""
    modules = legacy(library)

    class Protocol(modules.server.WebSocketServerProtocol):  # type: ignore[misc, name-defined]
        async def process_request(self, path: str, request_headers: Any) -> Any:
            self.seen = [path, self.path, request_headers is self.request_headers]
            if path == "/abort":
                raise modules.exceptions.AbortHandshake(402, [("X-A", "b")], b"money\n")
            return await super().process_request(path, request_headers)

        def process_origin(self, headers: Any, origins: Any = None) -> Any:  # type: ignore[override]
            return "origin"

        @staticmethod
        def process_extensions(headers: Any, available_extensions: Any) -> Any:
            return None, []

        def process_subprotocol(self, headers: Any, available_subprotocols: Any) -> Any:
            return "mine"

        def write_http_response(self, status: Any, headers: Any, body: Any = None) -> None:
            headers["X-Seen"] = repr((self.seen, getattr(self, "origin", None), self.subprotocol, self.extensions))
            super().write_http_response(status, headers, body)

    return Protocol


@pytest.mark.parametrize("path", [b"/p", b"/abort"])
def test_methods_that_a_subclass_overrides(path: bytes) -> None:
    data = request(UPGRADE + DEFLATE + subprotocols(b"a")).replace(b"/p", path)
    assert_same(lambda library: answer(library, data, create_protocol=subclass(library), process_request=gives_none))


@pytest.mark.filterwarnings("ignore:remove second argument of ws_handler:DeprecationWarning")
@pytest.mark.parametrize("kind", ["function", "method", "callable", "partial"])
def test_handlers_with_a_path(kind: str) -> None:
    class Handler:
        async def method(self, websocket: Any, path: str) -> None:
            await websocket.send(path)

        async def __call__(self, websocket: Any, path: str) -> None:
            await self.method(websocket, path)

    async def function(websocket: Any, path: str) -> None:
        await websocket.send(path)

    handlers = {
        "function": function,
        "method": Handler().method,
        "callable": Handler(),
        "partial": functools.partial(lambda prefix, websocket, path: websocket.send(prefix + path), "partial"),
    }

    async def scenario(library: Library) -> Any:
        async with serve(library, handlers[kind]) as server, connect(library, server, "/a?b") as websocket:
            return await websocket.recv()

    assert_same(scenario)


def test_a_handler_that_fails() -> None:
    async def fails(websocket: Any) -> None:
        raise KeyError("handler")

    async def scenario(library: Library) -> Any:
        lines = Lines()
        async with serve(library, fails, logger=lines.logger) as server, connect(library, server) as websocket:
            await websocket.wait_closed()
            while server.websockets:
                await asyncio.sleep(0.001)
        return ending(websocket), lines.lines

    assert_same(scenario)


CREDENTIALS: dict[str, tuple[dict[str, Any], bytes]] = {
    "right": ({"credentials": ("u", "p")}, b"Basic dTpw"),
    "wrong": ({"credentials": ("u", "p")}, b"Basic dTpx"),
    "missing": ({"credentials": ("u", "p")}, b""),
    "another scheme": ({"credentials": ("u", "p")}, b"Bearer x"),
    "malformed": ({"credentials": ("u", "p")}, b"Basic !!"),
    "several": ({"credentials": [("a", "b"), ("u", "p")]}, b"Basic dTpw"),
    "realm": ({"credentials": ("u", "p"), "realm": 'a "b"'}, b""),
    "function": ({"check_credentials": lambda u, p: asyncio.sleep(0, u == "u")}, b"Basic dTpw"),
    "function says no": ({"check_credentials": lambda u, p: asyncio.sleep(0, False)}, b"Basic dTpw"),
}


@pytest.mark.parametrize("name", CREDENTIALS)
def test_basic_auth(name: str) -> None:
    options, authorization = CREDENTIALS[name]
    data = request(UPGRADE + (b"Authorization: " + authorization + b"\r\n" if authorization else b""))

    async def say_who(websocket: Any) -> None:
        websocket.logger.info("connection of %s", websocket.username)

    async def scenario(library: Library) -> Any:
        factory = legacy(library).auth.basic_auth_protocol_factory(**options)
        return await answer(library, data, say_who, create_protocol=factory)

    assert_same(scenario)


def test_basic_auth_by_a_subclass() -> None:
    async def scenario(library: Library) -> Any:
        class Protocol(legacy(library).auth.BasicAuthWebSocketServerProtocol):  # type: ignore[misc]
            realm = "mine"

            async def check_credentials(self, username: str, password: str) -> bool:
                return username == password

        async with serve(library, say_who, create_protocol=Protocol) as server:
            refused = await ask(server, request(UPGRADE))
            uri = f"ws://u:u@127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            async with legacy(library).client.connect(uri) as websocket:
                return refused, await websocket.recv()

    async def say_who(websocket: Any) -> None:
        await websocket.send(websocket.username)

    assert assert_same(scenario)[1] == "u"


# --- the server ---


async def stay(websocket: Any) -> None:
    """A handler that ends with the connection."""
    await websocket.wait_closed()


def test_closing_the_server() -> None:
    async def scenario(library: Library) -> Any:
        lines = Lines()
        server = await serve(library, stay, logger=lines.logger)
        websocket = await connect(library, server)
        port = server.sockets[0].getsockname()[1]
        before = len(server.websockets), server.is_serving(), server.get_loop() is asyncio.get_running_loop()
        server.close()
        server.close()
        await server.wait_closed()
        await websocket.wait_closed()
        after = server.websockets, server.is_serving(), server.sockets, ending(websocket)
        return before, after, (await attempt(connect(library, port)))[0], lines.lines

    assert_same(scenario)


def test_closing_the_server_and_not_its_connections() -> None:
    async def scenario(library: Library) -> Any:
        server = await serve(library)
        websocket = await connect(library, server)
        server.close(close_connections=False)
        waiting = asyncio.ensure_future(server.wait_closed())
        await websocket.send("still there")
        seen = await websocket.recv(), waiting.done()
        await websocket.close()
        await waiting
        return seen, ending(websocket)

    assert_same(scenario)


def test_handshakes_in_progress_when_the_server_closes() -> None:
    async def scenario(library: Library) -> Any:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def process_request(path: str, headers: Any) -> None:
            asked.set()
            await go_on.wait()

        server = await serve(library, process_request=process_request, logger=silent())
        asking = asyncio.ensure_future(ask(server, request(UPGRADE)))
        await asked.wait()
        server.close()
        await asyncio.sleep(0)
        go_on.set()
        seen = await asking
        await server.wait_closed()
        return seen

    assert b" 503 " in assert_same(scenario)


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_serve_forever(how: str) -> None:
    async def scenario(library: Library) -> Any:
        server = await serve(library, start_serving=False)
        serving = asyncio.ensure_future(server.serve_forever())
        await asyncio.sleep(0)
        started = server.is_serving()
        async with connect(library, server) as websocket:
            await websocket.send("a")
            await websocket.recv()
        serving.cancel() if how == "cancel" else server.close()
        result = await attempt(serving)
        server.close()
        await server.wait_closed()
        return started, result

    assert_same(scenario)


def test_start_serving() -> None:
    async def scenario(library: Library) -> Any:
        async with serve(library, start_serving=False) as server:
            before = server.is_serving()
            await server.start_serving()
            return before, server.is_serving()

    assert_same(scenario)


def test_a_server_as_context_manager() -> None:
    async def scenario(library: Library) -> Any:
        async with await serve(library) as server, connect(library, server) as websocket:
            await websocket.send("a")
            return type(server).__name__, await websocket.recv()

    assert_same(scenario)


def test_on_a_loop_that_is_not_running_yet() -> None:
    """As the documentation of those days had it: `loop.run_until_complete(websockets.serve(...))`."""

    def talk(library: Library) -> Any:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            server = loop.run_until_complete(serve(library))
            websocket = loop.run_until_complete(connect(library, server))
            loop.run_until_complete(websocket.send("a"))
            message = loop.run_until_complete(websocket.recv())
            loop.run_until_complete(websocket.close())
            server.close()
            loop.run_until_complete(server.wait_closed())
            return message
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    async def in_a_thread(library: Library) -> Any:
        return await asyncio.to_thread(talk, library)

    assert assert_same(in_a_thread) == "a"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Unix sockets are missing on this system")
def test_unix_sockets(tmp_path: Path) -> None:
    async def say_where(websocket: Any) -> None:
        await websocket.send(f"{websocket.path} {websocket.request_headers['Host']} {websocket.remote_address!r}")

    async def scenario(library: Library) -> Any:
        path = str(tmp_path / library.root)
        modules = legacy(library)
        async with modules.server.unix_serve(say_where, path):
            async with modules.client.unix_connect(path) as websocket:
                first = await websocket.recv()
            async with modules.client.unix_connect(path=path, uri="ws://elsewhere/x") as websocket:
                return first, await websocket.recv()

    assert_same(scenario)


def test_tls() -> None:
    certificates = make_certificates()

    async def scenario(library: Library) -> Any:
        async with serve(library, ssl=certificates.server) as server:
            uri = f"wss://localhost:{server.sockets[0].getsockname()[1]}/"
            async with legacy(library).client.connect(uri, ssl=certificates.client, host="127.0.0.1") as websocket:
                await websocket.send("x" * 100_000)
                echoed = await websocket.recv()
            return len(echoed), ending(websocket)

    assert_same(scenario)


def test_broadcast() -> None:
    async def scenario(library: Library) -> Any:
        lines = Lines()
        broadcast = legacy(library).server.broadcast
        async with serve(library, stay, logger=lines.logger) as server:
            async with contextlib.AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(connect(library, server)) for _ in range(3)]
                busy = next(iter(server.websockets))
                begun, go_on = asyncio.Event(), asyncio.Event()

                async def fragments() -> Any:
                    yield "a"
                    begun.set()
                    await go_on.wait()

                sending = asyncio.ensure_future(busy.send(fragments()))
                await begun.wait()
                broadcast(server.websockets, "text")
                broadcast(server.websockets, b"bytes")
                wrong = await attempt(_call(broadcast, server.websockets, ["a"]))
                several = await attempt(_call(broadcast, server.websockets, "raised", raise_exceptions=True))
                go_on.set()
                await sending
                seen = sorted([await client.recv() for client in clients])
            return seen, wrong, several, [line for line in lines.lines if "WARNING" in line]

    assert_same(scenario)


async def _call(function: Any, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def test_arguments() -> None:
    """What `serve` and the protocol refuse, and what is deprecated, with the same words."""

    async def coroutine(websocket: Any) -> None: ...

    async def with_path(websocket: Any, path: str) -> None: ...

    async def scenario(library: Library) -> Any:
        module = legacy(library).server
        factory, loop = module.WebSocketServerProtocol, asyncio.get_running_loop()
        cases: list[dict[str, Any]] = [
            {}, {"klass": factory}, {"timeout": 3}, {"loop": loop}, {"legacy_recv": True}, {"compression": "x"},
            {"subprotocols": "x"}, {"subprotocols": ["a b"]}, {"process_request": print}, {"origins": [""]},
        ]  # fmt: skip
        seen = [warned(module.serve, coroutine, **case) for case in cases] + [warned(module.serve, with_path)]
        server = module.WebSocketServer()
        direct: list[dict[str, Any]] = [{}, {"timeout": 3}, {"loop": loop}, {"legacy_recv": True}, {"origins": [""]}]
        seen += [warned(factory, coroutine, server, **case) for case in direct]
        seen += [warned(factory, with_path, server)]
        seen += [warned(getattr, factory(coroutine, server), name) for name in ("host", "port", "secure")]
        return seen

    assert_same(scenario)


def test_what_a_factory_is_called_with() -> None:
    async def scenario(library: Library) -> Any:
        seen: list[Any] = []

        def create_protocol(*args: Any, **kwargs: Any) -> Any:
            kwargs.pop("extensions")
            seen.append((len(args), sorted((name, str(value)) for name, value in kwargs.items())))
            return legacy(library).server.WebSocketServerProtocol(*args, **kwargs)

        def create_client(**kwargs: Any) -> Any:
            kwargs.pop("extensions")
            seen.append(sorted((name, str(value)) for name, value in kwargs.items() if name != "port"))
            return legacy(library).client.WebSocketClientProtocol(**kwargs)

        async with serve(library, create_protocol=create_protocol) as server:
            async with connect(library, server, create_protocol=create_client):
                pass
        return seen

    assert_same(scenario)


def test_before_the_handshake() -> None:
    """What a protocol says that nobody has connected."""

    async def scenario(library: Library) -> Any:
        modules = legacy(library)
        protocol = modules.client.WebSocketClientProtocol()
        names = ("open", "closed", "state", "close_code", "close_reason", "local_address", "remote_address", "latency")
        seen: list[Any] = [getattr(protocol, name) for name in names]
        for method in (protocol.ping, protocol.pong, protocol.ensure_open):
            seen.append(await attempt(method()))
        seen.append(await attempt(protocol.send("a")))
        return seen, [hasattr(protocol, name) for name in ("path", "request_headers", "response_headers", "transport")]

    assert_same(scenario)
