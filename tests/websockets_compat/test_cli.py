"""The command `python -m picows.websockets`: what it prints, sends and returns, beside that of websockets 17.4."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")

from fixtures.certificates import make_certificates

from picows.websockets.asyncio.server import ServerConnection, serve
from picows.websockets.cli import escaped

OURS = "picows.websockets"
LIBRARIES = [
    OURS,
    pytest.param(
        "websockets",
        marks=pytest.mark.skipif(not importlib.util.find_spec("websockets"), reason="websockets is not installed"),
    ),
]
#: What theirs prints around lines, though it is no terminal.
CURSOR_MOVEMENT = re.compile(r"\x1b(7|8|\[[A-Z])|\r")
PROMPTS = re.compile(r"^(> )+|(> )+$", re.MULTILINE)


def command(library: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", library, *arguments]


async def peer(websocket: ServerConnection) -> None:
    """Greets, then echoes; two words are orders."""
    await websocket.send("hello")
    async for message in websocket:
        if message == "leave":
            await websocket.close(1001, "bye \x1b[2J")
        elif message == "vanish":
            websocket.transport.abort()
        elif message == "binary":
            await websocket.send(b"\x00\xff")
        elif message == "control":
            await websocket.send("\x1b[31mred\x07 two\nlines\ttab \x9b \x7f end")
        else:
            await websocket.send(message)


@asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[str]:
    async with serve(peer, "127.0.0.1", 0, **options) as server:
        yield f"{'wss' if options else 'ws'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def type_lines(library: str, uri: str, lines: list[str]) -> tuple[int | None, bytes, bytes]:
    """Run a command, and end its input when the last line has been echoed, or it ends itself."""
    process = await asyncio.create_subprocess_exec(
        *command(library, uri), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("".join(f"{line}\n" for line in lines).encode())
    try:
        before = await process.stdout.readuntil(f"< {lines[-1]}\n".encode())
    except asyncio.IncompleteReadError as exc:
        before = exc.partial
    printed, errors = await process.communicate(b"")  # None would leave its input open before Python 3.12
    return process.returncode, before + printed, errors


def talk(library: str, *lines: str) -> list[str]:
    """Have a conversation with `peer`. Returns what was printed, without prompts and movements of the cursor."""

    async def run() -> list[str]:
        async with listening() as uri:
            code, printed, errors = await type_lines(library, uri, list(lines))
            assert (code, errors) == (0, b"")
            text = PROMPTS.sub("", CURSOR_MOVEMENT.sub("", printed.decode()))
            return [line.replace(uri, "URI") for line in text.splitlines() if line]

    return asyncio.run(run())


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("lines", "last"),
    [
        pytest.param(["one", "binary", "h\xe9"], "1000 (OK)", id="end-of-input"),
        pytest.param(["leave"], r"1001 (going away) bye \x1b[2J", id="server-closes"),
        pytest.param(["vanish"], "1006 (abnormal closure [internal])", id="connection-is-lost"),
        pytest.param(["control", "x"], "1000 (OK)", id="control-characters"),
    ],
)
def test_a_conversation(library: str, lines: list[str], last: str) -> None:
    answers = {
        "binary": ["< (binary) 00ff"],
        "leave": [],
        "vanish": [],
        "control": [r"< \x1b[31mred\x07 two\nlines\ttab \x9b \x7f end"],
    }
    printed = [answer for line in lines for answer in answers.get(line, [f"< {line}"])]
    assert talk(library, *lines) == ["Connected to URI.", "< hello", *printed, f"Connection closed: {last}."]


def test_without_a_terminal_there_are_only_lines() -> None:
    async def run() -> bytes:
        async with listening() as uri:
            return (await type_lines(OURS, uri, ["a", "b"]))[1]

    printed = asyncio.run(run())
    assert b"\x1b" not in printed
    assert b"> " not in printed


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("http://127.0.0.1/", "http://127.0.0.1/ isn't a valid URI: scheme isn't ws or wss."),
        ("ws://127.0.0.1:1/", "[Errno 111] Connect call failed ('127.0.0.1', 1)."),
    ],
    ids=["scheme", "refused"],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the number of the error is Linux's")
def test_failing_to_connect(library: str, uri: str, error: str) -> None:
    done = subprocess.run(command(library, uri), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"Failed to connect to {uri}: {error}" in done.stdout + done.stderr


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("arguments", "code", "beginning"),
    [(["--version"], 0, "websockets 17.4\n"), ([], 2, "usage: websockets "), (["--help"], 0, "usage: websockets ")],
    ids=["version", "none", "help"],
)
def test_arguments(library: str, arguments: list[str], code: int, beginning: str) -> None:
    done = subprocess.run(command(library, *arguments), capture_output=True, text=True)
    assert done.returncode == code
    assert (done.stdout + done.stderr).startswith(beginning)


async def connect_with_tls(*arguments: str) -> tuple[bytes, bytes]:
    async with listening(ssl=make_certificates().other) as uri:
        process = await asyncio.create_subprocess_exec(
            *command(OURS, *arguments, uri),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return await process.communicate()


def test_insecure() -> None:
    printed, errors = asyncio.run(connect_with_tls("--insecure"))
    assert b"Connection closed: 1000 (OK)." in printed
    assert errors == b""


def test_certificates_are_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    # The server logs what asyncio's own transports only say in debug mode: that is not what is looked at here
    monkeypatch.setattr(asyncio.BaseEventLoop, "call_exception_handler", lambda *_: None)
    printed, errors = asyncio.run(connect_with_tls())
    assert printed == b""
    assert re.search(b"(?i)certificate.verify.failed", errors)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain \\ text \xa0 \u65e5\u672c \U0001f468\u200d\U0001f469", None),
        ("\x00\x1b]0;title\x07", r"\x00\x1b]0;title\x07"),
        ("\r\n\t", r"\r\n\t"),
        ("\x7f\x85\x9b2J", r"\x7f\x85\x9b2J"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("ab\u202edc\u2066", r"ab\u202edc\u2066"),
        ("\ud800", r"\ud800"),
    ],
    ids=["untouched", "escape", "line-ends", "c1", "separators", "directions", "surrogate"],
)
def test_escaped(text: str, expected: str | None) -> None:
    assert escaped(text) == (text if expected is None else expected)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudoterminals here")
@pytest.mark.parametrize("how", ["interrupt", "end-of-input"])
def test_on_a_terminal(how: str) -> None:
    async def run() -> bytes:
        master, slave = os.openpty()
        async with listening() as uri:
            process = await asyncio.create_subprocess_exec(
                *command(OURS, uri), stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_the_terminal
            )
            os.close(slave)
            screen = Screen(master)
            await screen.wait_for(b"< hello")
            await screen.wait_for(b"\n> ")
            os.write(master, b"echo\n")
            await screen.wait_for(b"< echo")
            os.write(master, b"\x03" if how == "interrupt" else b"\x04")
            await screen.wait_for(b"\r\x1b[KConnection closed: 1000 (OK).")
            assert await process.wait() == 0
            screen.close()
            return screen.content

    printed = asyncio.run(run())
    # The prompt stands already when the answer comes: it goes into a line that is inserted above
    assert b"echo\r\n> \x1b7" in printed
    assert b"\x1b[1L< echo\x1b8\x1b[1B" in printed


def own_the_terminal() -> None:
    """In the child: Ctrl-C on its standard input is a signal for it."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Screen:
    """What was written to the other side of a pseudoterminal."""

    def __init__(self, master: int) -> None:
        self.content = b""
        self._master = master
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            self.content += os.read(self._master, 65536)
        except OSError:  # the last one on the other side has left
            asyncio.get_running_loop().remove_reader(self._master)
        self._changed.set()

    async def wait_for(self, text: bytes) -> None:
        while text not in self.content:
            self._changed.clear()
            await self._changed.wait()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
