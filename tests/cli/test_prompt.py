"""`picows connect` at a terminal, which is a pseudo-terminal here: prompt, colours, commands, history."""

from __future__ import annotations

import os
import re
import select
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from fixtures.commands import TIMEOUT_S, Command, write_talker

from picows.cli.prompt import _history
from picows.cli.screen import ColourScreen

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals of this kind", allow_module_level=True)
pytest.importorskip("rich", reason="needs rich: pip install 'picows-pure[cli]'")
pytest.importorskip("prompt_toolkit", reason="needs prompt_toolkit: pip install 'picows-pure[cli]'")

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[78=>]|\r")


class Terminal:
    """The user's side of a pseudo-terminal."""

    def __init__(self, command: Command, *arguments: str, is_piped: bool = False, **variables: str) -> None:
        import fcntl
        import pty
        import termios

        self._own, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.raw = self.seen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "picows", *arguments],
            stdin=theirs,
            stdout=subprocess.PIPE if is_piped else theirs,
            stderr=theirs,
            env=command.environment(TERM="xterm-256color", **variables),
            start_new_session=True,
        )
        os.close(theirs)

    @property
    def text(self) -> str:
        """What was printed, without control sequences."""
        return _CONTROL.sub("", self.raw)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._own, text.encode())

    def see(self, *texts: str) -> None:
        """Wait until these were printed, in this order, and forget everything so far."""
        deadline = time.monotonic() + TIMEOUT_S
        order = re.compile(".*".join(map(re.escape, texts)), re.DOTALL)
        while not order.search(self.text):
            assert self._read(deadline), f"{texts!r} are not in {self.raw!r}"
        self.seen = self.raw
        self.raw = ""

    def end(self) -> int:
        """Wait for the end. Returns the exit code."""
        deadline = time.monotonic() + TIMEOUT_S
        while self._read(deadline):
            pass
        return self.process.wait(TIMEOUT_S)

    def close(self) -> None:
        """End the process if it still runs."""
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        os.close(self._own)

    def _read(self, deadline: float) -> bool:
        if not select.select([self._own], [], [], max(deadline - time.monotonic(), 0))[0]:
            return False
        try:
            data = os.read(self._own, 65536)
        except OSError:  # Linux says so when the other side is closed
            return False
        for _ in range(data.count(b"\x1b[6n")):  # where is the cursor?
            self.type("\x1b[1;1R")
        self.raw += data.decode("utf-8", "replace")
        return bool(data)


