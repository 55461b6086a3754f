"""The reference has every public name: of `picows`, `picows.deflate`, and of each module of `picows.websockets`."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Iterator

import pytest

import picows

PAGES = {path.name: path.read_text("utf-8") for path in (Path(__file__).parents[2] / "docs/reference").glob("*.md")}
DIRECTIVES = set(re.findall(r"^\.\. auto\w+:: (\S+)", "\n".join(PAGES.values()), re.MULTILINE))
MODULES = set(re.findall(r"^\.\. automodule:: (\S+)", "\n".join(PAGES.values()), re.MULTILINE))
FOLDER = Path(__file__).parents[2] / "packages/picows-websockets/src/picows/websockets"
#: Of `picows`, and no name to work with: how much is logged.
NOT_DOCUMENTED = {"PICOWS_DEBUG_LL"}
#: Modules of websockets that hold old names, or what only the library itself needs; websockets.md names them.
WITHOUT_A_PAGE = {"auth", "cli", "connection", "http", "imports", "speedups", "version"}
#: What connections are made of.
PARTS = {"asyncio.messages", "sync.messages", "sync.utils", "trio.messages", "trio.utils", "uvicorn.protocol"}


def test_every_name_of_picows() -> None:
    assert {name for name in picows.__all__ if f"picows.{name}" not in DIRECTIVES} == NOT_DOCUMENTED


def public_modules() -> Iterator[str]:
    for path in sorted(FOLDER.rglob("*.py")):
        parts = path.relative_to(FOLDER).with_suffix("").parts
        if path.name[0] != "_" and parts[0] not in WITHOUT_A_PAGE and "\n__all__ = " in path.read_text("utf-8"):
            yield ".".join(parts)


@pytest.mark.parametrize("module", [name for name in public_modules() if name not in PARTS])
def test_every_module_of_websockets(module: str) -> None:
    full = f"picows.websockets.{module}"
    if full in MODULES:
        return
    pytest.importorskip("picows.websockets.asyncio.client", reason="picows-websockets needs Python 3.11")
    if module.startswith("trio."):
        pytest.importorskip("trio", reason="trio is not installed: pip install trio")
    found = importlib.import_module(full)
    names = [name for name in found.__all__ if f"{full}.{name}" not in DIRECTIVES]
    assert [name for name in names if not is_elsewhere(getattr(found, name), module.partition(".")[0])] == []


def is_elsewhere(value: object, package: str) -> bool:
    """A module of the same package that has a page has it among its names."""
    others = (name for name in MODULES if name.startswith(f"picows.websockets.{package}."))
    modules = map(importlib.import_module, others)
    return any(value is getattr(module, name) for module in modules for name in module.__all__)


@pytest.mark.parametrize("name", sorted(WITHOUT_A_PAGE))
def test_a_module_without_a_page_is_named(name: str) -> None:
    assert f".{name}" in PAGES["websockets.md"]


def test_what_uvicorn_is_told() -> None:
    """A package is no file that `public_modules` finds."""
    assert "picows.websockets.uvicorn.WebSocketProtocol" in DIRECTIVES
    pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install uvicorn")
    assert importlib.import_module("picows.websockets.uvicorn").__all__ == ["WebSocketProtocol"]


def test_what_only_the_compiled_engine_has() -> None:
    """Written by hand, because documentation is built with picows-pure; all other names of an engine are in both."""
    described = set(re.findall(r"^\.\. py:function:: picows\.core\.(\w+)\(", PAGES["engine.md"], re.MULTILINE))
    assert described == {"simd"}
    core = pytest.importorskip("picows.core", reason="picows-core is not installed")
    pure = importlib.import_module("picows.pure")
    assert {name for name in core.__all__ if not hasattr(pure, name)} == described
    assert core.simd() in PAGES["engine.md"]
