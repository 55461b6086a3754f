"""Servers: what they answer, whom they refuse, what their hooks may do, and how they close; theirs and ours."""

from __future__ import annotations

import asyncio
import http
import re
from typing import Any

import pytest
from fixtures.compat import (
    OURS,
    REQUEST,
    UPGRADE,
    Library,
    Lines,
    ask,
    assert_same,
    attempt,
    called,
    echo,
    run,
    seen,
    silent,
    skip_unless_comparable,
)

skip_unless_comparable()

GET = REQUEST + UPGRADE
END = b"\r\n\r\n"
REQUESTS = {
    "accepted": GET + b"\r\n",
    "no upgrade": REQUEST + b"\r\n",
    "POST": b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "garbage": b"garbage\r\n\r\n",
    "version": GET.replace(b"13", b"12") + b"\r\n",
    "short key": GET.replace(b"AA==", b"A=") + b"\r\n",
    "other protocol": GET.replace(b"websocket", b"h2c") + b"\r\n",
    "target that is not ASCII": GET.replace(b"/p", b"/\xff") + b"\r\n",
    "long line": b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n",
    "many headers": REQUEST + b"a: b\r\n" * 200 + b"\r\n",
    "origin a": GET + b"Origin: http://a\r\n\r\n",
    "origin b": GET + b"Origin: http://b\r\n\r\n",
    "origin cc": GET + b"Origin: http://cc\r\n\r\n",
    "subprotocols b, a": GET + b"Sec-WebSocket-Protocol: b, a\r\n\r\n",
    "subprotocol z": GET + b"Sec-WebSocket-Protocol: z\r\n\r\n",
    "deflate": GET + b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
    "deflate 10": GET + b"Sec-WebSocket-Extensions: x, permessage-deflate; client_max_window_bits=10\r\n\r\n",
    "bad extensions": GET + b"Sec-WebSocket-Extensions: @\r\n\r\n",
}


def select(connection: Any, subprotocols: Any) -> Any:
    assert connection.request is not None
    return subprotocols[-1] if subprotocols else None


def refuse_all(connection: Any, subprotocols: Any) -> Any:
    raise LookupError("no subprotocol")


SERVERS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "origins": {"origins": ["http://a", re.compile("http://c+"), None]},
    "subprotocols": {"subprotocols": ["a", "b"]},
    "select": {"select_subprotocol": select},
    "select raises": {"select_subprotocol": refuse_all},
    "no header": {"server_header": None, "compression": None},
}


