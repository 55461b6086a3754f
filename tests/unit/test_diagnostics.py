"""`python -m picows`: what it reports, and that nothing that is broken keeps it from reporting."""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Dict, List, Optional

import pytest

from picows import diagnostics
from picows._version import __version__

FORBIDDEN_MODULE = "raise RuntimeError('broken on purpose')\n"
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution into a directory that comes first on sys.path; nothing else is installed."""
    site = tmp_path / "site-packages"
    site.mkdir()
    real = metadata.distributions
    monkeypatch.setattr(metadata, "distributions", lambda: real(path=[str(site)]))

    def _install(
        name: str, version: str = __version__, files: Optional[List[str]] = None, direct_url: Optional[str] = None
    ) -> Path:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        for file in files or []:  # since Python 3.12 importlib.metadata leaves out files that do not exist
            path = site / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files or ["something.py"]))
        if direct_url is not None:
            (info / "direct_url.json").write_text(direct_url)
        return info

    return _install


def distributions() -> Dict[str, str]:
    return dict(diagnostics.report().sections["distributions"])


# --- a sound environment ---


def test_the_sections_and_their_rows() -> None:
    sections = {title: [what for what, _ in rows] for title, rows in diagnostics.report().sections.items()}
    assert sections["versions"] == [
        "picows",
        "Python",
        "interpreter",
        "platform",
        "multidict",
        "python-socks",
        "numpy",
        "OpenSSL",
    ]
    assert {"implementation", "because"} < set(sections["engine"])
    assert sections["loops"] == ["uvloop", "winloop", "aiofastnet"]
    assert sections["distributions"][:3] == ["picows-pure", "picows-core", "picows-websockets"]


def test_versions_are_the_real_ones() -> None:
    versions = dict(diagnostics.report().sections["versions"])
    assert versions["picows"] == __version__
    assert versions["Python"] == platform.python_version()
    assert versions["interpreter"].startswith(platform.python_implementation())
    assert versions["interpreter"].endswith(sys.executable)
    assert versions["multidict"] == metadata.version("multidict")
    assert versions["python-socks"] == metadata.version("python-socks")
    assert versions["OpenSSL"].startswith(("OpenSSL", "LibreSSL"))


def test_the_engine_and_why_it_is_this_one() -> None:
    from picows import _engine

    rows = diagnostics.report().sections["engine"]
    assert ("implementation", _engine.engine.name) in rows
    assert ("because", _engine.reason) in rows
    assert rows[-len(_engine.engine.describe()) :] == list(_engine.engine.describe())


def test_the_environment_variables_that_decide_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in diagnostics.ENVIRONMENT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert not any(what.startswith("PICOWS_") for what, _ in diagnostics.report().sections["engine"])
    monkeypatch.setenv("PICOWS_SIMD", "generic")
    assert ("PICOWS_SIMD", "generic") in diagnostics.report().sections["engine"]


def test_text_is_aligned_and_ends_with_the_warnings() -> None:
    report = diagnostics.Report({"first": [("a", "1"), ("longer", "2")], "second": [("b", "3")]}, ["repair it"])
    assert report.as_text() == "first\n  a       1\n  longer  2\n\nsecond\n  b       3\n\nWARNING: repair it\n"


def test_json_has_the_same_content() -> None:
    report = diagnostics.Report({"first": [("a", "1")]}, ["repair it"])
    assert json.loads(report.as_json()) == {"first": {"a": "1"}, "warnings": ["repair it"]}


def test_main_prints_text_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnostics.main([]) == 0
    assert capsys.readouterr().out.startswith("versions\n  picows  ")
    assert diagnostics.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["versions"]["picows"] == __version__


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["text", "json"])
def test_python_m_picows(arguments: List[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "picows", *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert __version__ in done.stdout


def test_a_forced_engine_that_is_missing_says_so(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'picows.core':\n"
        "            raise ModuleNotFoundError(\"No module named 'picows.core'\", name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "picows"],
        env={**os.environ, "PICOWS_IMPL": "core", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "PICOWS_IMPL=core, but No module named 'picows.core'" in done.stderr


# --- what is broken is reported where it is asked for ---


def test_a_module_that_is_not_installed() -> None:
    assert diagnostics._module_version("picows_no_such_module", "picows-no-such-module") == "not installed"


def test_a_module_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("picows_test_module")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert diagnostics._module_version(module.__name__, "picows-no-such-module") == "version unknown"
    module.__version__ = "7"  # type: ignore[attr-defined]
    assert diagnostics._module_version(module.__name__, "picows-no-such-module") == "7"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (FORBIDDEN_MODULE, "cannot be imported: RuntimeError: broken on purpose"),
        ("import picows_no_such_module\n", "cannot be imported: ModuleNotFoundError: No module named"),
    ],
    ids=["raises", "needs another module"],
)
def test_a_module_that_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, expected: str
) -> None:
    (tmp_path / "picows_broken_module.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    answer = diagnostics._module_version("picows_broken_module", "picows-no-such-module")
    assert answer.startswith("version unknown, but " + expected)
    assert diagnostics._module_version("picows_broken_module", "multidict").startswith(metadata.version("multidict"))


@pytest.mark.parametrize("broken", ["ssl", "picows", "picows._version", "picows._engine"])
def test_what_cannot_be_imported_does_not_keep_the_rest_from_being_reported(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    real = importlib.import_module

    def import_module(name: str) -> Any:
        if name == broken:
            raise ImportError("broken on purpose")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    report = diagnostics.report()
    values = [value for rows in report.sections.values() for _, value in rows]
    assert sum("ImportError: broken on purpose" in value for value in values) == 1
    assert report.as_text()


def test_an_engine_that_cannot_describe_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from picows import _engine

    class Broken:
        name = "core"

        def describe(self) -> Any:
            raise RuntimeError("no kernels")

    monkeypatch.setattr(_engine, "engine", Broken())
    engine = diagnostics.report().sections["engine"]
    assert ("implementation", "core") in engine
    assert ("kernels", "cannot be found out: RuntimeError: no kernels") in engine


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"_is_gil_enabled": lambda: True}, "CPython, "),
        ({"_is_gil_enabled": lambda: False}, "CPython, free-threaded, "),
        ({"pypy_version_info": (7, 3, 11, "final", 0)}, "CPython 7.3.11, "),
    ],
    ids=["GIL", "free-threaded", "PyPy"],
)
def test_interpreter(monkeypatch: pytest.MonkeyPatch, attributes: Dict[str, Any], expected: str) -> None:
    monkeypatch.setattr(platform, "python_implementation", lambda: "CPython")
    for name in ("_is_gil_enabled", "pypy_version_info"):
        monkeypatch.delattr(sys, name, raising=False)
    for name, value in attributes.items():
        monkeypatch.setattr(sys, name, value, raising=False)
    assert diagnostics._interpreter().startswith(expected)


# --- who owns the package ---


def test_nothing_is_installed(install: Install) -> None:
    found = distributions()
    assert [found[name] for name in diagnostics.OURS] == ["not installed"] * 3
    assert found["owner of picows/__init__.py"] == "no installed distribution"
    assert "picows" not in found
    assert diagnostics.report().warnings == []


def test_ours_alone(install: Install) -> None:
    install("picows-pure", files=["picows/__init__.py", "picows/py.typed"])
    install("picows_core", files=["picows/core/__init__.py"])
    install("something-else", "1.0")
    found = distributions()
    assert found["picows-pure"] == found["picows-core"] == __version__
    assert found["owner of picows/__init__.py"] == "picows-pure"
    assert "something-else" not in found
    assert diagnostics.report().warnings == []


def test_upstream_beside_ours_is_a_warning(install: Install) -> None:
    install("picows-pure", files=["picows/__init__.py"])
    install("picows", "2.3.1", files=["picows/__init__.py"])
    found = distributions()
    assert found["picows"] == "2.3.1"
    assert sorted(found["owner of picows/__init__.py"].split(", ")) == ["picows", "picows-pure"]
    (warning,) = diagnostics.report().warnings
    assert "'picows' is installed beside ours" in warning
    assert "pip uninstall -y picows picows-pure" in warning


def test_another_owner_is_a_warning(install: Install) -> None:
    install("picows-pure", files=["picows/__init__.py"])
    install("picows-fork", "1.0", files=["picows/__init__.py"])
    (warning,) = diagnostics.report().warnings
    assert "both own picows/__init__.py" in warning
    assert "picows-fork" in warning


def test_another_version_is_a_warning(install: Install) -> None:
    install("picows-core", "2.9.0", files=["picows/core/__init__.py"])
    assert diagnostics.report().warnings == [
        f"picows-core has version 2.9.0, picows {__version__}: install equal versions"
    ]


@pytest.mark.parametrize("layout", ["src", "."], ids=["src", "flat"])
def test_editable_installations(install: Install, tmp_path: Path, layout: str) -> None:
    package = tmp_path / "checkout" / layout / "picows"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (tmp_path / "core").mkdir()
    editable = {"dir_info": {"editable": True}}
    install("picows-pure", direct_url=json.dumps({"url": (tmp_path / "checkout").as_uri(), **editable}))
    install("picows-core", direct_url=json.dumps({"url": (tmp_path / "core").as_uri(), **editable}))
    found = distributions()
    assert found["picows-pure"] == f"{__version__}, editable from {tmp_path / 'checkout'}"
    assert found["picows-core"] == f"{__version__}, editable from {tmp_path / 'core'}"
    assert found["owner of picows/__init__.py"] == "picows-pure"


def test_an_installation_from_a_local_directory_is_not_editable(install: Install, tmp_path: Path) -> None:
    install("picows-pure", files=["picows/__init__.py"], direct_url=json.dumps({"url": tmp_path.as_uri()}))
    assert distributions()["picows-pure"] == __version__


def test_the_first_of_two_on_the_path_counts(install: Install) -> None:
    install("picows-core", files=["picows/core/__init__.py"])
    install("picows.core", "2.9.0", files=["picows/core/__init__.py"])
    assert distributions()["picows-core"] in (__version__, "2.9.0")
    assert len([row for row in diagnostics.report().sections["distributions"] if row[0] == "picows-core"]) == 1


def test_damaged_metadata(install: Install) -> None:
    install("picows-pure", direct_url="{")
    (install("picows-core") / "METADATA").unlink()
    found = distributions()
    assert found["picows-pure"].startswith("metadata cannot be read: JSONDecodeError")
    assert found["picows-core"] == "not installed"
