"""TLS that calls back into Python: aiofastnet 1.2 crashes there, so it is not used."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, List

import pytest
from fixtures.certificates import Certificates
from fixtures.sockets import Echo, Net, Recorder, have, port_of

from picows import ws_connect


@pytest.fixture
def contexts() -> Certificates:
    """Of this test alone: it sets callbacks."""
    pytest.importorskip("trustme", reason="trustme makes the certificates and is not installed")
    return Certificates()


async def assert_echo(local: Net, port: int, context: ssl.SSLContext) -> None:
    """A message there and back, by the default transports."""
    transport, listener = await local.connect(
        Recorder, f"wss://localhost:{port}/", ssl_context=context, use_aiofastnet=None
    )
    transport.send(1, "x")
    assert (await listener.next_frame()).payload == b"x"


async def test_sni_callback_of_a_server(local: Net, contexts: Certificates) -> None:
    names: List[Any] = []
    contexts.server.sni_callback = lambda connection, name, context: names.append(name)
    server = await local.serve(lambda request: Echo(), ssl=contexts.server, use_aiofastnet=None)
    await assert_echo(local, port_of(server), contexts.client)
    assert names == ["localhost"]


async def test_log_of_keys(local: Net, contexts: Certificates, tmp_path: Path) -> None:
    contexts.client.keylog_filename = str(tmp_path / "client")
    contexts.server.keylog_filename = str(tmp_path / "server")
    server = await local.serve(lambda request: Echo(), ssl=contexts.server, use_aiofastnet=None)
    await assert_echo(local, port_of(server), contexts.client)
    keys = [sorted((tmp_path / side).read_text().splitlines()) for side in ("client", "server")]
    assert keys[0] == keys[1] != []


async def test_log_of_keys_by_the_environment(
    local: Net, contexts: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default context has it; the authority of the test is unknown to it, and there are keys by then."""
    keys = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    local.allowed_reports += ["SSL handshake failed"]
    server = await local.serve(lambda request: Echo(), ssl=contexts.server, use_aiofastnet=None)
    with pytest.raises(OSError, match="certificate verify failed"):
        await ws_connect(Recorder, f"wss://localhost:{port_of(server)}/")
    assert "HANDSHAKE_TRAFFIC_SECRET" in keys.read_text()


@pytest.mark.skipif(not have("aiofastnet"), reason="aiofastnet is not installed")
async def test_aiofastnet_is_refused(
    local: Net, contexts: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts.server.sni_callback = lambda connection, name, context: None
    with pytest.raises(ValueError, match="its TLS has no sni_callback"):
        await local.serve(lambda request: Echo(), ssl=contexts.server, use_aiofastnet=True)
    contexts.client.keylog_filename = str(tmp_path / "keys")
    with pytest.raises(ValueError, match="its TLS has no keylog_filename"):
        await ws_connect(Recorder, "wss://localhost:1/", ssl_context=contexts.client, use_aiofastnet=True)
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "others"))
    with pytest.raises(ValueError, match="SSLKEYLOGFILE"):  # a redirect may lead to TLS
        await ws_connect(Recorder, "ws://localhost:1/", use_aiofastnet=True)
