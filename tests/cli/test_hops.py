"""What may be wrong with a server, or on the way to it: one line that names who it is and says what to do."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Callable, Dict, Tuple

import pytest
from fixtures.certificates import make_certificates
from fixtures.commands import Command
from fixtures.far_ends import SITUATIONS, FarEnds, Situation, answer

from picows.cli.hops import Way, explain_opening
from picows.url import parse_url

#: What the line begins with and ends with. {host} is the URL's, {proxy} the proxy's.
LINES: Dict[str, Tuple[str, str]] = {
    "no-scheme": ("127.0.0.1:9001 is not a valid URL: ", "Write ws://HOST[:PORT]/PATH, or wss:// for TLS"),
    "http": ("http://127.0.0.1/ is not a valid URL: ", "Write ws://HOST[:PORT]/PATH, or wss:// for TLS"),
    "refused": ("nothing listens on {host}: correct host or port, or start a server (picows serve --port ", ")"),
    "refused-localhost": ("nothing listens on {host}: correct host or port, or start a server (", ")"),
    "unknown-host": ("the host name of nowhere.invalid cannot be resolved", ": check its spelling and your network"),
    "200": ("{host} refused with status 200: ", "is it a WebSocket server, and the path right?"),
    "401": ("{host} refused with status 401: ", "give credentials, in the URL or with --header 'Authorization: ...'"),
    "404": ("{host} refused with status 404: ", "check the path of the URL"),
    "426": (
        "{host} refused with status 426: a proxy between may take the Upgrade header away, ",
        "or it speaks another version of the protocol",
    ),
    "503": ("{host} refused with status 503: ", "it is overloaded or in maintenance: try again later"),
    "505": (
        "{host} refused with status 505: a proxy between may speak HTTP/1.0 with it: ",
        "it must be told to speak HTTP/1.1",
    ),
    "redirected": (
        "the host name of nowhere.invalid (redirected there by {host}) cannot be resolved",
        ": check its spelling and your network",
    ),
    "smtp": ("{host}: expected an HTTP/1.1 response, received '220 smtp.test ESMTP", "Is it a WebSocket server?"),
    "hung-up": ("{host} hung up before it answered: is it a WebSocket server? ", "It may want wss://"),
    "reset": ("the connection to {host} broke: ", "see the server's log"),
    "silent": ("{host} did not answer within 0.3 s: ", "check host and port, or wait longer with --timeout"),
    "tls-asked-of-plain": ("{host} does not speak TLS with us (", "for a server without TLS write ws://"),
    "tls-asked-hung-up": ("{host} hung up during the TLS handshake: ", "it may want a certificate of yours (--cert)"),
    "plain-asked-of-tls": ("{host} hung up before it answered: is it a WebSocket server? ", "It may want wss://"),
    "untrusted": ("the certificate of 127.0.0.1 is not trusted (", "or, only for a test, --insecure"),
    "mismatch": (
        "the certificate is not for 127.0.0.1: connect with the name that is in it, ",
        "or, only for a test, --insecure",
    ),
    "expired": ("the certificate of 127.0.0.1 is not valid now (", "check it, and this machine's clock"),
    "too-early": ("the certificate of 127.0.0.1 is not valid now (", "check it, and this machine's clock"),
    "asks-for-certificate-1.2": ("{host} ", "it may want a certificate of yours (--cert)"),
    "asks-for-certificate-1.3": ("{host} ", "t may want a certificate of yours (--cert)"),
    "proxy-refused": ("nothing listens on the proxy {proxy}: ", "correct --proxy"),
    "socks-refused": ("nothing listens on the proxy {proxy}: ", "correct --proxy"),
    "proxy-unknown": ("the host name of the proxy {proxy} cannot be resolved", ": check its spelling and your network"),
    "proxy-no-url": ("--proxy: 127.0.0.1:3128 is not a valid URL: ", "Write http://HOST:PORT or socks5://HOST:PORT"),
    "proxy-scheme": ("--proxy: the scheme of a proxy must be", "got ftp. Write http://HOST:PORT or socks5://HOST:PORT"),
    "proxy-407": (
        "the proxy http://{proxy} answered CONNECT {host} with 407 Proxy Authentication Required. ",
        "Check --proxy, its credentials, and host and port of the URL",
    ),
    "proxy-target-refused": ("the proxy http://{proxy} answered CONNECT {host} with 502", "host and port of the URL"),
    "socks-target-refused": ("the proxy", "Check --proxy, its credentials, and host and port of the URL"),
    "socks-credentials": ("the proxy", "Check --proxy, its credentials, and host and port of the URL"),
    "proxy-not-http": ("the proxy http://{proxy} answered CONNECT {host} with something", "host and port of the URL"),
    "proxy-hung-up": ("the proxy http://{proxy} closed the connection before it answered", "host and port of the URL"),
    "proxy-silent": (
        "{host} did not answer through the proxy {proxy} within 0.3 s: ",
        "check host, port and --proxy, or wait longer with --timeout",
    ),
    "proxy-untrusted": ("the certificate of 127.0.0.1 is not trusted (", "or, only for a test, --insecure"),
}
#: Those whose certificate has another fault than its authority.
_TRUSTED = ("mismatch", "expired", "too-early", "asks-for-certificate-1.2", "asks-for-certificate-1.3")


def test_every_situation_has_its_line() -> None:
    assert LINES.keys() == SITUATIONS.keys()


@pytest.mark.parametrize("verb", ["connect", "bench"])
@pytest.mark.parametrize(("situation", "name"), [(name, name) for name in LINES], ids=LINES, indirect=["situation"])
def test_one_line(fails: Callable[..., str], tls: Path, verb: str, name: str, situation: Situation) -> None:
    options = ["--proxy", situation.proxy] if situation.proxy else []
    if name in _TRUSTED:
        options += ["--ca-file", str(tls / "authority.pem")]
    if name.endswith("silent"):
        options += ["--timeout", "0.3"]
    line = fails(verb, situation.url, *options)
    begin, end = (text.format(host=situation.host, proxy=situation.proxy_host) for text in LINES[name])
    assert line.startswith(begin)
    assert line.endswith(end)
    assert "secret" not in line
    assert "wrong" not in line


def test_a_process_of_its_own_prints_no_more(command: Command, far_ends: FarEnds) -> None:
    """Neither does the event loop, which would log a TLS handshake that fails, with a traceback."""
    line = command.fails("connect", f"wss://127.0.0.1:{far_ends.server()}/")
    assert "hung up during the TLS handshake" in line


def test_a_server_to_start_is_proposed_for_this_machine_only() -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    ways = {url: Way(1.0, target=parse_url(url), hop=parse_url(url)) for url in ("wss://[::1]:7/", "ws://far.test:7/")}
    assert [explain_opening(refused, way) for way in ways.values()] == [
        "nothing listens on [::1]:7: correct host or port, or start a server (picows serve --port 7 --cert FILE)",
        "nothing listens on far.test:7: correct host or port",
    ]


def test_too_many_open_files() -> None:
    line = explain_opening(OSError(errno.EMFILE, "Too many open files"), Way(1.0, target=parse_url("ws://far.test/")))
    assert line is not None
    assert line.endswith("raise the limit (ulimit -n), or ask for fewer --connections")


def test_redirects_without_an_end(fails: Callable[..., str], far_ends: FarEnds) -> None:
    port = far_ends.server(answer("307 Temporary Redirect", "Location: /again\x01"))
    line = fails("connect", f"ws://127.0.0.1:{port}/")
    assert "Is it a WebSocket server?" in line
    port = far_ends.server(answer("307 Temporary Redirect", "Location: /again"))
    assert fails("connect", f"ws://127.0.0.1:{port}/") == (
        f"127.0.0.1:{port} refused with status 307: it redirects to /again: connect to that"
    )


def test_certificates(command: Command, tls: Path) -> None:
    """Trusted, not trusted, for another name, and not looked at."""
    authority = str(tls / "authority.pem")
    url = command.serve("--cert", str(tls / "server.pem"))
    assert url.startswith("wss://127.0.0.1:")
    done = command.run("connect", url, "--ca-file", authority, stdin="secret\n")
    assert (done.returncode, done.stdout) == (0, "secret\n")
    line = command.fails("connect", url)
    assert "is not trusted" in line
    assert "--ca-file" in line
    listening = command.serve("--cert", str(tls / "server.pem"), "--host", "127.0.0.2")
    other = f"wss://127.0.0.2:{listening.rpartition(':')[2]}"
    line = command.fails("connect", other, "--ca-file", authority)
    assert line.startswith("the certificate is not for 127.0.0.2: connect with the name that is in it")
    done = command.run("connect", other, "--insecure", stdin="x\n")
    assert (done.returncode, done.stdout) == (0, "x\n")


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_certificate_of_ours(fails: Callable[..., str], far_ends: FarEnds, tls: Path, version: str) -> None:
    """A server that asks for one gets it: what it then answers is seen."""
    port = far_ends.server(answer("404 Not Found"), tls=make_certificates().asking[version])
    options = ("--ca-file", str(tls / "authority.pem"), "--cert", str(tls / "server.pem"))
    assert "refused with status 404" in fails("connect", f"wss://127.0.0.1:{port}/", *options)


def test_an_https_proxy_is_trusted_by_the_same_file(
    fails: Callable[..., str], far_ends: FarEnds, tls: Path, free_port: int
) -> None:
    proxy = far_ends.proxy("https", make_certificates().server)
    line = fails("connect", f"ws://127.0.0.1:{free_port}/", "--proxy", proxy, "--ca-file", str(tls / "authority.pem"))
    assert "with 502 Bad Gateway" in line


def test_a_client_that_does_not_trust_the_server(command: Command, tls: Path) -> None:
    """The server at the keyboard shows no traceback either."""
    server = command.start("serve", "--cert", str(tls / "server.pem"), "--port", "0")
    url = server.stdout.readline().split(" on ")[1].strip()
    assert "is not trusted" in command.fails("connect", url)
    assert command.run("connect", url, "--insecure", stdin="x\n").stdout == "x\n"
    server.terminate()
    assert server.wait(20) == 0
    assert server.stderr.read() == "GET /\n"
