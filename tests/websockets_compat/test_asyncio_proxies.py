"""Connecting through proxies: explicit ones and those of the environment, on websockets and on ours."""

from __future__ import annotations

from typing import Any

import pytest
from fixtures.certificates import make_certificates
from fixtures.compat import OURS, Library, assert_same, attempt, clean, run, skip_unless_comparable, uri
from fixtures.proxies import HTTPProxy, Socks4Proxy, Socks5Proxy

skip_unless_comparable()
pytest.importorskip("python_socks", reason="python-socks speaks SOCKS and is not installed")

VARIABLES = ("ws_proxy", "wss_proxy", "http_proxy", "https_proxy", "socks_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def exchange(library: Library, proxy: Any, proxy_url: Any, tls: bool, **options: Any) -> Any:
    """What comes of a message through a proxy, and what the proxy was asked."""
    certificates = make_certificates()
    async with library.serve(ssl=certificates.server if tls else None) as server:
        if tls:
            options["ssl"] = certificates.client
        where = uri(server, scheme="wss" if tls else "ws")
        outcome = await attempt(library.client.connect(where, proxy=proxy_url, **options))
        if not isinstance(outcome, tuple):
            async with outcome as connection:
                await connection.send("through")
                outcome = await connection.recv()
        requests = [clean(head.decode("latin-1")) for head in proxy.heads if head[:1] == b"C"]
        return outcome, proxy.connections, len(proxy.targets), requests


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks4", "socks4a", "socks5", "socks5h"])
def test_messages_go_through(scheme: str, tls: bool) -> None:
    async def scenario(library: Library) -> Any:
        options: dict[str, Any] = {}
        if scheme == "https":
            options = {"proxy_ssl": make_certificates().client}
            proxy: Any = HTTPProxy(ssl_context=make_certificates().server)
        elif scheme == "http":
            proxy = HTTPProxy()
        else:
            proxy = Socks4Proxy() if scheme.startswith("socks4") else Socks5Proxy()
        async with proxy:
            return await exchange(library, proxy, f"{scheme}://127.0.0.1:{proxy.port}", tls, **options)

    outcome = assert_same(scenario)
    assert outcome[:3] == ("through", 1, 1)


@pytest.mark.parametrize("user_info", ["", "us%40er:pass", "wrong:one"])
def test_credentials(user_info: str) -> None:
    async def scenario(library: Library) -> Any:
        async with HTTPProxy(credentials=("us@er", "pass")) as proxy:
            where = f"http://{user_info + '@' if user_info else ''}127.0.0.1:{proxy.port}"
            return await exchange(library, proxy, where, False, user_agent_header=None)

    assert_same(scenario)


ANSWERS = {
    "403": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nbody",
    "no HTTP": b"hello\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_proxies_that_refuse(answer: bytes, asyncio_errors: list[str]) -> None:
    async def scenario(library: Library) -> Any:
        async with HTTPProxy(answer=answer, hang_up=not answer) as proxy:
            outcome = await exchange(library, proxy, f"http://127.0.0.1:{proxy.port}", False)
            return outcome[0]

    assert_same(scenario)
    # websockets 17.4 raises in a callback of asyncio's transport; ours here are aiofastnet's, or raise nothing.
    theirs = [error for error in asyncio_errors if "EOFError('stream ended')" in error]
    assert len(theirs) <= (not answer)
    asyncio_errors[:] = [error for error in asyncio_errors if error not in theirs]


@pytest.mark.parametrize("bypass", [None, "127.0.0.1", "*", "other.host"])
@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "ws_proxy"])
def test_the_environment(variable: str, bypass: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(library: Library) -> Any:
        async with HTTPProxy() as proxy:
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
            if bypass is not None:
                monkeypatch.setenv("no_proxy", bypass)
            outcome = await exchange(library, proxy, True, False)
            return outcome[:2]

    assert_same(scenario)


def test_all_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at by ours alone, after all others."""

    async def scenario() -> Any:
        async with HTTPProxy() as proxy:
            monkeypatch.setenv("all_proxy", f"http://127.0.0.1:{proxy.port}")
            return await exchange(OURS, proxy, True, False)

    assert run(scenario())[:2] == ("through", 1)


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
def test_who_looks_up_the_name(scheme: str) -> None:
    """The proxy where the scheme ends with a letter: then it has got the name, and else an address."""

    async def scenario(library: Library) -> Any:
        proxy = Socks4Proxy() if scheme.startswith("socks4") else Socks5Proxy()
        async with proxy, library.serve() as server:
            where = uri(server).replace("127.0.0.1", "localhost")
            async with library.client.connect(where, proxy=f"{scheme}://127.0.0.1:{proxy.port}"):
                return [host for host, _ in proxy.targets]

    assert_same(scenario)


@pytest.mark.parametrize("options", [{"host": "127.0.0.1"}, {"port": 1}, {"proxy_host": "127.0.0.1"}], ids=str)
def test_another_address_does_not_go_with_an_http_proxy(options: dict[str, Any]) -> None:
    """It would be taken for that of the proxy."""

    async def scenario(library: Library) -> Any:
        async with HTTPProxy() as proxy:
            outcome = await exchange(library, proxy, f"http://127.0.0.1:{proxy.port}", False, **options)
            kind, text, cause = outcome[0]
            return kind, text.replace("BaseEventLoop.", ""), cause, proxy.connections

    assert assert_same(scenario)[0] == "TypeError"


@pytest.mark.parametrize("name", ["proxy_ssl", "proxy_server_hostname", "proxy_timeout"])
def test_socks_proxies_have_no_options_of_tls(name: str) -> None:
    """As in websockets 17.4, which leaves a socket open, so that it does not take part."""

    async def scenario() -> Any:
        async with Socks5Proxy() as proxy:
            return await exchange(OURS, proxy, f"socks5://127.0.0.1:{proxy.port}", False, **{name: None})

    kind, text, _ = run(scenario())[0]
    assert kind == "TypeError"
    assert text.endswith(f"create_connection() got an unexpected keyword argument '{name}'")
