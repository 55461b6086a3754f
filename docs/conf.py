"""Sphinx configuration. Warnings are errors: `./dev docs`."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import re
import sys
from pathlib import Path
from types import ModuleType

from sphinx.application import Sphinx

os.environ["PICOWS_IMPL"] = "pure"  # its signatures and annotations are Python's own; a test holds the twins to them

sys.path += [
    str(Path(__file__).parent),
    str(Path(__file__).parents[1] / "tests"),
]  # name_tables, and what it is made of

import picows
import picows.websockets

project = "picows"
author = "The picows developers"
project_copyright = f"2026, {author}"
release = version = picows.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "name_tables"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# A link to a name of ours that does not exist is a warning; those of others are not linked
default_role = "code"  # what docstrings have in `backticks`
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!picows\.).*"),
    ("py:.*", r"picows\.abc\..*"),
    ("py:.*", r"picows\.websockets\.(datastructures\.SupportsKeysAndGetItem|exceptions\._Root)"),
]

html_theme = "furo"  # light and dark, after the reader's system
html_title = f"picows {release}"
html_show_sourcelink = False
html_static_path = ["images", "style"]  # charts that `./dev bench --publish` draws
html_css_files = ["tables.css"]


def import_what_annotations_name(module: ModuleType) -> None:
    """Run the imports that a module makes for type checkers only: else its annotations are names without a meaning."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), str(module.__file__), "exec"), vars(module))


for found in pkgutil.walk_packages(picows.websockets.__path__, "picows.websockets."):
    if found.name.split(".")[2] in ("asyncio", "sync", "trio", "legacy"):
        import_what_annotations_name(importlib.import_module(found.name))


SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):")


def mark_code(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """What is indented in a docstring, but for its sections, is code: reStructuredText wants `::` before it."""
    marked: list[str] = []
    in_section = False
    for line in lines:
        begins = line.startswith("    ") and marked and not marked[-1]
        after_text = any(marked) and not next(each for each in reversed(marked) if each).startswith(" ")
        if line and not line.startswith(" "):
            in_section = SECTION.fullmatch(line) is not None
        elif begins and after_text and not in_section:
            marked += ["::", ""]
        marked.append(line)
    lines[:] = marked


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", mark_code, priority=400)  # before napoleon, which is at 500
