"""What is installed and which engine runs: the report of `picows doctor` and of `python -m picows`.

It is read when something is wrong, so it must not need anything to be right: everything outside the standard library
is asked for where it is reported, and a question that fails is answered with its error. Only `import picows` itself
must work, because Python does that first; if it fails, its error says why.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import sys
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

Rows = List[Tuple[str, str]]

OURS = ("picows-pure", "picows-core", "picows-websockets")
#: The distribution that owns the same import name and is not ours.
UPSTREAM = "picows"
OWNED_FILE = "picows/__init__.py"
ACCELERATORS = ("uvloop", "winloop", "aiofastnet")
ENVIRONMENT_VARIABLES = ("PICOWS_IMPL", "PICOWS_SIMD", "PICOWS_NUMPY")


class Report(NamedTuple):
    """Rows (what, value) by section, and what needs to be repaired."""

    sections: Dict[str, Rows]
    warnings: List[str]

    def as_text(self) -> str:
        """Aligned columns, warnings last."""
        width = max(len(what) for rows in self.sections.values() for what, _ in rows)
        lines: List[str] = []
        for title, rows in self.sections.items():
            lines += [title, *(f"  {what:<{width}}  {value}" for what, value in rows), ""]
        lines += [f"WARNING: {warning}" for warning in self.warnings]
        return "\n".join(lines).rstrip() + "\n"

    def as_json(self) -> str:
        """The same as one JSON object; `warnings` is a list."""
        content: Dict[str, object] = {title: dict(rows) for title, rows in self.sections.items()}
        return json.dumps({**content, "warnings": self.warnings}, indent=2) + "\n"


def report() -> Report:
    """Ask everything. Never raises: what cannot be found out is reported as its error."""
    found = list(_installed())
    sections = {
        "versions": _versions(),
        "engine": _engine(),
        "loops": [(name, _answer(partial(_module_version, name, name))) for name in ACCELERATORS],
        "distributions": _distributions(found),
    }
    return Report(sections, _warnings(found))


def main(arguments: Optional[Sequence[str]] = None, prog: str = "python -m picows") -> int:
    """Print the report.

    Args:
        arguments: those of the command line if None.
        prog: what was typed, for `--help`.

    Returns:
        The exit code: 0, also where the report has warnings.
    """
    parser = argparse.ArgumentParser(prog=prog, description="Print what is installed and which engine runs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    found = report()
    sys.stdout.write(found.as_json() if parser.parse_args(arguments).json else found.as_text())
    return 0


def _answer(question: Callable[[], str]) -> str:
    """The answer, or what went wrong."""
    try:
        return question()
    except Exception as exc:
        return f"cannot be found out: {type(exc).__name__}: {exc}"


def _module_version(module: str, distribution: str) -> str:
    """The version of what is installed; a word about it if it cannot be imported."""
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        version = None
    try:
        loaded = importlib.import_module(module)
    except Exception as exc:
        if version is None and isinstance(exc, ModuleNotFoundError) and exc.name == module:
            return "not installed"
        return f"{version or 'version unknown'}, but cannot be imported: {type(exc).__name__}: {exc}"
    return version or str(getattr(loaded, "__version__", "version unknown"))


def _versions() -> Rows:
    return [
        ("picows", _answer(_picows_version)),
        ("Python", platform.python_version()),
        ("interpreter", _answer(_interpreter)),
        ("platform", _answer(platform.platform)),
        ("multidict", _answer(lambda: _module_version("multidict", "multidict"))),
        ("python-socks", _answer(lambda: _module_version("python_socks", "python-socks"))),
        ("numpy", _answer(lambda: _module_version("numpy", "numpy"))),
        ("OpenSSL", _answer(lambda: str(importlib.import_module("ssl").OPENSSL_VERSION))),
    ]


def _picows_version() -> str:
    return str(importlib.import_module("picows._version").__version__)


def _interpreter() -> str:
    name = platform.python_implementation()
    version = getattr(sys, "pypy_version_info", None)
    if version is not None:
        name += " " + ".".join(str(part) for part in version[:3])
    is_gil_enabled = getattr(sys, "_is_gil_enabled", None)
    if is_gil_enabled is not None and not is_gil_enabled():
        name += ", free-threaded"
    return f"{name}, {sys.executable}"


def _engine() -> Rows:
    rows: Rows = [(name, os.environ[name]) for name in ENVIRONMENT_VARIABLES if name in os.environ]
    try:
        chosen = importlib.import_module("picows._engine")
        rows += [("implementation", chosen.engine.name), ("because", chosen.reason)]
    except Exception as exc:
        return [*rows, ("implementation", f"cannot be loaded: {type(exc).__name__}: {exc}")]
    try:
        rows += chosen.engine.describe()
    except Exception as exc:
        rows.append(("kernels", f"cannot be found out: {type(exc).__name__}: {exc}"))
    return rows


class Installed(NamedTuple):
    """One installed distribution that has to do with the import name `picows`."""

    name: str
    version: str
    #: It installed, or leads Python to, `picows/__init__.py`.
    is_owner: bool
    #: Where an editable installation leads to, else None.
    source: Optional[str]


def _installed() -> Iterator[Installed]:
    """Our distributions, upstream's, and any other that owns the file; each once, the first on sys.path."""
    seen = set()
    for distribution in metadata.distributions():
        found: Optional[Mapping[str, str]] = cast(Any, distribution.metadata)  # None where it was half removed (3.14)
        name = _normalized(found["Name"] or "" if found else "")
        try:
            source = _editable_source(distribution)
            is_owner = _leads_to_package(source) if source else _lists_package(distribution)
            installed = Installed(name, distribution.version, is_owner, source)
        except Exception as exc:
            installed = Installed(name, f"metadata cannot be read: {type(exc).__name__}: {exc}", False, None)
        if name not in seen and (installed.is_owner or name in (*OURS, UPSTREAM)):
            seen.add(name)
            yield installed


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _lists_package(distribution: metadata.Distribution) -> bool:
    return any(file.as_posix() == OWNED_FILE for file in distribution.files or ())


