"""What README.md and CONTRIBUTING.md tell people to type or to copy works as written."""

from __future__ import annotations

import ast
import asyncio
import functools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures.ports import free_port

import picows

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "packages").glob("*/README.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT).as_posix()}-{number}")
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    )
]
with (ROOT / "hatch.toml").open("rb") as _file:
    SCRIPTS: dict[str, str | list[str]] = tomllib.load(_file)["envs"]["default"]["scripts"]
VERBS = set(SCRIPTS)


@pytest.mark.parametrize("block", BLOCKS)
def test_code_blocks_compile(block: str) -> None:
    compile(block, "README", "exec", dont_inherit=True)


@pytest.mark.parametrize("block", BLOCKS)
def test_code_blocks_import_what_exists(block: str) -> None:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and node.module == "picows":
            for alias in node.names:
                assert hasattr(picows, alias.name)


def test_the_first_two_commands_of_the_readme() -> None:
    commands = re.findall(r"^(\./\S+ \S+)", README, re.MULTILINE)
    assert commands[:2] == ["./dev demo", "./dev test"]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_verbs_exist(page: str) -> None:
    verbs = set(re.findall(r"\./dev ([a-z-]+)", (ROOT / page).read_text("utf-8")))
    assert verbs
    assert verbs - {"pytest", "python"} <= VERBS


#: What must hold (T5, T7, ...), and the commands that show it.
PROMISES = re.findall(
    r"^\| ([A-Z]\d[^|]*)? ?\| [^|]+ \| (.+) \|$",
    CONTRIBUTING.split("## What must hold")[1].split("## Rules")[0],
    re.MULTILINE,
)


def commands_of(cell: str) -> set[str]:
    """What is behind ./dev; an option that is named alone is one of the last command before it."""
    commands = set()
    verb = ""
    for command, option in re.findall(r"\./dev ([^`]+)`|`(--[^`]+)`", cell):
        verb = command.split()[0] if command else verb
        commands.add(command or f"{verb} {option}")
    return commands


COMMANDS = sorted(set().union(*(commands_of(cell) for _, cell in PROMISES)))


def test_every_promise_of_the_issues_has_a_command() -> None:
    """Those that CI cannot show: figures of a machine, and all that takes hours."""
    ids = {name.strip() for ids, _ in PROMISES for name in ids.split(",")}
    assert {f"T{number}" for number in range(1, 21)} <= ids
    assert all("./dev " in cell for _, cell in PROMISES)


@functools.cache
def options_of(script: str) -> set[str]:
    """The options that `--help` of a script lists."""
    command = [sys.executable, ROOT / script, "--help"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"--[a-z][a-z-]*", printed))


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_promises_have_their_options(command: str) -> None:
    """As the verb's script knows them; pytest's arguments are files that are there."""
    verb, *arguments = command.split()
    given = [word.rstrip(",") for word in arguments if word.startswith("--")]
    script = SCRIPTS.get(verb, "")
    name = re.search(r"python (tests/\S+\.py)", script if isinstance(script, str) else " ".join(script))
    if name is not None and given:
        assert set(given) <= options_of(name[1])
    elif verb == "pytest":
        assert not given
        assert all(list(ROOT.glob(path)) for path in arguments)
    else:
        assert verb in VERBS
        assert not given, f"nobody knows whether {verb} takes {arguments}"


@pytest.mark.skipif(sys.platform == "win32", reason="dev is a POSIX shell script")
def test_dev_explains_itself() -> None:
    printed = subprocess.run([ROOT / "dev", "--help"], capture_output=True, text=True, check=True).stdout
    assert "./dev demo" in printed
    assert "./dev test" in printed


@pytest.mark.skipif(sys.platform == "win32", reason="dev is a POSIX shell script")
def test_ci_runs_the_command_of_the_readme() -> None:
    assert "./dev test" in (ROOT / ".ci/run").read_text("utf-8")
    for script in ("dev", ".ci/run"):
        assert (ROOT / script).stat().st_mode & 0o111, f"{script} is not executable"


def readme_blocks() -> tuple[str, str]:
    server, client = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return server, client


def example_files() -> tuple[str, str]:
    server, client = (ROOT / "examples" / name for name in ("echo_server.py", "echo_client.py"))
    return server.read_text("utf-8"), client.read_text("utf-8")


def on_engine(engine: Any) -> dict[str, str]:
    """The environment of a process that runs on this engine."""
    return {**os.environ, "PICOWS_IMPL": engine.name}


@pytest.fixture(params=[readme_blocks, example_files], ids=["README", "examples"])
def server_and_client(request: pytest.FixtureRequest, engine: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running server, which has said that it listens, and the text of the client; on a port of their own."""
    port = str(free_port())
    server, client = (text.replace("9001", port) for text in request.param())
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-u", "-c", server],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=on_engine(engine),
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("listening"), line + process.stdout.read()
            yield process, client
        finally:
            process.kill()


def test_the_client_talks_to_the_server(engine: Any, server_and_client: tuple[subprocess.Popen[str], str]) -> None:
    _, client = server_and_client
    command = [sys.executable, "-W", "error", "-c", client]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=on_engine(engine))
    assert (done.returncode, done.stdout, done.stderr) == (0, "echo: Hello, world\n", "")


def test_the_server_sends_fragments_back(server_and_client: tuple[subprocess.Popen[str], str]) -> None:
    found = re.search(r"ws://127\.0\.0\.1:\d+/", server_and_client[1])
    assert found is not None

    async def main() -> None:
        transport, connection = await picows.ws_connect(picows.WSMessageListener, found[0])
        transport.send(picows.WSMsgType.TEXT, "Hel", fin=False)
        transport.send(picows.WSMsgType.CONTINUATION, "lo")
        assert await connection.recv() == "Hello"
        await connection.close()

    asyncio.run(main())


def test_every_example_is_run() -> None:
    """By this file; what is in a directory of its own has tests of its own."""
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {"demo.py", "echo_client.py", "echo_server.py"}


def test_the_demo_ends_by_itself(engine: Any) -> None:
    command = [sys.executable, "-W", "error", "examples/demo.py", "--seconds", "1", "--size", "1000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=on_engine(engine))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"implementation {engine.name}," in done.stdout
    assert re.search(r"^ +all +[1-9][\d,]*( +\d+\.\d){3}$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("size", ["-1", "10485761"])
def test_the_demo_says_which_sizes_it_can_send(size: str) -> None:
    """More than `max_frame_size` would be the end of its connection."""
    command = [sys.executable, "examples/demo.py", "--size", size]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(f"--size is {size}, it must be 0 to 10485760\n")


def test_the_demo_ends_without_a_reader(engine: Any) -> None:
    """`./dev demo | head -4`: what fails while a connection is open does not wait for it."""
    command = [sys.executable, "-u", "examples/demo.py", "--loop", "asyncio"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=on_engine(engine)
    ) as process:
        assert process.stdout is not None
        try:
            assert any("client sends" in line for line in iter(process.stdout.readline, ""))
            process.stdout.close()
            assert process.wait(20) == 1
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to the whole console group")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_demo_ends_at_ctrl_c(engine: Any, loop: str) -> None:
    import signal

    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")

    command = [sys.executable, "-u", "examples/demo.py", "--loop", loop]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=on_engine(engine)
    ) as process:
        assert process.stdout is not None
        shown = []
        for line in process.stdout:
            shown.append(line)
            if re.match(r" +1 ", line):
                process.send_signal(signal.SIGINT)
    assert process.returncode == 0, shown
    assert "Traceback" not in "".join(shown)
    assert "round trips in" in shown[-1]
