"""The name that a certificate must have is the host's without the dot of the root, and without an IPv6 zone.

websockets looks for both in the certificate, where they never are.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import pytest
from fixtures.certificates import Certificates, make_certificates
from fixtures.compat import OURS, run, silent, skip_unless_comparable

skip_unless_comparable()

from fixtures.legacy_api import legacy  # noqa: E402

Call = Any  # a coroutine function: (URI, context of TLS) -> the host that was asked for


@pytest.fixture
def certificates(monkeypatch: pytest.MonkeyPatch) -> Certificates:
    """Of localhost, which has its dot in no resolver's list of local names."""
    find = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        return find("127.0.0.1" if host in ("localhost.", b"localhost.") else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return make_certificates()


async def by_asyncio(address: str, context: ssl.SSLContext) -> Any:
    async with OURS.client.connect(address, ssl=context, proxy=None) as connection:
        return connection.request.headers["Host"]


async def by_legacy(address: str, context: ssl.SSLContext) -> Any:
    async with legacy(OURS).client.connect(address, ssl=context) as connection:
        return connection.request_headers["Host"]


async def by_legacy_on_a_socket(address: str, context: ssl.SSLContext) -> Any:
    sock = socket.create_connection(("127.0.0.1", int(address[:-1].rpartition(":")[2])))
    sock.setblocking(False)
    async with legacy(OURS).client.connect(address, ssl=context, sock=sock) as connection:
        return connection.request_headers["Host"]


async def by_threading(address: str, context: ssl.SSLContext) -> Any:
    def main() -> Any:
        with OURS.module("sync.client").connect(address, ssl=context, proxy=None) as connection:
            return connection.request.headers["Host"]

    return await asyncio.to_thread(main)


async def by_trio(address: str, context: ssl.SSLContext) -> Any:
    trio = pytest.importorskip("trio", reason="trio is not installed")

    async def main() -> Any:
        async with OURS.module("trio.client").connect(address, ssl=context, proxy=None) as connection:
            return connection.request.headers["Host"]

    return await asyncio.to_thread(trio.run, main)


@pytest.mark.parametrize("call", [by_asyncio, by_legacy, by_legacy_on_a_socket, by_threading, by_trio])
def test_the_dot_of_the_root(call: Call, certificates: Certificates) -> None:
    async def scenario() -> None:
        async with OURS.serve(ssl=certificates.server, logger=silent()) as server:
            host = f"localhost.:{server.sockets[0].getsockname()[1]}"
            assert await call(f"wss://{host}/", certificates.client) == host

    run(scenario())
