"""`picows bench`: its numbers, its report, and servers that cannot be measured."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from pathlib import Path

import pytest
from fixtures.commands import TIMEOUT_S, Command, write_talker

from picows.cli.load import Load, Settings

QUICK = ("--warmup", "0")


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ((), {"connections": 1, "size": 256, "depth": 1, "rate": None, "is_text": False}),
        (("-c", "3", "-d", "4", "-s", "0", "--text"), {"connections": 3, "size": 0, "depth": 4, "is_text": True}),
        (("-s", "100000"), {"size": 100000}),
        (("-r", "2000", "-c", "2"), {"rate": 2000.0, "depth": None}),
        (("-r", "5000", "-d", "1"), {"rate": 5000.0, "depth": 1}),
    ],
    ids=["defaults", "empty-text", "large", "rate", "rate-and-depth"],
)
def test_the_numbers(
    each_command: Command, each_echo_url: str, arguments: tuple[str, ...], settings: dict[str, object]
) -> None:
    done = each_command.run("bench", each_echo_url, "--json", "--messages", "200", *QUICK, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert settings.items() <= result["settings"].items()
    assert result["implementation"] == each_command.engine
    assert result["messages"] == 200 == sum(bucket["count"] for bucket in result["histogram"])
    assert result["messages_per_s"] == pytest.approx(200 / result["seconds"], rel=0.001)
    latency = list(result["latency_us"].values())
    assert latency[0] > 0
    assert latency[2:] == sorted(latency[2:])
    if settings.get("rate") == 2000.0:
        assert 0.09 < result["seconds"] < 5


def test_the_report(command: Command, echo_url: str) -> None:
    done = command.run("bench", echo_url, "--duration", "0.2", "--warmup", "0.05", "-c", "2")
    assert (done.returncode, done.stderr) == (0, "")
    head, setting, _, messages, opening, names, values, _, *histogram = done.stdout.splitlines()
    assert head.startswith(f"{echo_url}, picows ")
    assert setting == "2 connections, 256 bytes binary, depth 1"
    assert re.fullmatch(r"messages  \d+ in 0\.\d\d s = [\d.]+/s, [\d.]+ MB/s each way", messages)
    assert opening.startswith("opening   median ")
    assert names.split() == ["latency", "min", "p50", "p90", "p99", "p99.9", "p99.99", "max"]
    assert len(names) == len(values)
    shares = [float(line.split()[4]) for line in histogram]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert any("█" in line for line in histogram)


def test_a_terminal_that_knows_only_ascii(command: Command, echo_url: str) -> None:
    done = command.run("bench", echo_url, "--messages", "50", *QUICK, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "#" in done.stdout
    assert done.stdout.isascii()


def test_a_limit_for_the_99th_percentile(command: Command, echo_url: str) -> None:
    done = command.run("bench", echo_url, "--messages", "50", *QUICK, "--fail-above", "0")
    assert done.returncode == 1
    assert "messages  50 in" in done.stdout
    assert "above 0 ms (--fail-above)" in done.stderr


@pytest.mark.parametrize(
    ("listener", "hint"),
    [
        ("talker:Mute", "no answer for 0.3 s: bench needs a server that echoes"),
        ("talker:Other", "the server answers with something else: bench needs one that echoes"),
        ("talker:Talker", "bench needs one that echoes"),
    ],
    ids=["mute", "other", "talker"],
)
def test_a_server_that_does_not_echo(command: Command, tmp_path: Path, listener: str, hint: str) -> None:
    write_talker(tmp_path)
    url = command.serve(listener, cwd=tmp_path)
    assert hint in command.fails("bench", url, "--size", "5", "--timeout", "0.3")


def test_why_the_server_closed_cannot_control_the_terminal(command: Command, tmp_path: Path) -> None:
    write_talker(tmp_path)
    url = command.serve("talker:Refuser", cwd=tmp_path)
    assert command.fails("bench", url) == "the server closed: code 1008, not \\x1b you"


def test_a_connection_that_we_end_ourselves(command: Command, tmp_path: Path) -> None:
    """It is not the server's log that says why."""
    write_talker(tmp_path)
    line = command.fails("bench", command.serve("talker:Large", cwd=tmp_path))
    assert line == "the connection was ended here: frame of 10485761 bytes, 10485760 are allowed"


def test_a_full_write_buffer_is_no_news(command: Command, echo_url: str) -> None:
    done = command.run("bench", echo_url, "--size", "10000000", "--messages", "2", *QUICK)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_sent_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []

    async def note(arguments: dict[str, int], factory: object) -> None:
        given.append(arguments["max_frame_size"])

    async def main() -> None:
        for size in (1, 20_000_000):
            await Load(Settings(1, size, 1, None, is_text=False), None).open({})

    monkeypatch.setattr("picows.cli.load.open_connection", note)
    asyncio.run(main())
    assert given == [10 * 1024 * 1024, 20_000_000]


def test_a_password_is_not_in_the_result(command: Command, echo_url: str) -> None:
    done = command.run("bench", echo_url.replace("//", "//me:secret@"), "--json", "--messages", "1", *QUICK)
    assert done.returncode == 0
    assert "secret" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for one process")
def test_ctrl_c(command: Command) -> None:
    server = command.start("serve", "--port", "0")
    url = server.stdout.readline().split(" on ")[1].strip()
    process = command.start("bench", url, "--duration", "60")
    assert server.stderr.readline() == "GET /\n"  # it is connected
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 130
    assert (process.stdout.read(), process.stderr.read()) == ("", "")
