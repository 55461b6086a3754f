"""The load scripts run, measure everything that they promise, and leave nothing behind. Their figures are no test:
they depend on the machine, and whoever runs a script reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

import picows
from picows import _engine

HERE = Path(__file__).parent
#: Script and options -> what its table must have. Rows that are counts must be met, whatever the machine.
SCRIPTS = {
    "flood.py --seconds 0.05 --kind pings": ["empty pings: p99 of others", "busiest turn", "125-byte pings: memory"],
    "churn.py --count 5 --side server": ["CLOSE: objects left", "RST: fds left", "violation: connections left"],
    "churn.py --count 3 --side client --how FIN": ["FIN by the client: client: objects left", "server: fds left"],
    "churn.py --count 3 --side client --how RST --layer drop-in": ["RST by the server: client: objects left"],
    "shutdown.py --count 20": ["20 connections closed in", "resets"],
    "storm.py --count 20 --seconds 0.1 --open-timeout 0.5": ["p99 of good handshakes", "stalled for ever"],
    "connections.py --count 100 --seconds 0.05": ["connections missing", "p99 of the active ones"],
    "stalled.py --count 20 --seconds 1 --interval 0.01": ["p99 of others", "messages missing of others", "memory"],
    "stalled.py --count 20 --seconds 0.5 --interval 0.01 --layer drop-in": ["p99 of others", "memory of a slow reader"],
    "soak.py --seconds 2 --workers 4": ["messages lost", "errors", "server: tasks left", "client: memory has grown by"],
    "soak.py --seconds 1 --workers 2 --layer drop-in": ["messages lost", "errors", "client: tasks left"],
    "hostile.py --count 10 --size 4096": ["partial head: memory of one", "messages unread: connections missing"],
    "halfopen.py --ping 0.2": ["SIGSTOP: noticed after", "SIGKILL: noticed after"],
}
COUNTS = (
    " left ",
    " lost ",
    " errors ",
    " still there ",
    " missing of others ",
    " resets ",
    " missing ",
    " ever ",
    "without CLOSE 1001",
)


def name_of(command: str) -> str:
    """For the test's id: the script, and what of its options is a word."""
    script, *options = command.split()
    return "-".join([script.split(".")[0], *(option for option in options if option.isalpha() or option == "drop-in")])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the scripts read /proc")
@pytest.mark.parametrize("command", SCRIPTS, ids=[name_of(command) for command in SCRIPTS])
def test_scripts(command: str) -> None:
    script, *options = command.split()
    path = ":".join(str(Path(directory).parent) for directory in picows.__path__)
    done = subprocess.run(
        [sys.executable, str(HERE / script), "--engine", _engine.engine.name, *options],
        capture_output=True,
        text=True,
        timeout=55,
        env={"PYTHONPATH": path},
    )
    lines: List[str] = done.stdout.splitlines()
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""
    assert lines[-1].startswith(("all targets are met", "missed: "))
    for what in SCRIPTS[command]:
        assert any(what in line for line in lines), done.stdout
    assert [line for line in lines if any(count in line for count in COUNTS) and line.endswith("MISSED")] == []
