"""`python -m picows.websockets` that cannot connect: the line of websockets, what to do about it, exit code 1."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")

from fixtures.certificates import make_certificates
from fixtures.far_ends import SITUATIONS, FarEnds, Situation, far_ends, free_port, situation

from picows.websockets.cli import main

__all__ = ["far_ends", "free_port", "situation"]

_URI = "Write ws://HOST[:PORT]/PATH, or wss:// for TLS."
_SERVER = "Is it a WebSocket server? It may want wss://."
_PROXY = "the proxy that the environment names (https_proxy, socks_proxy ...)"
_CHECK_PROXY = f"Check {_PROXY}, and host and port."
_OWN = "It may want a certificate of yours."
_TEST = "or, only for a test, --insecure."
#: What the line says of the failure, and what it ends with.
LINES: dict[str, tuple[str, str]] = {
    "no-scheme": ("isn't a valid URI", _URI),
    "http": ("isn't a valid URI", _URI),
    "refused": ("Connect call failed", "Nothing listens there: correct host or port."),
    "refused-localhost": ("Connect call failed", "Nothing listens there: correct host or port."),
    "unknown-host": ("Name or service not known", "Check the spelling of the host's name, and your network."),
    "200": ("HTTP 200", "Is it a WebSocket server, and the path right?"),
    "401": ("HTTP 401", "Give credentials: ws://USER:PASSWORD@HOST/PATH."),
    "404": ("HTTP 404", "Check the path."),
    "426": (
        "HTTP 426",
        "A proxy between may take the Upgrade header away, or it speaks another version of the protocol.",
    ),
    "505": ("HTTP 505", "A proxy between may speak HTTP/1.0 with it: it must be told to speak HTTP/1.1."),
    "503": ("HTTP 503", "It is overloaded or in maintenance: try again later."),
    "redirected": ("Name or service not known", "Check the spelling of the host's name, and your network."),
    "smtp": ("did not receive a valid HTTP response", _SERVER),
    "hung-up": ("did not receive a valid HTTP response", _SERVER),
    "reset": ("Connection reset by peer", "See the server's log."),
    "tls-asked-of-plain": ("WRONG_VERSION_NUMBER", "For a server without TLS write ws://."),
    "tls-asked-hung-up": ("ConnectionResetError", _OWN),
    "plain-asked-of-tls": ("did not receive a valid HTTP response", _SERVER),
    "untrusted": ("unable to get local issuer certificate", f"Name its authority in SSL_CERT_FILE, {_TEST}"),
    "mismatch": ("mismatch", f"Connect with the name that is in the certificate, {_TEST}"),
    "expired": ("certificate has expired", "Check the certificate, and this machine's clock."),
    "too-early": ("certificate is not yet valid", "Check the certificate, and this machine's clock."),
    "asks-for-certificate-1.2": ("", _OWN),
    "asks-for-certificate-1.3": ("", _OWN),
    "proxy-refused": ("Connect call failed", "Nothing listens there: correct host or port."),
    "socks-refused": ("cannot connect to proxy", "Nothing listens there: correct host or port."),
    "proxy-unknown": ("Name or service not known", "Check the spelling of the host's name, and your network."),
    "proxy-no-url": ("isn't a valid proxy", f"Correct {_PROXY}."),
    "proxy-scheme": ("isn't a valid proxy", f"Correct {_PROXY}."),
    "proxy-407": ("HTTP 407", f"Give credentials to {_PROXY}: http://USER:PASSWORD@HOST:PORT."),
    "proxy-target-refused": ("HTTP 502", _CHECK_PROXY),
    "socks-target-refused": ("Connection refused by destination host", _CHECK_PROXY),
    "socks-credentials": ("authentication fail", _CHECK_PROXY),
    "proxy-not-http": ("220 smtp.test ESMTP", _CHECK_PROXY),
    "proxy-hung-up": ("did not receive a valid HTTP response from proxy", _CHECK_PROXY),
    "proxy-untrusted": ("unable to get local issuer certificate", f"Name its authority in SSL_CERT_FILE, {_TEST}"),
}
#: Those whose certificate has another fault than its authority.
_TRUSTED = ("mismatch", "expired", "too-early", "asks-for-certificate-1.2", "asks-for-certificate-1.3")


@pytest.fixture
def fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str, str | None, bool], str]:
    """Run the command, which must fail. Returns the one line that it prints."""

    def run(uri: str, proxy: str | None, is_trusted: bool) -> str:
        for name in ("ws", "wss", "http", "https", "socks", "all", "no"):
            monkeypatch.delenv(f"{name}_proxy", raising=False)
            monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
        if proxy is not None:
            monkeypatch.setenv("all_proxy", proxy)
        if is_trusted:
            (tmp_path / "authority.pem").write_bytes(make_certificates().authority_pem)
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        with pytest.raises(SystemExit) as raised:
            main([uri])
        printed = capsys.readouterr()
        (line,) = printed.err.splitlines()
        assert (raised.value.code, printed.out) == (1, "")
        return line

    return run


def test_every_situation_has_its_line() -> None:
    """But for silence, which takes the ten seconds of `connect` to notice, and has a test of its own."""
    assert SITUATIONS.keys() - LINES.keys() == {"silent", "proxy-silent"}
    assert LINES.keys() <= SITUATIONS.keys()


@pytest.mark.parametrize(("situation", "name"), [(name, name) for name in LINES], ids=LINES, indirect=["situation"])
def test_one_line(fails: Callable[[str, str | None, bool], str], name: str, situation: Situation) -> None:
    line = fails(situation.url, situation.proxy, name in _TRUSTED)
    failure, what_to_do = LINES[name]
    assert line.startswith(f"Failed to connect to {situation.url}: ")
    assert failure in line
    assert line.endswith(f" {what_to_do}")
    assert "secret" not in line


def test_silence(
    fails: Callable[[str, str | None, bool], str], far_ends: FarEnds, monkeypatch: pytest.MonkeyPatch
) -> None:
    from picows.websockets import cli

    connect = cli.connect
    monkeypatch.setattr(cli, "connect", lambda uri, **options: connect(uri, open_timeout=0.3, **options))
    line = fails(f"ws://127.0.0.1:{far_ends.server(stays=True)}/", None, False)
    assert line.endswith(f": timed out during opening handshake. Check host and port, and {_PROXY}.")