@pytest.mark.parametrize("options", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_requests(request_: bytes, options: Any) -> None:
    async def scenario(library: Library) -> Any:
        lines = Lines()
        async with library.serve(logger=lines.logger, **options) as server:
            answer = await ask(server, request_, END)
            if b" 101 " not in answer:
                answer = await ask(server, request_)
        return answer, sorted(lines.lines)

    assert_same(scenario)


def test_frames_sent_ahead() -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve() as server:
            return await ask(server, GET + b"\r\n\x81\x81\0\0\0\0x", b"\x81\x01x")

    assert_same(scenario)


HOOKS = {
    "none": lambda connection, request: None,
    "response": lambda connection, request: connection.respond(200, "hi\n"),
    "enumeration": lambda connection, request: connection.respond(http.HTTPStatus.NOT_FOUND, "no"),
    "raises": lambda connection, request: {}["x"],
}


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
@pytest.mark.parametrize("request_", [GET, REQUEST, b"POST / HTTP/1.1\r\n"], ids=["upgrade", "plain", "POST"])
def test_process_request(hook: Any, is_async: bool, request_: bytes) -> None:
    async def later(connection: Any, request: Any) -> Any:
        await asyncio.sleep(0.001)
        return hook(connection, request)

    async def scenario(library: Library) -> Any:
        lines = Lines()
        process_request = later if is_async else hook
        async with library.serve(process_request=process_request, logger=lines.logger, server_header="me") as server:
            answer = await ask(server, request_ + b"\r\n", END)
        return answer, sorted(lines.lines)

    assert_same(scenario)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("what", ["none", "changes", "replaces"])
def test_process_response(what: str, is_async: bool) -> None:
    def hook(connection: Any, request: Any, response: Any) -> Any:
        assert connection.request is request
        assert connection.response is response
        assert connection.remote_address[0] == "127.0.0.1"
        if what == "changes":
            response.headers["X-Changed"] = str(response.status_code)
        return connection.respond(418, "teapot") if what == "replaces" else None

    async def later(*args: Any) -> Any:
        await asyncio.sleep(0.001)
        return hook(*args)

    async def scenario(library: Library) -> Any:
        async with library.serve(process_response=later if is_async else hook, logger=silent()) as server:
            return [await ask(server, request + b"\r\n", END) for request in (GET, REQUEST)]

    assert_same(scenario)


def test_hooks_and_handler_see_one_connection() -> None:
    async def scenario(library: Library) -> Any:
        def process_request(connection: Any, request: Any) -> None:
            connection.mark = request.path

        async def handler(connection: Any) -> None:
            await connection.send(connection.mark + connection.request.path + str(connection.response.status_code))

        class Special(library.server.ServerConnection):  # type: ignore[misc]
            pass

        options = {"process_request": process_request, "create_connection": Special}
        async with library.serve(handler, **options) as server, library.connect(server, "/p") as connection:
            return await connection.recv()

    assert assert_same(scenario) == "/p/p101"


AUTHORIZATIONS = (b"", b"Basic dTpw", b"Basic dTpx", b"Basic eDpw", b"Digest x", b"Basic !", b"basic dTpw")


@pytest.mark.parametrize("form", ["pair", "pairs", "function", "coroutine function"])
def test_basic_auth(form: str) -> None:
    async def check(username: str, password: str) -> bool:
        return (username, password) == ("u", "p")

    forms: dict[str, Any] = {
        "pair": {"credentials": ("u", "p")},
        "pairs": {"credentials": [("u", "p"), ("v", "w")]},
        "function": {"check_credentials": lambda username, password: (username, password) == ("u", "p")},
        "coroutine function": {"check_credentials": check},
    }

    async def scenario(library: Library) -> Any:
        async def handler(connection: Any) -> None:
            await connection.send(connection.username)

        process_request = library.server.basic_auth("a realm", **forms[form])
        async with library.serve(handler, process_request=process_request, logger=silent()) as server:
            answers = []
            for authorization in AUTHORIZATIONS:
                header = b"Authorization: " + authorization + b"\r\n" if authorization else b""
                answers.append(await ask(server, GET + header + b"\r\n", END))
            async with library.client.connect(f"ws://u:p@127.0.0.1:{server.sockets[0].getsockname()[1]}") as connection:
                answers.append(await connection.recv())
            return answers

    assert_same(scenario)


@pytest.mark.parametrize(
    "options",
    [{}, {"credentials": ("u", "p"), "check_credentials": print}, {"credentials": 3}, {"credentials": [("u", "p"), 3]}],
    ids=["nothing", "both", "number", "list"],
)
def test_wrong_arguments_of_basic_auth(options: Any) -> None:
    async def scenario(library: Library) -> Any:
        return called(library.server.basic_auth, **options)

    assert_same(scenario)


@pytest.mark.parametrize("options", [{"subprotocols": "x"}, {"compression": "x"}], ids=["subprotocols", "compression"])
def test_wrong_arguments_of_serve(options: Any) -> None:
    async def scenario(library: Library) -> Any:
        return called(library.serve, **options)

    assert_same(scenario)


# --- handlers and the life of a server ---


async def raising(connection: Any) -> None:
    raise LookupError("of the handler")


async def returning(connection: Any) -> None:
    pass


async def closing(connection: Any) -> None:
    await connection.close(4000, "x")


@pytest.mark.parametrize("handler", [raising, returning, closing], ids=lambda handler: handler.__name__)
def test_handlers(handler: Any) -> None:
    async def scenario(library: Library) -> Any:
        lines = Lines()
        async with library.serve(handler, logger=lines.logger) as server:
            connection = await library.connect(server)
            outcome = await attempt(connection.recv())
            await connection.close()
        return outcome, sorted(lines.lines)

    assert_same(scenario)


async def wait(connection: Any) -> None:
    await connection.wait_closed()


@pytest.mark.parametrize("args", [{}, {"code": 1012, "reason": "bye"}, {"close_connections": False}], ids=repr)
def test_closing(args: Any) -> None:
    async def scenario(library: Library) -> Any:
        lines = Lines()
        server = await library.serve(wait, logger=lines.logger)
        connection = await library.connect(server)
        while not server.connections:
            await asyncio.sleep(0)
        (served,) = server.connections
        facts = [served.server is server, server.is_serving(), len(server.sockets), type(server.sockets).__name__]
        server.close(**args)
        server.close()
        if args.get("close_connections") is False:
            await connection.send("goes on")
            await connection.close()
        await server.wait_closed()
        facts += [server.is_serving(), server.sockets, server.connections]
        return facts, await attempt(connection.recv()), sorted(lines.lines)

    assert_same(scenario)


def test_handshakes_in_progress_are_refused() -> None:
    async def scenario(library: Library) -> Any:
        decided = asyncio.Event()

        async def process_request(connection: Any, request: Any) -> None:
            decided.set()
            await asyncio.sleep(0.02)

        server = await library.serve(process_request=process_request, logger=silent())
        connecting = asyncio.ensure_future(attempt(library.connect(server)))
        await decided.wait()
        server.close()
        outcome = await connecting
        await server.wait_closed()
        return outcome

    assert_same(scenario)


@pytest.mark.parametrize("by", ["cancelling", "closing"])
def test_serve_forever(by: str) -> None:
    async def scenario(library: Library) -> Any:
        server = await library.serve(wait)
        connection = await library.connect(server)
        forever = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        if by == "cancelling":
            forever.cancel()
        else:
            server.close()
        outcome = await attempt(forever)
        return outcome, server.is_serving(), await attempt(connection.recv())

    assert_same(scenario)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_request_that_comes_while_the_server_closes(when: str) -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve(logger=silent(), server_header=None) as server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            half, rest = (GET[:20], GET[20:]) if when == "before" else (b"", GET)
            writer.write(half)
            await ask(server, REQUESTS["no upgrade"], END)  # who came before has been accepted by then
            server.close()
            writer.write(rest + b"\r\n")
            answer = await reader.read()
            writer.close()
        return answer.partition(b"\r\n")[0], answer.rpartition(END)[2]

    assert assert_same(scenario)[0].startswith(b"HTTP/1.1 503 ")


def test_refused_clients_that_leave_at_once_while_the_server_closes() -> None:
    """Whichever of them it waits for first, it is not left waiting for another that has gone meanwhile."""

    async def scenario() -> None:
        server = await OURS.serve(logger=silent())
        writers = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
            writer.write(REQUESTS["no upgrade"])
            await reader.readuntil(END)
            writers.append(writer)
        server.close()
        while all(opening._lost is None for opening in server._leaving):
            await asyncio.sleep(0)
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()

    run(scenario())


def test_a_client_that_asks_for_nothing_does_not_hold_up_the_end() -> None:
    """websockets waits for its request, until `open_timeout`."""

    async def scenario() -> bytes:
        async with OURS.serve(logger=silent(), open_timeout=None) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
            await ask(server, REQUESTS["no upgrade"], END)  # who came before has been accepted by then
            server.close()
            answer = await reader.read()
            writer.close()
            await server.wait_closed()
        return answer

    assert run(scenario()).startswith(b"HTTP/1.1 503 ")


def test_starting_later() -> None:
    async def scenario(library: Library) -> Any:
        server = await library.serve(start_serving=False)
        facts = [server.is_serving()]
        await server.start_serving()
        facts.append(server.is_serving())
        async with library.connect(server) as connection:
            await connection.send("x")
            facts.append(await connection.recv())
        server.close()
        await server.wait_closed()
        return facts

    assert_same(scenario)


def test_opening_takes_too_long() -> None:
    async def scenario(library: Library) -> Any:
        lines = Lines()
        async with library.serve(open_timeout=0.02, logger=lines.logger) as server:
            answer = await ask(server, b"GET / HT")
        return answer in (b"", b"ConnectionResetError"), sorted(lines.lines)

    assert_same(scenario)


@pytest.mark.parametrize("path", ["/a", "/b/7", "/c", "/old", "/b/x"])
def test_routes(path: str) -> None:
    routing = pytest.importorskip("werkzeug.routing", reason="werkzeug does the routing and is not installed")

    async def scenario(library: Library) -> Any:
        async def a(connection: Any) -> None:
            await connection.send("a")

        async def b(connection: Any, number: int) -> None:
            await connection.send(f"b{number}")

        rules = [
            routing.Rule("/a", endpoint=a),
            routing.Rule("/b/<int:number>", endpoint=b),
            routing.Rule("/old", redirect_to="/a"),
        ]
        router = library.module("asyncio.router")
        async with router.route(routing.Map(rules), "127.0.0.1", 0, logger=silent()) as server:
            answer = await ask(server, GET.replace(b"/p", path.encode()) + b"\r\n", END)
            try:
                async with library.connect(server, path) as connection:
                    return answer, await connection.recv()
            except library.exceptions.InvalidStatus as exc:
                return answer, seen(exc), bytes(exc.response.body)

    assert_same(scenario)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("path", ["/a", "/refused", "/health", "/nowhere", "/bug"])
def test_process_request_comes_before_the_routes(path: str, is_async: bool) -> None:
    """It answers where no handler is, and who is refused does not learn where one is."""
    routing = pytest.importorskip("werkzeug.routing", reason="werkzeug does the routing and is not installed")

    def process_request(connection: Any, request: Any) -> Any:
        if request.path == "/bug":
            raise ValueError("a bug")
        status = {"/refused": http.HTTPStatus.FORBIDDEN, "/health": http.HTTPStatus.OK}.get(request.path)
        return status and connection.respond(status, "text")

    async def process_request_async(connection: Any, request: Any) -> Any:
        return process_request(connection, request)

    async def scenario(library: Library) -> Any:
        url_map = routing.Map([routing.Rule("/a", endpoint=echo), routing.Rule("/refused", endpoint=echo)])
        hook = process_request_async if is_async else process_request
        router = library.module("asyncio.router")
        async with router.route(url_map, "127.0.0.1", 0, process_request=hook, logger=silent()) as server:
            return await ask(server, GET.replace(b"/p", path.encode()) + b"\r\n", END)

    assert_same(scenario)
