"""The tables of names are complete and true: lists are those of the libraries, every name has one of three words, every
reason is needed. What is different in picows.websockets' own names is tested in websockets_compat/test_names.py.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
from fixtures import name_lists
from fixtures.name_lists import Name, differences, read, walk
from fixtures.names_explained import EXPLAINED
from fixtures.names_verdicts import DIFFERENT, RULES, SAME, matches, verdict

ROOT = Path(__file__).parents[2]
UPSTREAM = ROOT / "build/peers/picows/bin/python"
LIBRARIES = ["picows", "websockets"]
#: What each list has at least, so that a walk which sees nothing is seen.
LEAST = {"picows": 340, "websockets": 800}


@pytest.fixture(scope="module")
def tables() -> Iterator[Any]:
    """docs/name_tables.py, which Sphinx runs."""
    spec = importlib.util.spec_from_file_location("name_tables", ROOT / "docs/name_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_name_has_one_of_three_words(tables: Any, library: str) -> None:
    text = "\n".join(tables.tables(library))
    _, *sections = re.split(r"^## `(.*)`$", text, flags=re.MULTILINE)
    shown = [
        (module, name, word, reason)
        for module, section in zip(sections[::2], sections[1::2])
        for names, word, reason in re.findall(r"^\| (`.*`) \| \**(\w+)\** \| (.*) \|$", section, re.MULTILINE)
        for name in re.findall(r"`([\w.]+)`", names)
    ]
    assert len(shown) >= LEAST[library]
    names = [(tables.title_of(library, name.module), name.name) for name in read(library)]
    assert sorted(row[:2] for row in shown) == sorted(names)
    assert {word for _, _, word, _ in shown} == {"same", "better", "different"}
    assert [row for row in shown if (row[2] == SAME) != (row[3] == "")] == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_summary_counts_them_all(tables: Any, library: str) -> None:
    *modules, total = list(tables.summary(library))[2:]
    assert len(modules) == len({name.module for name in read(library)})
    assert sum(int(count) for count in re.findall(r"\d+", total)) == len(read(library))


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_rule_is_about_a_name(library: str) -> None:
    names = read(library)
    unused = [
        pattern
        for rule in RULES[library]
        for pattern in rule.patterns
        if not any(matches(rule._replace(patterns=[pattern]), library, name) for name in names)
    ]
    assert unused == []


def test_the_list_of_websockets() -> None:
    if sys.version_info < (3, 11):
        pytest.skip("websockets 17 needs Python 3.11")
    pytest.importorskip("websockets", reason="websockets is not installed: pip install websockets==17.4")
    pytest.importorskip("trio", reason="trio is not installed: pip install trio")
    pytest.importorskip("werkzeug", reason="werkzeug is not installed: pip install werkzeug")
    installed = importlib.metadata.version("websockets")
    if installed != name_lists.VERSIONS["websockets"]:
        pytest.skip(f"the list is that of websockets 17.4, {installed} is installed")
    assert [name[:2] for name in walk("websockets")] == [name[:2] for name in read("websockets")]


def test_what_is_explained_of_websockets_is_different_in_its_table() -> None:
    names = {name.path: name for name in read("websockets")}
    explained = {line.partition(" ")[0] for line in EXPLAINED}
    assert explained <= set(names)
    assert [path for path in sorted(explained) if verdict("websockets", names[path]).word == SAME] == []


def test_the_list_of_picows() -> None:
    if not UPSTREAM.exists():
        pytest.skip("upstream picows has no environment under build/peers: ./dev bench makes it")
    script = [str(UPSTREAM), str(ROOT / "tests/fixtures/name_lists.py"), "picows"]
    question = "import importlib.metadata as metadata; print(metadata.version('picows'))"
    asked = [str(UPSTREAM), "-c", question]
    environment = {"PATH": ""}  # no PYTHONPATH: ours has the same import name
    version = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout.strip()
    if version != name_lists.VERSIONS["picows"]:
        pytest.skip(f"the list is that of picows 2.3.1, {version} is installed")
    printed = subprocess.run(script, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout
    assert [json.loads(line) for line in printed.splitlines()] == [list(name) for name in read("picows")]


def test_every_difference_from_picows_is_in_its_table() -> None:
    """Also that nothing is called missing that is there."""
    wrong = []
    for name in of_what_is_installed():
        found = list(differences(name, "picows"))
        word, reason = verdict("picows", name)
        if found and word == SAME:
            wrong.append(f"{name.path}: {found}")
        if word == DIFFERENT and reason.startswith("missing") and not any("missing" in each for each in found):
            wrong.append(f"{name.path} is not missing")
        if any("missing" in each for each in found) and word != DIFFERENT:
            wrong.append(f"{name.path} is missing, and {word}")
    assert wrong == []


def of_what_is_installed() -> list[Name]:
    has_layer = sys.version_info >= (3, 11) and importlib.util.find_spec("picows.websockets") is not None
    return [name for name in read("picows") if has_layer or not name.module.startswith("websockets")]


def test_the_numbers_are_in_tests() -> None:
    """W12 and the like lead to a test."""
    numbers = {
        number for rules in RULES.values() for rule in rules for number in re.findall(r"\b[WPF]\d+", rule.reason)
    }
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if path.name != Path(__file__).name]
    text = "\n".join(path.read_text("utf-8") for path in files)
    assert len(numbers) > 10
    assert [number for number in sorted(numbers) if not re.search(rf"(?<![A-Za-z0-9]){number}(?![0-9])", text)] == []
