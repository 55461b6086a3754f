"""`picows connect` without a terminal: lines in, messages out, and what ends it."""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
from pathlib import Path

import pytest
from fixtures.commands import TIMEOUT_S, Command, write_talker

from picows import WSConnectionClosed
from picows.cli.connect import Conversation
from picows.cli.screen import Screen


def test_lines_of_stdin_are_sent_and_answers_printed(each_command: Command) -> None:
    done = each_command.run("connect", each_command.serve(), stdin='one\r\n{"a": 1}\n\nüñ\nlast')
    assert (done.returncode, done.stdout, done.stderr) == (0, 'one\n{"a": 1}\n\nüñ\nlast\n', "")


def test_more_than_fits_into_buffers(command: Command, echo_url: str) -> None:
    lines = "".join(f"{number:0>200}\n" for number in range(20_000))
    done = command.run("connect", echo_url, stdin=lines)
    assert (done.returncode, done.stdout == lines, done.stderr) == (0, True, "")


def test_send_and_count(command: Command, echo_url: str) -> None:
    done = command.run("connect", echo_url, "--send", "a", "--send", "b", "--send", "c", "--count", "2", stdin="no\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\nb\n", "")


def test_send_alone_waits_for_what_comes_before_the_close(command: Command, echo_url: str) -> None:
    done = command.run("connect", echo_url, "-s", "a", stdin="not read\n")
    assert (done.returncode, done.stdout) == (0, "a\n")


def test_the_end_of_the_input_does_not_end_a_count(command: Command, echo_url: str) -> None:
    done = command.run("connect", echo_url, "--count", "1", stdin="x\n")
    assert (done.returncode, done.stdout) == (0, "x\n")


def test_ping_times_go_to_stderr(command: Command, echo_url: str) -> None:
    process = command.start("connect", echo_url, "--ping", "0.01", stdin=subprocess.PIPE)
    line = process.stderr.readline()
    assert line.startswith("ping ")
    assert line.endswith(" ms\n")
    process.communicate("", timeout=TIMEOUT_S)
    assert process.returncode == 0


def test_what_a_server_says_and_why_it_ends(command: Command, tmp_path: Path) -> None:
    write_talker(tmp_path)
    done = command.run("connect", command.serve("talker:Talker", cwd=tmp_path), "--count", "9")
    shown = " ".join(f"{byte:02x}" for byte in range(64))
    # A pipe gets text as it came; what we say ourselves is fit for a terminal.
    assert done.stdout.splitlines() == [
        '{"price":1.10,"tags":[],"x":{"a":[1,2]}}',
        "\x1b[2Jcleared\u202e",
        f"(binary, 70 bytes) {shown}...",
    ]
    assert done.stderr == "picows: got 3 of 9 messages: connection closed, code 4001: had \\x1b enough\n"
    assert done.returncode == 1


def test_a_close_code_that_is_an_error_fails_without_a_count(command: Command, tmp_path: Path) -> None:
    write_talker(tmp_path)
    process = command.start("connect", command.serve("talker:Talker", cwd=tmp_path), stdin=subprocess.PIPE)
    process.wait(TIMEOUT_S)  # its input is still open
    assert process.stderr.read() == "picows: connection closed, code 4001: had \\x1b enough\n"
    assert process.returncode == 1


def test_a_refusal_that_crosses_our_close(command: Command, tmp_path: Path) -> None:
    """The end of the input closes properly, and the server has something else to say."""
    write_talker(tmp_path)
    line = command.fails("connect", command.serve("talker:Refuser", cwd=tmp_path), "--send", "x")
    assert line == "connection closed, code 1008: not \\x1b you"


def test_a_server_that_leaves_without_a_close(command: Command, tmp_path: Path) -> None:
    write_talker(tmp_path)
    line = command.fails("connect", command.serve("talker:Leaver", cwd=tmp_path), stdin="x\n")
    assert line.startswith("connection closed, code 1006")


class _Deaf:
    """A listener and its transport; nobody answers the CLOSE."""

    def __init__(self) -> None:
        self._end = asyncio.Event()

    async def close(self) -> None:
        await self._end.wait()

    async def recv(self) -> str:
        await self._end.wait()
        raise WSConnectionClosed(1006, "")

    def disconnect(self, graceful: bool = True) -> None:
        assert not graceful
        self._end.set()


def test_ctrl_c_does_not_wait_for_a_server_that_is_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picows.cli.connect._INTERRUPTED_S", 0.0)

    async def main() -> None:
        options = argparse.Namespace(url="ws://far.test/", count=1, send=[], ping=None)
        conversation = Conversation(Screen(is_raw=True), options)
        conversation._transport = conversation._listener = _Deaf()
        task = asyncio.ensure_future(conversation.run(asyncio.Event().wait))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_a_reader_that_has_enough(command: Command, echo_url: str) -> None:
    process = command.start("connect", echo_url, "--send", "x", "--count", "1")
    process.stdout.close()
    process.wait(TIMEOUT_S)
    assert (process.returncode, process.stderr.read()) == (1, "")


@pytest.mark.parametrize("header", ["X-Y: ü\ny", "Bad Name: x"], ids=["line-end", "name"])
def test_a_header_that_cannot_be_sent(command: Command, echo_url: str, header: str) -> None:
    assert "header" in command.fails("connect", echo_url, "--header", header).lower()


def test_a_quick_benchmark(each_command: Command, each_echo_url: str) -> None:
    done = each_command.run("connect", each_echo_url.replace("//", "//me:secret@"), "--bench", stdin="not read\n")
    assert (done.returncode, done.stderr) == (0, "")
    head, opening, latency, throughput = done.stdout.splitlines()
    assert re.fullmatch(rf"{each_echo_url}/?, picows \S+ \({each_command.engine}\), 256 bytes", head)
    assert re.fullmatch(r"opening +\d+\.\d\d ms", opening)
    found = re.fullmatch(
        r"latency +median ([\d.]+) us, p99 ([\d.]+) us, max ([\d.]+) us \(1 in flight, (\d+) messages\)", latency
    )
    assert found is not None, latency
    median, worse, worst, count = map(float, found.groups())
    assert 0 < median <= worse <= worst
    assert count > 0
    found = re.fullmatch(r"throughput +([\d.]+)/s, ([\d.]+) MB/s each way \(64 in flight, (\d+) messages\)", throughput)
    assert found is not None, throughput
    per_second, megabytes, count = map(float, found.groups())
    assert megabytes == pytest.approx(per_second * 256 / 1e6, abs=0.01)
    assert per_second == pytest.approx(count, rel=0.5)  # it lasts for about a second


def test_a_quick_benchmark_of_a_server_that_does_not_echo(command: Command, tmp_path: Path) -> None:
    write_talker(tmp_path)
    url = command.serve("talker:Mute", cwd=tmp_path)
    assert "bench needs a server that echoes" in command.fails("connect", url, "--bench", "--timeout", "0.3")
