"""Mistakes at the keyboard: one line that says what to do, exit code 1; 2 for a command line that makes no sense."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Callable, Iterator, List, Optional

import pytest
from fixtures.certificates import make_certificates
from fixtures.commands import Command, write_talker

from picows.cli.main import main

VERBS = [pytest.param("connect", id="connect"), pytest.param("bench", id="bench")]


@pytest.fixture
def peer() -> Iterator[Callable[..., int]]:
    """Start a server that answers each connection with some bytes and hangs up. Returns its port."""
    opened: List[socket.socket] = []

    def start(answer: bytes = b"", is_silent: bool = False) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        opened.append(listening)

        def run() -> None:
            try:
                connection = listening.accept()[0]
            except OSError:  # the test is over
                return
            opened.append(connection)
            connection.recv(65536)
            if not is_silent:
                connection.sendall(answer)
                connection.close()

        threading.Thread(target=run, daemon=True).start()
        return int(listening.getsockname()[1])

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`Command.fails` without a process of its own, which would take longer than the failure."""

    def run(*arguments: str) -> str:
        code = main(arguments)
        printed = capsys.readouterr()
        (line,) = printed.err.splitlines()
        assert (code, printed.out, line[:8]) == (1, "", "picows: ")
        return line[8:]

    return run


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port on which nothing listens: it is bound."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    """authority.pem, and server.pem for 127.0.0.1 and localhost."""
    certificates = make_certificates()
    (tmp_path / "authority.pem").write_bytes(certificates.authority_pem)
    (tmp_path / "server.pem").write_bytes(certificates.server_pem)
    return tmp_path


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("127.0.0.1:9001", "Write ws://HOST[:PORT]/PATH"),
        ("http://127.0.0.1/", "Write ws://HOST[:PORT]/PATH"),
        ("ws://host:99999/", "Write ws://"),
        ("ws://\x1b[2J/", "\\x1b"),
        ("ws://user:secret@127.0.0.1:x/", "Write ws://"),
    ],
    ids=["no-scheme", "http", "port", "control", "password"],
)
def test_a_wrong_url(fails: Callable[..., str], verb: str, url: str, hint: str) -> None:
    line = fails(verb, url)
    assert "is not a valid URL" in line
    assert hint in line
    assert "secret" not in line
    assert "\x1b" not in line


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_refused_port(command: Command, verb: str, host: str, free_port: int) -> None:
    line = command.fails(verb, f"ws://{host}:{free_port}/")
    assert line == (
        f"nothing listens on {host}:{free_port}: correct host or port, or start a server"
        f" (picows serve --port {free_port})"
    )


def test_a_host_that_does_not_exist(fails: Callable[..., str]) -> None:
    assert "nowhere.invalid cannot be resolved" in fails("connect", "ws://nowhere.invalid/")


def test_a_server_that_is_silent(command: Command, peer: Callable[..., int]) -> None:
    port = peer(is_silent=True)
    line = command.fails("connect", f"ws://127.0.0.1:{port}/", "--timeout", "0.2")
    assert line == f"127.0.0.1:{port} did not answer within 0.2 s: check host and port, or wait longer with --timeout"


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "refused with status 404: check the path"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", "refused with status 401: give credentials"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "refused with status 200: is it a WebSocket server"),
        (b"", "hung up before it answered: is it a WebSocket server? It may want wss://"),
        (b"220 smtp.test ESMTP\r\n\r\n", "Is it a WebSocket server?"),
    ],
    ids=["404", "401", "200", "hung-up", "not-http"],
)
def test_another_kind_of_server(fails: Callable[..., str], peer: Callable[..., int], answer: bytes, hint: str) -> None:
    assert hint in fails("connect", f"ws://127.0.0.1:{peer(answer)}/")


def test_no_tls_where_tls_was_expected(fails: Callable[..., str], peer: Callable[..., int]) -> None:
    line = fails("connect", f"wss://127.0.0.1:{peer(b'HTTP/1.1 400 No' + bytes(100))}/")
    assert "does not speak TLS" in line
    assert "write ws://" in line


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


@pytest.mark.parametrize(
    ("content", "hint"),
    [(None, "cannot be read: No such file"), ("text", "holds no certificate")],
    ids=["none", "no-pem"],
)
def test_a_useless_file_of_authorities(
    fails: Callable[..., str], tmp_path: Path, content: Optional[str], hint: str
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    assert hint in fails("connect", "wss://127.0.0.1:1/", "--ca-file", str(file))


def test_a_taken_port(command: Command, echo_url: str) -> None:
    port = echo_url.rpartition(":")[2]
    assert command.fails("serve", "--port", port) == (
        f"127.0.0.1:{port} is taken by another program: choose another --port, 0 is any free one"
    )


def test_an_address_of_another_machine(fails: Callable[..., str]) -> None:
    assert fails("serve", "--host", "192.0.2.1", "--port", "0") == (
        "192.0.2.1 is no address of this machine: see --host"
    )


@pytest.mark.parametrize(
    ("listener", "hint"),
    [
        ("ecko", "write echo, broadcast or MODULE:LISTENER"),
        ("nowhere:X", "there is no module nowhere"),
        ("broken:X", "broken cannot be imported: No module named 'absent'"),
        ("talker:X", "talker has no X"),
        ("talker:nested.X", "talker has no nested.X: X is missing"),
        ("talker:number", "is a int: it must be a WSListener class"),
        ("talker:Stranger", "is no WSListener"),
    ],
    ids=["name", "module", "import", "attribute", "nested", "number", "class"],
)
def test_a_listener_that_is_none(command: Command, tmp_path: Path, listener: str, hint: str) -> None:
    write_talker(tmp_path)
    (tmp_path / "broken.py").write_text("import absent\n")
    assert hint in command.fails("serve", listener, "--port", "0", cwd=tmp_path)


def test_certificates_that_cannot_be_served(fails: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("text")
    assert "cannot be read" in fails("serve", "--cert", str(tmp_path / "none.pem"))
    assert "cannot be used" in fails("serve", "--cert", str(tmp_path / "text.pem"))


@pytest.mark.parametrize(
    "arguments",
    [
        "conect ws://127.0.0.1/",
        "connect",
        "connect ws://127.0.0.1/ --count 0",
        "connect ws://127.0.0.1/ --count many",
        "connect ws://127.0.0.1/ --header nocolon",
        "connect ws://127.0.0.1/ --timeout nan",
        "connect ws://127.0.0.1/ --insecure --ca-file x",
        "connect ws://127.0.0.1/ --bench --send x",
        "connect ws://127.0.0.1/ --bench --count 3",
        "connect ws://127.0.0.1/ --bench --raw",
        "serve --port 65536",
        "serve --key x",
        "bench ws://127.0.0.1/ --messages 3 --duration 3",
        "bench ws://127.0.0.1/ --rate 0",
        "bench ws://127.0.0.1/ --size -1",
    ],
)
def test_usage(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments.split())
    assert raised.value.code == 2
    assert "picows" in capsys.readouterr().err
