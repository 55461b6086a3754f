"""One process of the suite and one of ours, which talk to each other until all cases of a job are through."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import environment

sys.path.insert(0, str(environment.HERE.parent))

from fixtures.ports import free_port

PEERS = environment.HERE / "peers.py"
_START_S = 30


class Combination(NamedTuple):
    """What is examined."""

    engine: str
    api: str
    role: str

    def __str__(self) -> str:
        return f"{self.api} {self.engine} {self.role}"


class Job(NamedTuple):
    """Some cases against one combination."""

    combination: Combination
    cases: list[str]
    #: Where the reports go, and what our process prints.
    directory: Path
    #: See suite.py.
    budget: int
    timeout_s: int


def run(job: Job, interpreter: Path) -> str:
    """Run a job. Returns what went wrong apart from the verdicts, or "" if nothing did."""
    job.directory.mkdir(parents=True)
    try:
        if job.combination.role == "server":
            _examine_server(job, interpreter)
        else:
            _examine_client(job, interpreter)
    except RuntimeError as exc:
        return str(exc)
    printed = (job.directory / "ours.log").read_text(errors="replace")
    place = printed.find("Traceback")
    return f"our process printed a traceback, see {job.directory}/ours.log" if place >= 0 else ""


def _examine_server(job: Job, interpreter: Path) -> None:
    with _ours(job) as ours:
        assert ours.stdout is not None
        port = ours.stdout.readline().strip().decode()
        if not port:
            raise RuntimeError(f"our server did not start, see {job.directory}/ours.log")
        spec = {"servers": [{"agent": "picows", "url": f"ws://127.0.0.1:{port}"}]}
        with _suite(job, interpreter, "fuzzingclient", spec) as suite:
            _wait(suite, job, f"the suite, see {job.directory}/suite.log")
        if ours.poll() is not None:
            raise RuntimeError(f"our server ended by itself, see {job.directory}/ours.log")


def _examine_client(job: Job, interpreter: Path) -> None:
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    with _suite(job, interpreter, "fuzzingserver", {"url": url}) as suite:
        _wait_for_port(port, suite)
        with _ours(job, url) as ours:
            _wait(ours, job, f"our client, see {job.directory}/ours.log")


@contextlib.contextmanager
def _ours(job: Job, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    engine, api, role = job.combination
    command = [sys.executable, "-W", "error", str(PEERS), api, role, *arguments]
    with _started(command, job, "ours.log", stdout=subprocess.PIPE, PICOWS_IMPL=engine) as process:
        yield process


@contextlib.contextmanager
def _suite(job: Job, interpreter: Path, mode: str, spec: Mapping[str, object]) -> Iterator[subprocess.Popen[bytes]]:
    common = {"outdir": str(job.directory), "cases": job.cases, "exclude-cases": [], "exclude-agent-cases": {}}
    path = job.directory / "spec.json"
    path.write_text(json.dumps({**common, **spec}))
    command = [str(interpreter), "-u", str(environment.SUITE), mode, str(path), str(job.budget)]
    with _started(command, job, "suite.log") as process:
        yield process


@contextlib.contextmanager
def _started(
    command: list[str], job: Job, log_name: str, stdout: int | None = None, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    with open(job.directory / log_name, "wb") as log:
        process = subprocess.Popen(
            command,
            cwd=job.directory,
            stdin=subprocess.DEVNULL,
            stdout=log if stdout is None else stdout,
            stderr=log,
            env={**os.environ, **variables},
        )
        with process:
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()


def _wait(process: subprocess.Popen[bytes], job: Job, name: str) -> None:
    try:
        status = process.wait(job.timeout_s)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{job.timeout_s} s were not enough for {name}") from None
    if status:
        raise RuntimeError(f"exit status {status} of {name}")


def _wait_for_port(port: int, suite: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_S
    while suite.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the suite's server did not start")
