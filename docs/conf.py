"""Sphinx configuration. Warnings are errors: `./dev docs`."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
from types import ModuleType

os.environ["PICOWS_IMPL"] = "pure"  # its signatures and annotations are Python's own; a test holds the twins to them

import picows
import picows.websockets

project = "picows"
author = "The picows developers"
project_copyright = f"2026, {author}"
release = version = picows.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
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
html_static_path = ["images"]  # charts that `./dev bench --publish` draws


def import_what_annotations_name(module: ModuleType) -> None:
    """Run the imports that a module makes for type checkers only: else its annotations are names without a meaning."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), str(module.__file__), "exec"), vars(module))


for found in pkgutil.walk_packages(picows.websockets.__path__, "picows.websockets."):
    if found.name.split(".")[2] in ("asyncio", "sync", "trio", "legacy"):
        import_what_annotations_name(importlib.import_module(found.name))
