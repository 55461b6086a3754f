"""`connect` in all its forms: arguments, refusals, redirects, reconnection, on websockets and on ours."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import weakref
from typing import Any

import pytest
from fixtures.certificates import Certificates, make_certificates
from fixtures.compat import (
    OURS,
    Library,
    Lines,
    assert_same,
    attempt,
    called,
    clean,
    raw_server,
    run,
    seen,
    silent,
    skip_unless_comparable,
    uri,
)

skip_unless_comparable()


@pytest.fixture
def certificates() -> Certificates:
    return make_certificates()


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "subprotocols is a str": ("ws://127.0.0.1:1/", {"subprotocols": "x"}),
    "no subprotocol": ("ws://127.0.0.1:1/", {"subprotocols": ["a b"]}),
    "compression": ("ws://127.0.0.1:1/", {"compression": "x"}),
    "ssl with ws": ("ws://127.0.0.1:1/", {"ssl": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}),
    "server_hostname with ws": ("ws://127.0.0.1:1/", {"server_hostname": "x"}),
    "no ssl with wss": ("wss://127.0.0.1:1/", {"ssl": None}),
    "scheme of the proxy": ("ws://127.0.0.1:1/", {"proxy": "ftp://x"}),
    "host of the proxy": ("ws://127.0.0.1:1/", {"proxy": "http://"}),
    "proxy_ssl with http": ("ws://127.0.0.1:1/", {"proxy": "http://127.0.0.1:1", "proxy_ssl": True}),
    "refused": ("ws://127.0.0.1:1/", {}),
    "refused by the proxy": ("ws://127.0.0.1:1/", {"proxy": "http://127.0.0.1:1"}),
    "http": ("http://127.0.0.1/", {}),
    "no host": ("ws://", {}),
    "fragment": ("ws://127.0.0.1/#f", {}),
    "no time": ("ws://127.0.0.1:1/", {"open_timeout": 0}),
}


@pytest.mark.parametrize(("where", "options"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_connected_to(where: str, options: Any) -> None:
    async def scenario(library: Library) -> Any:
        async def connect() -> Any:
            return await library.client.connect(where, **{"proxy": None, **options})

        return await attempt(connect())

    assert_same(scenario)


ANSWERS = {
    "200": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "403": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "401 to the end": b"HTTP/1.1 401 Unauthorized\r\n\r\nall the rest",
    "no accept": b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "bad accept": b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
    "no upgrade": b"HTTP/1.1 101 X\r\n\r\n",
    "garbage": b"foo\r\n\r\n",
    "nothing": b"",
    "part of a head": b"HTTP/1.1 101 X\r\nUpg",
    "part of a body": b"HTTP/1.1 400 X\r\nContent-Length: 10\r\n\r\nab",
    "HTTP/1.0": b"HTTP/1.0 101 X\r\n\r\n",
    "redirect without location": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "redirect to http": b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n",
    "redirect without end": b"HTTP/1.1 307 Again\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n",
    "redirect elsewhere": b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
}


def answers(answer: bytes, heads: list[bytes] | None = None) -> Any:
    async def script(reader: Any, writer: Any) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heads is not None:
            heads.append(head)
        writer.write(answer)
        await writer.drain()

    return script


@pytest.mark.parametrize("extra", ["", "sock", "host"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answers_that_do_not_accept(answer: bytes, extra: str) -> None:
    async def scenario(library: Library) -> Any:
        heads: list[bytes] = []
        async with raw_server(answers(answer, heads), opens=False) as port:
            options: dict[str, Any] = {}
            if extra == "sock":
                options["sock"] = socket.create_connection(("127.0.0.1", port))
            elif extra == "host":
                options.update(host="127.0.0.1", port=port)
            outcome = await attempt(library.connect(port, **options))
            return outcome, len(heads)

    assert_same(scenario)


@pytest.mark.parametrize(
    ("location", "name", "words"),
    [
        (b"Location: //[", "InvalidURI", "//[ isn't a valid URI: Invalid IPv6 URL"),
        (b"Location: ws://a]b/", "InvalidURI", "ws://a]b/ isn't a valid URI: Invalid IPv6 URL"),
        (b"Location: /a\r\nLocation: /b", "InvalidHeader", "invalid Location header: multiple values"),
    ],
    ids=["bracket", "other bracket", "two"],
)
def test_redirects_to_nowhere(location: bytes, name: str, words: str) -> None:
    """What a server gets wrong is an exception of the library; with websockets it is a ValueError or a LookupError."""

    async def scenario() -> Any:
        async with raw_server(answers(b"HTTP/1.1 302 x\r\n" + location + b"\r\n\r\n"), opens=False) as port:
            return await attempt(OURS.connect(port))

    assert run(scenario()) == (name, words, "")


def test_the_request() -> None:
    async def scenario(library: Library) -> Any:
        heads: list[bytes] = []
        async with raw_server(answers(b"", heads), opens=False) as port:
            extra = {"A": "b", "User-Agent": "mine"}
            for options in (
                {},
                {"additional_headers": extra, "subprotocols": ["a", "b"], "origin": "http://o"},
                {"additional_headers": list(extra.items()), "compression": None, "user_agent_header": None},
                {"user_agent_header": "other", "compression": None},
            ):
                await attempt(library.connect(port, "/path?query", **options))
            await attempt(library.client.connect(f"ws://us%40er:pass@127.0.0.1:{port}", proxy=None))
            lines = [line for head in heads for line in head.decode().split("\r\n")]
            return [clean(line) for line in lines if not line.startswith("Sec-WebSocket-Key")]

    assert_same(scenario)


@pytest.mark.parametrize("to_other_origin", [False, True])
def test_redirects_and_credentials(to_other_origin: bool) -> None:
    async def scenario(library: Library) -> Any:
        heads: list[bytes] = []
        async with library.serve() as server:
            location = uri(server, "/end")

            async def redirect(connection: Any, request: Any) -> Any:
                heads.append(bytes(str(sorted(request.headers.raw_items())), "ascii"))
                if request.path == "/end":
                    return None
                response = connection.respond(302, "")
                response.headers["Location"] = location if to_other_origin else "/end"
                return response

            credentials = [("Authorization", "x"), ("Cookie", "y"), ("Cookie", "z"), ("Proxy-Authorization", "z")]
            names = ["Authorization", "Cookie", "Proxy-Authorization", "Other"]
            seen_headers: list[Any] = []

            async def see(connection: Any, request: Any) -> None:
                seen_headers.append([request.headers.get_all(name) for name in names])

            async with (
                library.serve(process_request=see) as end,
                library.serve(process_request=redirect) as first,
            ):
                location = uri(end, "/end")
                headers = [*credentials, ("Other", "o")]
                async with library.connect(first, additional_headers=headers) as connection:
                    return seen_headers, connection.request.path, connection.protocol.uri.path

    assert_same(scenario)


def test_opening_takes_too_long() -> None:
    async def script(reader: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 101 X\r\n")
        await reader.read()

    async def scenario(library: Library) -> Any:
        async with raw_server(script, opens=False) as port:
            return await attempt(library.connect(port, open_timeout=0.05))

    assert_same(scenario)


@pytest.mark.parametrize("context", [True, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)], ids=["True", "context"])
def test_ssl_for_ws_is_refused_before_anything_is_awaited(context: Any) -> None:
    async def scenario(library: Library) -> Any:
        return called(library.client.connect, "ws://127.0.0.1:1/", ssl=context)

    assert assert_same(scenario) is not None


def test_connect_is_not_reentrant_but_may_be_used_again() -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve() as server:
            connector = library.connect(server)
            states = []
            async with connector as connection:
                states.append(connection.state.name)
                try:
                    async with connector:
                        pass
                except RuntimeError as exc:
                    states.append(seen(exc))
            async with connector as connection:
                states.append(connection.state.name)
            return states

    assert_same(scenario)


def test_iteration_reconnects() -> None:
    async def scenario(library: Library) -> Any:
        async with library.serve() as server:
            codes = []
            async for connection in library.connect(server):
                await connection.send("x")
                codes.append(await connection.recv())
                if len(codes) == 3:
                    await connection.close()
                    break
            return codes

    assert_same(scenario)


DECISIONS = {
    "another exception": lambda exc: ValueError("mine"),
    "the same": lambda exc: exc,
    "raising": lambda exc: {}["x"],
}


@pytest.mark.parametrize("decide", DECISIONS.values(), ids=DECISIONS)
def test_process_exception(decide: Any) -> None:
    async def scenario(library: Library) -> Any:
        async def iterate() -> None:
            async for _ in library.connect(1, process_exception=decide):
                pass

        return await attempt(iterate())

    assert_same(scenario)


def test_delays_between_attempts() -> None:
    async def scenario(library: Library) -> Any:
        lines = Lines()

        def delays() -> Any:
            yield 0.001
            yield 0.002
            raise LookupError("enough")

        async def iterate() -> None:
            async for _ in library.connect(1, reconnect_delays=delays, logger=lines.logger):
                pass

        return await attempt(iterate()), lines.lines

    assert_same(scenario)


def test_unix_sockets(tmp_path: Any) -> None:
    path = str(tmp_path / "s")

    async def scenario(library: Library) -> Any:
        async def handler(connection: Any) -> None:
            await connection.send(connection.request.headers["Host"])

        async with library.server.unix_serve(handler, path):
            received = []
            for options in ({}, {"uri": "ws://other:5/x"}):
                async with library.client.unix_connect(path, **options) as connection:
                    received.append(await connection.recv())
        return received, await attempt(library.client.unix_connect(path + "x"))

    assert_same(scenario)


@pytest.mark.parametrize("form", ["context", "bad name", "unknown authority"])
def test_tls(form: str, certificates: Certificates) -> None:
    async def scenario(library: Library) -> Any:
        server_context = certificates.other if form == "bad name" else certificates.server
        client_context: Any = True if form == "unknown authority" else certificates.client
        async with library.serve(ssl=server_context) as server:
            where = uri(server, scheme="wss")
            asyncio.get_running_loop().set_exception_handler(lambda *args: None)
            outcome = await attempt(library.client.connect(where, ssl=client_context, proxy=None))
            if isinstance(outcome, tuple):
                return outcome[0]
            async with outcome as connection:
                await connection.send("x" * 100_000)
                return len(await connection.recv())

    assert_same(scenario)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 501, 404])
def test_what_is_tried_again(status: int) -> None:
    async def scenario(library: Library) -> Any:
        requests = []

        def refuse(connection: Any, request: Any) -> Any:
            requests.append(1)
            return connection.respond(status, "") if len(requests) < 3 else None

        async with library.serve(process_request=refuse, logger=silent()) as server:

            async def iterate() -> Any:
                async for connection in library.connect(server, reconnect_delays=lambda: iter([0.0] * 9)):
                    await connection.close()
                    return len(requests)
                return None

            return await attempt(iterate())

    assert_same(scenario)


def test_connect_is_freed_without_the_garbage_collector() -> None:
    async def scenario() -> None:
        async def handler(connection: Any) -> None:
            await connection.wait_closed()

        async with OURS.serve(handler) as server:
            connecting = OURS.connect(server)
            connection = await connecting
            await connection.close()
            left = weakref.ref(connecting)
            del connecting, connection
            assert left() is None

    gc.disable()
    try:
        run(scenario())
    finally:
        gc.enable()
