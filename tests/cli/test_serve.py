"""`picows serve`: who gets what, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.commands import TIMEOUT_S, Command, write_talker


def test_broadcast_reaches_everybody(each_command: Command) -> None:
    url = each_command.serve("broadcast")
    first = each_command.start("connect", url, stdin=subprocess.PIPE)
    first.stdin.write("alone\n")
    first.stdin.flush()
    assert first.stdout.readline() == "alone\n"  # it has joined
    done = each_command.run("connect", url, "--send", "hello", "--count", "1")
    assert done.stdout == "hello\n"
    assert first.stdout.readline() == "hello\n"
    first.stdin.close()
    assert first.wait(TIMEOUT_S) == 0


@pytest.mark.parametrize("name", ["talker:Talker", "talker:nested.Talker"])
def test_a_listener_of_a_module(command: Command, tmp_path: Path, name: str) -> None:
    write_talker(tmp_path)
    done = command.run("connect", command.serve(name, cwd=tmp_path), "--count", "1")
    assert done.stdout == '{"price":1.10,"tags":[],"x":{"a":[1,2]}}\n'


def test_nobody_reads_the_reports(command: Command) -> None:
    server = command.start("serve", "--port", "0")
    url = server.stdout.readline().split(" on ")[1].strip()
    server.stderr.close()
    done = command.run("connect", url, "--send", "a")
    assert (done.returncode, done.stdout) == (0, "a\n")


def test_a_factory_decides_by_the_request(command: Command, tmp_path: Path) -> None:
    write_talker(tmp_path)
    url = command.serve("talker:by_path", cwd=tmp_path)
    assert command.run("connect", f"{url}/ok").returncode == 0
    assert "refused with status 404" in command.fails("connect", f"{url}/other")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM that a process could handle")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
def test_it_says_goodbye(each_command: Command, number: int) -> None:
    server = each_command.start("serve", "--port", "0")
    url = server.stdout.readline().split(" on ")[1].strip()
    client = each_command.start("connect", url, stdin=subprocess.PIPE)
    client.stdin.write("x\n")
    client.stdin.flush()
    assert client.stdout.readline() == "x\n"
    server.send_signal(number)
    assert server.wait(TIMEOUT_S) == 0
    assert server.stderr.read() == "GET /\n"
    assert client.wait(TIMEOUT_S) == 0  # 1001 is a proper end
    assert client.stderr.read() == ""
