"""Imports point down the layers only (ARCHITECTURE.md), and L0 and L1 know neither event loop nor sockets."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "packages/picows-pure/src/picows"

#: Every module of picows-pure, by its layer; `pure` stands for all of `picows.pure`.
LAYERS = {
    0: {"_version", "enums", "errors", "abc"},
    1: {
        "body",
        "closing",
        "codec",
        "deadlines",
        "deflate",
        "deflate_options",
        "extensions",
        "frame_header",
        "handshake",
        "head",
        "http",
        "inflate",
        "keepalive",
        "options",
        "pinger",
        "resuming",
        "url",
    },
    2: {"pure", "roundtrip"},
    3: {
        "_engine",
        "accepting",
        "cli",
        "client",
        "diagnostics",
        "http_tunnel",
        "proxy",
        "server",
        "serving",
        "transports",
    },
    4: {"__init__", "__main__", "api", "common", "picows"},  # names and command line only
}
LAYER_OF = {module: layer for layer, modules in LAYERS.items() for module in modules}
SANS_IO = LAYERS[0] | LAYERS[1]
FORBIDDEN_BELOW_L2 = {"aiofastnet", "asyncio", "select", "selectors", "socket", "ssl", "uvloop"}

FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [file.relative_to(PACKAGE).with_suffix("").parts for file in FILES]


def run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes outside `if TYPE_CHECKING:`: what only a type checker reads is no dependency."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            for other in child.orelse:
                yield other
                yield from run_time_nodes(other)
            continue
        yield child
        yield from run_time_nodes(child)


def imported_names(source: str, module: tuple[str, ...]) -> set[str]:
    """Absolute dotted names of what is imported, at the top or in functions; `from m import n` gives `m.n`."""
    package = ("picows", *module[:-1])
    names: set[str] = set()
    for node in run_time_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            names.update(".".join([*base, alias.name]) for alias in node.names)
    return names


def imported_modules(names: set[str]) -> set[str]:
    """The modules of picows-pure among imported names, as LAYERS spells them; a name of the facade is `__init__`."""
    parts = (name.split(".") for name in names)
    return {
        p[1] if len(p) > 1 and p[1] in LAYER_OF else "__init__"
        for p in parts
        if p[0] == "picows" and p[1:2] != ["core"]
    }


@pytest.mark.parametrize(
    ("source", "module", "expected"),
    [
        ("from .enums import WSMsgType", ("http",), {"enums"}),
        ("from ..enums import WSMsgType", ("pure", "frame"), {"enums"}),
        ("from .. import errors", ("pure", "frame"), {"errors"}),
        ("from . import frame", ("pure", "transport"), {"pure"}),
        ("from . import WSFrame", ("http",), {"__init__"}),
        ("import picows.client", ("http",), {"client"}),
        ("from picows import ws_connect", ("http",), {"__init__"}),
        ("def f():\n    from .client import ws_connect", ("http",), {"client"}),
        ("if TYPE_CHECKING:\n    from .client import ws_connect\nelse:\n    from . import url", ("http",), {"url"}),
        ("import re\nfrom http import HTTPStatus", ("http",), set()),
    ],
    ids=lambda value: value.replace("\n", "; ") if isinstance(value, str) else None,
)
def test_the_reader_of_imports(source: str, module: tuple[str, ...], expected: set[str]) -> None:
    assert imported_modules(imported_names(source, module)) == expected


def test_every_module_has_a_layer() -> None:
    assert {module[0] for module in MODULES} <= set(LAYER_OF)


@pytest.mark.parametrize(("file", "module"), list(zip(FILES, MODULES, strict=True)), ids=[".".join(m) for m in MODULES])
def test_imports_point_down(file: Path, module: tuple[str, ...]) -> None:
    own = LAYER_OF[module[0]]
    imported = imported_modules(imported_names(file.read_text("utf-8"), module))
    upward = {other for other in imported if LAYER_OF[other] > own}
    assert not upward, f"{'.'.join(module)} is L{own} and imports {sorted(upward)}"


@pytest.mark.parametrize("module", sorted(SANS_IO))
def test_the_lower_layers_know_no_sockets(module: str) -> None:
    names = imported_names((PACKAGE / f"{module}.py").read_text("utf-8"), (module,))
    assert not {name.partition(".")[0] for name in names} & FORBIDDEN_BELOW_L2


def test_the_coverage_gate_covers_the_lower_layers() -> None:
    with (ROOT / "hatch.toml").open("rb") as file:
        patterns = tomllib.load(file)["envs"]["full"]["env-vars"]["PICOWS_L0_L1"]
    assert set(patterns.split(",")) == {f"*/picows/{module}.py" for module in SANS_IO}
