"""Which engine runs, in processes of their own: each with what it was asked for, and with the core that it finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest

from picows import _engine
from picows._version import __version__

SOURCE = Path(_engine.__file__).parents[1]
pytestmark = pytest.mark.skipif(
    (SOURCE / "picows" / "core").exists(), reason="a real core is installed into the same directory"
)
ASK = "import picows; from picows import _engine; print(picows.__impl__, '|', _engine.reason)"

#: Cores, by what is in their `__init__`. A whole one is made of the pure engine's classes.
WHOLE = "from picows.pure import *\nfrom picows.pure import describe, make_protocol, ws_broadcast\nname = 'core'\n"
CORES: Dict[str, Tuple[str, str]] = {
    "another version": (
        f"{WHOLE}__version__ = '0.0.1'\n",
        f"picows.core has version 0.0.1, picows {__version__}: install equal versions",
    ),
    "missing names": (f"{WHOLE}del WSFrame, MemoryBuffer\n", "picows.core lacks WSFrame, MemoryBuffer"),
    "missing dependency": ("import picows_no_such_module\n", "No module named 'picows_no_such_module'"),
    "binary incompatible": (
        "raise ValueError('size changed')\n",
        "picows.core cannot be imported: ValueError: size changed",
    ),
    "refuses the machine": ("raise ImportError('PICOWS_SIMD=avx2 is not supported')\n", "avx2 is not supported"),
}
EVERY_BROKEN_CORE = pytest.mark.parametrize(("core", "complaint"), CORES.values(), ids=CORES)


class Outcome:
    """What a process printed."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.implementation, _, self.reason = (part.strip() for part in done.stdout.partition("|"))
        self.errors = done.stderr


@pytest.fixture
def run(tmp_path: Path) -> Any:
    def _run(core: Optional[str] = None, wanted: Optional[str] = None, *options: str) -> Outcome:
        """Import picows beside a core of this content, asked for by PICOWS_IMPL."""
        if core is not None:
            package = tmp_path / "picows" / "core"
            package.mkdir(parents=True)
            (package / "__init__.py").write_text(core)
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PICOWS_")}
        variables.pop("PYTHONWARNINGS", None)  # `hatch run strict`: here a warning is what is wanted
        if wanted is not None:
            variables["PICOWS_IMPL"] = wanted
        # Of this process's path only what third parties installed; an installed core is not among it.
        path: List[str] = [str(SOURCE), str(tmp_path), *(entry for entry in sys.path if _is_foreign(entry))]
        variables["PYTHONPATH"] = os.pathsep.join(path)
        command = [sys.executable, "-S", *options, "-c", ASK]
        return Outcome(
            subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
        )

    return _run


def _is_foreign(entry: str) -> bool:
    return entry.endswith("-packages") and not (Path(entry) / "picows" / "core").exists()


@pytest.mark.parametrize("wanted", [None, ""], ids=["unset", "empty"])
def test_without_a_core_it_is_pure_and_nothing_is_said(run: Any, wanted: Optional[str]) -> None:
    outcome = run(None, wanted, "-W", "error")
    assert (outcome.code, outcome.errors) == (0, "")
    assert (outcome.implementation, outcome.reason) == ("pure", "picows.core is not installed")


def test_a_whole_core_runs(run: Any) -> None:
    outcome = run(WHOLE, None, "-W", "error")
    assert (outcome.code, outcome.errors) == (0, "")
    assert (outcome.implementation, outcome.reason) == ("core", "picows.core is installed")


@EVERY_BROKEN_CORE
def test_a_broken_core_is_a_warning_and_pure_runs(run: Any, core: str, complaint: str) -> None:
    outcome = run(core)
    assert outcome.code == 0
    assert outcome.implementation == "pure"
    assert outcome.reason.startswith("picows-core is installed but cannot be used: ")
    assert complaint in outcome.reason
    assert "RuntimeWarning: " + outcome.reason in outcome.errors


def test_what_an_uninstalled_core_left_behind_is_no_core(run: Any, tmp_path: Path) -> None:
    (tmp_path / "picows" / "core" / "__pycache__").mkdir(parents=True)
    outcome = run(None, None, "-W", "error")
    assert (outcome.implementation, outcome.reason, outcome.errors) == ("pure", "picows.core is not installed", "")


