"""Every Python block of the tutorials, the guides and the packages' READMEs runs, as it is written.

fixtures/code_blocks.py says what a comment before a block means. Port 9001 is replaced by a free one; so is 6379, on
which a block finds a Redis server of its own.
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
from typing import Any

import pytest
from fixtures.code_blocks import DOCS, PAGES, ROOT, Block, blocks_of
from fixtures.ports import free_port

from picows import WSConnectionClosed, WSMessageListener, WSMsgType, WSTransport, ws_connect, ws_create_server

TIMEOUT_S = 30
MODES = ["program", "definitions", "server", "server until SIGTERM", "client", "client for ever"]
BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT).as_posix().removeprefix('docs/')}-{number}")
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


async def check_echo(port: int, process: subprocess.Popen[str], ends: bool, by_frames: bool) -> None:
    transport, connection = await ws_connect(WSMessageListener, f"ws://127.0.0.1:{port}/")
    await connection.send("Hello")
    assert await connection.recv() == "Hello"
    if by_frames:
        transport.send(WSMsgType.TEXT, "Hel", fin=False)
        transport.send(WSMsgType.CONTINUATION, "lo")
        assert await connection.recv() == "Hello"
    if not ends:
        await connection.close()
        return
    lost, _ = await ws_connect(WSMessageListener, f"ws://127.0.0.1:{port}/")
    lost.disconnect(graceful=False)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(WSConnectionClosed) as caught:
        await connection.recv()
    assert caught.value.code == 1001


def run_server(text: str, port: int, ends: bool) -> None:
    with running(text, port) as process:
        wait_for(port, process)
        asyncio.run(check_echo(port, process, ends, by_frames="transport.send(frame.msg_type" in text))
        if ends:
            assert process.wait(TIMEOUT_S) == 0
            assert process.stdout is not None
            assert "Traceback" not in process.stdout.read()  # about the connection that was lost, say
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


def run_program(block: Block, port: int) -> None:
    done = subprocess.run(
        command(block.text, port),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert block.is_printed_in(done.stdout), done.stdout


class Echo(WSMessageListener):
    """Says back what it hears, until the client closes."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        super().on_ws_connected(transport)
        self.work = asyncio.ensure_future(self.echo())

    async def echo(self) -> None:
        with contextlib.suppress(WSConnectionClosed):  # a client that does not end is killed
            async for message in self:
                self.heard.append(message)
                await self.send(message)


async def run_client(block: Block, ends: bool) -> None:
    """Also that a client which ends said something, and goodbye."""
    echo = Echo()
    async with await ws_create_server(lambda request: echo, "127.0.0.1", 0) as server:
        words = command(block.text, server.sockets[0].getsockname()[1])
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=pipe, cwd=ROOT)
        try:
            assert process.stdout is not None
            if not ends:
                line = await asyncio.wait_for(process.stdout.readline(), TIMEOUT_S)
                assert block.is_printed_in(line.decode()), line.decode()
                assert process.returncode is None
                return
            out, err = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
            assert (process.returncode, err) == (0, b""), (out + err).decode()
            assert block.is_printed_in(out.decode()), out.decode()
            assert echo.heard
            await asyncio.wait_for(echo.work, TIMEOUT_S)
            handshake = echo.transport.close_handshake
            assert handshake is not None
            assert handshake.recv is not None
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="the guides use signals and Unix sockets")
@pytest.mark.parametrize("block", BLOCKS)
def test_code_blocks_run(block: Block) -> None:
    assert block.mode in MODES
    if block.not_run:
        pytest.skip(block.not_run)
    for name in block.needs:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install {name}")
    if block.mode.startswith("server"):
        with redis_server(block.text, free_port()) as text:
            run_server(text, free_port(), ends="until" in block.mode)
    elif block.mode.startswith("client"):
        asyncio.run(run_client(block, ends="for ever" not in block.mode))
    else:
        run_program(block, free_port())


def test_the_tutorials_say_what_their_programs_print() -> None:
    blocks = {each.id: each.values[0] for each in BLOCKS if str(each.id).startswith("tutorial/")}
    silent = [name for name, each in blocks.items() if each.mode in ("client", "program") and not each.prints]
    assert len(blocks) >= 6
    assert silent == []


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
