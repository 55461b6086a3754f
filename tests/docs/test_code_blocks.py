"""Every Python block of the tutorials and guides runs, as it is written.

A block is a program that ends by itself with status 0 and says nothing on stderr, unless a comment before it says
otherwise:

    <!-- run: definitions -->           it defines things, and the text around it says who calls them
    <!-- run: server -->                it serves on port 9001 and echoes, until it is killed
    <!-- run: server until SIGTERM -->  the same; SIGTERM ends it with CLOSE 1001 and status 0
    <!-- run: client -->                it needs an echo on port 9001
    <!-- run: client for ever -->       the same; it prints something and does not end
    <!-- needs: MODULE, MODULE -->      skipped where one is missing
    <!-- not run: REASON -->            skipped with the reason

Port 9001 is replaced by a free one; so is 6379, on which a block finds a Redis server of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from picows import WSConnectionClosed, WSMessageListener, ws_connect

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*(DOCS / "tutorial").glob("*.md"), *(DOCS / "howto").glob("*.md")])
TIMEOUT_S = 30
COMMENT = re.compile(r"<!-- (run|needs|not run): (.*?) -->\n")
BLOCK = re.compile(r"((?:<!-- .*? -->\n)*)^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
MODES = ["program", "definitions", "server", "server until SIGTERM", "client", "client for ever"]


class Block(NamedTuple):
    """A block, and what the comments before it say."""

    text: str
    mode: str
    needs: list[str]
    not_run: str


def blocks_of(page: Path) -> Iterator[Block]:
    for comments, text in BLOCK.findall(page.read_text("utf-8")):
        said = dict(COMMENT.findall(comments))
        needs = [name.strip() for name in said.get("needs", "").split(",") if name.strip()]
        yield Block(text, said.get("run", "program"), needs, said.get("not run", ""))


BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(DOCS).as_posix()}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks_of(page))
]


def command(text: str, port: int) -> list[str]:
    return [sys.executable, "-W", "error", "-u", "-c", text.replace("9001", str(port))]


@contextlib.contextmanager
def running(text: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """A process that does not end by itself."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command(text, port), stdout=pipe, stderr=subprocess.STDOUT, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    """Until the port is served: servers need not print anything."""
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    process.kill()
    assert process.stdout is not None
    pytest.fail(f"nobody listens on port {port}:\n{process.stdout.read()}")


async def check_echo(port: int, process: subprocess.Popen[str], ends: bool) -> None:
    _, connection = await ws_connect(WSMessageListener, f"ws://127.0.0.1:{port}/")
    await connection.send("Hello")
    assert await connection.recv() == "Hello"
    if not ends:
        await connection.close()
        return
    process.send_signal(signal.SIGTERM)
    with pytest.raises(WSConnectionClosed) as caught:
        await connection.recv()
    assert caught.value.code == 1001


def run_server(text: str, port: int, ends: bool) -> None:
    with running(text, port) as process:
        wait_for(port, process)
        asyncio.run(check_echo(port, process, ends))
        if ends:
            assert process.wait(TIMEOUT_S) == 0
        else:
            assert process.poll() is None


@contextlib.contextmanager
def redis_server(text: str, port: int) -> Iterator[str]:
    """A Redis server, if the block wants one. Yields the block, with the server's port in it."""
    if "6379" not in text:
        yield text
        return
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            wait_for(port, process)
            yield text.replace("6379", str(port))
        finally:
            process.kill()


def run_program(text: str, port: int) -> None:
    done = subprocess.run(
        command(text, port),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def run_client(text: str, port: int, ends: bool) -> None:
    echo = (ROOT / "examples/echo_server.py").read_text("utf-8")
    with running(echo, port) as server:
        wait_for(port, server)
        if ends:
            run_program(text, port)
            return
        with running(text, port) as client:
            assert client.stdout is not None
            assert client.stdout.readline()
            assert client.poll() is None


def find_free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def free_port() -> int:
    return find_free_port()


@pytest.mark.skipif(sys.platform == "win32", reason="the guides use signals and Unix sockets")
@pytest.mark.parametrize("block", BLOCKS)
def test_code_blocks_run(block: Block, free_port: int) -> None:
    assert block.mode in MODES
    if block.not_run:
        pytest.skip(block.not_run)
    for name in block.needs:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install {name}")
    if block.mode.startswith("server"):
        with redis_server(block.text, find_free_port()) as text:
            run_server(text, free_port, ends="until" in block.mode)
    elif block.mode.startswith("client"):
        run_client(block.text, free_port, ends="for ever" not in block.mode)
    else:
        run_program(block.text, free_port)


def test_every_page_is_in_a_toctree() -> None:
    listed = set(re.findall(r"^([\w/-]+)$", (DOCS / "index.md").read_text("utf-8"), re.MULTILINE))
    there = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    assert there - {"index"} <= listed


def test_environment_is_handed_over() -> None:
    """What runs in the blocks is what runs here."""
    question = "import picows; print(picows.__file__)"
    printed = subprocess.run(command(question, 0), stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True).stdout
    import picows

    assert os.path.samefile(printed.strip(), picows.__file__)
