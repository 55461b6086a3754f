"""docs/reference/cython.md shows every public declaration of the `.pxd` files that users cimport, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Set

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/cython.md").read_text("utf-8")
PXD = ROOT / "packages/picows-core/src/picows/core"
#: What users cimport, and the bases in which it has public members.
FILES = {
    "WSFrame": "frame",
    "WSListener": "listener",
    "MessageSender": "sending",
    "WSTransport": "transport",
    "Connection": "connection",
    "Wire": "wire",
    "WSCloseHandshake": "closing",
    "WSCloseInfo": "closing",
    "MemoryBuffer": "buffers",
}
#: Members that end in a name without an underscore in front.
PUBLIC = re.compile(r"(?:cpdef |cdef (?!class)|readonly |public |char\* |WSMsgType ).*?\b(?<!_)([a-z]\w*)(?:\(|$)")


def classes(text: str) -> Dict[str, Set[str]]:
    """The declarations of each class, one line each, without what is not for users."""
    text = re.sub(r"#.*", "", text)
    text = re.sub(r"\(\s+([^()]*?)\s+\)", lambda found: f"({' '.join(found[1].split())})", text)
    found: Dict[str, Set[str]] = {}
    for name, body in re.findall(r"^cdef class (\w+)[^\n]*:\n((?:[ \t]+[^\n]*\n|\n)*)", text, re.MULTILINE):
        lines = [re.sub(r"^cdef (?=char\* |readonly |public )", "", line.strip()) for line in body.splitlines()]
        found[name] = {line for line in lines if is_public(line)}
    return found


def is_public(line: str) -> bool:
    match = PUBLIC.match(line)
    return match is not None and not re.search(r"\b_\w+(?:\(|$)", line.split(")")[0].split("(")[0] + "(")


@pytest.mark.parametrize("name", FILES)
def test_a_class(name: str) -> None:
    declared = classes((PXD / f"{FILES[name]}.pxd").read_text("utf-8"))[name]
    assert declared, f"nothing public was found in {FILES[name]}.pxd"
    assert classes(PAGE)[name] == declared


def test_every_class_that_is_cimported_is_here() -> None:
    names = re.findall(r"cimport (.*)", (PXD / "__init__.pxd").read_text("utf-8"))
    cimported = {name for line in names for name in re.findall(r"\w+", line) if not name.startswith("_")}
    assert {name for name in cimported if name not in PAGE} == set()
