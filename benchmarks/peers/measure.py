"""One measurement: fresh processes, pinned, started in order, and their figures put together.

The process under test runs in its library's environment; the load generator runs on the interpreter of `run.py`.
Both talk to the parent in lines of JSON. What they print on stderr is shown when they fail.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from contenders import Contender
from environments import Environments
from rows import Cell
from spec import Spec

HERE = Path(__file__).resolve().parent


class Failed(RuntimeError):
    """A process of a measurement ended without a result."""


class Child:
    """A subprocess that answers in lines of JSON."""

    def __init__(self, name: str, command: Sequence[str], environ: Optional[Mapping[str, str]]) -> None:
        self._name = name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - end() closes it
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environ
        )

    def answer(self) -> Dict[str, Any]:
        """Returns: the next line. Raises: Failed if the process ended instead, with the end of its stderr."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if line:
            return json.loads(line)  # type: ignore[no-any-return]
        status = self._process.wait()
        self._errors.seek(0)
        said = " | ".join(self._errors.read().strip().splitlines()[-4:])
        raise Failed(f"{self._name} ended with status {status}: {said or 'nothing on stderr'}")

    def end(self) -> None:
        """Terminates this process if it still runs, and waits for it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()


class Bench:
    """Makes measurements.

    Args: cpus: the CPUs of this run; processes under test get the last one, load generators the first.
    certificate: files of the certificate and key for TLS.
    """

    def __init__(self, environments: Environments, cpus: List[int], certificate: Tuple[Path, Path]) -> None:
        self._environments = environments
        self._cpu, self._load_cpu = cpus[-1], cpus[0]
        self._certificate = certificate

    def measure(self, cell: Cell, contender: Contender, seconds: float) -> Tuple[Dict[str, float], Dict[str, Any]]:
        """Returns: the cell's metrics and the facts about the library. Raises: Failed."""
        spec = cell.spec.but(
            driver=contender.driver,
            module=contender.module,
            use_aiofastnet=contender.use_aiofastnet,
            speedups=contender.speedups,
            seconds=seconds,
            least_warm_s=contender.least_warm_s,
            cpu=self._cpu,
            load_cpu=self._load_cpu if cell.row.two_cpus else self._cpu,
            cert=str(self._certificate[0]),
            key=str(self._certificate[1]),
        )
        with contextlib.ExitStack() as stack:
            raw = self._play(stack, spec, contender)
        return metrics_of(raw), raw["facts"]

    def _play(self, stack: contextlib.ExitStack, spec: Spec, contender: Contender) -> Dict[str, Any]:
        """Starts the end that listens, then the other, and merges what they say."""
        if spec.role in ("echo", "kernel"):
            return stack.enter_context(self._tested(spec, contender)).answer()
        if spec.role == "receive":
            load = stack.enter_context(running(generator(spec)))
            at = load.answer()
            tested = stack.enter_context(self._tested(spec.but(port=at["port"], pid=at["pid"]), contender))
            raw = tested.answer()
            return {**load.answer(), **raw}
        server = stack.enter_context(self._tested(spec.but(role="server"), contender))
        at = server.answer()
        spec = spec.but(port=at["port"], pid=at["pid"])
        if spec.role == "client":
            return stack.enter_context(self._tested(spec, contender)).answer()
        load = stack.enter_context(running(generator(spec)))
        raw = load.answer()
        return {**raw, "facts": {**at["facts"], **raw.get("facts", {})}}

    def _tested(self, spec: Spec, contender: Contender) -> contextlib.AbstractContextManager[Child]:
        command = self._environments.command_for(contender)
        words = spec.to_words() if contender.program else [spec.to_json()]
        return running(Child(contender.name, [*command, *words], self._environments.environ_for(contender)))


def generator(spec: Spec) -> Child:
    """Returns: the other end."""
    return Child(f"the load generator {spec.load}", [sys.executable, str(HERE / "load.py"), spec.to_json()], None)


@contextlib.contextmanager
def running(child: Child) -> Iterator[Child]:
    """Yields: the child, which is ended on the way out."""
    try:
        yield child
    finally:
        child.end()


def metrics_of(raw: Dict[str, Any]) -> Dict[str, float]:
    """Returns: per operation: cpu_us and wall_us; and every other figure as it came."""
    metrics = {key: float(value) for key, value in raw.items() if key != "facts"}
    operations = max(1.0, metrics["operations"])
    for name in ("cpu", "wall", "load_cpu"):
        if name + "_s" in metrics:
            metrics[name + "_us"] = metrics[name + "_s"] / operations * 1e6
    return metrics