@pytest.mark.parametrize("wanted", ["core", "pure"])
def test_what_is_asked_for_runs(run: Any, wanted: str) -> None:
    outcome = run(WHOLE, wanted, "-W", "error")
    assert (outcome.implementation, outcome.reason, outcome.errors) == (wanted, f"PICOWS_IMPL={wanted}", "")


def test_pure_does_not_look_at_a_broken_core(run: Any) -> None:
    outcome = run("raise SystemExit('imported')", "pure", "-W", "error")
    assert (outcome.implementation, outcome.errors) == ("pure", "")


def test_a_core_that_is_asked_for_and_missing(run: Any) -> None:
    outcome = run(None, "core")
    assert outcome.code == 1
    assert "ImportError: PICOWS_IMPL=core, but No module named 'picows.core'" in outcome.errors


@EVERY_BROKEN_CORE
def test_a_core_that_is_asked_for_and_broken(run: Any, core: str, complaint: str) -> None:
    outcome = run(core, "core")
    assert outcome.code == 1
    (last_line,) = outcome.errors.splitlines()[-1:]
    assert last_line.startswith("ImportError: PICOWS_IMPL=core, but ")
    assert complaint in last_line


@pytest.mark.parametrize("wanted", ["c", "Core", "pure "])
def test_an_engine_that_does_not_exist(run: Any, wanted: str) -> None:
    outcome = run(WHOLE, wanted)
    assert outcome.code == 1
    assert f"ImportError: PICOWS_IMPL is {wanted!r}, it may be core or pure" in outcome.errors


# --- in this process ---


def test_load_by_name() -> None:
    assert _engine.load("pure").name == "pure"
    with pytest.raises(ValueError, match="there is no implementation 'c', there are core and pure"):
        _engine.load("c")


def test_pick() -> None:
    pure = _engine.load("pure")
    assert _engine.pick(None) is _engine.engine
    assert _engine.pick(pure) is pure


class FakeImport:
    """importlib as `_engine` sees it, with one core or none."""

    def __init__(self, core: Any, is_installed: bool = True) -> None:
        self.core = core
        self.is_installed = is_installed
        self.util = self

    def find_spec(self, name: str) -> Any:
        return type("Spec", (), {"origin": name}) if self.is_installed else None

    def import_module(self, name: str) -> Any:
        if name == "picows.core":
            if isinstance(self.core, Exception):
                raise self.core
            return self.core
        return sys.modules[name]


@pytest.mark.parametrize(
    ("core", "is_installed", "wanted", "expected"),
    [
        (None, False, None, ("pure", "picows.core is not installed")),
        (_engine.load("pure"), True, None, ("pure", "picows.core is installed")),
        (_engine.load("pure"), True, "core", ("pure", "PICOWS_IMPL=core")),
        (None, True, "pure", ("pure", "PICOWS_IMPL=pure")),
    ],
    ids=["none", "whole", "whole and wanted", "pure wanted"],
)
def test_choose(
    monkeypatch: pytest.MonkeyPatch, core: Any, is_installed: bool, wanted: Any, expected: Tuple[str, str]
) -> None:
    """The same decisions, where coverage sees them."""
    monkeypatch.setattr(_engine, "importlib", FakeImport(core, is_installed))
    monkeypatch.setenv("PICOWS_IMPL", wanted or "")
    engine, reason = _engine.choose()
    assert (engine.name, reason) == expected


@pytest.mark.parametrize(
    "core",
    [ImportError("no"), ValueError("no"), type("Old", (), {"__version__": "0"}), object()],
    ids=["ImportError", "ValueError", "version", "names"],
)
def test_choose_among_broken_cores(monkeypatch: pytest.MonkeyPatch, core: Any) -> None:
    monkeypatch.setattr(_engine, "importlib", FakeImport(core))
    monkeypatch.delenv("PICOWS_IMPL", raising=False)
    with pytest.warns(RuntimeWarning, match="picows-core is installed but cannot be used"):
        assert _engine.choose()[0].name == "pure"
    monkeypatch.setenv("PICOWS_IMPL", "core")
    with pytest.raises(ImportError, match="PICOWS_IMPL=core, but "):
        _engine.choose()
    monkeypatch.setenv("PICOWS_IMPL", "other")
    with pytest.raises(ImportError, match="it may be core or pure"):
        _engine.choose()
