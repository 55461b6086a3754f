"""Mistakes at the keyboard: one line that says what to do, exit code 1; 2 for a command line that makes no sense.

What is wrong with servers and proxies is in test_hops.py.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Callable, Optional, Tuple

import pytest
from fixtures.commands import TIMEOUT_S, Command, write_talker

from picows.cli.faults import explain
from picows.cli.main import main

VERBS = [pytest.param("connect", id="connect"), pytest.param("bench", id="bench")]


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


def test_a_host_that_is_no_name(fails: Callable[..., str]) -> None:
    host = "a" * 70
    assert fails("serve", "--host", host, "--port", "0") == f"{host} is no host name: see --host"


def test_too_little_memory() -> None:
    assert explain(MemoryError()) == "there is not enough memory for that: ask for smaller or fewer messages"


@pytest.mark.parametrize(
    ("arguments", "code"), [("doctor", 0), ("connect ws://127.0.0.1:1/", 1)], ids=["doctor", "connect"]
)
def test_closed_streams(monkeypatch: pytest.MonkeyPatch, arguments: str, code: int) -> None:
    """Python has None for them."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(arguments.split()) == code


@pytest.mark.parametrize("arguments", [(), ("doctor", "--json")], ids=["none", "doctor"])
def test_a_reader_that_is_gone(command: Command, arguments: Tuple[str, ...]) -> None:
    process = command.start(*arguments)
    process.stdout.close()
    process.wait(TIMEOUT_S)
    assert (process.returncode, process.stderr.read()) == (1, "")


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
        ("broken:X", "broken cannot be imported: ModuleNotFoundError: No module named 'absent' ("),
        ("syntax:X", "syntax cannot be imported: SyntaxError: "),
        ("raising:X", "raising cannot be imported: ValueError: no \\x1b ("),
        ("./talker.py:Talker", "./talker.py is no name of a module: write MODULE:LISTENER"),
        ("talker.py:Talker", "talker.py is no name of a module: write MODULE:LISTENER"),
        ("talker:X", "talker has no X"),
        ("talker:nested.X", "talker has no nested.X: X is missing"),
        ("talker:number", "is a int: it must be a WSListener class"),
        ("talker:Stranger", "is no WSListener"),
    ],
    ids=["name", "module", "import", "syntax", "raises", "path", "file", "attribute", "nested", "number", "class"],
)
def test_a_listener_that_is_none(command: Command, tmp_path: Path, listener: str, hint: str) -> None:
    write_talker(tmp_path)
    (tmp_path / "broken.py").write_text("import absent\n")
    (tmp_path / "syntax.py").write_text("x =\n")
    (tmp_path / "raising.py").write_text("\nraise ValueError('no \\x1b')\n")
    line = command.fails("serve", listener, "--port", "0", cwd=tmp_path)
    assert hint in line
    if " be imported: " in line:
        assert re.search(r"\((.*)(broken|syntax|raising)\.py, line [12]\)$", line)


@pytest.mark.parametrize("verb", ["connect", "bench"])
def test_a_certificate_of_ours_that_cannot_be_used(fails: Callable[..., str], tmp_path: Path, verb: str) -> None:
    (tmp_path / "text.pem").write_text("text")
    assert "cannot be read" in fails(verb, "wss://127.0.0.1:1/", "--cert", str(tmp_path / "none.pem"))
    assert "cannot be used" in fails(verb, "wss://127.0.0.1:1/", "--cert", str(tmp_path / "text.pem"))


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
        "connect ws://127.0.0.1/ --send \udcff",
        "connect ws://127.0.0.1/ --insecure --ca-file x",
        "connect ws://127.0.0.1/ --bench --send x",
        "connect ws://127.0.0.1/ --bench --count 3",
        "connect ws://127.0.0.1/ --bench --raw",
        "serve --port 65536",
        "serve --key x",
        "connect wss://127.0.0.1/ --key x",
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