@pytest.fixture
def terminal(command: Command, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start the command at a terminal; its history is in the test's own directory."""
    terminals = []

    def start(*arguments: str, **variables: Any) -> Terminal:
        variables.setdefault("PICOWS_HISTORY", str(tmp_path / "state" / "history"))
        terminals.append(Terminal(command, *arguments, **variables))
        return terminals[-1]

    yield start
    for one in terminals:
        one.close()


def test_a_conversation(terminal: Callable[..., Terminal], echo_url: str, tmp_path: Path) -> None:
    user = terminal("connect", echo_url)
    user.see(f"connected to {echo_url}")
    user.see("sent 0  received 0")
    user.type("hello\r")
    user.see("< hello")
    user.type('{"a":[1.10,{}]}\r')
    user.see('< {\n  "a": [\n    1.10,\n    {}\n  ]\n}')
    assert "\x1b[1;36m1.10" in user.seen  # a number has a colour
    user.type("//not a command\r")
    user.see("< /not a command")
    user.type("/ping 2\r")
    user.see("ping ")
    user.see("sent 3  received 3  ping ")
    user.type("\x1b[A\x1b[A\r")  # the line before the last one: //not a command
    user.see("< /not a command")
    user.type("/nonsense\r")
    # Between prompts the terminal is not raw, and would take Ctrl-D itself.
    user.see("/close [CODE [REASON]]", "sent 4  received 4")
    user.type("\x04")
    assert user.end() == 0
    history = tmp_path / "state" / "history"
    assert "+hello\n" in history.read_text("utf-8")
    assert history.stat().st_mode & 0o777 == 0o600


def test_close_with_a_code(terminal: Callable[..., Terminal], echo_url: str) -> None:
    user = terminal("connect", echo_url)
    user.see("sent 0  received 0")
    user.type("/close soon\r")
    user.see("soon is no close code: /close [CODE [REASON]]", "sent 0  received 0")
    user.type("/close 1006\r")
    user.see("1006")
    user.type("/close 4000 done\r")
    user.see("connection closed, code 4000")
    assert user.end() == 0


def test_ctrl_c(terminal: Callable[..., Terminal], echo_url: str) -> None:
    user = terminal("connect", echo_url.replace("//", "//me:secret@"))
    user.see(f"connected to {echo_url}", "sent 0  received 0")
    assert "secret" not in user.seen
    user.type("half a line\x03")
    user.see("connection closed, code 1000")
    assert user.end() == 130


def test_somebody_types_and_a_program_reads(terminal: Callable[..., Terminal], echo_url: str) -> None:
    """`picows connect URL | jq`: the terminal is no input that has ended."""
    user = terminal("connect", echo_url, "--send", "first", is_piped=True)
    answers = user.process.stdout
    assert answers is not None
    assert answers.readline() == b"first\n"
    user.type("typed\n")
    assert answers.readline() == b"typed\n"
    user.type("\x04")
    assert answers.read() == b""
    assert user.end() == 0


def test_a_history_that_cannot_be_written_any_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "state" / "history"
    monkeypatch.setenv("PICOWS_HISTORY", str(file))
    history = _history()
    history.append_string("on disk")
    assert "+on disk\n" in file.read_text("utf-8")
    file.unlink()
    file.parent.rmdir()
    history.append_string("in memory")
    assert history.get_strings() == ["on disk", "in memory"]


def test_much_json_has_no_colours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They would hold up everything for seconds."""
    screen = ColourScreen(is_raw=False, what="")
    coloured: list[int] = []
    monkeypatch.setattr(screen._json, "highlight", lambda text: coloured.append(len(text)))
    for number in (10, 60_000):
        screen.message(f'["{"x" * number}"]')
        assert capsys.readouterr().out == f'< [\n  "{"x" * number}"\n]\n'
    assert coloured == [10 + 8]


def test_the_server_ends_it_and_cannot_control_the_terminal(
    terminal: Callable[..., Terminal], command: Command, tmp_path: Path
) -> None:
    write_talker(tmp_path)
    user = terminal("connect", command.serve("talker:Talker", cwd=tmp_path), PICOWS_HISTORY="/dev/null/no")
    user.see("code 4001: had \\x1b enough")
    assert "\\x1b[2Jcleared\\u202e" in user.seen
    assert "\x1b[2J" not in user.seen
    assert user.end() == 1


def test_colours_without_a_prompt(terminal: Callable[..., Terminal], echo_url: str) -> None:
    user = terminal("connect", echo_url, "--send", "[1]", "--count", "1")
    user.see("< [\n  1\n]")
    assert user.end() == 0


def test_progress_of_a_benchmark(terminal: Callable[..., Terminal], echo_url: str) -> None:
    user = terminal("bench", echo_url, "--duration", "0.6", "--warmup", "0")
    user.see("us  p99 ")
    user.see("messages  ")
    assert user.end() == 0


@pytest.mark.parametrize("module", ["rich", "prompt_toolkit"])
def test_a_package_is_missing(
    terminal: Callable[..., Terminal], echo_url: str, tmp_path: Path, command: Command, module: str
) -> None:
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError('none', name={module!r})\n")
    path = os.pathsep.join([str(tmp_path), command.environment()["PYTHONPATH"]])
    user = terminal("connect", echo_url, PYTHONPATH=path)
    user.see(
        f"picows: the prompt of `picows connect` needs {module}, which is not installed: pip install 'picows-pure[cli]'"
    )
    assert user.end() == 1
    done = command.run("connect", echo_url, stdin="without\n", PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (0, "without\n")