def _editable_source(distribution: metadata.Distribution) -> Optional[str]:
    """The directory of an editable installation (PEP 610), else None."""
    text = distribution.read_text("direct_url.json")
    if not text:
        return None
    direct_url = json.loads(text)
    if not direct_url.get("dir_info", {}).get("editable"):
        return None
    return url2pathname(urlsplit(direct_url["url"]).path)


def _leads_to_package(source: str) -> bool:
    return any((Path(source) / directory / OWNED_FILE).is_file() for directory in ("src", "."))


def _distributions(found: List[Installed]) -> Rows:
    by_name = {installed.name: installed for installed in found}
    rows: Rows = []
    for name in (*OURS, UPSTREAM):
        if name in by_name:
            installed = by_name[name]
            rows.append(
                (
                    name,
                    f"{installed.version}, editable from {installed.source}" if installed.source else installed.version,
                )
            )
        elif name != UPSTREAM:
            rows.append((name, "not installed"))
    owners = ", ".join(installed.name for installed in found if installed.is_owner)
    rows.append(("owner of " + OWNED_FILE, owners or "no installed distribution"))
    rows.append(("imported from", _answer(lambda: str(importlib.import_module("picows").__file__))))
    return rows


def _warnings(found: List[Installed]) -> List[str]:
    warnings: List[str] = []
    owners = [installed.name for installed in found if installed.is_owner]
    if any(installed.name == UPSTREAM for installed in found):
        warnings.append(
            f"the distribution {UPSTREAM!r} is installed beside ours and owns the same import name:"
            f" each overwrites the other's files. Run: pip uninstall -y {UPSTREAM} picows-pure,"
            " then: pip install picows-pure"
        )
    elif len(owners) > 1:
        warnings.append(
            f"{' and '.join(owners)} both own {OWNED_FILE}: uninstall all but picows-pure, and reinstall that"
        )
    version = _answer(_picows_version)
    for installed in found:
        if installed.name in OURS and installed.version != version:
            warnings.append(
                f"{installed.name} has version {installed.version}, picows {version}: install equal versions"
            )
    return warnings
