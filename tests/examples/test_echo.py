"""echo_server.py and echo_client.py, one with the other. demo.py has its tests in tests/packaging/test_commands.py."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.ports import free_port

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
#: What is run, and by which test.
RUN_BY = {
    "demo.py": "tests/packaging/test_commands.py",
    "echo_client.py": "tests/examples/test_echo.py",
    "echo_server.py": "tests/examples/test_echo.py",
    "scaleout": "tests/examples/test_scaleout.py",
}


@pytest.mark.skipif(sys.platform == "win32", reason="a process of its own cannot be sent Ctrl-C")
def test_echo() -> None:
    port = free_port()
    text = (EXAMPLES / "echo_server.py").read_text("utf-8").replace("9001", str(port))
    command = [sys.executable, "-W", "error", "-u", "-c", text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == f"listening on ('127.0.0.1', {port})\n"
            client = [sys.executable, "-W", "error", str(EXAMPLES / "echo_client.py"), f"ws://127.0.0.1:{port}/"]
            printed = subprocess.run(client, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
            assert (printed.returncode, printed.stdout) == (0, "echo: Hello, world\n")
            assert server.stdout.readline().startswith("connected: ('127.0.0.1', ")
            assert server.stdout.readline() == "disconnected\n"
            server.send_signal(signal.SIGINT)
            assert (server.stdout.read(), server.wait(20)) == ("", 0)
        finally:
            server.kill()


def test_every_example_is_run() -> None:
    there = {path.name for path in EXAMPLES.iterdir() if path.suffix == ".py" or (path / "server.py").is_file()}
    assert there == set(RUN_BY)
    for name, test in RUN_BY.items():
        assert name in (ROOT / test).read_text("utf-8")
