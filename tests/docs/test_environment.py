"""Every environment variable that our code reads is in the reference, with the default that the code has."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/environment.md").read_text("utf-8")
FOLDERS = ["packages/*/src/picows", ".ci", "benchmarks", "examples", "tests"]
#: Outside of packages/, only those that are ours: the rest is other programs'.
OURS = re.compile(r"(PICOWS|WEBSOCKETS)_")
#: What is looked up in `diagnostics`, and by a name that is imported; both are found elsewhere.
KNOWN = {"name", "_engine.ENVIRONMENT_VARIABLE", "program.compiler[0]"}
ACCESS = {"os.environ.get", "os.environ.pop", "os.environ.setdefault", "os.getenv"}
IN_CYTHON = re.compile(r"(?:environ(?:\.\w+\(|\[)|getenv\()\s*[\"'](\w+)[\"']")


class Read(NamedTuple):
    """Where a variable is read, and the default if it is written there."""

    name: str
    default: Optional[str]
    path: str


def reads_of(path: Path) -> Iterator[Read]:
    text, where = path.read_text("utf-8"), path.relative_to(ROOT).as_posix()
    if path.suffix != ".py":
        yield from (Read(name, None, where) for name in IN_CYTHON.findall(text))
        return
    if "environ" not in text and "getenv" not in text:
        return
    tree = ast.parse(text)
    constants = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        key, default = key_of(node)
        if key is None:
            continue
        name = key.value if isinstance(key, ast.Constant) else constants.get(ast.unparse(key), ast.unparse(key))
        yield Read(str(name), default, where)


def key_of(node: ast.AST) -> tuple[Optional[ast.expr], Optional[str]]:
    """What is looked up by an expression, if it looks something up in the environment."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ACCESS:
        default = node.args[1] if len(node.args) > 1 else None
        return node.args[0], default.value if isinstance(default, ast.Constant) else None
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
        return node.slice, None
    if isinstance(node, ast.Compare) and [ast.unparse(each) for each in node.comparators] == ["os.environ"]:
        return node.left, None
    return None, None


def all_reads() -> Iterator[Read]:
    paths = [*ROOT.glob("packages/*/*.py"), *(path for each in FOLDERS for path in ROOT.glob(f"{each}/**/*.py*"))]
    for path in sorted(paths):
        if path.suffix in (".py", ".pyx", ".pxi"):
            yield from reads_of(path)


READS = [read for read in all_reads() if read.path.startswith("packages/") or OURS.match(read.name)]


def test_the_sources_are_seen() -> None:
    names = {read.name for read in READS}
    assert {"PICOWS_IMPL", "PICOWS_SIMD", "PICOWS_ZLIB", "PICOWS_BUILD", "WEBSOCKETS_SERVER"} <= names


def rows() -> dict[str, str]:
    """Variable to the rest of its row."""
    found = re.findall(r"^\| (`[^|]+) \| (.*) \|$", PAGE, re.MULTILINE)
    return {name: rest for names, rest in found for name in re.findall(r"`(\w+)`", names)}


@pytest.mark.parametrize("name", sorted({read.name for read in READS} - KNOWN))
def test_every_variable_that_is_read_has_a_row(name: str) -> None:
    assert name in rows()
    for read in READS:
        if read.name == name and read.default is not None and read.path.startswith("packages/"):
            assert f"`{read.default}`" in rows()[name], read.path


def test_every_row_is_about_a_variable_that_is_read() -> None:
    from_urllib = {name for name in rows() if name.endswith("_proxy")}
    assert set(rows()) - from_urllib == {read.name for read in READS} - KNOWN


def test_proxies_are_those_that_are_looked_at() -> None:
    source = (ROOT / "packages/picows-websockets/src/picows/websockets/proxy.py").read_text("utf-8")
    lines = re.findall(r"^_(?:SECURE|PLAIN) = \((.*)\)$", source, re.MULTILINE)
    names = {f"{name}_proxy" for line in lines for name in re.findall(r"\w+", line)}
    assert len(lines) == 2
    assert {name for name in rows() if name.endswith("_proxy")} == {*names, "no_proxy"}
