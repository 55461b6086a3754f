"""The suites of asv: every benchmark runs once, with its smallest sizes, on each engine."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from fixtures.feeding import in_process

from picows import _engine

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "benchmarks/asv.conf.json"
NAMES = ["connections", "drop_in", "frames", "guard", "instructions", "kernels", "messages", "round_trips", "streams"]

#: Runs each benchmark as asv does: once with the first value of all axes but those that name an engine or kernels, and
#: once with the last value of those that are no sizes.
RUN = """
import inspect, json, os
wanted = sys.argv[1]
os.environ["PICOWS_IMPL"] = wanted
os.environ.pop("PICOWS_SIMD", None)
sys.path.insert(0, sys.argv[2])
import importlib
from suites import setting
kernels = setting.use(wanted).simd() if wanted == "core" else "pure"
ours = {wanted, kernels, f"{wanted}-{kernels}"}
if wanted == "core":
    os.environ["PICOWS_SIMD"] = kernels
report = {}
for name in sys.argv[3:]:
    for title, suite in inspect.getmembers(importlib.import_module(f"suites.{name}"), inspect.isclass):
        methods = [method for method in dir(suite) if method.startswith(("time_", "track_"))]
        if suite.__module__ != f"suites.{name}" or not methods:
            continue
        assert len(suite.params) == len(suite.param_names), title
        for end in (0, -1):
            def choose(axis):
                if set(axis) & {"pure", "core", *setting.LEVELS}:
                    return next((value for value in axis if value in ours), None)
                return axis[0 if isinstance(axis[0], int) else end]
            params = [choose(axis) for axis in suite.params]
            if None in params:  # kernels alone, and the engine is pure
                continue
            for method in methods:
                one = suite()
                if hasattr(one, "count"):  # connections of Memory: as few as show anything
                    one.warm, one.count = 50, {"tcp": 200, "tls": 100}
                try:
                    one.setup(*params)
                    outcome = getattr(one, method)(*params)
                except NotImplementedError as exc:
                    outcome = f"n/a: {exc}"
                finally:
                    if hasattr(one, "teardown"):
                        one.teardown(*params)
                report[f"{title}.{method} {params}"] = outcome
print(json.dumps(report))
"""


@pytest.mark.parametrize("name", ["pure", "core"])
def test_every_benchmark_runs(name: str) -> None:
    if name == "core":
        pytest.importorskip("picows.core", reason="picows-core is not installed")
    timed = [name for name in NAMES if name != "instructions"]
    report: dict[str, Any] = json.loads(in_process(RUN, name, str(ROOT / "benchmarks"), *timed))
    missing = {case: outcome for case, outcome in report.items() if isinstance(outcome, str)}
    optional = ("uvloop", "trustme", "aiofastnet", "picows-websockets", "only Linux")
    assert not [text for text in missing.values() if not any(what in text for what in optional)], missing
    assert len(report) - len(missing) >= 10
    memory = [value for case, value in report.items() if case.startswith("Memory.") and value not in missing.values()]
    assert all(abs(kib) < 100 for kib in memory), memory  # of so few connections it says little


@pytest.fixture
def suites(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a suite; those are forgotten at the end."""
    for name in [name for name in sys.modules if name.split(".")[0] == "suites"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield lambda name: importlib.import_module(f"suites.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] == "suites"]:
        del sys.modules[name]


def test_every_suite_is_listed_here(suites: Any) -> None:
    helpers = {"__init__", "probe", "serving", "session", "setting"}
    assert {path.stem for path in (ROOT / "benchmarks/suites").glob("*.py")} == helpers | set(NAMES)


def test_every_set_of_kernels_is_an_axis(suites: Any) -> None:
    kernels = pytest.importorskip("picows.core._kernels", reason="picows-core is not installed")
    assert {name for name, _ in kernels.available()} <= set(suites("setting").LEVELS)


GROUPS = {
    "frames": {
        f"{path} {size} {side}" for path in ("parse", "send") for size in (64, 4096) for side in ("client", "server")
    },
    "kernels": {"mask 64 generic", "utf8 4096 generic"},
    "servers": {f"{work} messages" for work in ("accept", "wake 64", "wake 4096")} | {"accept listener"},
}


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_counted_runs(suites: Any, group: str) -> None:
    if group == "kernels":
        pytest.importorskip("picows.core", reason="picows-core is not installed")
    run = "import runpy; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('suites.probe', run_name='__main__')"
    names = json.loads(in_process(run, str(ROOT / "benchmarks"), _engine.engine.name, group))
    assert set(names) >= GROUPS[group]


def test_instructions_are_counted(suites: Any) -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("callgrind counts instructions: apt-get install valgrind")
    counts = suites("instructions").count(_engine.engine.name, "frames")
    assert all(value > 0 for value in counts.values()), counts
    assert counts["parse 4096 client"] > counts["parse 64 client"]


def test_without_valgrind_it_is_not_applicable(suites: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    instructions = suites("instructions")
    monkeypatch.setattr(instructions.shutil, "which", lambda name: None)
    counts = instructions.KernelInstructions().setup_cache()
    with pytest.raises(NotImplementedError):
        instructions.KernelInstructions().setup(counts, "mask", "generic", 64)


def test_asv_builds_all_distributions() -> None:
    configuration = json.loads(CONFIGURATION.read_text())
    for name in sorted(path.name for path in (ROOT / "packages").iterdir() if (path / "pyproject.toml").exists()):
        for command in ("build_command", "install_command", "uninstall_command"):
            assert name in configuration[command][0], (name, command)
