"""Sphinx configuration. Warnings are errors: `./dev docs`."""

from __future__ import annotations

import picows

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
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!picows\.).*"), ("py:.*", r"picows\.abc\..*")]

html_theme = "furo"  # light and dark, after the reader's system
html_title = f"picows {release}"
html_show_sourcelink = False
html_static_path = ["images"]  # charts that `./dev bench --publish` draws
